//! What the benchmarks share: a table, processes seen from outside, and a client that is cheap
//! enough to run on the cores of what it measures.
//!
//! Benchmarks are programs in `src/bin`, one for each part of NICO. They print a table and judge
//! nothing: how fast a machine is, is no property of the code.

pub mod api_server;
pub mod client;
pub mod ending;
pub mod metrics;
pub mod nodes;
pub mod percentile;
pub mod process;
pub mod spawn;
pub mod table;
