//! Field selectors: `metadata.name=a,status.phase!=Running`.

use serde_json::Value;

use crate::registry::Kind;
use crate::status::Status;

use super::selectable_field;

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
            let value = selectable_field::value(object, &requirement.field);
            (value == requirement.value) == requirement.equal
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
    selectable_field::check(kind, field)?;
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
