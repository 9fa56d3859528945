//! Nobody grants what they do not have: the check of writes to roles and bindings.

use k8s_openapi::api::rbac::v1::{PolicyRule, RoleRef};
use serde_json::Value;

use crate::api::Scope;
use crate::registry::Kind;
use crate::status::{ResourceName, Status};

use super::attributes::{Attributes, Resource};
use super::rules;

const GROUP: &str = "rbac.authorization.k8s.io";

/// Checks the write of an object, if it is a role or a binding.
///
/// # Errors
/// 403 if the sender would grant more than they have, and may not do so by the verbs `escalate`
/// or `bind`; 404 for a binding to a role that does not exist.
pub fn check(scope: &Scope<'_>, old: Option<&Value>, new: &Value) -> Result<(), Status> {
    let kind = &*scope.kind;
    let access = &scope.api.access;
    if kind.group != GROUP || access.allows_everything(&scope.request.identity) {
        return Ok(());
    }
    match kind.kind.as_str() {
        "Role" | "ClusterRole" => check_role(scope, old, new),
        "RoleBinding" | "ClusterRoleBinding" => check_binding(scope, old, new),
        _ => Ok(()),
    }
}

fn check_role(scope: &Scope<'_>, old: Option<&Value>, new: &Value) -> Result<(), Status> {
    let same = |field: &str| old.is_some_and(|old| old[field] == new[field]);
    if same("rules") && same("aggregationRule") {
        return Ok(());
    }
    let name = new["metadata"]["name"].as_str().unwrap_or_default();
    if may(scope, "escalate", &scope.kind.plural, name) {
        return Ok(());
    }
    if !new["aggregationRule"].is_null() {
        let why = "must have cluster-admin privileges to use an aggregationRule";
        let problem = not_held(scope, &rules::everything()).map(|_| why.to_owned());
        return refuse(&scope.kind, name, problem);
    }
    let wanted: Vec<PolicyRule> = read(&new["rules"]);
    refuse(&scope.kind, name, not_held(scope, &wanted))
}

fn check_binding(scope: &Scope<'_>, old: Option<&Value>, new: &Value) -> Result<(), Status> {
    let same = |field: &str| old.is_some_and(|old| old[field] == new[field]);
    if same("roleRef") && same("subjects") {
        return Ok(());
    }
    let name = new["metadata"]["name"].as_str().unwrap_or_default();
    let role: RoleRef = read(&new["roleRef"]);
    let plural = match role.kind.as_str() {
        "ClusterRole" => "clusterroles",
        _ => "roles",
    };
    if may(scope, "bind", plural, &role.name) {
        return Ok(());
    }
    let namespace = scope.namespace().unwrap_or_default();
    let wanted = scope
        .api
        .access
        .rules_of_role(&role.kind, &role.name, namespace);
    let resource = ResourceName {
        group: GROUP,
        resource: plural,
    };
    let wanted = wanted.ok_or_else(|| Status::not_found(resource, &role.name))?;
    refuse(&scope.kind, name, not_held(scope, &wanted))
}

fn may(scope: &Scope<'_>, verb: &str, resource: &str, name: &str) -> bool {
    let wanted = Resource {
        verb,
        group: GROUP,
        resource,
        subresource: "",
        namespace: scope.namespace().unwrap_or_default(),
        name,
    };
    let identity = &scope.request.identity;
    scope
        .api
        .access
        .decide(identity, &Attributes::Resource(wanted))
        .allowed
}

/// What the sender does not have of these rules, in the words of the real server.
fn not_held(scope: &Scope<'_>, wanted: &[PolicyRule]) -> Option<String> {
    let identity = &scope.request.identity;
    let held = scope.api.access.rules_of(identity, scope.namespace());
    let missing = rules::missing(&held.rules, wanted);
    if missing.is_empty() {
        return None;
    }
    let mut text = format!(
        "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
        identity.user,
        rules::quoted(&identity.groups),
        rules::describe(&missing)
    );
    if !held.problems.is_empty() {
        text.push_str(&format!(
            "; resolution errors: [{}]",
            held.problems.join(", ")
        ));
    }
    Some(text)
}

fn refuse(kind: &Kind, name: &str, problem: Option<String>) -> Result<(), Status> {
    match problem {
        None => Ok(()),
        Some(problem) => Err(Status::not_authorized(kind.resource_name(), name, &problem)),
    }
}

fn read<T: serde::de::DeserializeOwned + Default>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap_or_default()
}
