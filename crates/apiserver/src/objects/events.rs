//! Rules of Events, which two API groups serve.

use serde_json::{Value, json};

use crate::registry::Kind;
use crate::status::Cause;

use super::convert;
use super::names;
use super::values::{set_default, text};

/// The longest reporter, action or reason, in bytes.
const WORD_LIMIT: usize = 128;
/// The longest message, in bytes.
const MESSAGE_LIMIT: usize = 1024;
/// What an Event says once and for all, in the core group's names.
const IMMUTABLE: &[&str] = &[
    "involvedObject",
    "reason",
    "message",
    "source",
    "firstTimestamp",
    "lastTimestamp",
    "count",
    "type",
    "eventTime",
    "action",
    "related",
    "reportingController",
    "reportingInstance",
];

/// What core events always write.
pub fn core_defaults(event: &mut Value) {
    set_default(event, "involvedObject", json!({}));
    set_default(event, "source", json!({}));
    set_default(event, "reportingComponent", "".into());
    set_default(event, "reportingInstance", "".into());
}

/// What events of the new API always write.
pub fn defaults(event: &mut Value) {
    set_default(event, "regarding", json!({}));
    set_default(event, "deprecatedSource", json!({}));
}

/// What is wrong with an Event. Both groups name fields as the core group does; only the new
/// group is strict, and lets nothing but the series change.
pub fn validate(kind: &Kind, event: &Value, old: Option<&Value>) -> Vec<Cause> {
    let event = convert::to_storage(kind, event);
    let mut causes = validate_about(&event);
    if kind.group.is_empty() {
        return causes;
    }
    match old {
        None => causes.extend(validate_new(&event)),
        Some(old) => causes.extend(validate_change(&event, &convert::to_storage(kind, old))),
    }
    causes
}

/// An event lives in the namespace of what it is about (`default` for what has none); with an
/// event time it also names its reporter, an action and a reason.
fn validate_about(event: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let own = text(&event["metadata"]["namespace"]);
    let about = text(&event["involvedObject"]["namespace"]);
    let timed = !event["eventTime"].is_null();
    let fits = match (timed, about) {
        (false, "") => matches!(own, "" | "default"),
        (false, about) => about == own,
        (true, "") => matches!(own, "default" | "kube-system"),
        (true, _) => true,
    };
    if !fits {
        let why = "does not match event.namespace";
        causes.push(Cause::invalid(
            "involvedObject.namespace",
            &about.into(),
            why,
        ));
    }
    if !timed {
        return causes;
    }
    let reporter = text(&event["reportingComponent"]);
    if reporter.is_empty() {
        causes.push(Cause::required("reportingController", ""));
    }
    for why in names::qualified(reporter) {
        causes.push(Cause::invalid("reportingController", &reporter.into(), why));
    }
    for field in ["reportingInstance", "action", "reason"] {
        let word = text(&event[field]);
        if word.is_empty() {
            causes.push(Cause::required(field, ""));
        }
        causes.extend(too_long(field, word, WORD_LIMIT));
    }
    causes.extend(too_long("message", text(&event["message"]), MESSAGE_LIMIT));
    causes
}

fn too_long(field: &str, value: &str, limit: usize) -> Option<Cause> {
    let why = format!("can have at most {limit} characters");
    (value.len() > limit).then(|| Cause::invalid(field, &"".into(), why))
}

/// A new event of the new API has a time and a known type, and none of the old fields.
fn validate_new(event: &Value) -> Vec<Cause> {
    let mut causes = validate_series(event);
    if event["eventTime"].is_null() {
        causes.push(Cause::required("eventTime", ""));
    }
    let type_ = text(&event["type"]);
    if !matches!(type_, "Normal" | "Warning") {
        let why = format!("has invalid value: {type_}");
        causes.push(Cause::invalid("type", &"".into(), why));
    }
    let source = &event["source"];
    let sourced = !text(&source["component"]).is_empty() || !text(&source["host"]).is_empty();
    let unset = [
        ("firstTimestamp", event["firstTimestamp"].is_null()),
        ("lastTimestamp", event["lastTimestamp"].is_null()),
        ("count", event["count"].as_i64().unwrap_or_default() == 0),
        ("source", !sourced),
    ];
    for (field, _) in unset.iter().filter(|(_, unset)| !unset) {
        causes.push(Cause::invalid(*field, &"".into(), "needs to be unset"));
    }
    causes
}

fn validate_series(event: &Value) -> Vec<Cause> {
    let series = &event["series"];
    let mut causes = Vec::new();
    if series.is_null() {
        return causes;
    }
    if series["count"].as_i64().unwrap_or_default() < 2 {
        let why = "should be at least 2";
        causes.push(Cause::invalid("series.count", &"".into(), why));
    }
    if series["lastObservedTime"].is_null() {
        causes.push(Cause::required("series.lastObservedTime", ""));
    }
    causes
}

fn validate_change(event: &Value, old: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    if event["series"] != old["series"] {
        causes.extend(validate_series(event));
    }
    for field in IMMUTABLE {
        let stored = match *field {
            "reportingController" => "reportingComponent",
            field => field,
        };
        if event[stored] != old[stored] {
            causes.push(Cause::invalid(*field, &event[stored], "field is immutable"));
            // The reason is looked at twice.
            if *field == "reason" {
                causes.push(Cause::invalid(*field, &event[stored], "field is immutable"));
            }
        }
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(group: &str) -> std::sync::Arc<Kind> {
        crate::registry::Registry::new()
            .find(group, "v1", "events")
            .unwrap()
    }

    fn fields(causes: &[Cause]) -> Vec<&str> {
        causes.iter().map(|cause| cause.field.as_str()).collect()
    }

    fn event() -> Value {
        json!({
            "metadata": {"name": "e", "namespace": "a"},
            "regarding": {"kind": "Pod", "namespace": "a", "name": "p"},
            "type": "Normal", "reason": "R", "action": "A", "note": "n",
            "eventTime": "2001-02-03T04:05:06.000007Z",
            "reportingController": "example.com/c", "reportingInstance": "c-1",
        })
    }

    #[test]
    fn events_of_the_new_group_are_complete_and_have_no_old_fields() {
        let kind = kind("events.k8s.io");
        assert!(validate(&kind, &event(), None).is_empty());
        let mut old = event();
        old["deprecatedCount"] = 2.into();
        old["type"] = "Odd".into();
        assert_eq!(fields(&validate(&kind, &old, None)), ["type", "count"]);
        let mut bare = event();
        for field in ["action", "eventTime", "reportingController"] {
            super::super::values::remove(&mut bare, field);
        }
        assert_eq!(fields(&validate(&kind, &bare, None)), ["eventTime"]);
    }

    #[test]
    fn only_the_series_of_an_event_of_the_new_group_changes() {
        let kind = kind("events.k8s.io");
        let mut changed = event();
        changed["series"] = json!({"count": 2, "lastObservedTime": "2001-02-03T04:05:07.000000Z"});
        assert!(validate(&kind, &changed, Some(&event())).is_empty());
        changed["series"]["count"] = 1.into();
        changed["note"] = "other".into();
        let causes = validate(&kind, &changed, Some(&event()));
        assert_eq!(fields(&causes), ["series.count", "message"]);
    }

    #[test]
    fn core_events_with_a_time_need_a_reporter() {
        let core = kind("");
        let plain = json!({"metadata": {"namespace": "a"}, "involvedObject": {"namespace": "a"}});
        assert!(validate(&core, &plain, None).is_empty());
        let mut elsewhere = plain.clone();
        elsewhere["involvedObject"]["namespace"] = "b".into();
        assert_eq!(
            fields(&validate(&core, &elsewhere, None)),
            ["involvedObject.namespace"]
        );
        let mut timed = plain;
        timed["eventTime"] = "2001-02-03T04:05:06.000007Z".into();
        let causes = validate(&core, &timed, None);
        assert!(fields(&causes).contains(&"reportingInstance"), "{causes:?}");
    }
}
