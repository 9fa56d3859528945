//! Rules of NetworkPolicies.

use serde_json::{Value, json};

use crate::status::Cause;

use super::values::{items, items_mut, set_default, text};
use super::{cidr, names, selectors};

const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];
const TYPES: &[&str] = &["Egress", "Ingress"];

/// A policy is about what comes in, and about what goes out if it says so.
pub fn defaults(policy: &mut Value) {
    set_default(policy, "spec", json!({}));
    let spec = &mut policy["spec"];
    set_default(spec, "podSelector", json!({}));
    for direction in ["ingress", "egress"] {
        for rule in items_mut(spec.get_mut(direction)) {
            for port in items_mut(rule.get_mut("ports")) {
                set_default(port, "protocol", "TCP".into());
            }
        }
    }
    let outgoing = items(&spec["egress"]).next().is_some();
    let types = if outgoing {
        json!(["Ingress", "Egress"])
    } else {
        json!(["Ingress"])
    };
    set_default(spec, "policyTypes", types);
}

/// What is wrong with a policy.
pub fn validate(policy: &Value) -> Vec<Cause> {
    let spec = &policy["spec"];
    let mut causes = selectors::validate(&spec["podSelector"], "spec.podSelector");
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        for (index, rule) in items(&spec[direction]).enumerate() {
            let path = format!("spec.{direction}[{index}]");
            for (index, port) in items(&rule["ports"]).enumerate() {
                causes.extend(validate_port(port, &format!("{path}.ports[{index}]")));
            }
            for (index, peer) in items(&rule[peers]).enumerate() {
                causes.extend(validate_peer(peer, &format!("{path}.{peers}[{index}]")));
            }
        }
    }
    for (index, of) in items(&spec["policyTypes"]).enumerate() {
        if !TYPES.contains(&text(of)) {
            let field = format!("spec.policyTypes[{index}]");
            causes.push(Cause::not_supported(field, of, TYPES));
        }
    }
    causes
}

fn validate_port(port: &Value, path: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    let protocol = &port["protocol"];
    if !protocol.is_null() && !PROTOCOLS.contains(&text(protocol)) {
        let field = format!("{path}.protocol");
        causes.push(Cause::not_supported(field, protocol, PROTOCOLS));
    }
    let field = format!("{path}.port");
    match &port["port"] {
        Value::Null => {}
        Value::String(name) => {
            for why in names::port(name) {
                causes.push(Cause::invalid(field.clone(), &port["port"], why));
            }
        }
        number if !(1..=65535).contains(&number.as_i64().unwrap_or_default()) => {
            let why = "must be between 1 and 65535, inclusive";
            causes.push(Cause::invalid(field, number, why));
        }
        _ => {}
    }
    if let Some(end) = port["endPort"].as_i64() {
        let field = format!("{path}.endPort");
        match port["port"].as_i64() {
            None => {
                let why = "must be specified when `endPort` is specified";
                causes.push(Cause::required(format!("{path}.port"), why));
            }
            Some(first) if end < first => {
                let why = "must be greater than or equal to `port`";
                causes.push(Cause::invalid(field, &end.into(), why));
            }
            Some(_) => {}
        }
    }
    causes
}

fn validate_peer(peer: &Value, path: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    let selects = ["podSelector", "namespaceSelector"];
    let selected = selects.iter().any(|selector| peer[*selector].is_object());
    for selector in selects {
        causes.extend(selectors::validate(
            &peer[selector],
            &format!("{path}.{selector}"),
        ));
    }
    let block = &peer["ipBlock"];
    if !block.is_object() {
        if !selected {
            causes.push(Cause::required(path, "must specify a peer"));
        }
        return causes;
    }
    if selected {
        let why = "may not specify both ipBlock and another peer";
        causes.push(Cause::forbidden(path, why));
    }
    if text(&block["cidr"]).is_empty() {
        causes.push(Cause::required(format!("{path}.ipBlock.cidr"), ""));
    } else if cidr::address(text(&block["cidr"])).is_none() {
        let field = format!("{path}.ipBlock.cidr");
        causes.push(cidr::invalid(field, &block["cidr"]));
    }
    for (index, except) in items(&block["except"]).enumerate() {
        if cidr::address(text(except)).is_none() {
            let field = format!("{path}.ipBlock.except[{index}]");
            causes.push(cidr::invalid(field, except));
        }
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_about_what_its_rules_are_about() {
        for (egress, types) in [
            (json!([]), json!(["Ingress"])),
            (
                json!([{"ports": [{"port": 53}]}]),
                json!(["Ingress", "Egress"]),
            ),
        ] {
            let mut policy = json!({"spec": {"egress": egress}});
            defaults(&mut policy);
            assert_eq!(policy["spec"]["policyTypes"], types, "{policy}");
            for rule in items(&policy["spec"]["egress"]) {
                assert_eq!(rule["ports"][0]["protocol"], "TCP");
            }
        }
    }

    #[test]
    fn a_rule_names_peers_and_ports_that_there_can_be() {
        for (rule, field) in [
            (
                json!({"from": [{"podSelector": {}}], "ports": [{"port": 80}]}),
                None,
            ),
            (json!({"from": [{}]}), Some("from[0]")),
            (
                json!({"from": [{"ipBlock": {"cidr": "all"}}]}),
                Some("from[0].ipBlock.cidr"),
            ),
            (
                json!({"from": [{"podSelector": {}, "ipBlock": {"cidr": "10.0.0.0/8"}}]}),
                Some("from[0]"),
            ),
            (json!({"ports": [{"port": 0}]}), Some("ports[0].port")),
            (json!({"ports": [{"port": "Web!"}]}), Some("ports[0].port")),
            (
                json!({"ports": [{"port": 80, "endPort": 70}]}),
                Some("ports[0].endPort"),
            ),
            (
                json!({"ports": [{"protocol": "QUIC"}]}),
                Some("ports[0].protocol"),
            ),
        ] {
            let causes = validate(&json!({"spec": {"ingress": [rule]}}));
            let mut fields: Vec<&str> = causes.iter().map(|cause| cause.field.as_str()).collect();
            fields.dedup();
            let wanted: Vec<String> = field
                .iter()
                .map(|field| format!("spec.ingress[0].{field}"))
                .collect();
            assert_eq!(fields, wanted, "{rule}");
        }
        let types = json!({"spec": {"policyTypes": ["Ingress", "Both"]}});
        assert_eq!(validate(&types)[0].field, "spec.policyTypes[1]");
    }
}
