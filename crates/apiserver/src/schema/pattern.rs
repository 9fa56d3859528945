//! Regular expressions of schemas.
//!
//! They are written for Go's `regexp`. The syntax of the `regex` crate is nearly the same;
//! where a text would mean something else, it is rewritten.

use regex::Regex;

/// A regular expression and the text that it was made of.
#[derive(Debug)]
pub(super) struct Pattern {
    /// As it stands in the schema.
    pub(super) text: String,
    regex: Regex,
}

impl Pattern {
    /// Compiles a pattern of a schema.
    pub(super) fn parse(text: &str) -> Result<Self, regex::Error> {
        Ok(Self {
            text: text.to_owned(),
            regex: Regex::new(&translate(text))?,
        })
    }

    /// Whether the pattern occurs in `value`.
    pub(super) fn is_match(&self, value: &str) -> bool {
        self.regex.is_match(value)
    }
}

/// The same expression in the syntax of the `regex` crate: classes like `\d` are those of
/// ASCII, brackets and doubled operators within classes are plain characters, and so is a
/// brace that does not begin a repetition.
fn translate(pattern: &str) -> String {
    let mut translated = String::with_capacity(pattern.len());
    let mut in_class = false;
    let mut class_is_empty = false;
    let mut rest = pattern;
    while let Some(letter) = rest.chars().next() {
        let behind = &rest[letter.len_utf8()..];
        let mut taken = letter.len_utf8();
        let opened = class_is_empty;
        class_is_empty = false;
        match letter {
            '\\' => {
                let escaped = behind.chars().next();
                taken += escaped.map_or(0, char::len_utf8);
                match escaped {
                    Some('d') => translated.push_str("[0-9]"),
                    Some('D') => translated.push_str("[^0-9]"),
                    Some('w') => translated.push_str("[0-9A-Za-z_]"),
                    Some('W') => translated.push_str("[^0-9A-Za-z_]"),
                    Some('s') => translated.push_str("[\\t\\n\\f\\r ]"),
                    Some('S') => translated.push_str("[^\\t\\n\\f\\r ]"),
                    Some('b') if !in_class => translated.push_str("(?-u:\\b)"),
                    Some('B') if !in_class => translated.push_str("(?-u:\\B)"),
                    _ => translated.push_str(&rest[..taken]),
                }
            }
            '[' if !in_class => {
                in_class = true;
                class_is_empty = true;
                translated.push('[');
                if behind.starts_with('^') {
                    translated.push('^');
                    taken += 1;
                }
            }
            '[' if behind.starts_with(':') => {
                let end = rest.find(":]").map_or(taken, |end| end + 2);
                translated.push_str(&rest[..end]);
                taken = end;
            }
            // First in a class it stands for itself.
            ']' if in_class && opened => translated.push_str("\\]"),
            ']' if in_class => {
                in_class = false;
                translated.push(']');
            }
            '[' | '&' | '~' if in_class => {
                translated.push('\\');
                translated.push(letter);
            }
            '{' if !in_class && !begins_repetition(rest) => translated.push_str("\\{"),
            letter => translated.push(letter),
        }
        rest = &rest[taken..];
    }
    translated
}

/// Whether `text` begins with `{n}`, `{n,}` or `{n,m}`.
fn begins_repetition(text: &str) -> bool {
    let Some((counts, _)) = text.strip_prefix('{').and_then(|text| text.split_once('}')) else {
        return false;
    };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match counts.split_once(',') {
        None => is_number(counts),
        Some((least, most)) => is_number(least) && (most.is_empty() || is_number(most)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_in_go() {
        for (pattern, matching, other) in [
            ("^[a-z]+$", "abc", "ABC"),
            (r"^\d+$", "12", "١٢"),
            (r"^[\w.-]+$", "a_1.b-c", "ä"),
            (r"^[^[\]]+$", "abc", "a[b"),
            ("^[]a]$", "]", "b"),
            ("^[^]a]$", "b", "]"),
            ("^[a&&b]$", "&", "c"),
            ("^[[:alpha:]_]+$", "ab_c", "a1"),
            ("^{x}$", "{x}", "x"),
            ("^a{2}$", "aa", "a{2}"),
            ("^a{2,}b{0,1}$", "aaab", "ab"),
            (r"^\$\{[^}]+\}$", "${NAME}", "NAME"),
            (r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$", "1h30m", "1 h"),
        ] {
            let compiled = Pattern::parse(pattern).unwrap();
            assert!(
                compiled.is_match(matching),
                "{pattern} should match {matching}"
            );
            assert!(
                !compiled.is_match(other),
                "{pattern} should not match {other}"
            );
        }
    }

    #[test]
    fn what_go_does_not_know_is_refused() {
        for pattern in ["(", "a(?=b)", r"(a)\1", "[b-a]"] {
            assert!(Pattern::parse(pattern).is_err(), "{pattern}");
        }
    }
}
