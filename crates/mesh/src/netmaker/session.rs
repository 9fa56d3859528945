//! Login and tokens: one login for many requests, renewed when it ends.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Mutex;

use super::error::ClientError;
use super::settings::{Credentials, Secret};
use super::transport::{Ask, Head, Transport};

const LOGIN: &str = "/api/users/adm/authenticate";
/// A token that ends sooner than this is renewed before it is used.
const MARGIN_SECONDS: i64 = 60;

/// Who we are, and the token that says so.
pub(super) struct Session {
    credentials: Credentials,
    current: Mutex<Option<Token>>,
}

#[derive(Clone)]
struct Token {
    secret: Secret,
    /// When it ends, in seconds, where the token tells.
    end: Option<i64>,
}

impl Session {
    pub(super) fn new(credentials: Credentials) -> Self {
        Self {
            credentials,
            current: Mutex::default(),
        }
    }

    /// A token that should hold; `refused` is one that does not.
    pub(super) async fn token(
        &self,
        transport: &Transport,
        refused: Option<&Secret>,
    ) -> Result<Secret, ClientError> {
        let mut current = self.current.lock().await;
        let now = Timestamp::now().as_second();
        if let Some(token) = &*current {
            let is_refused =
                refused.is_some_and(|refused| refused.reveal() == token.secret.reveal());
            let ends_soon = token.end.is_some_and(|end| end - now < MARGIN_SECONDS);
            let must_renew = is_refused || (ends_soon && self.can_renew());
            if !must_renew {
                return Ok(token.secret.clone());
            }
        }
        let secret = self.renew(transport).await?;
        let end = end_of(secret.reveal());
        *current = Some(Token {
            secret: secret.clone(),
            // A clock that is wrong must not make a login of every request.
            end: end.filter(|end| end - now >= MARGIN_SECONDS),
        });
        Ok(secret)
    }

    fn can_renew(&self) -> bool {
        !matches!(self.credentials, Credentials::Token(_))
    }

    async fn renew(&self, transport: &Transport) -> Result<Secret, ClientError> {
        match &self.credentials {
            Credentials::Token(token) => Ok(token.clone()),
            Credentials::TokenFile(file) => {
                let read = tokio::fs::read_to_string(file).await;
                let text = read.map_err(ClientError::TokenFile)?;
                Ok(Secret::new(text.trim()))
            }
            Credentials::Password { username, password } => {
                log_in(transport, username, password).await
            }
        }
    }

    /// What a 401 means that came though the token was just made.
    pub(super) fn refusal(&self, message: String) -> ClientError {
        match self.credentials {
            Credentials::Password { .. } => ClientError::LoginRefused { message },
            _ => ClientError::TokenRefused { message },
        }
    }
}

#[derive(Deserialize)]
struct LoginAnswer {
    #[serde(rename = "Message", default)]
    message: String,
    #[serde(rename = "Response")]
    response: Option<LoginResponse>,
}

#[derive(Deserialize)]
struct LoginResponse {
    #[serde(rename = "AuthToken", default)]
    token: Option<String>,
    #[serde(default)]
    pre_auth_token: Option<String>,
}

async fn log_in(
    transport: &Transport,
    username: &str,
    password: &Secret,
) -> Result<Secret, ClientError> {
    let body = json!({"username": username, "password": password.reveal()});
    let ask = Ask {
        endpoint: "login",
        method: Method::POST,
        path: LOGIN,
        body: Some(body.to_string().into_bytes()),
        deadline: None,
    };
    let head = transport.send(&ask, None).await?;
    let head = head.succeed(false).await.map_err(|error| match error {
        // Netmaker answers 400 to a wrong password and 401 to an unknown user.
        ClientError::TokenRefused { message } | ClientError::Refused { message, .. } => {
            ClientError::LoginRefused { message }
        }
        ClientError::NoSuchRecord { .. } => ClientError::LoginRefused {
            message: "record not found".to_owned(),
        },
        other => other,
    })?;
    understand(head).await
}

async fn understand(head: Head) -> Result<Secret, ClientError> {
    let what = head.what.clone();
    let body = head.short_body().await?;
    let answer: LoginAnswer = serde_json::from_slice(&body)
        .map_err(|source| ClientError::Undecodable { what, source })?;
    let Some(response) = answer.response else {
        return Err(ClientError::LoginRefused {
            message: answer.message,
        });
    };
    match (response.token, response.pre_auth_token) {
        (Some(token), _) if !token.is_empty() => Ok(Secret::new(token)),
        (_, Some(_)) => Err(ClientError::SecondFactor),
        _ => Err(ClientError::LoginRefused {
            message: "the answer has no token".to_owned(),
        }),
    }
}

/// When a token ends, as it says itself.
fn end_of(token: &str) -> Option<i64> {
    #[derive(Deserialize)]
    struct Claims {
        exp: i64,
    }
    let claims = token.split('.').nth(1)?;
    let claims = URL_SAFE_NO_PAD.decode(claims).ok()?;
    let claims: Claims = serde_json::from_slice(&claims).ok()?;
    Some(claims.exp)
}
