//! Labels, annotations, finalizers and field managers, each named once.

/// Label on a Machine that is claimed, and on all that a cluster owns: the cluster's name.
pub const CLUSTER: &str = "nico.homystack.com/cluster";

/// Label beside [`CLUSTER`]: `control-plane` or `worker`.
pub const ROLE: &str = "nico.homystack.com/role";

/// Annotation on a claimed Machine: the uid of the cluster that holds the claim, so that a
/// cluster that was deleted and made again does not inherit the claims of the old one.
pub const CLUSTER_UID: &str = "nico.homystack.com/cluster-uid";

/// Annotation on a Machine: the disk was installed from scratch once and never will be again.
pub const FULL_INSTALLATION_APPLIED: &str = "nico.homystack.com/fullInstallationApplied";

/// Annotation on a NixosConfiguration that a rollout changes: the spec that the machine was seen
/// to run before, as JSON. A node that fails goes back to it.
pub const PREVIOUS_SPEC: &str = "nico.homystack.com/previous-spec";

/// Annotation on a NixosConfiguration: when a rollout took the machine in hand (RFC 3339). It
/// goes when the machine is back and its Node is Ready.
pub const CHANGING_SINCE: &str = "nico.homystack.com/changing-since";

/// Annotation on a NixosConfiguration: the rollout that failed on this machine, the step and
/// what was said, as JSON. It goes with the next rollout.
pub const FAILED_ROLLOUT: &str = "nico.homystack.com/failed-rollout";

/// Annotation on a Node of a cluster: when NICO began to drain it (RFC 3339).
pub const DRAINING_SINCE: &str = "nico.homystack.com/draining-since";

/// Annotation on a Node of a cluster, beside [`DRAINING_SINCE`]: the rollout for which it is
/// drained.
pub const DRAINING_FOR: &str = "nico.homystack.com/draining-for";

/// Annotation on the Secret with the kubeconfig of a cluster: the Machine on which it was found.
pub const KUBECONFIG_MACHINE: &str = "nico.homystack.com/kubeconfig-machine";

/// Annotation with the value `true` on a Node of a cluster: NICO cordoned it, and will take
/// that back.
pub const CORDONED: &str = "nico.homystack.com/cordoned";

/// Annotation on a Machine: the fingerprint of the changed host key that the user trusts.
pub const RESET_HOST_KEY: &str = "nio.homystack.com/reset-host-key";

/// Annotation: any new value starts a reconcile now and resets the backoff.
pub const RECONCILE_AT: &str = "nio.homystack.com/reconcile-at";

/// Annotation with the value `true` on a NixosConfiguration that is being deleted: give up
/// the host, which stays as it is.
pub const FORCE_REMOVE: &str = "nio.homystack.com/force-remove";

/// Annotation on a NixosConfiguration with the value of `status.fullInstallStartedTime`: wipe the
/// disk again, although a full install began then whose outcome is not known or that failed.
pub const REPEAT_FULL_INSTALL: &str = "nio.homystack.com/repeat-full-install";

/// Finalizer on a NixosConfiguration: takes the configuration off the machine.
pub const CONFIGURATION_FINALIZER: &str = "nio.homystack.com/remove";

/// Finalizer on a KubernetesCluster: releases all machines.
pub const CLUSTER_FINALIZER: &str = "nico.homystack.com/cluster";

/// Field manager of the Machine controller.
pub const MACHINE_CONTROLLER: &str = "nio-machine-controller";

/// Field manager of the NixosConfiguration controller.
pub const CONFIGURATION_CONTROLLER: &str = "nio-configuration-controller";

/// Field manager of the KubernetesCluster controller.
pub const CLUSTER_CONTROLLER: &str = "nico-cluster-controller";
