//! The fields of a mapping while it is read: each name once.

use std::collections::HashSet;

use crate::yaml::{Field, Node, Shared, Value};

/// Up to so many fields, looking at all of them is as fast as remembering their names.
const FEW: usize = 32;

/// Fields with unique names, in the order in which they came.
#[derive(Default)]
pub(super) struct Fields {
    fields: Vec<Field>,
    /// Their names, where there are more than a few.
    names: HashSet<Box<str>>,
}

impl Fields {
    /// Adds a field. One whose name is there already is handed back.
    pub(super) fn add(&mut self, field: Field) -> Result<(), Field> {
        if self.fields.len() == FEW {
            let names = self.fields.iter().map(|field| field.key.clone());
            self.names.extend(names);
        }
        let is_new = if self.fields.len() < FEW {
            self.fields.iter().all(|known| known.key != field.key)
        } else {
            self.names.insert(field.key.clone())
        };
        if is_new {
            self.fields.push(field);
            return Ok(());
        }
        Err(field)
    }

    /// Where the last value ends.
    pub(super) fn end(&self) -> Option<u32> {
        self.fields.last().map(|field| field.node.at.end)
    }

    /// The fields, and those of the merged mappings that are not among them. The first one wins.
    pub(super) fn merged_with(mut self, merged: Vec<Node>) -> Shared<Field> {
        for node in merged {
            let sources = match &node.value {
                Value::Sequence(several) => several,
                _ => std::slice::from_ref(&node),
            };
            for field in sources.iter().flat_map(Node::fields) {
                // What is there wins.
                let _ = self.add(field.clone());
            }
        }
        self.fields.into()
    }
}
