//! From control-plane machines to a kubeconfig that works.

use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::api::ListParams;
use kube::config::KubeConfigOptions;
use kube::{Api, Client, Config};
use nico_api::Machine;
use nico_api::kubernetes_cluster::Endpoint;
use nico_api::names::MachineName;
use nico_api::reason::ClusterReason;
use nico_runtime::category::{Categorized, Category};

use super::certificate::{self, CertificateNameError};
use super::document::{DocumentError, Found, Kubeconfig};
use super::hosts::{HostError, Hosts, Script};

/// How long the new API server may take for a connection, and for an answer.
const DEADLINE: Duration = Duration::from_secs(5);

/// Prints where a kubeconfig was found, then the kubeconfig. Ends with [`NOT_FOUND`] when there
/// is none.
const FIND: Script = Script(
    r#"for file in \
  /etc/rancher/k3s/k3s.yaml \
  /etc/rancher/rke2/rke2.yaml \
  /var/lib/k0s/pki/admin.conf \
  /etc/kubernetes/admin.conf \
  /root/.kube/config \
  /etc/kubernetes/kubeconfig
do
  if [ -s "$file" ]; then
    printf '%s\n' "$file"
    exec cat "$file"
  fi
done
if command -v kubectl >/dev/null 2>&1 && kubectl config current-context >/dev/null 2>&1; then
  printf 'kubectl config view\n'
  exec kubectl config view --raw --flatten
fi
exit 44
"#,
);

/// Exit status of [`FIND`] when there is no kubeconfig.
const NOT_FOUND: u32 = 44;

/// Why a machine gave no kubeconfig that works.
#[derive(Debug, thiserror::Error)]
pub enum RetrievalError {
    /// The machine could not be asked.
    #[error("cannot ask {machine} for its kubeconfig")]
    Host {
        /// The machine.
        machine: MachineName,
        /// Why.
        source: HostError,
    },
    /// There is none on the machine.
    #[error("{machine} has no kubeconfig yet at any of the known places")]
    NotFound {
        /// The machine.
        machine: MachineName,
    },
    /// The script failed.
    #[error("reading the kubeconfig of {machine} ended with status {status}: {words}")]
    Failed {
        /// The machine.
        machine: MachineName,
        /// Exit status.
        status: u32,
        /// What it wrote to its standard error output.
        words: String,
    },
    /// What was found cannot be used.
    #[error("the kubeconfig at {path} of {machine} cannot be used")]
    Invalid {
        /// The machine.
        machine: MachineName,
        /// Where it was found.
        path: String,
        /// Why.
        source: DocumentError,
    },
    /// The server could not be checked.
    #[error("the kubeconfig of {machine} leads to a server that cannot be used")]
    Server {
        /// The machine.
        machine: MachineName,
        /// Why.
        source: CertificateNameError,
    },
    /// The server did not answer a request.
    #[error("a request with the kubeconfig of {machine} was not answered")]
    NotProven {
        /// The machine.
        machine: MachineName,
        /// Why.
        source: ConnectError,
    },
}

/// Why a kubeconfig leads to no answer.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// It makes no client.
    #[error("it makes no client: {0}")]
    Client(String),
    /// The server refused, or could not be reached.
    #[error(transparent)]
    Request(#[from] kube::Error),
    /// The server took too long.
    #[error("no answer within {} s", DEADLINE.as_secs())]
    TimedOut,
}

impl RetrievalError {
    /// The reason of the condition.
    pub fn reason(&self) -> ClusterReason {
        match self {
            Self::NotFound { .. } | Self::Host { .. } => ClusterReason::KubeconfigNotFound,
            Self::Failed { .. } | Self::Invalid { .. } => ClusterReason::KubeconfigInvalid,
            Self::Server { .. } | Self::NotProven { .. } => ClusterReason::KubeconfigNotProven,
        }
    }
}

impl Categorized for RetrievalError {
    fn category(&self) -> Category {
        match self {
            Self::Host { source, .. } => source.category(),
            Self::NotFound { .. } => Category::Waiting,
            Self::Invalid { .. } => Category::InvalidInput,
            Self::Failed { .. } | Self::Server { .. } | Self::NotProven { .. } => {
                Category::Transient
            }
        }
    }
}

/// Gets the kubeconfig of a cluster from the first of `machines` that has one, corrected for
/// use from here and proven by a request.
///
/// # Errors
/// What the last machine said; `None` without machines.
pub async fn retrieve(
    hosts: &dyn Hosts,
    cluster_name: &str,
    endpoint: Option<&Endpoint>,
    machines: &[(MachineName, &Machine)],
) -> Result<Kubeconfig, Option<RetrievalError>> {
    retrieve_best(hosts, cluster_name, endpoint, machines, &|_| true).await
}

/// As [`retrieve`], but asks on until a kubeconfig is `best`, and is content with the first that
/// works when none is.
///
/// # Errors
/// As [`retrieve`].
pub async fn retrieve_best(
    hosts: &dyn Hosts,
    cluster_name: &str,
    endpoint: Option<&Endpoint>,
    machines: &[(MachineName, &Machine)],
    best: &(dyn Fn(&Kubeconfig) -> bool + Sync),
) -> Result<Kubeconfig, Option<RetrievalError>> {
    let mut first = None;
    let mut last_error = None;
    for (name, machine) in machines {
        match retrieve_from(hosts, cluster_name, endpoint, name, machine).await {
            Ok(kubeconfig) if best(&kubeconfig) => return Ok(kubeconfig),
            Ok(kubeconfig) => {
                first.get_or_insert(kubeconfig);
            }
            Err(error) => last_error = Some(error),
        }
    }
    first.ok_or(last_error)
}

async fn retrieve_from(
    hosts: &dyn Hosts,
    cluster_name: &str,
    endpoint: Option<&Endpoint>,
    name: &MachineName,
    machine: &Machine,
) -> Result<Kubeconfig, RetrievalError> {
    let found = find(hosts, name, machine).await?;
    let address = machine.spec.address().unwrap_or(name.as_str());
    let (host, port) = found.reachable_at(endpoint, address);
    let server_name =
        certificate::server_name(found.certificate_authority(), &host, port, DEADLINE)
            .await
            .map_err(|source| RetrievalError::Server {
                machine: name.clone(),
                source,
            })?;
    let kubeconfig = found.rewrite(cluster_name, &(host, port), server_name);
    prove(&kubeconfig)
        .await
        .map_err(|source| RetrievalError::NotProven {
            machine: name.clone(),
            source,
        })?;
    Ok(kubeconfig)
}

async fn find(
    hosts: &dyn Hosts,
    name: &MachineName,
    machine: &Machine,
) -> Result<Found, RetrievalError> {
    let output = hosts
        .run(machine, FIND)
        .await
        .map_err(|source| RetrievalError::Host {
            machine: name.clone(),
            source,
        })?;
    match output.status {
        0 => {}
        NOT_FOUND => {
            return Err(RetrievalError::NotFound {
                machine: name.clone(),
            });
        }
        status => {
            return Err(RetrievalError::Failed {
                machine: name.clone(),
                status,
                words: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            });
        }
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let (path, document) = text.split_once('\n').unwrap_or((&text, ""));
    Found::parse(document, name).map_err(|source| RetrievalError::Invalid {
        machine: name.clone(),
        path: path.to_owned(),
        source,
    })
}

/// A client for the cluster of a kubeconfig.
///
/// # Errors
/// [`ConnectError::Client`] when the text or what is in it cannot be used.
pub async fn connect(text: &str) -> Result<Client, ConnectError> {
    let unusable = |error: &dyn std::error::Error| ConnectError::Client(error.to_string());
    let document = kube::config::Kubeconfig::from_yaml(text).map_err(|error| unusable(&error))?;
    let mut config = Config::from_custom_kubeconfig(document, &KubeConfigOptions::default())
        .await
        .map_err(|error| unusable(&error))?;
    config.connect_timeout = Some(DEADLINE);
    config.read_timeout = Some(DEADLINE);
    config.default_retry = false;
    Client::try_from(config).map_err(|error| unusable(&error))
}

/// Makes a request that needs the credentials of the kubeconfig.
async fn prove(kubeconfig: &Kubeconfig) -> Result<(), ConnectError> {
    let client = connect(kubeconfig.text()).await?;
    let nodes: Api<Node> = Api::all(client);
    let request = ListParams::default().limit(1);
    tokio::time::timeout(DEADLINE, nodes.list_metadata(&request))
        .await
        .map_err(|_| ConnectError::TimedOut)??;
    Ok(())
}
