//! The objects of Flux.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::meta::{Condition, Object, condition, null_is_default};
use crate::issue::ObjectRef;

/// A GitRepository, OCIRepository, HelmRepository, HelmChart or Bucket.
pub type Source = Object<SourceSpec, FluxStatus>;

/// A Kustomization.
pub type Kustomization = Object<KustomizationSpec, FluxStatus>;

/// A HelmRelease.
pub type HelmRelease = Object<ReleaseSpec, FluxStatus>;

/// Where manifests come from.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SourceSpec {
    /// Whether it is not to be looked at.
    pub suspend: bool,
    /// How often it is looked at.
    pub interval: GoDuration,
    /// `oci` for a HelmRepository that has no index and therefore no status.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where a HelmChart comes from.
    pub source_ref: Reference,
}

/// Manifests that are kept applied.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KustomizationSpec {
    /// Whether nothing is to be done.
    pub suspend: bool,
    /// Whether what is taken out is deleted.
    pub prune: bool,
    /// How often it is applied.
    pub interval: GoDuration,
    /// How long that may take.
    pub timeout: Option<GoDuration>,
    /// Where the manifests come from.
    pub source_ref: Reference,
    /// What must be ready before.
    #[serde(deserialize_with = "null_is_default")]
    pub depends_on: Vec<Reference>,
}

/// A chart that is kept installed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReleaseSpec {
    /// Whether nothing is to be done.
    pub suspend: bool,
    /// How often it is looked at.
    pub interval: GoDuration,
    /// How long an action may take.
    pub timeout: Option<GoDuration>,
    /// The release's name; the object's when it is not said.
    pub release_name: Option<String>,
    /// The release's namespace; the object's when it is not said.
    pub target_namespace: Option<String>,
    /// A chart that is made for it.
    pub chart: Option<Chart>,
    /// A chart that is there.
    pub chart_ref: Option<Reference>,
    /// What must be ready before.
    #[serde(deserialize_with = "null_is_default")]
    pub depends_on: Vec<Reference>,
}

/// A chart that is made for a HelmRelease.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Chart {
    /// What it is.
    pub spec: ChartSpec,
}

/// What a chart is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ChartSpec {
    /// Where it comes from.
    pub source_ref: Reference,
}

/// Another object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Reference {
    /// Its kind, where more than one is possible.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its namespace; that of the object itself when it is not said.
    pub namespace: Option<String>,
}

/// How an object of Flux is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FluxStatus {
    /// For which generation of the spec.
    pub observed_generation: Option<i64>,
    /// Its conditions.
    #[serde(deserialize_with = "null_is_default")]
    pub conditions: Vec<Condition>,
    /// What a source gives out.
    pub artifact: Option<Artifact>,
    /// The revision of a Kustomization that is applied.
    pub last_applied_revision: String,
    /// The HelmChart of a HelmRelease, as `namespace/name`.
    pub helm_chart: String,
    /// What a Kustomization has applied.
    pub inventory: Option<Inventory>,
    /// What a HelmRelease has done, the newest first.
    #[serde(deserialize_with = "null_is_default")]
    pub history: Vec<Release>,
    /// The last request by annotation that was taken up.
    pub last_handled_reconcile_at: String,
}

/// What a source gives out.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Artifact {
    /// Its revision, such as `main@sha1:…`.
    pub revision: String,
    /// Since when.
    pub last_update_time: Option<Timestamp>,
}

/// What a Kustomization has applied.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Inventory {
    /// The objects.
    #[serde(deserialize_with = "null_is_default")]
    pub entries: Vec<Entry>,
}

/// An object that a Kustomization has applied.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Entry {
    /// `namespace_name_group_kind`.
    pub id: String,
}

/// What a HelmRelease has done.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Release {
    /// `deployed`, `superseded`, `failed` or the like.
    pub status: String,
    /// The version of the chart.
    pub chart_version: String,
}

/// A duration as Go writes it; what cannot be understood is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GoDuration(pub SignedDuration);

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let duration = text.parse::<kube::core::Duration>().ok();
        let duration = duration.and_then(|duration| {
            SignedDuration::try_from(std::time::Duration::from(duration)).ok()
        });
        Ok(Self(duration.unwrap_or_default()))
    }
}

/// What the kinds of Flux have in common.
pub trait FluxObject {
    /// What it is called.
    fn reference(&self) -> ObjectRef;
    /// The generation of its spec.
    fn generation(&self) -> Option<i64>;
    /// Whether nothing is to be done.
    fn is_suspended(&self) -> bool;
    /// When that was written, as far as it is known.
    fn suspended_at(&self) -> Option<Timestamp>;
    /// When somebody wrote it last.
    fn changed_at(&self) -> Option<Timestamp>;
    /// When it is to be gone.
    fn deleted_at(&self) -> Option<Timestamp>;
    /// How often it is looked at.
    fn interval(&self) -> SignedDuration;
    /// How long an action may take.
    fn timeout(&self) -> SignedDuration;
    /// How it is.
    fn status(&self) -> &FluxStatus;
    /// Where its manifests come from.
    fn source(&self) -> Option<ObjectRef>;
    /// What must be ready before.
    fn dependencies(&self) -> Vec<ObjectRef>;

    /// Its condition Ready, if that is about the spec as it is now.
    fn ready(&self) -> Option<&Condition> {
        let ready = condition(&self.status().conditions, "Ready")?;
        self.is_current(ready).then_some(ready)
    }

    /// Whether a condition is about the spec as it is now.
    fn is_current(&self, condition: &Condition) -> bool {
        let observed = condition
            .observed_generation
            .or(self.status().observed_generation);
        self.generation().unwrap_or(0) <= observed.filter(|seen| *seen >= 0).unwrap_or(i64::MAX)
    }
}

macro_rules! flux_object {
    ($kind:ident, timeout: $timeout:expr, source: $source:expr, dependencies: $dependencies:expr) => {
        impl FluxObject for $kind {
            fn reference(&self) -> ObjectRef {
                Object::reference(self)
            }
            fn generation(&self) -> Option<i64> {
                self.metadata.generation
            }
            fn is_suspended(&self) -> bool {
                self.spec.suspend
            }
            fn suspended_at(&self) -> Option<Timestamp> {
                self.metadata.suspended_at()
            }
            fn changed_at(&self) -> Option<Timestamp> {
                self.metadata.changed_at()
            }
            fn deleted_at(&self) -> Option<Timestamp> {
                self.metadata.deletion_timestamp
            }
            fn interval(&self) -> SignedDuration {
                self.spec.interval.0
            }
            fn timeout(&self) -> SignedDuration {
                let timeout: fn(&$kind) -> SignedDuration = $timeout;
                timeout(self)
            }
            fn status(&self) -> &FluxStatus {
                &self.status
            }
            fn source(&self) -> Option<ObjectRef> {
                let source: fn(&$kind) -> Option<ObjectRef> = $source;
                source(self)
            }
            fn dependencies(&self) -> Vec<ObjectRef> {
                let dependencies: fn(&$kind) -> Vec<ObjectRef> = $dependencies;
                dependencies(self)
            }
        }
    };
}

flux_object!(
    Source,
    timeout: |_| SignedDuration::from_mins(1),
    source: |chart| {
        let is_chart = chart.kind == "HelmChart";
        is_chart.then(|| chart.spec.source_ref.of(&chart.metadata.namespace))
    },
    dependencies: |_| vec![]
);
flux_object!(
    Kustomization,
    timeout: |one| one.spec.timeout.map_or(one.spec.interval.0, |timeout| timeout.0),
    source: |one| Some(one.spec.source_ref.of(&one.metadata.namespace)),
    dependencies: |one| references("Kustomization", &one.spec.depends_on, &one.metadata.namespace)
);
flux_object!(
    HelmRelease,
    timeout: |one| one.spec.timeout.map_or(SignedDuration::from_mins(5), |timeout| timeout.0),
    source: HelmRelease::chart_source,
    dependencies: |one| references("HelmRelease", &one.spec.depends_on, &one.metadata.namespace)
);

impl Kustomization {
    /// The objects that it has applied.
    pub fn applied(&self) -> impl Iterator<Item = ObjectRef> {
        let inventory = self.status.inventory.iter();
        let entries = inventory.flat_map(|inventory| &inventory.entries);
        entries.filter_map(|entry| {
            let mut parts = entry.id.splitn(4, '_');
            let (namespace, name) = (parts.next()?, parts.next()?);
            Some(ObjectRef::new(parts.nth(1)?, namespace, name))
        })
    }
}

impl HelmRelease {
    /// The HelmChart or OCIRepository that it installs.
    pub fn chart_source(&self) -> Option<ObjectRef> {
        if let Some(reference) = &self.spec.chart_ref {
            return Some(reference.of(&self.metadata.namespace));
        }
        if let Some((namespace, name)) = self.status.helm_chart.split_once('/') {
            return Some(ObjectRef::new("HelmChart", namespace, name));
        }
        let chart = self.spec.chart.as_ref()?;
        Some(chart.spec.source_ref.of(&self.metadata.namespace))
    }

    /// The namespace and name of the release.
    pub fn release(&self) -> (&str, &str) {
        let target = self.spec.target_namespace.as_deref();
        let namespace = target.unwrap_or(&self.metadata.namespace);
        let name = self.spec.release_name.as_deref();
        (namespace, name.unwrap_or(&self.metadata.name))
    }
}

impl Reference {
    /// What an object of this namespace means by it.
    pub fn of(&self, namespace: &str) -> ObjectRef {
        let namespace = self.namespace.as_deref().unwrap_or(namespace);
        ObjectRef::new(&self.kind, namespace, &self.name)
    }
}

fn references(kind: &str, references: &[Reference], namespace: &str) -> Vec<ObjectRef> {
    let named = references.iter().map(|reference| {
        let namespace = reference.namespace.as_deref().unwrap_or(namespace);
        ObjectRef::new(kind, namespace, &reference.name)
    });
    named.collect()
}
