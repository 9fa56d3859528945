//! Rules of Services.

use serde_json::{Value, json};

use crate::status::Cause;

use super::addresses::{self, uses_node_ports};
use super::values::{items, items_mut, put, remove, set_default, text};
use super::{cidr, names};

const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];

/// The usual ways of a Service.
pub fn defaults(service: &mut Value) {
    set_default(service, "spec", json!({}));
    let spec = &mut service["spec"];
    set_default(spec, "type", "ClusterIP".into());
    set_default(spec, "sessionAffinity", "None".into());
    if spec["sessionAffinity"] == "ClientIP" {
        let lasting = json!({"clientIP": {"timeoutSeconds": 10800}});
        set_default(spec, "sessionAffinityConfig", lasting);
    }
    if spec["type"] != "ExternalName" {
        set_default(spec, "internalTrafficPolicy", "Cluster".into());
    }
    if uses_node_ports(spec) {
        set_default(spec, "externalTrafficPolicy", "Cluster".into());
    }
    if spec["clusterIPs"].is_null() && !text(&spec["clusterIP"]).is_empty() {
        spec["clusterIPs"] = json!([spec["clusterIP"]]);
    }
    if spec["type"] == "LoadBalancer" {
        set_default(spec, "allocateLoadBalancerNodePorts", true.into());
    }
    for port in items_mut(spec.get_mut("ports")) {
        set_default(port, "protocol", "TCP".into());
        let number = port["port"].clone();
        set_default(port, "targetPort", number);
    }
    set_default(service, "status", json!({"loadBalancer": {}}));
}

/// Nobody has balanced a new Service yet.
pub fn before_create(service: &mut Value) {
    service["status"] = json!({"loadBalancer": {}});
}

/// An update that leaves out what was given keeps it, as long as its type needs it.
pub fn before_update(service: &mut Value, old: &Value) {
    let (spec, was) = (&mut service["spec"], &old["spec"]);
    if spec["type"] != "ExternalName" && was["type"] != "ExternalName" {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            if spec[field].is_null() {
                put(spec, field, was.get(field).cloned());
            }
        }
    }
    if uses_node_ports(spec) && uses_node_ports(was) {
        for port in items_mut(spec.get_mut("ports")) {
            let same = |known: &&Value| {
                known["port"] == port["port"] && known["protocol"] == port["protocol"]
            };
            let known = items(&was["ports"]).find(same);
            if let Some(number) = known.and_then(|known| known.get("nodePort")) {
                let number = number.clone();
                set_default(port, "nodePort", number);
            }
        }
    }
    // A change of the type gives up what the new type does not need.
    if spec["type"] == "ExternalName" && was["type"] != "ExternalName" {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            remove(spec, field);
        }
    }
    if !uses_node_ports(spec) && uses_node_ports(was) {
        for port in items_mut(spec.get_mut("ports")) {
            remove(port, "nodePort");
        }
        remove(spec, "externalTrafficPolicy");
    }
    if addresses::needs_health_check(was) {
        if addresses::needs_health_check(spec) {
            let port = was["healthCheckNodePort"].clone();
            set_default(spec, "healthCheckNodePort", port);
        } else {
            remove(spec, "healthCheckNodePort");
        }
    }
}

/// What is wrong with a Service.
pub fn validate(service: &Value) -> Vec<Cause> {
    let spec = &service["spec"];
    let mut causes = Vec::new();
    let headless = spec["clusterIP"] == "None";
    let count = items(&spec["ports"]).count();
    if count == 0 && !headless && spec["type"] != "ExternalName" {
        causes.push(Cause::required("spec.ports", ""));
    }
    let mut known_names: Vec<&str> = Vec::new();
    let mut known_ports: Vec<(&Value, &Value)> = Vec::new();
    let mut known_node_ports: Vec<(&Value, &Value)> = Vec::new();
    for (index, port) in items(&spec["ports"]).enumerate() {
        let field = |name: &str| format!("spec.ports[{index}]{name}");
        let name = text(&port["name"]);
        if name.is_empty() {
            if count > 1 {
                causes.push(Cause::required(field(".name"), ""));
            }
        } else {
            for why in names::label(name) {
                causes.push(Cause::invalid(field(".name"), &name.into(), why));
            }
            if known_names.contains(&name) {
                causes.push(Cause::duplicate(field(".name"), &name.into()));
            }
            known_names.push(name);
        }
        let number = port["port"].as_i64().unwrap_or_default();
        if !(1..=65535).contains(&number) {
            let why = "must be between 1 and 65535, inclusive";
            causes.push(Cause::invalid(field(".port"), &number.into(), why));
        }
        let protocol = text(&port["protocol"]);
        if !PROTOCOLS.contains(&protocol) {
            let value = protocol.into();
            causes.push(Cause::not_supported(field(".protocol"), &value, PROTOCOLS));
        }
        if let Some(name) = port["targetPort"].as_str() {
            for why in names::port(name) {
                causes.push(Cause::invalid(field(".targetPort"), &name.into(), why));
            }
        }
        let protocol = text(&port["appProtocol"]);
        if !protocol.is_empty() {
            for why in names::qualified(protocol) {
                causes.push(Cause::invalid(field(".appProtocol"), &protocol.into(), why));
            }
        }
        if port["targetPort"]
            .as_i64()
            .is_some_and(|number| !(1..=65535).contains(&number))
        {
            let why = "must be between 1 and 65535, inclusive";
            causes.push(Cause::invalid(
                field(".targetPort"),
                &port["targetPort"],
                why,
            ));
        }
        let pair = (&port["protocol"], &port["port"]);
        if known_ports.contains(&pair) {
            let value = json!({"protocol": pair.0, "port": pair.1});
            causes.push(Cause::duplicate(field(""), &value));
        }
        known_ports.push(pair);
        let pair = (&port["protocol"], &port["nodePort"]);
        if pair.1.as_u64().is_none_or(|number| number == 0) {
            continue;
        }
        if spec["type"] == "ClusterIP" {
            let why = "may not be used when `type` is 'ClusterIP'";
            causes.push(Cause::forbidden(field(".nodePort"), why));
        }
        if known_node_ports.contains(&pair) {
            causes.push(Cause::duplicate(field(".nodePort"), pair.1));
        }
        known_node_ports.push(pair);
    }
    validate_addresses(spec, &mut causes);
    causes.extend(validate_traffic(spec));
    for (key, value) in super::values::fields(&spec["selector"]) {
        for why in names::qualified(key) {
            causes.push(Cause::invalid("spec.selector", &key.as_str().into(), why));
        }
        for why in names::label_value(text(value)) {
            causes.push(Cause::invalid("spec.selector", value, why));
        }
    }
    let affinity = text(&spec["sessionAffinity"]);
    if !["ClientIP", "None"].contains(&affinity) {
        let known = ["ClientIP", "None"];
        causes.push(Cause::not_supported(
            "spec.sessionAffinity",
            &affinity.into(),
            &known,
        ));
    }
    if !TYPES.contains(&text(&spec["type"])) {
        causes.push(Cause::not_supported("spec.type", &spec["type"], TYPES));
    }
    if spec["type"] == "ExternalName" {
        let name = text(&spec["externalName"]).trim_end_matches('.');
        if name.is_empty() {
            causes.push(Cause::required("spec.externalName", ""));
        } else {
            for why in names::subdomain(name) {
                causes.push(Cause::invalid("spec.externalName", &name.into(), why));
            }
        }
    }
    causes
}

/// `clusterIP` is the first of `clusterIPs`.
fn validate_addresses(spec: &Value, causes: &mut Vec<Cause>) {
    if spec["type"] == "ExternalName" {
        return;
    }
    let (first, all) = (text(&spec["clusterIP"]), &spec["clusterIPs"]);
    if first.is_empty() && items(all).next().is_some() {
        let why = "must be empty when `clusterIP` is not specified";
        causes.push(Cause::invalid("spec.clusterIPs", all, why));
    } else if !first.is_empty() && all[0] != first {
        let why = "first value must match `clusterIP`";
        causes.push(Cause::invalid("spec.clusterIPs", all, why));
    }
    for (index, address) in items(all).enumerate() {
        if index == 0 && address == "None" {
            if items(all).count() > 1 {
                let why = "'None' must be the first and only value";
                causes.push(Cause::invalid("spec.clusterIPs", all, why));
            }
        } else if text(address).parse::<std::net::IpAddr>().is_err() {
            let why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
            let field = format!("spec.clusterIPs[{index}]");
            causes.push(Cause::invalid(field, address, why));
        }
    }
}

/// Where traffic to a Service comes from and where it goes.
fn validate_traffic(spec: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (name, known) in [
        ("externalTrafficPolicy", &["Cluster", "Local"][..]),
        ("internalTrafficPolicy", &["Cluster", "Local"]),
        (
            "trafficDistribution",
            &["PreferClose", "PreferSameNode", "PreferSameZone"],
        ),
    ] {
        let policy = &spec[name];
        if !policy.is_null() && !known.contains(&text(policy)) {
            causes.push(Cause::not_supported(format!("spec.{name}"), policy, known));
        }
    }
    let policy = &spec["externalTrafficPolicy"];
    let from_outside = uses_node_ports(spec) || items(&spec["externalIPs"]).next().is_some();
    if !policy.is_null() && !from_outside {
        let why = "may only be set for externally-accessible services";
        causes.push(Cause::invalid("spec.externalTrafficPolicy", policy, why));
    }
    for (index, address) in items(&spec["externalIPs"]).enumerate() {
        if text(address).parse::<std::net::IpAddr>().is_err() {
            let why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
            let field = format!("spec.externalIPs[{index}]");
            causes.push(Cause::invalid(field, address, why));
        }
    }
    let ranges = &spec["loadBalancerSourceRanges"];
    if !ranges.is_null() && spec["type"] != "LoadBalancer" {
        let why = "may only be used when `type` is 'LoadBalancer'";
        causes.push(Cause::forbidden("spec.loadBalancerSourceRanges", why));
    }
    for (index, range) in items(ranges).enumerate() {
        if cidr::address(text(range).trim()).is_none() {
            let field = format!("spec.loadBalancerSourceRanges[{index}]");
            causes.push(cidr::invalid(field, range));
        }
    }
    causes
}

/// The address of a Service stays.
pub fn validate_update(service: &Value, old: &Value) -> Vec<Cause> {
    let (new, old) = (&service["spec"], &old["spec"]);
    let external = |spec: &Value| spec["type"] == "ExternalName";
    if external(new) || external(old) || text(&old["clusterIP"]).is_empty() {
        return Vec::new();
    }
    if new["clusterIP"] == old["clusterIP"] {
        return Vec::new();
    }
    let why = "may not change once set";
    vec![Cause::invalid(
        "spec.clusterIPs[0]",
        &new["clusterIPs"],
        why,
    )]
}

#[cfg(test)]
mod tests {
    use super::super::addresses::Taken;
    use super::*;

    fn service(spec: &Value) -> Value {
        let mut service = json!({"metadata": {"uid": "a"}, "spec": spec});
        defaults(&mut service);
        before_create(&mut service);
        addresses::assign(&mut service, None, &mut Taken::default(), 0).expect("all is free");
        service
    }

    #[test]
    fn addresses_and_node_ports_are_given_out_where_the_type_needs_them() {
        let plain = service(&json!({"ports": [{"port": 80}]}));
        assert_eq!(plain["spec"]["clusterIPs"][0], plain["spec"]["clusterIP"]);
        assert_eq!(plain["spec"]["ports"][0]["targetPort"], 80);
        assert!(plain["spec"]["ports"][0]["nodePort"].is_null());
        let node = service(&json!({"type": "NodePort", "ports": [{"port": 80}, {"port": 81}]}));
        let port = |index: usize| node["spec"]["ports"][index]["nodePort"].as_u64();
        assert!(port(0) >= Some(30000) && port(0) != port(1));
        let headless = service(&json!({"clusterIP": "None"}));
        assert_eq!(headless["spec"]["clusterIPs"], json!(["None"]));
        let external = service(&json!({"type": "ExternalName", "externalName": "example.com"}));
        assert!(external["spec"]["clusterIP"].is_null());
    }

    #[test]
    fn an_update_keeps_what_was_given_out_and_cannot_change_it() {
        let old = service(&json!({"type": "NodePort", "ports": [{"port": 80}]}));
        let mut new = json!({"spec": {"type": "NodePort", "ports": [{"port": 80}]}});
        defaults(&mut new);
        before_update(&mut new, &old);
        assert_eq!(new["spec"]["clusterIP"], old["spec"]["clusterIP"]);
        assert_eq!(new["spec"]["ports"], old["spec"]["ports"]);
        addresses::assign(&mut new, Some(&old), &mut Taken::default(), 1).unwrap();
        assert_eq!(new["spec"]["clusterIPs"], old["spec"]["clusterIPs"]);
        new["spec"]["clusterIP"] = "10.0.0.9".into();
        assert_eq!(validate_update(&new, &old)[0].field, "spec.clusterIPs[0]");
    }

    #[test]
    fn traffic_goes_where_the_type_lets_it() {
        for (spec, field) in [
            (
                json!({"type": "NodePort", "externalTrafficPolicy": "Local"}),
                None,
            ),
            (
                json!({"type": "ClusterIP", "externalTrafficPolicy": "Local"}),
                Some("spec.externalTrafficPolicy"),
            ),
            (
                json!({"type": "ClusterIP", "internalTrafficPolicy": "Remote"}),
                Some("spec.internalTrafficPolicy"),
            ),
            (
                json!({"externalIPs": ["here"]}),
                Some("spec.externalIPs[0]"),
            ),
            (
                json!({"type": "NodePort", "loadBalancerSourceRanges": ["10.0.0.0/8"]}),
                Some("spec.loadBalancerSourceRanges"),
            ),
            (
                json!({"type": "LoadBalancer", "loadBalancerSourceRanges": ["here"]}),
                Some("spec.loadBalancerSourceRanges[0]"),
            ),
        ] {
            let causes = validate_traffic(&spec);
            let fields: Vec<&str> = causes.iter().map(|cause| cause.field.as_str()).collect();
            assert_eq!(fields, field.into_iter().collect::<Vec<_>>(), "{spec}");
        }
    }

    #[test]
    fn the_addresses_are_addresses_and_agree() {
        let fields = |spec: Value| -> Vec<String> {
            let causes = validate(&json!({"spec": spec}));
            let addresses = causes.into_iter().map(|cause| cause.field);
            addresses
                .filter(|field| field.contains("clusterIP"))
                .collect()
        };
        assert_eq!(
            fields(json!({"clusterIPs": ["10.96.0.1"]})),
            ["spec.clusterIPs"]
        );
        let two = json!({"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.2"]});
        assert_eq!(fields(two), ["spec.clusterIPs"]);
        let text = json!({"clusterIP": "here", "clusterIPs": ["here"]});
        assert_eq!(fields(text), ["spec.clusterIPs[0]"]);
        let none = json!({"clusterIP": "None", "clusterIPs": ["None", "10.96.0.1"]});
        assert_eq!(fields(none), ["spec.clusterIPs"]);
    }

    #[test]
    fn ports_are_needed_named_and_unique() {
        let fields = |spec: Value| -> Vec<String> {
            let causes = validate(&service(&spec));
            causes.into_iter().map(|cause| cause.field).collect()
        };
        assert_eq!(fields(json!({})), ["spec.ports"]);
        assert_eq!(
            fields(json!({"ports": [{"port": 80}, {"port": 81}]})),
            ["spec.ports[0].name", "spec.ports[1].name"]
        );
        let twice = json!({"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 80}]});
        assert_eq!(fields(twice), ["spec.ports[1]"]);
        let twice = json!([
            {"name": "a", "port": 80, "nodePort": 30000},
            {"name": "b", "port": 81, "nodePort": 30000},
        ]);
        assert_eq!(
            fields(json!({"type": "NodePort", "ports": twice})),
            ["spec.ports[1].nodePort"]
        );
        assert_eq!(
            fields(json!({"ports": [{"port": 80, "nodePort": 30000}]})),
            ["spec.ports[0].nodePort"]
        );
        assert_eq!(
            fields(json!({"ports": [{"port": 70000, "targetPort": 1}]})),
            ["spec.ports[0].port"]
        );
    }
}
