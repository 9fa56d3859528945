//! How long a client certificate is good.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::jiff::Timestamp;

/// From when to when a certificate is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Its first second.
    pub from: Timestamp,
    /// Its last second.
    pub until: Timestamp,
}

impl Validity {
    /// That of the first certificate in a PEM text under base64; `None` when there is none.
    pub fn of_certificate(encoded: &str) -> Option<Self> {
        let pem = STANDARD.decode(encoded.trim()).ok()?;
        let (_, pem) = x509_parser::pem::parse_x509_pem(&pem).ok()?;
        let certificate = pem.parse_x509().ok()?;
        let validity = certificate.validity();
        Some(Self {
            from: Timestamp::from_second(validity.not_before.timestamp()).ok()?,
            until: Timestamp::from_second(validity.not_after.timestamp()).ok()?,
        })
    }

    /// Whether less than a quarter of its life is left.
    pub fn is_ending(&self, now: Timestamp) -> bool {
        let life = self.until.as_second().saturating_sub(self.from.as_second());
        let rest = self.until.as_second().saturating_sub(now.as_second());
        rest.saturating_mul(4) < life
    }

    /// Whether it is over.
    pub fn is_over(&self, now: Timestamp) -> bool {
        now > self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::at;

    #[test]
    fn a_certificate_is_ending_in_the_last_quarter_of_its_life() {
        let validity = Validity {
            from: at(1000),
            until: at(1400),
        };
        for (second, is_ending, is_over) in [
            (900, false, false),
            (1000, false, false),
            (1300, false, false),
            (1301, true, false),
            (1400, true, false),
            (1401, true, true),
        ] {
            assert_eq!(validity.is_ending(at(second)), is_ending, "{second}");
            assert_eq!(validity.is_over(at(second)), is_over, "{second}");
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_validity() {
        for text in ["", "!", "Q0VSVA==", "LS0tLS1CRUdJTg=="] {
            assert_eq!(Validity::of_certificate(text), None, "{text}");
        }
    }
}
