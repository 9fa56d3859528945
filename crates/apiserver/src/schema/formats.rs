//! The formats of strings that Kubernetes checks in custom resources.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use regex::Regex;

/// Compiles a pattern of this file.
fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the patterns of this file are valid")
}

static DATE_TIME: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})$")
});
static DURATION: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"^[+-]?(0|(\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)((\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))*)$|^\d+\s*(ns|us|ms|s|m|h|d|w|nano(second)?s?|micro(second)?s?|milli(second)?s?|sec(ond)?s?|min(ute)?s?|hours?|days?|weeks?)$",
    )
});
static UUID: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"^(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?([0-9a-f])[0-9a-f]{3}-?[0-9a-f]{4}-?[0-9a-f]{12}$")
});
static HOSTNAME: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"^([a-zA-Z0-9_]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9_])?)(\.[a-zA-Z0-9_]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9_])?)*\.?$",
    )
});
static EMAIL: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^[^\s@<>()\[\],;:]+@[^\s@<>()\[\],;:]+$"));
static URI: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^([a-zA-Z][a-zA-Z0-9+.-]*:[^\s]+|/[^\s]*)$"));
static MAC: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"^(?i)[0-9a-f]{2}([:-][0-9a-f]{2}){5,19}$|^(?i)[0-9a-f]{4}(\.[0-9a-f]{4}){2,9}$")
});
static HEX_COLOR: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$"));
static SHORT_NAME: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"));
static LONG_NAME: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"));

/// Whether `text` has the form that `format` asks for. Formats that Kubernetes does not
/// know are not checked.
pub(super) fn matches(format: &str, text: &str) -> bool {
    match format {
        "date-time" | "datetime" => {
            DATE_TIME.is_match(text) && text.to_uppercase().parse::<jiff::Timestamp>().is_ok()
        }
        "date" => text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok(),
        "duration" => DURATION.is_match(text),
        "byte" => STANDARD.decode(text).is_ok(),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => is_cidr(text),
        "uuid" => UUID.is_match(text),
        "uuid3" => is_uuid_of_version(text, "3"),
        "uuid4" => is_uuid_of_version(text, "4"),
        "uuid5" => is_uuid_of_version(text, "5"),
        "hostname" => text.len() <= 255 && HOSTNAME.is_match(text),
        "email" => EMAIL.is_match(text),
        "uri" => URI.is_match(text),
        "mac" => MAC.is_match(text),
        "hexcolor" => HEX_COLOR.is_match(text),
        "k8s-short-name" => SHORT_NAME.is_match(text),
        "k8s-long-name" => text.len() <= 253 && LONG_NAME.is_match(text),
        _ => true,
    }
}

fn is_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else {
        return false;
    };
    let longest = match (address.parse::<Ipv4Addr>(), address.parse::<Ipv6Addr>()) {
        (Ok(_), _) => 32,
        (_, Ok(_)) => 128,
        _ => return false,
    };
    length.parse::<u8>().is_ok_and(|length| length <= longest)
}

fn is_uuid_of_version(text: &str, version: &str) -> bool {
    UUID.captures(text)
        .is_some_and(|found| &found[1] == version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_format_takes_its_own_and_refuses_others() {
        for (format, good, bad) in [
            (
                "date-time",
                "2024-02-29T10:00:00.5+02:00",
                "2023-02-29T10:00:00Z",
            ),
            ("date-time", "2024-01-01T00:00:00Z", "2024-01-01 00:00:00"),
            ("date", "2024-02-29", "2024-13-01"),
            ("duration", "1h30m", "an hour"),
            ("duration", "2 days", "2 parsecs"),
            ("byte", "aGFsbG8=", "!"),
            ("ipv4", "10.0.0.1", "10.0.0.256"),
            ("ipv6", "fd00::1", "10.0.0.1"),
            ("cidr", "10.0.0.0/8", "10.0.0.0/33"),
            ("cidr", "fd00::/64", "10.0.0.0"),
            ("uuid", "3f2504e0-4f89-41d3-9a0c-0305e82c3301", "3f2504e0"),
            (
                "uuid4",
                "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
                "3f2504e0-4f89-11d3-9a0c-0305e82c3301",
            ),
            ("hostname", "node-1.example.com", "not a host"),
            ("email", "a@example.com", "example.com"),
            ("uri", "https://example.com/a", "no uri"),
            ("mac", "00:1b:44:11:3a:b7", "00:1b:44"),
            ("hexcolor", "#ff00ff", "red"),
            ("k8s-short-name", "web-1", "Web"),
            ("k8s-long-name", "a.example.com", "a..b"),
        ] {
            assert!(matches(format, good), "{format}: {good}");
            assert!(!matches(format, bad), "{format}: {bad}");
        }
    }

    #[test]
    fn formats_that_nobody_knows_are_not_checked() {
        assert!(matches("my-own", "anything"));
    }
}
