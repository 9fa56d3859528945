//! `Machine`: one computer that is reached over SSH.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::references::{PasswordReference, SecretReference};

/// A computer that NICO reaches over SSH.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "nio.homystack.com",
    version = "v1alpha1",
    kind = "Machine",
    plural = "machines",
    shortname = "mach",
    category = "nico",
    namespaced,
    status = "MachineStatus",
    derive = "Default",
    derive = "PartialEq",
    doc = "A computer that is reached over SSH and can carry one NixOS configuration.",
    printcolumn(
        name = "Hostname",
        type_ = "string",
        json_path = ".spec.hostname",
        description = "DNS name of the machine"
    ),
    printcolumn(
        name = "IP Address",
        type_ = "string",
        json_path = ".spec.ipAddress",
        description = "Address that is preferred over the DNS name"
    ),
    printcolumn(
        name = "Discoverable",
        type_ = "boolean",
        json_path = ".status.discoverable",
        description = "Whether the machine answered over SSH lately"
    ),
    printcolumn(
        name = "Has Config",
        type_ = "boolean",
        json_path = ".status.hasConfiguration",
        description = "Whether a NixosConfiguration is on the machine"
    ),
    printcolumn(
        name = "Applied Config",
        type_ = "string",
        json_path = ".status.appliedConfiguration",
        description = "The NixosConfiguration that is on the machine"
    ),
    printcolumn(
        name = "Cluster",
        type_ = "string",
        json_path = r#".metadata.labels.nico\.homystack\.com/cluster"#,
        description = "The cluster that claimed the machine"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Time since creation"
    )
)]
#[x_kube(
    validation = Rule::new("(has(self.hostname) && size(self.hostname) > 0) || (has(self.ipAddress) && size(self.ipAddress) > 0)")
        .message("set hostname or ipAddress, so that the machine can be reached")
)]
#[serde(rename_all = "camelCase")]
pub struct MachineSpec {
    /// DNS name or address of the machine. Used when `ipAddress` is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253), regex(pattern = r"^[A-Za-z0-9]?[A-Za-z0-9.:_-]*$"))]
    pub hostname: Option<String>,
    /// IPv4 or IPv6 address of the machine; preferred over `hostname`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 45), regex(pattern = r"^[0-9A-Fa-f.:]*$"))]
    pub ip_address: Option<String>,
    /// User to log in as. Another user than root needs `sudo` without a password.
    #[serde(default = "default_ssh_user")]
    #[schemars(
        length(min = 1, max = 32),
        regex(pattern = r"^[A-Za-z_][A-Za-z0-9._-]*\$?$")
    )]
    pub ssh_user: String,
    /// TCP port of the SSH server.
    #[serde(default = "default_ssh_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub ssh_port: i32,
    /// Secret with the private key, in OpenSSH or PEM form, under the key `ssh-privatekey`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_key_secret_ref: Option<SecretReference>,
    /// Secret with the password, which is tried when no key is accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_password_secret_ref: Option<PasswordReference>,
    /// Public host keys of the machine in OpenSSH form (`ssh-ed25519 AAAA…`). When set, no
    /// other host key is trusted; when empty, the first key that is seen is pinned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub ssh_host_keys: Vec<String>,
    /// A machine in maintenance is probed and reported, but neither selected for a cluster nor
    /// changed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub maintenance: bool,
}

/// What is known of a machine.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MachineStatus {
    /// Generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Whether a session was opened and a command answered, lately.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discoverable: Option<bool>,
    /// Time of the last probe that succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen_time: Option<Time>,
    /// Whether a NixosConfiguration is on the machine, or is being put on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub has_configuration: Option<bool>,
    /// Name of the NixosConfiguration that is on the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied_configuration: Option<String>,
    /// Git commit of the configuration that is on the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied_commit: Option<String>,
    /// Time at which the configuration was last applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_applied_time: Option<Time>,
    /// Facts about hardware and operating system; what is not known is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::free_form")]
    pub hardware_facts: Option<Map<String, Value>>,
    /// Time at which the facts were last gathered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_hardware_scan_time: Option<Time>,
    /// Report of `nixos-facter`, when the machine has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::free_form")]
    pub nix_facter_result: Option<Map<String, Value>>,
    /// Fingerprints (`SHA256:…`) of the host keys that are trusted for this machine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ssh_host_key_fingerprints: Vec<String>,
    /// Conditions `Reachable`, `HardwareInspected`, `Ready` and `NeedsCleanup`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::conditions")]
    pub conditions: Vec<Condition>,
}

/// The condition types of a Machine.
pub mod conditions {
    /// The machine answers over SSH.
    pub const REACHABLE: &str = "Reachable";
    /// Hardware facts were gathered.
    pub const HARDWARE_INSPECTED: &str = "HardwareInspected";
    /// The machine is reachable, inspected and needs no attention.
    pub const READY: &str = "Ready";
    /// A configuration was given up by force; the host still carries it.
    pub const NEEDS_CLEANUP: &str = "NeedsCleanup";
}

impl MachineSpec {
    /// The address to connect to: `ipAddress`, else `hostname`; `None` when both are empty.
    pub fn address(&self) -> Option<&str> {
        [&self.ip_address, &self.hostname]
            .into_iter()
            .find_map(|field| field.as_deref().filter(|text| !text.is_empty()))
    }

    /// The port to connect to, 1 to 65535; 22 for a value that is no port.
    pub fn port(&self) -> u16 {
        u16::try_from(self.ssh_port)
            .ok()
            .filter(|port| *port != 0)
            .unwrap_or(22)
    }
}

impl Machine {
    /// Whether the machine answered over SSH lately.
    pub fn is_discoverable(&self) -> bool {
        self.status
            .as_ref()
            .and_then(|status| status.discoverable)
            .unwrap_or(false)
    }

    /// Whether a NixosConfiguration is on the machine, or is being put on it.
    pub fn has_configuration(&self) -> bool {
        self.status
            .as_ref()
            .and_then(|status| status.has_configuration)
            .unwrap_or(false)
    }

    /// The value of a label, if the machine carries it.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.metadata
            .labels
            .as_ref()
            .and_then(|labels: &BTreeMap<_, _>| labels.get(name))
            .map(String::as_str)
    }

    /// A fact by its dotted name, such as `os.id`.
    pub fn fact(&self, dotted: &str) -> Option<&Value> {
        let facts = self.status.as_ref()?.hardware_facts.as_ref()?;
        let mut names = dotted.split('.');
        let first = facts.get(names.next()?)?;
        names.try_fold(first, |value, name| value.get(name))
    }
}

fn default_ssh_user() -> String {
    "root".to_owned()
}

fn default_ssh_port() -> i32 {
    22
}
