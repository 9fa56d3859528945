//! What a sandbox needs of the machine that it runs on.

use std::env;
use std::path::{Path, PathBuf};

/// Programs and the Debian packages that have them.
const PROGRAMS: &[(&str, &str)] = &[
    ("git", "git"),
    ("ip", "iproute2"),
    ("mount", "mount"),
    ("nix", "nix-bin"),
    ("nix-store", "nix-bin"),
    ("nsenter", "util-linux"),
    ("pivot_root", "util-linux"),
    ("setsid", "util-linux"),
    ("ssh", "openssh-client"),
    ("sshd", "openssh-server"),
    ("unshare", "util-linux"),
];

/// What is missing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum MissingTools {
    /// Namespaces cannot be made by anybody else.
    #[error("a sandbox makes network namespaces and mounts, so it must run as root")]
    NotRoot,
    /// Programs that are not installed.
    #[error("not installed: {}; on Debian: apt-get install {}", programs.join(", "), packages.join(" "))]
    Programs {
        /// Their names.
        programs: Vec<&'static str>,
        /// The packages that have them.
        packages: Vec<&'static str>,
    },
    /// Hosts and operator have a `/nix` of their own, in which this Nix is not.
    #[error("{} is inside /nix, which a sandbox replaces; it needs Debian's package nix-bin", .0.display())]
    NixInsideStore(PathBuf),
}

/// Checks that a sandbox can be made; `also` are further programs with their packages.
///
/// # Errors
/// What is missing, all of it.
pub fn check(also: &[(&'static str, &'static str)]) -> Result<(), MissingTools> {
    let (mut programs, mut packages) = (Vec::new(), Vec::new());
    for (program, package) in PROGRAMS.iter().chain(also) {
        if find(program).is_none() {
            programs.push(*program);
            packages.push(*package);
        }
    }
    packages.dedup();
    if !programs.is_empty() {
        return Err(MissingTools::Programs { programs, packages });
    }
    if let Some(nix) = find("nix").and_then(|path| path.canonicalize().ok())
        && nix.starts_with("/nix")
    {
        return Err(MissingTools::NixInsideStore(nix));
    }
    is_root().then_some(()).ok_or(MissingTools::NotRoot)
}

/// Says that a test is skipped, and why.
///
/// # Panics
/// When `NICO_REQUIRE_ALL=1` forbids to skip.
pub fn skip(why: &str) {
    let required = env::var_os("NICO_REQUIRE_ALL").is_some_and(|value| value == "1");
    assert!(!required, "NICO_REQUIRE_ALL=1, but: {why}");
    skip_unpackaged(why);
}

/// Says that a test is skipped, and why, also when nothing else may be: Debian has no package of
/// what it needs.
#[expect(
    clippy::print_stderr,
    reason = "where test runners look for what a test says"
)]
pub fn skip_unpackaged(why: &str) {
    eprintln!("SKIPPED, nothing was tested: {why}");
}

/// Where a program is. Users other than root often have no `/usr/sbin` in their path.
fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    Path::new("/proc/self")
        .metadata()
        .is_ok_and(|process| process.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named_with_its_package() {
        let missing = check(&[("no-such-program", "no-such-package")]).unwrap_err();
        let MissingTools::Programs { programs, packages } = missing else {
            panic!("{missing}");
        };
        assert!(programs.contains(&"no-such-program"));
        assert!(packages.contains(&"no-such-package"));
    }

    #[test]
    fn programs_of_sbin_are_found_without_it_in_the_path() {
        assert!(find("mount").is_some());
        assert!(find("no-such-program").is_none());
    }
}
