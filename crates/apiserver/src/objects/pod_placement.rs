//! What is wrong with what a pod says about where it may run: tolerations, affinity, spreading,
//! gates.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::status::Cause;

use super::values::{fields, items, text};
use super::{names, selectors};

/// What a taint may do.
pub(super) const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];

const NOW: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const IF_POSSIBLE: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// Taints of Nodes that may come back, and for how many seconds Pods stay there nevertheless.
const OUTAGES: &[&str] = &[
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/unreachable",
];
const OUTAGE_SECONDS: i64 = 300;

/// A Pod that says nothing about Nodes that are away stays there for some minutes.
pub fn tolerate_short_outages(spec: &mut Value) {
    for taint in OUTAGES {
        let about = |toleration: &Value| {
            let (key, effect) = (text(&toleration["key"]), text(&toleration["effect"]));
            (key.is_empty() || key == *taint) && (effect.is_empty() || effect == "NoExecute")
        };
        if items(&spec["tolerations"]).any(about) {
            continue;
        }
        let usual = json!({
            "key": taint, "operator": "Exists", "effect": "NoExecute",
            "tolerationSeconds": OUTAGE_SECONDS,
        });
        match spec["tolerations"].as_array_mut() {
            Some(list) => list.push(usual),
            None => spec["tolerations"] = json!([usual]),
        }
    }
}

/// Problems of the placement; `path` leads to the pod's spec.
pub fn validate(spec: &Value, path: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    let node = text(&spec["nodeName"]);
    if !node.is_empty() {
        for why in names::subdomain(node) {
            causes.push(Cause::invalid(
                format!("{path}.nodeName"),
                &node.into(),
                why,
            ));
        }
    }
    for (key, value) in fields(&spec["nodeSelector"]) {
        let field = format!("{path}.nodeSelector");
        for why in names::qualified(key) {
            causes.push(Cause::invalid(field.clone(), &key.as_str().into(), why));
        }
        for why in names::label_value(text(value)) {
            causes.push(Cause::invalid(field.clone(), value, why));
        }
    }
    for (index, toleration) in items(&spec["tolerations"]).enumerate() {
        causes.extend(tolerates(
            toleration,
            &format!("{path}.tolerations[{index}]"),
        ));
    }
    let affinity = &spec["affinity"];
    let path_of = |kind: &str| format!("{path}.affinity.{kind}");
    causes.extend(node_affinity(
        &affinity["nodeAffinity"],
        &path_of("nodeAffinity"),
    ));
    for kind in ["podAffinity", "podAntiAffinity"] {
        causes.extend(pod_affinity(&affinity[kind], &path_of(kind)));
    }
    causes.extend(spreading(
        spec,
        &format!("{path}.topologySpreadConstraints"),
    ));
    let mut gates = BTreeSet::new();
    for (index, gate) in items(&spec["schedulingGates"]).enumerate() {
        let (field, name) = (
            format!("{path}.schedulingGates[{index}]"),
            text(&gate["name"]),
        );
        for why in names::qualified(name) {
            causes.push(Cause::invalid(field.clone(), &name.into(), why));
        }
        if !gates.insert(name) {
            causes.push(Cause::duplicate(field, &name.into()));
        }
    }
    causes
}

fn tolerates(toleration: &Value, path: &str) -> Vec<Cause> {
    let field = |name: &str| format!("{path}.{name}");
    let (key, value) = (text(&toleration["key"]), text(&toleration["value"]));
    let (operator, effect) = (text(&toleration["operator"]), text(&toleration["effect"]));
    let mut causes = Vec::new();
    if key.is_empty() && operator != "Exists" {
        let why = "operator must be Exists when `key` is empty, which means \"match all values \
                   and all keys\"";
        causes.push(Cause::invalid(field("operator"), &operator.into(), why));
    }
    if !key.is_empty() {
        for why in names::qualified(key) {
            causes.push(Cause::invalid(field("key"), &key.into(), why));
        }
    }
    if !toleration["tolerationSeconds"].is_null() && effect != "NoExecute" {
        let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
        causes.push(Cause::invalid(field("effect"), &effect.into(), why));
    }
    match operator {
        "" | "Equal" => {
            let problems = names::label_value(value);
            if !problems.is_empty() {
                let why = problems.join(";");
                causes.push(Cause::invalid(field("operator"), &value.into(), why));
            }
        }
        "Exists" if !value.is_empty() => {
            let why = "value must be empty when `operator` is 'Exists'";
            causes.push(Cause::invalid(field("operator"), toleration, why));
        }
        "Exists" => {}
        other => {
            let known = ["Equal", "Exists"];
            causes.push(Cause::not_supported(
                field("operator"),
                &other.into(),
                &known,
            ));
        }
    }
    if !effect.is_empty() && !EFFECTS.contains(&effect) {
        causes.push(Cause::not_supported(
            field("effect"),
            &effect.into(),
            EFFECTS,
        ));
    }
    causes
}

fn node_affinity(affinity: &Value, path: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    let required = &affinity[NOW];
    if required.is_object() {
        let field = format!("{path}.{NOW}.nodeSelectorTerms");
        let terms = &required["nodeSelectorTerms"];
        if items(terms).next().is_none() {
            let why = "must have at least one node selector term";
            causes.push(Cause::required(field.clone(), why));
        }
        for (index, term) in items(terms).enumerate() {
            causes.extend(node_term(term, &format!("{field}[{index}]")));
        }
    }
    for (index, preferred) in items(&affinity[IF_POSSIBLE]).enumerate() {
        let path = format!("{path}.{IF_POSSIBLE}[{index}]");
        causes.extend(weight(preferred, &path));
        causes.extend(node_term(
            &preferred["preference"],
            &format!("{path}.preference"),
        ));
    }
    causes
}

fn node_term(term: &Value, path: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (index, expression) in items(&term["matchExpressions"]).enumerate() {
        let path = format!("{path}.matchExpressions[{index}]");
        let (several, single) = (&["In", "NotIn"], &["Gt", "Lt"]);
        causes.extend(selectors::number_of_values(
            expression, &path, several, single,
        ));
        causes.extend(selectors::key_and_values(expression, &path));
    }
    for (index, expression) in items(&term["matchFields"]).enumerate() {
        let field = |name: &str| format!("{path}.matchFields[{index}].{name}");
        if !matches!(text(&expression["operator"]), "In" | "NotIn") {
            let why = "not a valid selector operator";
            causes.push(Cause::invalid(
                field("operator"),
                &expression["operator"],
                why,
            ));
        } else if items(&expression["values"]).count() != 1 {
            let why = "must be only one value when `operator` is 'In' or 'NotIn' for node field \
                       selector";
            causes.push(Cause::required(field("values"), why));
        }
        if expression["key"] != "metadata.name" {
            let why = "not a valid field selector key";
            causes.push(Cause::invalid(field("key"), &expression["key"], why));
        }
    }
    causes
}

fn pod_affinity(affinity: &Value, path: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (index, term) in items(&affinity[NOW]).enumerate() {
        causes.extend(pod_term(term, &format!("{path}.{NOW}[{index}]")));
    }
    for (index, preferred) in items(&affinity[IF_POSSIBLE]).enumerate() {
        let path = format!("{path}.{IF_POSSIBLE}[{index}]");
        causes.extend(weight(preferred, &path));
        causes.extend(pod_term(
            &preferred["podAffinityTerm"],
            &format!("{path}.podAffinityTerm"),
        ));
    }
    causes
}

fn pod_term(term: &Value, path: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    for selector in ["labelSelector", "namespaceSelector"] {
        causes.extend(selectors::validate(
            &term[selector],
            &format!("{path}.{selector}"),
        ));
    }
    causes.extend(topology(term, path));
    causes
}

/// Both ask for a label of Nodes.
fn topology(value: &Value, path: &str) -> Vec<Cause> {
    let (field, key) = (format!("{path}.topologyKey"), text(&value["topologyKey"]));
    if key.is_empty() {
        return vec![Cause::required(field, "can not be empty")];
    }
    let problems = names::qualified(key).into_iter();
    problems
        .map(|why| Cause::invalid(field.clone(), &key.into(), why))
        .collect()
}

fn weight(preferred: &Value, path: &str) -> Option<Cause> {
    let weight = preferred["weight"].as_i64().unwrap_or_default();
    let why = "must be in the range 1-100";
    (!(1..=100).contains(&weight))
        .then(|| Cause::invalid(format!("{path}.weight"), &weight.into(), why))
}

fn spreading(spec: &Value, path: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut seen = BTreeSet::new();
    for (index, constraint) in items(&spec["topologySpreadConstraints"]).enumerate() {
        let path = format!("{path}[{index}]");
        let field = |name: &str| format!("{path}.{name}");
        let positive = "must be greater than zero";
        for name in ["maxSkew", "minDomains"] {
            let number = &constraint[name];
            if number.as_i64().is_some_and(|number| number <= 0) {
                causes.push(Cause::invalid(field(name), number, positive));
            }
        }
        causes.extend(topology(constraint, &path));
        for (name, known) in [
            ("whenUnsatisfiable", ["DoNotSchedule", "ScheduleAnyway"]),
            ("nodeAffinityPolicy", ["Honor", "Ignore"]),
            ("nodeTaintsPolicy", ["Honor", "Ignore"]),
        ] {
            let value = &constraint[name];
            if !value.is_null() && !known.contains(&text(value)) {
                causes.push(Cause::not_supported(field(name), value, &known));
            }
        }
        let selector = field("labelSelector");
        causes.extend(selectors::validate(&constraint["labelSelector"], &selector));
        let (key, then) = (
            text(&constraint["topologyKey"]),
            text(&constraint["whenUnsatisfiable"]),
        );
        if !seen.insert((key, then)) {
            let pair = format!("{{{key}, {then}}}");
            let field = field("{topologyKey, whenUnsatisfiable}");
            causes.push(Cause::duplicate(field, &pair.into()));
        }
    }
    causes
}

/// What may change of the placement while gates hold the pod back: there may be fewer of those, and
/// more wishes for Nodes.
pub fn validate_update(pod: &Value, old: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let (new, old) = (&pod["spec"], &old["spec"]);
    for gate in items(&new["schedulingGates"]) {
        if !items(&old["schedulingGates"]).any(|known| known == gate) {
            let why = format!(
                "only deletion is allowed, but found new scheduling gate '{}'",
                text(&gate["name"])
            );
            causes.push(Cause::forbidden("spec.schedulingGates", why));
        }
    }
    let kept = |(key, value): (&String, &Value)| new["nodeSelector"].get(key) == Some(value);
    if is_held_back(old) && !fields(&old["nodeSelector"]).all(kept) {
        let why = "only additions are allowed (no mutations or deletions)";
        causes.push(Cause::invalid(
            "spec.nodeSelector",
            &new["nodeSelector"],
            why,
        ));
    }
    causes
}

/// Whether gates keep a pod with this spec from being scheduled.
pub fn is_held_back(spec: &Value) -> bool {
    items(&spec["schedulingGates"]).next().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fields of what is wrong, without what all begin with.
    fn problems(spec: &Value) -> Vec<String> {
        let causes = validate(spec, "spec").into_iter();
        causes
            .map(|cause| cause.field["spec.".len()..].to_owned())
            .collect()
    }

    #[test]
    fn who_says_nothing_of_outages_waits_for_their_end() {
        let count = |tolerations: Value| {
            let mut spec = json!({"tolerations": tolerations});
            tolerate_short_outages(&mut spec);
            let once = spec.clone();
            tolerate_short_outages(&mut spec);
            assert_eq!(spec, once);
            items(&spec["tolerations"]).count()
        };
        assert_eq!(count(Value::Null), 2);
        assert_eq!(count(json!([{"operator": "Exists"}])), 1);
        assert_eq!(count(json!([{"key": OUTAGES[0], "operator": "Exists"}])), 2);
        let other = json!([{"key": OUTAGES[0], "operator": "Exists", "effect": "NoSchedule"}]);
        assert_eq!(count(other), 3);
    }

    #[test]
    fn a_toleration_makes_sense() {
        for (toleration, wrong) in [
            (json!({"operator": "Exists"}), None),
            (
                json!({"key": "a", "value": "b", "effect": "NoExecute", "tolerationSeconds": 5}),
                None,
            ),
            (json!({"operator": "Equal"}), Some("operator")),
            (
                json!({"key": "a", "operator": "Exists", "value": "b"}),
                Some("operator"),
            ),
            (json!({"key": "a", "operator": "Is"}), Some("operator")),
            (json!({"key": "a b", "operator": "Exists"}), Some("key")),
            (json!({"key": "a", "effect": "Never"}), Some("effect")),
            (
                json!({"key": "a", "effect": "NoSchedule", "tolerationSeconds": 5}),
                Some("effect"),
            ),
        ] {
            let wanted: Vec<String> = wrong
                .iter()
                .map(|field| format!("tolerations[0].{field}"))
                .collect();
            assert_eq!(
                problems(&json!({"tolerations": [toleration]})),
                wanted,
                "{toleration}"
            );
        }
    }

    #[test]
    fn affinity_has_terms_that_can_be_fulfilled() {
        let node = |terms: Value| json!({"affinity": {"nodeAffinity": {NOW: {"nodeSelectorTerms": terms}}}});
        let at = format!("affinity.nodeAffinity.{NOW}.nodeSelectorTerms");
        assert_eq!(problems(&node(json!([]))), std::slice::from_ref(&at));
        let expressions = json!([{"matchExpressions": [
            {"key": "a", "operator": "Gt", "values": ["1"]},
            {"key": "a", "operator": "Gt", "values": ["1", "2"]},
            {"key": "a", "operator": "Is"}],
            "matchFields": [{"key": "metadata.uid", "operator": "In", "values": ["x"]}]}]);
        assert_eq!(
            problems(&node(expressions)),
            [
                format!("{at}[0].matchExpressions[1].values"),
                format!("{at}[0].matchExpressions[2].operator"),
                format!("{at}[0].matchFields[0].key"),
            ]
        );
        let pods = json!({"affinity": {"podAntiAffinity": {IF_POSSIBLE: [
            {"weight": 0, "podAffinityTerm": {"topologyKey": ""}}]}}});
        let at = format!("affinity.podAntiAffinity.{IF_POSSIBLE}[0]");
        assert_eq!(
            problems(&pods),
            [
                format!("{at}.weight"),
                format!("{at}.podAffinityTerm.topologyKey")
            ]
        );
    }

    #[test]
    fn a_constraint_is_said_once() {
        let constraint =
            json!({"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"});
        let spec = |constraints: Value| json!({"topologySpreadConstraints": constraints});
        assert!(problems(&spec(json!([constraint]))).is_empty());
        assert_eq!(
            problems(&spec(json!([constraint, constraint]))),
            ["topologySpreadConstraints[1].{topologyKey, whenUnsatisfiable}"]
        );
        let wrong = json!([{"maxSkew": 0, "whenUnsatisfiable": "Panic"}]);
        assert_eq!(
            problems(&spec(wrong)),
            [
                "topologySpreadConstraints[0].maxSkew",
                "topologySpreadConstraints[0].topologyKey",
                "topologySpreadConstraints[0].whenUnsatisfiable",
            ]
        );
    }

    #[test]
    fn gates_only_go() {
        let pod = |gates: &[&str], zone: &str| {
            let gates: Vec<Value> = gates.iter().map(|gate| json!({"name": gate})).collect();
            json!({"spec": {"schedulingGates": gates, "nodeSelector": {"zone": zone}}})
        };
        let old = pod(&["a", "b"], "1");
        assert!(validate_update(&pod(&["a"], "1"), &old).is_empty());
        let causes = validate_update(&pod(&["a", "c"], "2"), &old);
        let fields: Vec<&str> = causes.iter().map(|cause| cause.field.as_str()).collect();
        assert_eq!(fields, ["spec.schedulingGates", "spec.nodeSelector"]);
    }
}
