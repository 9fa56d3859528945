//! The cluster controller against an embedded API server, with a stand-in for the machine layer
//! and a second server as the new cluster.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests fail tests by panicking, and say what they covered"
)]

mod crashes;
mod creation;
mod deletion;
mod kubeconfig;
mod lab;
mod machine_layer;
mod mistakes;
mod races;
mod reference_defects;
mod renewal;
mod reports;
mod silence;
mod sizes;
mod versions;
mod writes;
