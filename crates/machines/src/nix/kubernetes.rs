//! Which version of Kubernetes a system holds, told by the names of its store paths.

/// Packages that hold a kubelet, the one that says most first.
const PACKAGES: [&str; 5] = ["k3s", "rke2", "k0s", "kubelet", "kubernetes"];

/// The version of Kubernetes among `paths`, one store path a line, such as `1.31.4`. `None` when
/// there is none, or more than one.
pub(super) fn version_in(paths: &str) -> Option<String> {
    PACKAGES.into_iter().find_map(|package| {
        let mut versions: Vec<&str> = paths
            .lines()
            .filter_map(|path| version_of(path, package))
            .collect();
        versions.sort_unstable();
        versions.dedup();
        match versions[..] {
            [version] => Some(version.to_owned()),
            _ => None,
        }
    })
}

/// `1.31.4` of `/nix/store/…-k3s-1.31.4+k3s1`.
fn version_of<'a>(path: &'a str, package: &str) -> Option<&'a str> {
    let name = path.rsplit('/').next()?.split_once('-')?.1;
    let version = name.strip_prefix(package)?.strip_prefix('-')?;
    let end = version
        .find(|character: char| !character.is_ascii_digit() && character != '.')
        .unwrap_or(version.len());
    let rest = &version[end..];
    let version = version[..end].trim_end_matches('.');
    // `k3s-1.31.4-doc` is another output of the same package.
    let is_version = version.split('.').count() >= 2
        && version.split('.').all(|number| !number.is_empty())
        && !rest.starts_with('-');
    is_version.then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(names: &[&str]) -> Option<String> {
        let paths: Vec<String> = names
            .iter()
            .map(|name| format!("/nix/store/6la6ykn8z7mkn8sd123pkfp93mvka13h-{name}"))
            .collect();
        version_in(&paths.join("\n"))
    }

    #[test]
    fn the_version_is_that_of_the_package_with_the_kubelet() {
        let table: &[(&[&str], Option<&str>)] = &[
            (
                &["k3s-1.31.4+k3s1", "kubernetes-1.29.0", "etc"],
                Some("1.31.4"),
            ),
            (&["rke2-1.30.1+rke2r1"], Some("1.30.1")),
            (&["k0s-1.30.1+k0s.0"], Some("1.30.1")),
            (&["kubelet-1.30.1", "kubernetes-1.30.1"], Some("1.30.1")),
            (&["kubernetes-1.30.1"], Some("1.30.1")),
            (&["k3s-1.30.1", "k3s-1.31.1"], None),
            (&["k3s-1.30.1", "k3s-1.30.1-doc"], Some("1.30.1")),
            (
                &["k3s-airgap-images", "unit-k3s.service", "linux-6.6.1"],
                None,
            ),
            (&[], None),
        ];
        for (names, expected) in table {
            assert_eq!(version(names).as_deref(), *expected, "{names:?}");
        }
    }
}
