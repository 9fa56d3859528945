//! Label and annotation selectors, as Kubernetes writes them.

use crate::yaml::Node;

/// What labels must be like. Without a requirement, all are.
#[derive(Debug, Default)]
pub(super) struct Selector(Vec<Requirement>);

#[derive(Debug)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Missing(String),
}

impl Selector {
    /// The selector that a text means; none where it is no selector that is followed here.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let terms = terms(text).into_iter().map(str::trim);
        let terms = terms.filter(|term| !term.is_empty());
        let requirements = terms.map(Requirement::parse).collect::<Option<_>>()?;
        Some(Self(requirements))
    }

    /// Whether the labels fulfil it.
    pub(super) fn matches(&self, labels: Option<&Node>) -> bool {
        self.0.iter().all(|requirement| requirement.holds(labels))
    }
}

/// Splits at the commas that are not inside parentheses.
fn terms(text: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let split = text.split(move |letter| {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        letter == ',' && depth == 0
    });
    split.collect()
}

impl Requirement {
    fn parse(term: &str) -> Option<Self> {
        if let Some(set) = term.strip_suffix(')') {
            let (head, values) = set.split_once('(')?;
            let values = values.split(',').map(|value| value.trim().to_owned());
            let (key, operator) = head.trim().split_once(char::is_whitespace)?;
            let (key, values) = (key.to_owned(), values.collect());
            return match operator.trim() {
                "in" => Some(Self::In(key, values)),
                "notin" => Some(Self::NotIn(key, values)),
                _ => None,
            };
        }
        let pair = |separator: &str| {
            let (key, value) = term.split_once(separator)?;
            Some((word(key)?, vec![word(value)?]))
        };
        if term.contains("!=") {
            return pair("!=").map(|(key, values)| Self::NotIn(key, values));
        }
        if term.contains('=') {
            let pair = pair("==").or_else(|| pair("="));
            return pair.map(|(key, values)| Self::In(key, values));
        }
        match term.strip_prefix('!') {
            Some(key) => word(key).map(Self::Missing),
            None => word(term).map(Self::Exists),
        }
    }

    fn holds(&self, labels: Option<&Node>) -> bool {
        let value = |key: &str| labels.and_then(|labels| labels.text_of(key));
        let is_among = |key, values: &[String]| {
            value(key).is_some_and(|value| values.iter().any(|known| known == value))
        };
        match self {
            Self::In(key, values) => is_among(key, values),
            Self::NotIn(key, values) => !is_among(key, values),
            Self::Exists(key) => value(key).is_some(),
            Self::Missing(key) => value(key).is_none(),
        }
    }
}

/// A key or a value. Comparisons of numbers (`<`, `>`) are not followed.
fn word(text: &str) -> Option<String> {
    let text = text.trim();
    let is_word = !text.contains(['(', ')', ' ', '<', '>', '=', '!']);
    is_word.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::parse;
    use crate::source::Sources;

    #[test]
    fn selectors_are_those_of_kubernetes() {
        let file = Sources::default().add(String::new(), String::new());
        let labels = parse(file, "tier: front\nenv: prod\nempty: ''\n")
            .documents
            .remove(0);
        for (text, expected) in [
            ("", Some(true)),
            ("tier", Some(true)),
            ("!tier", Some(false)),
            ("tier=front,env==prod", Some(true)),
            ("tier = front , env != prod", Some(false)),
            ("other!=x", Some(true)),
            ("empty=", Some(true)),
            ("tier in (back, front)", Some(true)),
            ("tier in (back),env", Some(false)),
            ("tier notin (back, side), env in (prod)", Some(true)),
            ("other notin (x)", Some(true)),
            ("tier > 3", None),
            ("tier between (a)", None),
        ] {
            let selector = Selector::parse(text);
            let holds = selector.map(|selector| selector.matches(Some(&labels)));
            assert_eq!(holds, expected, "{text}");
        }
    }
}
