//! What every controller shares, and nothing that knows a custom resource.
//!
//! - [`context`]: what a controller is given when it starts
//! - [`category`], [`backoff`]: how bad an error is, and how long to wait after it
//! - [`causes`]: an error in words
//! - [`events`], [`status`]: how controllers speak to people and to each other
//! - [`leader`]: one process at a time, by a Lease
//! - [`process`]: child programs that end as a whole
//! - [`proxy`]: which proxy the environment wants on the way to a server
//! - [`server`]: probes and metrics over HTTP
//! - [`shutdown`]: from a signal to an orderly end
//! - [`telemetry`] for the logs

pub mod backoff;
pub mod category;
pub mod causes;
pub mod context;
pub mod events;
pub mod leader;
pub mod process;
pub mod proxy;
pub mod server;
pub mod shutdown;
pub mod status;
pub mod telemetry;
