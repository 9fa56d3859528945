//! Who opens a connection: a client certificate says so.

use std::collections::BTreeMap;

use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};

use crate::access::AUTHENTICATED;
use crate::request::Identity;

/// The identity in a certificate that the server's authority has signed: the user is the common
/// name, the groups are the organizations.
pub fn from_certificate(certificate: &CertificateDer<'_>) -> Option<Identity> {
    let digest = Sha256::digest(certificate);
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let subject = certificate.subject();
    let user = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    let mut groups: Vec<String> = subject
        .iter_organization()
        .filter_map(|organization| organization.as_str().ok().map(str::to_owned))
        .collect();
    groups.push(AUTHENTICATED.to_owned());
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let extra = BTreeMap::from([(
        "authentication.kubernetes.io/credential-id".to_owned(),
        vec![format!("X509SHA256={digest}")],
    )]);
    Some(Identity {
        user,
        groups,
        extra,
        ..Identity::default()
    })
}
