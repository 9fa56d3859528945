//! What the server knows about the shape of objects: how built-in kinds are merged and
//! the structural schemas of custom resources.

mod builtin;
mod cause;
mod cel_value;
#[cfg(test)]
mod conformance;
mod custom;
mod defaulting;
mod embedded;
mod expression;
mod formats;
mod list_rules;
mod list_types;
mod merge_type;
mod node;
mod path;
mod pattern;
mod pruning;
mod rule_budget;
mod rule_checks;
mod rule_cost;
mod rule_functions;
mod rule_types;
mod rules;
mod structural;
mod validation;

pub use cause::{Cause, CauseReason};
pub use custom::Schema;
pub(crate) use merge_type::UndeclaredFields;
pub use merge_type::{ListKey, ListType, MergeType, PatchStrategy};
