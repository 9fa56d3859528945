//! What objects of the single kinds look like: their types, defaults and rules.
//!
//! Everything here is pure: a value goes in, a value or a list of problems comes out.

mod access;
mod addresses;
mod admission;
mod autoscaling;
mod cidr;
mod conditions;
mod container_hooks;
mod container_variables;
mod containers;
mod convert;
mod core;
mod crd_names;
mod crd_rules;
mod crd_versions;
mod crds;
mod events;
pub mod finalizers;
mod job_rules;
mod kinds;
mod limits;
mod metadata;
mod names;
mod network_policies;
mod networking;
mod nodes;
mod paths;
mod pod_parts;
mod pod_placement;
mod pods;
mod quantity;
mod schedule;
mod selectors;
mod services;
mod shape;
mod storage;
mod typed;
mod values;
pub mod warnings;
mod workload_rules;
mod workloads;

pub use addresses::{NotAssigned, Taken, assign as assign_addresses};
pub use conditions::{condition, is_true, set_condition};
pub use convert::{from_storage, to_storage};
pub use crds::{conflicting_names, judge_names, mark_terminating, names_accepted, tell_deletion};
pub use kinds::{apply_defaults, before_create, before_update, validate, validate_update};
pub use limits::{SYSTEM_PRIORITIES, is_system_priority};
pub use metadata::{drop_repeated_owners, validate_metadata, validate_metadata_update};
pub use names::{label_value as value_problems, qualified as key_problems};
pub use paths::{get_path, selector_text, set_path};
pub use selectors::selects;
pub use shape::open_api_definitions;
pub use typed::{Type, decode_metadata};
pub use values::{items, text};
