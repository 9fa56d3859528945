//! CustomResourceDefinitions: defaults, the names that they are given, their conditions.

use serde_json::{Value, json};

use super::conditions::{is_true, set_condition};
use super::finalizers;
use super::values::{items, put, set_default, text};

/// Names that follow from others.
pub fn defaults(crd: &mut Value) {
    let names = &mut crd["spec"]["names"];
    let kind = text(&names["kind"]).to_owned();
    if !kind.is_empty() {
        set_default(names, "singular", kind.to_lowercase().into());
        set_default(names, "listKind", format!("{kind}List").into());
    }
    set_default(&mut crd["spec"], "conversion", json!({"strategy": "None"}));
}

/// A new definition names nothing yet; its objects hold it.
pub fn before_create(crd: &mut Value) {
    crd["status"] = json!({
        "conditions": [],
        "acceptedNames": {"plural": "", "kind": ""},
        "storedVersions": stored_versions(crd),
    });
    hold(crd);
}

/// Every version that was ever the storage version is remembered.
pub fn before_update(crd: &mut Value, old: &Value) {
    for version in stored_versions(crd) {
        if !items(&crd["status"]["storedVersions"]).any(|known| known == &version) {
            match crd["status"]
                .get_mut("storedVersions")
                .and_then(Value::as_array_mut)
            {
                Some(list) => list.push(version),
                None => crd["status"]["storedVersions"] = json!([version]),
            }
        }
    }
    if old["metadata"]["deletionTimestamp"].is_null() {
        hold(crd);
    }
}

fn hold(crd: &mut Value) {
    let finalizers = &mut crd["metadata"]["finalizers"];
    match finalizers.as_array_mut() {
        Some(list)
            if list
                .iter()
                .any(|finalizer| finalizer == finalizers::CUSTOM_RESOURCES) => {}
        Some(list) => list.push(finalizers::CUSTOM_RESOURCES.into()),
        None => *finalizers = json!([finalizers::CUSTOM_RESOURCES]),
    }
}

fn stored_versions(crd: &Value) -> Vec<Value> {
    let storage = items(&crd["spec"]["versions"]).find(|version| version["storage"] == true);
    storage
        .map(|version| version["name"].clone())
        .into_iter()
        .collect()
}

/// Marks a definition as going away.
pub fn mark_terminating(crd: &mut Value, now: &str) {
    let message = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin \
                   soon";
    tell_deletion(crd, "InstanceDeletionPending", message, now);
}

/// Says how far the deletion of the objects of a definition is that goes away.
pub fn tell_deletion(crd: &mut Value, reason: &str, message: &str, now: &str) {
    let condition = json!({
        "type": "Terminating", "status": "True", "reason": reason, "message": message,
    });
    set_condition(&mut crd["status"], condition, now);
}

/// Names of a definition that another one of its group has, with the reason that Kubernetes gives.
pub fn conflicting_names(crd: &Value, others: &[&Value]) -> Vec<(&'static str, String)> {
    let names = &crd["spec"]["names"];
    let taken: Vec<&Value> = others
        .iter()
        .filter(|other| other["spec"]["group"] == crd["spec"]["group"])
        .map(|other| &other["status"]["acceptedNames"])
        .collect();
    let resource_taken = |name: &Value| {
        taken.iter().any(|taken| {
            let short = items(&taken["shortNames"]).any(|short| short == name);
            !text(name).is_empty()
                && (short || taken["plural"] == *name || taken["singular"] == *name)
        })
    };
    let kind_taken = |name: &Value| {
        let same = |taken: &&Value| taken["kind"] == *name || taken["listKind"] == *name;
        !text(name).is_empty() && taken.iter().any(same)
    };
    let mut conflicts = Vec::new();
    for field in ["plural", "singular"] {
        if resource_taken(&names[field]) {
            conflicts.push((field, text(&names[field]).to_owned()));
        }
    }
    if let Some(short) = items(&names["shortNames"]).find(|short| resource_taken(short)) {
        conflicts.push(("shortNames", text(short).to_owned()));
    }
    for field in ["kind", "listKind"] {
        if kind_taken(&names[field]) {
            conflicts.push((field, text(&names[field]).to_owned()));
        }
    }
    conflicts
}

/// Whether the names of a definition were found free.
pub fn names_accepted(crd: &Value) -> bool {
    is_true(&crd["status"], "NamesAccepted")
}

/// Says in the status which names are accepted, and whether the kind is served. What is
/// established stays so.
pub fn judge_names(crd: &mut Value, conflicts: &[(&'static str, String)], now: &str) {
    let mut accepted = crd["spec"]["names"].clone();
    for (field, _) in conflicts {
        let was = crd["status"]["acceptedNames"].get(*field).cloned();
        put(&mut accepted, field, was);
    }
    for required in ["plural", "kind"] {
        set_default(&mut accepted, required, "".into());
    }
    put(&mut crd["status"], "acceptedNames", Some(accepted));
    let established = is_true(&crd["status"], "Established");
    let mut set = |kind: &str, status: &str, reason: &str, message: &str| {
        let condition = json!({
            "type": kind, "status": status, "reason": reason, "message": message,
        });
        set_condition(&mut crd["status"], condition, now);
    };
    // Of several conflicts the last one is told.
    match conflicts.last() {
        None => {
            set("NamesAccepted", "True", "NoConflicts", "no conflicts found");
            let message = "the initial names have been accepted";
            set("Established", "True", "InitialNamesAccepted", message);
        }
        Some((field, name)) => {
            let reason = match *field {
                "plural" => "PluralConflict",
                "singular" => "SingularConflict",
                "shortNames" => "ShortNamesConflict",
                "kind" => "KindConflict",
                _ => "ListKindConflict",
            };
            set(
                "NamesAccepted",
                "False",
                reason,
                &format!("{name:?} is already in use"),
            );
            if !established {
                let message = "not all names are accepted";
                set("Established", "False", "NotAccepted", message);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(plural: &str, short: &str) -> Value {
        let mut crd = json!({"spec": {"group": "example.com", "names": {
            "plural": plural, "singular": plural, "kind": plural, "listKind": plural,
            "shortNames": [short],
        }}});
        before_create(&mut crd);
        crd
    }

    #[test]
    fn a_short_name_that_is_taken_is_not_accepted() {
        let mut first = definition("firsts", "f");
        assert!(conflicting_names(&first, &[&definition("others", "f")]).is_empty());
        judge_names(&mut first, &[], "now");
        assert!(names_accepted(&first));
        let mut second = definition("seconds", "f");
        let conflicts = conflicting_names(&second, &[&first]);
        assert_eq!(conflicts, [("shortNames", "f".to_owned())]);
        judge_names(&mut second, &conflicts, "now");
        assert!(!names_accepted(&second));
        let accepted = &second["status"]["acceptedNames"];
        assert_eq!(
            (&accepted["kind"], accepted.get("shortNames")),
            (&json!("seconds"), None)
        );
    }

    #[test]
    fn of_several_conflicts_the_last_is_told() {
        let mut first = definition("firsts", "f");
        judge_names(&mut first, &[], "now");
        let mut second = definition("firsts", "f");
        let conflicts = conflicting_names(&second, &[&first]);
        judge_names(&mut second, &conflicts, "now");
        let conditions = &second["status"]["conditions"];
        assert_eq!(conditions[0]["reason"], "ListKindConflict");
        assert_eq!(conditions[1]["reason"], "NotAccepted");
    }

    #[test]
    fn names_of_other_groups_do_not_matter() {
        let mut first = definition("firsts", "f");
        first["spec"]["group"] = "example.org".into();
        judge_names(&mut first, &[], "now");
        assert!(conflicting_names(&definition("firsts", "f"), &[&first]).is_empty());
    }
}
