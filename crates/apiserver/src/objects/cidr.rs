//! Ranges of addresses, as `10.0.0.0/24`.

use std::net::IpAddr;

use serde_json::Value;

use crate::status::Cause;

/// The address of a range; none if the text is no range.
pub fn address(text: &str) -> Option<IpAddr> {
    let (address, length) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let length: u8 = length.parse().ok()?;
    (length <= longest).then_some(address)
}

/// What is said about a text that is no range.
pub fn invalid(field: String, value: &Value) -> Cause {
    let why = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
    Cause::invalid(field, value, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_an_address_and_a_length_that_fits() {
        for (text, good) in [
            ("10.0.0.0/24", true),
            ("2001:db8::/64", true),
            ("10.0.0.0/33", false),
            ("10.0.0.0", false),
            ("ten/8", false),
        ] {
            assert_eq!(address(text).is_some(), good, "{text}");
        }
    }
}
