//! Troubles of a host that have nothing to do with what is put on it, told by what its tools say.

use nico_api::reason::ConfigurationReason;

/// What is wrong with a host, if its tools say so. It heals by itself once somebody corrected
/// it, so it is tried again for ever.
pub(super) fn of_the_host(said: &str) -> Option<ConfigurationReason> {
    const SIGNS: &[(&str, ConfigurationReason)] = &[
        ("no space left on device", ConfigurationReason::HostDiskFull),
        ("disk quota exceeded", ConfigurationReason::HostDiskFull),
        (
            "database or disk is full",
            ConfigurationReason::HostDiskFull,
        ),
        ("read-only file system", ConfigurationReason::HostReadOnly),
        (
            "remounting /nix/store writable",
            ConfigurationReason::HostReadOnly,
        ),
        ("readonly database", ConfigurationReason::HostReadOnly),
        ("sudo:", ConfigurationReason::RootRequired),
    ];
    let said = said.to_lowercase();
    let sign = SIGNS.iter().find(|(words, _)| said.contains(words));
    sign.map(|(_, reason)| *reason)
}

/// What a person can do about it.
pub(super) fn advice(reason: ConfigurationReason) -> Option<&'static str> {
    match reason {
        ConfigurationReason::HostDiskFull => Some(
            "free space on the machine: `nix-collect-garbage --delete-older-than 30d` as root, \
             or look with `df -h`; it goes on by itself",
        ),
        ConfigurationReason::HostReadOnly => Some(
            "look on the machine with `findmnt -t notmpfs` and `dmesg` why the file system is \
             read-only (a broken disk often is the cause), and mount it for writing; it goes on \
             by itself",
        ),
        ConfigurationReason::RootRequired => Some(
            "let the user use sudo without a password \
             (security.sudo.wheelNeedsPassword = false), or set spec.sshUser of the Machine to \
             root; it goes on by itself",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_is_told_by_what_the_tools_say() {
        use ConfigurationReason::{HostDiskFull, HostReadOnly, RootRequired};
        let cases = [
            (
                "error: writing to file: No space left on device",
                Some(HostDiskFull),
            ),
            (
                "error: creating directory '/nix/store/x': Read-only file system",
                Some(HostReadOnly),
            ),
            (
                "error: executing SQLite statement: attempt to write a readonly database",
                Some(HostReadOnly),
            ),
            ("sudo: a password is required", Some(RootRequired)),
            ("warning: the unit failed", None),
        ];
        for (said, expected) in cases {
            assert_eq!(of_the_host(said), expected, "{said}");
            assert_eq!(expected.is_some(), expected.and_then(advice).is_some());
        }
    }
}
