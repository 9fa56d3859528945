//! The part of JSONPath that printer columns and selectable fields use: fields, indices,
//! wildcards, and filters that compare one field with a value.

use serde_json::Value;

#[derive(Debug, PartialEq)]
enum Segment {
    Field(String),
    Index(i64),
    Every,
    Filter {
        path: String,
        operator: String,
        value: Value,
    },
}

/// The first value at a path such as `.status.conditions[?(@.type=="Ready")].status`.
pub fn first<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    all(object, path).into_iter().next()
}

/// The values at a path as one text, if there are several.
pub fn texts(object: &Value, path: &str) -> Option<String> {
    let found = all(object, path);
    if found.len() < 2 {
        return None;
    }
    let text = |value: &&Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    Some(format!(
        "[{}]",
        found.iter().map(text).collect::<Vec<_>>().join(" ")
    ))
}

/// All values at a path; none if the path cannot be read.
pub fn all<'a>(object: &'a Value, path: &str) -> Vec<&'a Value> {
    let path = path
        .trim()
        .trim_start_matches(['{', '$'])
        .trim_end_matches('}');
    let Some(segments) = parse(path) else {
        return Vec::new();
    };
    let mut found = vec![object];
    for segment in &segments {
        found = found
            .into_iter()
            .flat_map(|value| step(value, segment))
            .collect();
    }
    found
}

fn step<'a>(value: &'a Value, segment: &Segment) -> Vec<&'a Value> {
    match segment {
        Segment::Field(name) => value.get(name).into_iter().collect(),
        Segment::Index(index) => {
            let Some(list) = value.as_array() else {
                return Vec::new();
            };
            let length = i64::try_from(list.len()).unwrap_or(i64::MAX);
            let index = if *index < 0 {
                length.saturating_add(*index)
            } else {
                *index
            };
            usize::try_from(index)
                .ok()
                .and_then(|index| list.get(index))
                .into_iter()
                .collect()
        }
        Segment::Every => match value {
            Value::Array(list) => list.iter().collect(),
            Value::Object(map) => map.values().collect(),
            _ => Vec::new(),
        },
        Segment::Filter {
            path,
            operator,
            value: wanted,
        } => {
            let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
            items
                .iter()
                .filter(|item| holds(item, path, operator, wanted))
                .collect()
        }
    }
}

fn holds(item: &Value, path: &str, operator: &str, wanted: &Value) -> bool {
    let found = first(item, path);
    match operator {
        "==" => found == Some(wanted),
        "!=" => found != Some(wanted),
        "" => found.is_some(),
        _ => {
            let (Some(a), Some(b)) = (found.and_then(Value::as_f64), wanted.as_f64()) else {
                return false;
            };
            match operator {
                "<" => a < b,
                "<=" => a <= b,
                ">" => a > b,
                _ => a >= b,
            }
        }
    }
}

fn parse(path: &str) -> Option<Vec<Segment>> {
    let mut segments = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            let end = bracket_end(inner)?;
            segments.push(bracket(&inner[..end])?);
            rest = &inner[end + 1..];
        } else {
            rest = rest.strip_prefix('.').unwrap_or(rest);
            let (name, end) = field(rest);
            match name.as_str() {
                "" if end == 0 && rest.starts_with('[') => continue,
                "" => return (rest.is_empty()).then_some(segments),
                "*" => segments.push(Segment::Every),
                _ => segments.push(Segment::Field(name)),
            }
            rest = &rest[end..];
        }
    }
    Some(segments)
}

/// A field name, in which a backslash hides a dot, and where it ends.
fn field(text: &str) -> (String, usize) {
    let mut name = String::new();
    let mut escaped = false;
    for (index, character) in text.char_indices() {
        match character {
            '\\' if !escaped => {
                escaped = true;
                continue;
            }
            '.' | '[' if !escaped => return (name, index),
            character => name.push(character),
        }
        escaped = false;
    }
    (name, text.len())
}

/// Where the bracket closes, outside of quotes.
fn bracket_end(text: &str) -> Option<usize> {
    let mut quote = None;
    for (index, character) in text.char_indices() {
        match (quote, character) {
            (None, '"' | '\'') => quote = Some(character),
            (Some(open), character) if open == character => quote = None,
            (None, ']') => return Some(index),
            _ => {}
        }
    }
    None
}

fn bracket(inner: &str) -> Option<Segment> {
    let inner = inner.trim();
    if inner == "*" {
        return Some(Segment::Every);
    }
    if let Some(filter) = inner
        .strip_prefix("?(")
        .and_then(|rest| rest.strip_suffix(')'))
    {
        let filter = filter.trim().strip_prefix('@')?;
        for operator in ["==", "!=", "<=", ">=", "<", ">"] {
            if let Some((path, value)) = filter.split_once(operator) {
                let value = literal(value.trim())?;
                let (path, operator) = (path.trim().to_owned(), operator.to_owned());
                return Some(Segment::Filter {
                    path,
                    operator,
                    value,
                });
            }
        }
        let path = filter.trim().to_owned();
        return Some(Segment::Filter {
            path,
            operator: String::new(),
            value: Value::Null,
        });
    }
    if let Ok(index) = inner.parse() {
        return Some(Segment::Index(index));
    }
    literal(inner)?
        .as_str()
        .map(|name| Segment::Field(name.to_owned()))
}

fn literal(text: &str) -> Option<Value> {
    if let Some(text) = text
        .strip_prefix('\'')
        .and_then(|rest| rest.strip_suffix('\''))
    {
        return Some(text.into());
    }
    serde_json::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_of_printer_columns_are_understood() {
        let object = json!({
            "metadata": {"annotations": {"example.com/a": "x"}},
            "status": {"conditions": [
                {"type": "Other", "status": "False"}, {"type": "Ready", "status": "True"}],
                "list": [1, 2]},
        });
        for (path, value) in [
            (
                ".status.conditions[?(@.type==\"Ready\")].status",
                Some(json!("True")),
            ),
            (
                ".status.conditions[?(@.type=='Ready')].status",
                Some(json!("True")),
            ),
            (".status.conditions[0].type", Some(json!("Other"))),
            (".status.list[-1]", Some(json!(2))),
            (".status.list[*]", Some(json!(1))),
            (".metadata.annotations['example.com/a']", Some(json!("x"))),
            (r".metadata.annotations.example\.com/a", Some(json!("x"))),
            ("{.status.list[1]}", Some(json!(2))),
            (".none.at.all", None),
            (".status.list[", None),
        ] {
            assert_eq!(first(&object, path).cloned(), value, "{path}");
        }
        assert_eq!(texts(&object, ".status.list[*]").as_deref(), Some("[1 2]"));
    }

    proptest! {
        #[test]
        fn no_path_makes_the_parser_panic(path in ".{0,40}") {
            let _ = first(&json!({"a": [{"b": 1}]}), &path);
        }
    }
}
