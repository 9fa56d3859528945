//! The roles and bindings that a cluster with RBAC has from the start.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::api::Api;
use crate::controllers::aggregated_rules;
use crate::status::Status;
use crate::verbs;

const TABLE: &str = include_str!("bootstrap.txt");
const GROUP: &str = "rbac.authorization.k8s.io";

/// Makes those that are missing.
///
/// # Errors
/// If the storage does not work.
pub async fn create(api: &Arc<Api>) -> Result<(), Status> {
    for object in objects() {
        let plural = match object["kind"].as_str() {
            Some("ClusterRole") => "clusterroles",
            _ => "clusterrolebindings",
        };
        let Some(kind) = api.registry.find(GROUP, "v1", plural) else {
            continue;
        };
        match verbs::create_object(api, &kind, None, object).await {
            Err(status) if status.reason != "AlreadyExists" => return Err(status),
            _ => {}
        }
    }
    Ok(())
}

/// What the table describes, roles that others make up filled in.
fn objects() -> Vec<Value> {
    let mut objects: Vec<Value> = Vec::new();
    for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["role", name, rest @ ..] => objects.push(role(name, rest)),
            ["bind", name, groups @ ..] => objects.push(binding(name, groups)),
            [verbs, "path", paths] => add(
                &mut objects,
                json!({"verbs": split(verbs), "nonResourceURLs": split(paths)}),
            ),
            [verbs, groups, resources] => add(
                &mut objects,
                json!({"verbs": split(verbs), "apiGroups": split(groups), "resources": split(resources)}),
            ),
            _ => {}
        }
    }
    // Roles are part of roles that are part of roles.
    let mut complete = false;
    while !complete {
        complete = true;
        for index in 0..objects.len() {
            if let Some(rules) = aggregated_rules(&objects[index], &objects) {
                objects[index]["rules"] = rules;
                complete = false;
            }
        }
    }
    objects
}

fn metadata(name: &str) -> Value {
    json!({
        "name": name,
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
    })
}

fn label(role: &str) -> String {
    format!("{GROUP}/aggregate-to-{role}")
}

fn role(name: &str, options: &[&str]) -> Value {
    let mut role = json!({
        "kind": "ClusterRole", "apiVersion": format!("{GROUP}/v1"),
        "metadata": metadata(name), "rules": [],
    });
    for option in options.chunks_exact(2) {
        match option {
            ["in", other] => role["metadata"]["labels"][label(other)] = "true".into(),
            [_, other] => {
                role["aggregationRule"] =
                    json!({"clusterRoleSelectors": [{"matchLabels": {label(other): "true"}}]});
            }
            _ => {}
        }
    }
    role
}

fn binding(role: &str, groups: &[&str]) -> Value {
    let subject = |group: &&str| json!({"kind": "Group", "apiGroup": GROUP, "name": group});
    json!({
        "kind": "ClusterRoleBinding", "apiVersion": format!("{GROUP}/v1"),
        "metadata": metadata(role),
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": role},
        "subjects": groups.iter().map(subject).collect::<Vec<_>>(),
    })
}

fn add(objects: &mut [Value], rule: Value) {
    if let Some(rules) = objects
        .last_mut()
        .and_then(|role| role["rules"].as_array_mut())
    {
        rules.push(rule);
    }
}

fn split(words: &str) -> Vec<&str> {
    words
        .split(',')
        .flat_map(|word| match word {
            "core" => vec![""],
            "read" => vec!["get", "list", "watch"],
            "write" => vec!["create", "delete", "deletecollection", "patch", "update"],
            word => vec![word],
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::attributes::{Attributes, Resource};
    use crate::access::policy::Policy;
    use crate::request::Identity;

    fn policy() -> Policy {
        let mut policy = Policy::default();
        for object in objects() {
            let plural = format!("{}s", object["kind"].as_str().unwrap().to_lowercase());
            let key = format!(
                "{GROUP}/{plural}/{}",
                object["metadata"]["name"].as_str().unwrap()
            );
            policy.note(&key, Some(object.to_string().as_bytes()));
        }
        for role in ["admin", "edit", "view"] {
            let mut binding = binding(role, &[role]);
            binding["kind"] = "RoleBinding".into();
            let key = format!("{GROUP}/rolebindings/here/{role}");
            policy.note(&key, Some(binding.to_string().as_bytes()));
        }
        policy
    }

    fn may(policy: &Policy, group: &str, verb: &str, what: &str) -> bool {
        let identity = Identity {
            user: "x".to_owned(),
            groups: vec![group.to_owned()],
            ..Identity::default()
        };
        let attributes = match what.split_once('|') {
            None => Attributes::Path { verb, path: what },
            Some((api_group, resource)) => Attributes::Resource(Resource {
                verb,
                group: api_group,
                resource,
                namespace: "here",
                ..Resource::default()
            }),
        };
        policy.decide(&identity, &attributes).allowed
    }

    #[test]
    fn the_usual_roles_allow_what_people_expect() {
        let policy = policy();
        for (group, verb, what, expected) in [
            ("view", "list", "|pods", true),
            ("view", "list", "|secrets", false),
            ("view", "create", "|pods", false),
            ("edit", "list", "|pods", true),
            ("edit", "get", "|secrets", true),
            ("edit", "delete", "apps|deployments", true),
            ("edit", "get", "rbac.authorization.k8s.io|roles", false),
            ("admin", "list", "|pods", true),
            ("admin", "delete", "apps|deployments", true),
            (
                "admin",
                "create",
                "rbac.authorization.k8s.io|rolebindings",
                true,
            ),
            ("admin", "create", "|resourcequotas", false),
            ("system:masters", "create", "|nodes", true),
            ("system:masters", "get", "/metrics", true),
            ("system:authenticated", "get", "/apis/apps/v1", true),
            (
                "system:authenticated",
                "create",
                "authorization.k8s.io|selfsubjectaccessreviews",
                true,
            ),
            ("system:authenticated", "list", "|pods", false),
            ("system:unauthenticated", "get", "/readyz", true),
            ("system:unauthenticated", "get", "/apis", false),
        ] {
            assert_eq!(
                may(&policy, group, verb, what),
                expected,
                "{group} {verb} {what}"
            );
        }
    }
}
