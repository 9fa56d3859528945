//! Simple paths into objects, and selectors as text.

use serde_json::{Value, json};

use super::values::{fields, items, text};

/// What a path such as `.spec.replicas` leads to.
pub fn get_path<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    segments(path).try_fold(object, |value, segment| value.get(segment))
}

/// Sets what a path such as `.spec.replicas` leads to, and makes the objects on the way.
pub fn set_path(object: &mut Value, path: &str, value: Value) {
    let mut place = object;
    for segment in segments(path) {
        if !place.is_object() {
            *place = json!({});
        }
        place = &mut place[segment];
    }
    *place = value;
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('.').filter(|segment| !segment.is_empty())
}

/// A selector as text: `a=b,c in (d,e)`. A plain map counts as `matchLabels`.
pub fn selector_text(selector: &Value) -> String {
    let labels = match selector.get("matchLabels") {
        Some(labels) => labels,
        None if selector.get("matchExpressions").is_some() => &Value::Null,
        None => selector,
    };
    let mut terms: Vec<String> = fields(labels)
        .map(|(key, value)| format!("{key}={}", text(value)))
        .collect();
    terms.sort_unstable();
    for expression in items(&selector["matchExpressions"]) {
        let key = text(&expression["key"]);
        let values: Vec<&str> = items(&expression["values"]).map(text).collect();
        terms.push(match text(&expression["operator"]) {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    terms.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_a_path_makes_the_way_to_it() {
        let mut object = json!({"spec": null});
        set_path(&mut object, ".spec.a.b", 1.into());
        assert_eq!(get_path(&object, ".spec.a.b"), Some(&1.into()));
        assert_eq!(get_path(&object, ".spec.x.b"), None);
    }

    #[test]
    fn selectors_are_written_as_they_are_parsed() {
        let selector = json!({"matchLabels": {"b": "2", "a": "1"}, "matchExpressions": [
            {"key": "c", "operator": "In", "values": ["x", "y"]},
            {"key": "d", "operator": "DoesNotExist"}]});
        assert_eq!(selector_text(&selector), "a=1,b=2,c in (x,y),!d");
        assert_eq!(selector_text(&json!({"a": "1"})), "a=1");
    }
}
