//! What is wrong with what is done to a container while it runs: probes and hooks of its life.

use serde_json::Value;

use crate::status::Cause;

use super::names;
use super::values::{fields, items, text};

const SCHEMES: &[&str] = &["HTTP", "HTTPS"];
const NOT_NEGATIVE: &str = "must be greater than or equal to 0";
const PORT: &str = "must be between 1 and 65535, inclusive";
const TIMES: &[&str] = &[
    "initialDelaySeconds",
    "timeoutSeconds",
    "periodSeconds",
    "successThreshold",
    "failureThreshold",
];
const PROBES: &[&str] = &["livenessProbe", "readinessProbe", "startupProbe"];
const HANDLERS: &[&str] = &["exec", "httpGet", "tcpSocket", "grpc", "sleep"];

/// Problems of the probes and hooks of a container that runs; `path` leads to it.
pub fn validate(container: &Value, path: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    for hook in ["postStart", "preStop"] {
        let handler = &container["lifecycle"][hook];
        if handler.is_object() {
            causes.extend(handles(handler, &format!("{path}.lifecycle.{hook}")));
        }
    }
    for name in PROBES {
        let probe = &container[*name];
        if probe.is_object() {
            causes.extend(probes(probe, name, &format!("{path}.{name}")));
        }
    }
    causes
}

/// Problems of a container that ends before the others begin: nothing is done to it.
pub fn validate_initial(container: &Value, path: &str) -> Vec<Cause> {
    let set = std::iter::once(&"lifecycle").chain(PROBES);
    let set = set.filter(|name| container[**name].is_object());
    let why = "may not be set for init containers without restartPolicy=Always";
    set.map(|name| Cause::forbidden(format!("{path}.{name}"), why))
        .collect()
}

fn probes(probe: &Value, name: &str, path: &str) -> Vec<Cause> {
    let mut causes = handles(probe, path);
    for time in TIMES {
        if probe[*time].as_i64().is_some_and(|number| number < 0) {
            let field = format!("{path}.{time}");
            causes.push(Cause::invalid(field, &probe[*time], NOT_NEGATIVE));
        }
    }
    let grace = &probe["terminationGracePeriodSeconds"];
    let field = format!("{path}.terminationGracePeriodSeconds");
    if name == "readinessProbe" {
        if !grace.is_null() {
            let why = "must not be set for readinessProbes";
            causes.push(Cause::invalid(field, grace, why));
        }
        return causes;
    }
    if grace.as_i64().is_some_and(|seconds| seconds <= 0) {
        causes.push(Cause::invalid(field, grace, "must be greater than 0"));
    }
    let successes = &probe["successThreshold"];
    if successes.as_i64().is_some_and(|count| count != 1) {
        let field = format!("{path}.successThreshold");
        causes.push(Cause::invalid(field, successes, "must be 1"));
    }
    causes
}

/// A handler does one thing.
fn handles(handler: &Value, path: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut given = fields(handler)
        .filter(|(name, value)| HANDLERS.contains(&name.as_str()) && value.is_object());
    let Some((name, action)) = given.next() else {
        return vec![Cause::required(path, "must specify a handler type")];
    };
    causes.extend(acts(name, action, &format!("{path}.{name}")));
    for (name, _) in given {
        let why = "may not specify more than 1 handler type";
        causes.push(Cause::forbidden(format!("{path}.{name}"), why));
    }
    causes
}

fn acts(name: &str, action: &Value, path: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    match name {
        "exec" if items(&action["command"]).next().is_none() => {
            causes.push(Cause::required(format!("{path}.command"), ""));
        }
        "httpGet" => {
            if text(&action["path"]).is_empty() {
                causes.push(Cause::required(format!("{path}.path"), ""));
            }
            causes.extend(port(&action["port"], path));
            let scheme = &action["scheme"];
            if !SCHEMES.contains(&text(scheme)) {
                let field = format!("{path}.scheme");
                causes.push(Cause::not_supported(field, scheme, SCHEMES));
            }
        }
        "tcpSocket" | "grpc" => causes.extend(port(&action["port"], path)),
        _ => {}
    }
    causes
}

/// A port is a number, or the name of one.
fn port(value: &Value, path: &str) -> Vec<Cause> {
    let field = format!("{path}.port");
    match value {
        Value::String(name) => {
            let problems = names::port(name).into_iter();
            problems
                .map(|why| Cause::invalid(field.clone(), value, why))
                .collect()
        }
        number => {
            let number = number.as_i64().unwrap_or_default();
            let wrong = !(1..=65535).contains(&number);
            let cause = wrong.then(|| Cause::invalid(field, &number.into(), PORT));
            cause.into_iter().collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problems(container: &Value) -> Vec<String> {
        let causes = validate(container, "c").into_iter();
        causes.map(|cause| cause.field).collect()
    }

    #[test]
    fn a_probe_does_one_thing() {
        for (probe, wrong) in [
            (json!({"exec": {"command": ["x"]}}), &[][..]),
            (json!({"tcpSocket": {"port": "http"}}), &[]),
            (json!({}), &["c.livenessProbe"]),
            (json!({"exec": {}}), &["c.livenessProbe.exec.command"]),
            (
                json!({"exec": {"command": ["x"]}, "tcpSocket": {"port": 1}}),
                &["c.livenessProbe.tcpSocket"],
            ),
            (
                json!({"grpc": {"port": 70000}}),
                &["c.livenessProbe.grpc.port"],
            ),
            (
                json!({"httpGet": {"path": "/", "scheme": "FTP", "port": "x y"}}),
                &[
                    "c.livenessProbe.httpGet.port",
                    "c.livenessProbe.httpGet.scheme",
                ],
            ),
        ] {
            assert_eq!(problems(&json!({"livenessProbe": probe})), wrong, "{probe}");
        }
    }

    #[test]
    fn only_readiness_may_need_more_than_one_success() {
        let probe = json!({"exec": {"command": ["x"]}, "successThreshold": 2, "periodSeconds": -1});
        assert_eq!(
            problems(&json!({"readinessProbe": probe})),
            ["c.readinessProbe.periodSeconds"]
        );
        assert_eq!(
            problems(&json!({"startupProbe": probe})),
            [
                "c.startupProbe.periodSeconds",
                "c.startupProbe.successThreshold"
            ]
        );
    }

    #[test]
    fn what_ends_first_has_no_probes() {
        let container = json!({"lifecycle": {"preStop": {}}, "readinessProbe": {}});
        let causes = validate_initial(&container, "c");
        let fields: Vec<&str> = causes.iter().map(|cause| cause.field.as_str()).collect();
        assert_eq!(fields, ["c.lifecycle", "c.readinessProbe"]);
    }
}
