//! The Machine controller: is the machine there, who is it, what is it?
//!
//! Owns `status.discoverable`, the facts, the pinned host key and the conditions `Reachable`,
//! `HardwareInspected` and `Ready` of every Machine. What is configured on a machine belongs to
//! the NixosConfiguration controller.
//!
//! - `controller`: what starts a probe
//! - `schedule`: when the next probe of a machine is due
//! - `under_way`: the probes that have begun and not ended
//! - `observe`: one probe, one session
//! - `facts`: what is asked of a host
//! - `plan`: from what was observed to status and events; pure
//! - `execute`: pins, writes, publishes
//! - `settings`: what an administrator can set
//! - `metrics`: numbers about machines and sessions

mod controller;
mod execute;
pub(crate) mod facts;
mod metrics;
mod observe;
mod plan;
mod schedule;
mod settings;
mod under_way;

pub use controller::Error;
pub(crate) use controller::run;
pub use metrics::MachineMetrics;
pub use settings::Settings;
