//! Takes secrets out of text that people will see.

use std::fmt;

/// Values shorter than this are not taken out: they would tear every text to pieces.
const MIN_BYTES: usize = 6;

/// The secrets of one attempt; replaces each by `[redacted]`.
#[derive(Clone, Default)]
pub struct Redactor {
    /// Longest first, so that a secret that contains another is replaced whole.
    secrets: Vec<String>,
}

impl Redactor {
    /// Adds a value. Of one with several lines, each line counts by itself, because tools quote
    /// single lines.
    pub fn add(&mut self, value: &str) {
        for line in value.lines().map(str::trim) {
            if line.len() >= MIN_BYTES && !self.secrets.iter().any(|known| known == line) {
                self.secrets.push(line.to_owned());
            }
        }
        self.secrets
            .sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    }

    /// The text without the secrets.
    pub fn redact(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, secret| {
            text.replace(secret, "[redacted]")
        })
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Redactor({} secrets)", self.secrets.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn redactor(values: &[&str]) -> Redactor {
        let mut redactor = Redactor::default();
        for value in values {
            redactor.add(value);
        }
        redactor
    }

    #[test]
    fn a_secret_that_contains_another_is_replaced_whole() {
        let redactor = redactor(&["secret", "secret-and-more"]);
        assert_eq!(redactor.redact("it is secret-and-more"), "it is [redacted]");
    }

    #[test]
    fn every_line_of_a_key_is_a_secret() {
        let redactor = redactor(&["-----BEGIN-----\nAAAABBBBCCCC\nx\n-----END-----\n"]);
        assert_eq!(
            redactor.redact("bad line AAAABBBBCCCC"),
            "bad line [redacted]"
        );
    }

    #[test]
    fn debug_output_holds_no_secret() {
        assert_eq!(
            format!("{:?}", redactor(&["hunter22"])),
            "Redactor(1 secrets)"
        );
    }

    proptest! {
        #[test]
        fn no_secret_is_left(secret in "[a-z0-9]{8,20}", before in "[A-Z ]{0,9}", after in "[A-Z ]{0,9}") {
            let redactor = redactor(&[&secret]);
            let text = redactor.redact(&format!("{before}{secret}{after}"));
            prop_assert!(!text.contains(&secret));
        }
    }
}
