//! From `spec.gitRepo` and `spec.ref` to a commit, remembered for a while.
//!
//! A branch is asked for once in an interval, however many clusters follow it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, ResourceExt};
use nico_api::KubernetesCluster;
use nico_api::names::{CommitId, GitUrl};
use nico_api::reason::ClusterReason;
use nico_git::{Credentials, GitError};
use nico_runtime::category::{Categorized, Category};
use nico_runtime::causes::chain;

use crate::observed::{Problem, Source};
use crate::settings::Settings;

/// Resolves what clusters name as their source.
pub struct Sources {
    client: Client,
    default_repository: Option<String>,
    allow_file_urls: bool,
    interval: Duration,
    retry: Duration,
    timeout: Duration,
    answers: Mutex<HashMap<Key, Arc<tokio::sync::Mutex<Option<Answer>>>>>,
}

/// What decides an answer.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    repository: GitUrl,
    reference: Option<String>,
    credentials: Credentials,
}

struct Answer {
    result: Result<CommitId, Problem>,
    expires: Instant,
}

impl Sources {
    /// Resolves with the credentials that `client` finds in Secrets.
    pub fn new(client: Client, settings: &Settings) -> Self {
        Self {
            client,
            default_repository: settings.default_git_repo.clone(),
            allow_file_urls: settings.allow_file_urls,
            interval: settings.source_interval,
            retry: settings.source_retry,
            timeout: settings.source_timeout,
            answers: Mutex::default(),
        }
    }

    /// The commit that the cluster is to run.
    pub async fn resolve(&self, cluster: &KubernetesCluster) -> Source {
        match self.try_resolve(cluster).await {
            Ok((repository, commit)) => Source::Resolved { repository, commit },
            Err(problem) => Source::Unresolved(problem),
        }
    }

    async fn try_resolve(
        &self,
        cluster: &KubernetesCluster,
    ) -> Result<(GitUrl, CommitId), Problem> {
        let repository = self.repository(cluster)?;
        let key = Key {
            reference: cluster
                .spec
                .reference
                .clone()
                .filter(|reference| !reference.is_empty()),
            credentials: self.credentials(cluster).await?,
            repository: repository.clone(),
        };
        let answer = self.answer_to(&key);
        // Whoever comes while another asks the server waits for that answer.
        let mut answer = answer.lock().await;
        if answer
            .as_ref()
            .is_none_or(|answer| answer.expires <= Instant::now())
        {
            *answer = Some(self.ask(&key).await);
        }
        match answer.as_ref().map(|answer| answer.result.clone()) {
            Some(result) => result.map(|commit| (repository, commit)),
            None => unreachable!("an answer was just put there"),
        }
    }

    fn repository(&self, cluster: &KubernetesCluster) -> Result<GitUrl, Problem> {
        let text = [&cluster.spec.git_repo, &self.default_repository]
            .into_iter()
            .flatten()
            .find(|text| !text.is_empty())
            .ok_or_else(|| Problem {
                reason: ClusterReason::NoRepository,
                message: "spec.gitRepo is empty and the operator has no NICO_DEFAULT_GIT_REPO; set one of them".to_owned(),
                needs_change: true,
            })?;
        let url: GitUrl = text.parse().map_err(|error| Problem {
            reason: ClusterReason::InvalidSpec,
            message: format!("gitRepo cannot be used: {error}"),
            needs_change: true,
        })?;
        if url.is_file() && !self.allow_file_urls {
            return Err(Problem {
                reason: ClusterReason::FileUrlNotAllowed,
                message: format!(
                    "{url} is a file URL, which the operator does not allow; use https or ssh, or start the operator with NIO_ALLOW_FILE_URLS=true"
                ),
                needs_change: true,
            });
        }
        Ok(url)
    }

    async fn credentials(&self, cluster: &KubernetesCluster) -> Result<Credentials, Problem> {
        let Some(reference) = &cluster.spec.credentials_ref else {
            return Ok(Credentials::Anonymous);
        };
        let namespace = cluster.namespace().unwrap_or_default();
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &namespace);
        let problem = |message: String, needs_change| Problem {
            reason: ClusterReason::SecretNotFound,
            message,
            needs_change,
        };
        let secret = secrets
            .get_opt(&reference.name)
            .await
            .map_err(|error| {
                let name = &reference.name;
                problem(format!("cannot read Secret {namespace}/{name} of credentialsRef: {error}"), false)
            })?
            .ok_or_else(|| {
                let name = &reference.name;
                problem(format!("Secret {namespace}/{name} of credentialsRef does not exist; create it, or correct credentialsRef"), true)
            })?;
        Credentials::from_secret(&secret).map_err(|error| problem(error.to_string(), true))
    }

    fn answer_to(&self, key: &Key) -> Arc<tokio::sync::Mutex<Option<Answer>>> {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        // An answer that nobody waits for and that is of no use any more is forgotten.
        answers.retain(|known, answer| {
            known == key
                || Arc::strong_count(answer) > 1
                || answer.try_lock().is_ok_and(|answer| {
                    answer
                        .as_ref()
                        .is_some_and(|answer| answer.expires > Instant::now())
                })
        });
        answers.entry(key.clone()).or_default().clone()
    }

    async fn ask(&self, key: &Key) -> Answer {
        let resolved = nico_git::resolve(
            &key.repository,
            key.reference.as_deref(),
            &key.credentials,
            self.timeout,
        )
        .await;
        let wait = match resolved {
            Ok(_) => self.interval,
            Err(_) => self.retry,
        };
        Answer {
            expires: Instant::now() + wait.mul_f64(0.9 + 0.2 * rand::random::<f64>()),
            result: resolved.map_err(|error| problem(&error)),
        }
    }
}

fn problem(error: &GitError) -> Problem {
    let reason = match error {
        GitError::RepositoryNotFound { .. } => ClusterReason::RepositoryNotFound,
        GitError::ReferenceNotFound { .. } | GitError::Empty { .. } => {
            ClusterReason::ReferenceNotFound
        }
        GitError::AuthenticationFailed { .. }
        | GitError::UnusableCredentials { .. }
        | GitError::PasswordInUrl { .. }
        | GitError::Login(_)
        | GitError::PrivateKey { .. } => ClusterReason::GitAuthenticationFailed,
        GitError::Unreachable { .. } | GitError::TimedOut { .. } => ClusterReason::GitUnreachable,
        GitError::HostKeyRejected { .. }
        | GitError::CertificateRejected { .. }
        | GitError::Failed { .. }
        | GitError::Agent(_)
        | GitError::Start(_)
        | GitError::KnownHosts(_) => ClusterReason::GitFailed,
    };
    Problem {
        reason,
        message: chain(error),
        needs_change: error.category() == Category::InvalidInput,
    }
}
