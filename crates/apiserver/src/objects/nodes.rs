//! Rules of Nodes.

use serde_json::{Value, json};

use crate::status::Cause;

use super::pod_placement::EFFECTS;
use super::values::{items, set_default, text};
use super::{cidr, names};

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
/// What a Node can give out is what it has, unless its status says otherwise.
pub fn defaults(node: &mut Value) {
    set_default(node, "spec", json!({}));
    set_default(node, "status", json!({}));
    ranges_of_pods(&mut node["spec"]);
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

/// `podCIDR` is the first of `podCIDRs`, and counts where they differ.
fn ranges_of_pods(spec: &mut Value) {
    let first = spec["podCIDRs"][0].as_str();
    match spec["podCIDR"].as_str() {
        Some(single) if Some(single) != first => spec["podCIDRs"] = json!([single]),
        Some(_) => {}
        None => {
            if let Some(first) = first.map(str::to_owned) {
                spec["podCIDR"] = first.into();
            }
        }
    }
}

/// What is wrong with a Node.
pub fn validate(node: &Value) -> Vec<Cause> {
    let mut causes = validate_taints(node);
    let ranges = &node["spec"]["podCIDRs"];
    let mut families = Vec::new();
    for (index, range) in items(ranges).enumerate() {
        match cidr::address(text(range)) {
            Some(network) => families.push(network.is_ipv4()),
            None => causes.push(cidr::invalid(format!("spec.podCIDRs[{index}]"), range)),
        }
    }
    if causes.is_empty()
        && (families.len() > 2 || families.len() == 2 && families[0] == families[1])
    {
        let why = "may specify no more than one CIDR for each IP family";
        causes.push(Cause::invalid("spec.podCIDRs", ranges, why));
    }
    causes
}

/// Taints have names and effects that are known, and each pair of key and effect once.
fn validate_taints(node: &Value) -> Vec<Cause> {
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

/// What identifies a Node outside the cluster is set once, and so are the addresses of its Pods.
pub fn validate_update(node: &Value, old: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut seen = Vec::new();
    for (index, address) in items(&node["status"]["addresses"]).enumerate() {
        if seen.contains(&address) {
            let field = format!("status.addresses[{index}]");
            causes.push(Cause::duplicate(field, address));
        }
        seen.push(address);
    }
    let (new, old) = (&node["spec"], &old["spec"]);
    for (field, name) in [("podCIDRs", "podCIDR"), ("providerID", "providerID")] {
        if !old[field].is_null() && new[field] != old[field] {
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
    fn the_range_of_pods_is_the_first_of_their_ranges() {
        let ranges = |mut spec: Value| {
            ranges_of_pods(&mut spec);
            spec
        };
        let both = json!({"podCIDR": "10.0.0.0/24", "podCIDRs": ["10.0.0.0/24"]});
        assert_eq!(ranges(json!({"podCIDR": "10.0.0.0/24"})), both);
        assert_eq!(ranges(json!({"podCIDRs": ["10.0.0.0/24"]})), both);
        assert_eq!(ranges(both.clone()), both);
        let differing = json!({"podCIDR": "10.0.0.0/24", "podCIDRs": ["10.0.1.0/24"]});
        assert_eq!(ranges(differing), both);
        assert_eq!(ranges(json!({})), json!({}));
    }

    #[test]
    fn pods_have_one_range_of_each_family() {
        for (list, field) in [
            (json!(["10.0.0.0/24", "2001:db8::/64"]), None),
            (json!(["10.0.0.0/24", "10.0.1.0/24"]), Some("spec.podCIDRs")),
            (json!(["10.0.0.0/33"]), Some("spec.podCIDRs[0]")),
            (json!(["ten"]), Some("spec.podCIDRs[0]")),
        ] {
            let causes = validate(&json!({"spec": {"podCIDRs": list}}));
            let fields: Vec<&str> = causes.iter().map(|cause| cause.field.as_str()).collect();
            assert_eq!(fields, field.into_iter().collect::<Vec<_>>(), "{list}");
        }
    }

    #[test]
    fn a_range_is_not_changed_and_an_address_not_repeated() {
        let address = json!({"type": "InternalIP", "address": "192.0.2.1"});
        let node = |range: &str| {
            json!({"spec": {"podCIDRs": [range]},
            "status": {"addresses": [address, address]}})
        };
        let causes = validate_update(&node("10.0.1.0/24"), &node("10.0.0.0/24"));
        let fields: Vec<&str> = causes.iter().map(|cause| cause.field.as_str()).collect();
        assert_eq!(fields, ["status.addresses[1]", "spec.podCIDRs"]);
    }

    #[test]
    fn a_provider_id_is_set_once() {
        let node = |id: Value| json!({"spec": {"providerID": id}});
        assert!(validate_update(&node("a".into()), &json!({"spec": {}})).is_empty());
        let causes = validate_update(&node("b".into()), &node("a".into()));
        assert_eq!(causes[0].field, "spec.providerID");
    }
}
