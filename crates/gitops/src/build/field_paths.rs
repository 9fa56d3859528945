//! The places in an object that a slash-separated path means: lists are looked through.

use crate::source::Location;
use crate::yaml::{Field, Node, Shared, Value};

/// Calls `change` with each node at `path`. With `create`, missing mappings and the last field are
/// made at `at`, but no list items.
pub(super) fn at_path(
    node: &mut Node,
    path: &[String],
    create: Option<Location>,
    change: &mut dyn FnMut(&mut Node),
) {
    if create.is_some() || is_there(node, path) {
        visit(node, path, create, change);
    }
}

/// Whether anything is at `path`. Nothing is copied for what is not there.
fn is_there(node: &Node, path: &[String]) -> bool {
    if let Value::Sequence(items) = &node.value {
        return items.iter().any(|item| is_there(item, path));
    }
    let Some((key, rest)) = path.split_first() else {
        return true;
    };
    let next = node.get(key.strip_suffix("[]").unwrap_or(key));
    next.is_some_and(|next| is_there(next, rest))
}

fn visit(
    node: &mut Node,
    path: &[String],
    create: Option<Location>,
    change: &mut dyn FnMut(&mut Node),
) {
    if let Value::Sequence(items) = &mut node.value {
        for item in items {
            visit(item, path, create, change);
        }
        return;
    }
    let Some((key, rest)) = path.split_first() else {
        return change(node);
    };
    let key = key.strip_suffix("[]").unwrap_or(key);
    if let Some(at) = create
        && node.is_null()
    {
        *node = Node {
            at,
            value: Value::Mapping(Shared::default()),
        };
    }
    let Value::Mapping(fields) = &mut node.value else {
        return;
    };
    let known = fields.iter().position(|field| &*field.key == key);
    let index = match (known, create) {
        (Some(index), _) => index,
        (None, Some(at)) => {
            let value = Value::Null;
            fields.push(Field {
                key: key.into(),
                key_at: at,
                node: Node { at, value },
            });
            fields.len() - 1
        }
        (None, None) => return,
    };
    visit(&mut fields[index].node, rest, create, change);
}

/// The parts of a path. A slash that belongs to a part is written `\/`.
pub(super) fn split(path: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut letters = path.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' if letters.peek() == Some(&'/') => {
                letters.next();
                parts.last_mut().expect("never empty").push('/');
            }
            '/' => parts.push(String::new()),
            other => parts.last_mut().expect("never empty").push(other),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_split_at_slashes_that_are_not_escaped() {
        assert_eq!(
            split("metadata/annotations/a.b\\/c"),
            ["metadata", "annotations", "a.b/c"]
        );
    }
}
