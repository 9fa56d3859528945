//! Ranges as Go's `net.ParseCIDR` takes them and writes them back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The network of `text`, in canonical form.
///
/// # Errors
/// The text that Go has for it.
pub(super) fn normalize(text: &str) -> Result<String, String> {
    parse(text).ok_or_else(|| format!("invalid CIDR address: {text}"))
}

fn parse(text: &str) -> Option<String> {
    let (address, length) = text.split_once('/')?;
    if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let length: u32 = length.parse().ok()?;
    match address.parse::<IpAddr>().ok()? {
        IpAddr::V4(address) => {
            let host_bits = 32_u32.checked_sub(length)?;
            let mask = u32::MAX.checked_shl(host_bits).unwrap_or(0);
            let network = Ipv4Addr::from(u32::from(address) & mask);
            Some(format!("{network}/{length}"))
        }
        IpAddr::V6(address) => {
            let host_bits = 128_u32.checked_sub(length)?;
            let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
            let network = Ipv6Addr::from(u128::from(address) & mask);
            Some(format!("{network}/{length}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_bits_are_cut_and_addresses_shortened() {
        for (text, canonical) in [
            ("10.42.7.9/24", "10.42.7.0/24"),
            ("10.42.255.255/20", "10.42.240.0/20"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("10.0.0.1/32", "10.0.0.1/32"),
            ("FD00:0042:0000:0000::/64", "fd00:42::/64"),
            ("fd00:0:0:0:0:0:0:1/128", "fd00::1/128"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(normalize(text).as_deref(), Ok(canonical));
        }
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in [
            "",
            "pods",
            "10.0.0.1",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/-1",
        ] {
            assert_eq!(
                normalize(text),
                Err(format!("invalid CIDR address: {text}"))
            );
        }
        for text in [
            "010.0.0.0/8",
            "10.0.0/8",
            " 10.0.0.0/8",
            "fe80::1%eth0/64",
            "::/129",
        ] {
            assert!(normalize(text).is_err(), "{text}");
        }
    }
}
