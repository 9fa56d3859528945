//! Where the flake of a full reference is: `github:owner/repo/ref`, `git+https://…?dir=…`. Pure.
//!
//! Those that are Git repositories lead to a mirror like any other; everything else is refused,
//! for NICO deploys commits.

use nico_api::names::{CommitId, GitUrl};

/// A flake in a Git repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FlakeUrl {
    /// The repository.
    pub(super) repository: GitUrl,
    /// Branch, tag or commit; `HEAD` for the default branch.
    pub(super) reference: String,
    /// Directory of `flake.nix`, if the reference names one.
    pub(super) directory: Option<String>,
}

/// The parameters of a reference that mean something here.
#[derive(Default)]
struct Parameters {
    reference: Option<String>,
    commit: Option<String>,
    directory: Option<String>,
    host: Option<String>,
}

/// Reads what stands before `#`.
///
/// # Errors
/// What is wrong with it, as the end of a sentence.
pub(super) fn read(flake: &str) -> Result<FlakeUrl, String> {
    let (place, query) = flake.split_once('?').unwrap_or((flake, ""));
    let parameters = parameters(query)?;
    let (scheme, rest) = place.split_once(':').unwrap_or(("", place));
    let (repository, in_path) = match scheme {
        "github" | "gitlab" | "sourcehut" => hosted(scheme, rest, parameters.host.as_deref())?,
        "git+https" | "git+http" | "git+ssh" | "git+file" => {
            let place = place.trim_start_matches("git+");
            (decode(place)?, None)
        }
        "path" | "file" => {
            return Err(
                "is a directory without commits; use git+file:// and a Git repository, which the \
                 operator must allow"
                    .to_owned(),
            );
        }
        "flake" | "" => {
            return Err(
                "is a name in a registry, which may mean something else tomorrow; name the \
                 repository, as in github:owner/repo"
                    .to_owned(),
            );
        }
        _ => {
            return Err(format!(
                "is of the kind {scheme:?}; allowed are github:, gitlab:, sourcehut:, \
                 git+https://, git+http://, git+ssh:// and git+file://"
            ));
        }
    };
    if parameters.host.is_some() && scheme.starts_with("git+") {
        return Err("has the parameter host, which its URL has already".to_owned());
    }
    if in_path.is_some() && (parameters.reference.is_some() || parameters.commit.is_some()) {
        return Err("names a branch, tag or commit twice".to_owned());
    }
    if let Some(commit) = &parameters.commit
        && commit.parse::<CommitId>().is_err()
    {
        return Err(format!("has rev={commit}, which is no full commit"));
    }
    let reference = parameters.commit.or(parameters.reference).or(in_path);
    let reference = reference.unwrap_or_else(|| "HEAD".to_owned());
    if reference.is_empty() || reference.starts_with('-') {
        return Err(format!(
            "names {reference:?}, which is no branch, tag or commit"
        ));
    }
    Ok(FlakeUrl {
        repository: repository
            .parse()
            .map_err(|error| format!("leads nowhere: {error}"))?,
        reference,
        directory: parameters.directory,
    })
}

/// The clone URL of a repository on a hosting service, and the branch, tag or commit.
fn hosted(
    scheme: &str,
    path: &str,
    host: Option<&str>,
) -> Result<(String, Option<String>), String> {
    let mut parts = path.splitn(3, '/');
    let mut next = || parts.next().filter(|part| !part.is_empty());
    let (Some(owner), Some(name)) = (next(), next()) else {
        return Err(format!("is not of the form {scheme}:owner/repo"));
    };
    let reference = parts.next().map(decode).transpose()?;
    let (default, end) = match scheme {
        "github" => ("github.com", ".git"),
        "gitlab" => ("gitlab.com", ".git"),
        _ => ("git.sr.ht", ""),
    };
    let host = host.unwrap_or(default);
    let is_host = |letter: char| letter.is_ascii_alphanumeric() || ".-:".contains(letter);
    if host.is_empty() || !host.chars().all(is_host) {
        return Err(format!("has host={host}, which is no host"));
    }
    // Groups within groups are written with an encoded slash.
    let (owner, name) = (decode(owner)?, decode(name)?);
    let name = name.trim_end_matches(".git");
    Ok((format!("https://{host}/{owner}/{name}{end}"), reference))
}

fn parameters(query: &str) -> Result<Parameters, String> {
    let mut found = Parameters::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decode(value)?;
        match name {
            "ref" => found.reference = Some(value),
            "rev" => found.commit = Some(value),
            "dir" => found.directory = Some(value),
            "host" => found.host = Some(value),
            // Submodules are always there, and a mirror is as shallow as the server lets it be.
            "submodules" | "shallow" | "allRefs" => {}
            _ => {
                return Err(format!(
                    "has the parameter {name:?}; allowed are ref, rev, dir, host, submodules, \
                     shallow and allRefs"
                ));
            }
        }
    }
    Ok(found)
}

fn decode(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        if *first != b'%' {
            bytes.push(*first);
            rest = after;
            continue;
        }
        let digits = after
            .get(..2)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.ok_or_else(|| format!("has a % in {text:?} that encodes nothing"))?);
        rest = &after[2..];
    }
    String::from_utf8(bytes).map_err(|_| format!("has bytes in {text:?} that are no UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn references_to_git_repositories_lead_to_clone_urls() {
        let commit = "a1".repeat(20);
        let pinned = format!("github:owner/repo/{commit}");
        let by_parameter = format!("git+https://g.example/a?rev={commit}");
        for (flake, repository, reference, directory) in [
            (
                "github:owner/repo",
                "https://github.com/owner/repo.git",
                "HEAD",
                None,
            ),
            (
                "github:owner/repo/v1/x",
                "https://github.com/owner/repo.git",
                "v1/x",
                None,
            ),
            (&pinned, "https://github.com/owner/repo.git", &commit, None),
            (
                "github:owner/repo?host=git.example&dir=a/b&ref=main",
                "https://git.example/owner/repo.git",
                "main",
                Some("a/b"),
            ),
            (
                "gitlab:group%2Fsub/repo/main",
                "https://gitlab.com/group/sub/repo.git",
                "main",
                None,
            ),
            (
                "sourcehut:~me/repo",
                "https://git.sr.ht/~me/repo",
                "HEAD",
                None,
            ),
            (
                "git+ssh://git@g.example:2222/a.git?ref=b%2Fc&dir=hosts",
                "ssh://git@g.example:2222/a.git",
                "b/c",
                Some("hosts"),
            ),
            (&by_parameter, "https://g.example/a", &commit, None),
            (
                "git+file:///srv/a?submodules=1",
                "file:///srv/a",
                "HEAD",
                None,
            ),
        ] {
            let read = read(flake).unwrap();
            assert_eq!(read.repository.as_str(), repository, "{flake}");
            assert_eq!(read.reference, reference, "{flake}");
            assert_eq!(read.directory.as_deref(), directory, "{flake}");
        }
    }

    #[test]
    fn everything_else_is_refused_with_what_to_do() {
        for (flake, expected) in [
            ("path:/srv/a", "git+file://"),
            ("flake:nixpkgs", "github:owner/repo"),
            ("tarball+https://e.example/a.tar.gz", "allowed are github:"),
            ("https://e.example/a.tar.gz", "allowed are github:"),
            ("hg+https://e.example/a", "allowed are github:"),
            ("github:owner", "github:owner/repo"),
            ("github:/repo", "github:owner/repo"),
            ("github:o/r/main?ref=other", "twice"),
            ("git+https://e.example/a?rev=abc", "no full commit"),
            ("git+https://e.example/a?narHash=x", "allowed are ref"),
            ("git+https://e.example/a?host=b", "already"),
            ("github:o/r?host=evil.example/x", "no host"),
            ("github:o/r/--upload-pack=x", "no branch"),
            ("git+https://-x", "a Git URL"),
            ("github:o/r?dir=%zz", "encodes nothing"),
        ] {
            let error = read(flake).unwrap_err();
            assert!(error.contains(expected), "{flake}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "(github|git\\+https|path)?:?.*") {
            let _ = read(&text);
        }
    }
}
