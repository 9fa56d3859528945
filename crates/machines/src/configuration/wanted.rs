//! What a configuration asks for, read from its spec once and checked.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use nico_api::labels::RECONCILE_AT;
use nico_api::names::{CommitId, FlakeAttribute, FlakeReference, GitUrl};
use nico_api::nixos_configuration::{ActivationAction, RebootPolicy, Step};
use nico_api::reason::ConfigurationReason;
use nico_api::{NixosConfiguration, NixosConfigurationSpec};
use nico_git::Credentials;
use nico_runtime::category::Category;

use super::files::Files;
use super::flake_url::{self, FlakeUrl};
use super::install::repeat_wish;
use crate::git;
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
    /// The repository that the credentials of the spec are for.
    credentials_for: GitUrl,
    /// Directory of `flake.nix`; empty for the root.
    pub(super) directory: String,
    pub(super) attribute: FlakeAttribute,
    pub(super) action: ActivationAction,
    pub(super) confirm_timeout: Duration,
    /// Whether the host goes back by itself.
    pub(super) rollback: bool,
    /// Whether the host may be rebooted into a new kernel.
    pub(super) may_reboot: bool,
    /// Whether the system is to wait on the host.
    pub(super) hold: bool,
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
        use ConfigurationReason::InvalidSpec;
        let spec = &configuration.spec;
        let activation = spec.activation();
        let own = || -> Result<(FlakeUrl, FlakeAttribute), Obstacle> {
            source(spec, "spec.flake", &spec.flake, || {
                let repository = spec.git_repo.as_deref().unwrap_or_default().parse();
                Ok(FlakeUrl {
                    repository: repository.map_err(|error| {
                        Obstacle::in_spec(InvalidSpec, format!("spec.gitRepo: {error}"))
                    })?,
                    reference: spec.reference.clone(),
                    directory: None,
                })
            })
        };
        let (flake, attribute) = match purpose {
            Purpose::Install => own()?,
            Purpose::Remove => {
                let flake = spec.on_remove_flake.as_deref().unwrap_or_default();
                source(spec, "spec.onRemoveFlake", flake, || Ok(own()?.0))?
            }
        };
        let FlakeUrl {
            repository,
            reference,
            directory,
        } = flake;
        let credentials_for = match purpose {
            Purpose::Install => repository.clone(),
            // What was written for one server is not sent to another.
            Purpose::Remove => {
                own().map_or_else(|_| repository.clone(), |(flake, _)| flake.repository)
            }
        };
        Ok(Self {
            purpose,
            repository,
            reference,
            directory: directory.unwrap_or_default(),
            credentials_for,
            attribute,
            action: activation.action,
            confirm_timeout: activation.confirm_timeout.into(),
            rollback: activation.rollback,
            hold: spec.hold && purpose == Purpose::Install,
            // What is only tried out is gone after a reboot.
            may_reboot: activation.reboot == RebootPolicy::IfNeeded
                && activation.action != ActivationAction::Test,
        })
    }
}

impl Request {
    /// What to log in to the repository with, of the credentials of the spec.
    pub(super) fn credentials(&self, given: &Credentials) -> Credentials {
        git::credentials_for(&self.credentials_for, &self.repository, given)
    }
}

/// Where the flake of a field is, and its output. `own` is the repository of the spec, for a
/// field that names no other.
fn source(
    spec: &NixosConfigurationSpec,
    field: &str,
    flake: &str,
    own: impl FnOnce() -> Result<FlakeUrl, Obstacle>,
) -> Result<(FlakeUrl, FlakeAttribute), Obstacle> {
    use ConfigurationReason::{InvalidSpec, NotSupported};
    let subdirectory = spec.configuration_subdir.as_deref().unwrap_or_default();
    let read = flake
        .parse()
        .map_err(|error| Obstacle::in_spec(InvalidSpec, format!("{field}: {error}")))?;
    let (mut url, attribute) = match read {
        FlakeReference::Own(attribute) => (own()?, attribute),
        FlakeReference::Other { flake, attribute } => {
            let url = flake_url::read(&flake).map_err(|problem| {
                Obstacle::in_spec(NotSupported, format!("{field}: {flake} {problem}"))
            })?;
            (url, attribute)
        }
    };
    url.directory = Some(match &url.directory {
        Some(named) => directory(field, named)?,
        None => directory("spec.configurationSubdir", subdirectory)?,
    });
    Ok((url, attribute))
}

/// The directory without what does not change it: `./a//b/` is `a/b`.
fn directory(field: &str, text: &str) -> Result<String, Obstacle> {
    let parts: Vec<&str> = text
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .collect();
    if text.starts_with('/') || parts.contains(&"..") {
        return Err(Obstacle::in_spec(
            ConfigurationReason::InvalidSpec,
            format!("{field} has the directory {text:?}; it must be relative and without '..'"),
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
            .field(format!("{:?}{}", request.action, reboot(&request)))
            .field(&configuration.spec.machine_ref.name)
            .field(&files_hash)
            .finish();
        let input_hash = FieldHash::default()
            .field(&configuration_hash)
            .field(commit.as_str())
            .field(format!("{:?}{}", request.confirm_timeout, request.rollback))
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

impl Wanted {
    /// What tells the tree that is evaluated from every other.
    pub(super) fn tree_hash(&self) -> String {
        let sources = FieldHash::default()
            .field(self.request.repository.as_str())
            .field(self.commit.as_str())
            .field(&self.request.directory);
        let files = self.files.files.iter();
        files
            .fold(sources, |hash, file| {
                hash.field(&file.path).field(&file.content)
            })
            .finish()
    }
}

/// A host that may be rebooted is looked at anew; what was applied before there was this wish
/// keeps its hash.
fn reboot(request: &Request) -> &'static str {
    if request.may_reboot { ", reboot" } else { "" }
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
    let seconds = started_at.as_second();
    format!("{}{seconds}.{failures}", attempts_prefix(uid, input_hash))
}

/// How the names of all attempts of an object for the same wanted state begin.
pub(super) fn attempts_prefix(uid: &str, input_hash: &str) -> String {
    let input = input_hash.trim_start_matches("sha256:");
    let input = input.get(..12).unwrap_or(input);
    format!("{uid}.{input}.")
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
            spec.flake = "path:/etc/nixos#web".to_owned();
        };
        assert_eq!(refusal(flake), NotSupported);
    }

    #[test]
    fn what_is_only_tried_out_is_not_rebooted_away() {
        let may_reboot = |action| {
            let configuration = configuration(|spec| {
                spec.activation = Some(nico_api::nixos_configuration::Activation {
                    action,
                    reboot: RebootPolicy::IfNeeded,
                    ..spec.activation()
                });
            });
            let request = Request::read(&configuration, Purpose::Install).unwrap();
            request.may_reboot
        };
        assert!(may_reboot(ActivationAction::Switch));
        assert!(may_reboot(ActivationAction::Boot));
        assert!(!may_reboot(ActivationAction::Test));
    }

    #[test]
    fn a_full_reference_replaces_repository_and_reference() {
        let full = |spec: &mut NixosConfigurationSpec| {
            spec.flake = "github:owner/repo/v1?dir=hosts#web".to_owned();
            spec.configuration_subdir = Some("elsewhere".to_owned());
        };
        for (purpose, attribute) in [(Purpose::Install, "web"), (Purpose::Remove, "minimal")] {
            let request = Request::read(&configuration(full), purpose).unwrap();
            let repository = request.repository.as_str();
            assert_eq!(repository, "https://github.com/owner/repo.git");
            assert_eq!(request.reference, "v1");
            assert_eq!(request.attribute.as_str(), attribute);
        }
        let request = Request::read(&configuration(full), Purpose::Install).unwrap();
        assert_eq!(request.directory, "hosts");
    }

    #[test]
    fn credentials_are_not_sent_to_the_server_of_another_flake_for_removal() {
        let token = Credentials::Token("t".to_owned());
        for (flake, given) in [
            ("#minimal", &token),
            ("git+https://git.example/b.git#minimal", &token),
            ("github:owner/repo#minimal", &Credentials::Anonymous),
        ] {
            let removal = configuration(|spec| spec.on_remove_flake = Some(flake.to_owned()));
            let request = Request::read(&removal, Purpose::Remove).unwrap();
            assert_eq!(request.credentials(&token), *given, "{flake}");
        }
    }

    #[test]
    fn a_directory_is_relative_and_stays_inside() {
        for (text, expected) in [("", ""), ("./a//b/", "a/b"), (".", "")] {
            assert_eq!(
                directory("spec.configurationSubdir", text).unwrap(),
                expected
            );
        }
        for text in ["/etc", "a/../..", ".."] {
            assert!(
                directory("spec.configurationSubdir", text).is_err(),
                "{text}"
            );
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
    fn another_guard_is_a_reason_to_try_again_and_none_to_activate_what_runs() {
        let (configuration, input) = hashes(|_| {}, 'a');
        let longer = |it: &mut nico_api::nixos_configuration::Activation| {
            it.confirm_timeout = Duration::from_secs(300).into();
        };
        let without = |it: &mut nico_api::nixos_configuration::Activation| it.rollback = false;
        let changes: [&dyn Fn(&mut nico_api::nixos_configuration::Activation); 2] =
            [&longer, &without];
        for change in changes {
            let (same, other_input) = hashes(
                |it| {
                    let mut activation = it.spec.activation();
                    change(&mut activation);
                    it.spec.activation = Some(activation);
                },
                'a',
            );
            assert_eq!(configuration, same);
            assert_ne!(input, other_input);
        }
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
