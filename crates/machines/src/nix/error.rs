//! What went wrong with Nix, told apart.

use nico_api::reason::ConfigurationReason;
use nico_runtime::category::{Categorized, Category};

use crate::program::ProgramError;

/// A step of Nix that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum NixError {
    /// The flake output does not evaluate.
    #[error("the flake output {output} does not evaluate: {source}")]
    Evaluate {
        /// The output.
        output: String,
        /// How it failed.
        source: ProgramError,
    },
    /// The flake output needs more memory than an evaluation may have.
    #[error(
        "the flake output {output} needs more memory to evaluate than it may have, which is {} (NIO_EVAL_MEMORY of the operator); let the flake need less, or start the operator with more: {source}",
        memory(*ceiling)
    )]
    EvaluationMemory {
        /// The output.
        output: String,
        /// How much it may have, in bytes.
        ceiling: u64,
        /// How it failed.
        source: ProgramError,
    },
    /// The evaluation was killed from outside, as the kernel does when memory runs out.
    #[error(
        "the evaluation of the flake output {output} was killed, most likely because the memory of the operator ran out; give the operator more than the {} that each evaluation may have (NIO_EVAL_MEMORY), or lower that: {source}",
        memory(*ceiling)
    )]
    EvaluationKilled {
        /// The output.
        output: String,
        /// How much memory it may have, in bytes.
        ceiling: u64,
        /// How it ended.
        source: ProgramError,
    },
    /// The derivation does not build on the host.
    #[error("{derivation} does not build on {host} (status {status}):\n{tail}")]
    RemoteBuild {
        /// The derivation.
        derivation: String,
        /// The host.
        host: String,
        /// Exit status.
        status: u32,
        /// Its last words.
        tail: String,
    },
    /// The host could not be asked to build.
    #[error("cannot build on {host}: {source}")]
    Session {
        /// The host.
        host: String,
        /// How it failed.
        source: nico_ssh::RunError,
    },
    /// The derivation does not build.
    #[error("{derivation} does not build: {source}")]
    Build {
        /// The derivation.
        derivation: String,
        /// How it failed.
        source: ProgramError,
    },
    /// The closure could not be copied.
    #[error("cannot copy {path} to {host}: {source}")]
    Copy {
        /// The store path.
        path: String,
        /// The host.
        host: String,
        /// How it failed.
        source: ProgramError,
    },
    /// Nix answered something that is not what it should be.
    #[error("nix {task} answered {answer:?}, which is not {expected}")]
    UnexpectedAnswer {
        /// What it was asked to do.
        task: &'static str,
        /// What it answered, shortened.
        answer: String,
        /// What was expected.
        expected: &'static str,
    },
    /// The operator's own files.
    #[error("cannot write {path}: {source}")]
    Storage {
        /// The file or directory.
        path: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The machine could not be installed from scratch.
    #[error("the installation of {host} from scratch failed: {source}")]
    Install {
        /// The host.
        host: String,
        /// How it failed.
        source: ProgramError,
    },
    /// There is no program that installs from scratch.
    #[error(
        "{program} is not in the PATH of the operator, and spec.fullInstall needs it; run an image that has it, or install it beside the operator (`nix profile install nixpkgs#nixos-anywhere`), or install NixOS by hand and set spec.fullInstall to false"
    )]
    InstallerMissing {
        /// The program.
        program: String,
    },
    /// No agent for the private key of the machine.
    #[error(transparent)]
    Agent(nico_ssh::AgentError),
    /// No way to a machine with a password only.
    #[error(transparent)]
    Bridge(nico_ssh::BridgeError),
}

impl NixError {
    fn program(&self) -> Option<&ProgramError> {
        match self {
            Self::Evaluate { source, .. }
            | Self::EvaluationMemory { source, .. }
            | Self::EvaluationKilled { source, .. }
            | Self::Build { source, .. }
            | Self::Copy { source, .. }
            | Self::Install { source, .. } => Some(source),
            Self::UnexpectedAnswer { .. }
            | Self::RemoteBuild { .. }
            | Self::Session { .. }
            | Self::Storage { .. }
            | Self::InstallerMissing { .. }
            | Self::Agent(_)
            | Self::Bridge(_) => None,
        }
    }

    /// The reason that a condition gives.
    pub fn reason(&self) -> ConfigurationReason {
        if let Some(ProgramError::TimedOut { .. }) = self.program() {
            return ConfigurationReason::TimedOut;
        }
        match self {
            Self::Evaluate { .. }
            | Self::EvaluationMemory { .. }
            | Self::EvaluationKilled { .. } => ConfigurationReason::EvaluationFailed,
            Self::Build { .. } | Self::RemoteBuild { .. } | Self::Session { .. } => {
                ConfigurationReason::BuildFailed
            }
            Self::Copy { .. } | Self::Agent(_) | Self::Bridge(_) => ConfigurationReason::CopyFailed,
            Self::Install { .. } => ConfigurationReason::InstallFailed,
            Self::InstallerMissing { .. } => ConfigurationReason::InstallerMissing,
            Self::UnexpectedAnswer { .. } | Self::Storage { .. } => {
                ConfigurationReason::InternalError
            }
        }
    }
}

impl Categorized for NixError {
    /// An evaluation or a build that fails by itself is the user's to correct; one that could
    /// not be tried (network, disk, memory, a store that was cleaned in between) is not.
    fn category(&self) -> Category {
        match self {
            Self::Evaluate { source, .. } | Self::Build { source, .. } => match source {
                killed if killed.was_killed() => Category::Transient,
                ProgramError::Failed { tail, .. } if !is_outage(tail) => Category::InvalidInput,
                _ => Category::Transient,
            },
            Self::RemoteBuild { tail, .. } if is_outage(tail) => Category::Transient,
            // A disk that may be wiped already is not wiped again by itself.
            Self::Install { .. } | Self::RemoteBuild { .. } | Self::EvaluationMemory { .. } => {
                Category::InvalidInput
            }
            Self::Agent(error) => error.category(),
            Self::Bridge(error) => error.category(),
            Self::InstallerMissing { .. } => Category::Waiting,
            Self::UnexpectedAnswer { .. } => Category::Bug,
            Self::EvaluationKilled { .. }
            | Self::Session { .. }
            | Self::Copy { .. }
            | Self::Storage { .. } => Category::Transient,
        }
    }
}

/// Bytes as people write them.
fn memory(bytes: u64) -> String {
    const UNITS: [(&str, u32); 3] = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let whole = UNITS
        .iter()
        .find(|(_, bits)| bytes >= 1 << bits && bytes.is_multiple_of(1 << bits));
    whole.map_or_else(
        || format!("{bytes} bytes"),
        |(unit, bits)| format!("{} {unit}", bytes >> bits),
    )
}

/// Whether Nix failed because of something around it rather than what it was given.
fn is_outage(tail: &str) -> bool {
    const OUTAGES: &[&str] = &[
        "unable to download",
        "could not resolve host",
        "couldn't resolve host",
        "connection refused",
        "connection timed out",
        "timeout was reached",
        "connection reset",
        "network is unreachable",
        "no route to host",
        "no space left on device",
        "cannot allocate memory",
        "out of memory",
        "too many open files",
        "database is locked",
        "database is busy",
        "sqlite",
        ".drv' is not valid",
        "is not a valid derivation",
    ];
    let tail = tail.to_lowercase();
    OUTAGES.iter().any(|words| tail.contains(words))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;

    fn evaluation(tail: &str) -> NixError {
        NixError::Evaluate {
            output: "web".to_owned(),
            source: ProgramError::Failed {
                program: "nix".to_owned(),
                status: ExitStatus::from_raw(256),
                tail: tail.to_owned(),
            },
        }
    }

    #[test]
    fn mistakes_in_the_flake_are_the_users_and_outages_are_not() {
        let cases = [
            ("error: undefined variable 'pkgs'", Category::InvalidInput),
            (
                "error: flake 'path:/x' does not provide attribute 'y'",
                Category::InvalidInput,
            ),
            (
                "error: unable to download 'https://github.com/a': Couldn't resolve host name",
                Category::Transient,
            ),
            (
                "error: writing to file: No space left on device",
                Category::Transient,
            ),
            (
                "error: path '/nix/store/abc-system.drv' is not valid",
                Category::Transient,
            ),
        ];
        for (tail, expected) in cases {
            assert_eq!(evaluation(tail).category(), expected, "{tail}");
        }
    }

    #[test]
    fn memory_is_written_in_the_largest_unit_that_is_whole() {
        for (bytes, expected) in [
            (4 << 30, "4 GiB"),
            (1536 << 20, "1536 MiB"),
            (1000, "1000 bytes"),
        ] {
            assert_eq!(memory(bytes), expected);
        }
    }

    #[test]
    fn a_deadline_is_not_the_users_mistake() {
        let error = NixError::Build {
            derivation: "x.drv".to_owned(),
            source: ProgramError::TimedOut {
                program: "nix-store".to_owned(),
                after: std::time::Duration::from_secs(1),
                tail: String::new(),
            },
        };
        assert_eq!(error.category(), Category::Transient);
        assert_eq!(error.reason(), ConfigurationReason::TimedOut);
    }
}
