//! The merge behaviour of built-in kinds, read once from the table in `builtin.txt`.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

use serde_json::Value;

use super::merge_type::{ListKey, ListType, MergeType, PatchStrategy, UndeclaredFields};

/// One line of the table.
struct Row {
    apply: &'static str,
    patch: &'static str,
    value_type: &'static str,
}

/// The rows of each type: by field name, and under the empty name those of the type itself.
type Rows = HashMap<&'static str, BTreeMap<&'static str, Row>>;

static KINDS: LazyLock<HashMap<String, Arc<MergeType>>> = LazyLock::new(|| {
    let rows = parse(include_str!("builtin.txt"));
    let metadata = build(&rows, "ObjectMeta");
    rows.keys()
        .filter(|name| name.contains('/'))
        .map(|name| {
            let mut kind = build(&rows, name);
            kind.fields
                .insert("metadata".into(), Arc::new(metadata.clone()));
            ((*name).to_owned(), Arc::new(kind))
        })
        .collect()
});

/// A kind of which only the metadata need care.
static OTHER_KIND: LazyLock<Arc<MergeType>> = LazyLock::new(|| {
    let rows = parse(include_str!("builtin.txt"));
    let mut kind = MergeType::new(UndeclaredFields::Named);
    kind.fields
        .insert("metadata".into(), Arc::new(build(&rows, "ObjectMeta")));
    Arc::new(kind)
});

/// The merge behaviour of a built-in kind.
pub(super) fn type_of(group: &str, kind: &str) -> Arc<MergeType> {
    Arc::clone(KINDS.get(&format!("{group}/{kind}")).unwrap_or(&OTHER_KIND))
}

fn parse(table: &'static str) -> Rows {
    let mut rows = Rows::new();
    for line in table.lines() {
        let mut columns = line.split_whitespace();
        let (Some(path), Some(apply), Some(patch), Some(value_type)) = (
            columns.next(),
            columns.next(),
            columns.next(),
            columns.next(),
        ) else {
            continue;
        };
        if path.starts_with('#') {
            continue;
        }
        let (owner, field) = split_path(path);
        let row = Row {
            apply,
            patch,
            value_type,
        };
        rows.entry(owner).or_default().insert(field, row);
    }
    rows
}

/// Splits `TYPE.FIELD`; groups contain dots, so the field is what follows the last one
/// behind the kind.
fn split_path(path: &'static str) -> (&'static str, &'static str) {
    let kind_starts = path.find('/').map_or(0, |slash| slash + 1);
    match path[kind_starts..].find('.') {
        Some(dot) => (&path[..kind_starts + dot], &path[kind_starts + dot + 1..]),
        None => (path, ""),
    }
}

/// Builds the type `name`. The table has no cycles.
fn build(rows: &Rows, name: &str) -> MergeType {
    let mut built = MergeType::new(UndeclaredFields::Named);
    for (field, row) in rows.get(name).into_iter().flatten() {
        if field.is_empty() {
            built.atomic_map = row.apply == "atomic";
        } else {
            built
                .fields
                .insert((*field).to_owned(), Arc::new(build_field(rows, row)));
        }
    }
    built
}

fn build_field(rows: &Rows, row: &Row) -> MergeType {
    let named = (row.value_type != "-").then(|| build(rows, row.value_type));
    let list = list_type(row.apply);
    let mut field = match (&list, named) {
        (ListType::Atomic, Some(named)) => named,
        (_, named) => {
            let mut holder = MergeType::new(UndeclaredFields::Named);
            holder.elements = named.map(Arc::new);
            holder
        }
    };
    if row.apply == "atomic" {
        field.atomic_map = true;
    }
    field.list = list;
    for strategy in row.patch.split(',') {
        match strategy.split_once(':') {
            Some(("merge", key)) => field.patch = PatchStrategy::MergeByKey(key.to_owned()),
            _ if strategy == "merge" => field.patch = PatchStrategy::MergeValues,
            _ if strategy == "replace" => field.patch = PatchStrategy::Replace,
            _ if strategy == "retain" => field.retains_keys = true,
            _ => {}
        }
    }
    field
}

fn list_type(apply: &str) -> ListType {
    match apply.split_once(':') {
        Some(("list", keys)) => ListType::Map(keys.split(',').map(list_key).collect()),
        _ if apply == "set" => ListType::Set,
        _ => ListType::Atomic,
    }
}

fn list_key(text: &str) -> ListKey {
    match text.split_once('=') {
        Some((name, default)) => ListKey {
            name: name.to_owned(),
            default: Some(Value::from(default)),
        },
        None => ListKey {
            name: text.to_owned(),
            default: None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_understood() {
        let rows = parse(include_str!("builtin.txt"));
        for (owner, fields) in &rows {
            for (field, row) in fields {
                let apply = row.apply.split(':').next().unwrap();
                assert!(
                    ["-", "list", "set", "atomic"].contains(&apply),
                    "{owner}.{field}: {apply}"
                );
                for strategy in row.patch.split(',') {
                    let name = strategy.split(':').next().unwrap();
                    let known = ["-", "merge", "replace", "retain"].contains(&name);
                    assert!(known, "{owner}.{field}: {strategy}");
                }
                let known = row.value_type == "-" || rows.contains_key(row.value_type);
                assert!(known, "{owner}.{field}: {}", row.value_type);
            }
        }
    }

    #[test]
    fn containers_of_a_deployment_are_told_apart_by_name() {
        let deployment = type_of("apps", "Deployment");
        let pod = deployment.field("spec").field("template").field("spec");
        let containers = pod.field("containers");
        assert_eq!(containers.patch, PatchStrategy::MergeByKey("name".into()));
        let ports = containers.element().field("ports");
        assert_eq!(
            ports.list,
            ListType::Map(vec![
                ListKey {
                    name: "containerPort".into(),
                    default: None
                },
                ListKey {
                    name: "protocol".into(),
                    default: Some("TCP".into())
                },
            ])
        );
    }

    #[test]
    fn kinds_that_the_table_does_not_name_still_have_metadata() {
        let lease = type_of("coordination.k8s.io", "Lease");
        assert_eq!(
            lease.field("metadata").field("finalizers").list,
            ListType::Set
        );
    }

    #[test]
    fn taints_and_tolerations_are_replaced_as_a_whole() {
        let node = type_of("", "Node");
        assert_eq!(node.field("spec").field("taints").list, ListType::Atomic);
        assert_eq!(
            node.field("spec").field("taints").patch,
            PatchStrategy::Default
        );
        let pod = type_of("", "Pod");
        assert_eq!(
            pod.field("spec").field("tolerations").patch,
            PatchStrategy::Default
        );
    }

    #[test]
    fn clients_learn_how_fields_are_patched() {
        let spec = type_of("apps", "Deployment").field("spec").clone();
        let pod = spec.field("template").field("spec");
        assert_eq!(spec.field("strategy").patch_strategy(), Some("retainKeys"));
        assert_eq!(
            pod.field("volumes").patch_strategy(),
            Some("merge,retainKeys")
        );
        assert_eq!(pod.field("containers").patch_strategy(), Some("merge"));
        assert_eq!(pod.field("tolerations").patch_strategy(), None);
    }
}
