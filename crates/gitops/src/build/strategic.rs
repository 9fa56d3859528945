//! Strategic merge: a patch that looks like the object.
//!
//! Mappings are merged, `null` removes. Lists of built-in kinds are merged by the key that the
//! Kubernetes API gives them; all other lists are replaced, as kustomize does without a schema.

use crate::source::Location;
use crate::yaml::{Field, Node, Shared, Value};

/// Merges `patch` into `base`. Lists have merge keys only where the kind is built in.
pub(super) fn merge(base: &mut Node, patch: &Node, is_built_in: bool) {
    let context = Context { is_built_in };
    context.merge(base, patch, "");
}

struct Context {
    is_built_in: bool,
}

impl Context {
    fn merge(&self, base: &mut Node, patch: &Node, key: &str) {
        match &patch.value {
            Value::Mapping(fields) => self.merge_mapping(base, patch, fields),
            Value::Sequence(items) => self.merge_list(base, patch, items, key),
            _ => *base = patch.clone(),
        }
    }

    fn merge_mapping(&self, base: &mut Node, patch: &Node, fields: &[Field]) {
        let replaces = patch.text_of("$patch") == Some("replace");
        if replaces || !matches!(base.value, Value::Mapping(_)) {
            *base = Node {
                at: patch.at,
                value: Value::Mapping(Shared::default()),
            };
        }
        for field in fields {
            let key = &*field.key;
            if key == "$patch" {
                continue;
            }
            if field.node.is_null() || field.node.text_of("$patch") == Some("delete") {
                base.remove(key);
                continue;
            }
            if base.get(key).is_none() {
                let value = match field.node.value {
                    Value::Mapping(_) => Value::Mapping(Shared::default()),
                    _ => Value::Null,
                };
                let Value::Mapping(known) = &mut base.value else {
                    continue;
                };
                known.push(Field {
                    key: field.key.clone(),
                    key_at: field.key_at,
                    node: Node {
                        at: field.node.at,
                        value,
                    },
                });
            }
            if let Some(target) = base.get_mut(key) {
                self.merge(target, &field.node, key);
            }
        }
    }

    fn merge_list(&self, base: &mut Node, patch: &Node, items: &[Node], field: &str) {
        let mut known = match &mut base.value {
            Value::Sequence(known) => std::mem::take(known),
            _ => Shared::default(),
        };
        let replaces = items
            .iter()
            .any(|item| item.text_of("$patch") == Some("replace"));
        let key =
            merge_key(field, items.iter().chain(&*known)).filter(|_| self.is_built_in && !replaces);
        let Some(key) = key else {
            let kept = items.iter().filter(|item| item.get("$patch").is_none());
            *base = Node {
                at: patch.at,
                value: Value::Sequence(Shared::default()),
            };
            let Value::Sequence(new) = &mut base.value else {
                return;
            };
            new.extend(kept.map(|item| self.fresh(item)));
            return;
        };
        let identity = |item: &Node| item.get(key).and_then(Node::scalar_text).map(str::to_owned);
        let mut new = Vec::new();
        for item in items {
            let same = known.iter().position(|candidate| {
                identity(candidate).is_some() && identity(candidate) == identity(item)
            });
            let known = same.map(|index| known.remove(index));
            if item.text_of("$patch") != Some("delete") {
                let mut merged = known.unwrap_or_else(|| nothing_at(item.at));
                self.merge(&mut merged, item, "");
                new.push(merged);
            }
        }
        // As with kustomize, what the patch names comes first, in the patch's order.
        new.extend(known);
        base.value = Value::Sequence(new.into());
    }

    /// What a patch says where there was nothing: without its directives.
    fn fresh(&self, patch: &Node) -> Node {
        let mut node = nothing_at(patch.at);
        self.merge(&mut node, patch, "");
        node
    }
}

fn nothing_at(at: Location) -> Node {
    Node {
        at,
        value: Value::Null,
    }
}

/// The field by which the items of a list of the Kubernetes API are told apart.
fn merge_key<'a>(list: &str, mut items: impl Iterator<Item = &'a Node>) -> Option<&'static str> {
    match list {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "volumes"
        | "env"
        | "imagePullSecrets"
        | "secrets"
        | "webhooks"
        | "resourceClaims" => Some("name"),
        "volumeMounts" => Some("mountPath"),
        "volumeDevices" => Some("devicePath"),
        "hostAliases" => Some("ip"),
        "topologySpreadConstraints" => Some("topologyKey"),
        "conditions" => Some("type"),
        "ownerReferences" => Some("uid"),
        // Of a container, or of a Service.
        "ports" => Some(
            match items.any(|item| item.get("containerPort").is_some()) {
                true => "containerPort",
                false => "port",
            },
        ),
        _ => None,
    }
}
