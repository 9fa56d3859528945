//! Selectors of labels, as objects have them: `matchLabels` and `matchExpressions`.

use serde_json::Value;

use crate::status::Cause;

use super::names;
use super::values::{fields, items, text};

/// Whether a selector selects what has these labels.
pub fn selects(selector: &Value, labels: &Value) -> bool {
    let equal = fields(&selector["matchLabels"]).all(|(key, value)| labels.get(key) == Some(value));
    let matches = |expression: &Value| {
        let value = labels.get(text(&expression["key"]));
        let among = || value.is_some_and(|value| items(&expression["values"]).any(|v| v == value));
        match text(&expression["operator"]) {
            "In" => among(),
            "NotIn" => !among(),
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    };
    equal && items(&selector["matchExpressions"]).all(matches)
}

/// Whether a selector says nothing, and so selects everything or nothing, as its field has it.
pub fn is_empty(selector: &Value) -> bool {
    fields(&selector["matchLabels"]).next().is_none()
        && items(&selector["matchExpressions"]).next().is_none()
}

/// What is wrong with a selector; `path` leads to it.
pub fn validate(selector: &Value, path: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    let labels = format!("{path}.matchLabels");
    for (key, value) in fields(&selector["matchLabels"]) {
        causes.extend(invalid(&labels, key, names::qualified(key)));
        let value = text(value);
        causes.extend(invalid(&labels, value, names::label_value(value)));
    }
    for (index, expression) in items(&selector["matchExpressions"]).enumerate() {
        let path = format!("{path}.matchExpressions[{index}]");
        causes.extend(number_of_values(expression, &path, &["In", "NotIn"], &[]));
        causes.extend(key_and_values(expression, &path));
    }
    causes
}

/// What is wrong with the key of an expression, and with its values as those of a label.
pub(super) fn key_and_values(expression: &Value, path: &str) -> Vec<Cause> {
    let key = text(&expression["key"]);
    let mut causes: Vec<Cause> =
        invalid(&format!("{path}.key"), key, names::qualified(key)).collect();
    for (index, value) in items(&expression["values"]).enumerate() {
        let (field, value) = (format!("{path}.values[{index}]"), text(value));
        causes.extend(invalid(&field, value, names::label_value(value)));
    }
    causes
}

/// Some operators need values (`several`), some exactly one (`single`), and `Exists` and
/// `DoesNotExist` none. There are no others.
pub(super) fn number_of_values(
    expression: &Value,
    path: &str,
    several: &[&str],
    single: &[&str],
) -> Option<Cause> {
    let operator = text(&expression["operator"]);
    let count = items(&expression["values"]).count();
    let field = format!("{path}.values");
    if several.contains(&operator) {
        let why = "must be specified when `operator` is 'In' or 'NotIn'";
        (count == 0).then(|| Cause::required(field, why))
    } else if single.contains(&operator) {
        let why = "must be specified single value when `operator` is 'Lt' or 'Gt'";
        (count != 1).then(|| Cause::required(field, why))
    } else if matches!(operator, "Exists" | "DoesNotExist") {
        let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
        (count > 0).then(|| Cause::forbidden(field, why))
    } else {
        let (field, why) = (format!("{path}.operator"), "not a valid selector operator");
        Some(Cause::invalid(field, &expression["operator"], why))
    }
}

fn invalid(field: &str, value: &str, problems: Vec<String>) -> impl Iterator<Item = Cause> {
    problems
        .into_iter()
        .map(move |why| Cause::invalid(field, &value.into(), why))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn selectors_know_labels_and_expressions() {
        let selector = json!({"matchLabels": {"a": "1"}, "matchExpressions": [
            {"key": "b", "operator": "In", "values": ["x", "y"]},
            {"key": "c", "operator": "DoesNotExist"}]});
        assert!(selects(&selector, &json!({"a": "1", "b": "x"})));
        assert!(!selects(&selector, &json!({"a": "1", "b": "z"})));
        assert!(!selects(&selector, &json!({"a": "1", "b": "x", "c": ""})));
        assert!(validate(&selector, "s").is_empty() && !is_empty(&selector));
    }

    #[test]
    fn an_expression_has_as_many_values_as_its_operator_takes() {
        for (expression, field) in [
            (
                json!({"key": "a", "operator": "In"}),
                "s.matchExpressions[0].values",
            ),
            (
                json!({"key": "a", "operator": "Exists", "values": ["x"]}),
                "s.matchExpressions[0].values",
            ),
            (
                json!({"key": "a", "operator": "Is"}),
                "s.matchExpressions[0].operator",
            ),
            (
                json!({"key": "a b", "operator": "Exists"}),
                "s.matchExpressions[0].key",
            ),
            (
                json!({"key": "a", "operator": "In", "values": ["x", "y z"]}),
                "s.matchExpressions[0].values[1]",
            ),
        ] {
            let causes = validate(&json!({"matchExpressions": [expression]}), "s");
            assert_eq!(causes.len(), 1, "{expression}");
            assert_eq!(causes[0].field, field, "{expression}");
        }
    }

    #[test]
    fn labels_of_a_selector_are_labels() {
        let causes = validate(&json!({"matchLabels": {"a b": "c", "d": "e f"}}), "s");
        let fields: Vec<&str> = causes.iter().map(|cause| cause.field.as_str()).collect();
        assert_eq!(fields, ["s.matchLabels", "s.matchLabels"]);
    }
}
