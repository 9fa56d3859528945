//! The fields `images` and `replicas`.

use crate::yaml::{Node, Value};

use super::object::{Object, text_at};

/// Applies one entry of `images` to the containers of an object, wherever they stand in it.
pub(super) fn set_image(object: &mut Object, entry: &Node) {
    if object.kind() != "CustomResourceDefinition" && has_containers(&object.node) {
        visit(&mut object.node, entry);
    }
}

const LISTS: [&str; 2] = ["containers", "initContainers"];

fn has_containers(node: &Node) -> bool {
    let mut fields = node.fields().iter();
    fields.any(|field| LISTS.contains(&&*field.key) || has_containers(&field.node))
        || node.items().iter().any(has_containers)
}

fn visit(node: &mut Node, entry: &Node) {
    match &mut node.value {
        Value::Sequence(items) => items.iter_mut().for_each(|item| visit(item, entry)),
        Value::Mapping(fields) => {
            for field in fields {
                if LISTS.contains(&&*field.key) {
                    containers(&mut field.node, entry);
                }
                visit(&mut field.node, entry);
            }
        }
        _ => {}
    }
}

fn containers(list: &mut Node, entry: &Node) {
    let Value::Sequence(items) = &mut list.value else {
        return;
    };
    for container in items {
        if let Some(image) = container.get_mut("image")
            && let Some(changed) = image.text().and_then(|image| replaced(image, entry))
        {
            *image = text_at(changed, entry.at);
        }
    }
}

/// The image after the entry, where the entry is about it.
fn replaced(image: &str, entry: &Node) -> Option<String> {
    let parts = Parts::of(image);
    if entry.text_of("name") != Some(parts.name) {
        return None;
    }
    let text = |key| {
        entry
            .get(key)
            .and_then(Node::scalar_text)
            .filter(|text| !text.is_empty())
    };
    let name = text("newName").unwrap_or(parts.name);
    let (mut tag, mut digest) = (parts.tag, parts.digest);
    if let Some(new) = text("digest") {
        (tag, digest) = (None, Some(new));
    } else if let Some(new) = text("newTag") {
        (tag, digest) = (Some(new), None);
    }
    if let (Some(new), Some(_)) = (text("newTag"), text("digest")) {
        tag = Some(new);
    }
    let suffix = text("tagSuffix").unwrap_or_default();
    let mut image = name.to_owned();
    if let Some(tag) = tag {
        image += &format!(":{tag}{suffix}");
    }
    if let Some(digest) = digest {
        image += &format!("@{digest}");
    }
    Some(image)
}

/// An image's name, tag and digest.
struct Parts<'a> {
    name: &'a str,
    tag: Option<&'a str>,
    digest: Option<&'a str>,
}

impl<'a> Parts<'a> {
    fn of(image: &'a str) -> Self {
        let (rest, digest) = match image.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (image, None),
        };
        // A colon before the last slash belongs to the registry's port.
        let start = rest.rfind('/').map_or(0, |slash| slash + 1);
        let colon = rest[start..].find(':').map(|colon| start + colon);
        let (name, tag) = match colon {
            Some(colon) => (&rest[..colon], Some(&rest[colon + 1..])),
            None => (rest, None),
        };
        Self { name, tag, digest }
    }
}

/// Applies one entry of `replicas`. True where it is about this object.
pub(super) fn set_replicas(object: &mut Object, entry: &Node) -> bool {
    let scales = [
        "Deployment",
        "ReplicationController",
        "ReplicaSet",
        "StatefulSet",
    ];
    let is_meant = entry
        .text_of("name")
        .is_some_and(|name| object.was_called(None, name));
    let count = entry
        .get("count")
        .filter(|_| is_meant && scales.contains(&object.kind()));
    if let Some(count) = count {
        object.node.set(&["spec", "replicas"], count.clone());
    }
    count.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registrys_port_is_no_tag() {
        for (image, name, tag, digest) in [
            ("nginx", "nginx", None, None),
            ("nginx:1", "nginx", Some("1"), None),
            ("host:5000/a/b", "host:5000/a/b", None, None),
            (
                "host:5000/a:v1@sha256:ab",
                "host:5000/a",
                Some("v1"),
                Some("sha256:ab"),
            ),
        ] {
            let parts = Parts::of(image);
            assert_eq!((parts.name, parts.tag, parts.digest), (name, tag, digest));
        }
    }
}
