//! ConfigMaps and Secrets made of files and literals.

use std::str;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::yaml::{Field, Node, Shared, Value};

use super::object::{Object, text_at};

/// What a generator does with an object that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behavior {
    Create,
    Merge,
    Replace,
}

/// A generated object, and where it goes.
#[derive(Debug)]
pub(super) struct Generated {
    pub(super) object: Object,
    pub(super) behavior: Behavior,
}

/// The object of an entry of `configMapGenerator` or `secretGenerator`. `read` gives the content of a
/// file; the error says what is wrong with the entry.
pub(super) fn generate(
    kind: &str,
    entry: &Node,
    common: Option<&Node>,
    read: &mut dyn FnMut(&str) -> Result<Vec<u8>, String>,
) -> Result<Generated, String> {
    let name = entry.text_of("name").unwrap_or_default();
    let mut object = Object::new(skeleton(kind, name, entry)).ok_or("a generator has no name")?;
    for (key, content) in content(entry, read)? {
        put(&mut object.node, kind, &key, &content, entry);
    }
    if kind == "Secret" {
        let secret_type = entry.text_of("type").unwrap_or("Opaque");
        object.node.set(&["type"], text_at(secret_type, entry.at));
    }
    let own = entry.get("options");
    let option = |key: &str| {
        let of = |options: Option<&Node>| options.and_then(|options| options.get(key)).cloned();
        of(own).or_else(|| of(common))
    };
    for field in ["labels", "annotations"] {
        for options in [common, own].into_iter().flatten() {
            for Field { key, node, .. } in options.get(field).map_or(&[][..], Node::fields) {
                object.node.set(&["metadata", field, key], node.clone());
            }
        }
    }
    let is_true = |key: &str| option(key).is_some_and(|node| node.value == Value::Bool(true));
    if is_true("immutable") {
        let value = Value::Bool(true);
        object.node.set(
            &["immutable"],
            Node {
                at: entry.at,
                value,
            },
        );
    }
    object.is_generated = true;
    object.wants_hash = !is_true("disableNameSuffixHash");
    let behavior = match entry.text_of("behavior").unwrap_or("create") {
        "create" | "" => Behavior::Create,
        "merge" => Behavior::Merge,
        "replace" => Behavior::Replace,
        other => return Err(format!("a generator has no behavior {other:?}")),
    };
    Ok(Generated { object, behavior })
}

fn skeleton(kind: &str, name: &str, entry: &Node) -> Node {
    let at = entry.at;
    let mut node = Node {
        at,
        value: Value::Mapping(Shared::default()),
    };
    node.set(&["apiVersion"], text_at("v1", at));
    node.set(&["kind"], text_at(kind, at));
    let name_at = entry.get("name").map_or(at, |name| name.at);
    node.set(&["metadata", "name"], text_at(name, name_at));
    if let Some(namespace) = entry.get("namespace") {
        node.set(&["metadata", "namespace"], namespace.clone());
    }
    node
}

type Content = Vec<(String, Vec<u8>)>;

fn content(
    entry: &Node,
    read: &mut dyn FnMut(&str) -> Result<Vec<u8>, String>,
) -> Result<Content, String> {
    let texts = |key: &str| {
        let items = entry.get(key).map_or(&[][..], Node::items).iter();
        items
            .filter_map(|item| item.scalar_text().map(str::to_owned))
            .collect::<Vec<_>>()
    };
    let mut content = Vec::new();
    let mut environments = texts("envs");
    environments.extend(entry.text_of("env").map(str::to_owned));
    for path in environments {
        let bytes = read(&path)?;
        let text = str::from_utf8(&bytes).map_err(|_| format!("{path} is not UTF-8"))?;
        for line in text.lines().map(str::trim_start) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (key, value) = line.split_once('=').ok_or_else(|| {
                format!("{path}: the line {line:?} takes its value from the environment, which is not supported here")
            })?;
            content.push((key.to_owned(), value.as_bytes().to_vec()));
        }
    }
    for literal in texts("literals") {
        let pair = literal.split_once('=').filter(|(key, _)| !key.is_empty());
        let (key, value) =
            pair.ok_or_else(|| format!("the literal {literal:?} is no key=value"))?;
        content.push((key.to_owned(), unquoted(value).as_bytes().to_vec()));
    }
    for file in texts("files") {
        let (key, path) = match file.split_once('=') {
            Some((key, path)) => (key, path),
            None => (file.rsplit('/').next().unwrap_or(&file), &*file),
        };
        content.push((key.to_owned(), read(path)?));
    }
    let mut keys: Vec<&str> = content.iter().map(|(key, _)| key.as_str()).collect();
    keys.sort_unstable();
    match keys.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("the key {:?} is given twice", pair[0])),
        None => Ok(content),
    }
}

fn unquoted(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inner) = value
            .strip_prefix(quote)
            .and_then(|rest| rest.strip_suffix(quote))
        {
            return inner;
        }
    }
    value
}

fn put(node: &mut Node, kind: &str, key: &str, content: &[u8], entry: &Node) {
    let text = str::from_utf8(content).ok();
    let (field, value) = match (kind, text) {
        ("ConfigMap", Some(text)) => ("data", text.to_owned()),
        ("ConfigMap", None) => ("binaryData", BASE64_STANDARD.encode(content)),
        _ => ("data", BASE64_STANDARD.encode(content)),
    };
    node.set(&[field, key], text_at(value, entry.at));
}

/// Puts the data of a generated object into the one that is there.
pub(super) fn merge_into(known: &mut Object, generated: &Object, behavior: Behavior) {
    for field in ["data", "binaryData"] {
        if behavior == Behavior::Replace {
            known.node.remove(field);
        }
        for Field { key, node, .. } in generated.node.get(field).map_or(&[][..], Node::fields) {
            known.node.set(&[field, key], node.clone());
        }
    }
    for field in ["labels", "annotations"] {
        let more = generated.node.path(&["metadata", field]);
        for Field { key, node, .. } in more.map_or(&[][..], Node::fields) {
            known.node.set(&["metadata", field, key], node.clone());
        }
    }
    known.wants_hash = generated.wants_hash;
}
