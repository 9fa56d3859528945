//! What a ServiceAccount may do, and what it asked for.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;
use serde_json::Value;

/// `verb resource.group`
fn right(verb: &str, resource: &str, group: &str) -> String {
    let dot = if group.is_empty() { "" } else { "." };
    format!("{verb} {resource}{dot}{group}")
}

fn texts(value: &Value) -> Vec<&str> {
    let items = value.as_array().into_iter().flatten();
    items.filter_map(Value::as_str).collect()
}

/// All that the rules of a role allow.
pub fn rights_of(role: &Value) -> BTreeSet<String> {
    let mut rights = BTreeSet::new();
    for rule in role["rules"].as_array().into_iter().flatten() {
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                for verb in texts(&rule["verbs"]) {
                    rights.insert(right(verb, resource, group));
                }
            }
        }
    }
    rights
}

/// What a user asked for according to the audit log: what it may by a binding, and what was refused.
///
/// # Errors
/// When the log cannot be read.
pub fn asked_for(
    log: &Path,
    user: &str,
    binding: &str,
) -> Result<(BTreeSet<String>, BTreeSet<String>)> {
    let (mut used, mut refused) = (BTreeSet::new(), BTreeSet::new());
    let text = std::fs::read_to_string(log)?;
    // The last line may be half written.
    for line in text
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
    {
        let event: Value = serde_json::from_str(line)?;
        if event["user"]["username"] != user {
            continue;
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let object = &event["objectRef"];
        let mut resource = text(&object["resource"]);
        if object["subresource"].is_string() {
            resource = format!("{resource}/{}", text(&object["subresource"]));
        }
        let asked = right(&text(&event["verb"]), &resource, &text(&object["apiGroup"]));
        if event["responseStatus"]["code"] == 403 {
            refused.insert(format!("{asked} in {:?}", text(&object["namespace"])));
        } else if text(&event["annotations"]["authorization.k8s.io/reason"]).contains(binding) {
            used.insert(asked);
        }
    }
    Ok((used, refused))
}
