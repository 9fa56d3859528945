//! What is to be done, and what is to be looked at later.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

pub use crate::controllers::follow::RETRY;

/// The key of an object.
pub type Key = Arc<str>;

/// Something to do about an object; for the workloads, to do what they want.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Task {
    /// To end a Pod that is being deleted. Those whose time is up first end first.
    End {
        /// The deletion timestamp.
        at: String,
        /// The Pod.
        pod: Key,
    },
    /// To place, start or evict a Pod.
    Pod(Key),
    /// A DaemonSet.
    DaemonSet(Key),
    /// A ReplicaSet.
    ReplicaSet(Key),
    /// A Deployment.
    Deployment(Key),
    /// A StatefulSet.
    StatefulSet(Key),
    /// A Job.
    Job(Key),
}

/// Tasks that are due, and tasks that will be.
#[derive(Debug, Default)]
pub struct Queue {
    due: BTreeSet<Task>,
    later: BTreeSet<(Instant, Task)>,
    /// When each of those is due: once is enough, for whoever does it looks what comes then.
    at: BTreeMap<Task, Instant>,
}

impl Queue {
    /// Adds a task that is due. One that is there already is not added twice.
    pub fn push(&mut self, task: Task) {
        self.due.insert(task);
    }

    /// Adds a task that is due after some time, or earlier if it is there already.
    pub fn later(&mut self, task: Task, after: Duration) {
        let at = Instant::now() + after;
        match self.at.get(&task) {
            Some(known) if *known <= at => return,
            Some(known) => self.later.remove(&(*known, task.clone())),
            None => true,
        };
        self.at.insert(task.clone(), at);
        self.later.insert((at, task));
    }

    /// Takes out what is due, in order.
    pub fn take(&mut self, now: Instant) -> BTreeSet<Task> {
        while self.later.first().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, task)) = self.later.pop_first() {
                self.at.remove(&task);
                self.due.insert(task);
            }
        }
        std::mem::take(&mut self.due)
    }

    /// Waits until something is due; for ever if there is nothing.
    pub fn wait(&self) -> impl Future<Output = ()> + use<> {
        let now = !self.due.is_empty();
        let later = self.later.first().map(|(at, _)| *at);
        async move {
            match later {
                _ if now => {}
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_end_in_the_order_of_their_times_and_tasks_are_done_once() {
        let mut queue = Queue::default();
        let end = |at: &str, pod: &str| Task::End {
            at: at.to_owned(),
            pod: pod.into(),
        };
        for task in [
            Task::Pod("p".into()),
            end("2", "a"),
            end("1", "b"),
            end("2", "a"),
        ] {
            queue.push(task);
        }
        let taken: Vec<Task> = queue.take(Instant::now()).into_iter().collect();
        assert_eq!(taken, [end("1", "b"), end("2", "a"), Task::Pod("p".into())]);
        assert!(queue.take(Instant::now()).is_empty());
    }

    #[test]
    fn what_is_for_later_is_not_due_now() {
        let mut queue = Queue::default();
        queue.later(Task::Pod("p".into()), RETRY * 2);
        queue.later(Task::Pod("p".into()), RETRY);
        queue.later(Task::Pod("p".into()), RETRY * 3);
        assert!(queue.take(Instant::now()).is_empty());
        assert_eq!(queue.take(Instant::now() + RETRY).len(), 1);
        assert!(queue.take(Instant::now() + RETRY * 4).is_empty());
    }
}
