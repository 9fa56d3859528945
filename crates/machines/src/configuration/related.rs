//! Which outputs of one tree will be wanted by others. Pure.

use std::collections::BTreeSet;

use kube::ResourceExt;
use nico_api::NixosConfiguration;
use nico_api::names::FlakeAttribute;
use nico_api::nixos_configuration::{AdditionalFile, Delivery, ValueType};

use super::wanted::{Purpose, Request, Wanted};

/// The outputs that other configurations will ask for, of the tree that `configuration` is about
/// to evaluate: those with the same source and the same files, which did not get that far with
/// the commit yet.
///
/// What is given is not sure to be asked for: a push, a spec or a Secret may change first.
pub(super) fn outputs<'a>(
    configuration: &NixosConfiguration,
    wanted: &Wanted,
    all: impl IntoIterator<Item = &'a NixosConfiguration>,
) -> BTreeSet<FlakeAttribute> {
    let files = tree_files(configuration);
    if wanted.request.purpose == Purpose::Remove || files.clone().any(is_of_the_machine) {
        return BTreeSet::new();
    }
    // A Secret of the same name in another namespace is another one.
    let is_shared = |other: &NixosConfiguration| {
        files.clone().all(|file| file.secret_ref.is_none())
            || other.namespace() == configuration.namespace()
    };
    all.into_iter()
        .filter(|other| other.uid() != configuration.uid())
        .filter(|other| other.metadata.deletion_timestamp.is_none())
        .filter(|other| !is_through_with(other, wanted.commit.as_str()))
        .filter(|other| is_shared(other) && files.clone().eq(tree_files(other)))
        .filter_map(|other| Request::read(other, Purpose::Install).ok())
        .filter(|request| {
            let same = &wanted.request;
            request.repository == same.repository
                && request.directory == same.directory
                && (request.reference == same.reference
                    || request.reference == wanted.commit.as_str())
        })
        .map(|request| request.attribute)
        .collect()
}

/// The files that are put into the tree.
fn tree_files(configuration: &NixosConfiguration) -> impl Iterator<Item = &AdditionalFile> + Clone {
    let files = configuration.spec.additional_files.iter();
    files.filter(|file| file.deliver == Delivery::Flake)
}

/// Whether a file is another one for each machine.
fn is_of_the_machine(file: &AdditionalFile) -> bool {
    file.value_type == ValueType::NixosFacter
}

/// Whether a configuration has nothing more to evaluate of a commit.
fn is_through_with(configuration: &NixosConfiguration, commit: &str) -> bool {
    configuration.status.as_ref().is_some_and(|status| {
        let last = status.last_attempt.as_ref();
        let has_ended = last
            .is_some_and(|last| last.outcome.is_some() && last.commit.as_deref() == Some(commit));
        has_ended || status.applied_commit.as_deref() == Some(commit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nico_api::nixos_configuration::{Attempt, Outcome};
    use nico_api::references::SecretKeyReference;
    use nico_api::{NixosConfigurationSpec, NixosConfigurationStatus};
    use nico_git::Credentials;

    use crate::configuration::files::Files;

    const COMMIT: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn configuration(
        name: &str,
        change: impl FnOnce(&mut NixosConfiguration),
    ) -> NixosConfiguration {
        let spec = NixosConfigurationSpec {
            git_repo: Some("https://git.example/a.git".to_owned()),
            reference: "main".to_owned(),
            flake: format!("#{name}"),
            ..NixosConfigurationSpec::default()
        };
        let mut configuration = NixosConfiguration::new(name, spec);
        configuration.metadata.uid = Some(name.to_owned());
        configuration.metadata.namespace = Some("default".to_owned());
        change(&mut configuration);
        configuration
    }

    fn file(path: &str, change: impl FnOnce(&mut AdditionalFile)) -> AdditionalFile {
        let mut file = AdditionalFile {
            path: path.to_owned(),
            inline: Some("x".to_owned()),
            ..AdditionalFile::default()
        };
        change(&mut file);
        file
    }

    fn from_secret(path: &str) -> AdditionalFile {
        file(path, |file| {
            file.value_type = ValueType::SecretRef;
            file.secret_ref = Some(SecretKeyReference {
                name: "s".to_owned(),
                ..SecretKeyReference::default()
            });
        })
    }

    /// Of `other`, whether its output goes along with that of `mine`.
    fn goes_along(mine: &NixosConfiguration, other: &NixosConfiguration) -> bool {
        let request = Request::read(mine, Purpose::Install).unwrap();
        let commit = COMMIT.parse().unwrap();
        let files = Files::default();
        let wanted = Wanted::new(mine, request, Credentials::Anonymous, commit, files);
        let found = outputs(mine, &wanted, [mine, other]);
        let names: Vec<&str> = found.iter().map(FlakeAttribute::as_str).collect();
        assert!(names.is_empty() || names == ["other"], "{names:?}");
        !names.is_empty()
    }

    fn goes_along_if(change: impl FnOnce(&mut NixosConfiguration)) -> bool {
        goes_along(
            &configuration("mine", |_| {}),
            &configuration("other", change),
        )
    }

    #[test]
    fn outputs_of_the_same_source_go_along() {
        assert!(goes_along_if(|_| {}));
        assert!(goes_along_if(|it| it.spec.reference = COMMIT.to_owned()));
        assert!(!goes_along_if(|it| it.spec.reference = "other".to_owned()));
        let elsewhere = Some("https://git.example/b.git".to_owned());
        assert!(!goes_along_if(|it| it.spec.git_repo = elsewhere));
        let directory = Some("hosts".to_owned());
        assert!(!goes_along_if(|it| it.spec.configuration_subdir = directory));
    }

    #[test]
    fn what_was_evaluated_of_the_commit_is_not_evaluated_for_others() {
        let with = |status: NixosConfigurationStatus| goes_along_if(|it| it.status = Some(status));
        let ended = |outcome, commit: &str| NixosConfigurationStatus {
            last_attempt: Some(Attempt {
                commit: Some(commit.to_owned()),
                outcome,
                ..Attempt::default()
            }),
            ..NixosConfigurationStatus::default()
        };
        assert!(with(ended(None, COMMIT)), "it is under way");
        assert!(with(ended(Some(Outcome::Failed), "b")));
        assert!(!with(ended(Some(Outcome::Failed), COMMIT)));
        assert!(!with(NixosConfigurationStatus {
            applied_commit: Some(COMMIT.to_owned()),
            ..NixosConfigurationStatus::default()
        }));
    }

    #[test]
    fn trees_with_other_files_in_them_are_other_trees() {
        let with = |files: Vec<AdditionalFile>| {
            move |it: &mut NixosConfiguration| it.spec.additional_files = files
        };
        let (mine, other) = (
            configuration("mine", with(vec![file("a", |_| {})])),
            configuration("other", with(vec![file("a", |_| {})])),
        );
        assert!(goes_along(&mine, &other));
        assert!(!goes_along(&mine, &configuration("other", |_| {})));
        // A file for the host is in no tree.
        let for_host = file("b", |file| file.deliver = Delivery::Host);
        let other = configuration("other", with(vec![for_host, file("a", |_| {})]));
        assert!(goes_along(&mine, &other));

        let report = || vec![file("a", |file| file.value_type = ValueType::NixosFacter)];
        let mine = configuration("mine", with(report()));
        assert!(!goes_along(&mine, &configuration("other", with(report()))));

        let mine = configuration("mine", with(vec![from_secret("a")]));
        let mut other = configuration("other", with(vec![from_secret("a")]));
        assert!(goes_along(&mine, &other));
        other.metadata.namespace = Some("elsewhere".to_owned());
        assert!(!goes_along(&mine, &other));
    }
}
