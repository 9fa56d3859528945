//! The field `replacements`: a value of one object, put into fields of others.

use crate::load::plain_scalar;
use crate::pattern;
use crate::yaml::{Field, Node, Shared, Value};

use super::limits::{check_object, check_path};
use super::object::{Object, text_at};
use super::selector::Selector;

/// Why a replacement was not made.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// The object with the value is not in this build.
    NoSource(String),
    /// kustomize refuses it.
    Wrong(String),
    /// kustomize does it, and this program does not.
    Unsupported(String),
}

use Problem::{NoSource, Unsupported, Wrong};

/// Without a path, the name is meant.
const DEFAULT_PATH: &str = "metadata.name";

/// Makes one replacement.
pub(super) fn replace(replacement: &Node, objects: &mut [Object]) -> Result<(), Problem> {
    let (Some(source), Some(targets)) = (replacement.get("source"), replacement.get("targets"))
    else {
        return Err(Wrong("a replacement has `source` and `targets`".to_owned()));
    };
    let value = source_value(source, objects)?;
    for target in targets.items() {
        let select = target
            .get("select")
            .ok_or_else(|| Wrong("a target of a replacement has `select`".to_owned()))?;
        let select = Selection::parse(select)?;
        let rejects = target.get("reject").map_or(&[][..], Node::items).iter();
        let rejects: Vec<_> = rejects.map(Selection::parse).collect::<Result<_, _>>()?;
        for object in objects.iter_mut().filter(|object| {
            select.is_for(object) && !rejects.iter().any(|reject| reject.is_for(object))
        }) {
            let name = object.display_name();
            let before = object.node.clone();
            let outcome = put(object, target, &value);
            let outcome = outcome.and_then(|()| check_object(&object.node));
            outcome.map_err(|problem| {
                object.node = before;
                Wrong(format!("{name}: {problem}"))
            })?;
        }
    }
    Ok(())
}

fn source_value(source: &Node, objects: &[Object]) -> Result<Node, Problem> {
    let selection = Selection::parse(source)?;
    let mut chosen = objects.iter().filter(|object| selection.is_for(object));
    let object = chosen.next().ok_or_else(|| {
        NoSource("no object of this build is the source of the replacement".to_owned())
    })?;
    if let Some(other) = chosen.next() {
        let (one, other) = (object.display_name(), other.display_name());
        return Err(Wrong(format!(
            "the source of the replacement may be {one} or {other}"
        )));
    }
    let path = source.text_of("fieldPath").unwrap_or(DEFAULT_PATH);
    let mut found = None;
    let mut node = object.node.clone();
    each(&mut node, &split(path), None, &mut |node| {
        found.get_or_insert_with(|| node.clone());
        Ok(())
    })
    .map_err(Wrong)?;
    let found = found.filter(|found| !found.is_null());
    let value = found.ok_or_else(|| {
        let name = object.display_name();
        Wrong(format!(
            "{name}, the source of the replacement, has no {path}"
        ))
    })?;
    let options = Options::of(source);
    let Some(delimiter) = options.delimiter else {
        return Ok(value);
    };
    let text = value
        .scalar_text()
        .ok_or_else(|| Wrong(format!("{path} is no text that could be taken apart")))?;
    let mut parts = text.split(delimiter);
    let part = usize::try_from(options.index)
        .ok()
        .and_then(|index| parts.nth(index));
    let part = part.ok_or_else(|| {
        let index = options.index;
        Wrong(format!("{path} has no part {index} between {delimiter:?}"))
    })?;
    Ok(text_at(part, value.at))
}

fn put(object: &mut Object, target: &Node, value: &Node) -> Result<(), String> {
    let options = Options::of(target);
    let paths = target.get("fieldPaths").map_or(&[][..], Node::items).iter();
    let mut paths: Vec<&str> = paths.filter_map(Node::text).collect();
    if paths.is_empty() {
        paths.push(DEFAULT_PATH);
    }
    object.remember();
    for path in paths {
        let create = options.create.then_some(value);
        let parts = split(path);
        check_path(&parts)?;
        let mut count = 0;
        each(&mut object.node, &parts, create, &mut |field| {
            count += 1;
            set(field, value, &options)
        })?;
        if count == 0 {
            return Err(format!("it has no {path}; `create` is not set"));
        }
    }
    object.forget_if_unchanged();
    keep_texts(&mut object.node);
    Ok(())
}

/// Labels and annotations are texts, whatever they look like.
fn keep_texts(object: &mut Node) {
    for field in ["labels", "annotations"] {
        if let Some(Value::Mapping(pairs)) = object
            .path_mut(&["metadata", field])
            .map(|node| &mut node.value)
        {
            for Field { node, .. } in pairs {
                if let Some(text) = node.scalar_text() {
                    node.value = Value::Text(text.into());
                }
            }
        }
    }
}

/// A scalar keeps its type, as far as the new text allows.
fn set(field: &mut Node, value: &Node, options: &Options<'_>) -> Result<(), String> {
    let is_scalar = !matches!(field.value, Value::Mapping(_) | Value::Sequence(_));
    let mut text = value.scalar_text().unwrap_or_default().to_owned();
    if let Some(delimiter) = options.delimiter {
        if !is_scalar {
            return Err("a delimiter is for text only".to_owned());
        }
        let old = field.scalar_text().unwrap_or_default().to_owned();
        let mut parts: Vec<&str> = old.split(delimiter).collect();
        match usize::try_from(options.index) {
            Err(_) => parts.insert(0, &text),
            Ok(index) if index >= parts.len() => parts.push(&text),
            Ok(index) => parts[index] = &text,
        }
        text = parts.join(delimiter);
    } else if !is_scalar || value.scalar_text().is_none() {
        *field = value.clone();
        return Ok(());
    }
    field.value = match field.value {
        Value::Text(_) => Value::Text(text.into()),
        _ => plain_scalar(&text),
    };
    field.at = value.at;
    Ok(())
}

/// How a value is taken out of a text, or put into one.
struct Options<'a> {
    delimiter: Option<&'a str>,
    index: i64,
    create: bool,
}

impl<'a> Options<'a> {
    fn of(node: &'a Node) -> Self {
        let option = |key| node.path(&["options", key]);
        let delimiter = option("delimiter").and_then(Node::text);
        Self {
            delimiter: delimiter.filter(|delimiter| !delimiter.is_empty()),
            index: option("index")
                .and_then(|index| index.to_json().as_i64())
                .unwrap_or_default(),
            create: option("create").and_then(Node::scalar_text) == Some("true"),
        }
    }
}

/// The objects that a `source`, `select` or `reject` means. Names are compared, not matched.
struct Selection<'a> {
    node: &'a Node,
    labels: Selector,
    annotations: Selector,
}

impl<'a> Selection<'a> {
    fn parse(node: &'a Node) -> Result<Self, Problem> {
        let selector = |key: &str| {
            let selector = Selector::parse(node.text_of(key).unwrap_or_default());
            selector.ok_or_else(|| Unsupported(format!("{key} has a form that is not supported")))
        };
        Ok(Self {
            node,
            labels: selector("labelSelector")?,
            annotations: selector("annotationSelector")?,
        })
    }

    fn is_for(&self, object: &Object) -> bool {
        let wanted = |key| self.node.text_of(key).filter(|text| !text.is_empty());
        let fits = |key, value: &str| wanted(key).is_none_or(|wanted| wanted == value);
        let is_called = |namespace: &str, name: &str| {
            let namespace = if namespace.is_empty() {
                "default"
            } else {
                namespace
            };
            fits("namespace", namespace) && fits("name", name)
        };
        let had = |(namespace, name): &(String, String)| is_called(namespace, name);
        let pairs = |field| object.node.path(&["metadata", field]);
        fits("group", object.group())
            && fits("version", object.version())
            && fits("kind", object.kind())
            && (is_called(object.namespace(), object.name()) || object.earlier.iter().any(had))
            && self.labels.matches(pairs("labels"))
            && self.annotations.matches(pairs("annotations"))
    }
}

/// The parts of a path: `spec.containers.[name=a.b].image`, `metadata.annotations.[a.b/c]`. A dot that
/// belongs to a part is in brackets, or written `\.`.
fn split(path: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    let mut is_open = false;
    for piece in path.split('.') {
        match parts.last_mut() {
            Some(last) if last.ends_with('\\') => {
                last.pop();
                *last += ".";
                *last += piece;
            }
            Some(last) if is_open => {
                *last += ".";
                *last += piece;
            }
            _ => parts.push(piece.to_owned()),
        }
        let last = parts.last().map_or("", String::as_str);
        is_open = last.starts_with('[') && !last.ends_with(']');
    }
    let plain = |part: String| {
        let is_name = part.starts_with('[') && part.contains('.') && !part.contains('=');
        if is_name {
            part.trim_matches(['[', ']']).to_owned()
        } else {
            part
        }
    };
    parts.into_iter().map(plain).collect()
}

/// Calls `change` with each node at `path`. With `create`, what is missing is made to hold that value.
fn each(
    node: &mut Node,
    path: &[String],
    create: Option<&Node>,
    change: &mut dyn FnMut(&mut Node) -> Result<(), String>,
) -> Result<(), String> {
    let Some((part, rest)) = path.split_first() else {
        return change(node);
    };
    let below = |next: &[String]| {
        let value = create.map(|value| empty(next.first(), value));
        value.zip(create).map(|(value, create)| Node {
            at: create.at,
            value,
        })
    };
    if let Some(condition) = part
        .strip_prefix('[')
        .and_then(|part| part.strip_suffix(']'))
    {
        return each_item(node, condition, rest, create, change);
    }
    match &mut node.value {
        Value::Sequence(items) if part == "*" => items
            .iter_mut()
            .try_for_each(|item| each(item, rest, create, change)),
        Value::Sequence(items) => {
            let index: usize = part
                .parse()
                .map_err(|_| format!("{part} is not the number of an item"))?;
            if index == items.len() {
                items.extend(below(rest));
            }
            let count = items.len();
            let item = items
                .get_mut(index)
                .ok_or_else(|| format!("there is no item {index} among {count}"))?;
            each(item, rest, create, change)
        }
        Value::Mapping(fields) => {
            let known = fields.iter().position(|field| &*field.key == part);
            let index = match (known, below(rest)) {
                (Some(index), _) => index,
                (None, None) => return Ok(()),
                (None, Some(node)) => {
                    fields.push(Field {
                        key: part.as_str().into(),
                        key_at: node.at,
                        node,
                    });
                    fields.len() - 1
                }
            };
            each(&mut fields[index].node, rest, create, change)
        }
        _ => Err(format!("{part} is looked for in what has no fields")),
    }
}

/// `[name=pattern]`, or `[=pattern]` for a list of scalars.
fn each_item(
    node: &mut Node,
    condition: &str,
    rest: &[String],
    create: Option<&Node>,
    change: &mut dyn FnMut(&mut Node) -> Result<(), String>,
) -> Result<(), String> {
    let (key, wanted) = condition
        .split_once('=')
        .ok_or_else(|| format!("[{condition}] is no condition"))?;
    let pattern = pattern::compile(wanted)
        .ok_or_else(|| format!("{wanted} is no regular expression, or too large"))?;
    let Value::Sequence(items) = &mut node.value else {
        return Err(format!("[{condition}] is looked for in what is no list"));
    };
    let is_meant = |item: &Node| {
        let field = if key.is_empty() {
            Some(item)
        } else {
            item.get(key)
        };
        let text = field.and_then(Node::scalar_text);
        text.is_some_and(|text| pattern.is_match(text))
    };
    if let Some(create) = create.filter(|_| !items.iter().any(is_meant)) {
        let mut item = text_at(wanted, create.at);
        if !key.is_empty() {
            let wanted = item;
            item = Node {
                at: create.at,
                value: Value::Mapping(Shared::default()),
            };
            item.set(&[key], wanted);
        }
        items.push(item);
    }
    // Items that are no mappings have nothing below them.
    let rest = if key.is_empty() { &[][..] } else { rest };
    items
        .iter_mut()
        .filter(|item| is_meant(item))
        .try_for_each(|item| each(item, rest, create, change))
}

/// What is made where the next part of the path should go; at its end, what is like the value.
fn empty(next: Option<&String>, value: &Node) -> Value {
    match next {
        Some(part) if part.starts_with('[') || part.parse::<usize>().is_ok() => {
            Value::Sequence(Shared::default())
        }
        Some(_) => Value::Mapping(Shared::default()),
        None => match value.value {
            Value::Sequence(_) => Value::Sequence(Shared::default()),
            Value::Mapping(_) => Value::Mapping(Shared::default()),
            _ => Value::Null,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dot_in_brackets_or_escaped_is_part_of_a_name() {
        for (path, parts) in [
            ("spec.replicas", &["spec", "replicas"][..]),
            ("a.[name=b.c].d", &["a", "[name=b.c]", "d"]),
            (
                "metadata.annotations.[a.b/c]",
                &["metadata", "annotations", "a.b/c"],
            ),
            ("data.a\\.b", &["data", "a.b"]),
            ("args.[=-v]", &["args", "[=-v]"]),
        ] {
            assert_eq!(split(path), parts);
        }
    }
}
