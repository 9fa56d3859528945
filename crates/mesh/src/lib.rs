//! Pod CIDRs of Kubernetes Nodes as egress rules of Netmaker.
//!
//! Pods on different Nodes reach each other over a Netmaker mesh when each Node's
//! `spec.podCIDRs` are egress rules of that Node's host. This crate keeps them so: for each CIDR
//! and each network of the host one rule, and no other rule is ever touched.
//!
//! - [`Settings`]: what may be set
//! - [`run()`]: the controller; [`Mesh`] for looking, planning and cleaning up once
//! - [`ownership`]: the text by which a rule is known as ours, shared with the program `kaput-not`
//! - [`observe`], [`plan`], [`execute`]: one pass
//! - [`netmaker`]: the client

mod causes;
pub mod controller;
pub mod execute;
mod metrics;
pub mod names;
pub mod netmaker;
pub mod nodes;
pub mod observe;
mod once;
pub mod ownership;
pub mod plan;
mod report;
mod settings;

pub use controller::{Error, Parts, run};
pub use metrics::Metrics;
pub use once::{Mesh, MeshError, Removed, describe};
pub use report::{node_note, withheld_note};
pub use settings::{Settings, Share};
