//! Regular expressions, each made once.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use regex::Regex;

/// The expression that this text is.
pub fn pattern(text: &str) -> Regex {
    static KNOWN: LazyLock<Mutex<HashMap<String, Regex>>> = LazyLock::new(Mutex::default);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let pattern = known.entry(text.to_owned());
    let new = || Regex::new(text).expect("a pattern");
    pattern.or_insert_with(new).clone()
}
