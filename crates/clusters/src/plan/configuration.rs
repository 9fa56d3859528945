//! The NixosConfiguration of each machine.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{Resource, ResourceExt};
use nico_api::kubernetes_cluster::Revision;
use nico_api::names::{CommitId, GitUrl, MachineName};
use nico_api::nixos_configuration::{AdditionalFile, Delivery, ValueType};
use nico_api::references::{LocalReference, SecretKeyReference};
use nico_api::{KubernetesCluster, Machine, NixosConfiguration, NixosConfigurationSpec, labels};
use serde_json::json;

use crate::naming;
use crate::role::Role;

use super::topology::Topology;

/// The flake output that a machine gets when it leaves the cluster.
const ON_REMOVE_FLAKE: &str = "#minimal";

/// Everything that is the same for all machines of a cluster: what a rollout brings to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    repository: GitUrl,
    commit: CommitId,
    subdirectory: Option<String>,
    credentials: Option<LocalReference>,
    delivery: Delivery,
    cluster_nix: String,
}

impl Wanted {
    /// What `cluster` wants on its machines, with its source resolved.
    pub fn new(
        cluster: &KubernetesCluster,
        repository: &GitUrl,
        commit: &CommitId,
        topology: &Topology,
    ) -> Self {
        Self {
            repository: repository.clone(),
            commit: commit.clone(),
            subdirectory: cluster
                .spec
                .configuration_subdir
                .clone()
                .filter(|path| !path.is_empty()),
            credentials: cluster.spec.credentials_ref.clone(),
            delivery: cluster.spec.secret_delivery,
            cluster_nix: topology.to_nix(),
        }
    }

    /// Commit and hash of everything that is generated.
    pub fn revision(&self) -> Revision {
        let generated = json!({
            "gitRepo": self.repository.as_str(),
            "configurationSubdir": self.subdirectory,
            "credentialsRef": self.credentials,
            "secretDelivery": self.delivery,
            "cluster.nix": self.cluster_nix,
        });
        Revision::new(
            self.commit.as_str(),
            &naming::content_hash(&generated.to_string()),
        )
    }

    /// The NixosConfiguration of `machine`.
    pub fn configuration(
        &self,
        cluster: &KubernetesCluster,
        name: &MachineName,
        machine: &Machine,
        role: Role,
        full_install: bool,
    ) -> NixosConfiguration {
        let cluster_name = cluster.name_any();
        let mut configuration = NixosConfiguration::new(
            &naming::configuration(&cluster_name, name.as_str()),
            NixosConfigurationSpec {
                git_repo: Some(self.repository.to_string()),
                reference: self.commit.to_string(),
                credentials_ref: self.credentials.clone(),
                flake: format!("#{name}"),
                on_remove_flake: Some(ON_REMOVE_FLAKE.to_owned()),
                configuration_subdir: self.subdirectory.clone(),
                full_install,
                machine_ref: LocalReference {
                    name: name.to_string(),
                },
                additional_files: self.files(&cluster_name, cluster, machine),
                activation: None,
                hold: false,
            },
        );
        configuration.metadata = ObjectMeta {
            namespace: cluster.namespace(),
            labels: Some(BTreeMap::from([
                (
                    labels::CLUSTER.to_owned(),
                    naming::label_value(&cluster_name),
                ),
                (labels::ROLE.to_owned(), role.as_str().to_owned()),
            ])),
            owner_references: owner(cluster).map(|owner| vec![owner]),
            ..configuration.metadata
        };
        configuration
    }

    fn files(
        &self,
        cluster_name: &str,
        cluster: &KubernetesCluster,
        machine: &Machine,
    ) -> Vec<AdditionalFile> {
        let topology = AdditionalFile {
            path: "cluster.nix".to_owned(),
            value_type: ValueType::Inline,
            inline: Some(self.cluster_nix.clone()),
            ..AdditionalFile::default()
        };
        let secret = |path: &str, name: &str, key: &str| AdditionalFile {
            path: path.to_owned(),
            value_type: ValueType::SecretRef,
            secret_ref: Some(SecretKeyReference {
                name: name.to_owned(),
                key: Some(key.to_owned()),
            }),
            deliver: self.delivery,
            ..AdditionalFile::default()
        };
        let join_token = secret("join-token", &naming::join_token(cluster_name), "token");
        // A file can only come from a Secret of the same namespace; a machine whose key lies
        // elsewhere, or that has a password only, does without.
        let key = machine
            .spec
            .ssh_key_secret_ref
            .as_ref()
            .filter(|reference| {
                reference.namespace.is_none() || reference.namespace == cluster.namespace()
            })
            .map(|reference| secret("machine-ssh-key", &reference.name, "ssh-privatekey"));
        [topology, join_token].into_iter().chain(key).collect()
    }
}

/// The reference by which everything that a cluster makes goes with it. `None` only for an
/// object that the API never stored.
pub fn owner(cluster: &KubernetesCluster) -> Option<OwnerReference> {
    Some(OwnerReference {
        block_owner_deletion: Some(true),
        ..cluster.controller_owner_ref(&())?
    })
}

/// Whether `existing` asks for the same as `desired`.
///
/// `fullInstall` does not count: it is decided once, and what comes of it is told by the
/// machine. Nor does `hold`, which says when, not what. Fields that this controller does not
/// set (`activation`) are the user's.
pub fn asks_for_the_same(
    existing: &NixosConfigurationSpec,
    desired: &NixosConfigurationSpec,
) -> bool {
    let comparable = |spec: &NixosConfigurationSpec| NixosConfigurationSpec {
        full_install: false,
        activation: None,
        hold: false,
        ..spec.clone()
    };
    comparable(existing) == comparable(desired)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{cluster, machine};
    use nico_api::references::SecretReference;

    fn wanted(cluster: &KubernetesCluster) -> Wanted {
        Wanted::new(
            cluster,
            &"https://git.example/clusters.git".parse().unwrap(),
            &"a".repeat(40).parse().unwrap(),
            &Topology {
                cluster: "home".to_owned(),
                ..Topology::default()
            },
        )
    }

    fn configuration(cluster: &KubernetesCluster, machine: &Machine) -> NixosConfiguration {
        let name = machine.name_any().parse().unwrap();
        wanted(cluster).configuration(cluster, &name, machine, Role::Worker, false)
    }

    #[test]
    fn a_configuration_is_what_the_specification_says() {
        let mut cluster = cluster("home");
        cluster.spec.configuration_subdir = Some("clusters/home".to_owned());
        cluster.spec.secret_delivery = Delivery::Host;
        let mut machine = machine("w-01");
        machine.spec.ssh_key_secret_ref = Some(SecretReference {
            name: "w-01-key".to_owned(),
            namespace: None,
        });
        let made = serde_json::to_value(configuration(&cluster, &machine)).unwrap();
        assert_eq!(
            made,
            json!({
                "apiVersion": "nio.homystack.com/v1alpha1",
                "kind": "NixosConfiguration",
                "metadata": {
                    "name": "home-w-01",
                    "namespace": "default",
                    "labels": {"nico.homystack.com/cluster": "home", "nico.homystack.com/role": "worker"},
                    "ownerReferences": [{
                        "apiVersion": "nico.homystack.com/v1alpha1", "kind": "KubernetesCluster",
                        "name": "home", "uid": "home-uid", "controller": true, "blockOwnerDeletion": true,
                    }],
                },
                "spec": {
                    "gitRepo": "https://git.example/clusters.git",
                    "ref": "a".repeat(40),
                    "flake": "#w-01",
                    "onRemoveFlake": "#minimal",
                    "configurationSubdir": "clusters/home",
                    "fullInstall": false,
                    "machineRef": {"name": "w-01"},
                    "additionalFiles": [
                        {"path": "cluster.nix", "valueType": "Inline", "inline": wanted(&cluster).cluster_nix, "deliver": "Flake"},
                        {"path": "join-token", "valueType": "SecretRef", "secretRef": {"name": "home-join-token", "key": "token"}, "deliver": "Host"},
                        {"path": "machine-ssh-key", "valueType": "SecretRef", "secretRef": {"name": "w-01-key", "key": "ssh-privatekey"}, "deliver": "Host"},
                    ],
                },
            })
        );
    }

    #[test]
    fn a_key_in_another_namespace_cannot_be_a_file() {
        let mut machine = machine("w-01");
        machine.spec.ssh_key_secret_ref = Some(SecretReference {
            name: "key".to_owned(),
            namespace: Some("keys".to_owned()),
        });
        let files = configuration(&cluster("home"), &machine)
            .spec
            .additional_files;
        assert!(files.iter().all(|file| file.path != "machine-ssh-key"));
    }

    #[test]
    fn only_what_this_controller_asks_for_counts_as_a_difference() {
        let desired = configuration(&cluster("home"), &machine("w-01")).spec;
        let mut existing = desired.clone();
        existing.full_install = true;
        existing.activation = Some(nico_api::nixos_configuration::Activation::default());
        assert!(asks_for_the_same(&existing, &desired));
        existing.reference = "main".to_owned();
        assert!(!asks_for_the_same(&existing, &desired));
    }

    #[test]
    fn the_revision_changes_with_everything_that_is_generated() {
        let revision = |change: fn(&mut KubernetesCluster)| {
            let mut cluster = cluster("home");
            change(&mut cluster);
            wanted(&cluster).revision().configuration_hash
        };
        let same = revision(|_| {});
        assert_eq!(same, revision(|cluster| cluster.spec.paused = true));
        assert_ne!(
            same,
            revision(|c| c.spec.configuration_subdir = Some("x".to_owned()))
        );
        assert_ne!(same, revision(|c| c.spec.secret_delivery = Delivery::Host));
        assert_ne!(
            same,
            revision(|c| {
                c.spec.credentials_ref = Some(LocalReference {
                    name: "creds".to_owned(),
                });
            })
        );
    }
}
