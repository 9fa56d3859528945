//! Reads credentials from Secrets.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, ResourceExt};
use nico_api::Machine;
use nico_api::references::{PasswordReference, SecretReference};
use zeroize::{Zeroize, Zeroizing};

use super::error::AccessError;
use super::identity;
use crate::credentials::Credentials;

/// The key under which Kubernetes keeps SSH private keys (type `kubernetes.io/ssh-auth`).
const PRIVATE_KEY: &str = "ssh-privatekey";

/// Reads Secrets that Machines refer to.
#[derive(Clone)]
pub(super) struct Secrets {
    client: Client,
    allow_cross_namespace: bool,
}

/// A value in a Secret, as a spec refers to it.
struct Wanted<'a> {
    field: &'static str,
    namespace: Option<&'a str>,
    name: &'a str,
    key: &'a str,
}

impl Secrets {
    pub(super) fn new(client: Client, allow_cross_namespace: bool) -> Self {
        Self {
            client,
            allow_cross_namespace,
        }
    }

    /// Adds the private key that `spec.sshKeySecretRef` refers to.
    pub(super) async fn private_key(
        &self,
        machine: &Machine,
        reference: &SecretReference,
        credentials: Credentials,
    ) -> Result<Credentials, AccessError> {
        let wanted = Wanted {
            field: "sshKeySecretRef",
            namespace: reference.namespace.as_deref(),
            name: &reference.name,
            key: PRIVATE_KEY,
        };
        let (secret, text) = self.read(machine, &wanted).await?;
        credentials
            .with_private_key(&text)
            .map_err(|source| AccessError::InvalidKey {
                secret,
                key: wanted.key.to_owned(),
                source,
            })
    }

    /// The password that `spec.sshPasswordSecretRef` refers to, without a line break at its end.
    pub(super) async fn password(
        &self,
        machine: &Machine,
        reference: &PasswordReference,
    ) -> Result<Zeroizing<String>, AccessError> {
        let wanted = Wanted {
            field: "sshPasswordSecretRef",
            namespace: reference.namespace.as_deref(),
            name: &reference.name,
            key: &reference.key,
        };
        let (_, text) = self.read(machine, &wanted).await?;
        Ok(Zeroizing::new(
            text.trim_end_matches(['\r', '\n']).to_owned(),
        ))
    }

    /// The name of the Secret for messages, and the value.
    async fn read(
        &self,
        machine: &Machine,
        wanted: &Wanted<'_>,
    ) -> Result<(String, Zeroizing<String>), AccessError> {
        let own = machine.namespace().unwrap_or_default();
        let namespace = wanted
            .namespace
            .filter(|namespace| !namespace.is_empty())
            .unwrap_or(&own);
        let secret = format!("{namespace}/{}", wanted.name);
        if namespace != own && !self.allow_cross_namespace {
            return Err(AccessError::CrossNamespace {
                machine: identity(machine),
                secret,
            });
        }
        let found = Api::<Secret>::namespaced(self.client.clone(), namespace)
            .get_opt(wanted.name)
            .await
            .map_err(|source| AccessError::Api {
                action: "read",
                secret: secret.clone(),
                source,
            })?;
        let Some(found) = found else {
            return Err(AccessError::SecretNotFound {
                secret,
                key: wanted.key.to_owned(),
                field: wanted.field,
            });
        };
        let text = take(found, &secret, wanted)?;
        Ok((secret, text))
    }
}

/// Takes the wanted value out of a Secret and overwrites the rest.
fn take(
    found: Secret,
    secret: &str,
    wanted: &Wanted<'_>,
) -> Result<Zeroizing<String>, AccessError> {
    let mut data = found.data.unwrap_or_default();
    let value = data.remove(wanted.key);
    let present: Vec<String> = data.keys().cloned().collect();
    data.into_values()
        .for_each(|ByteString(mut bytes)| bytes.zeroize());
    let Some(ByteString(bytes)) = value else {
        return Err(AccessError::KeyNotFound {
            secret: secret.to_owned(),
            key: wanted.key.to_owned(),
            field: wanted.field,
            present,
        });
    };
    let not_text = || AccessError::NotText {
        secret: secret.to_owned(),
        key: wanted.key.to_owned(),
    };
    let text = String::from_utf8(bytes).map_err(|error| {
        error.into_bytes().zeroize();
        not_text()
    })?;
    let text = Zeroizing::new(text);
    if text.trim().is_empty() {
        return Err(not_text());
    }
    Ok(text)
}
