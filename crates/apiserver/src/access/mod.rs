//! Who may do what: who sends a request, and whether the rules allow it.
//!
//! [`policy`] and [`rules`] are pure: rules and a question go in, a decision comes out. The rest
//! brings them the rules and the questions.

mod attributes;
mod audit;
mod bootstrap;
mod escalation;
mod follow;
mod impersonation;
mod policy;
mod rules;
mod service_accounts;
mod signing;
mod tokens;

use std::sync::{Arc, PoisonError, RwLock};

use http::HeaderMap;
use http::header::AUTHORIZATION;
use k8s_openapi::api::rbac::v1::PolicyRule;

use crate::request::Identity;
use crate::status::Status;
use crate::storage::Storage;

pub use attributes::{Attributes, Resource};
pub use audit::Audit;
pub use bootstrap::create as create_bootstrap_roles;
pub use escalation::check as check_escalation;
pub use follow::{load, run as follow};
pub use policy::{Decision, Granted, Policy};
pub use service_accounts::{
    Account, Bound, ISSUER, PREFIX as SERVICE_ACCOUNT_PREFIX, ServiceAccounts,
};
pub use signing::{SigningKey, SigningKeyError};
pub use tokens::{TokenFileError, Tokens};

/// Members may do everything, whatever the rules say.
pub const MASTERS: &str = "system:masters";
/// The group of everybody who is known.
pub const AUTHENTICATED: &str = "system:authenticated";
/// The user of requests without credentials.
pub const ANONYMOUS: &str = "system:anonymous";
/// The group of that user.
pub const UNAUTHENTICATED: &str = "system:unauthenticated";

/// How a server decides who may do what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Authorization {
    /// Everybody who is known may do everything.
    #[default]
    AlwaysAllow,
    /// Roles and their bindings decide; requests without credentials are those of
    /// `system:anonymous`.
    Rbac,
}

/// Who is known, and who may do what.
#[derive(Debug)]
pub struct Access {
    mode: Authorization,
    tokens: Tokens,
    accounts: ServiceAccounts,
    policy: RwLock<Policy>,
    audit: Option<Audit>,
}

impl Access {
    /// Knows these tokens, and the ServiceAccounts whose tokens `key` has signed. There are no
    /// rules yet.
    pub fn new(mode: Authorization, tokens: Tokens, key: SigningKey) -> Self {
        Self {
            mode,
            tokens,
            accounts: ServiceAccounts::new(key),
            policy: RwLock::default(),
            audit: None,
        }
    }

    /// Notes all requests in a log.
    #[must_use]
    pub fn with_audit(mut self, audit: Audit) -> Self {
        self.audit = Some(audit);
        self
    }

    /// The log of all requests, if there is one.
    pub fn audit(&self) -> Option<&Audit> {
        self.audit.as_ref()
    }

    /// The tokens of ServiceAccounts.
    pub fn accounts(&self) -> &ServiceAccounts {
        &self.accounts
    }

    /// Who sends a request with these headers over a connection of this identity.
    ///
    /// # Errors
    /// 401 without valid credentials, 403 to take on an identity that the sender may not have.
    pub async fn identify(
        &self,
        storage: &dyn Storage,
        headers: &HeaderMap,
        connection: Option<&Arc<Identity>>,
    ) -> Result<Arc<Identity>, Status> {
        let identity = match (connection, bearer(headers)) {
            (Some(identity), _) => identity.clone(),
            (None, Some(token)) => self
                .by_token(storage, token, None)
                .await?
                .ok_or_else(Status::unauthorized)?,
            // Kubernetes knows no anonymous user where everybody may do everything.
            (None, None) if self.mode == Authorization::AlwaysAllow => {
                return Err(Status::unauthorized());
            }
            (None, None) => Arc::new(Identity {
                user: ANONYMOUS.to_owned(),
                groups: vec![UNAUTHENTICATED.to_owned()],
                ..Identity::default()
            }),
        };
        match impersonation::wanted(headers)? {
            None => Ok(identity),
            Some(wanted) => wanted.allowed_to(self, &identity).map(Arc::new),
        }
    }

    /// Whose token this is, for one of these audiences (none: the server itself).
    ///
    /// # Errors
    /// 500 if the storage does not work.
    pub async fn by_token(
        &self,
        storage: &dyn Storage,
        token: &str,
        audiences: Option<&[String]>,
    ) -> Result<Option<Arc<Identity>>, Status> {
        if let Some(identity) = self.tokens.find(token) {
            return Ok(Some(identity));
        }
        let account = self.accounts.verify(storage, token, audiences).await?;
        Ok(account.map(Arc::new))
    }

    /// Whether somebody may do something.
    pub fn decide(&self, identity: &Identity, attributes: &Attributes<'_>) -> Decision {
        if self.allows_everything(identity) {
            return Decision::allowed(String::new());
        }
        self.read_policy().decide(identity, attributes)
    }

    /// Lets through what is allowed.
    ///
    /// # Errors
    /// 403.
    pub fn check(&self, identity: &Identity, attributes: &Attributes<'_>) -> Result<(), Status> {
        let decision = self.decide(identity, attributes);
        if decision.allowed {
            return Ok(());
        }
        tracing::debug!(user = identity.user, ?attributes, "not allowed");
        Err(attributes.forbidden(identity, &decision.reason))
    }

    /// Whether no rule is asked about somebody.
    pub fn allows_everything(&self, identity: &Identity) -> bool {
        self.mode == Authorization::AlwaysAllow || identity.groups.iter().any(|g| g == MASTERS)
    }

    /// The rules that apply to somebody in a namespace (none: outside of namespaces).
    pub fn rules_of(&self, identity: &Identity, namespace: Option<&str>) -> Granted {
        if self.mode == Authorization::AlwaysAllow {
            return Granted {
                rules: rules::everything(),
                problems: Vec::new(),
            };
        }
        self.read_policy().rules_of(identity, namespace)
    }

    /// The rules of the role that a binding in a namespace refers to.
    fn rules_of_role(&self, kind: &str, name: &str, namespace: &str) -> Option<Vec<PolicyRule>> {
        let policy = self.read_policy();
        policy
            .rules_of_role(kind, name, namespace)
            .map(<[_]>::to_vec)
    }

    /// Notes what is stored under a key now; keys of other things are ignored.
    pub fn note(&self, key: &str, value: Option<&[u8]>) {
        self.write_policy().note(key, value);
    }

    fn read_policy(&self) -> std::sync::RwLockReadGuard<'_, Policy> {
        self.policy.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_policy(&self) -> std::sync::RwLockWriteGuard<'_, Policy> {
        self.policy.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bearer token in the headers. Credentials of another form are nobody's.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let header = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = header.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty()).then(|| token.trim())
}
