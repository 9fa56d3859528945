//! Resources that are fetched from elsewhere. They never are, here.

use crate::finding::{Finding, Severity};
use crate::rules::flux::files::FLX022;
use crate::source::Location;

/// Whether a path is no path, but a URL.
pub(super) fn is_one(path: &str) -> bool {
    let is_shorthand = || {
        let host = path.split('/').next().unwrap_or_default();
        ["github.com", "gitlab.com", "bitbucket.org"].contains(&host)
    };
    path.contains("://") || path.starts_with("git@") || path.contains("?ref=") || is_shorthand()
}

/// Says that a URL is fetched.
pub(super) fn finding(url: &str, at: Location) -> Finding {
    let message = format!("{url} is fetched over the network when Flux builds this");
    let finding = Finding::new(&FLX022, at, message);
    if is_pinned(url) {
        return finding;
    }
    finding
        .severity(Severity::Error)
        .consequence(
            "what is applied changes whenever somebody changes that branch, without a commit here",
        )
        .fix("name a release or a commit in the URL, or keep a copy in the repository")
}

/// Whether a URL names a commit or a release: what it hands out should then stay the same.
fn is_pinned(url: &str) -> bool {
    let reference = url.split_once("ref=").map(|(_, rest)| {
        let end = rest.find('&').unwrap_or(rest.len());
        &rest[..end]
    });
    let is_fixed = |part: &str| {
        let is_commit = part.len() == 40 && part.chars().all(|letter| letter.is_ascii_hexdigit());
        let version = part.rsplit(['-', '@']).next().unwrap_or(part);
        let version = version.strip_prefix('v').unwrap_or(version);
        let numbers = version
            .split('.')
            .take_while(|part| part.starts_with(|letter: char| letter.is_ascii_digit()));
        is_commit || numbers.count() >= 2
    };
    match reference {
        Some(reference) => is_fixed(reference),
        // The host may have digits and dots.
        None => url
            .split_once("://")
            .map_or(url, |(_, rest)| rest)
            .split('/')
            .skip(1)
            .any(is_fixed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_pinned_by_a_release_or_a_commit() {
        for (url, expected) in [
            ("https://raw.example/o/r/v0.0.30/deploy/a.yaml", true),
            (
                "https://host.example/o/r/releases/download/1.2/install.yaml",
                true,
            ),
            ("https://raw.example/o/r/main/a.yaml", false),
            ("https://10.0.0.1/main/a.yaml", false),
            ("https://host.example/o/r//base?ref=v1.2.3", true),
            (
                "https://host.example/o/r//base?ref=chart-1.2.3&timeout=9s",
                true,
            ),
            ("https://host.example/o/r//base?ref=main", false),
            ("https://host.example/o/v1.2/r//base?ref=main", false),
            (
                "github.com/o/r?ref=0123456789012345678901234567890123456789",
                true,
            ),
            ("github.com/o/r", false),
        ] {
            assert_eq!(is_pinned(url), expected, "{url}");
        }
    }
}
