//! What a commit says about its submodules. Pure.

use nico_api::names::{CommitId, GitUrl};
use nico_git::Credentials;

/// A repository within a repository, as one commit has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Submodule {
    /// Where it is in the tree.
    pub(super) path: String,
    /// Its URL, as `.gitmodules` has it: perhaps relative to that of the repository around it.
    pub(super) url: String,
    /// The commit that the tree names.
    pub(super) commit: CommitId,
}

/// The submodules of a tree.
///
/// `entries` is the answer of `git ls-tree -r -z`, `settings` that of `git config -z
/// --get-regexp` for `.gitmodules`. A submodule without a URL is an error, and named.
pub(super) fn read(entries: &str, settings: &str) -> Result<Vec<Submodule>, String> {
    let settings: Vec<(&str, &str)> = settings
        .split('\0')
        .filter_map(|setting| setting.split_once('\n'))
        .collect();
    let url_of = |path: &str| {
        let (key, _) = settings
            .iter()
            .find(|(key, value)| key.ends_with(".path") && *value == path)?;
        let key = format!("{}.url", key.trim_end_matches(".path"));
        let (_, url) = settings.iter().find(|(other, _)| *other == key)?;
        Some((*url).to_owned())
    };
    entries
        .split('\0')
        .filter_map(|entry| entry.split_once('\t'))
        .filter(|(about, _)| about.starts_with("160000 "))
        .map(|(about, path)| {
            let commit = about.split(' ').nth(2).and_then(|id| id.parse().ok());
            match (commit, url_of(path)) {
                (Some(commit), Some(url)) => Ok(Submodule {
                    path: path.to_owned(),
                    url,
                    commit,
                }),
                _ => Err(path.to_owned()),
            }
        })
        .collect()
}

/// The URL of a submodule, from that of the repository around it where it is relative.
pub(super) fn absolute(around: &GitUrl, url: &str) -> String {
    if !(url.starts_with("./") || url.starts_with("../")) {
        return url.to_owned();
    }
    let mut base = around.as_str().trim_end_matches('/');
    let mut rest = url;
    let mut separator = '/';
    loop {
        if let Some(after) = rest.strip_prefix("./") {
            rest = after;
        } else if let Some(after) = rest.strip_prefix("../") {
            rest = after;
            let end = base.rfind(['/', ':']).unwrap_or_default();
            separator = if base[end..].starts_with(':') {
                ':'
            } else {
                '/'
            };
            base = &base[..end];
        } else {
            return format!("{base}{separator}{rest}");
        }
    }
}

/// What to log in to a submodule with: what the repository around it has, on the same server and
/// with a URL of the same kind. Another server is none of its business.
pub(crate) fn credentials(around: &GitUrl, url: &GitUrl, credentials: &Credentials) -> Credentials {
    if server(around) == server(url) {
        credentials.clone()
    } else {
        Credentials::Anonymous
    }
}

/// How a server is reached: scheme, host and port.
fn server(url: &GitUrl) -> (&str, &str) {
    let (scheme, rest) = match url.as_str().split_once("://") {
        Some((scheme, rest)) => (scheme, rest.split('/').next().unwrap_or_default()),
        None => ("ssh", url.as_str().split(':').next().unwrap_or_default()),
    };
    (scheme, rest.rsplit_once('@').map_or(rest, |(_, host)| host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> GitUrl {
        text.parse().unwrap()
    }

    #[test]
    fn a_tree_names_its_submodules_and_gitmodules_where_they_are() {
        let commit = "a1".repeat(20);
        let entries = format!(
            "100644 blob {commit}\tflake.nix\0160000 commit {commit}\tlib/one\0\
             160000 commit {commit}\tlib two\0"
        );
        let settings = "submodule.one.path\nlib/one\0submodule.one.url\n../one.git\0\
                        submodule.b.url\nhttps://b.example/two\0submodule.b.path\nlib two\0";
        let found = read(&entries, settings).unwrap();
        let shown: Vec<(&str, &str)> = found
            .iter()
            .map(|it| (it.path.as_str(), it.url.as_str()))
            .collect();
        let expected = [
            ("lib/one", "../one.git"),
            ("lib two", "https://b.example/two"),
        ];
        assert_eq!(shown, expected);
        assert_eq!(read(&entries, ""), Err("lib/one".to_owned()));
        assert_eq!(read("", ""), Ok(Vec::new()));
    }

    #[test]
    fn relative_urls_start_from_the_repository_around() {
        for (around, relative, expected) in [
            (
                "https://g.example/t/a.git",
                "../b.git",
                "https://g.example/t/b.git",
            ),
            (
                "https://g.example/t/a.git/",
                "../../u/b",
                "https://g.example/u/b",
            ),
            ("https://g.example/t/a", "./b", "https://g.example/t/a/b"),
            ("git@g.example:a.git", "../b.git", "git@g.example:b.git"),
            ("git@g.example:t/a.git", "../b.git", "git@g.example:t/b.git"),
            (
                "https://g.example/a",
                "https://h.example/b",
                "https://h.example/b",
            ),
        ] {
            assert_eq!(absolute(&url(around), relative), expected);
        }
    }

    #[test]
    fn credentials_go_to_the_server_that_they_are_for_and_to_no_other() {
        let token = Credentials::Token("t".to_owned());
        for (around, other, same) in [
            ("https://g.example/a", "https://g.example/b", true),
            ("https://me@g.example/a", "https://g.example/b", true),
            ("https://g.example/a", "https://g.example:8443/b", false),
            ("https://g.example/a", "http://g.example/b", false),
            ("https://g.example/a", "https://evil.example/b", false),
            ("git@g.example:a", "ssh://git@g.example/b", true),
            ("git@g.example:a", "git@evil.example:b", false),
        ] {
            let given = credentials(&url(around), &url(other), &token);
            assert_eq!(given == token, same, "{around} {other}");
        }
    }
}
