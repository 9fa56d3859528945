//! Rules in CEL.

use serde_json::{Value, json};

use super::{NOTHING, complaints, complaints_on_update, parse, schema_of};
use crate::schema::{CauseReason, Schema};

#[test]
fn rules_are_evaluated_where_they_stand() {
    let schema = parse(json!({
        "type": "object",
        "properties": {
            "min": {"type": "integer"}, "max": {"type": "integer"},
            "name": {"type": "string",
                     "x-kubernetes-validations": [{"rule": "self.startsWith('x')"}]},
        },
        "x-kubernetes-validations":
            [{"rule": "self.min <= self.max", "message": "min must not exceed max"}],
    }));
    let exceeds = "spec: Invalid value: min must not exceed max (FieldValueInvalid)";
    let good = json!({"min": 1, "max": 2, "name": "xy"});
    assert_eq!(complaints(&schema, good.clone()), NOTHING);
    assert_eq!(complaints(&schema, json!({"min": 3, "max": 2})), [exceeds]);
    assert_eq!(
        complaints(&schema, json!({"min": 3, "max": 2, "name": "y"})),
        [
            "spec.name: Invalid value: \"y\": failed rule: self.startsWith('x') \
             (FieldValueInvalid)",
            exceeds,
        ]
    );
    assert_eq!(
        complaints(&schema, json!({"min": 1})),
        [
            "spec: Invalid value: \"object\": no such key: max evaluating rule: min must not exceed \
          max (FieldValueInvalid)"
        ]
    );
    assert_eq!(
        complaints_on_update(&schema, good, json!({"min": 9, "max": 2, "name": "xy"})),
        [exceeds]
    );
}

#[test]
fn rules_give_messages_reasons_and_paths() {
    let schema = parse(json!({
        "type": "object",
        "properties": {"n": {"type": "integer"}, "a": {"type": "string"},
                       "k": {"type": "string", "maxLength": 20}},
        "x-kubernetes-validations": [
            {"rule": "self.n < 10", "messageExpression": "'too big for ' + self.k",
             "fieldPath": ".n", "reason": "FieldValueForbidden"},
            {"rule": "has(self.a) || has(self.k)", "message": "a or k",
             "reason": "FieldValueRequired"},
        ],
    }));
    for (spec, line) in [
        (
            json!({"n": 12, "k": "kay"}),
            "spec.n: Forbidden: too big for kay (FieldValueForbidden)",
        ),
        (
            json!({"n": 12, "a": "x"}),
            "spec.n: Forbidden: failed rule: self.n < 10 (FieldValueForbidden)",
        ),
        (
            json!({"n": 1}),
            "spec: Required value: a or k (FieldValueRequired)",
        ),
    ] {
        assert_eq!(complaints(&schema, spec), [line]);
    }
    assert_eq!(complaints(&schema, json!({"n": 1, "k": "x"})), NOTHING);
}

#[test]
fn transition_rules_need_a_value_before() {
    let schema = schema_of(json!({
        "id": {"type": "string", "x-kubernetes-validations":
               [{"rule": "self == oldSelf", "message": "id is immutable"}]},
        "n": {"type": "integer", "x-kubernetes-validations":
              [{"rule": "self >= oldSelf", "message": "must not shrink"}]},
    }));
    let old = json!({"id": "x", "n": 5});
    assert_eq!(complaints(&schema, old.clone()), NOTHING);
    for (new, expected) in [
        (
            json!({"id": "y", "n": 5}),
            vec!["spec.id: Invalid value: \"y\": id is immutable (FieldValueInvalid)"],
        ),
        (
            json!({"id": "x", "n": 4}),
            vec!["spec.n: Invalid value: 4: must not shrink (FieldValueInvalid)"],
        ),
        (json!({"id": "x", "n": 6}), vec![]),
        (json!({"n": 6}), vec![]),
    ] {
        assert_eq!(complaints_on_update(&schema, old.clone(), new), expected);
    }
    assert_eq!(
        complaints_on_update(&schema, json!({"n": 6}), json!({"id": "z"})),
        NOTHING
    );
}

#[test]
fn an_optional_value_before_can_be_asked_for() {
    let schema = schema_of(
        json!({"n": {"type": "integer", "x-kubernetes-validations": [{
            "rule": "oldSelf.hasValue() ? self > oldSelf.value() : self == 1",
            "message": "starts at 1 and grows", "optionalOldSelf": true,
        }]}}),
    );
    let refused = |n: i64| {
        [format!(
            "spec.n: Invalid value: {n}: starts at 1 and grows (FieldValueInvalid)"
        )]
    };
    assert_eq!(complaints(&schema, json!({"n": 1})), NOTHING);
    assert_eq!(complaints(&schema, json!({"n": 2})), refused(2));
    assert_eq!(
        complaints_on_update(&schema, json!({"n": 1}), json!({"n": 2})),
        NOTHING
    );
    assert_eq!(
        complaints_on_update(&schema, json!({"n": 3}), json!({"n": 2})),
        refused(2)
    );
}

#[test]
fn items_of_keyed_lists_are_compared_with_themselves() {
    let schema = schema_of(json!({"l": {
        "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"],
        "items": {"type": "object", "required": ["id"], "properties": {
            "id": {"type": "string"},
            "v": {"type": "integer", "x-kubernetes-validations": [{"rule": "self >= oldSelf"}]},
        }},
    }}));
    let old = json!({"l": [{"id": "a", "v": 5}, {"id": "b", "v": 1}]});
    let swapped = json!({"l": [{"id": "b", "v": 2}, {"id": "a", "v": 5}, {"id": "c", "v": 0}]});
    assert_eq!(complaints_on_update(&schema, old.clone(), swapped), NOTHING);
    assert_eq!(
        complaints_on_update(&schema, old, json!({"l": [{"id": "b", "v": 0}]})),
        ["spec.l[0].v: Invalid value: 0: failed rule: self >= oldSelf (FieldValueInvalid)"]
    );
}

#[test]
fn values_have_the_types_of_the_schema_in_rules() {
    let schema = parse(json!({
        "type": "object",
        "properties": {
            "ratio": {"type": "number"}, "at": {"type": "string", "format": "date-time"},
            "wait": {"type": "string", "format": "duration"},
            "data": {"type": "string", "format": "byte"},
            "a-b": {"type": "string"}, "namespace": {"type": "string"},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        },
        "x-kubernetes-validations": [
            {"rule": "self.ratio * 2.0 == 2.0"},
            {"rule": "self.at > timestamp('2020-01-01T00:00:00Z')"},
            {"rule": "self.wait == duration('90m')"},
            {"rule": "size(self.data) == 2"},
            {"rule": "self.a__dash__b == 'x' && self.__namespace__ == 'y'"},
            {"rule": "self.labels['a.b/c'] == 'z'"},
        ],
    }));
    let spec = json!({"ratio": 1, "at": "2024-01-01T00:00:00Z", "wait": "1h30m", "data": "YWI=",
                      "a-b": "x", "namespace": "y", "labels": {"a.b/c": "z"}});
    assert_eq!(complaints(&schema, spec), NOTHING);
}

#[test]
fn rules_wait_until_the_object_fits_its_schema() {
    let schema = parse(json!({
        "type": "object",
        "properties": {"n": {"type": "integer"}},
        "x-kubernetes-validations": [{"rule": "self.n > 0"}],
    }));
    let found = complaints(&schema, json!({"n": "x"}));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("<nil>: Invalid value: null: some validation rules"));
}

#[test]
fn rules_of_widely_used_definitions_work() {
    let item = json!({"type": "object", "required": ["name"], "properties": {
        "name": {"type": "string", "maxLength": 253}, "protocol": {"type": "string"},
        "tls": {"type": "object", "properties": {"mode": {"type": "string"}}},
    }});
    let spec = json!({
        "listeners": [
            {"name": "web", "protocol": "HTTP"},
            {"name": "secure", "protocol": "HTTPS", "tls": {"mode": "Terminate"}},
        ],
        "replicas": 3, "path": "/a", "timeout": "10s", "size": "1Gi",
        "url": "https://example.com/x", "labels": {"app": "web"},
    });
    for rule in [
        "self.listeners.all(l1, self.listeners.exists_one(l2, l1.name == l2.name))",
        "self.listeners.all(l, l.protocol in ['HTTP', 'TCP'] ? !has(l.tls) : true)",
        "self.listeners.all(l, (l.protocol == 'HTTPS' && has(l.tls)) ? \
         (l.tls.mode == '' || l.tls.mode == 'Terminate') : true)",
        "self.listeners.filter(l, l.protocol == 'HTTP').size() == 1",
        "self.listeners.map(l, l.name).exists(n, n == 'web')",
        "[has(self.path), has(self.other)].filter(x, x == true).size() <= 1",
        "has(self.path) != has(self.other)",
        "self.replicas in [1, 3, 5] && self.replicas % 2 == 1",
        "1 <= self.replicas && self.replicas <= 5",
        "(self.listeners.size() > 0 ? self.listeners[0].name.size() : 0) + self.replicas <= 128",
        "self.path.matches('^/[a-z]*$')",
        r#"self.path.matches("""^(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|[%][0-9a-fA-F]{2})+$""")"#,
        "duration(self.timeout) >= duration('1s')",
        "isURL(self.url) && url(self.url).getScheme() == 'https'",
        "quantity(self.size).isLessThan(quantity('2Gi'))",
        "self.labels.all(k, k.size() < 63 && self.labels[k] != '')",
        "'app' in self.labels",
        "self.?other.orValue('none') == 'none' && self.?path.orValue('none') == '/a'",
        "!self.?labels.?none.hasValue() && self.?labels.?app.value() == 'web'",
        "self.path.lowerAscii() == self.path && self.path.split('/').size() == 2",
        "!format.dns1123Label().validate('web').hasValue()",
        "cel.bind(n, self.listeners.size(), n == 2 && cel.bind(m, n + 1, m == self.replicas))",
        "string(self.replicas) == '3'",
        "!(self.replicas > 3 && self.other == 'x')",
    ] {
        let schema = parse(json!({
            "type": "object",
            "properties": {
                "listeners": {"type": "array", "maxItems": 64, "items": item.clone()},
                "replicas": {"type": "integer"}, "path": {"type": "string"},
                "other": {"type": "string"}, "timeout": {"type": "string"},
                "size": {"type": "string"}, "url": {"type": "string"},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            },
            "x-kubernetes-validations": [{"rule": rule}],
        }));
        assert_eq!(complaints(&schema, spec.clone()), NOTHING, "{rule}");
    }
}

#[test]
fn rules_that_may_keep_the_server_busy_are_refused() {
    let nested = json!([{"rule": "self.all(x, self.all(y, x == y))"}]);
    let list = |bound: Option<u64>| {
        let mut list = json!({
            "type": "array", "items": {"type": "string", "maxLength": 10},
            "x-kubernetes-validations": nested,
        });
        if let Some(bound) = bound {
            list["maxItems"] = bound.into();
        }
        json!({"type": "object", "properties": {"list": list}})
    };
    assert!(Schema::parse(&list(Some(100))).is_ok());
    let causes = Schema::parse(&list(None)).unwrap_err();
    let rule = "properties[list].x-kubernetes-validations[0].rule";
    let fields: Vec<&str> = causes.iter().map(|cause| cause.field.as_str()).collect();
    // Too much for one rule, and for all together.
    assert_eq!(fields, [rule, rule, ""]);
    assert!(
        causes
            .iter()
            .all(|cause| cause.reason == CauseReason::FieldValueForbidden)
    );
}

#[test]
fn what_is_evaluated_often_must_be_cheap() {
    let item = json!({
        "type": "object", "properties": {"text": {"type": "string"}},
        "x-kubernetes-validations": [{"rule": "self.text.matches('^[a-z]+$')"}],
    });
    let schema = |list: Value| json!({"type": "object", "properties": {"list": list}});
    let bounded = json!({"type": "array", "maxItems": 10, "items": item});
    assert!(Schema::parse(&schema(bounded)).is_ok());
    let unbounded = json!({"type": "array", "items": item});
    assert!(Schema::parse(&schema(unbounded)).is_err());
}
