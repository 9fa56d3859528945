//! Certificates, Secrets from elsewhere, and storage.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::flux::GoDuration;
use super::meta::{Condition, Nothing, Object, null_is_default};
use super::node::Conditions;

/// A PersistentVolumeClaim.
pub type Claim = Object<ClaimSpec, ClaimStatus>;

/// A volume of Longhorn.
pub type LonghornVolume = Object<Nothing, LonghornStatus>;

/// A Certificate of cert-manager.
pub type Certificate = Object<CertificateSpec, CertificateStatus>;

/// An Issuer or ClusterIssuer of cert-manager.
pub type Issuer = Object<Nothing, Conditions>;

/// An Order or Challenge of cert-manager.
pub type AcmeStep = Object<AcmeSpec, AcmeStatus>;

/// A SecretStore or ClusterSecretStore.
pub type SecretStore = Object<StoreSpec, Conditions>;

/// An ExternalSecret.
pub type ExternalSecret = Object<ExternalSecretSpec, ExternalSecretStatus>;

/// A StorageClass.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StorageClass {
    /// Its metadata.
    pub metadata: super::meta::Metadata,
    /// `WaitForFirstConsumer`: a claim waits for a Pod.
    pub volume_binding_mode: String,
}

/// Storage that is wanted.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClaimSpec {
    /// Of which class; of the default one when it is not said.
    pub storage_class_name: Option<String>,
}

/// How a claim is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ClaimStatus {
    /// `Pending`, `Bound` or `Lost`.
    pub phase: String,
}

/// How a volume of Longhorn is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LonghornStatus {
    /// `attached`, `attaching`, `detached` and so on.
    pub state: String,
    /// `healthy`, `degraded`, `faulted` or `unknown`.
    pub robustness: String,
    /// When it became degraded last; empty for never.
    pub last_degraded_at: String,
    /// The claim and what uses it.
    pub kubernetes_status: KubernetesStatus,
    /// Its conditions.
    #[serde(deserialize_with = "null_is_default")]
    pub conditions: Vec<Condition>,
}

/// The claim of a volume.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KubernetesStatus {
    /// The claim's namespace.
    pub namespace: String,
    /// The claim's name.
    pub pvc_name: String,
}

/// What a Certificate is to be.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CertificateSpec {
    /// Who issues it.
    pub issuer_ref: IssuerReference,
    /// Where it is kept.
    pub secret_name: String,
}

/// Who issues a certificate.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct IssuerReference {
    /// `Issuer` (also when it is not said) or `ClusterIssuer`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// How a Certificate is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CertificateStatus {
    /// Its conditions.
    #[serde(deserialize_with = "null_is_default")]
    pub conditions: Vec<Condition>,
    /// Until when it is valid.
    pub not_after: Option<Timestamp>,
    /// When it is to be renewed.
    pub renewal_time: Option<Timestamp>,
}

/// What proves that a domain is ours.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AcmeSpec {
    /// The domain of a Challenge.
    pub dns_name: String,
}

/// How that goes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct AcmeStatus {
    /// `pending`, `valid`, `invalid`, `errored`, `expired` and so on.
    pub state: String,
    /// Why.
    pub reason: String,
}

/// Where Secrets come from.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct StoreSpec {
    /// The provider by its name. What is in it may be secret and is not kept.
    #[serde(deserialize_with = "null_is_default")]
    pub provider: BTreeMap<String, IgnoredAny>,
}

/// A Secret that comes from elsewhere.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExternalSecretSpec {
    /// How often it is read; never again for 0.
    pub refresh_interval: GoDuration,
    /// Where it comes from.
    pub secret_store_ref: IssuerReference,
    /// Where it is kept.
    pub target: Target,
    /// Its keys.
    #[serde(deserialize_with = "null_is_default")]
    pub data: Vec<IgnoredAny>,
    /// Where many keys come from at once.
    #[serde(deserialize_with = "null_is_default")]
    pub data_from: Vec<IgnoredAny>,
}

/// Where a Secret is kept.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Target {
    /// Its name; that of the ExternalSecret when it is not said.
    pub name: Option<String>,
}

/// How an ExternalSecret is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExternalSecretStatus {
    /// Its conditions.
    #[serde(deserialize_with = "null_is_default")]
    pub conditions: Vec<Condition>,
    /// When it was read last.
    pub refresh_time: Option<Timestamp>,
}

impl ExternalSecret {
    /// The name of the Secret.
    pub fn secret(&self) -> &str {
        self.spec
            .target
            .name
            .as_deref()
            .unwrap_or(&self.metadata.name)
    }
}
