//! Names and hashes that follow from what they stand for, so that two servers find the same.

use serde_json::Value;
use sha2::{Digest, Sha256};

/// Without vowels and what is easily misread, as generated names of Kubernetes.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// The longest beginning of a generated name.
const LONGEST_PREFIX: usize = 58;

/// A name of at most 63 characters: the beginning, cut, and five characters that follow from the
/// seeds.
pub fn name<'a>(prefix: &str, seeds: impl IntoIterator<Item = &'a str>) -> String {
    let mut name: String = prefix.chars().take(LONGEST_PREFIX).collect();
    name.push_str(&word(seeds, 5));
    name
}

/// The hash of a pod template: ten characters. The order of its fields does not matter.
pub fn template_hash(template: &Value) -> String {
    let mut template = template.clone();
    if let Some(labels) = template["metadata"]["labels"].as_object_mut() {
        labels.shift_remove("pod-template-hash");
    }
    template.sort_all_objects();
    word([template.to_string().as_str()], 10)
}

/// Characters that follow from the seeds.
fn word<'a>(seeds: impl IntoIterator<Item = &'a str>, length: usize) -> String {
    let mut hash = Sha256::new();
    for seed in seeds {
        hash.update(seed);
        hash.update([0]);
    }
    let digest = hash.finalize();
    let letters = digest.iter().take(length);
    letters
        .map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_name_follows_from_its_seeds_and_fits_into_a_label() {
        assert_eq!(name("a-", ["1", "2"]), name("a-", ["1", "2"]));
        assert_ne!(name("a-", ["1", "2"]), name("a-", ["12"]));
        assert_eq!(name(&"x".repeat(100), ["1"]).len(), 63);
    }

    #[test]
    fn the_hash_of_a_template_ignores_order_and_its_own_label() {
        let one = json!({"metadata": {"labels": {"a": "1"}}, "spec": {"x": 1, "y": 2}});
        let two = json!({"spec": {"y": 2, "x": 1},
            "metadata": {"labels": {"pod-template-hash": "h", "a": "1"}}});
        assert_eq!(template_hash(&one), template_hash(&two));
        let other = json!({"metadata": {"labels": {"a": "1"}}, "spec": {"x": 1, "y": 3}});
        assert_ne!(template_hash(&one), template_hash(&other));
    }
}
