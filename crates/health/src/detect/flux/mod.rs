//! Flux: controllers, sources, Kustomizations, HelmReleases.

mod cleaned_up;
mod controllers;
mod decryption;
mod deletion;
mod dependencies;
mod failure;
mod hooks;
mod immutable;
mod missing_kind;
mod other;
mod progress;
mod retries;
mod revisions;
mod sources;
mod suspended;
mod versions;
mod webhook_calls;

use super::{Detector, Scene};
use crate::facts::workload::Deployment;
use crate::issue::ObjectRef;
use crate::world::World;

/// In the order in which they are asked.
pub(super) const DETECTORS: &[&Detector] = &[
    &controllers::DETECTOR,
    &versions::DETECTOR,
    &deletion::DETECTOR,
    &sources::DETECTOR,
    &decryption::DETECTOR,
    &missing_kind::DETECTOR,
    &immutable::DETECTOR,
    &webhook_calls::DETECTOR,
    &dependencies::DETECTOR,
    &cleaned_up::DETECTOR,
    &retries::DETECTOR,
    &hooks::DETECTOR,
    &other::DETECTOR,
    &progress::DETECTOR,
    &revisions::DETECTOR,
    &suspended::DETECTOR,
];

/// The controllers of Flux, and the operator that keeps them.
fn controllers(world: &World) -> impl Iterator<Item = &Deployment> {
    world.deployments.iter().filter(|deployment| {
        let metadata = &deployment.metadata;
        let is_part = metadata.label("app.kubernetes.io/part-of") == Some("flux");
        let is_named = metadata.namespace == "flux-system"
            && (metadata.name.ends_with("-controller") || metadata.name == "flux-operator");
        is_part || is_named
    })
}

/// The controller that keeps a kind.
fn controller_of(world: &World, kind: &str) -> Vec<ObjectRef> {
    let name = match kind {
        "Kustomization" => "kustomize-controller",
        "HelmRelease" => "helm-controller",
        _ => "source-controller",
    };
    let named = controllers(world).filter(|one| one.metadata.name == name);
    named
        .map(super::super::facts::meta::Object::reference)
        .collect()
}

/// The workloads that a Kustomization or HelmRelease has brought into the cluster, and for a
/// Kustomization also the objects of Flux among them.
pub(crate) fn installed(scene: &Scene<'_>, by: &ObjectRef) -> Vec<ObjectRef> {
    if by.kind == "HelmRelease" {
        let mut releases = scene.world.helm_releases.iter();
        let Some(release) = releases.find(|one| one.reference() == *by) else {
            return vec![];
        };
        let (namespace, name) = release.release();
        let workloads = scene.index.all_workloads().filter(|workload| {
            let metadata = &workload.metadata;
            metadata.annotation("meta.helm.sh/release-name") == Some(name)
                && metadata.annotation("meta.helm.sh/release-namespace") == Some(namespace)
        });
        return workloads
            .map(super::super::facts::meta::Object::reference)
            .collect();
    }
    let mut kustomizations = scene.world.kustomizations.iter();
    let found = kustomizations.find(|one| one.reference() == *by);
    found.map_or(vec![], |one| one.applied().collect())
}
