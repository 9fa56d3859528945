//! Rules of Services.

use serde_json::{Value, json};

use crate::status::Cause;

use super::kinds::{items, items_mut, put, remove, set_default, text};
use super::names;

const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];
/// How many ports there are for Services on nodes, from 30000 on.
const NODE_PORTS: u32 = 2768;

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

fn uses_node_ports(spec: &Value) -> bool {
    matches!(text(&spec["type"]), "NodePort" | "LoadBalancer")
}

/// Gives a new Service an address and ports. Nothing answers there. They are made from its uid:
/// two Services have the same address only by a rare accident.
pub fn before_create(service: &mut Value) {
    service["status"] = json!({"loadBalancer": {}});
    let seed = seed(text(&service["metadata"]["uid"]));
    allocate(&mut service["spec"], seed);
}

/// An update that leaves out what was given keeps it, as long as its type needs it.
pub fn before_update(service: &mut Value, old: &Value) {
    let seed = seed(text(&old["metadata"]["uid"]));
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
    allocate(spec, seed);
}

fn seed(uid: &str) -> u32 {
    uid.bytes().fold(2_166_136_261, |hash: u32, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(16_777_619)
    })
}

fn allocate(spec: &mut Value, seed: u32) {
    if spec["type"] == "ExternalName" {
        return;
    }
    if text(&spec["clusterIP"]).is_empty() {
        let [_, a, b, c] = seed.to_be_bytes();
        let address = format!("10.{}.{b}.{}", 96 + a % 16, c.clamp(1, 254));
        spec["clusterIP"] = address.into();
    }
    let addresses = json!([spec["clusterIP"]]);
    set_default(spec, "clusterIPs", addresses);
    set_default(spec, "ipFamilies", json!(["IPv4"]));
    set_default(spec, "ipFamilyPolicy", "SingleStack".into());
    if !uses_node_ports(spec) || spec["allocateLoadBalancerNodePorts"] == false {
        return;
    }
    let mut next = seed;
    for port in items_mut(spec.get_mut("ports")) {
        set_default(port, "nodePort", (30000 + next % NODE_PORTS).into());
        next = next.wrapping_add(1);
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
    }
    for (key, value) in super::kinds::fields(&spec["selector"]) {
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
    use super::*;

    fn service(spec: &Value) -> Value {
        let mut service = json!({"metadata": {"uid": "a"}, "spec": spec});
        defaults(&mut service);
        before_create(&mut service);
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
        new["spec"]["clusterIP"] = "10.0.0.9".into();
        assert_eq!(validate_update(&new, &old)[0].field, "spec.clusterIPs[0]");
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
        assert_eq!(
            fields(json!({"ports": [{"port": 70000, "targetPort": 1}]})),
            ["spec.ports[0].port"]
        );
    }
}
