//! Rules of ingresses and endpoints.

use std::net::IpAddr;

use serde_json::Value;

use crate::status::Cause;

use super::names;
use super::values::{items, items_mut, set_default, text};

const PATH_TYPES: &[&str] = &["Exact", "ImplementationSpecific", "Prefix"];
const ADDRESS_TYPES: &[&str] = &["FQDN", "IPv4", "IPv6"];
/// What no path may have in it, in the order in which it is looked for.
const NOT_IN_PATHS: &[&str] = &["//", "/./", "/../", "%2f", "%2F"];
const NOT_AT_THE_END: &[&str] = &["/..", "/."];

/// The ports of Endpoints.
pub fn endpoints_defaults(endpoints: &mut Value) {
    for subset in items_mut(endpoints.get_mut("subsets")) {
        for port in items_mut(subset.get_mut("ports")) {
            set_default(port, "protocol", "TCP".into());
        }
    }
}

/// The ports of a slice have a name, which may be empty.
pub fn slice_defaults(slice: &mut Value) {
    for port in items_mut(slice.get_mut("ports")) {
        set_default(port, "name", "".into());
        set_default(port, "protocol", "TCP".into());
    }
}

/// A slice has addresses of one type.
pub fn validate_slice(slice: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let of = &slice["addressType"];
    match text(of) {
        "" => causes.push(Cause::required("addressType", "")),
        known if ADDRESS_TYPES.contains(&known) => {}
        _ => causes.push(Cause::not_supported("addressType", of, ADDRESS_TYPES)),
    }
    for (index, endpoint) in items(&slice["endpoints"]).enumerate() {
        if items(&endpoint["addresses"]).next().is_none() {
            let field = format!("endpoints[{index}].addresses");
            causes.push(Cause::required(field, "must contain at least 1 address"));
        }
    }
    causes
}

/// A slice keeps its type.
pub fn validate_slice_update(slice: &Value, old: &Value) -> Option<Cause> {
    let of = &slice["addressType"];
    let is_same = *of == old["addressType"];
    (!is_same).then(|| Cause::invalid("addressType", of, "field is immutable"))
}

/// An Ingress leads somewhere.
pub fn validate_ingress(ingress: &Value) -> Vec<Cause> {
    let spec = &ingress["spec"];
    let mut causes = Vec::new();
    let backend = &spec["defaultBackend"];
    if items(&spec["rules"]).next().is_none() && backend.is_null() {
        let why = "either `defaultBackend` or `rules` must be specified";
        causes.push(Cause::invalid("spec", &spec["rules"], why));
    }
    if !backend.is_null() {
        causes.extend(validate_backend(backend, "spec.defaultBackend"));
    }
    for (index, rule) in items(&spec["rules"]).enumerate() {
        let path = format!("spec.rules[{index}]");
        causes.extend(validate_host(&rule["host"], &format!("{path}.host")));
        if rule["http"].is_null() {
            continue;
        }
        let field = format!("{path}.http.paths");
        if items(&rule["http"]["paths"]).next().is_none() {
            causes.push(Cause::required(field.clone(), ""));
        }
        for (index, path) in items(&rule["http"]["paths"]).enumerate() {
            causes.extend(validate_path(path, &format!("{field}[{index}]")));
        }
    }
    causes
}

fn validate_host(host: &Value, field: &str) -> Vec<Cause> {
    let name = text(host);
    if name.is_empty() {
        return Vec::new();
    }
    if name.parse::<IpAddr>().is_ok() {
        let why = "must be a DNS name, not an IP address";
        return vec![Cause::invalid(field, host, why)];
    }
    let plain = name.strip_prefix("*.").unwrap_or(name);
    let problems = names::subdomain(plain).into_iter();
    problems
        .map(|why| Cause::invalid(field, host, why))
        .collect()
}

fn validate_path(path: &Value, field: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    let (of, at) = (&path["pathType"], &path["path"]);
    let place = text(at);
    let mut refuse = |why: String| {
        causes.push(Cause::invalid(format!("{field}.path"), at, why));
    };
    match text(of) {
        "Exact" | "Prefix" => {
            if !place.starts_with('/') {
                refuse("must be an absolute path".to_owned());
            }
            if !place.is_empty() {
                for part in NOT_IN_PATHS.iter().filter(|part| place.contains(**part)) {
                    refuse(format!("must not contain '{part}'"));
                }
                for end in NOT_AT_THE_END.iter().filter(|end| place.ends_with(**end)) {
                    refuse(format!("cannot end with '{end}'"));
                }
            }
        }
        "ImplementationSpecific" => {
            if !place.is_empty() && !place.starts_with('/') {
                refuse("must be an absolute path".to_owned());
            }
        }
        "" => causes.push(Cause::required(
            format!("{field}.pathType"),
            "pathType must be specified",
        )),
        _ => causes.push(Cause::not_supported(
            format!("{field}.pathType"),
            of,
            PATH_TYPES,
        )),
    }
    causes.extend(validate_backend(
        &path["backend"],
        &format!("{field}.backend"),
    ));
    causes
}

fn validate_backend(backend: &Value, field: &str) -> Vec<Cause> {
    let (service, resource) = (&backend["service"], &backend["resource"]);
    if !resource.is_null() && !service.is_null() {
        let why = "cannot set both resource and service backends";
        return vec![Cause::invalid(field, &"".into(), why)];
    }
    if !resource.is_null() {
        return Vec::new();
    }
    let mut causes = Vec::new();
    let name = &service["name"];
    if text(name).is_empty() {
        causes.push(Cause::required(format!("{field}.service.name"), ""));
    } else {
        for why in names::label_1035(text(name)) {
            causes.push(Cause::invalid(format!("{field}.service.name"), name, why));
        }
    }
    let (port, number) = (text(&service["port"]["name"]), &service["port"]["number"]);
    match (port.is_empty(), number.as_i64().unwrap_or_default()) {
        (false, 0) => {
            for why in names::port(port) {
                let field = format!("{field}.service.port.name");
                causes.push(Cause::invalid(field, &port.into(), why));
            }
        }
        (false, _) => {
            let why = "cannot set both port name & port number";
            causes.push(Cause::invalid(field, &"".into(), why));
        }
        (true, 0) => causes.push(Cause::required(field, "port name or number is required")),
        (true, 1..=65535) => {}
        (true, _) => {
            let why = "must be between 1 and 65535, inclusive";
            let field = format!("{field}.service.port.number");
            causes.push(Cause::invalid(field, number, why));
        }
    }
    causes
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(causes: &[Cause]) -> Vec<&str> {
        causes.iter().map(|cause| cause.field.as_str()).collect()
    }

    #[test]
    fn an_ingress_has_hosts_paths_and_somewhere_to_go() {
        let service = json!({"service": {"name": "s", "port": {"number": 80}}});
        let ingress = |host: &str, path: Value| json!({"spec": {"rules": [{"host": host, "http": {"paths": [path]}}]}});
        let path = |of: &str, path: &str| json!({"pathType": of, "path": path, "backend": service});
        for (host, path, expected) in [
            ("a.example", path("Prefix", "/"), &[][..]),
            ("*.example", path("ImplementationSpecific", ""), &[]),
            ("10.0.0.1", path("Exact", "/a"), &["host"]),
            ("a..b", path("Exact", "/a"), &["host"]),
            ("", path("", "/"), &["http.paths[0].pathType"]),
            ("", path("Any", "/"), &["http.paths[0].pathType"]),
            ("", path("Exact", "a"), &["http.paths[0].path"]),
            (
                "",
                path("Prefix", "/a//b/.."),
                &["http.paths[0].path", "http.paths[0].path"],
            ),
            (
                "",
                json!({"pathType": "Exact", "path": "/", "backend": {}}),
                &[
                    "http.paths[0].backend.service.name",
                    "http.paths[0].backend",
                ],
            ),
        ] {
            let ingress = ingress(host, path);
            let expected: Vec<String> = expected
                .iter()
                .map(|field| format!("spec.rules[0].{field}"))
                .collect();
            assert_eq!(found(&validate_ingress(&ingress)), expected, "{ingress}");
        }
        assert_eq!(found(&validate_ingress(&json!({"spec": {}}))), ["spec"]);
    }

    #[test]
    fn a_slice_keeps_its_type_of_addresses() {
        let slice = |of: &str| json!({"addressType": of, "endpoints": [{"addresses": ["::1"]}]});
        assert!(validate_slice(&slice("IPv6")).is_empty());
        assert_eq!(found(&validate_slice(&slice("IPv5"))), ["addressType"]);
        assert!(validate_slice_update(&slice("IPv4"), &slice("IPv6")).is_some());
        let empty = json!({"addressType": "FQDN", "endpoints": [{}]});
        assert_eq!(found(&validate_slice(&empty)), ["endpoints[0].addresses"]);
    }
}
