//! Lists the objects of one kind, page by page.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::BodyExt;
use kube::Client;
use kube::api::ListParams;
use kube::client::Body;
use kube::core::Status;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::world::{Kind, Listed, Outcome, Reach, Reading};

/// Objects on one page. A page is in memory as a whole, as text, until it was read; a Pod has some
/// 5 to 10 KB.
const PAGE: u32 = 10_000;

/// What is asked about a kind.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    /// The versions in which the API server serves the kind; `None` when it did not say.
    pub(crate) served: Option<Vec<String>>,
    /// The namespace that is asked about.
    pub(crate) namespace: Option<String>,
    /// How long the API server may be silent.
    pub(crate) timeout: Duration,
    /// Counts the requests.
    pub(crate) requests: Arc<AtomicUsize>,
}

/// A page of objects.
#[derive(Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
struct Page<T> {
    #[serde(default)]
    metadata: PageMetadata,
    #[serde(default = "Vec::new")]
    items: Vec<T>,
}

#[derive(Default, Deserialize)]
struct PageMetadata {
    #[serde(default, rename = "continue")]
    next: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// The API server refuses.
    #[error("{message}")]
    Refused { code: StatusCode, message: String },
    /// There was no answer in time.
    #[error("no answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// There is no way to the API server.
    #[error("{0}")]
    Broken(String),
    /// The answer is no list.
    #[error("the answer cannot be understood: {0}")]
    NotUnderstood(#[from] serde_json::Error),
}

/// All objects of a kind that a question is about.
pub(crate) async fn list<T>(client: &Client, kind: &'static Kind, question: Question) -> Reading<T>
where
    T: DeserializeOwned + Listed,
{
    let namespace = question.namespace.as_deref();
    match (kind.reach, namespace) {
        (Reach::Cluster, _) | (_, None) => list_in(client, kind, None, &question).await,
        (Reach::Namespace, Some(_)) => list_in(client, kind, namespace, &question).await,
        (Reach::Everywhere, Some(_)) => {
            let all = list_in(client, kind, None, &question).await;
            match all.outcome {
                Outcome::Forbidden(_) => list_in(client, kind, namespace, &question).await,
                _ => all,
            }
        }
    }
}

/// Tries one version of the group after the other until one serves the kind.
async fn list_in<T>(
    client: &Client,
    kind: &'static Kind,
    namespace: Option<&str>,
    question: &Question,
) -> Reading<T>
where
    T: DeserializeOwned + Listed,
{
    for version in versions(kind, question.served.as_deref()) {
        let path = path(kind, version, namespace);
        let reading = pages(client, kind, &path, question).await;
        if reading.outcome != Outcome::Absent {
            return reading;
        }
    }
    Reading {
        items: vec![],
        outcome: Outcome::Absent,
    }
}

/// What is read before a failure is kept: it is true, though not all.
async fn pages<T>(
    client: &Client,
    kind: &'static Kind,
    path: &str,
    question: &Question,
) -> Reading<T>
where
    T: DeserializeOwned + Listed,
{
    let mut items = vec![];
    let mut malformed = vec![];
    let mut parameters = ListParams::default().limit(PAGE);
    if kind.name == "Event" {
        parameters = parameters.fields("type=Warning");
    }
    loop {
        match page::<T>(client, kind, path, &parameters, question, &mut malformed).await {
            Ok(page) => {
                items.extend(page.items);
                if page.metadata.next.is_empty() {
                    break;
                }
                parameters = parameters.continue_token(&page.metadata.next);
            }
            Err(error) => {
                return Reading {
                    items,
                    outcome: error.outcome(),
                };
            }
        }
    }
    let mut reading = Reading {
        items,
        outcome: Outcome::Known { malformed },
    };
    reading.sort();
    reading
}

async fn page<T>(
    client: &Client,
    kind: &'static Kind,
    path: &str,
    parameters: &ListParams,
    question: &Question,
    malformed: &mut Vec<String>,
) -> Result<Page<T>, AskError>
where
    T: DeserializeOwned + Listed,
{
    let request = kube::core::Request::new(path)
        .list(parameters)
        .map_err(|error| AskError::Broken(error.to_string()))?;
    let accept = match kind.is_metadata_enough() {
        true => "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
        false => "application/json",
    };
    let text = ask(client, request, accept, question).await?;
    let mut page = match serde_json::from_slice::<Page<T>>(&text) {
        Ok(page) => page,
        // One object is not as it should be. The others are read all the same.
        Err(_) => one_by_one(&text, malformed)?,
    };
    for item in &mut page.items {
        item.tell_kind(kind.name);
    }
    Ok(page)
}

fn one_by_one<T: DeserializeOwned>(
    text: &[u8],
    malformed: &mut Vec<String>,
) -> Result<Page<T>, AskError> {
    let page: Page<Value> = serde_json::from_slice(text)?;
    let mut items = vec![];
    for object in page.items {
        let word = |field: &str| {
            object["metadata"][field]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        let (namespace, name) = (word("namespace"), word("name"));
        match serde_json::from_value(object) {
            Ok(item) => items.push(item),
            Err(error) => malformed.push(format!("{namespace}/{name}: {error}")),
        }
    }
    Ok(Page {
        metadata: page.metadata,
        items,
    })
}

/// The body of an answer. A long one may take its time, as long as it goes on.
pub(crate) async fn ask(
    client: &Client,
    mut request: Request<Vec<u8>>,
    accept: &'static str,
    question: &Question,
) -> Result<Vec<u8>, AskError> {
    let accept = http::HeaderValue::from_static(accept);
    request.headers_mut().insert(http::header::ACCEPT, accept);
    question.requests.fetch_add(1, Ordering::Relaxed);
    let response = question.in_time(client.send(request.map(Body::from)));
    let response = response.await?;
    let response = response.map_err(|error| AskError::Broken(said(&error)))?;
    let code = response.status();
    let mut frames = response.into_body();
    let mut body = vec![];
    while let Some(frame) = question.in_time(frames.frame()).await? {
        let frame = frame.map_err(|error| AskError::Broken(said(&error)))?;
        if let Ok(data) = frame.into_data() {
            body.extend_from_slice(&data);
        }
    }
    if code.is_success() {
        return Ok(body);
    }
    let message = match serde_json::from_slice::<Status>(&body) {
        Ok(status) if !status.message.is_empty() => status.message,
        _ => String::from_utf8_lossy(&body).trim().to_owned(),
    };
    Err(AskError::Refused { code, message })
}

impl Question {
    async fn in_time<T>(&self, answer: impl Future<Output = T>) -> Result<T, AskError> {
        let answer = tokio::time::timeout(self.timeout, answer).await;
        answer.map_err(|_| AskError::TimedOut(self.timeout))
    }
}

impl AskError {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Refused { code, .. } if *code == StatusCode::NOT_FOUND => Outcome::Absent,
            Self::Refused { code, message }
                if matches!(*code, StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED) =>
            {
                Outcome::Forbidden(message.clone())
            }
            Self::Refused { code, .. } if *code == StatusCode::GATEWAY_TIMEOUT => {
                Outcome::TimedOut("the API server gave up".to_owned())
            }
            Self::TimedOut(_) => Outcome::TimedOut(self.to_string()),
            Self::Refused { code, message } => Outcome::Failed(format!("{code}: {message}")),
            Self::Broken(_) | Self::NotUnderstood(_) => Outcome::Failed(self.to_string()),
        }
    }
}

/// An error with its causes, each said once.
pub(crate) fn said(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        next = cause.source();
    }
    text
}

/// The versions to try, the best first. What the API server offers beside those that are known
/// comes last: fields seldom go away.
fn versions<'a>(kind: &'a Kind, served: Option<&'a [String]>) -> Vec<&'a str> {
    let Some(served) = served else {
        return kind.versions.to_vec();
    };
    let is_served = |version: &&str| served.iter().any(|one| one == version);
    let known: Vec<&str> = kind.versions.iter().copied().filter(is_served).collect();
    match known.is_empty() {
        true => served.iter().take(1).map(String::as_str).collect(),
        false => known,
    }
}

fn path(kind: &Kind, version: &str, namespace: Option<&str>) -> String {
    let group = match kind.group {
        "" => format!("/api/{version}"),
        group => format!("/apis/{group}/{version}"),
    };
    match namespace {
        Some(namespace) => format!("{group}/namespaces/{namespace}/{}", kind.plural),
        None => format!("{group}/{}", kind.plural),
    }
}
