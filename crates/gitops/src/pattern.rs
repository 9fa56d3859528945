//! Regular expressions that come from outside, in bounded time and memory. They are those of Go, nearly
//! all of which mean the same here.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use regex::{Regex, RegexBuilder};

/// What an expression may take once it is compiled. `\w{1000}` and the like take more.
const MAX_BYTES: usize = 1024 * 1024;

/// So many are kept. The same few occur again and again, and making one takes long.
const MAX_KEPT: usize = 256;

/// The expression, or none where the text is none, or one that is too large.
pub(crate) fn compile(text: &str) -> Option<Regex> {
    static KNOWN: LazyLock<Mutex<HashMap<String, Option<Regex>>>> = LazyLock::new(Mutex::default);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(pattern) = known.get(text) {
        return pattern.clone();
    }
    if known.len() >= MAX_KEPT {
        known.clear();
    }
    let pattern = RegexBuilder::new(text).size_limit(MAX_BYTES).build().ok();
    known.insert(text.to_owned(), pattern.clone());
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_that_is_none_or_too_large_is_refused() {
        assert!(compile("^a+$").is_some_and(|pattern| pattern.is_match("aa")));
        assert!(compile("(").is_none());
        assert!(compile(r"(\w{1000}){1000}").is_none());
    }
}
