//! What is left in a namespace that goes away, and how its status tells of that.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::objects;

/// What was found in a namespace after its deletion went over it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// How many objects are left, by `resource.group`.
    remaining: BTreeMap<String, usize>,
    /// How many of these are held, by what holds them.
    finalizers: BTreeMap<String, usize>,
    /// Why kinds could not be deleted, one for each.
    failures: Vec<String>,
}

impl Content {
    /// Counts an object of `resource` that is left.
    pub fn note(&mut self, group: &str, resource: &str, object: &Value) {
        let count = self.remaining.entry(format!("{resource}.{group}"));
        *count.or_default() += 1;
        let finalizers = object["metadata"]["finalizers"].as_array();
        for finalizer in finalizers.into_iter().flatten().filter_map(Value::as_str) {
            *self.finalizers.entry(finalizer.to_owned()).or_default() += 1;
        }
    }

    /// Notes why the objects of a kind could not be deleted.
    pub fn fail(&mut self, why: String) {
        self.failures.push(why);
    }

    /// Whether objects were found that stay for now.
    pub fn has_remains(&self) -> bool {
        !self.remaining.is_empty()
    }

    /// Whether nothing is left, as far as everything could be looked at.
    pub fn is_gone(&self) -> bool {
        !self.has_remains() && !self.has_failed()
    }

    /// Whether some of it could not be deleted. Nobody says when it can be, so it has to be tried
    /// again.
    pub fn has_failed(&self) -> bool {
        !self.failures.is_empty()
    }

    /// Sets the conditions in the status of the namespace. `now` is an RFC 3339 time.
    pub fn report(&self, status: &mut Value, now: &str) {
        for condition in self.conditions() {
            objects::set_condition(status, condition, now);
        }
    }

    /// The conditions in the order and the words of kube-controller-manager, without times.
    fn conditions(&self) -> [Value; 5] {
        let counted = |counts: &BTreeMap<String, usize>, verb: &str| {
            let words = counts
                .iter()
                .map(|(what, count)| format!("{what} {verb} {count} resource instances"));
            words.collect::<Vec<_>>().join(", ")
        };
        let mut failures = self.failures.clone();
        failures.sort();
        [
            // Here nobody has to be asked which kinds there are.
            condition(
                "NamespaceDeletionDiscoveryFailure",
                (
                    "ResourcesDiscovered",
                    "All resources successfully discovered",
                ),
                None,
            ),
            condition(
                "NamespaceDeletionGroupVersionParsingFailure",
                (
                    "ParsedGroupVersions",
                    "All legacy kube types successfully parsed",
                ),
                None,
            ),
            condition(
                "NamespaceDeletionContentFailure",
                (
                    "ContentDeleted",
                    "All content successfully deleted, may be waiting on finalization",
                ),
                (!failures.is_empty()).then(|| {
                    let message = format!(
                        "Failed to delete all resource types, {} remaining: {}",
                        failures.len(),
                        failures.join(", ")
                    );
                    ("ContentDeletionFailed", message)
                }),
            ),
            condition(
                "NamespaceContentRemaining",
                ("ContentRemoved", "All content successfully removed"),
                (!self.remaining.is_empty()).then(|| {
                    let counts = counted(&self.remaining, "has");
                    let message = format!("Some resources are remaining: {counts}");
                    ("SomeResourcesRemain", message)
                }),
            ),
            condition(
                "NamespaceFinalizersRemaining",
                (
                    "ContentHasNoFinalizers",
                    "All content-preserving finalizers finished",
                ),
                (!self.finalizers.is_empty()).then(|| {
                    let counts = counted(&self.finalizers, "in");
                    let message =
                        format!("Some content in the namespace has finalizers remaining: {counts}");
                    ("SomeFinalizersRemain", message)
                }),
            ),
        ]
    }
}

/// A condition that is False with a reason and a message if all is well, else True with others.
fn condition(kind: &str, well: (&str, &str), trouble: Option<(&str, String)>) -> Value {
    let status = if trouble.is_some() { "True" } else { "False" };
    let (reason, message) = trouble.unwrap_or((well.0, well.1.to_owned()));
    json!({"type": kind, "status": status, "reason": reason, "message": message})
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The conditions that are True, with their messages.
    fn troubles(content: &Content) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let conditions = content.conditions().into_iter();
        conditions
            .filter(|condition| condition["status"] == "True")
            .map(|condition| (text(&condition["type"]), text(&condition["message"])))
            .collect()
    }

    #[test]
    fn what_is_left_is_counted_by_resource_and_by_finalizer() {
        let mut content = Content::default();
        let held = json!({"metadata": {"finalizers": ["example.com/a", "example.com/b"]}});
        content.note("", "configmaps", &held);
        content.note("", "configmaps", &json!({"metadata": {}}));
        content.note("apps", "deployments", &held);
        assert!(!content.is_gone() && !content.has_failed());
        assert_eq!(
            troubles(&content),
            [
                (
                    "NamespaceContentRemaining".to_owned(),
                    "Some resources are remaining: configmaps. has 2 resource instances, \
                     deployments.apps has 1 resource instances"
                        .to_owned()
                ),
                (
                    "NamespaceFinalizersRemaining".to_owned(),
                    "Some content in the namespace has finalizers remaining: example.com/a in 2 \
                     resource instances, example.com/b in 2 resource instances"
                        .to_owned()
                ),
            ]
        );
    }

    #[test]
    fn failures_are_told_in_an_order_that_stays() {
        let mut content = Content::default();
        content.fail("b is broken".to_owned());
        content.fail("a is broken".to_owned());
        assert!(!content.is_gone() && content.has_failed());
        let message = "Failed to delete all resource types, 2 remaining: a is broken, b is broken";
        let failure = "NamespaceDeletionContentFailure".to_owned();
        assert_eq!(troubles(&content), [(failure, message.to_owned())]);
    }

    #[test]
    fn an_empty_namespace_says_so() {
        let content = Content::default();
        assert!(content.is_gone());
        assert_eq!(troubles(&content), []);
        let mut status = json!({"phase": "Terminating"});
        content.report(&mut status, "now");
        assert_eq!(status["conditions"].as_array().map(Vec::len), Some(5));
        let reported = status.clone();
        content.report(&mut status, "later");
        assert_eq!(status, reported, "nothing is written for nothing");
    }
}
