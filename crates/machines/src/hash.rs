//! SHA-256 over structured input, written as people read it.

use sha2::{Digest, Sha256};

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A hash over a sequence of fields, in which no two different sequences meet: every field is
/// preceded by its length.
#[derive(Default)]
pub(crate) struct FieldHash(Sha256);

impl FieldHash {
    /// Adds a field.
    pub(crate) fn field(mut self, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
        self
    }

    /// The hash, as `sha256:` and 64 hexadecimal digits.
    pub(crate) fn finish(self) -> String {
        format!("sha256:{}", hexadecimal(&self.0.finalize()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moving_a_byte_from_one_field_to_the_next_changes_the_hash() {
        let one = FieldHash::default().field("ab").field("c").finish();
        let other = FieldHash::default().field("a").field("bc").finish();
        assert_ne!(one, other);
    }

    #[test]
    fn the_digest_is_that_of_sha256() {
        assert_eq!(
            FieldHash::default().finish(),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }
}
