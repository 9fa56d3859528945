//! JSON patches (RFC 6902) on nodes with places.

use crate::load::{Extent, MAX_DOCUMENT_BYTES};
use crate::yaml::{Field, Node, Value};

/// Applies the operations in order. The error names the first that is not possible; the node is then
/// half changed, and must not be used.
pub(super) fn apply(node: &mut Node, operations: &[Node]) -> Result<(), String> {
    let mut bytes_left = MAX_DOCUMENT_BYTES;
    let mut operations = operations.iter();
    operations.try_for_each(|operation| apply_one(node, operation, &mut bytes_left))
}

/// Copies of copies of copies are a bomb: `bytes_left` is what may still be copied.
fn apply_one(node: &mut Node, operation: &Node, bytes_left: &mut usize) -> Result<(), String> {
    let field = |key: &str| {
        let text = operation.text_of(key);
        text.ok_or_else(|| format!("an operation of the JSON patch has no {key:?}"))
    };
    let (name, path) = (field("op")?, field("path")?);
    let value = || {
        let value = operation.get("value").cloned();
        value.ok_or_else(|| format!("the operation {name} {path} has no value"))
    };
    let outcome = match name {
        "add" => add(node, path, value()?),
        "remove" => take(node, path).map(drop),
        "replace" => find(node, path).and_then(|target| {
            *target = value().ok()?;
            Some(())
        }),
        "move" => take(node, field("from")?).and_then(|taken| add(node, path, taken)),
        "copy" => {
            let copied = find(node, field("from")?).cloned();
            copied.and_then(|copied| {
                *bytes_left -= Extent::within(&copied, *bytes_left)?.bytes;
                add(node, path, copied)
            })
        }
        "test" => {
            let expected = value()?;
            find(node, path)
                .filter(|found| **found == expected)
                .map(drop)
        }
        other => return Err(format!("a JSON patch has no operation {other:?}")),
    };
    outcome.ok_or_else(|| format!("the operation {name} {path} does not fit the object"))
}

fn parts(path: &str) -> Option<Vec<String>> {
    if path.is_empty() {
        return Some(Vec::new());
    }
    let parts = path.strip_prefix('/')?.split('/');
    Some(
        parts
            .map(|part| part.replace("~1", "/").replace("~0", "~"))
            .collect(),
    )
}

fn find<'a>(node: &'a mut Node, path: &str) -> Option<&'a mut Node> {
    descend(node, &parts(path)?)
}

fn descend<'a>(node: &'a mut Node, parts: &[String]) -> Option<&'a mut Node> {
    parts.iter().try_fold(node, |node, part| match node {
        Node {
            value: Value::Sequence(items),
            ..
        } => items.get_mut(part.parse::<usize>().ok()?),
        mapping => mapping.get_mut(part),
    })
}

fn add(node: &mut Node, path: &str, value: Node) -> Option<()> {
    let parts = parts(path)?;
    let Some((last, before)) = parts.split_last() else {
        *node = value;
        return Some(());
    };
    let parent = descend(node, before)?;
    match &mut parent.value {
        Value::Sequence(items) if last == "-" => items.push(value),
        Value::Sequence(items) => {
            let index = last.parse().ok().filter(|index| *index <= items.len())?;
            items.insert(index, value);
        }
        Value::Mapping(fields) => match fields.iter_mut().find(|field| *field.key == **last) {
            Some(field) => field.node = value,
            None => fields.push(Field {
                key: last.as_str().into(),
                key_at: value.at,
                node: value,
            }),
        },
        _ => return None,
    }
    Some(())
}

fn take(node: &mut Node, path: &str) -> Option<Node> {
    let parts = parts(path)?;
    let (last, before) = parts.split_last()?;
    let parent = descend(node, before)?;
    match &mut parent.value {
        Value::Sequence(items) => {
            let index = last.parse().ok().filter(|index| *index < items.len())?;
            Some(items.remove(index))
        }
        _ => parent.remove(last).map(|field| field.node),
    }
}
