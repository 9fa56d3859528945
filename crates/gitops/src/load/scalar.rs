//! What a plain word means, after YAML 1.2's core schema.
//!
//! The exceptions are those of the parser in Kubernetes' tools (go-yaml 3): numbers may have
//! underscores, `0777` is octal as it was in YAML 1.1, a date becomes the moment at which it begins,
//! and `yes`, `no`, `on` and `off` are text.

use jiff::civil::Date;

use crate::yaml::Value;

/// The value of a plain scalar, or of one that is tagged as nothing else.
pub(crate) fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ if is_number(text) => Value::Number(text.into()),
        _ if is_date(text) => Value::Text(format!("{text}T00:00:00Z").into()),
        _ => Value::Text(text.into()),
    }
}

/// Whether a plain word is read as a number.
fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let Some(first) = unsigned.chars().next() else {
        return false;
    };
    if !(first.is_ascii_digit() || first == '.') {
        return false;
    }
    let digits = |prefix: &str, is_digit: fn(char) -> bool| {
        unsigned
            .strip_prefix(prefix)
            .is_some_and(|rest| has_only(rest, is_digit))
    };
    digits("0x", |letter| letter.is_ascii_hexdigit())
        || digits("0o", |letter| ('0'..='7').contains(&letter))
        || digits("0b", |letter| matches!(letter, '0' | '1'))
        || is_decimal(unsigned)
}

fn is_date(text: &str) -> bool {
    text.len() == 10
        && text.starts_with(|letter: char| letter.is_ascii_digit())
        && text.parse::<Date>().is_ok()
}

fn has_only(text: &str, is_digit: fn(char) -> bool) -> bool {
    text.starts_with(is_digit) && text.chars().all(|letter| letter == '_' || is_digit(letter))
}

/// `12`, `1_000`, `1.5`, `.5`, `1e3`.
fn is_decimal(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_digits = |part: &str| {
        part.chars()
            .all(|letter| letter == '_' || letter.is_ascii_digit())
    };
    let has_digit = mantissa.contains(|letter: char| letter.is_ascii_digit());
    let exponent_is_number = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !digits.is_empty() && digits.chars().all(|letter| letter.is_ascii_digit())
    });
    has_digit && is_digits(whole) && is_digits(fraction) && exponent_is_number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_kubernetes_tools_read_them() {
        for text in [
            "0", "-1", "+3", "1_000", "0777", "0o17", "0xff", "0b10", "1.5", ".5", "1.", "1e3",
            "6.02E-23", ".inf", "-.inf", ".nan",
        ] {
            assert_eq!(resolve(text), Value::Number(text.into()), "{text}");
        }
        for text in [
            "yes", "on", "1.2.3", "1h", "0x", "-", ".", "1e", "e3", "_1", "10m", "v1", "0.1.a",
            "12:30:45",
        ] {
            assert_eq!(resolve(text), Value::Text(text.into()), "{text}");
        }
        assert_eq!(
            resolve("2024-02-29"),
            Value::Text("2024-02-29T00:00:00Z".into())
        );
        assert_eq!(resolve("2023-02-29"), Value::Text("2023-02-29".into()));
        for text in ["", "~", "null"] {
            assert_eq!(resolve(text), Value::Null, "{text}");
        }
    }
}
