//! What a person at a terminal is told: `nico status` and `nico plan`.
//!
//! - [`snapshot`]: clusters, machines and configurations, as far as they may be read
//! - [`status`]: from a snapshot to a [`status::StatusReport`]; [`state`]: where a machine stands
//! - [`changes`]: what is different between two reports
//! - [`preview`]: from what the controller sees to a [`preview::PlanReport`];
//!   [`look`]: sees it without a controller; [`words`]: what an action does, and why
//! - [`text`]: reports as lines of text
//!
//! Nothing here writes to any API.

pub mod changes;
pub mod look;
pub mod preview;
pub mod snapshot;
pub mod state;
pub mod status;
pub mod text;
mod words;

#[cfg(test)]
mod tests;
