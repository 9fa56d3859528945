//! Events on objects, for people. An event that cannot be published never stops a controller.

use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{EventType, Recorder, Reporter};
use kube::{Client, Resource};
use tracing::{debug, warn};

/// One thing that happened to an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Whether a person should look.
    pub kind: EventKind,
    /// Stable word in `PascalCase`, documented.
    pub reason: &'static str,
    /// What the controller did, in `PascalCase`.
    pub action: &'static str,
    /// A sentence, at most 1 kB; longer ones are cut.
    pub note: String,
}

/// Whether a person should look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// All is well.
    Normal,
    /// Something is not as it should be.
    Warning,
}

/// Publishes events in the name of one controller. Repeated events are counted, not repeated, as
/// long as they are among the last few hundred.
#[derive(Clone)]
pub struct Events {
    client: Client,
    reporter: Reporter,
    recent: Arc<Mutex<Recent>>,
}

/// A recorder keeps each event for minutes and looks through all of them for each new one: with
/// thousands of objects that is most of an operator's time and memory. So it is replaced by a new
/// one after [`Recent::MOST`] events.
struct Recent {
    recorder: Recorder,
    published: usize,
}

impl Recent {
    const MOST: usize = 500;
}

impl Events {
    /// Events that are reported by `controller`, a name such as `nico-operator`.
    pub fn new(client: Client, controller: &str) -> Self {
        let reporter = Reporter {
            controller: controller.to_owned(),
            instance: None,
        };
        let recent = Recent {
            recorder: Recorder::new(client.clone(), reporter.clone()),
            published: 0,
        };
        Self {
            client,
            reporter,
            recent: Arc::new(Mutex::new(recent)),
        }
    }

    /// Logs an event on `object` and publishes it. A failure is logged.
    pub async fn publish(&self, object: &impl Resource<DynamicType = ()>, event: Event) {
        let reference = object.object_ref(&());
        log(&reference, &event);
        self.send(&reference, event).await;
    }

    /// Publishes an event that its owner has logged already. A failure is logged.
    pub async fn publish_logged(&self, object: &impl Resource<DynamicType = ()>, event: Event) {
        self.send(&object.object_ref(&()), event).await;
    }

    async fn send(&self, reference: &ObjectReference, event: Event) {
        let published = self
            .recorder()
            .publish(
                &kube::runtime::events::Event {
                    type_: match event.kind {
                        EventKind::Normal => EventType::Normal,
                        EventKind::Warning => EventType::Warning,
                    },
                    reason: event.reason.to_owned(),
                    note: Some(cut(event.note)),
                    action: event.action.to_owned(),
                    secondary: None,
                },
                reference,
            )
            .await;
        if let Err(error) = published {
            debug!(%error, reason = event.reason, "event not published");
        }
    }

    fn recorder(&self) -> Recorder {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.published == Recent::MOST {
            *recent = Recent {
                recorder: Recorder::new(self.client.clone(), self.reporter.clone()),
                published: 0,
            };
        }
        recent.published += 1;
        recent.recorder.clone()
    }
}

fn log(reference: &ObjectReference, event: &Event) {
    let kind = reference.kind.as_deref().unwrap_or_default();
    let namespace = reference.namespace.as_deref().unwrap_or_default();
    let name = reference.name.as_deref().unwrap_or_default();
    match event.kind {
        EventKind::Normal => {
            tracing::info!(
                kind,
                namespace,
                name,
                reason = event.reason,
                "{}",
                event.note
            );
        }
        EventKind::Warning => {
            warn!(
                kind,
                namespace,
                name,
                reason = event.reason,
                "{}",
                event.note
            );
        }
    }
}

/// The API server refuses notes of more than 1,024 bytes.
fn cut(note: String) -> String {
    const MAX_BYTES: usize = 1024;
    if note.len() <= MAX_BYTES {
        return note;
    }
    let end = (0..=MAX_BYTES - '…'.len_utf8())
        .rev()
        .find(|index| note.is_char_boundary(*index))
        .unwrap_or(0);
    format!("{}…", &note[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_fit_the_limit_of_the_api() {
        assert_eq!(cut("short".to_owned()), "short");
        assert!(cut("ä".repeat(1000)).len() <= 1024);
    }
}
