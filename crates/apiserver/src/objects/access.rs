//! Rules of roles and of their bindings.

use serde_json::{Value, json};

use crate::registry::Kind;
use crate::status::Cause;

use super::values::{items, items_mut, set_default, text};

const GROUP: &str = "rbac.authorization.k8s.io";
const SUBJECTS: &[&str] = &["ServiceAccount", "User", "Group"];

/// Roles have rules, even if they are none; bindings name groups of kinds.
pub fn defaults(kind: &Kind, object: &mut Value) {
    if !kind.kind.ends_with("Binding") {
        set_default(object, "rules", Value::Null);
        return;
    }
    set_default(object, "roleRef", json!({}));
    set_default(&mut object["roleRef"], "apiGroup", GROUP.into());
    for subject in items_mut(object.get_mut("subjects")) {
        if matches!(text(&subject["kind"]), "User" | "Group") {
            set_default(subject, "apiGroup", GROUP.into());
        }
    }
}

/// What is wrong with a role or a binding.
pub fn validate(kind: &Kind, object: &Value) -> Vec<Cause> {
    if kind.kind.ends_with("Binding") {
        validate_binding(kind, object)
    } else {
        validate_rules(kind, object)
    }
}

fn validate_rules(kind: &Kind, role: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let has = |rule: &Value, field: &str| items(&rule[field]).next().is_some();
    for (index, rule) in items(&role["rules"]).enumerate() {
        let field = |name: &str| format!("rules[{index}].{name}");
        if !has(rule, "verbs") {
            let why = "verbs must contain at least one value";
            causes.push(Cause::required(field("verbs"), why));
        }
        if has(rule, "nonResourceURLs") {
            let urls = &rule["nonResourceURLs"];
            if kind.namespaced {
                let why = "namespaced rules cannot apply to non-resource URLs";
                causes.push(Cause::invalid(field("nonResourceURLs"), urls, why));
            }
            if ["apiGroups", "resources", "resourceNames"]
                .iter()
                .any(|name| has(rule, name))
            {
                let why = "rules cannot apply to both regular resources and non-resource URLs";
                causes.push(Cause::invalid(field("nonResourceURLs"), urls, why));
            }
            continue;
        }
        if !has(rule, "apiGroups") {
            let why = "resource rules must supply at least one api group";
            causes.push(Cause::required(field("apiGroups"), why));
        }
        if !has(rule, "resources") {
            let why = "resource rules must supply at least one resource";
            causes.push(Cause::required(field("resources"), why));
        }
    }
    causes
}

fn validate_binding(kind: &Kind, binding: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let role = &binding["roleRef"];
    if role["apiGroup"] != GROUP {
        let value = &role["apiGroup"];
        causes.push(Cause::not_supported("roleRef.apiGroup", value, &[GROUP]));
    }
    let kinds: &[&str] = if kind.namespaced {
        &["Role", "ClusterRole"]
    } else {
        &["ClusterRole"]
    };
    if !kinds.contains(&text(&role["kind"])) {
        causes.push(Cause::not_supported("roleRef.kind", &role["kind"], kinds));
    }
    if text(&role["name"]).is_empty() {
        causes.push(Cause::required("roleRef.name", ""));
    }
    for (index, subject) in items(&binding["subjects"]).enumerate() {
        let field = |name: &str| format!("subjects[{index}].{name}");
        if text(&subject["name"]).is_empty() {
            causes.push(Cause::required(field("name"), ""));
        }
        let group = text(&subject["apiGroup"]);
        let expected = match text(&subject["kind"]) {
            "ServiceAccount" => {
                if text(&subject["namespace"]).is_empty() {
                    causes.push(Cause::required(field("namespace"), ""));
                }
                ""
            }
            "User" | "Group" => GROUP,
            _ => {
                let value = &subject["kind"];
                causes.push(Cause::not_supported(field("kind"), value, SUBJECTS));
                continue;
            }
        };
        if group != expected {
            let value = group.into();
            causes.push(Cause::not_supported(field("apiGroup"), &value, &[expected]));
        }
    }
    causes
}

/// A binding keeps its role.
pub fn validate_update(object: &Value, old: &Value) -> Option<Cause> {
    let (new, old) = (&object["roleRef"], &old["roleRef"]);
    (new != old).then(|| Cause::invalid("roleRef", new, "cannot change roleRef"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(plural: &str) -> std::sync::Arc<Kind> {
        crate::registry::Registry::new()
            .find(GROUP, "v1", plural)
            .unwrap()
    }

    fn fields(plural: &str, mut object: Value) -> Vec<String> {
        let kind = kind(plural);
        defaults(&kind, &mut object);
        let causes = validate(&kind, &object);
        causes.into_iter().map(|cause| cause.field).collect()
    }

    #[test]
    fn rules_are_about_resources_or_paths() {
        let rule = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]});
        assert!(fields("roles", json!({"rules": [rule]})).is_empty());
        assert!(fields("roles", json!({})).is_empty());
        let bare = json!({"rules": [{}]});
        let missing = ["rules[0].verbs", "rules[0].apiGroups", "rules[0].resources"];
        assert_eq!(fields("roles", bare), missing);
        let paths = json!({"rules": [{"verbs": ["get"], "nonResourceURLs": ["/healthz"]}]});
        assert!(fields("clusterroles", paths.clone()).is_empty());
        assert_eq!(fields("roles", paths), ["rules[0].nonResourceURLs"]);
    }

    #[test]
    fn bindings_name_a_role_and_subjects_that_there_are() {
        let binding = |kind: &str, subject: Value| json!({"roleRef": {"kind": kind, "name": "r"}, "subjects": [subject]});
        let user = json!({"kind": "User", "name": "u"});
        assert!(fields("rolebindings", binding("Role", user.clone())).is_empty());
        assert_eq!(
            fields("clusterrolebindings", binding("Role", user)),
            ["roleRef.kind"]
        );
        let account = json!({"kind": "ServiceAccount", "name": "s"});
        assert_eq!(
            fields("rolebindings", binding("Role", account)),
            ["subjects[0].namespace"]
        );
        let odd = json!({"kind": "Robot", "name": "s"});
        assert_eq!(
            fields("rolebindings", binding("Role", odd)),
            ["subjects[0].kind"]
        );
    }

    #[test]
    fn the_role_of_a_binding_stays() {
        let binding = |name: &str| json!({"roleRef": {"kind": "Role", "name": name}});
        assert!(validate_update(&binding("a"), &binding("a")).is_none());
        assert!(validate_update(&binding("b"), &binding("a")).is_some());
    }
}
