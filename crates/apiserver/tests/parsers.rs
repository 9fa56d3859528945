//! The same entry points that the fuzzers of `fuzz/` have, with few and small inputs: what
//! comes in from outside never makes them panic.

mod inputs;

use std::time::Duration;

use nico_apiserver::fuzzing;
use proptest::prelude::*;
use serde_json::{Value, json};

/// Schemas that are mostly structural, with rules that mostly compile.
fn schemas() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!({"type": "string", "maxLength": 3, "default": "a"})),
        Just(json!({"type": "integer", "minimum": 1, "default": 3})),
        Just(json!({"x-kubernetes-int-or-string": true})),
        Just(json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})),
        Just(json!({"type": "object", "x-kubernetes-embedded-resource": true})),
        Just(json!({"type": "string", "format": "date-time", "nullable": true})),
        Just(json!({"type": "string", "pattern": "^(a|b)+$", "enum": ["a", "ab"]})),
    ];
    let any = leaf.prop_recursive(3, 16, 4, |inner| {
        let rules = prop::sample::select(vec![
            "true",
            "self == oldSelf",
            "has(self.a) || !has(self.b)",
            "size(self) < 3",
            "self.all(x, x == self)",
            "1 / 0 == 1",
            "((",
        ]);
        let fields = prop::collection::btree_map("[abc]", inner.clone(), 0..3);
        prop_oneof![
            (fields, rules.clone()).prop_map(|(fields, rule)| json!({
                "type": "object", "properties": fields,
                "x-kubernetes-validations": [{"rule": rule}],
            })),
            (inner.clone(), rules).prop_map(|(inner, rule)| json!({
                "type": "array", "items": inner, "maxItems": 4,
                "x-kubernetes-validations": [{"rule": rule}],
            })),
            inner.prop_map(|inner| json!({"type": "object", "additionalProperties": inner})),
        ]
    });
    any.prop_map(|spec| json!({"type": "object", "properties": {"spec": spec}}))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() })]

    #[test]
    fn bodies_of_any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        fuzzing::bodies(&bytes);
        fuzzing::bodies(&[b"k8s\0".as_slice(), &bytes].concat());
        fuzzing::protobuf(&bytes);
    }

    #[test]
    fn selectors_paths_and_headers_of_any_text_are_read_or_refused(
        text in "[ -~]{0,40}", wild in any::<String>(),
    ) {
        for text in [&text, &wild] {
            fuzzing::selectors(text);
            fuzzing::paths(text);
        }
    }

    #[test]
    fn options_of_any_text_are_read_or_refused(
        name in prop::sample::select(vec![
            "limit", "continue", "resourceVersion", "resourceVersionMatch", "timeoutSeconds",
            "dryRun", "fieldManager", "fieldValidation", "force", "sendInitialEvents", "watch",
        ]),
        value in any::<String>(),
        other in "(All|true|0|-1|99999999999999999999|Exact|e30)?",
    ) {
        fuzzing::queries(vec![(name.to_owned(), value)]);
        fuzzing::queries(vec![(name.to_owned(), other)]);
    }

    #[test]
    fn any_patch_of_any_document_is_done_or_refused(
        document in inputs::values(), patch in inputs::values(), wrapped in any::<bool>(),
    ) {
        fuzzing::patches(&document, &patch);
        if wrapped {
            let object = |spec: &Value| json!({"metadata": {"name": "a"}, "spec": {
                "template": {"spec": {"containers": [spec]}}, "ports": [spec]}});
            fuzzing::patches(&object(&document), &object(&patch));
        }
    }

    #[test]
    fn any_managed_fields_are_taken_or_refused(
        entries in inputs::values(), live in inputs::values(), new in inputs::values(),
    ) {
        fuzzing::managed_fields(&entries, &live, &new);
        let entry = json!([{"manager": "a", "operation": "Apply", "apiVersion": "v1",
            "fieldsType": "FieldsV1", "fieldsV1": entries}]);
        fuzzing::managed_fields(&entry, &live, &new);
    }

    #[test]
    fn any_schema_judges_any_object(
        schema in schemas(), object in inputs::values(), old in inputs::values(),
    ) {
        fuzzing::schemas(&object, &schema, &old);
        let wrap = |spec: Value| json!({"metadata": {"name": "a"}, "spec": spec});
        fuzzing::schemas(&schema, &wrap(object), &wrap(old));
    }
}

#[tokio::test]
async fn a_connection_gets_an_answer_whatever_is_sent() {
    let server = fuzzing::Connected::start().await;
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds/server");
    for seed in std::fs::read_dir(seeds).expect("the seeds") {
        let seed = std::fs::read(seed.expect("a seed").path()).expect("a file");
        let answered = async |bytes, patience| {
            let answer = server.connection(bytes, patience).await;
            let answer = String::from_utf8_lossy(&answer).into_owned();
            assert!(!answer.starts_with("HTTP/1.1 500"), "{answer}");
            answer
        };
        let whole = answered(&seed, Duration::from_secs(30)).await;
        assert!(whole.starts_with("HTTP/1.1 "), "{whole}");
        for length in [seed.len() / 2, seed.len() - 1] {
            answered(&seed[..length], Duration::from_millis(50)).await;
        }
    }
}
