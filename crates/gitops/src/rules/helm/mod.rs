//! The rules for HelmReleases.

pub mod chart;
pub mod hooks;
pub mod release;
pub mod remediation;
pub mod resources;
pub mod values;
