//! The rules for names, labels and annotations.

/// Hint of a DNS subdomain.
pub const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case \
    alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character \
    (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
/// Hint of a DNS label.
pub const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric \
    characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  \
    or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
/// Hint of a DNS label that begins with a letter.
pub const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters \
    or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. \
    'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and \
    must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or \
    '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric \
    characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. \
    'MyValue',  or 'my_value',  or '12345', regex used for validation is \
    '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/// What the patterns in the hints say, without regular expressions: those take memory that an empty
/// server does not need, and names are judged with every write.
fn is_enclosed(text: &str, edge: impl Fn(char) -> bool, inner: &str) -> bool {
    text.starts_with(&edge)
        && text.ends_with(&edge)
        && text.chars().all(|each| edge(each) || inner.contains(each))
}

fn is_label(text: &str) -> bool {
    let edge = |each: char| each.is_ascii_lowercase() || each.is_ascii_digit();
    is_enclosed(text, edge, "-")
}

fn is_label_1035(text: &str) -> bool {
    is_label(text) && !text.starts_with(|first: char| first.is_ascii_digit())
}

fn is_subdomain(text: &str) -> bool {
    text.split('.').all(is_label)
}

fn is_qualified(text: &str) -> bool {
    is_enclosed(text, |each| each.is_ascii_alphanumeric(), "-_.")
}

/// Problems of a name of at most 253 bytes, made of DNS labels with dots between them.
pub fn subdomain(name: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if name.len() > 253 {
        problems.push("must be no more than 253 bytes".to_owned());
    }
    if !is_subdomain(name) {
        problems.push(SUBDOMAIN.to_owned());
    }
    problems
}

/// Problems of a DNS label.
pub fn label(name: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if name.len() > 63 {
        problems.push("must be no more than 63 bytes".to_owned());
    }
    if !is_label(name) {
        problems.push(if name.contains('.') {
            "must not contain dots".to_owned()
        } else {
            LABEL.to_owned()
        });
    }
    problems
}

/// Problems of a DNS label that must begin with a letter.
pub fn label_1035(name: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if name.len() > 63 {
        problems.push("must be no more than 63 bytes".to_owned());
    }
    if !is_label_1035(name) {
        problems.push(LABEL_1035.to_owned());
    }
    problems
}

/// Problems of the name of a port, as IANA has them.
pub fn port(name: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if name.len() > 15 {
        problems.push("must be no more than 15 characters".to_owned());
    }
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !name.chars().all(plain) {
        let why = "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)";
        problems.push(why.to_owned());
    }
    if !name.chars().any(|c| c.is_ascii_lowercase()) {
        problems.push("must contain at least one letter (a-z)".to_owned());
    }
    if name.contains("--") {
        problems.push("must not contain consecutive hyphens".to_owned());
    }
    if name.starts_with('-') || name.ends_with('-') {
        problems.push("must not begin or end with a hyphen".to_owned());
    }
    problems
}

/// Problems of a name that may be anything that fits into a path.
pub fn path_segment(name: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if matches!(name, "." | "..") {
        problems.push(format!("may not be {name:?}"));
    }
    for character in ['/', '%'] {
        if name.contains(character) {
            problems.push(format!("may not contain {:?}", character.to_string()));
        }
    }
    problems
}

/// Problems of a key of labels or annotations: `[prefix/]name`.
pub fn qualified(key: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let name = match key.split_once('/') {
        None => key,
        Some((prefix, name)) => {
            if prefix.is_empty() {
                problems.push("prefix part must be non-empty".to_owned());
            } else {
                problems.extend(
                    subdomain(prefix)
                        .into_iter()
                        .map(|p| format!("prefix part {p}")),
                );
            }
            name
        }
    };
    if name.is_empty() {
        problems.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        problems.push("name part must be no more than 63 bytes".to_owned());
    }
    if !is_qualified(name) {
        problems.push(QUALIFIED.to_owned());
    }
    problems
}

/// Problems of the value of a label.
pub fn label_value(value: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if value.len() > 63 {
        problems.push("must be no more than 63 bytes".to_owned());
    }
    if !value.is_empty() && !is_qualified(value) {
        problems.push(LABEL_VALUE.to_owned());
    }
    problems
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex::Regex;

    use super::*;

    proptest! {
        #[test]
        fn names_are_judged_as_the_patterns_in_the_hints_say(text in "[aZ09._é\n-]{0,6}") {
            type Rule = fn(&str) -> bool;
            for (is_good, hint) in [
                (is_label as Rule, LABEL),
                (is_label_1035, LABEL_1035),
                (is_subdomain, SUBDOMAIN),
                (is_qualified, QUALIFIED),
            ] {
                let (_, pattern) = hint.split_once("validation is '").unwrap();
                let pattern = format!("^(?:{})$", pattern.strip_suffix("')").unwrap());
                let expected = Regex::new(&pattern).unwrap().is_match(&text);
                prop_assert_eq!(is_good(&text), expected, "{}", pattern);
            }
        }
    }

    #[test]
    fn names_are_judged_as_documented() {
        for (name, good) in [
            ("a", true),
            ("a-1.b", true),
            ("A", false),
            ("-a", false),
            ("", false),
        ] {
            assert_eq!(subdomain(name).is_empty(), good, "{name:?}");
        }
        assert_eq!(label("has.dot"), ["must not contain dots"]);
        assert!(label_1035("1a").len() == 1 && label_1035("a1").is_empty());
        for (key, good) in [
            ("a", true),
            ("example.com/A_b", true),
            ("bad key", false),
            ("/a", false),
            ("x/", false),
        ] {
            assert_eq!(qualified(key).is_empty(), good, "{key:?}");
        }
        assert!(label_value("").is_empty() && label_value("x y").len() == 1);
    }
}
