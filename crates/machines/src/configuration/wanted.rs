//! What a configuration asks for, read from its spec once and checked.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use nico_api::NixosConfiguration;
use nico_api::labels::RECONCILE_AT;
use nico_api::names::{CommitId, FlakeAttribute, FlakeReference, GitUrl};
use nico_api::nixos_configuration::{ActivationAction, RebootPolicy, Step};
use nico_api::reason::ConfigurationReason;
use nico_git::Credentials;
use nico_runtime::category::Category;

use super::files::Files;
use super::install::repeat_wish;
use crate::hash::FieldHash;

/// Why a host is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To run the configuration.
    Install,
    /// To get rid of it.
    Remove,
}

/// A spec that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) purpose: Purpose,
    pub(super) repository: GitUrl,
    pub(super) reference: String,
    /// Directory of `flake.nix`; empty for the root.
    pub(super) directory: String,
    pub(super) attribute: FlakeAttribute,
    pub(super) action: ActivationAction,
    pub(super) confirm_timeout: Duration,
}

/// All that decides what a host should run.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) request: Request,
    pub(super) credentials: Credentials,
    pub(super) commit: CommitId,
    pub(super) files: Files,
    /// Everything but the commit.
    pub(super) configuration_hash: String,
    pub(super) files_hash: String,
    /// Everything, and the user's wish to try again.
    pub(super) input_hash: String,
}

/// What keeps an attempt from being made.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Obstacle {
    /// The step that is held up; none when it is the object itself.
    pub(super) step: Option<Step>,
    pub(super) reason: ConfigurationReason,
    pub(super) message: String,
    pub(super) category: Category,
    /// When to look again, if nothing happens before.
    pub(super) retry_in: Option<Duration>,
}

impl Obstacle {
    /// An obstacle that only a change of the spec removes.
    fn in_spec(reason: ConfigurationReason, message: impl Into<String>) -> Self {
        Self {
            step: None,
            reason,
            message: message.into(),
            category: Category::InvalidInput,
            retry_in: None,
        }
    }
}

impl Request {
    /// Reads the spec.
    ///
    /// # Errors
    /// An [`Obstacle`] when something in it is wrong, or is not done by this version.
    pub(super) fn read(
        configuration: &NixosConfiguration,
        purpose: Purpose,
    ) -> Result<Self, Obstacle> {
        use ConfigurationReason::{InvalidSpec, NotSupported};
        let spec = &configuration.spec;
        let activation = spec.activation();
        if activation.reboot == RebootPolicy::IfNeeded {
            return Err(Obstacle::in_spec(
                NotSupported,
                "spec.activation.reboot is IfNeeded, but this version does not reboot machines; \
                 set it to Never and reboot when status.rebootRequired says so",
            ));
        }
        let (field, flake) = match purpose {
            Purpose::Install => ("spec.flake", spec.flake.as_str()),
            Purpose::Remove => (
                "spec.onRemoveFlake",
                spec.on_remove_flake.as_deref().unwrap_or_default(),
            ),
        };
        let attribute = match flake.parse() {
            Ok(FlakeReference::Own(attribute)) => attribute,
            Ok(FlakeReference::Other { .. }) => {
                return Err(Obstacle::in_spec(
                    NotSupported,
                    format!(
                        "{field} is {flake:?}, but this version takes flakes from spec.gitRepo \
                         only; set gitRepo and ref, and {field} to the part from # on"
                    ),
                ));
            }
            Err(error) => {
                return Err(Obstacle::in_spec(InvalidSpec, format!("{field}: {error}")));
            }
        };
        let repository = spec
            .git_repo
            .as_deref()
            .unwrap_or_default()
            .parse()
            .map_err(|error| Obstacle::in_spec(InvalidSpec, format!("spec.gitRepo: {error}")))?;
        Ok(Self {
            purpose,
            repository,
            reference: spec.reference.clone(),
            directory: directory(spec.configuration_subdir.as_deref().unwrap_or_default())?,
            attribute,
            action: activation.action,
            confirm_timeout: activation.confirm_timeout.into(),
        })
    }
}

/// The directory without what does not change it: `./a//b/` is `a/b`.
fn directory(text: &str) -> Result<String, Obstacle> {
    let parts: Vec<&str> = text
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .collect();
    if text.starts_with('/') || parts.contains(&"..") {
        return Err(Obstacle::in_spec(
            ConfigurationReason::InvalidSpec,
            format!("spec.configurationSubdir is {text:?}; it must be relative and without '..'"),
        ));
    }
    Ok(parts.join("/"))
}

impl Wanted {
    /// Puts together what was found.
    pub(super) fn new(
        configuration: &NixosConfiguration,
        request: Request,
        credentials: Credentials,
        commit: CommitId,
        files: Files,
    ) -> Self {
        let files_hash = files.hash();
        let configuration_hash = FieldHash::default()
            .field(format!("{:?}", request.purpose))
            .field(request.repository.as_str())
            .field(&request.directory)
            .field(request.attribute.as_str())
            .field(format!("{:?}", request.action))
            .field(&configuration.spec.machine_ref.name)
            .field(&files_hash)
            .finish();
        let input_hash = FieldHash::default()
            .field(&configuration_hash)
            .field(commit.as_str())
            .field(reconcile_at(configuration).unwrap_or_default())
            .field(repeat_wish(configuration).unwrap_or_default())
            .finish();
        Self {
            request,
            credentials,
            commit,
            files,
            configuration_hash,
            files_hash,
            input_hash,
        }
    }
}

/// The value by which a user asks for another try.
pub(super) fn reconcile_at(configuration: &NixosConfiguration) -> Option<&str> {
    let annotations = configuration.metadata.annotations.as_ref()?;
    annotations.get(RECONCILE_AT).map(String::as_str)
}

/// What names an attempt on the host, so that the host runs each at most once.
pub(super) fn attempt_name(
    uid: &str,
    input_hash: &str,
    started_at: Timestamp,
    failures: u32,
) -> String {
    let input = input_hash.trim_start_matches("sha256:");
    let input = input.get(..12).unwrap_or(input);
    format!("{uid}.{input}.{}.{failures}", started_at.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nico_api::NixosConfigurationSpec;

    fn configuration(change: impl FnOnce(&mut NixosConfigurationSpec)) -> NixosConfiguration {
        let mut spec = NixosConfigurationSpec {
            git_repo: Some("https://git.example/a.git".to_owned()),
            reference: "main".to_owned(),
            flake: "#web".to_owned(),
            on_remove_flake: Some("#minimal".to_owned()),
            ..NixosConfigurationSpec::default()
        };
        change(&mut spec);
        NixosConfiguration::new("web", spec)
    }

    fn refusal(change: impl FnOnce(&mut NixosConfigurationSpec)) -> ConfigurationReason {
        let refused = Request::read(&configuration(change), Purpose::Install).unwrap_err();
        assert_eq!(refused.category, Category::InvalidInput);
        refused.reason
    }

    #[test]
    fn what_this_version_does_not_do_is_refused() {
        use ConfigurationReason::NotSupported;
        let flake = |spec: &mut NixosConfigurationSpec| {
            spec.flake = "github:owner/repo/ref#web".to_owned();
        };
        assert_eq!(refusal(flake), NotSupported);
        let reboot = |spec: &mut NixosConfigurationSpec| {
            let mut activation = spec.activation();
            activation.reboot = RebootPolicy::IfNeeded;
            spec.activation = Some(activation);
        };
        assert_eq!(refusal(reboot), NotSupported);
    }

    #[test]
    fn a_directory_is_relative_and_stays_inside() {
        for (text, expected) in [("", ""), ("./a//b/", "a/b"), (".", "")] {
            assert_eq!(directory(text).unwrap(), expected);
        }
        for text in ["/etc", "a/../..", ".."] {
            assert!(directory(text).is_err(), "{text}");
        }
    }

    fn hashes(change: impl FnOnce(&mut NixosConfiguration), commit: char) -> (String, String) {
        let mut configuration = configuration(|_| {});
        change(&mut configuration);
        let request = Request::read(&configuration, Purpose::Install).unwrap();
        let commit = commit.to_string().repeat(40).parse().unwrap();
        let wanted = Wanted::new(
            &configuration,
            request,
            Credentials::Anonymous,
            commit,
            Files::default(),
        );
        (wanted.configuration_hash, wanted.input_hash)
    }

    #[test]
    fn a_new_commit_is_new_input_for_the_same_configuration() {
        let (configuration, input) = hashes(|_| {}, 'a');
        let (same, other_input) = hashes(|_| {}, 'b');
        assert_eq!(configuration, same);
        assert_ne!(input, other_input);
    }

    #[test]
    fn naming_the_commit_instead_of_the_branch_changes_nothing() {
        let by_branch = hashes(|_| {}, 'a');
        let by_commit = hashes(|it| it.spec.reference = "a".repeat(40), 'a');
        assert_eq!(by_branch, by_commit);
    }

    #[test]
    fn the_wish_to_try_again_is_new_input() {
        let annotated = |configuration: &mut NixosConfiguration| {
            let wish = (RECONCILE_AT.to_owned(), "now".to_owned());
            configuration.metadata.annotations = Some([wish].into());
        };
        let (configuration, input) = hashes(|_| {}, 'a');
        let (same, other_input) = hashes(annotated, 'a');
        assert_eq!(configuration, same);
        assert_ne!(input, other_input);
    }
}
