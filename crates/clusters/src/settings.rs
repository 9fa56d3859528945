//! What can be set about the cluster layer.

use std::time::Duration;

use crate::plan::Intervals;

/// Settings of the cluster layer. The command line fills them from the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Repository of clusters whose spec names none (`NICO_DEFAULT_GIT_REPO`).
    pub default_git_repo: Option<String>,
    /// Whether `file` URLs may be read (`NIO_ALLOW_FILE_URLS`).
    pub allow_file_urls: bool,
    /// Whether Machines may refer to Secrets of other namespaces
    /// (`NIO_ALLOW_CROSS_NAMESPACE_SECRETS`).
    pub allow_cross_namespace_secrets: bool,
    /// Time between two looks at a branch or tag, shared by all clusters that follow it; at
    /// least 1 s.
    pub source_interval: Duration,
    /// Time between two attempts on a repository that failed; at least 1 s.
    pub source_retry: Duration,
    /// How long a Git server may take.
    pub source_timeout: Duration,
    /// Time between two looks at the kubeconfig of a cluster on its machine, which may renew it;
    /// a look that failed is repeated as often as the cluster is looked at, when the published
    /// one does not work.
    pub kubeconfig_interval: Duration,
    /// How often a cluster is looked at when nothing is heard of it.
    pub intervals: Intervals,
    /// How many clusters are worked on at once; at least 1.
    pub concurrency: u16,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            default_git_repo: None,
            allow_file_urls: false,
            allow_cross_namespace_secrets: false,
            source_interval: Duration::from_secs(120),
            source_retry: Duration::from_secs(5),
            source_timeout: Duration::from_secs(30),
            kubeconfig_interval: Duration::from_secs(600),
            intervals: Intervals::default(),
            concurrency: 32,
        }
    }
}
