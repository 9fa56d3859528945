//! What nobody else may see: credentials always, addresses when asked.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::Report;

static CREDENTIALS: LazyLock<Regex> = LazyLock::new(|| {
    expression(
        r"(?x)
        (?P<url>://)[^/\s@]+@
        | (?P<header>(?i:bearer|basic)\s+)[A-Za-z0-9+/=._~-]{8,}
        | (?P<field>(?i:token|password|passwd|secret|apikey|api_key|access_key)\s*[=:]\s*)[^\s,;&]+
        | (?P<known>)(?:gh[pousr]_[A-Za-z0-9]{16,}|glpat-[A-Za-z0-9_-]{16,}|AGE-SECRET-KEY-[A-Z0-9]+|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*)",
    )
});

static ADDRESSES: LazyLock<Regex> = LazyLock::new(|| {
    expression(
        r"(?x)
        (?P<scheme>[a-z][a-z0-9+.-]*://)(?:[^/\s@]+@)?[^/\s:]+
        | \b\d{1,3}(?:\.\d{1,3}){3}\b
        | \b(?:[0-9a-fA-F]{1,4}:){7}[0-9a-fA-F]{1,4}\b
        | \b(?:[0-9a-fA-F]{1,4}:)*[0-9a-fA-F]{1,4}::(?:[0-9a-fA-F]{1,4}(?::[0-9a-fA-F]{1,4})*)?
        | \b(?:[a-z0-9-]+\.)+(?:com|net|org|io|dev|app|cloud|local|internal|lan|home|arpa|eu|de|uk|fr|ch|us)\b",
    )
});

/// Text without credentials.
pub fn without_credentials(text: &str) -> String {
    let masked = CREDENTIALS.replace_all(text, |found: &Captures<'_>| {
        let url = found.name("url").map_or("", |part| part.as_str());
        let kept = ["header", "field", "known"]
            .into_iter()
            .find_map(|name| found.name(name));
        match url {
            "" => format!("{}***", kept.map_or("", |part| part.as_str())),
            url => format!("{url}***@"),
        }
    });
    masked.into_owned()
}

/// Text without credentials and without addresses: IP addresses, host names, hosts of URLs.
pub fn without_addresses(text: &str) -> String {
    let text = without_credentials(text);
    let masked = ADDRESSES.replace_all(&text, |found: &Captures<'_>| {
        format!(
            "{}<redacted>",
            found.name("scheme").map_or("", |part| part.as_str())
        )
    });
    masked.into_owned()
}

/// Rewrites all text of a report that comes from the cluster. Names of objects stay.
pub fn rewrite(report: &mut Report, with: fn(&str) -> String) {
    for issue in &mut report.issues {
        issue.message = with(&issue.message);
        issue.fix = with(&issue.fix);
    }
    for ongoing in &mut report.ongoing {
        ongoing.message = with(&ongoing.message);
    }
    for layer in &mut report.layers {
        for gap in &mut layer.gaps {
            gap.why = with(&gap.why);
        }
    }
}

fn expression(text: &str) -> Regex {
    Regex::new(text).expect("the expression is written here and tried by a test")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_never_told() {
        for (text, expected) in [
            (
                "clone https://user:hunter2@git.example.com/x failed",
                "clone https://***@git.example.com/x failed",
            ),
            (
                "401: Authorization: Bearer abcdefgh12345678",
                "401: Authorization: Bearer ***",
            ),
            ("bad token=abc123, retry", "bad token=***, retry"),
            ("pushed ghp_0123456789abcdef0123", "pushed ***"),
            ("key AGE-SECRET-KEY-1QQQQ is wrong", "key *** is wrong"),
            ("nothing secret here", "nothing secret here"),
        ] {
            assert_eq!(without_credentials(text), expected);
        }
    }

    #[test]
    fn addresses_are_not_told_when_asked() {
        for (text, expected) in [
            (
                "dial tcp 10.1.2.3:443: refused",
                "dial tcp <redacted>:443: refused",
            ),
            (
                "clone ssh://git@git.example.com/x",
                "clone ssh://<redacted>/x",
            ),
            (
                "lookup vault.example.com on 10.96.0.10:53",
                "lookup <redacted> on <redacted>:53",
            ),
            ("dial [fd00::1:2]:443", "dial [<redacted>]:443"),
            ("dial [2001:db8:0:1:2:3:4:5]:443", "dial [<redacted>]:443"),
            (
                "lastTransitionTime 12:30:45 of v1.36.1",
                "lastTransitionTime 12:30:45 of v1.36.1",
            ),
        ] {
            assert_eq!(without_addresses(text), expected);
        }
    }
}
