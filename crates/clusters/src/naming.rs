//! Names of what a cluster owns. The same cluster and machine always give the same name, so
//! nothing is ever created twice.

use sha2::{Digest, Sha256};

/// The longest name of a Kubernetes object.
const MAX_NAME: usize = 253;

/// The longest value of a label.
const MAX_LABEL_VALUE: usize = 63;

/// Name of the NixosConfiguration of a machine: `<cluster>-<machine>`.
pub fn configuration(cluster: &str, machine: &str) -> String {
    shorten(format!("{cluster}-{machine}"), MAX_NAME)
}

/// Name of the Secret with the join token.
pub fn join_token(cluster: &str) -> String {
    shorten(format!("{cluster}-join-token"), MAX_NAME)
}

/// Name of the Secret with the kubeconfig.
pub fn kubeconfig(cluster: &str) -> String {
    shorten(format!("{cluster}-kubeconfig"), MAX_NAME)
}

/// A cluster's name as the value of a label.
pub fn label_value(cluster: &str) -> String {
    shorten(cluster.to_owned(), MAX_LABEL_VALUE)
}

/// `text`, or, when it has more than `max` bytes, its beginning and a hash of all of it.
fn shorten(text: String, max: usize) -> String {
    if text.len() <= max {
        return text;
    }
    let hash = &hex(&Sha256::digest(&text))[..10];
    let mut end = max - hash.len() - 1;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let beginning = text[..end].trim_end_matches(['-', '.']);
    format!("{beginning}-{hash}")
}

/// `sha256:` and the hash of `text`.
pub fn content_hash(text: &str) -> String {
    format!("sha256:{}", hex(&Sha256::digest(text)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nico_api::names::MachineName;
    use proptest::prelude::*;

    #[test]
    fn short_names_stay_as_people_expect_them() {
        assert_eq!(configuration("home", "cp-01"), "home-cp-01");
        assert_eq!(join_token("home"), "home-join-token");
        assert_eq!(kubeconfig("home"), "home-kubeconfig");
        assert_eq!(label_value("home"), "home");
    }

    #[test]
    fn two_long_names_with_the_same_beginning_stay_apart() {
        let machine = |last: char| format!("{}{last}", "m".repeat(250));
        let name = |last| configuration("home", &machine(last));
        assert_ne!(name('a'), name('b'));
        assert_eq!(name('a').len(), MAX_NAME);
    }

    proptest! {
        #[test]
        fn every_name_is_a_name(
            cluster in "[a-z0-9]([-a-z0-9.]{0,250}[a-z0-9])?",
            machine in "[a-z0-9]([-a-z0-9.]{0,250}[a-z0-9])?",
        ) {
            prop_assume!(cluster.parse::<MachineName>().is_ok() && machine.parse::<MachineName>().is_ok());
            for name in [configuration(&cluster, &machine), join_token(&cluster), kubeconfig(&cluster)] {
                prop_assert!(name.parse::<MachineName>().is_ok(), "{}", name);
            }
            let value = label_value(&cluster);
            prop_assert!(value.len() <= MAX_LABEL_VALUE);
            prop_assert!(value.ends_with(|c: char| c.is_ascii_alphanumeric()));
        }
    }
}
