//! Lists that are decoded as they arrive, one entry at a time: a list of ten thousand nodes is
//! twenty megabytes of text, and a hundredth of that is kept.

use std::fmt;
use std::io::{self, BufReader, Read};
use std::marker::PhantomData;

use bytes::{Buf, Bytes};
use futures::StreamExt;
use serde::de::{DeserializeOwned, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use tokio::sync::mpsc;

use super::error::ClientError;
use super::transport::{Envelope, Head, LONGEST_LIST};

/// How many chunks of a body wait for the decoder.
const CHUNKS_AHEAD: usize = 8;

/// Reads a bare list.
pub(super) async fn bare<W, T>(
    head: Head,
    keep: impl FnMut(W) -> Option<T> + Send + 'static,
) -> Result<Vec<T>, ClientError>
where
    W: DeserializeOwned + 'static,
    T: Send + 'static,
{
    let list = read(head, |reader| {
        let mut json = serde_json::Deserializer::from_reader(reader);
        let list = Entries::new(keep).deserialize(&mut json)?;
        json.end()?;
        Ok(list)
    });
    list.await
}

/// Reads a list in the envelope.
pub(super) async fn wrapped<W, T>(
    head: Head,
    keep: impl FnMut(W) -> Option<T> + Send + 'static,
) -> Result<Vec<T>, ClientError>
where
    W: DeserializeOwned + 'static,
    T: Send + 'static,
{
    let what = head.what.clone();
    let status = head.status().as_u16();
    let (envelope, list) = read(head, |reader| {
        let mut json = serde_json::Deserializer::from_reader(reader);
        let wrapped = Wrapped(Entries::new(keep)).deserialize(&mut json)?;
        json.end()?;
        Ok(wrapped)
    })
    .await?;
    if !envelope.is_success() {
        return Err(ClientError::Refused {
            what,
            status,
            message: super::transport::shortened(&envelope.message),
        });
    }
    Ok(list)
}

async fn read<T: Send + 'static>(
    head: Head,
    decode: impl FnOnce(BufReader<Chunks>) -> serde_json::Result<T> + Send + 'static,
) -> Result<T, ClientError> {
    let what = head.what.clone();
    let after = head.timeout();
    let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
    let body = BufReader::with_capacity(64 << 10, Chunks::new(receiver));
    let decoded = tokio::task::spawn_blocking(move || decode(body));
    let mut chunks = head.chunks();
    while let Some(chunk) = chunks.next().await {
        if sender.send(chunk).await.is_err() {
            break;
        }
    }
    drop(sender);
    let error = match decoded.await {
        Ok(Ok(list)) => return Ok(list),
        Ok(Err(error)) => error,
        Err(panic) => {
            return Err(ClientError::Broken {
                what,
                detail: panic.to_string(),
            });
        }
    };
    Err(match error.io_error_kind() {
        Some(io::ErrorKind::TimedOut) => ClientError::Timeout { what, after },
        Some(io::ErrorKind::FileTooLarge) => ClientError::TooLong {
            what,
            limit: LONGEST_LIST,
        },
        Some(_) => ClientError::Broken {
            what,
            detail: error.to_string(),
        },
        None if error.is_eof() => ClientError::Broken {
            what,
            detail: "the answer ends too early".to_owned(),
        },
        None => ClientError::Undecodable {
            what,
            source: error,
        },
    })
}

/// A body for a decoder that waits for it. It ends early when nobody sends any more.
struct Chunks {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
}

impl Chunks {
    fn new(receiver: mpsc::Receiver<io::Result<Bytes>>) -> Self {
        Self {
            receiver,
            current: Bytes::new(),
        }
    }
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.receiver.blocking_recv() {
                None => return Ok(0),
                Some(chunk) => self.current = chunk?,
            }
        }
        let count = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

/// A list, or null, of which only what `keep` makes of each entry is kept.
struct Entries<W, F> {
    keep: F,
    wire: PhantomData<fn() -> W>,
}

impl<W, F> Entries<W, F> {
    fn new(keep: F) -> Self {
        Self {
            keep,
            wire: PhantomData,
        }
    }
}

impl<'de, W, T, F> DeserializeSeed<'de> for Entries<W, F>
where
    W: Deserialize<'de>,
    F: FnMut(W) -> Option<T>,
{
    type Value = Vec<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<T>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, W, T, F> Visitor<'de> for Entries<W, F>
where
    W: Deserialize<'de>,
    F: FnMut(W) -> Option<T>,
{
    type Value = Vec<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list")
    }

    fn visit_unit<E>(self) -> Result<Vec<T>, E> {
        Ok(Vec::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut entries: A) -> Result<Vec<T>, A::Error> {
        let mut kept = Vec::new();
        while let Some(entry) = entries.next_element()? {
            kept.extend((self.keep)(entry));
        }
        kept.shrink_to_fit();
        Ok(kept)
    }
}

struct Wrapped<S>(S);

impl<'de, W, T, F> DeserializeSeed<'de> for Wrapped<Entries<W, F>>
where
    W: Deserialize<'de>,
    F: FnMut(W) -> Option<T>,
{
    type Value = (Envelope, Vec<T>);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, W, T, F> Visitor<'de> for Wrapped<Entries<W, F>>
where
    W: Deserialize<'de>,
    F: FnMut(W) -> Option<T>,
{
    type Value = (Envelope, Vec<T>);

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object with Code, Message and Response")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        let mut envelope = Envelope {
            code: 0,
            message: String::new(),
        };
        let mut entries = Some(self.0);
        let mut list = None;
        while let Some(field) = fields.next_key::<String>()? {
            match field.as_str() {
                "Code" => envelope.code = fields.next_value()?,
                "Message" => envelope.message = fields.next_value()?,
                "Response" => {
                    let seed = entries
                        .take()
                        .ok_or_else(|| serde::de::Error::duplicate_field("Response"))?;
                    list = Some(fields.next_value_seed(seed)?);
                }
                _ => {
                    fields.next_value::<IgnoredAny>()?;
                }
            }
        }
        let list = list.ok_or_else(|| serde::de::Error::missing_field("Response"))?;
        Ok((envelope, list))
    }
}
