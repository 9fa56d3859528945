//! The tokens of ServiceAccounts: signed JWTs that are good for a time, and for as long as the
//! ServiceAccount (and the object that they are bound to) is the one that it was.

use jsonwebtoken::{Header, Validation};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api;
use crate::request::Identity;
use crate::status::Status;
use crate::storage::Storage;

use super::AUTHENTICATED;
use super::signing::{ALGORITHM, SigningKey};

/// What the user names of ServiceAccounts begin with.
pub const PREFIX: &str = "system:serviceaccount:";
/// The issuer of all tokens, and the audience of those for the API server.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// An object by its name and uid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The name.
    pub name: String,
    /// The uid.
    pub uid: String,
}

/// Who a token is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// The namespace.
    pub namespace: String,
    /// The ServiceAccount.
    pub serviceaccount: Account,
    /// The Pod with which the token ends, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Account>,
    /// The Secret with which the token ends, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Account>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    aud: Vec<String>,
    exp: i64,
    iat: i64,
    iss: String,
    jti: String,
    #[serde(rename = "kubernetes.io")]
    bound: Bound,
    nbf: i64,
    sub: String,
}

/// Gives and checks tokens.
#[derive(Debug)]
pub struct ServiceAccounts {
    key: SigningKey,
}

impl ServiceAccounts {
    /// Tokens are signed by this key.
    pub fn new(key: SigningKey) -> Self {
        Self { key }
    }

    /// A token that is good from `now` to `end` (in seconds since 1970) for some audiences.
    ///
    /// # Errors
    /// 500 if it cannot be signed.
    pub fn issue(
        &self,
        bound: Bound,
        audiences: Vec<String>,
        now: i64,
        end: i64,
    ) -> Result<String, Status> {
        let header = Header {
            kid: Some(self.key.id.clone()),
            ..Header::new(ALGORITHM)
        };
        let claims = Claims {
            aud: audiences,
            exp: end,
            iat: now,
            iss: ISSUER.to_owned(),
            jti: uuid::Uuid::new_v4().to_string(),
            sub: format!("{PREFIX}{}:{}", bound.namespace, bound.serviceaccount.name),
            bound,
            nbf: now,
        };
        jsonwebtoken::encode(&header, &claims, &self.key.private)
            .map_err(|error| Status::internal(format!("cannot sign the token: {error}")))
    }

    /// Whose token this is, for one of these audiences (none: the API server itself); none if it
    /// is nobody's any more.
    ///
    /// # Errors
    /// 500 if the storage does not work.
    pub async fn verify(
        &self,
        storage: &dyn Storage,
        token: &str,
        audiences: Option<&[String]>,
    ) -> Result<Option<Identity>, Status> {
        let own = [ISSUER.to_owned()];
        let mut validation = Validation::new(ALGORITHM);
        validation.leeway = 0;
        validation.validate_nbf = true;
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        validation.set_issuer(&own);
        validation.set_audience(audiences.unwrap_or(&own));
        let claims: Claims = match jsonwebtoken::decode(token, &self.key.public, &validation) {
            Ok(data) => data.claims,
            Err(error) => {
                tracing::debug!(%error, "a bearer token is not valid");
                return Ok(None);
            }
        };
        let Bound {
            namespace,
            serviceaccount,
            pod,
            secret,
        } = &claims.bound;
        let bindings = [
            ("serviceaccounts", Some(serviceaccount)),
            ("pods", pod.as_ref()),
            ("secrets", secret.as_ref()),
        ];
        for (resource, bound) in bindings {
            let Some(bound) = bound else { continue };
            if uid(storage, resource, namespace, &bound.name)
                .await?
                .as_ref()
                != Some(&bound.uid)
            {
                tracing::debug!(%namespace, resource, name = bound.name, "the token's object is gone");
                return Ok(None);
            }
        }
        Ok(Some(identity(&claims)))
    }
}

fn identity(claims: &Claims) -> Identity {
    let bound = &claims.bound;
    let extra =
        |key: &str, value: String| (format!("authentication.kubernetes.io/{key}"), vec![value]);
    let mut extras = vec![extra("credential-id", format!("JTI={}", claims.jti))];
    if let Some(pod) = &bound.pod {
        extras.push(extra("pod-name", pod.name.clone()));
        extras.push(extra("pod-uid", pod.uid.clone()));
    }
    Identity {
        user: claims.sub.clone(),
        uid: bound.serviceaccount.uid.clone(),
        groups: groups(&bound.namespace),
        extra: extras.into_iter().collect(),
    }
}

/// The groups of the ServiceAccounts of a namespace.
pub fn groups(namespace: &str) -> Vec<String> {
    vec![
        "system:serviceaccounts".to_owned(),
        format!("system:serviceaccounts:{namespace}"),
        AUTHENTICATED.to_owned(),
    ]
}

/// The uid of an object of the core group; none if there is no such object, or it is going away.
async fn uid(
    storage: &dyn Storage,
    resource: &str,
    namespace: &str,
    name: &str,
) -> Result<Option<String>, Status> {
    let key = format!("/{resource}/{namespace}/{name}");
    let stored = storage
        .get(&key)
        .await
        .map_err(|error| api::storage_failed(&error))?;
    let Some(stored) = stored else {
        return Ok(None);
    };
    let object: Value = serde_json::from_slice(&stored.value).unwrap_or_default();
    let metadata = &object["metadata"];
    // Pods go slowly, and need their tokens meanwhile.
    let gone = !metadata["deletionTimestamp"].is_null() && resource != "pods";
    Ok(metadata["uid"]
        .as_str()
        .filter(|_| !gone)
        .map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::storage::{Expected, Memory};

    const NOW: i64 = 4_000_000_000;

    async fn put(storage: &Memory, key: &str, uid: &str) {
        let value = json!({"metadata": {"uid": uid}}).to_string();
        storage
            .write(key, Expected::Absent, Some(value.into()))
            .await
            .unwrap();
    }

    fn robot(pod: Option<&str>) -> Bound {
        let account = |name: &str, uid: &str| Account {
            name: name.to_owned(),
            uid: uid.to_owned(),
        };
        Bound {
            namespace: "a".to_owned(),
            serviceaccount: account("robot", "1"),
            pod: pod.map(|uid| account("p", uid)),
            secret: None,
        }
    }

    fn accounts() -> ServiceAccounts {
        let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
        ServiceAccounts::new(SigningKey::from_pem(&key).unwrap())
    }

    fn issue(accounts: &ServiceAccounts, bound: Bound, audience: &str, end: i64) -> String {
        accounts
            .issue(bound, vec![audience.to_owned()], 1, end)
            .unwrap()
    }

    #[tokio::test]
    async fn a_token_is_good_as_long_as_all_that_it_is_bound_to_is_there() {
        let (storage, accounts) = (Memory::default(), accounts());
        let token = issue(&accounts, robot(Some("2")), ISSUER, NOW);
        assert_eq!(accounts.verify(&storage, &token, None).await.unwrap(), None);
        put(&storage, "/serviceaccounts/a/robot", "1").await;
        assert_eq!(accounts.verify(&storage, &token, None).await.unwrap(), None);
        put(&storage, "/pods/a/p", "2").await;
        let identity = accounts
            .verify(&storage, &token, None)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(identity.user, "system:serviceaccount:a:robot");
        assert_eq!(identity.uid, "1");
        assert_eq!(
            identity.groups,
            [
                "system:serviceaccounts",
                "system:serviceaccounts:a",
                "system:authenticated"
            ]
        );
        let other = issue(&accounts, robot(Some("another")), ISSUER, NOW);
        assert_eq!(accounts.verify(&storage, &other, None).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_token_is_bad_when_it_is_old_or_for_others_or_not_signed_here() {
        let (storage, accounts) = (Memory::default(), accounts());
        put(&storage, "/serviceaccounts/a/robot", "1").await;
        let good = issue(&accounts, robot(None), ISSUER, NOW);
        let (head, signature) = good.rsplit_once('.').unwrap();
        let (header, _) = head.split_once('.').unwrap();
        let changed = issue(&accounts, robot(None), "vault", NOW);
        let claims = changed.split('.').nth(1).unwrap();
        for (token, is_good) in [
            (good.clone(), true),
            (issue(&accounts, robot(None), ISSUER, 2), false),
            (changed.clone(), false),
            (issue(&self::accounts(), robot(None), ISSUER, NOW), false),
            (format!("{head}."), false),
            (format!("{header}.{claims}.{signature}"), false),
            ("a.b.c".to_owned(), false),
            (String::new(), false),
        ] {
            let identity = accounts.verify(&storage, &token, None).await.unwrap();
            assert_eq!(identity.is_some(), is_good, "{token}");
        }
        let vault = ["vault".to_owned()];
        let identity = accounts
            .verify(&storage, &changed, Some(&vault))
            .await
            .unwrap();
        assert!(identity.is_some());
    }
}
