//! Rules of Nodes.

use serde_json::{Value, json};

use crate::status::Cause;

use super::kinds::{items, set_default, text};
use super::names;

/// What a kubelet says of its machine; unknown until it does.
const MACHINE: &[&str] = &[
    "machineID",
    "systemUUID",
    "bootID",
    "kernelVersion",
    "osImage",
    "containerRuntimeVersion",
    "kubeletVersion",
    "kubeProxyVersion",
    "operatingSystem",
    "architecture",
];
const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// What a Node can give out is what it has, unless its status says otherwise.
pub fn defaults(node: &mut Value) {
    set_default(node, "spec", json!({}));
    set_default(node, "status", json!({}));
    let status = &mut node["status"];
    if let Some(capacity) = status.get("capacity").cloned() {
        set_default(status, "allocatable", capacity);
    }
    let endpoints = json!({"kubeletEndpoint": {"Port": 0}});
    set_default(status, "daemonEndpoints", endpoints);
    set_default(status, "nodeInfo", json!({}));
    for field in MACHINE {
        set_default(&mut status["nodeInfo"], field, "".into());
    }
}

/// Taints have names and effects that are known, and each pair of key and effect once.
pub fn validate(node: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for (index, taint) in items(&node["spec"]["taints"]).enumerate() {
        // The real server, too, says `metadata` here.
        let field = |name: &str| format!("metadata.taints[{index}]{name}");
        let (key, value) = (text(&taint["key"]), text(&taint["value"]));
        let effect = text(&taint["effect"]);
        for why in names::qualified(key) {
            causes.push(Cause::invalid(field(".key"), &key.into(), why));
        }
        for why in names::label_value(value) {
            causes.push(Cause::invalid(field(".value"), &value.into(), why));
        }
        if effect.is_empty() {
            causes.push(Cause::required(field(".effect"), ""));
        } else if !EFFECTS.contains(&effect) {
            causes.push(Cause::not_supported(
                field(".effect"),
                &effect.into(),
                EFFECTS,
            ));
        }
        if seen.contains(&(key, effect)) {
            causes.push(Cause::duplicate(field(""), taint));
        }
        seen.push((key, effect));
    }
    causes
}

/// What identifies a Node outside the cluster is set once.
pub fn validate_update(node: &Value, old: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let (new, old) = (&node["spec"], &old["spec"]);
    for field in ["podCIDRs", "providerID"] {
        if !old[field].is_null() && new[field] != old[field] {
            let name = if field == "podCIDRs" {
                "podCIDR"
            } else {
                field
            };
            let why = format!("node updates may not change {name} except from \"\" to valid");
            causes.push(Cause::forbidden(format!("spec.{field}"), why));
        }
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taints_are_unique_and_have_a_known_effect() {
        let node = |taints: Value| json!({"spec": {"taints": taints}});
        let good =
            json!([{"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoExecute"}]);
        assert!(validate(&node(good)).is_empty());
        for (taint, field) in [
            (json!({"key": "a"}), "metadata.taints[0].effect"),
            (
                json!({"key": "a", "effect": "Never"}),
                "metadata.taints[0].effect",
            ),
            (
                json!({"key": "a b", "effect": "NoExecute"}),
                "metadata.taints[0].key",
            ),
            (
                json!({"key": "a", "value": "!", "effect": "NoExecute"}),
                "metadata.taints[0].value",
            ),
        ] {
            assert_eq!(validate(&node(json!([taint])))[0].field, field, "{taint}");
        }
        let twice = json!({"key": "a", "effect": "NoExecute"});
        let causes = validate(&node(json!([twice, twice])));
        assert_eq!(causes[0].reason, "FieldValueDuplicate");
    }

    #[test]
    fn a_provider_id_is_set_once() {
        let node = |id: Value| json!({"spec": {"providerID": id}});
        assert!(validate_update(&node("a".into()), &json!({"spec": {}})).is_empty());
        let causes = validate_update(&node("b".into()), &node("a".into()));
        assert_eq!(causes[0].field, "spec.providerID");
    }
}
