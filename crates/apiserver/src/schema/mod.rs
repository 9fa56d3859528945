//! What the server knows about the shape of objects: how built-in kinds are merged and
//! the structural schemas of custom resources.

mod builtin;
mod merge_type;

pub use merge_type::{ListKey, ListType, MergeType, PatchStrategy};
