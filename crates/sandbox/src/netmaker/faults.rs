//! What goes wrong between a server and its client, on purpose, for tests.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Method, Response, StatusCode, header};
use bytes::Bytes;
use futures::{StreamExt, stream};

/// One way to fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Another answer, and nothing is done.
    Answer {
        /// Its status.
        status: u16,
        /// Its media type.
        media_type: &'static str,
        /// Its body.
        body: String,
    },
    /// A redirect to this place, and nothing is done.
    Redirect(String),
    /// The true answer, but only the first half of it, and then the connection breaks.
    Truncated,
    /// An answer that begins like a list and never ends, and nothing is done.
    Endless,
    /// No answer, and nothing is done.
    SilentBefore,
    /// No answer, but what was asked for is done.
    SilentAfter,
    /// What was asked for is done, and then this answer is given.
    AnswerAfter {
        /// Its status.
        status: u16,
        /// Its media type.
        media_type: &'static str,
        /// Its body.
        body: String,
    },
    /// The true answer, late.
    Late(Duration),
    /// From now on no token holds that was given before.
    TokensEnd,
}

impl Fault {
    /// What a proxy says when the server behind it is gone.
    pub fn bad_gateway() -> Self {
        Self::html(502)
    }

    /// A page for people in the place of an answer.
    pub fn html(status: u16) -> Self {
        Self::Answer {
            status,
            media_type: "text/html",
            body: "<html><body>proxy</body></html>".to_owned(),
        }
    }

    /// What Go's router says of a path that it does not know.
    pub fn unknown_path() -> Self {
        Self::Answer {
            status: 404,
            media_type: "text/plain; charset=utf-8",
            body: "404 page not found\n".to_owned(),
        }
    }

    /// Another JSON with status 200.
    pub fn json(body: impl Into<String>) -> Self {
        Self::Answer {
            status: 200,
            media_type: "application/json",
            body: body.into(),
        }
    }

    /// Whether the server does what it was asked for.
    pub(super) fn lets_through(&self) -> bool {
        matches!(
            self,
            Self::Truncated
                | Self::SilentAfter
                | Self::AnswerAfter { .. }
                | Self::Late(_)
                | Self::TokensEnd
        )
    }
}

/// Which requests meet a fault, and how many of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultRule {
    method: Option<Method>,
    path: String,
    skip: u32,
    times: Option<u32>,
    fault: Fault,
}

impl FaultRule {
    /// Every request whose path begins with `path`.
    pub fn new(path: impl Into<String>, fault: Fault) -> Self {
        Self {
            method: None,
            path: path.into(),
            skip: 0,
            times: None,
            fault,
        }
    }

    /// Only requests of this method.
    #[must_use]
    pub fn on(mut self, method: Method) -> Self {
        self.method = Some(method);
        self
    }

    /// The first few pass.
    #[must_use]
    pub fn after(mut self, requests: u32) -> Self {
        self.skip = requests;
        self
    }

    /// Only so many meet it.
    #[must_use]
    pub fn times(mut self, requests: u32) -> Self {
        self.times = Some(requests);
        self
    }
}

/// The faults of a server. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<VecDeque<FaultRule>>>);

impl Faults {
    /// Adds a rule behind those that are there.
    pub fn add(&self, rule: FaultRule) {
        self.rules(|rules| rules.push_back(rule));
    }

    /// Removes all rules.
    pub fn clear(&self) {
        self.rules(VecDeque::clear);
    }

    /// How many rules still wait for requests.
    pub fn pending(&self) -> usize {
        self.rules(|rules| rules.len())
    }

    /// The fault that this request meets.
    pub(super) fn next(&self, method: &Method, path: &str) -> Option<Fault> {
        self.rules(|rules| {
            let is_meant = |rule: &FaultRule| {
                rule.method.as_ref().is_none_or(|wanted| wanted == method)
                    && path.starts_with(&rule.path)
            };
            let index = rules.iter().position(is_meant)?;
            let rule = rules.get_mut(index)?;
            if rule.skip > 0 {
                rule.skip -= 1;
                return None;
            }
            let fault = rule.fault.clone();
            if let Some(left) = &mut rule.times {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    rules.remove(index);
                }
            }
            Some(fault)
        })
    }

    fn rules<T>(&self, change: impl FnOnce(&mut VecDeque<FaultRule>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What the client sees. `answer` is the true answer, where there is one.
pub(super) async fn show(fault: Fault, answer: Option<Response<Body>>) -> Response<Body> {
    match (fault, answer) {
        (
            Fault::Answer {
                status,
                media_type,
                body,
            }
            | Fault::AnswerAfter {
                status,
                media_type,
                body,
            },
            _,
        ) => {
            let mut response = Response::new(Body::from(body));
            *response.status_mut() =
                StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let kind = HeaderValue::from_static(media_type);
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            response
        }
        (Fault::Redirect(place), _) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
            if let Ok(place) = place.parse() {
                response.headers_mut().insert(header::LOCATION, place);
            }
            response
        }
        (Fault::Truncated, Some(answer)) => truncated(answer).await,
        (Fault::Endless, _) => endless(),
        (Fault::Late(wait), Some(answer)) => {
            tokio::time::sleep(wait).await;
            answer
        }
        (Fault::TokensEnd, Some(answer)) => answer,
        (Fault::SilentBefore | Fault::SilentAfter, _)
        | (Fault::Truncated | Fault::Late(_) | Fault::TokensEnd, None) => {
            std::future::pending().await
        }
    }
}

async fn truncated(answer: Response<Body>) -> Response<Body> {
    let (parts, body) = answer.into_parts();
    let whole = axum::body::to_bytes(body, usize::MAX)
        .await
        .unwrap_or_default();
    let half = whole.slice(..whole.len() / 2);
    let broken = stream::once(async { Err::<Bytes, _>(std::io::Error::other("cut off")) });
    let chunks = stream::once(async move { Ok(half) }).chain(broken);
    Response::from_parts(parts, Body::from_stream(chunks))
}

fn endless() -> Response<Body> {
    let spaces = stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 64 << 10])));
    let begin = stream::once(async { Ok(Bytes::from_static(b"[")) });
    let mut response = Response::new(Body::from_stream(begin.chain(spaces)));
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
