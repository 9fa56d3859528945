//! Kinds that are served in another form than the one in which they are stored: events of
//! `events.k8s.io` are stored as core events, autoscalers as `autoscaling/v2`.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::registry::Kind;

use super::autoscaling;

/// Fields of `events.k8s.io/v1` and what core events call them.
const EVENT_FIELDS: &[(&str, &str)] = &[
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
    ("reportingController", "reportingComponent"),
];

fn is_new_event(kind: &Kind) -> bool {
    kind.is("events.k8s.io", "Event")
}

/// Turns an object of this kind into the form in which it is stored.
pub fn to_storage<'a>(kind: &Kind, object: &'a Value) -> Cow<'a, Value> {
    if autoscaling::is_old_version(kind) {
        return Cow::Owned(autoscaling::to_v2(object));
    }
    if !is_new_event(kind) {
        return Cow::Borrowed(object);
    }
    let mut object = rename(object.clone(), |key| {
        EVENT_FIELDS
            .iter()
            .find(|(new, _)| *new == key)
            .map(|(_, old)| *old)
    });
    object["apiVersion"] = "v1".into();
    super::events::core_defaults(&mut object);
    Cow::Owned(object)
}

/// Turns a stored object into one of this kind.
pub fn from_storage(kind: &Kind, object: Value) -> Value {
    let mut object = if is_new_event(kind) {
        let mut event = rename(object, |key| {
            EVENT_FIELDS
                .iter()
                .find(|(_, old)| *old == key)
                .map(|(new, _)| *new)
        });
        if let Value::Object(map) = &mut event {
            map.retain(|_, value| value != "");
        }
        event
    } else if autoscaling::is_old_version(kind) {
        autoscaling::to_v1(object)
    } else {
        object
    };
    object["apiVersion"] = kind.api_version().into();
    object
}

fn rename(object: Value, name: impl Fn(&str) -> Option<&'static str>) -> Value {
    let Value::Object(map) = object else {
        return object;
    };
    let renamed: Map<String, Value> = map
        .into_iter()
        .map(|(key, value)| (name(&key).map_or(key, str::to_owned), value))
        .collect();
    Value::Object(renamed)
}
