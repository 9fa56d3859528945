//! Field selectors: `metadata.name=a,status.phase!=Running`.

use serde_json::Value;

use crate::registry::Kind;
use crate::status::Status;
use crate::table::json_path;

/// All requirements must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    field: String,
    value: String,
    equal: bool,
}

impl FieldSelector {
    /// Reads a selector for a kind; an empty text selects everything.
    ///
    /// # Errors
    /// 400 if it cannot be read, or names a field that the kind does not offer.
    pub fn parse(text: &str, kind: &Kind) -> Result<Self, Status> {
        let requirements = terms(text)
            .iter()
            .map(|term| requirement(text, term, kind))
            .collect::<Result<_, _>>()?;
        Ok(Self(requirements))
    }

    /// The selector for one name.
    pub fn name(name: &str) -> Self {
        let field = "metadata.name".to_owned();
        Self(vec![Requirement {
            field,
            value: name.to_owned(),
            equal: true,
        }])
    }

    /// Both must hold.
    pub fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Whether everything is selected.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an object is selected.
    pub fn matches(&self, object: &Value) -> bool {
        self.0.iter().all(|requirement| {
            (value_at(object, &requirement.field) == requirement.value) == requirement.equal
        })
    }
}

fn requirement(all: &str, term: &str, kind: &Kind) -> Result<Requirement, Status> {
    let (field, value, equal) = if let Some((field, value)) = term.split_once("!=") {
        (field, value, false)
    } else if let Some((field, value)) = term.split_once("==") {
        (field, value, true)
    } else if let Some((field, value)) = term.split_once('=') {
        (field, value, true)
    } else {
        return Err(Status::bad_request(format!(
            "invalid selector: '{all}'; can't understand '{term}'"
        )));
    };
    let value = unescape(value)
        .ok_or_else(|| Status::bad_request(format!("invalid field selector: {term}")))?;
    if !is_selectable(kind, field) {
        return Err(Status::bad_request(format!(
            "field label not supported: {field}"
        )));
    }
    Ok(Requirement {
        field: field.to_owned(),
        value,
        equal,
    })
}

/// The terms between commas that are not escaped.
fn terms(text: &str) -> Vec<String> {
    let mut terms = Vec::new();
    let mut term = String::new();
    let mut escaped = false;
    for character in text.chars() {
        match character {
            ',' if !escaped => terms.push(std::mem::take(&mut term)),
            character => term.push(character),
        }
        escaped = character == '\\' && !escaped;
    }
    terms.push(term);
    terms.retain(|term| !term.is_empty());
    terms
}

/// Backslash, comma and equal sign are escaped by a backslash and nothing else is.
fn unescape(value: &str) -> Option<String> {
    let mut result = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => result.push(characters.next().filter(|c| "\\,=".contains(*c))?),
            '=' | ',' => return None,
            character => result.push(character),
        }
    }
    Some(result)
}

fn is_selectable(kind: &Kind, field: &str) -> bool {
    if field == "metadata.name" || field == "metadata.namespace" && kind.namespaced {
        return true;
    }
    if let Some(custom) = kind.custom() {
        return custom
            .selectable
            .iter()
            .any(|path| path.strip_prefix('.') == Some(field));
    }
    let fields: &[&str] = match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Pod") => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ],
        ("", "Node") => &["spec.unschedulable"],
        ("", "Namespace") => &["status.phase"],
        ("", "Secret") => &["type"],
        ("", "Service") => &["spec.clusterIP", "spec.type"],
        ("", "ReplicationController") | ("apps", "ReplicaSet") => &["status.replicas"],
        ("", "Event") => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        ("events.k8s.io", "Event") => &[
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "regarding.apiVersion",
            "regarding.resourceVersion",
            "regarding.fieldPath",
            "reason",
            "reportingController",
            "type",
        ],
        ("batch", "Job") => &["status.successful"],
        ("certificates.k8s.io", "CertificateSigningRequest") => &["spec.signerName"],
        _ => &[],
    };
    fields.contains(&field)
}

fn value_at(object: &Value, field: &str) -> String {
    let field = match field {
        "source" if object["source"].is_object() => "source.component",
        "status.successful" => "status.succeeded",
        field => field,
    };
    match json_path::first(object, field) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) => String::new(),
        Some(other) => other.to_string(),
        None => match field {
            "spec.unschedulable" | "spec.hostNetwork" => "false".to_owned(),
            "status.succeeded" | "status.replicas" => "0".to_owned(),
            _ => String::new(),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pods() -> std::sync::Arc<Kind> {
        crate::registry::Registry::new()
            .find("", "v1", "pods")
            .unwrap()
    }

    #[test]
    fn selectors_compare_texts_and_missing_fields_are_empty() {
        let pod = json!({"metadata": {"name": "a"}, "status": {"phase": "Running"}});
        for (selector, selected) in [
            ("", true),
            ("metadata.name=a", true),
            ("metadata.name=a,metadata.name=b", false),
            ("status.phase!=Running", false),
            ("spec.nodeName=", true),
            ("spec.nodeName!=", false),
        ] {
            let parsed = FieldSelector::parse(selector, &pods()).unwrap();
            assert_eq!(parsed.matches(&pod), selected, "{selector}");
        }
    }

    #[test]
    fn unknown_fields_and_broken_terms_are_errors() {
        for selector in ["spec.containers=1", "metadata.name", "a==b==c"] {
            assert!(
                FieldSelector::parse(selector, &pods()).is_err(),
                "{selector}"
            );
        }
    }
}
