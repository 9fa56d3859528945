//! How large a value is with all that its aliases stand for.

use crate::yaml::{Node, Value};

/// The size of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// About how many bytes a copy of all of it takes.
    pub(crate) bytes: usize,
    /// How deeply it is nested; 0 for a scalar.
    pub(crate) depth: usize,
}

impl Extent {
    /// The extent of a value. None where it is more than so many bytes: not all of it is looked at then.
    pub(crate) fn within(node: &Node, most_bytes: usize) -> Option<Self> {
        let mut extent = Self { bytes: 0, depth: 0 };
        let mut open = vec![(node, 0)];
        while let Some((node, depth)) = open.pop() {
            extent.depth = extent.depth.max(depth);
            extent.bytes += size_of::<Node>();
            match &node.value {
                Value::Text(text) | Value::Number(text) => extent.bytes += text.len(),
                Value::Sequence(items) => open.extend(items.iter().map(|item| (item, depth + 1))),
                Value::Mapping(fields) => {
                    let names = fields.iter().map(|field| field.key.len() + 32);
                    extent.bytes += names.sum::<usize>();
                    open.extend(fields.iter().map(|field| (&field.node, depth + 1)));
                }
                Value::Null | Value::Bool(_) => {}
            }
            if extent.bytes > most_bytes {
                return None;
            }
        }
        Some(extent)
    }
}
