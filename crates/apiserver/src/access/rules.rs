//! Single rules: what one allows, and whether some are covered by others.

use std::collections::BTreeMap;

use k8s_openapi::api::rbac::v1::PolicyRule;

use super::attributes::{Attributes, Resource};

const ANY: &str = "*";

/// Whether a rule allows something.
pub fn allows(rule: &PolicyRule, attributes: &Attributes<'_>) -> bool {
    match attributes {
        Attributes::Resource(wanted) => {
            has(&rule.verbs, wanted.verb)
                && has(list(rule.api_groups.as_ref()), wanted.group)
                && names_resource(rule, wanted)
                && names_object(rule, wanted.name)
        }
        Attributes::Path { verb, path } => {
            has(&rule.verbs, verb)
                && list(rule.non_resource_urls.as_ref())
                    .iter()
                    .any(|url| matches_path(url, path))
        }
    }
}

/// The rules of somebody who may do everything.
pub fn everything() -> Vec<PolicyRule> {
    let any = || Some(vec![ANY.to_owned()]);
    vec![
        PolicyRule {
            api_groups: any(),
            resources: any(),
            verbs: vec![ANY.to_owned()],
            ..PolicyRule::default()
        },
        PolicyRule {
            non_resource_urls: any(),
            verbs: vec![ANY.to_owned()],
            ..PolicyRule::default()
        },
    ]
}

/// What `wanted` allows and `held` does not; rules of one verb and one resource each.
pub fn missing(held: &[PolicyRule], wanted: &[PolicyRule]) -> Vec<PolicyRule> {
    let parts = wanted.iter().flat_map(parts);
    parts
        .filter(|part| !held.iter().any(|rule| covers(rule, part)))
        .collect()
}

/// Describes rules for a refusal, those of the same resource together.
pub fn describe(rules: &[PolicyRule]) -> String {
    let mut together: BTreeMap<String, PolicyRule> = BTreeMap::new();
    for rule in rules {
        let alone = PolicyRule {
            verbs: Vec::new(),
            ..rule.clone()
        };
        let known = together.entry(describe_one(&alone)).or_insert(alone);
        for verb in &rule.verbs {
            if !known.verbs.contains(verb) {
                known.verbs.push(verb.clone());
            }
        }
    }
    let mut lines: Vec<String> = together.values().map(describe_one).collect();
    lines.sort();
    lines.join("\n")
}

fn describe_one(rule: &PolicyRule) -> String {
    let parts = [
        ("APIGroups", list(rule.api_groups.as_ref())),
        ("Resources", list(rule.resources.as_ref())),
        ("NonResourceURLs", list(rule.non_resource_urls.as_ref())),
        ("ResourceNames", list(rule.resource_names.as_ref())),
        ("Verbs", &rule.verbs),
    ];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(_, values)| !values.is_empty())
        .map(|(name, values)| format!("{name}:{}", quoted(values)))
        .collect();
    format!("{{{}}}", parts.join(", "))
}

/// A list as the real server writes it: `["a" "b"]`.
pub fn quoted(values: &[String]) -> String {
    let values: Vec<String> = values.iter().map(|value| format!("{value:?}")).collect();
    format!("[{}]", values.join(" "))
}

/// A rule taken apart.
fn parts(rule: &PolicyRule) -> Vec<PolicyRule> {
    let one = |value: &String| Some(vec![value.clone()]);
    let mut parts = Vec::new();
    for verb in &rule.verbs {
        let verbs = vec![verb.clone()];
        for group in list(rule.api_groups.as_ref()) {
            for resource in list(rule.resources.as_ref()) {
                let part = PolicyRule {
                    api_groups: one(group),
                    resources: one(resource),
                    verbs: verbs.clone(),
                    ..PolicyRule::default()
                };
                match list(rule.resource_names.as_ref()) {
                    [] => parts.push(part),
                    names => parts.extend(names.iter().map(|name| PolicyRule {
                        resource_names: one(name),
                        ..part.clone()
                    })),
                }
            }
        }
        parts.extend(
            list(rule.non_resource_urls.as_ref())
                .iter()
                .map(|url| PolicyRule {
                    non_resource_urls: one(url),
                    verbs: verbs.clone(),
                    ..PolicyRule::default()
                }),
        );
    }
    parts
}

/// Whether a rule allows all that a part of another allows.
fn covers(rule: &PolicyRule, part: &PolicyRule) -> bool {
    let verbs = part.verbs.iter().all(|verb| has(&rule.verbs, verb));
    if let [url] = list(part.non_resource_urls.as_ref()) {
        return verbs
            && list(rule.non_resource_urls.as_ref())
                .iter()
                .any(|held| matches_path(held, url));
    }
    let [group] = list(part.api_groups.as_ref()) else {
        return false;
    };
    let [whole] = list(part.resources.as_ref()) else {
        return false;
    };
    let (resource, subresource) = whole.split_once('/').unwrap_or((whole, ""));
    let wanted = Resource {
        resource,
        subresource,
        ..Resource::default()
    };
    let held_names = list(rule.resource_names.as_ref());
    let names = match list(part.resource_names.as_ref()) {
        // All objects are more than some.
        [] => held_names.is_empty(),
        wanted => held_names.is_empty() || wanted.iter().all(|name| held_names.contains(name)),
    };
    verbs && names && has(list(rule.api_groups.as_ref()), group) && names_resource(rule, &wanted)
}

fn names_resource(rule: &PolicyRule, wanted: &Resource<'_>) -> bool {
    list(rule.resources.as_ref()).iter().any(|named| {
        if named == ANY {
            return true;
        }
        match (named.split_once('/'), wanted.subresource) {
            (None, subresource) => subresource.is_empty() && named == wanted.resource,
            (Some(_), "") => false,
            (Some((resource, sub)), subresource) => {
                sub == subresource && (resource == ANY || resource == wanted.resource)
            }
        }
    })
}

/// Rules without names are about all objects.
fn names_object(rule: &PolicyRule, name: &str) -> bool {
    match list(rule.resource_names.as_ref()) {
        [] => true,
        names => names.iter().any(|known| known == name),
    }
}

fn matches_path(named: &str, path: &str) -> bool {
    named == ANY
        || named == path
        || named
            .strip_suffix('*')
            .is_some_and(|prefix| path.starts_with(prefix))
}

fn has(values: &[String], wanted: &str) -> bool {
    values.iter().any(|value| value == ANY || value == wanted)
}

fn list(values: Option<&Vec<String>>) -> &[String] {
    values.map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Option<Vec<String>> {
        let core = |word: &str| if word == "core" { "" } else { word }.to_owned();
        (text != "-").then(|| text.split(',').map(core).collect())
    }

    /// `verbs groups resources [names]`, or `verbs path paths`.
    pub fn rule(text: &str) -> PolicyRule {
        let parts: Vec<&str> = text.split(' ').collect();
        let verbs = words(parts[0]).unwrap();
        if parts[1] == "path" {
            return PolicyRule {
                verbs,
                non_resource_urls: words(parts[2]),
                ..PolicyRule::default()
            };
        }
        PolicyRule {
            verbs,
            api_groups: words(parts[1]),
            resources: words(parts[2]),
            resource_names: parts.get(3).and_then(|names| words(names)),
            ..PolicyRule::default()
        }
    }

    /// `verb group resource[/subresource] [name]`, or `verb /path`.
    fn ask(text: &str) -> bool {
        let (given, question) = text.split_once(" ? ").unwrap();
        let parts: Vec<&str> = question.split(' ').collect();
        let attributes = if parts[1].starts_with('/') {
            Attributes::Path {
                verb: parts[0],
                path: parts[1],
            }
        } else {
            let (resource, subresource) = parts[2].split_once('/').unwrap_or((parts[2], ""));
            Attributes::Resource(Resource {
                verb: parts[0],
                group: if parts[1] == "core" { "" } else { parts[1] },
                resource,
                subresource,
                namespace: "",
                name: parts.get(3).copied().unwrap_or_default(),
            })
        };
        allows(&rule(given), &attributes)
    }

    #[test]
    fn a_rule_allows_what_it_names() {
        for (question, expected) in [
            ("get,list core pods ? get core pods p", true),
            ("get,list core pods ? watch core pods", false),
            ("get core pods ? get apps pods p", false),
            ("* core pods ? escalate core pods p", true),
            ("get * pods ? get apps pods p", true),
            ("get core * ? get core nodes/status n", true),
            ("get core pods ? get core pods/log p", false),
            ("get core pods/log ? get core pods p", false),
            ("get core pods/log ? get core pods/log p", true),
            ("get core */scale ? get core pods/scale p", true),
            ("get core */scale ? get core pods p", false),
            ("get core pods/* ? get core pods/log p", false),
            ("get core pods a,b ? get core pods b", true),
            ("get core pods a,b ? get core pods c", false),
            ("create core pods a ? create core pods", false),
            ("list core pods a ? list core pods a", true),
            ("get path /healthz ? get /healthz", true),
            ("get path /healthz ? get /healthz/ping", false),
            ("get path /healthz/* ? get /healthz/ping", true),
            ("get path * ? get /anything", true),
            ("get path * ? post /anything", false),
            ("get path * ? get core pods", false),
            ("* * * ? get /healthz", false),
        ] {
            assert_eq!(ask(question), expected, "{question}");
        }
    }

    #[test]
    fn what_is_not_held_is_missing() {
        for (held, wanted, expected) in [
            ("get,list core pods", "get core pods", ""),
            ("* * *", "get,list core,apps pods,pods/log a", ""),
            (
                "get core pods",
                "get,list core pods",
                r#"{APIGroups:[""], Resources:["pods"], Verbs:["list"]}"#,
            ),
            (
                "get core pods a",
                "get core pods",
                r#"{APIGroups:[""], Resources:["pods"], Verbs:["get"]}"#,
            ),
            (
                "get core pods a",
                "get core pods a,b",
                r#"{APIGroups:[""], Resources:["pods"], ResourceNames:["b"], Verbs:["get"]}"#,
            ),
            (
                "get core pods",
                "* core pods",
                r#"{APIGroups:[""], Resources:["pods"], Verbs:["*"]}"#,
            ),
            (
                "get core pods",
                "create,delete apps pods",
                r#"{APIGroups:["apps"], Resources:["pods"], Verbs:["create" "delete"]}"#,
            ),
            ("get core */scale", "get core pods/scale", ""),
            ("get path /healthz/*", "get path /healthz/ping", ""),
            (
                "get path /healthz",
                "get path *",
                r#"{NonResourceURLs:["*"], Verbs:["get"]}"#,
            ),
        ] {
            let found = describe(&missing(&[rule(held)], &[rule(wanted)]));
            assert_eq!(found, expected, "{held} for {wanted}");
        }
    }
}
