//! Probes that are under way, each a task of its own.
//!
//! Whenever one reconciliation goes on, the runner of a controller polls all that have not ended.
//! With thousands of machines that wait for their turn that is most of the work. So a
//! reconciliation only begins a probe, and comes again when it has ended.

use std::any::Any;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::channel::mpsc;
use futures::{FutureExt, Stream};
use kube::Resource;
use kube::runtime::reflector::ObjectRef;
use tokio_util::sync::CancellationToken;

use super::controller::Guarded;

/// The probes of this process, by the uid of the Machine. `E` is why a probe failed.
pub(super) struct UnderWay<E> {
    probes: Mutex<HashMap<String, Probe<E>>>,
    ended: mpsc::UnboundedSender<ObjectRef<Guarded>>,
    stop: CancellationToken,
}

/// What became of a probe, until somebody asks.
enum Probe<E> {
    Runs,
    Failed(E),
    Panicked(Box<dyn Any + Send>),
}

/// What is to be done about a machine.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum State<E> {
    /// No probe is under way.
    Idle,
    /// A probe is under way; the machine comes again when it has ended.
    Runs,
    /// A probe has failed. It is told once.
    Failed(E),
}

impl<E: Send + 'static> UnderWay<E> {
    /// No probes yet, and the machines of which a probe has ended. All probes end when `stop` is
    /// cancelled.
    pub(super) fn new(stop: CancellationToken) -> (Self, impl Stream<Item = ObjectRef<Guarded>>) {
        let (ended, machines) = mpsc::unbounded();
        let under_way = Self {
            probes: Mutex::default(),
            ended,
            stop,
        };
        (under_way, machines)
    }

    /// What is known of a machine's probe.
    ///
    /// # Panics
    /// If the probe did.
    pub(super) fn state(&self, machine: &Guarded) -> State<E> {
        let mut probes = self.lock();
        let key = key(machine);
        match probes.remove(&key) {
            None => State::Idle,
            Some(Probe::Failed(error)) => State::Failed(error),
            Some(Probe::Runs) => {
                probes.insert(key, Probe::Runs);
                State::Runs
            }
            Some(Probe::Panicked(panic)) => {
                drop(probes);
                std::panic::resume_unwind(panic)
            }
        }
    }

    /// Begins a probe of a machine that has none.
    pub(super) fn begin(
        self: &Arc<Self>,
        machine: &Guarded,
        probe: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let (key, reference) = (key(machine), ObjectRef::from_obj(machine));
        self.lock().insert(key.clone(), Probe::Runs);
        let under_way = Arc::clone(self);
        tokio::spawn(async move {
            let probe = AssertUnwindSafe(probe).catch_unwind();
            let outcome = tokio::select! {
                outcome = probe => outcome,
                () = under_way.stop.cancelled() => return,
            };
            under_way.note(&key, outcome);
            // Without a receiver there is nobody left who would look at it.
            let _ = under_way.ended.unbounded_send(reference);
        });
    }

    fn note(&self, key: &str, outcome: Result<Result<(), E>, Box<dyn Any + Send>>) {
        let mut probes = self.lock();
        // What was forgotten in the meantime is not taken up again.
        let Some(probe) = probes.get_mut(key) else {
            return;
        };
        match outcome {
            Ok(Ok(())) => {
                probes.remove(key);
            }
            Ok(Err(error)) => *probe = Probe::Failed(error),
            Err(panic) => *probe = Probe::Panicked(panic),
        }
    }

    /// Forgets a machine that is gone. A probe that is under way goes on, and nobody hears of it.
    pub(super) fn forget(&self, machine: &Guarded) {
        self.lock().remove(&key(machine));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Probe<E>>> {
        self.probes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(machine: &Guarded) -> String {
    machine.meta().uid.clone().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use kube::core::DeserializeGuard;
    use nico_api::Machine;
    use serde_json::json;
    use tokio::sync::oneshot;

    use super::*;

    fn machine(uid: &str) -> Guarded {
        let machine: Machine = serde_json::from_value(json!({
            "metadata": {"name": uid, "namespace": "default", "uid": uid},
            "spec": {"hostname": uid, "ipAddress": "192.0.2.1"},
        }))
        .expect("a Machine");
        DeserializeGuard(Ok(machine))
    }

    fn probes() -> (
        Arc<UnderWay<&'static str>>,
        impl Stream<Item = ObjectRef<Guarded>>,
    ) {
        let (under_way, ended) = UnderWay::new(CancellationToken::new());
        (Arc::new(under_way), ended)
    }

    #[tokio::test]
    async fn a_machine_comes_again_when_its_probe_has_ended() {
        let (under_way, mut ended) = probes();
        let machine = machine("one");
        assert_eq!(under_way.state(&machine), State::Idle);
        let (finish, finished) = oneshot::channel::<()>();
        under_way.begin(&machine, async move {
            finished.await.map_err(|_| "nobody asked for it")
        });
        assert_eq!(under_way.state(&machine), State::Runs);
        finish.send(()).expect("the probe waits");
        assert_eq!(ended.next().await.expect("the end").name, "one");
        assert_eq!(under_way.state(&machine), State::Idle);
    }

    #[tokio::test]
    async fn a_failure_is_told_once() {
        let (under_way, mut ended) = probes();
        let machine = machine("one");
        under_way.begin(&machine, async { Err("no answer") });
        ended.next().await.expect("the end");
        assert_eq!(under_way.state(&machine), State::Failed("no answer"));
        assert_eq!(under_way.state(&machine), State::Idle);
    }

    #[tokio::test]
    #[should_panic(expected = "a mistake in a probe")]
    async fn a_panic_is_passed_on() {
        let (under_way, mut ended) = probes();
        let machine = machine("one");
        under_way.begin(&machine, async { panic!("a mistake in a probe") });
        ended.next().await.expect("the end");
        under_way.state(&machine);
    }

    #[tokio::test]
    async fn nothing_is_kept_of_a_machine_that_is_gone() {
        let (under_way, mut ended) = probes();
        let machine = machine("one");
        let (finish, finished) = oneshot::channel::<()>();
        under_way.begin(
            &machine,
            async move { finished.await.map_err(|_| "gave up") },
        );
        under_way.forget(&machine);
        drop(finish);
        ended.next().await.expect("the end");
        assert_eq!(under_way.state(&machine), State::Idle);
    }

    #[tokio::test]
    async fn probes_end_with_the_controller() {
        let stop = CancellationToken::new();
        let (under_way, _ended) = UnderWay::<&str>::new(stop.clone());
        let under_way = Arc::new(under_way);
        let (finish, finished) = oneshot::channel::<()>();
        under_way.begin(&machine("one"), async move {
            finished.await.map_err(|_| "gave up")
        });
        stop.cancel();
        let mut finish = finish;
        finish.closed().await;
    }
}
