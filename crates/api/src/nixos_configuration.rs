//! `NixosConfiguration`: one NixOS flake output on one machine.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::core::Duration;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::references::{LocalReference, SecretKeyReference};

/// A NixOS configuration from a Git flake, to be put on one machine.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "nio.homystack.com",
    version = "v1alpha1",
    kind = "NixosConfiguration",
    plural = "nixosconfigurations",
    shortname = "nixconf",
    category = "nico",
    namespaced,
    status = "NixosConfigurationStatus",
    derive = "Default",
    derive = "PartialEq",
    doc = "A NixOS configuration from a Git flake that is kept on one Machine.",
    printcolumn(
        name = "Machine",
        type_ = "string",
        json_path = ".spec.machineRef.name",
        description = "The machine that carries the configuration"
    ),
    printcolumn(
        name = "Flake",
        type_ = "string",
        json_path = ".spec.flake",
        description = "The flake output"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "Whether the machine runs what is wanted"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
        description = "Why it is ready or not"
    ),
    printcolumn(
        name = "Commit",
        type_ = "string",
        json_path = ".status.appliedCommit",
        description = "The Git commit that is applied",
        priority = 1
    ),
    printcolumn(
        name = "System",
        type_ = "string",
        json_path = ".status.systemPath",
        description = "The store path that runs",
        priority = 1
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Time since creation"
    )
)]
#[x_kube(
    validation = Rule::new("(has(self.gitRepo) && size(self.gitRepo) > 0) || !self.flake.startsWith('#') && !self.flake.startsWith('.#')")
        .message("gitRepo is needed unless flake is a full reference such as github:owner/repo#name")
)]
#[serde(rename_all = "camelCase")]
pub struct NixosConfigurationSpec {
    /// Git repository with the flake: an `https`, `http`, `ssh` or `file` URL, or
    /// `user@host:path`. `file` only when the operator runs with `NIO_ALLOW_FILE_URLS=true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 2048),
        regex(pattern = r"^((https?|ssh|file)://[^\s]+|[A-Za-z0-9._-]+@[A-Za-z0-9._-]+:[^\s]+)?$")
    )]
    pub git_repo: Option<String>,
    /// Branch, tag or full commit.
    #[serde(rename = "ref", default = "default_ref")]
    #[schemars(
        length(min = 1, max = 255),
        regex(pattern = r"^[^\s~^:?*\[\\-][^\s~^:?*\[\\]*$")
    )]
    pub reference: String,
    /// Secret with the credentials of the repository: `token`, or `username` and `password`, or
    /// `ssh-privatekey` and optionally `known_hosts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_ref: Option<LocalReference>,
    /// Flake output: `#name` or `.#name` in `gitRepo`, or a full reference such as
    /// `github:owner/repo/ref#name`, which replaces `gitRepo` and `ref`.
    #[schemars(
        length(min = 2, max = 1024),
        regex(pattern = r"^[^\s#]*#[A-Za-z0-9_][A-Za-z0-9_.-]*$")
    )]
    pub flake: String,
    /// Flake output that is applied when this object is deleted, in the forms of `flake`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 1024),
        regex(pattern = r"^([^\s#]*#[A-Za-z0-9_][A-Za-z0-9_.-]*)?$")
    )]
    pub on_remove_flake: Option<String>,
    /// Directory of `flake.nix` in the repository: relative, without `..`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = ("!self.startsWith('/') && !self.split('/').exists(part, part == '..')", "configurationSubdir must be relative and must not contain '..'"))]
    #[schemars(length(max = 1024))]
    pub configuration_subdir: Option<String>,
    /// Install the machine from scratch once, with `nixos-anywhere`. Wipes the disk.
    #[serde(default)]
    pub full_install: bool,
    /// The machine, in the same namespace.
    pub machine_ref: LocalReference,
    /// Files that are added to the flake or to the host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub additional_files: Vec<AdditionalFile>,
    /// How the configuration is activated, confirmed and undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation: Option<Activation>,
    /// Evaluate, build and copy, and leave the host as it is: `status.staged` says what would
    /// be activated. It is activated when this becomes false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hold: bool,
}

/// A file beside the sources of the flake, or on the host.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[x_kube(validation = ("self.valueType != 'Inline' || has(self.inline)", "valueType Inline needs inline"))]
#[x_kube(validation = ("self.valueType != 'SecretRef' || has(self.secretRef)", "valueType SecretRef needs secretRef"))]
#[serde(rename_all = "camelCase")]
pub struct AdditionalFile {
    /// Where the file goes: relative, without `..`. Under `configurationSubdir` when it is
    /// delivered with the flake, under `/var/lib/nio/files/` when it is delivered to the host.
    #[x_kube(validation = ("!self.startsWith('/') && !self.split('/').exists(part, part == '..' || part == '' || part == '.')", "path must be relative and must not contain '..', '.' or empty parts"))]
    #[schemars(length(min = 1, max = 1024))]
    pub path: String,
    /// Where the content comes from.
    pub value_type: ValueType,
    /// The content, for `Inline`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 524288))]
    pub inline: Option<String>,
    /// The Secret that holds the content, for `SecretRef`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKeyReference>,
    /// Where the file is put. `Flake`: beside the sources, so it ends in the world-readable Nix
    /// store. `Host`: on the host only, never in a store.
    #[serde(default)]
    pub deliver: Delivery,
    /// Octal permissions of a file that is delivered to the host; `0400` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^0?[0-7]{3}$"))]
    pub mode: Option<String>,
    /// Owner of a file that is delivered to the host: `user` or `user:group`; `root:root` when
    /// absent. One that the configuration itself creates gets the file after the activation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[A-Za-z_][A-Za-z0-9._-]*(:[A-Za-z_][A-Za-z0-9._-]*)?$"))]
    pub owner: Option<String>,
}

/// Where the content of an additional file comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ValueType {
    /// From the field `inline`.
    #[default]
    Inline,
    /// From a key of a Secret.
    SecretRef,
    /// From the `nixos-facter` report of the machine.
    NixosFacter,
}

/// Where an additional file is put.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Delivery {
    /// Beside the sources of the flake.
    #[default]
    Flake,
    /// On the host only.
    Host,
}

/// How a configuration is activated, confirmed and undone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Activation {
    /// What `switch-to-configuration` is asked to do.
    #[serde(default)]
    pub action: ActivationAction,
    /// How long the host waits for a confirmation over a new connection before it goes back.
    #[serde(default = "default_confirm_timeout")]
    #[schemars(schema_with = "crate::schema::duration")]
    pub confirm_timeout: Duration,
    /// Whether the host goes back to the previous generation when nobody confirms.
    #[serde(default = "default_true")]
    pub rollback: bool,
    /// Whether the machine may be rebooted.
    #[serde(default)]
    pub reboot: RebootPolicy,
}

impl Default for Activation {
    fn default() -> Self {
        Self {
            action: ActivationAction::default(),
            confirm_timeout: default_confirm_timeout(),
            rollback: true,
            reboot: RebootPolicy::default(),
        }
    }
}

/// What `switch-to-configuration` is asked to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ActivationAction {
    /// Now and at the next boot.
    #[default]
    Switch,
    /// At the next boot only.
    Boot,
    /// Now, but not at the next boot.
    Test,
}

/// Whether a machine may be rebooted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RebootPolicy {
    /// Never; `rebootRequired` says when it would be needed.
    #[default]
    Never,
    /// When kernel, initrd or kernel modules changed.
    IfNeeded,
}

/// What is known of a configuration on its machine.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NixosConfigurationStatus {
    /// Generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The machine that carries the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_machine: Option<String>,
    /// Git commit that is applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied_commit: Option<String>,
    /// Time at which the configuration was last applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_applied_time: Option<Time>,
    /// Hash (`sha256:…`) of all that decides what the machine should run, except the commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration_hash: Option<String>,
    /// Hash (`sha256:…`) of paths and contents of the additional files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub additional_files_hash: Option<String>,
    /// True after one successful full install; never causes a second one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_disk_install_completed: Option<bool>,
    /// When the full install began, which may have wiped the disk since. Another one is not
    /// begun unless the annotation `nio.homystack.com/repeat-full-install` has this very time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_install_started_time: Option<Time>,
    /// Nix store path of the system that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_path: Option<String>,
    /// Generation number of the system profile on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// Whether the running kernel, initrd or modules are older than the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reboot_required: Option<bool>,
    /// Paths, below `/var/lib/nio/files`, of the files that were delivered to the host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host_files: Vec<String>,
    /// What is on the host and waits for its activation, while `spec.hold` is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staged: Option<StagedSystem>,
    /// The last time that a change of the host was attempted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_attempt: Option<Attempt>,
    /// Conditions `Ready`, `SourceReady`, `Evaluated`, `Built`, `Copied`, `Activated`, `Stalled`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::conditions")]
    pub conditions: Vec<Condition>,
}

/// A system that was evaluated, built and copied to the host, and is not active.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StagedSystem {
    /// Git commit.
    pub commit: String,
    /// Nix store path of the system.
    pub system_path: String,
    /// Version of Kubernetes in the closure, such as `1.31.4`; absent when it cannot be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes_version: Option<String>,
}

/// One attempt to change a host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// Git commit that was attempted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// When the attempt began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When the attempt ended; absent while it is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// The step that was reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<Step>,
    /// How it ended; absent while it is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// The last lines that the tool said, without secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Number of failed attempts in a row for the same wanted state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failures: Option<i64>,
    /// How many attempts for the same wanted state were rolled back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollbacks: Option<i64>,
    /// Hash (`sha256:…`) of the wanted state that was attempted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_hash: Option<String>,
}

/// The steps of an apply, in their order.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Step {
    /// The Git reference is resolved and the commit exported.
    Source,
    /// The additional files are gathered.
    Files,
    /// The flake output is evaluated to a derivation.
    Evaluate,
    /// The derivation is built.
    Build,
    /// The machine is installed from scratch, instead of copying and activating.
    Install,
    /// The closure is copied to the host.
    Copy,
    /// The system profile is set and the configuration switched to.
    Activate,
    /// The host answers over a new connection.
    Confirm,
    /// The result is recorded.
    Record,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Outcome {
    /// The host runs the wanted configuration.
    Succeeded,
    /// A step failed.
    Failed,
    /// The host went back to the previous generation.
    RolledBack,
}

/// The condition types of a NixosConfiguration.
pub mod conditions {
    /// The machine runs what is wanted.
    pub const READY: &str = "Ready";
    /// The commit is known and exported.
    pub const SOURCE_READY: &str = "SourceReady";
    /// The flake output evaluates.
    pub const EVALUATED: &str = "Evaluated";
    /// The system is built.
    pub const BUILT: &str = "Built";
    /// The closure is on the host.
    pub const COPIED: &str = "Copied";
    /// The system is active and confirmed.
    pub const ACTIVATED: &str = "Activated";
    /// Nothing more is tried until something changes.
    pub const STALLED: &str = "Stalled";
}

impl NixosConfigurationSpec {
    /// How the configuration is activated, with the defaults filled in.
    pub fn activation(&self) -> Activation {
        self.activation.clone().unwrap_or_default()
    }
}

fn default_ref() -> String {
    "main".to_owned()
}

fn default_confirm_timeout() -> Duration {
    Duration::from(std::time::Duration::from_secs(60))
}

fn default_true() -> bool {
    true
}
