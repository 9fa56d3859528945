//! Reads the world once: the object, its machine, who has it, and what should run there.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, ResourceExt};
use nico_api::labels::CONFIGURATION_FINALIZER;
use nico_api::nixos_configuration::Step;
use nico_api::reason::ConfigurationReason;
use nico_api::{Machine, NixosConfiguration};
use nico_git::Credentials;
use nico_runtime::category::{Categorized, Category};

use super::claim::{self, Holder};
use super::files::{self, Missing};
use super::wanted::{Obstacle, Purpose, Request, Wanted, reconcile_at};
use crate::git::{Freshness, Mirrors};

/// The world as one reconcile sees it.
#[derive(Clone, Debug)]
pub(super) struct Observed {
    pub(super) configuration: NixosConfiguration,
    /// The machine of the spec, or, of an object that is being deleted, the one that carries it.
    pub(super) machine: Option<Machine>,
    pub(super) holder: Holder,
    /// A machine that the spec named before, and that this configuration still has.
    pub(super) left_machine: Option<Machine>,
    /// What should run on the machine. Absent where it does not matter.
    pub(super) wanted: Option<Result<Wanted, Obstacle>>,
}

/// What observing needs.
pub(super) struct Observer {
    pub(super) client: Client,
    pub(super) mirrors: Mirrors,
    /// The wishes that were seen: a new one makes a lookup that others shared too old.
    seen: Mutex<HashMap<String, Wish>>,
}

/// What makes a user expect a fresh look: generation and the annotation `reconcile-at`.
type Wish = (Option<i64>, Option<String>);

impl Observer {
    pub(super) fn new(client: Client, mirrors: Mirrors) -> Self {
        Self {
            client,
            mirrors,
            seen: Mutex::default(),
        }
    }

    /// Reads everything that concerns a configuration; `None` when it is gone.
    ///
    /// # Errors
    /// What the API says.
    pub(super) async fn observe(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Observed>, kube::Error> {
        let api: Api<NixosConfiguration> = Api::namespaced(self.client.clone(), namespace);
        let Some(configuration) = api.get_opt(name).await? else {
            return Ok(None);
        };
        let machines: Api<Machine> = Api::namespaced(self.client.clone(), namespace);
        let carrier = configuration
            .status
            .as_ref()
            .and_then(|status| status.target_machine.as_deref());
        let named = configuration.spec.machine_ref.name.as_str();
        let is_deleted = configuration.metadata.deletion_timestamp.is_some();
        let target = carrier.filter(|_| is_deleted).unwrap_or(named);
        let machine = machines.get_opt(target).await?;
        let holder = match &machine {
            Some(machine) => self.holder(machine, &configuration).await?,
            None => Holder::Nobody,
        };
        let left_machine = match carrier {
            Some(carrier) if carrier != target => machines
                .get_opt(carrier)
                .await?
                .filter(|machine| claim::holder(machine, name) == Holder::Me),
            _ => None,
        };
        let wanted = match (&machine, purpose(&configuration)) {
            (Some(machine), Some(purpose)) => {
                Some(self.wanted(&configuration, machine, purpose).await?)
            }
            _ => None,
        };
        Ok(Some(Observed {
            configuration,
            machine,
            holder,
            left_machine,
            wanted,
        }))
    }

    /// Forgets an object that is gone.
    pub(super) fn forget(&self, uid: &str) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.remove(uid);
    }

    /// Who has the machine. A configuration that is gone, or that neither names the machine nor
    /// still has to leave it, has it no more.
    async fn holder(
        &self,
        machine: &Machine,
        configuration: &NixosConfiguration,
    ) -> Result<Holder, kube::Error> {
        let Holder::Other(other) = claim::holder(machine, &configuration.name_any()) else {
            return Ok(claim::holder(machine, &configuration.name_any()));
        };
        let namespace = configuration.namespace().unwrap_or_default();
        let api: Api<NixosConfiguration> = Api::namespaced(self.client.clone(), &namespace);
        let is_alive = api.get_opt(&other).await?.is_some_and(|holder| {
            let carrier = holder.status.and_then(|status| status.target_machine);
            let name = machine.name_any();
            holder.spec.machine_ref.name == name || carrier == Some(name)
        });
        Ok(if is_alive {
            Holder::Other(other)
        } else {
            Holder::Nobody
        })
    }

    async fn wanted(
        &self,
        configuration: &NixosConfiguration,
        machine: &Machine,
        purpose: Purpose,
    ) -> Result<Result<Wanted, Obstacle>, kube::Error> {
        let request = match Request::read(configuration, purpose) {
            Ok(request) => request,
            Err(obstacle) => return Ok(Err(obstacle)),
        };
        let credentials = match self.credentials(configuration).await? {
            Ok(credentials) => request.credentials(&credentials),
            Err(obstacle) => return Ok(Err(obstacle)),
        };
        let missing = match purpose {
            Purpose::Install => Missing::Refuse,
            Purpose::Remove => Missing::LeaveOut,
        };
        let namespace = configuration.namespace().unwrap_or_default();
        let specs = &configuration.spec.additional_files;
        let files = match files::gather(&self.client, &namespace, specs, machine, missing).await {
            Ok(files) => files,
            Err(files::FileError::Api { source, .. }) => return Err(source),
            Err(error) => return Ok(Err(obstacle(Step::Files, error.reason(), &error))),
        };
        let mirror = match self.mirrors.get(&request.repository, &credentials) {
            Ok(mirror) => mirror,
            Err(error) => return Ok(Err(obstacle(Step::Source, error.reason(), &error))),
        };
        let freshness = self.freshness(configuration);
        let commit = match mirror.resolve(&request.reference, freshness).await {
            Ok(commit) => commit,
            Err(failure) => {
                return Ok(Err(Obstacle {
                    retry_in: Some(failure.retry_in),
                    ..obstacle(Step::Source, failure.error.reason(), &*failure.error)
                }));
            }
        };
        Ok(Ok(Wanted::new(
            configuration,
            request,
            credentials,
            commit,
            files,
        )))
    }

    async fn credentials(
        &self,
        configuration: &NixosConfiguration,
    ) -> Result<Result<Credentials, Obstacle>, kube::Error> {
        let Some(reference) = &configuration.spec.credentials_ref else {
            return Ok(Ok(Credentials::Anonymous));
        };
        let namespace = configuration.namespace().unwrap_or_default();
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &namespace);
        let missing = |message| Obstacle {
            step: Some(Step::Source),
            reason: ConfigurationReason::SecretNotFound,
            message,
            category: Category::Waiting,
            retry_in: None,
        };
        let name = &reference.name;
        Ok(match api.get_opt(name).await? {
            None => Err(missing(format!(
                "Secret {namespace}/{name} does not exist; spec.credentialsRef names it"
            ))),
            Some(secret) => {
                Credentials::from_secret(&secret).map_err(|error| missing(error.to_string()))
            }
        })
    }

    /// Whether the user did something since the last look that makes a shared answer too old.
    fn freshness(&self, configuration: &NixosConfiguration) -> Freshness {
        let wish = (
            configuration.metadata.generation,
            reconcile_at(configuration).map(str::to_owned),
        );
        let uid = configuration.uid().unwrap_or_default();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.insert(uid, wish.clone()) {
            Some(before) if before != wish => Freshness::Now,
            _ => Freshness::Shared,
        }
    }
}

/// What is to be done with the host; `None` when nothing is.
fn purpose(configuration: &NixosConfiguration) -> Option<Purpose> {
    if configuration.metadata.deletion_timestamp.is_none() {
        return Some(Purpose::Install);
    }
    let flake = configuration.spec.on_remove_flake.as_deref();
    let has_flake = flake.is_some_and(|flake| !flake.is_empty());
    (has_flake && has_finalizer(configuration)).then_some(Purpose::Remove)
}

/// Whether the object waits for this controller before it goes.
pub(super) fn has_finalizer(configuration: &NixosConfiguration) -> bool {
    let mut finalizers = configuration.metadata.finalizers.iter().flatten();
    finalizers.any(|finalizer| finalizer == CONFIGURATION_FINALIZER)
}

fn obstacle<E: Categorized + std::fmt::Display>(
    step: Step,
    reason: ConfigurationReason,
    error: &E,
) -> Obstacle {
    Obstacle {
        step: Some(step),
        reason,
        message: error.to_string(),
        category: error.category(),
        retry_in: None,
    }
}
