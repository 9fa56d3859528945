//! Bearer tokens: JSON web tokens signed with a secret of this server (HS256).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde::{Deserialize, Serialize};

const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// What a token is for.
pub(super) const LOGIN: &str = "user_id_token";
pub(super) const ACCESS: &str = "access_token";
/// Good for the second factor only.
pub(super) const HALF: &str = "pre_auth_token";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Claims {
    #[serde(rename = "Role")]
    pub(super) role: String,
    #[serde(rename = "UserName")]
    pub(super) user: String,
    #[serde(rename = "Api")]
    pub(super) api: String,
    #[serde(rename = "TokenType")]
    pub(super) kind: String,
    #[serde(rename = "RacAutoDisable")]
    pub(super) auto_disable: bool,
    pub(super) iss: String,
    pub(super) sub: String,
    pub(super) exp: i64,
    pub(super) iat: i64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) jti: String,
}

impl Claims {
    pub(super) fn new(user: &str, role: &str, kind: &str, now: i64, exp: i64) -> Self {
        Self {
            role: role.to_owned(),
            user: user.to_owned(),
            api: String::new(),
            kind: kind.to_owned(),
            auto_disable: false,
            iss: "Netmaker".to_owned(),
            sub: format!("user|{user}"),
            exp,
            iat: now,
            jti: String::new(),
        }
    }
}

/// The secret that signs.
#[derive(Debug)]
pub(super) struct Signer(hmac::Key);

impl Signer {
    pub(super) fn new() -> Self {
        let secret: [u8; 32] = rand::random();
        Self(hmac::Key::new(hmac::HMAC_SHA256, &secret))
    }

    pub(super) fn sign(&self, claims: &Claims) -> String {
        let claims = serde_json::to_string(claims).unwrap_or_default();
        let signed = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(HEADER),
            URL_SAFE_NO_PAD.encode(claims)
        );
        let signature = URL_SAFE_NO_PAD.encode(self.seal(&signed));
        format!("{signed}.{signature}")
    }

    pub(super) fn seal(&self, text: &str) -> impl AsRef<[u8]> + use<> {
        hmac::sign(&self.0, text.as_bytes())
    }

    pub(super) fn is_sealed(&self, text: &str, seal: &[u8]) -> bool {
        hmac::verify(&self.0, text.as_bytes(), seal).is_ok()
    }

    /// What a token says, and whether it was signed here and holds at `now`.
    pub(super) fn read(&self, token: &str, now: i64) -> Option<(Claims, bool)> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (_, claims) = signed.split_once('.')?;
        let claims = URL_SAFE_NO_PAD.decode(claims).ok()?;
        let claims: Claims = serde_json::from_slice(&claims).ok()?;
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap_or_default();
        let is_valid = self.is_sealed(signed, &signature) && claims.exp > now;
        Some((claims, is_valid))
    }
}
