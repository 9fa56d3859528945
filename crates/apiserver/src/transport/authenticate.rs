//! Who sends a request: a client certificate or a bearer token says so.

use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};

use crate::request::Identity;
use crate::status::Status;

/// The bearer tokens that open a server, as digests.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    tokens: Vec<[u8; 32]>,
}

impl Credentials {
    /// Accepts these tokens.
    pub fn new<'a>(tokens: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            tokens: tokens.into_iter().map(digest).collect(),
        }
    }

    /// Who sends a request with these headers over a connection of this identity.
    ///
    /// # Errors
    /// 401 without valid credentials.
    pub fn identify(
        &self,
        headers: &HeaderMap,
        connection: Option<&Arc<Identity>>,
    ) -> Result<Arc<Identity>, Status> {
        if let Some(identity) = connection {
            return Ok(identity.clone());
        }
        let header = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let (scheme, token) = header.and_then(|h| h.split_once(' ')).unwrap_or_default();
        // Digests are compared, so that the time it takes says nothing about the token.
        let known =
            scheme.eq_ignore_ascii_case("bearer") && self.tokens.contains(&digest(token.trim()));
        if !known {
            return Err(Status::unauthorized());
        }
        Ok(Arc::new(Identity {
            user: "admin".to_owned(),
            groups: vec![
                "system:masters".to_owned(),
                "system:authenticated".to_owned(),
            ],
        }))
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// The identity in a certificate that the server's authority has signed: the user is the common
/// name, the groups are the organizations.
pub fn from_certificate(certificate: &CertificateDer<'_>) -> Option<Identity> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let subject = certificate.subject();
    let user = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    let mut groups: Vec<String> = subject
        .iter_organization()
        .filter_map(|organization| organization.as_str().ok().map(str::to_owned))
        .collect();
    groups.push("system:authenticated".to_owned());
    Some(Identity { user, groups })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_bearer_tokens_open() {
        let credentials = Credentials::new(["secret"]);
        for (header, opens) in [
            ("Bearer secret", true),
            ("bearer secret", true),
            ("Bearer other", false),
            ("Basic secret", false),
            ("secret", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, header.parse().unwrap());
            assert_eq!(
                credentials.identify(&headers, None).is_ok(),
                opens,
                "{header}"
            );
        }
        assert!(credentials.identify(&HeaderMap::new(), None).is_err());
    }
}
