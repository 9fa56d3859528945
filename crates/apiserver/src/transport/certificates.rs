//! Certificates made at start: an authority, the server's, and those of clients. The authority
//! can be kept in a directory, with the key that signs tokens.

use std::fs::DirBuilder;
use std::io::{self, Write};
use std::net::IpAddr;
use std::ops::Range;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use jiff::{Timestamp, ToSpan, civil::Date, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use tempfile::NamedTempFile;

use crate::access::MASTERS;

/// The administrator's name.
const ADMINISTRATOR: &str = "kubernetes-admin";
/// How long certificates last, in years.
const YEARS: i16 = 10;

/// The file that keeps certificates and keys, in the order of [`Kept`].
const FILE: &str = "certificates.pem";
/// The authority's name.
const AUTHORITY: &str = "nico-apiserver-ca";

/// Certificates could not be made or kept.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// One could not be made.
    #[error("cannot make the certificate of {subject}")]
    Make {
        /// Whose certificate.
        subject: String,
        /// Why.
        source: rcgen::Error,
    },
    /// The file that keeps them cannot be used.
    #[error("cannot keep certificates in {}", file.display())]
    Keep {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file holds something else.
    #[error(
        "{} does not hold the certificates of an API server; remove it to get new ones",
        .0.display()
    )]
    Foreign(PathBuf),
}

/// What outlives a server: who signs certificates, and what signs tokens.
struct Kept {
    authority: Pair,
    token_key: String,
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
    /// The key that signs tokens of ServiceAccounts, PEM.
    pub token_key: String,
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
        Self::of(Kept::make()?, names)
    }

    /// Makes the server's certificate; authority and key of tokens are those in a directory, and
    /// are put there if there are none.
    ///
    /// # Errors
    /// If a name cannot be in a certificate, or the directory cannot be used.
    pub fn keep(directory: &Path, names: &[String]) -> Result<Self, CertificateError> {
        let file = directory.join(FILE);
        let failed = |source| CertificateError::Keep {
            file: file.clone(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(failed)?;
        if !file.exists() {
            let made = Kept::make()?;
            // Only its owner can read it, and nobody sees it half written.
            let mut temporary = NamedTempFile::new_in(directory).map_err(failed)?;
            let written = temporary
                .write_all(made.to_pem().as_bytes())
                .and_then(|()| temporary.as_file().sync_all());
            written.map_err(failed)?;
            match temporary.persist_noclobber(&file) {
                Ok(_) => {}
                // Another server was faster, so its certificates count.
                Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(error.error)),
            }
        }
        let text = std::fs::read_to_string(&file).map_err(failed)?;
        let kept = Kept::from_pem(&text).ok_or(CertificateError::Foreign(file))?;
        Self::of(kept, names)
    }

    fn of(kept: Kept, names: &[String]) -> Result<Self, CertificateError> {
        let mut server = CertificateParams::new(names).map_err(failed("the server"))?;
        limit(&mut server, &usual_life());
        server
            .distinguished_name
            .push(DnType::CommonName, "kube-apiserver");
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::from_pem(&kept.authority.key).map_err(failed(AUTHORITY))?;
        let issuer = Issuer::new(authority().map_err(failed(AUTHORITY))?, key);
        Ok(Self {
            authority: kept.authority.certificate,
            server: sign(&server, &issuer).map_err(failed("the server"))?,
            token_key: kept.token_key,
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
        self.client_during(user, groups, &usual_life())
    }

    /// A client's certificate that is good from the start of the first day to that of the last.
    ///
    /// # Errors
    /// If a name cannot be in a certificate.
    pub fn client_during(
        &self,
        user: &str,
        groups: &[&str],
        days: &Range<Date>,
    ) -> Result<Pair, CertificateError> {
        let make = || {
            let mut client = parameters(user)?;
            limit(&mut client, days);
            for group in groups {
                let organization = DnType::OrganizationName;
                client.distinguished_name.push(organization, *group);
            }
            client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            sign(&client, &self.issuer)
        };
        make().map_err(failed(user))
    }
}

impl Kept {
    fn make() -> Result<Self, CertificateError> {
        let key = KeyPair::generate().map_err(failed(AUTHORITY))?;
        let certificate = authority().and_then(|authority| authority.self_signed(&key));
        let token_key = KeyPair::generate().map_err(failed("tokens"))?;
        Ok(Self {
            authority: Pair {
                certificate: certificate.map_err(failed(AUTHORITY))?.pem(),
                key: key.serialize_pem(),
            },
            token_key: token_key.serialize_pem(),
        })
    }

    fn to_pem(&self) -> String {
        let Self {
            authority,
            token_key,
        } = self;
        [&authority.certificate, &authority.key, token_key]
            .map(|pem| pem.trim_end())
            .join("\n")
    }

    fn from_pem(text: &str) -> Option<Self> {
        const BEGIN: &str = "-----BEGIN ";
        let mut parts = text
            .split(BEGIN)
            .skip(1)
            .map(|part| format!("{BEGIN}{}\n", part.trim_end()));
        let (certificate, key, token_key) = (parts.next()?, parts.next()?, parts.next()?);
        let is_whole = certificate.starts_with("-----BEGIN CERTIFICATE")
            && KeyPair::from_pem(&key).is_ok()
            && KeyPair::from_pem(&token_key).is_ok();
        is_whole.then_some(Self {
            authority: Pair { certificate, key },
            token_key,
        })
    }
}

fn failed(subject: &str) -> impl Fn(rcgen::Error) -> CertificateError {
    let subject = subject.to_owned();
    move |source| CertificateError::Make {
        subject: subject.clone(),
        source,
    }
}

fn authority() -> Result<CertificateParams, rcgen::Error> {
    let mut authority = parameters(AUTHORITY)?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    Ok(authority)
}

fn parameters(name: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut parameters = CertificateParams::new(Vec::<String>::new())?;
    limit(&mut parameters, &usual_life());
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, name);
    Ok(parameters)
}

/// From yesterday, for clocks that are behind, and for some years.
fn usual_life() -> Range<Date> {
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    let yesterday = today.saturating_sub(1.day());
    yesterday..yesterday.saturating_add(i64::from(YEARS).years())
}

fn limit(parameters: &mut CertificateParams, days: &Range<Date>) {
    let day = |date: Date| {
        let number = |n: i8| u8::try_from(n).unwrap_or(1);
        // The 29th of February does not exist in every year.
        date_time_ymd(
            date.year().into(),
            number(date.month()),
            number(date.day()).min(28),
        )
    };
    parameters.not_before = day(days.start);
    parameters.not_after = day(days.end);
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

    #[test]
    fn kept_certificates_are_those_of_the_first_start() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let names = ["localhost".to_owned()];
        let first = Certificates::keep(folder.path(), &names).unwrap();
        let second = Certificates::keep(folder.path(), &names).unwrap();
        assert_eq!(first.authority, second.authority);
        assert_eq!(first.token_key, second.token_key);
        let file = folder.path().join(FILE);
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&file, "something else").unwrap();
        let refused = Certificates::keep(folder.path(), &names);
        assert!(matches!(refused, Err(CertificateError::Foreign(_))));
    }
}
