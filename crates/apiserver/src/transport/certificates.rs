//! Certificates made at start: an authority, the server's, and those of clients.

use std::net::IpAddr;

use jiff::{Timestamp, ToSpan, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

use crate::access::MASTERS;

/// The administrator's name.
const ADMINISTRATOR: &str = "kubernetes-admin";
/// How long certificates last, in years.
const YEARS: i16 = 10;

/// A certificate could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make the certificate of {subject}")]
pub struct CertificateError {
    /// Whose certificate.
    pub subject: String,
    /// Why.
    pub source: rcgen::Error,
}

/// A certificate and its key.
#[derive(Clone)]
pub struct Pair {
    /// PEM.
    pub certificate: String,
    /// PEM.
    pub key: String,
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pair")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

/// All that a server needs.
pub struct Certificates {
    /// The authority's certificate, PEM.
    pub authority: String,
    /// The server's.
    pub server: Pair,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates")
            .field("authority", &self.authority)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

impl Certificates {
    /// Makes certificates for a server with these names and addresses.
    ///
    /// # Errors
    /// If a name cannot be in a certificate.
    pub fn make(names: &[String]) -> Result<Self, CertificateError> {
        let failed = |subject: &str| {
            let subject = subject.to_owned();
            move |source| CertificateError { subject, source }
        };
        let authority_name = "nico-apiserver-ca";
        let mut authority = parameters(authority_name).map_err(failed(authority_name))?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let authority_key = KeyPair::generate().map_err(failed(authority_name))?;
        let authority_pem = authority
            .self_signed(&authority_key)
            .map_err(failed(authority_name))?
            .pem();
        let issuer = Issuer::new(authority, authority_key);

        let mut server = CertificateParams::new(names).map_err(failed("the server"))?;
        limit(&mut server);
        server
            .distinguished_name
            .push(DnType::CommonName, "kube-apiserver");
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];

        Ok(Self {
            authority: authority_pem,
            server: sign(&server, &issuer).map_err(failed("the server"))?,
            issuer,
        })
    }

    /// The administrator's certificate.
    ///
    /// # Errors
    /// If the system has no randomness.
    pub fn administrator(&self) -> Result<Pair, CertificateError> {
        self.client(ADMINISTRATOR, &[MASTERS])
    }

    /// A client's certificate: the user is its common name, the groups are its organizations.
    ///
    /// # Errors
    /// If a name cannot be in a certificate.
    pub fn client(&self, user: &str, groups: &[&str]) -> Result<Pair, CertificateError> {
        let make = || {
            let mut client = parameters(user)?;
            for group in groups {
                let organization = DnType::OrganizationName;
                client.distinguished_name.push(organization, *group);
            }
            client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            sign(&client, &self.issuer)
        };
        make().map_err(|source| CertificateError {
            subject: user.to_owned(),
            source,
        })
    }
}

fn parameters(name: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut parameters = CertificateParams::new(Vec::<String>::new())?;
    limit(&mut parameters);
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, name);
    Ok(parameters)
}

/// From yesterday, for clocks that are behind, and for some years.
fn limit(parameters: &mut CertificateParams) {
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    let yesterday = today.saturating_sub(1.day());
    let day = |date: jiff::civil::Date| {
        let number = |n: i8| u8::try_from(n).unwrap_or(1);
        // The 29th of February does not exist in every year.
        date_time_ymd(
            date.year().into(),
            number(date.month()),
            number(date.day()).min(28),
        )
    };
    parameters.not_before = day(yesterday);
    parameters.not_after = day(yesterday.saturating_add(i64::from(YEARS).years()));
    parameters.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
    ];
    parameters.use_authority_key_identifier_extension = true;
}

fn sign(
    parameters: &CertificateParams,
    issuer: &Issuer<'_, KeyPair>,
) -> Result<Pair, rcgen::Error> {
    let key = KeyPair::generate()?;
    let certificate = parameters.signed_by(&key, issuer)?;
    Ok(Pair {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    })
}

/// The names that every server has beside those that it is given.
pub fn usual_names(address: IpAddr) -> Vec<String> {
    let mut names: Vec<String> = [
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "127.0.0.1",
        "::1",
    ]
    .map(str::to_owned)
    .to_vec();
    if !address.is_unspecified() && !names.contains(&address.to_string()) {
        names.push(address.to_string());
    }
    names
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    use x509_parser::extensions::GeneralName;

    use super::*;

    #[test]
    fn the_server_has_all_names_and_addresses() {
        let mut names = usual_names([10, 0, 0, 7].into());
        names.push("api.example.com".to_owned());
        let certificates = Certificates::make(&names).unwrap();
        let der = CertificateDer::from_pem_slice(certificates.server.certificate.as_bytes());
        let der = der.unwrap();
        let (_, certificate) = x509_parser::parse_x509_certificate(&der).unwrap();
        let alternatives = certificate.subject_alternative_name().unwrap().unwrap();
        let has = |wanted: GeneralName<'_>| alternatives.value.general_names.contains(&wanted);
        assert!(has(GeneralName::DNSName("api.example.com")));
        assert!(has(GeneralName::DNSName("localhost")));
        assert!(has(GeneralName::IPAddress(&[127, 0, 0, 1])));
        assert!(has(GeneralName::IPAddress(&[10, 0, 0, 7])));
    }

    #[test]
    fn a_name_that_cannot_be_in_a_certificate_is_an_error() {
        assert!(Certificates::make(&["ümlaut".to_owned()]).is_err());
    }

    #[test]
    fn keys_are_not_shown_when_debugging() {
        let certificates = Certificates::make(&["localhost".to_owned()]).unwrap();
        assert!(!format!("{certificates:?}").contains("PRIVATE KEY"));
    }
}
