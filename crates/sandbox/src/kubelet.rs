//! The heartbeat of a Node: what makes a host of the sandbox a Node of its cluster.
//!
//! It registers the Node with every control plane that it is told, keeps status and Lease
//! fresh as a kubelet does, and runs nothing. The control planes of a sandbox do not share
//! their data, so each is told on its own; one that does not answer is tried again for ever
//! and holds up no other.
//!
//! As a k3s agent that is given a token without a hash, it does not check the certificate of
//! the server: whoever accepts the token is the server.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{
    Node, NodeAddress, NodeCondition, NodeSpec, NodeStatus, NodeSystemInfo,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use kube::config::AuthInfo;
use kube::{Client, Config};
use nico_runtime::backoff::Backoff;

/// Between two heartbeats; a kubelet takes 10 s.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// How long a Lease lasts, in seconds, as a kubelet writes it.
const LEASE_SECONDS: i32 = 40;

/// After a heartbeat that did not arrive.
const RETRY: Backoff = Backoff {
    base: Duration::from_millis(200),
    max: HEARTBEAT,
};

const FIELD_MANAGER: &str = "kubelet";

/// What a Node is and where it registers.
#[derive(Clone, Debug)]
pub struct KubeletOptions {
    /// Name of the Node, and of the host.
    pub name: String,
    /// Its `InternalIP`.
    pub address: IpAddr,
    /// Its role.
    pub role: Role,
    /// What it reports as its version, such as `v1.32.4+k3s1`.
    pub kubelet_version: String,
    /// URLs of all control planes.
    pub servers: Vec<http::Uri>,
    /// File with the token that the control planes accept.
    pub token_file: PathBuf,
    /// File that is there while the host has a member of the cluster's etcd, where it should have
    /// one.
    pub etcd: Option<PathBuf>,
}

/// The role of a Node in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Runs the Kubernetes API.
    ControlPlane,
    /// Runs workloads.
    Worker,
}

/// Why a kubelet cannot start. Once it runs, it runs for ever.
#[derive(Debug, thiserror::Error)]
pub enum KubeletError {
    /// A client cannot be made.
    #[error("cannot make a client for {server}")]
    Client {
        /// The control plane.
        server: http::Uri,
        /// What the library said.
        source: kube::Error,
    },
}

/// Registers the Node with all control planes and keeps it alive until it is dropped.
///
/// # Errors
/// When a URL or the token file cannot be used.
pub async fn kubelet(options: KubeletOptions) -> Result<(), KubeletError> {
    let started = Timestamp::now();
    let mut heartbeats = Vec::new();
    for server in &options.servers {
        let client = client(&options, server).map_err(|source| KubeletError::Client {
            server: server.clone(),
            source,
        })?;
        heartbeats.push(keep_alive(&options, server, client, started));
    }
    join_all(heartbeats).await;
    Ok(())
}

fn client(options: &KubeletOptions, server: &http::Uri) -> Result<Client, kube::Error> {
    let mut config = Config::new(server.clone());
    config.accept_invalid_certs = true;
    config.connect_timeout = Some(HEARTBEAT);
    config.read_timeout = Some(HEARTBEAT);
    config.write_timeout = Some(HEARTBEAT);
    config.auth_info = AuthInfo {
        token_file: Some(options.token_file.to_string_lossy().into_owned()),
        ..AuthInfo::default()
    };
    Client::try_from(config)
}

async fn keep_alive(
    options: &KubeletOptions,
    server: &http::Uri,
    client: Client,
    started: Timestamp,
) {
    let mut failures = 0;
    loop {
        let now = Timestamp::now();
        let wait = match beat(options, &client, started, now).await {
            Ok(()) => {
                if failures > 0 {
                    tracing::info!(%server, "registered again");
                }
                failures = 0;
                HEARTBEAT
            }
            Err(error) => {
                tracing::warn!(%server, %error, "the heartbeat did not arrive");
                failures += 1;
                RETRY.delay(failures, rand::random())
            }
        };
        tokio::time::sleep(wait).await;
    }
}

/// One heartbeat. It creates whatever is missing, so it serves for registration too.
async fn beat(
    options: &KubeletOptions,
    client: &Client,
    started: Timestamp,
    now: Timestamp,
) -> Result<(), kube::Error> {
    let nodes = Api::<Node>::all(client.clone());
    let leases = Api::<Lease>::namespaced(client.clone(), "kube-node-lease");
    let ours = PatchParams::apply(FIELD_MANAGER).force();
    let name = &options.name;
    nodes
        .patch(name, &ours, &Patch::Apply(node(options)))
        .await?;
    let status = status(options, &Machine::read(), started, now);
    nodes
        .patch_status(name, &ours, &Patch::Apply(status))
        .await?;
    leases
        .patch(name, &ours, &Patch::Apply(lease(name, now)))
        .await?;
    Ok(())
}

/// What the kubelet reads of the machine below.
#[derive(Debug, Default)]
struct Machine {
    processors: usize,
    memory_kib: u64,
    os_image: String,
    kernel: String,
    machine_id: String,
    boot_id: String,
}

impl Machine {
    fn read() -> Self {
        let file = |path| {
            fs::read_to_string(path)
                .unwrap_or_default()
                .trim()
                .to_owned()
        };
        Self {
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            memory_kib: memory_kib(&file("/proc/meminfo")),
            os_image: pretty_name(&file("/etc/os-release")),
            kernel: file("/proc/sys/kernel/osrelease"),
            machine_id: file("/etc/machine-id"),
            boot_id: file("/proc/sys/kernel/random/boot_id"),
        }
    }
}

fn memory_kib(meminfo: &str) -> u64 {
    let total = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"));
    total
        .and_then(|text| text.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

fn pretty_name(os_release: &str) -> String {
    let name = os_release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.unwrap_or_default().trim_matches('"').to_owned()
}

fn node(options: &KubeletOptions) -> Node {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let mut labels = BTreeMap::from(
        [
            ("kubernetes.io/hostname", options.name.as_str()),
            ("kubernetes.io/os", "linux"),
            ("kubernetes.io/arch", architecture),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    if options.role == Role::ControlPlane {
        let label = "node-role.kubernetes.io/control-plane".to_owned();
        labels.insert(label, "true".to_owned());
    }
    Node {
        metadata: ObjectMeta {
            name: Some(options.name.clone()),
            labels: Some(labels),
            ..ObjectMeta::default()
        },
        spec: Some(NodeSpec {
            provider_id: Some(format!("k3s://{}", options.name)),
            ..NodeSpec::default()
        }),
        status: None,
    }
}

fn status(options: &KubeletOptions, machine: &Machine, started: Timestamp, now: Timestamp) -> Node {
    let condition = |type_: &str, status: &str, reason: &str, message: &str| NodeCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_heartbeat_time: Some(Time(now)),
        last_transition_time: Some(Time(started)),
    };
    let address = |type_: &str, address: String| NodeAddress {
        type_: type_.to_owned(),
        address,
    };
    let resources = BTreeMap::from([
        ("cpu".to_owned(), Quantity(machine.processors.to_string())),
        (
            "memory".to_owned(),
            Quantity(format!("{}Ki", machine.memory_kib)),
        ),
        ("pods".to_owned(), Quantity("110".to_owned())),
    ]);
    let mut conditions = vec![
        condition(
            "MemoryPressure",
            "False",
            "KubeletHasSufficientMemory",
            "kubelet has sufficient memory available",
        ),
        condition(
            "DiskPressure",
            "False",
            "KubeletHasNoDiskPressure",
            "kubelet has no disk pressure",
        ),
        condition(
            "PIDPressure",
            "False",
            "KubeletHasSufficientPID",
            "kubelet has sufficient PID available",
        ),
        condition(
            "Ready",
            "True",
            "KubeletReady",
            "the sandbox kubelet is posting ready status",
        ),
    ];
    // As k3s says it of its servers.
    conditions.extend(options.etcd.as_ref().map(|file| {
        let (truth, reason, message) = if file.exists() {
            ("True", "MemberIsVoter", "the node votes in etcd")
        } else {
            ("False", "MemberNotFound", "the node has no member of etcd")
        };
        condition("EtcdIsVoter", truth, reason, message)
    }));
    let registered = node(options);
    let architecture = &registered.metadata.labels.unwrap_or_default()["kubernetes.io/arch"];
    Node {
        metadata: ObjectMeta {
            name: Some(options.name.clone()),
            ..ObjectMeta::default()
        },
        spec: None,
        status: Some(NodeStatus {
            addresses: Some(vec![
                address("InternalIP", options.address.to_string()),
                address("Hostname", options.name.clone()),
            ]),
            allocatable: Some(resources.clone()),
            capacity: Some(resources),
            conditions: Some(conditions),
            node_info: Some(NodeSystemInfo {
                architecture: architecture.clone(),
                boot_id: machine.boot_id.clone(),
                container_runtime_version: "sandbox://0".to_owned(),
                kernel_version: machine.kernel.clone(),
                kube_proxy_version: options.kubelet_version.clone(),
                kubelet_version: options.kubelet_version.clone(),
                machine_id: machine.machine_id.clone(),
                operating_system: "linux".to_owned(),
                os_image: machine.os_image.clone(),
                system_uuid: machine.machine_id.clone(),
                swap: None,
            }),
            ..NodeStatus::default()
        }),
    }
}

fn lease(name: &str, now: Timestamp) -> Lease {
    Lease {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(name.to_owned()),
            lease_duration_seconds: Some(LEASE_SECONDS),
            renew_time: Some(MicroTime(now)),
            ..LeaseSpec::default()
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(role: Role) -> KubeletOptions {
        KubeletOptions {
            name: "cp-01".to_owned(),
            address: IpAddr::from([10, 77, 0, 11]),
            role,
            kubelet_version: "v1.32.4+k3s1".to_owned(),
            servers: vec![],
            token_file: "/run/k3s/agent/token".into(),
            etcd: None,
        }
    }

    #[test]
    fn only_a_control_plane_has_the_label_of_one() {
        let label = |role| {
            let labels = node(&options(role)).metadata.labels.unwrap();
            labels.get("node-role.kubernetes.io/control-plane").cloned()
        };
        assert_eq!(label(Role::ControlPlane).as_deref(), Some("true"));
        assert_eq!(label(Role::Worker), None);
    }

    #[test]
    fn a_heartbeat_is_new_but_the_transition_stays() {
        let (started, now) = (Timestamp::UNIX_EPOCH, Timestamp::now());
        let node = status(&options(Role::Worker), &Machine::default(), started, now);
        let conditions = node.status.unwrap().conditions.unwrap();
        let ready = conditions
            .iter()
            .find(|condition| condition.type_ == "Ready")
            .unwrap();
        assert_eq!(ready.status, "True");
        assert_eq!(ready.last_heartbeat_time, Some(Time(now)));
        assert_eq!(ready.last_transition_time, Some(Time(started)));
    }

    #[test]
    fn memory_and_name_of_the_system_are_read_from_their_files() {
        assert_eq!(
            memory_kib("MemTotal:       24684088 kB\nMemFree: 1 kB"),
            24_684_088
        );
        assert_eq!(
            pretty_name("ID=nixos\nPRETTY_NAME=\"NixOS 25.05\"\n"),
            "NixOS 25.05"
        );
    }
}
