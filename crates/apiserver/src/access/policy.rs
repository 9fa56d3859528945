//! The roles and bindings of a cluster, and what they decide.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};
use serde::de::DeserializeOwned;

use crate::request::Identity;

use super::attributes::Attributes;
use super::{SERVICE_ACCOUNT_PREFIX, rules};

/// What all keys of roles and bindings begin with.
pub const GROUP_PREFIX: &str = "rbac.authorization.k8s.io/";

/// Whether something is allowed, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether it is.
    pub allowed: bool,
    /// The rule that allows it, or why rules could not be asked. May be empty.
    pub reason: String,
}

impl Decision {
    /// Yes.
    pub fn allowed(reason: String) -> Self {
        Self {
            allowed: true,
            reason,
        }
    }
}

/// The rules that apply to somebody.
#[derive(Clone, Debug, Default)]
pub struct Granted {
    /// The rules.
    pub rules: Vec<PolicyRule>,
    /// Bindings to roles that do not exist.
    pub problems: Vec<String>,
}

/// Who has which role.
#[derive(Debug)]
struct Binding {
    role: RoleRef,
    subjects: Vec<Subject>,
}

/// Roles and bindings, found by what they are asked for.
#[derive(Debug, Default)]
pub struct Policy {
    cluster_roles: HashMap<String, Vec<PolicyRule>>,
    /// By namespace and name.
    roles: HashMap<String, BTreeMap<String, Vec<PolicyRule>>>,
    cluster_bindings: BTreeMap<String, Binding>,
    /// By namespace and name.
    bindings: HashMap<String, BTreeMap<String, Binding>>,
}

/// A binding that applies to somebody.
struct Applies<'a> {
    /// The namespace of the binding, empty for cluster-wide ones.
    namespace: &'a str,
    name: &'a str,
    binding: &'a Binding,
    subject: &'a Subject,
}

impl Policy {
    /// Whether the rules allow something.
    pub fn decide(&self, identity: &Identity, attributes: &Attributes<'_>) -> Decision {
        let namespace = match attributes {
            Attributes::Resource(wanted) => Some(wanted.namespace),
            Attributes::Path { .. } => None,
        };
        let mut problems = Vec::new();
        for applies in self.applying(identity, namespace) {
            match self.rules_for(&applies) {
                Some(given) if given.iter().any(|rule| rules::allows(rule, attributes)) => {
                    return Decision::allowed(format!("RBAC: allowed by {}", applies.describe()));
                }
                Some(_) => {}
                None => problems.push(applies.problem()),
            }
        }
        let reason = match problems.as_slice() {
            [] => String::new(),
            [problem] => format!("RBAC: {problem}"),
            problems => format!("RBAC: [{}]", problems.join(", ")),
        };
        Decision {
            allowed: false,
            reason,
        }
    }

    /// The rules that apply to somebody in a namespace (none: outside of namespaces).
    pub fn rules_of(&self, identity: &Identity, namespace: Option<&str>) -> Granted {
        let mut granted = Granted::default();
        for applies in self.applying(identity, namespace) {
            match self.rules_for(&applies) {
                Some(rules) => granted.rules.extend_from_slice(rules),
                None => granted.problems.push(applies.problem()),
            }
        }
        granted
    }

    /// The rules of a role that a binding in a namespace refers to; none if there is no such role.
    pub fn rules_of_role(&self, kind: &str, name: &str, namespace: &str) -> Option<&[PolicyRule]> {
        let rules = match kind {
            "ClusterRole" => self.cluster_roles.get(name),
            _ => self.roles.get(namespace)?.get(name),
        };
        rules.map(Vec::as_slice)
    }

    fn rules_for(&self, applies: &Applies<'_>) -> Option<&[PolicyRule]> {
        let role = &applies.binding.role;
        self.rules_of_role(&role.kind, &role.name, applies.namespace)
    }

    fn applying<'a>(
        &'a self,
        identity: &'a Identity,
        namespace: Option<&'a str>,
    ) -> impl Iterator<Item = Applies<'a>> {
        let everywhere = self.cluster_bindings.iter().map(|named| ("", named));
        let namespace = namespace.unwrap_or_default();
        let here = self.bindings.get(namespace).into_iter().flatten();
        let here = here.map(move |named| (namespace, named));
        everywhere
            .chain(here)
            .filter_map(move |(namespace, (name, binding))| {
                let is = |subject: &&Subject| is_subject(subject, namespace, identity);
                let subject = binding.subjects.iter().find(is)?;
                Some(Applies {
                    namespace,
                    name,
                    binding,
                    subject,
                })
            })
    }

    /// Notes what is stored under a key now; keys of other things are ignored.
    pub fn note(&mut self, key: &str, value: Option<&[u8]>) {
        let Some((resource, rest)) = key
            .strip_prefix(GROUP_PREFIX)
            .and_then(|rest| rest.split_once('/'))
        else {
            return;
        };
        match (resource, rest.split_once('/')) {
            ("clusterroles", None) => {
                let role = read(key, value).map(|role: ClusterRole| role.rules.unwrap_or_default());
                put(&mut self.cluster_roles, rest, role);
            }
            ("roles", Some((namespace, name))) => {
                let rules = read(key, value).map(|role: Role| role.rules.unwrap_or_default());
                put_in(
                    self.roles.entry(namespace.to_owned()).or_default(),
                    name,
                    rules,
                );
            }
            ("clusterrolebindings", None) => {
                let binding = read(key, value).map(|binding: ClusterRoleBinding| Binding {
                    role: binding.role_ref,
                    subjects: binding.subjects.unwrap_or_default(),
                });
                put_in(&mut self.cluster_bindings, rest, binding);
            }
            ("rolebindings", Some((namespace, name))) => {
                let binding = read(key, value).map(|binding: RoleBinding| Binding {
                    role: binding.role_ref,
                    subjects: binding.subjects.unwrap_or_default(),
                });
                put_in(
                    self.bindings.entry(namespace.to_owned()).or_default(),
                    name,
                    binding,
                );
            }
            _ => {}
        }
    }
}

/// What cannot be read grants nothing.
fn read<T: DeserializeOwned>(key: &str, value: Option<&[u8]>) -> Option<T> {
    serde_json::from_slice(value?)
        .inspect_err(|error| tracing::warn!(%key, %error, "cannot read access rules"))
        .ok()
}

fn put<T>(map: &mut HashMap<String, T>, name: &str, value: Option<T>) {
    match value {
        Some(value) => map.insert(name.to_owned(), value),
        None => map.remove(name),
    };
}

fn put_in<T>(map: &mut BTreeMap<String, T>, name: &str, value: Option<T>) {
    match value {
        Some(value) => map.insert(name.to_owned(), value),
        None => map.remove(name),
    };
}

/// Whether a subject of a binding in a namespace is somebody.
fn is_subject(subject: &Subject, namespace: &str, identity: &Identity) -> bool {
    match subject.kind.as_str() {
        "User" => subject.name == identity.user,
        "Group" => identity.groups.contains(&subject.name),
        "ServiceAccount" => {
            let own = subject.namespace.as_deref().unwrap_or_default();
            let namespace = if own.is_empty() { namespace } else { own };
            !namespace.is_empty()
                && identity
                    .user
                    .strip_prefix(SERVICE_ACCOUNT_PREFIX)
                    .and_then(|account| account.split_once(':'))
                    == Some((namespace, &subject.name))
        }
        _ => false,
    }
}

impl Applies<'_> {
    /// The words of the real server.
    fn describe(&self) -> String {
        let role = &self.binding.role;
        let (kind, name) = match self.namespace {
            "" => ("ClusterRoleBinding", self.name.to_owned()),
            namespace => ("RoleBinding", format!("{}/{namespace}", self.name)),
        };
        let subject = match self.subject.kind.as_str() {
            "ServiceAccount" => {
                let own = self.subject.namespace.as_deref().unwrap_or(self.namespace);
                format!("{}/{own}", self.subject.name)
            }
            _ => self.subject.name.clone(),
        };
        format!(
            "{kind} {name:?} of {} {:?} to {} {subject:?}",
            role.kind, role.name, self.subject.kind
        )
    }

    fn problem(&self) -> String {
        let role = &self.binding.role;
        let kind = role.kind.to_lowercase();
        format!("{kind}.rbac.authorization.k8s.io {:?} not found", role.name)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::access::attributes::Resource;

    fn policy(objects: &[Value]) -> Policy {
        let mut policy = Policy::default();
        for object in objects {
            let plural = format!("{}s", object["kind"].as_str().unwrap().to_lowercase());
            let name = object["metadata"]["name"].as_str().unwrap();
            let key = match object["metadata"]["namespace"].as_str() {
                Some(namespace) => format!("{GROUP_PREFIX}{plural}/{namespace}/{name}"),
                None => format!("{GROUP_PREFIX}{plural}/{name}"),
            };
            policy.note(&key, Some(object.to_string().as_bytes()));
        }
        policy
    }

    fn role(kind: &str, namespace: Option<&str>, name: &str) -> Value {
        json!({
            "kind": kind, "metadata": {"name": name, "namespace": namespace},
            "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
        })
    }

    fn binding(namespace: Option<&str>, role: (&str, &str), subject: &Value) -> Value {
        let kind = if namespace.is_some() {
            "RoleBinding"
        } else {
            "ClusterRoleBinding"
        };
        json!({
            "kind": kind, "metadata": {"name": "binding", "namespace": namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role.0, "name": role.1},
            "subjects": [subject],
        })
    }

    fn identity(user: &str, groups: &[&str]) -> Identity {
        Identity {
            user: user.to_owned(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            ..Identity::default()
        }
    }

    fn get_pod(policy: &Policy, identity: &Identity, namespace: &str) -> Decision {
        let wanted = Resource {
            verb: "get",
            resource: "pods",
            namespace,
            name: "p",
            ..Resource::default()
        };
        policy.decide(identity, &Attributes::Resource(wanted))
    }

    #[test]
    fn a_cluster_wide_binding_counts_everywhere_and_one_in_a_namespace_only_there() {
        let anna = identity("anna", &[]);
        let subject = json!({"kind": "User", "name": "anna"});
        let everywhere = policy(&[
            role("ClusterRole", None, "reader"),
            binding(None, ("ClusterRole", "reader"), &subject),
        ]);
        assert!(
            get_pod(&everywhere, &anna, "a").allowed && get_pod(&everywhere, &anna, "").allowed
        );
        assert!(!get_pod(&everywhere, &identity("otto", &["anna"]), "a").allowed);
        let here = policy(&[
            role("ClusterRole", None, "reader"),
            binding(Some("a"), ("ClusterRole", "reader"), &subject),
        ]);
        assert_eq!(
            get_pod(&here, &anna, "a").reason,
            "RBAC: allowed by RoleBinding \"binding/a\" of ClusterRole \"reader\" to User \"anna\""
        );
        assert!(!get_pod(&here, &anna, "b").allowed && !get_pod(&here, &anna, "").allowed);
    }

    #[test]
    fn a_role_is_looked_for_where_its_binding_is() {
        let group = json!({"kind": "Group", "name": "crew"});
        let policy = policy(&[
            role("Role", Some("b"), "reader"),
            binding(Some("a"), ("Role", "reader"), &group),
        ]);
        let decision = get_pod(&policy, &identity("anna", &["crew"]), "a");
        assert!(!decision.allowed);
        assert_eq!(
            decision.reason,
            "RBAC: role.rbac.authorization.k8s.io \"reader\" not found"
        );
    }

    #[test]
    fn a_service_account_is_one_of_its_namespace() {
        let robot =
            |namespace: &str| identity(&format!("system:serviceaccount:{namespace}:robot"), &[]);
        let bound = |subject: &Value| {
            policy(&[
                role("ClusterRole", None, "reader"),
                binding(Some("a"), ("ClusterRole", "reader"), subject),
            ])
        };
        let here = bound(&json!({"kind": "ServiceAccount", "name": "robot"}));
        assert!(get_pod(&here, &robot("a"), "a").allowed);
        assert!(!get_pod(&here, &robot("b"), "a").allowed);
        let there = bound(&json!({"kind": "ServiceAccount", "name": "robot", "namespace": "b"}));
        assert!(get_pod(&there, &robot("b"), "a").allowed);
        assert!(!get_pod(&there, &robot("a"), "a").allowed);
        assert!(!get_pod(&there, &identity("robot", &[]), "a").allowed);
    }

    #[test]
    fn what_is_removed_counts_no_more() {
        let anna = identity("anna", &[]);
        let mut policy = policy(&[
            role("ClusterRole", None, "reader"),
            binding(
                None,
                ("ClusterRole", "reader"),
                &json!({"kind": "User", "name": "anna"}),
            ),
        ]);
        policy.note(
            "rbac.authorization.k8s.io/clusterrolebindings/binding",
            None,
        );
        assert!(!get_pod(&policy, &anna, "a").allowed);
        assert!(policy.rules_of(&anna, Some("a")).rules.is_empty());
    }
}
