//! What an administrator can set.

use std::path::PathBuf;
use std::time::Duration;

use nico_runtime::backoff::Backoff;

use crate::{git, nix};

/// How configurations are applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Directory for mirrors, exports and the private trees of attempts
    /// (`NIO_BASE_CONFIG_PATH`). Only the operator may enter it.
    pub base_path: PathBuf,
    /// How long the answer of a Git server is shared, and how often a configuration is looked
    /// at when nothing happens (`NIO_CONFIG_RECONCILE_INTERVAL`).
    pub reconcile_interval: Duration,
    /// How long a build, a copy, an installation or an activation may take (`NIO_NIXOS_APPLY_TIMEOUT`).
    pub apply_timeout: Duration,
    /// How long to wait after failures.
    pub backoff: Backoff,
    /// Whether `file` URLs may be read (`NIO_ALLOW_FILE_URLS`).
    pub allow_file_urls: bool,
    /// How long a Git mirror is kept that no configuration uses (`NIO_KEEP_UNUSED_MIRRORS`).
    pub keep_unused_mirrors: Duration,
    /// How many evaluations may run at once.
    pub evaluations: usize,
    /// How much memory an evaluation may have, in bytes (`NIO_EVAL_MEMORY`).
    pub evaluation_memory: u64,
    /// Where systems are built (`NIO_BUILD_ON`).
    pub build_on: BuildOn,
    /// How many builds may run at once.
    pub builds: usize,
    /// How many closures may be copied at once.
    pub copies: usize,
    /// The program that installs from scratch; looked for in `PATH` unless it is a path.
    pub installer: PathBuf,
    /// Whether hosts fetch what they can from their own substituters.
    pub substitute_on_destination: bool,
}

/// Where systems are built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BuildOn {
    /// Where the operator runs, once for all hosts.
    #[default]
    Operator,
    /// On the host that will run it.
    Target,
}

impl Default for Settings {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            base_path: PathBuf::from("/var/lib/nico"),
            reconcile_interval: Duration::from_secs(120),
            apply_timeout: Duration::from_secs(3600),
            backoff: Backoff::RECONCILE,
            allow_file_urls: false,
            keep_unused_mirrors: Duration::from_secs(24 * 3600),
            evaluations: cores,
            evaluation_memory: 4 << 30,
            build_on: BuildOn::default(),
            builds: 2,
            copies: 8,
            installer: PathBuf::from("nixos-anywhere"),
            substitute_on_destination: true,
        }
    }
}

/// No evaluation takes longer than this, however long an apply may take.
const LONGEST_EVALUATION: Duration = Duration::from_secs(1200);

impl Settings {
    pub(super) fn git(&self) -> git::Settings {
        git::Settings {
            directory: self.base_path.join("git"),
            allow_file_urls: self.allow_file_urls,
            interval: self.reconcile_interval,
            backoff: self.backoff,
            lookup_deadline: Duration::from_secs(60).min(self.apply_timeout),
            fetch_deadline: Duration::from_secs(900).min(self.apply_timeout),
            keep_unused: self.keep_unused_mirrors,
        }
    }

    pub(super) fn nix(&self) -> nix::Settings {
        nix::Settings {
            home: self.home(),
            evaluations: self.evaluations,
            builds: self.builds,
            copies: self.copies,
            evaluate_memory: self.evaluation_memory,
            evaluate_deadline: LONGEST_EVALUATION.min(self.apply_timeout),
            build_deadline: self.apply_timeout,
            copy_deadline: self.apply_timeout,
            installer: self.installer.clone(),
            install_deadline: self.apply_timeout,
            substitute_on_destination: self.substitute_on_destination,
        }
    }

    /// Home directory of `nix`: its caches, and a `nix.conf` if somebody puts one there.
    pub(super) fn home(&self) -> PathBuf {
        self.base_path.join("home")
    }

    /// Directory of the private trees of attempts.
    pub(super) fn attempts(&self) -> PathBuf {
        self.base_path.join("attempts")
    }
}
