//! The settings of the operator: environment variables, or arguments of the same meaning.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use nico_runtime::backoff::Backoff;

use crate::duration::duration;
use crate::process::Process;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Namespace of the operator's own objects: the Lease and the pinned host keys. By default
    /// that of the kubeconfig or of the ServiceAccount.
    #[arg(long, env = "NICO_NAMESPACE", value_name = "NAME")]
    pub(super) namespace: Option<String>,
    #[command(flatten)]
    pub(super) process: Process,

    /// Repository of clusters that name none.
    #[arg(long, env = "NICO_DEFAULT_GIT_REPO", value_name = "URL")]
    default_git_repo: Option<String>,

    /// Folder for Git mirrors and for the trees that are evaluated.
    #[arg(
        long,
        env = "NIO_BASE_CONFIG_PATH",
        value_name = "DIR",
        default_value = "/var/lib/nico"
    )]
    base_config_path: PathBuf,
    /// Time between two probes of a machine.
    #[arg(long, env = "NIO_MACHINE_DISCOVERY_INTERVAL", value_name = "TIME", default_value = "60s", value_parser = duration)]
    machine_discovery_interval: Duration,
    /// Time between two inspections of a machine's hardware.
    #[arg(long, env = "NIO_HARDWARE_SCAN_INTERVAL", value_name = "TIME", default_value = "300s", value_parser = duration)]
    hardware_scan_interval: Duration,
    /// Time between two looks at a configuration or a Git reference.
    #[arg(long, env = "NIO_CONFIG_RECONCILE_INTERVAL", value_name = "TIME", default_value = "120s", value_parser = duration)]
    config_reconcile_interval: Duration,
    /// How long a build, a copy or an activation may take.
    #[arg(long, env = "NIO_NIXOS_APPLY_TIMEOUT", value_name = "TIME", default_value = "3600s", value_parser = duration)]
    nixos_apply_timeout: Duration,
    /// Wait after the first failure; it doubles with each further one.
    #[arg(long, env = "NIO_RETRY_BASE_DELAY", value_name = "TIME", default_value = "5s", value_parser = duration)]
    retry_base_delay: Duration,
    /// Longest wait after a failure.
    #[arg(long, env = "NIO_RETRY_MAX_DELAY", value_name = "TIME", default_value = "600s", value_parser = duration)]
    retry_max_delay: Duration,
    /// How long a Git mirror is kept that no configuration uses.
    #[arg(long, env = "NIO_KEEP_UNUSED_MIRRORS", value_name = "TIME", default_value = "24h", value_parser = duration)]
    keep_unused_mirrors: Duration,
    /// How much memory one evaluation of a flake may have.
    #[arg(long, env = "NIO_EVAL_MEMORY", value_name = "SIZE", default_value = "4Gi", value_parser = memory)]
    eval_memory: u64,
    /// Where systems are built: where the operator runs, once for all machines, or on each
    /// machine.
    #[arg(
        long,
        env = "NIO_BUILD_ON",
        value_name = "PLACE",
        default_value = "operator"
    )]
    build_on: BuildOn,
    /// How many machines are probed at once.
    #[arg(long, env = "NIO_PROBE_CONCURRENCY", value_name = "NUMBER", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    probe_concurrency: u16,
    /// Whether a Secret of another namespace may be used. It lets everybody who may make
    /// Machines use every Secret that the operator can read.
    #[arg(long, env = "NIO_ALLOW_CROSS_NAMESPACE_SECRETS", value_name = "BOOL", default_value_t = false, action = clap::ArgAction::Set)]
    allow_cross_namespace_secrets: bool,
    /// Whether `file` URLs may be used, which read the operator's own file system.
    #[arg(long, env = "NIO_ALLOW_FILE_URLS", value_name = "BOOL", default_value_t = false, action = clap::ArgAction::Set)]
    allow_file_urls: bool,
}

impl Arguments {
    /// What concerns the machine layer.
    pub(super) fn machines(&self) -> nico_machines::Settings {
        nico_machines::Settings {
            machines: nico_machines::machine::Settings {
                discovery_interval: self.machine_discovery_interval,
                hardware_scan_interval: self.hardware_scan_interval,
                probe_concurrency: usize::from(self.probe_concurrency),
                ..Default::default()
            },
            configurations: nico_machines::configuration::Settings {
                base_path: self.base_config_path.clone(),
                reconcile_interval: self.config_reconcile_interval,
                apply_timeout: self.nixos_apply_timeout,
                backoff: self.backoff(),
                allow_file_urls: self.allow_file_urls,
                keep_unused_mirrors: self.keep_unused_mirrors,
                evaluation_memory: self.eval_memory,
                build_on: self.build_on.into(),
                ..Default::default()
            },
            allow_cross_namespace_secrets: self.allow_cross_namespace_secrets,
        }
    }

    /// What concerns the cluster layer.
    pub(super) fn clusters(&self) -> nico_clusters::Settings {
        nico_clusters::Settings {
            default_git_repo: self.default_git_repo.clone(),
            allow_file_urls: self.allow_file_urls,
            allow_cross_namespace_secrets: self.allow_cross_namespace_secrets,
            source_interval: self.config_reconcile_interval,
            ..Default::default()
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff {
            base: self.retry_base_delay,
            max: self.retry_max_delay,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum BuildOn {
    Operator,
    Target,
}

impl From<BuildOn> for nico_machines::configuration::BuildOn {
    fn from(place: BuildOn) -> Self {
        match place {
            BuildOn::Operator => Self::Operator,
            BuildOn::Target => Self::Target,
        }
    }
}

/// A size in bytes, with the suffixes of Kubernetes quantities. With less than the least, Nix does
/// not even start.
fn memory(text: &str) -> Result<u64, String> {
    const LEAST: u64 = 128 << 20;
    const SUFFIXES: [(&str, u64); 6] = [
        ("Ki", 1 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
        ("k", 1_000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
    ];
    let (number, factor) = SUFFIXES
        .iter()
        .find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, *factor)))
        .unwrap_or((text, 1));
    let digits = number.bytes().all(|byte| byte.is_ascii_digit());
    let bytes = number.parse::<u64>().ok().filter(|_| digits);
    bytes
        .and_then(|number| number.checked_mul(factor))
        .filter(|bytes| *bytes >= LEAST)
        .ok_or_else(|| {
            "allowed are sizes from 128Mi on, as bytes or with Ki, Mi, Gi, k, M or G".to_owned()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_of_memory_is_bytes_or_has_a_suffix() {
        assert_eq!(memory("4Gi"), Ok(4 << 30));
        assert_eq!(memory("512Mi"), Ok(512 << 20));
        assert_eq!(memory("200M"), Ok(200_000_000));
        assert_eq!(memory("1073741824"), Ok(1 << 30));
        for bad in [
            "",
            "4",
            "1Mi",
            "4GB",
            "-4Gi",
            "+4Gi",
            "4 Gi",
            "1.5Gi",
            "99999999999999Gi",
        ] {
            assert!(memory(bad).is_err(), "{bad}");
        }
    }
}
