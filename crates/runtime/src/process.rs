//! Child programs that end as a whole, with all that they started.

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Child;

/// The process group of a child that was started with `process_group(0)`. It is killed on drop,
/// unless the child ended by itself, so that no helper of a program is left behind by a call that
/// is given up.
#[derive(Debug)]
pub struct ProcessGroup(Option<Pid>);

impl ProcessGroup {
    /// The group that `child` leads.
    pub fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(Pid::from_raw))
    }

    /// The child, unless it has ended.
    pub fn leader(&self) -> Option<Pid> {
        self.0
    }

    /// Leaves the group alone: the child was seen to end, and its number may be another's.
    pub fn disarm(&mut self) {
        self.0 = None;
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // The group may be gone already, which is as good.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}
