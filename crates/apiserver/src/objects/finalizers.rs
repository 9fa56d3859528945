//! The finalizers that belong to Kubernetes.

/// Waits until the dependents of an object are gone.
pub const FOREGROUND: &str = "foregroundDeletion";
/// Waits until the dependents of an object have no owner any more.
pub const ORPHAN: &str = "orphan";
/// Waits until the objects of a CustomResourceDefinition are gone.
pub const CUSTOM_RESOURCES: &str = "customresourcecleanup.apiextensions.k8s.io";
/// Waits, in the spec of a Namespace, until it is empty.
pub const NAMESPACE: &str = "kubernetes";
