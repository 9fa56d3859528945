//! The additional files of a configuration: gathered from the spec, from Secrets and from facts.
//!
//! Those for the flake go into the tree that is evaluated; those for the host are only ever in
//! memory here, and are [delivered](super::delivery) over SSH.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use nico_api::Machine;
use nico_api::nixos_configuration::{AdditionalFile, Delivery, ValueType};
use nico_api::reason::ConfigurationReason;
use nico_api::references::SecretKeyReference;
use nico_runtime::category::{Categorized, Category};

use crate::hash::FieldHash;
use crate::program::Redactor;

/// A file that goes beside the sources. `Debug` does not show the content.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct File {
    /// Where it goes, below the directory of the flake.
    pub(super) path: String,
    /// What is in it.
    pub(super) content: Vec<u8>,
}

impl fmt::Debug for File {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "File({:?}, {} bytes)",
            self.path,
            self.content.len()
        )
    }
}

/// A file that goes to the host, and nowhere else. `Debug` does not show the content.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct HostFile {
    /// Where it goes, below the directory for such files.
    pub(super) path: String,
    /// What is in it.
    pub(super) content: Vec<u8>,
    /// Octal permissions.
    pub(super) mode: String,
    /// `user` or `user:group`.
    pub(super) owner: String,
}

impl fmt::Debug for HostFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            path, mode, owner, ..
        } = self;
        let length = self.content.len();
        write!(
            formatter,
            "HostFile({path:?}, {mode} {owner}, {length} bytes)"
        )
    }
}

/// Permissions of a file on a host for which none are set.
const DEFAULT_MODE: &str = "0400";

/// Owner of a file on a host for which none is set.
const DEFAULT_OWNER: &str = "root:root";

/// All files of a configuration.
#[derive(Clone, Debug, Default)]
pub(super) struct Files {
    /// Those beside the sources, in the order of their paths.
    pub(super) files: Vec<File>,
    /// Those for the host, in the order of their paths.
    pub(super) host: Vec<HostFile>,
    /// What must not be repeated of them.
    pub(super) redactor: Redactor,
}

impl Files {
    /// Hash over everything that a file has, whatever the order in the spec.
    pub(super) fn hash(&self) -> String {
        let flake = self.files.iter().fold(FieldHash::default(), |hash, file| {
            hash.field(&file.path).field(&file.content)
        });
        let host = self.host.iter().fold(flake, |hash, file| {
            hash.field("Host")
                .field(&file.path)
                .field(&file.content)
                .field(&file.mode)
                .field(&file.owner)
        });
        host.finish()
    }

    /// The paths of the files for the host.
    pub(super) fn host_paths(&self) -> Vec<String> {
        self.host.iter().map(|file| file.path.clone()).collect()
    }
}

/// A file that cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    /// The Secret is not there.
    #[error("Secret {namespace}/{name} does not exist; the additional file {file:?} needs it")]
    SecretNotFound {
        /// Path of the file.
        file: String,
        /// Namespace of the Secret.
        namespace: String,
        /// Name of the Secret.
        name: String,
    },
    /// The Secret has no such key.
    #[error(
        "cannot read key {key:?} of Secret {namespace}/{name} for the additional file {file:?}: the Secret has {}",
        keys(present)
    )]
    KeyNotFound {
        /// Path of the file.
        file: String,
        /// Namespace of the Secret.
        namespace: String,
        /// Name of the Secret.
        name: String,
        /// The key.
        key: String,
        /// The keys that are there.
        present: Vec<String>,
    },
    /// No key is named, and the Secret has none or several.
    #[error(
        "additional file {file:?} names no key of Secret {namespace}/{name}, which has {}; set secretRef.key",
        keys(present)
    )]
    KeyNotNamed {
        /// Path of the file.
        file: String,
        /// Namespace of the Secret.
        namespace: String,
        /// Name of the Secret.
        name: String,
        /// The keys that are there.
        present: Vec<String>,
    },
    /// The machine has no report of `nixos-facter`.
    #[error(
        "Machine {machine} has no nixos-facter report, which the additional file {file:?} needs; put nixos-facter on the host"
    )]
    FactsNotFound {
        /// Path of the file.
        file: String,
        /// Name of the Machine.
        machine: String,
    },
    /// The spec contradicts itself.
    #[error("additional file {file:?} {problem}")]
    Invalid {
        /// Path of the file.
        file: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// The API server did not give the Secret.
    #[error("cannot read Secret {namespace}/{name}: {source}")]
    Api {
        /// Namespace of the Secret.
        namespace: String,
        /// Name of the Secret.
        name: String,
        /// What came back.
        source: kube::Error,
    },
}

impl FileError {
    /// The reason that a condition gives.
    pub(super) fn reason(&self) -> ConfigurationReason {
        match self {
            Self::SecretNotFound { .. } | Self::KeyNotFound { .. } => {
                ConfigurationReason::SecretNotFound
            }
            Self::FactsNotFound { .. } => ConfigurationReason::FactsNotFound,
            Self::KeyNotNamed { .. } | Self::Invalid { .. } => ConfigurationReason::InvalidSpec,
            Self::Api { .. } => ConfigurationReason::InternalError,
        }
    }

    fn is_missing_secret(&self) -> bool {
        matches!(
            self,
            Self::SecretNotFound { .. } | Self::KeyNotFound { .. } | Self::KeyNotNamed { .. }
        )
    }
}

impl Categorized for FileError {
    fn category(&self) -> Category {
        match self {
            Self::SecretNotFound { .. }
            | Self::KeyNotFound { .. }
            | Self::KeyNotNamed { .. }
            | Self::FactsNotFound { .. } => Category::Waiting,
            Self::Invalid { .. } => Category::InvalidInput,
            Self::Api { source, .. } => source.category(),
        }
    }
}

/// What to do about a Secret that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// Nothing is applied without it.
    Refuse,
    /// The file is left out: the configuration is on its way out, and its Secrets may have gone
    /// before it. Files for the host are left out altogether, for none of them stays there.
    LeaveOut,
}

/// Gathers all files.
///
/// # Errors
/// [`FileError`] for the first that cannot be had.
pub(super) async fn gather(
    client: &Client,
    namespace: &str,
    specs: &[AdditionalFile],
    machine: &Machine,
    missing: Missing,
) -> Result<Files, FileError> {
    validate(specs)?;
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let mut secrets: BTreeMap<String, Option<Secret>> = BTreeMap::new();
    for reference in specs.iter().filter_map(|file| file.secret_ref.as_ref()) {
        if secrets.contains_key(&reference.name) {
            continue;
        }
        let secret = api
            .get_opt(&reference.name)
            .await
            .map_err(|source| FileError::Api {
                namespace: namespace.to_owned(),
                name: reference.name.clone(),
                source,
            })?;
        secrets.insert(reference.name.clone(), secret);
    }
    assemble(namespace, specs, &secrets, machine, missing)
}

/// What the schema of the CRD cannot say.
fn validate(specs: &[AdditionalFile]) -> Result<(), FileError> {
    let mut paths = BTreeSet::new();
    for file in specs {
        let invalid = |problem| {
            Err(FileError::Invalid {
                file: file.path.clone(),
                problem,
            })
        };
        let is_for_host = file.deliver == Delivery::Host;
        if !is_for_host && (file.mode.is_some() || file.owner.is_some()) {
            return invalid("has a mode or an owner, which a file in the Nix store cannot have");
        }
        if is_for_host && file.path.chars().any(char::is_control) {
            return invalid("has a line break or another control character in its path");
        }
        if !paths.insert((is_for_host, file.path.as_str())) {
            return invalid("is there twice");
        }
    }
    for (is_for_host, path) in &paths {
        let above = path.char_indices().filter(|(_, letter)| *letter == '/');
        for (end, _) in above {
            if *is_for_host && paths.contains(&(true, &path[..end])) {
                return Err(FileError::Invalid {
                    file: path[..end].to_owned(),
                    problem: "is the directory of another one",
                });
            }
        }
    }
    Ok(())
}

fn assemble(
    namespace: &str,
    specs: &[AdditionalFile],
    secrets: &BTreeMap<String, Option<Secret>>,
    machine: &Machine,
    missing: Missing,
) -> Result<Files, FileError> {
    let mut files = Files::default();
    for file in specs {
        let is_for_host = file.deliver == Delivery::Host;
        if is_for_host && missing == Missing::LeaveOut {
            continue;
        }
        let content = match content(namespace, file, secrets, machine) {
            Err(error) if missing == Missing::LeaveOut && error.is_missing_secret() => continue,
            content => content?,
        };
        if file.value_type == ValueType::SecretRef {
            files.redactor.add(&String::from_utf8_lossy(&content));
        }
        let path = file.path.clone();
        if is_for_host {
            let or_default = |value: &Option<String>, default: &str| {
                value.clone().unwrap_or_else(|| default.to_owned())
            };
            files.host.push(HostFile {
                path,
                content,
                mode: or_default(&file.mode, DEFAULT_MODE),
                owner: or_default(&file.owner, DEFAULT_OWNER),
            });
        } else {
            files.files.push(File { path, content });
        }
    }
    files.files.sort_by(|one, other| one.path.cmp(&other.path));
    files.host.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(files)
}

fn content(
    namespace: &str,
    file: &AdditionalFile,
    secrets: &BTreeMap<String, Option<Secret>>,
    machine: &Machine,
) -> Result<Vec<u8>, FileError> {
    let invalid = |problem| FileError::Invalid {
        file: file.path.clone(),
        problem,
    };
    match file.value_type {
        ValueType::Inline => {
            let text = file
                .inline
                .as_ref()
                .ok_or_else(|| invalid("has no inline"))?;
            Ok(text.clone().into_bytes())
        }
        ValueType::SecretRef => {
            let reference = file
                .secret_ref
                .as_ref()
                .ok_or_else(|| invalid("has no secretRef"))?;
            let secret = secrets.get(&reference.name).and_then(Option::as_ref);
            secret_content(namespace, &file.path, reference, secret)
        }
        ValueType::NixosFacter => {
            let report = machine
                .status
                .as_ref()
                .and_then(|status| status.nix_facter_result.as_ref())
                .ok_or_else(|| FileError::FactsNotFound {
                    file: file.path.clone(),
                    machine: machine.metadata.name.clone().unwrap_or_default(),
                })?;
            serde_json::to_vec_pretty(report).map_err(|_| invalid("is no JSON"))
        }
    }
}

fn secret_content(
    namespace: &str,
    file: &str,
    reference: &SecretKeyReference,
    secret: Option<&Secret>,
) -> Result<Vec<u8>, FileError> {
    let (file, namespace) = (file.to_owned(), namespace.to_owned());
    let name = reference.name.clone();
    let Some(secret) = secret else {
        return Err(FileError::SecretNotFound {
            file,
            namespace,
            name,
        });
    };
    let empty = BTreeMap::new();
    let data = secret.data.as_ref().unwrap_or(&empty);
    let present = || data.keys().cloned().collect();
    match &reference.key {
        Some(key) => match data.get(key) {
            Some(value) => Ok(value.0.clone()),
            None => Err(FileError::KeyNotFound {
                present: present(),
                file,
                namespace,
                name,
                key: key.clone(),
            }),
        },
        None if data.len() == 1 => Ok(data.values().flat_map(|value| value.0.clone()).collect()),
        None => Err(FileError::KeyNotNamed {
            present: present(),
            file,
            namespace,
            name,
        }),
    }
}

fn keys(present: &[String]) -> String {
    if present.is_empty() {
        return "no keys".to_owned();
    }
    let quoted: Vec<String> = present.iter().map(|key| format!("{key:?}")).collect();
    format!("the keys {}", quoted.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::ByteString;

    fn secret_file(key: Option<&str>) -> AdditionalFile {
        AdditionalFile {
            path: "join-token".to_owned(),
            value_type: ValueType::SecretRef,
            secret_ref: Some(SecretKeyReference {
                name: "join".to_owned(),
                key: key.map(str::to_owned),
            }),
            ..AdditionalFile::default()
        }
    }

    fn inline(path: &str, text: &str) -> AdditionalFile {
        AdditionalFile {
            path: path.to_owned(),
            inline: Some(text.to_owned()),
            ..AdditionalFile::default()
        }
    }

    fn secret(pairs: &[(&str, &str)]) -> Secret {
        let data = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())));
        Secret {
            data: Some(data.collect()),
            ..Secret::default()
        }
    }

    fn gathered(
        specs: &[AdditionalFile],
        secret: Option<Secret>,
        missing: Missing,
    ) -> Result<Files, FileError> {
        validate(specs)?;
        let secrets = BTreeMap::from([("join".to_owned(), secret)]);
        assemble("default", specs, &secrets, &Machine::default(), missing)
    }

    #[test]
    fn a_missing_secret_and_a_missing_key_are_named_and_nothing_goes_on_without_them() {
        let file = [secret_file(Some("token"))];
        let error = gathered(&file, None, Missing::Refuse).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Secret default/join does not exist; the additional file \"join-token\" needs it"
        );
        let other = secret(&[("tokn", "x")]);
        let error = gathered(&file, Some(other), Missing::Refuse).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot read key \"token\" of Secret default/join for the additional file \
             \"join-token\": the Secret has the keys \"tokn\""
        );
        assert_eq!(error.category(), Category::Waiting);
    }

    #[test]
    fn without_a_key_only_a_secret_with_exactly_one_will_do() {
        let file = [secret_file(None)];
        let one = secret(&[("any", "value")]);
        let files = gathered(&file, Some(one), Missing::Refuse).unwrap();
        assert_eq!(files.files[0].content, b"value");
        let two = secret(&[("a", "1"), ("b", "2")]);
        let error = gathered(&file, Some(two), Missing::Refuse).unwrap_err();
        assert!(error.to_string().contains("\"a\", \"b\""), "{error}");
    }

    #[test]
    fn a_configuration_on_its_way_out_goes_without_lost_secrets() {
        let specs = [secret_file(Some("token")), inline("kept", "text")];
        let files = gathered(&specs, None, Missing::LeaveOut).unwrap();
        assert_eq!(files.files.len(), 1);
    }

    fn for_host(path: &str, text: &str) -> AdditionalFile {
        AdditionalFile {
            deliver: Delivery::Host,
            ..inline(path, text)
        }
    }

    #[test]
    fn a_file_for_the_host_is_root_s_unless_the_spec_says_otherwise() {
        let mut owned = for_host("b", "2");
        owned.owner = Some("k3s:k3s".to_owned());
        owned.mode = Some("640".to_owned());
        let specs = [owned, for_host("a", "1"), inline("a", "flake")];
        let files = gathered(&specs, None, Missing::Refuse).unwrap();
        assert_eq!(files.files.len(), 1);
        assert_eq!(files.host_paths(), ["a", "b"]);
        let shown: Vec<String> = files.host.iter().map(|file| format!("{file:?}")).collect();
        assert_eq!(
            shown,
            [
                "HostFile(\"a\", 0400 root:root, 1 bytes)",
                "HostFile(\"b\", 640 k3s:k3s, 1 bytes)"
            ]
        );
        let left = gathered(&specs, None, Missing::LeaveOut).unwrap();
        assert_eq!(left.host, []);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_name() {
        let mut owned = inline("file", "text");
        owned.owner = Some("root".to_owned());
        let twice = [for_host("a", "1"), for_host("a", "2")];
        let nested = [for_host("a/b", "1"), for_host("a", "2")];
        for (specs, expected) in [
            (&[owned][..], "has a mode or an owner"),
            (&twice[..], "is there twice"),
            (&nested[..], "is the directory of another one"),
            (&[for_host("a\nb", "1")][..], "line break"),
        ] {
            let error = gathered(specs, None, Missing::Refuse).unwrap_err();
            assert_eq!(error.category(), Category::InvalidInput);
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn everything_of_a_file_for_the_host_is_in_the_hash() {
        let hash = |spec: AdditionalFile| gathered(&[spec], None, Missing::Refuse).unwrap().hash();
        let mut others = vec![for_host("a", "2"), for_host("b", "1"), inline("a", "1")];
        for change in [
            |file: &mut AdditionalFile| file.mode = Some("0440".to_owned()),
            |file: &mut AdditionalFile| file.owner = Some("k3s".to_owned()),
        ] {
            let mut file = for_host("a", "1");
            change(&mut file);
            others.push(file);
        }
        for other in others {
            assert_ne!(hash(for_host("a", "1")), hash(other.clone()), "{other:?}");
        }
    }

    #[test]
    fn the_hash_follows_paths_and_contents_but_not_the_order() {
        let hash =
            |specs: &[AdditionalFile]| gathered(specs, None, Missing::Refuse).unwrap().hash();
        let one = hash(&[inline("a", "1"), inline("b", "2")]);
        assert_eq!(one, hash(&[inline("b", "2"), inline("a", "1")]));
        assert_ne!(one, hash(&[inline("a", "1"), inline("b", "3")]));
        assert_ne!(one, hash(&[inline("a", "1"), inline("c", "2")]));
    }

    #[test]
    fn contents_of_secrets_are_redacted_and_not_shown() {
        let token = secret(&[("token", "abcdef.0123456789abcdef")]);
        let files = gathered(&[secret_file(Some("token"))], Some(token), Missing::Refuse).unwrap();
        let said = files
            .redactor
            .redact("token abcdef.0123456789abcdef refused");
        assert_eq!(said, "token [redacted] refused");
        assert!(!format!("{files:?}").contains("abcdef"));
    }
}
