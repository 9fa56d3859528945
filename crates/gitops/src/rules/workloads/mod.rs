//! The rules for workloads that are written in the repository. What charts make is not looked at.

pub mod availability;
pub mod images;
pub mod pods;
pub mod probes;
pub mod security;
pub mod storage;
