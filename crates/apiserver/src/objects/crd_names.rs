//! What is wrong with the names in a CustomResourceDefinition: of the group, of the kind, and of
//! the definition itself.

use serde_json::Value;

use crate::status::Cause;

use super::conditions::is_true;
use super::names;
use super::values::{items, text};

/// The annotation by which a definition in a group of the community says that it may be there.
const APPROVAL: &str = "api-approved.kubernetes.io";

/// What may not change any more: where objects are stored follows from it.
pub fn kept_names(crd: &Value, old: &Value) -> Vec<Cause> {
    let established = is_true(&old["status"], "Established");
    [
        ("/spec/scope", established),
        ("/spec/names/kind", established),
        ("/spec/group", true),
        ("/spec/names/plural", true),
    ]
    .into_iter()
    .filter(|(pointer, kept)| *kept && crd.pointer(pointer) != old.pointer(pointer))
    .map(|(pointer, _)| {
        let field = pointer[1..].replace('/', ".");
        let value = crd.pointer(pointer).unwrap_or(&Value::Null);
        Cause::invalid(field, value, "field is immutable")
    })
    .collect()
}

/// The object is named after what it defines.
pub fn name_of_object(crd: &Value) -> Vec<Cause> {
    let (spec, name) = (&crd["spec"], &crd["metadata"]["name"]);
    let wanted = format!(
        "{}.{}",
        text(&spec["names"]["plural"]),
        text(&spec["group"])
    );
    if text(name) == wanted {
        return Vec::new();
    }
    let why = "must be spec.names.plural+\".\"+spec.group";
    vec![Cause::invalid("metadata.name", name, why)]
}

/// What is wrong with the group. Those of the community need an approval.
pub fn validate_group(crd: &Value) -> Vec<Cause> {
    let group = text(&crd["spec"]["group"]);
    if group.is_empty() {
        return vec![Cause::required("spec.group", "")];
    }
    let mut causes = invalid_name("spec.group", group, &names::subdomain(group));
    if causes.is_empty() && !group.contains('.') {
        let why = "should be a domain with at least one dot";
        causes.push(Cause::invalid("spec.group", &group.into(), why));
    }
    let community = ["k8s.io", "kubernetes.io"]
        .iter()
        .any(|domain| group == *domain || group.ends_with(&format!(".{domain}")));
    if !community {
        return causes;
    }
    let field = format!("metadata.annotations[{APPROVAL}]");
    let approval = &crd["metadata"]["annotations"][APPROVAL];
    match text(approval) {
        "" => causes.push(Cause::required(
            field,
            "protected groups must have approval annotation \"api-approved.kubernetes.io\", see \
             https://github.com/kubernetes/enhancements/pull/1111",
        )),
        known if known.starts_with("unapproved") || known.contains("://") => {}
        _ => {
            let why = "protected groups must have approval annotation with either a URL or a \
                       reason starting with \"unapproved\"";
            causes.push(Cause::invalid(field, approval, why));
        }
    }
    causes
}

/// One cause for all that is wrong with a name.
pub fn invalid_name(field: &str, name: &str, problems: &[String]) -> Vec<Cause> {
    if problems.is_empty() {
        return Vec::new();
    }
    vec![Cause::invalid(field, &name.into(), problems.join(","))]
}

/// What is wrong with the names of the kind.
pub fn validate_names(given: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    for field in ["plural", "singular", "kind", "listKind"] {
        let value = text(&given[field]);
        let path = format!("spec.names.{field}");
        let problems = match field {
            // Kinds are checked without regard to case.
            "kind" | "listKind" => names::label_1035(&value.to_lowercase()),
            _ => names::label_1035(value),
        };
        match value {
            "" => causes.push(Cause::required(path, "")),
            value => causes.extend(invalid_name(&path, value, &problems)),
        }
    }
    let kind = text(&given["kind"]);
    if !kind.is_empty() && given["listKind"] == kind {
        let why = "kind and listKind may not be the same";
        causes.push(Cause::invalid("spec.names.listKind", &kind.into(), why));
    }
    for list in ["shortNames", "categories"] {
        for (index, name) in items(&given[list]).enumerate() {
            let field = format!("spec.names.{list}[{index}]");
            let name = text(name);
            causes.extend(invalid_name(&field, name, &names::label_1035(name)));
        }
    }
    causes
}
