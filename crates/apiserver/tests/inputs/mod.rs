//! What clients may send that fits nowhere.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

/// Values that fit nowhere, or almost.
pub fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z./~$0-9-]{0,12}".prop_map(Value::from),
        Just(json!("2024-01-01T00:00:00Z")),
    ];
    let keys = prop_oneof![
        select(vec![
            "metadata",
            "spec",
            "status",
            "data",
            "name",
            "labels",
            "finalizers",
            "containers",
            "ownerReferences",
            "template",
            "versions",
            "names",
            "schema",
            "openAPIV3Schema",
            "properties",
            "type",
            "op",
            "path",
            "value",
            "$patch",
            "replicas",
            "target",
            "managedFields",
            "fieldsV1",
            "preconditions",
            "dryRun",
            "resourceVersion",
        ])
        .prop_map(str::to_owned),
        "[a-zA-Z$./]{0,8}",
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::hash_map(keys.clone(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}
