//! The files of a host when it is new: users, SSH server, Nix, and an `os-release` that says
//! NixOS.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::{HostOptions, set_mode};
use crate::state::{StateError, file_error};

/// Where the programs of a host are.
pub(super) const PATH: &str =
    "/opt/nico/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const SSHD_CONFIG: &str = "\
ListenAddress 0.0.0.0:22
HostKey /etc/ssh/ssh_host_ed25519_key
AuthorizedKeysFile /etc/ssh/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
PidFile none
PrintMotd no
MaxStartups 100
MaxSessions 100
Subsystem sftp internal-sftp
";

/// Root without a daemon, and nobody to download from.
const NIX_CONF: &str = "\
experimental-features = nix-command flakes
build-users-group =
sandbox = false
substitute = false
";

const OS_RELEASE: &str = "\
ID=nixos
NAME=NixOS
PRETTY_NAME=\"NixOS (a host of nico sandbox)\"
VERSION=\"25.05 (sandbox)\"
VERSION_ID=\"25.05\"
";

const GROUPS: &str = "root:x:0:\nshadow:x:42:\nsshd:x:33:\nnogroup:x:65534:\n";

const NSSWITCH: &str = "passwd: files\ngroup: files\nshadow: files\nhosts: files\n";

/// Writes everything that a new host has on its disk.
pub(super) fn write(
    disk: &Path,
    options: &HostOptions,
    private_key: &str,
) -> Result<(), StateError> {
    let name = &options.name;
    for path in [
        "nix/store",
        "nix/var/nix/profiles",
        "etc/nix",
        "etc/ssh",
        "var/lib",
        "var/log",
        "root",
        "home",
        "tmp",
    ] {
        let path = disk.join(path);
        fs::create_dir_all(&path).map_err(file_error("create", &path))?;
    }
    let files = [
        ("etc/group", GROUPS.to_owned(), 0o644),
        ("etc/shadow", shadow(), 0o640),
        ("etc/nsswitch.conf", NSSWITCH.to_owned(), 0o644),
        ("etc/hostname", format!("{name}\n"), 0o644),
        (
            "etc/hosts",
            format!("127.0.0.1 localhost\n127.0.1.1 {name}\n"),
            0o644,
        ),
        (
            "etc/machine-id",
            format!("{:032x}\n", rand::random::<u128>()),
            0o444,
        ),
        ("etc/os-release", OS_RELEASE.to_owned(), 0o644),
        ("etc/nix/nix.conf", NIX_CONF.to_owned(), 0o644),
        (
            "etc/ssh/sshd_config",
            format!("{SSHD_CONFIG}SetEnv PATH={PATH}\n"),
            0o644,
        ),
        (
            "etc/ssh/authorized_keys",
            format!("{}\n", options.authorized_key),
            0o600,
        ),
        (
            "etc/ssh/ssh_host_ed25519_key",
            private_key.to_owned(),
            0o600,
        ),
    ];
    for (path, content, mode) in files {
        write_file(&disk.join(path), &content, mode)?;
    }
    write_login_shell(disk, Duration::ZERO)
}

/// Sets the shell of root: the usual one, or one that waits before each command.
pub(super) fn write_login_shell(disk: &Path, delay: Duration) -> Result<(), StateError> {
    let shell = if delay.is_zero() {
        "/bin/sh"
    } else {
        let script = format!(
            "#!/bin/sh\nsleep {}\nexec /bin/sh \"$@\"\n",
            delay.as_secs_f64()
        );
        write_file(&disk.join("etc/slow-shell"), &script, 0o755)?;
        "/etc/slow-shell"
    };
    let users = format!(
        "root:x:0:0:root:/root:{shell}\n\
         sshd:x:33:65534:sshd:/run/sshd:/usr/sbin/nologin\n\
         nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
    );
    write_file(&disk.join("etc/passwd"), &users, 0o644)
}

/// No password lets anybody in: `*` is the hash of none.
fn shadow() -> String {
    ["root", "sshd", "nobody"]
        .map(|user| format!("{user}:*:19000:0:99999:7:::\n"))
        .concat()
}

/// Replaces the file as a whole, so that a reader sees the old one or the new one.
fn write_file(path: &Path, content: &str, mode: u32) -> Result<(), StateError> {
    let new = path.with_extension("new");
    fs::write(&new, content).map_err(file_error("write", &new))?;
    set_mode(&new, mode)?;
    fs::rename(&new, path).map_err(file_error("write", path))
}
