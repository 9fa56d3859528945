//! Names and identifiers that are checked once, where they come in.
//!
//! Each is a newtype around a `String` that can only hold valid text, so that code past the
//! boundary needs no checks and no quoting surprises.

use std::fmt;
use std::str::FromStr;

/// The pattern of a DNS-1123 subdomain, which names of Kubernetes objects are.
pub const DNS_1123_SUBDOMAIN: &str =
    r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// Text that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {expected}")]
pub struct InvalidName {
    text: String,
    expected: &'static str,
}

macro_rules! checked_text {
    ($(#[$documentation:meta])* $name:ident, $expected:literal, $is_valid:path) => {
        $(#[$documentation])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                if $is_valid(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(InvalidName { text: text.to_owned(), expected: $expected })
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

checked_text! {
    /// The name of a Machine: a DNS-1123 subdomain of at most 253 characters.
    MachineName, "the name of a Machine (lower-case letters, digits, '-' and '.')", is_dns_1123_subdomain
}

checked_text! {
    /// A full Git commit: 40 (SHA-1) or 64 (SHA-256) lower-case hexadecimal digits.
    CommitId, "a full Git commit (40 or 64 hexadecimal digits)", is_commit
}

checked_text! {
    /// The name of an output under `nixosConfigurations`.
    FlakeAttribute, "the name of a flake output (letters, digits, '_', '-' and '.')", is_flake_attribute
}

checked_text! {
    /// A path in the Nix store, without anything below it: `/nix/store/<hash>-<name>`.
    StorePath, "a path in the Nix store (/nix/store/<hash>-<name>)", is_store_path
}

checked_text! {
    /// A Git URL: `https`, `http`, `ssh`, `file`, or the short form `user@host:path`.
    GitUrl, "a Git URL (https, http, ssh or file, or user@host:path)", is_git_url
}

impl CommitId {
    /// The first seven digits, for people.
    pub fn short(&self) -> &str {
        &self.0[..7]
    }
}

impl GitUrl {
    /// Whether the URL reads the operator's own file system.
    pub fn is_file(&self) -> bool {
        self.0.starts_with("file://")
    }
}

/// A flake output as a spec names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FlakeReference {
    /// `#name` or `.#name`: an output of the repository of the spec.
    Own(FlakeAttribute),
    /// `github:owner/repo/ref#name`: an output of a flake of its own, with its reference.
    Other {
        /// What stands before `#`.
        flake: String,
        /// The output.
        attribute: FlakeAttribute,
    },
}

impl FlakeReference {
    /// The output, wherever the flake is.
    pub fn attribute(&self) -> &FlakeAttribute {
        match self {
            Self::Own(attribute) | Self::Other { attribute, .. } => attribute,
        }
    }
}

impl FromStr for FlakeReference {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidName {
            text: text.to_owned(),
            expected: "a flake output (#name, .#name, or a full reference such as github:owner/repo#name)",
        };
        let (flake, attribute) = text.split_once('#').ok_or_else(invalid)?;
        let attribute = attribute.parse().map_err(|_| invalid())?;
        match flake {
            "" | "." => Ok(Self::Own(attribute)),
            _ if flake.contains(':') && flake.chars().all(|c| c.is_ascii_graphic()) => {
                Ok(Self::Other {
                    flake: flake.to_owned(),
                    attribute,
                })
            }
            _ => Err(invalid()),
        }
    }
}

fn is_dns_1123_subdomain(text: &str) -> bool {
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        let is_alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        bytes.first().is_some_and(is_alphanumeric)
            && bytes.last().is_some_and(is_alphanumeric)
            && bytes
                .iter()
                .all(|byte| is_alphanumeric(byte) || *byte == b'-')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64)
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_flake_attribute(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    text.bytes().all(is_part) && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
}

fn is_store_path(text: &str) -> bool {
    let is_hash = |hash: &str| {
        hash.len() == 32
            && hash
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    let is_name = |name: &str| {
        !name.is_empty()
            && name.len() <= 211
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+-._?=".contains(&byte))
    };
    text.strip_prefix("/nix/store/")
        .and_then(|entry| entry.split_once('-'))
        .is_some_and(|(hash, name)| is_hash(hash) && is_name(name))
}

fn is_git_url(text: &str) -> bool {
    let is_short_form = || {
        let is_part = |part: &str| {
            !part.is_empty()
                && !part.starts_with('-')
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        };
        text.split_once('@')
            .and_then(|(user, rest)| rest.split_once(':').map(|(host, path)| (user, host, path)))
            .is_some_and(|(user, host, path)| is_part(user) && is_part(host) && !path.is_empty())
    };
    let has_scheme = ["https://", "http://", "ssh://", "file://"]
        .iter()
        .any(|scheme| {
            text.strip_prefix(scheme)
                .is_some_and(|rest| !rest.is_empty() && !rest.starts_with('-'))
        });
    text.chars().all(|c| !c.is_whitespace() && !c.is_control()) && (has_scheme || is_short_form())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn accepts<T: FromStr>(text: &str) -> bool {
        text.parse::<T>().is_ok()
    }

    #[test]
    fn machine_names_are_dns_1123_subdomains() {
        for good in ["a", "cp-01", "cp-01.rack-2.example", "0"] {
            assert!(accepts::<MachineName>(good), "{good}");
        }
        let long = "a".repeat(254);
        for bad in [
            "",
            "-a",
            "a-",
            "A",
            "a..b",
            "a_b",
            "a b",
            "ü",
            long.as_str(),
        ] {
            assert!(!accepts::<MachineName>(bad), "{bad}");
        }
    }

    #[test]
    fn commits_are_full_hashes() {
        assert!(accepts::<CommitId>(&"a1".repeat(20)));
        assert!(accepts::<CommitId>(&"a1".repeat(32)));
        for bad in ["", "main", "a1b2c3d", &"A1".repeat(20), &"g1".repeat(20)] {
            assert!(!accepts::<CommitId>(bad), "{bad}");
        }
    }

    #[test]
    fn flake_references_are_own_or_full() {
        let own = FlakeReference::Own("cp-01".parse().unwrap());
        assert_eq!("#cp-01".parse(), Ok(own.clone()));
        assert_eq!(".#cp-01".parse(), Ok(own));
        let other: FlakeReference = "github:owner/repo/v1#web".parse().unwrap();
        assert_eq!(other.attribute().as_str(), "web");
        for bad in [
            "",
            "cp-01",
            "#",
            "#a b",
            "#-a",
            "#a;reboot",
            "github:o/r",
            "dir#a",
            "#a#b",
        ] {
            assert!(!accepts::<FlakeReference>(bad), "{bad}");
        }
    }

    #[test]
    fn store_paths_are_whole_entries() {
        let hash = "0123456789abcdfghijklmnpqrsvwxyz";
        assert!(accepts::<StorePath>(&format!(
            "/nix/store/{hash}-nixos-system-cp-01-26.05"
        )));
        for bad in ["", "/nix/store", "/nix/store/short-name", "/etc/passwd"] {
            assert!(!accepts::<StorePath>(bad), "{bad}");
        }
        assert!(!accepts::<StorePath>(&format!(
            "/nix/store/{hash}-name/bin/sh"
        )));
        assert!(!accepts::<StorePath>(&format!(
            "/nix/store/{hash}-name; reboot"
        )));
    }

    #[test]
    fn git_urls_have_a_known_scheme_or_the_short_form() {
        for good in [
            "https://git.example/clusters.git",
            "ssh://git@git.example:2222/clusters.git",
            "git@git.example:team/clusters.git",
            "file:///srv/git/clusters",
        ] {
            assert!(accepts::<GitUrl>(good), "{good}");
        }
        for bad in [
            "",
            "clusters",
            "/srv/git",
            "ext::sh -c id",
            "https://",
            "-u@h:p",
            "a b@h:p",
            "https://-x",
        ] {
            assert!(!accepts::<GitUrl>(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn the_machine_name_check_agrees_with_the_published_pattern(text in "[a-zA-Z0-9.-]{0,12}") {
            let pattern = regex::Regex::new(DNS_1123_SUBDOMAIN).unwrap();
            prop_assert_eq!(accepts::<MachineName>(&text), pattern.is_match(&text));
        }

        #[test]
        fn no_text_makes_a_parser_panic(text in ".*") {
            let _ = (accepts::<FlakeReference>(&text), accepts::<StorePath>(&text), accepts::<GitUrl>(&text));
        }
    }
}
