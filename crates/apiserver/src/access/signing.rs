//! The key that signs the tokens of ServiceAccounts: ECDSA on the curve P-256, in JWTs `ES256`.

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result};
use jsonwebtoken::signature::{Error, Signer, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
    UnparsedPublicKey,
};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use sha2::{Digest, Sha256};

/// The algorithm of the tokens.
pub const ALGORITHM: Algorithm = Algorithm::ES256;

/// A key cannot sign tokens.
#[derive(Debug, thiserror::Error)]
pub enum SigningKeyError {
    /// It is not PEM, or PEM of something else.
    #[error("the key is not a private key in PEM (`BEGIN PRIVATE KEY`)")]
    Pem(#[source] rustls::pki_types::pem::Error),
    /// It is a key of another kind.
    #[error(
        "the key is not one of the curve P-256; make one with `openssl genpkey -algorithm EC \
         -pkeyopt ec_paramgen_curve:P-256`"
    )]
    Curve,
}

/// Signs tokens, and knows those that it signed.
#[derive(Clone)]
pub struct SigningKey {
    /// Names the key in tokens.
    pub id: String,
    /// The private half.
    pub private: EncodingKey,
    /// The public half.
    pub public: DecodingKey,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl SigningKey {
    /// Reads a key: PKCS#8 in PEM.
    ///
    /// # Errors
    /// If it is something else.
    pub fn from_pem(pem: &str) -> std::result::Result<Self, SigningKeyError> {
        let der =
            PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(SigningKeyError::Pem)?;
        Self::from_der(der.secret_pkcs8_der())
    }

    fn from_der(der: &[u8]) -> std::result::Result<Self, SigningKeyError> {
        // The first to come provides for the whole process.
        PROVIDER.install_default().ok();
        let pair = pair(der).map_err(|_| SigningKeyError::Curve)?;
        let public = pair.public_key().as_ref();
        Ok(Self {
            id: Sha256::digest(public)
                .iter()
                .take(8)
                .map(|byte| format!("{byte:02x}"))
                .collect(),
            private: EncodingKey::from_ec_der(der),
            public: DecodingKey::from_ec_der(public),
        })
    }
}

/// The one algorithm that is used here, by the library that TLS uses too.
static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: signer,
    verifier_factory: verifier,
    key_utils: KeyUtils::new_unimplemented(),
};

struct Signing(EcdsaKeyPair);

struct Verifying(UnparsedPublicKey<Vec<u8>>);

fn pair(der: &[u8]) -> std::result::Result<EcdsaKeyPair, ring::error::KeyRejected> {
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &SystemRandom::new())
}

fn signer(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>> {
    if *algorithm != ALGORITHM {
        return Err(ErrorKind::InvalidAlgorithm.into());
    }
    let pair = pair(key.as_bytes()).map_err(|_| ErrorKind::InvalidEcdsaKey)?;
    Ok(Box::new(Signing(pair)))
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    if *algorithm != ALGORITHM {
        return Err(ErrorKind::InvalidAlgorithm.into());
    }
    let public = key.try_get_as_bytes()?.to_vec();
    Ok(Box::new(Verifying(UnparsedPublicKey::new(
        &ECDSA_P256_SHA256_FIXED,
        public,
    ))))
}

impl Signer<Vec<u8>> for Signing {
    fn try_sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, Error> {
        let signature = self.0.sign(&SystemRandom::new(), message);
        signature
            .map(|signature| signature.as_ref().to_vec())
            .map_err(|_| Error::new())
    }
}

impl JwtSigner for Signing {
    fn algorithm(&self) -> Algorithm {
        ALGORITHM
    }
}

impl Verifier<Vec<u8>> for Verifying {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), Error> {
        self.0.verify(message, signature).map_err(|_| Error::new())
    }
}

impl JwtVerifier for Verifying {
    fn algorithm(&self) -> Algorithm {
        ALGORITHM
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_file_gives_the_same_key_and_others_are_refused() {
        let pem = rcgen::KeyPair::generate().unwrap().serialize_pem();
        let (one, same) = (
            SigningKey::from_pem(&pem).unwrap(),
            SigningKey::from_pem(&pem).unwrap(),
        );
        assert_eq!(one.id, same.id);
        assert!(!format!("{one:?}").contains("private"));
        assert!(matches!(
            SigningKey::from_pem("no key"),
            Err(SigningKeyError::Pem(_))
        ));
        let other = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        let other = SigningKey::from_pem(&other.serialize_pem());
        assert!(matches!(other, Err(SigningKeyError::Curve)));
    }
}
