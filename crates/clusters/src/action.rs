//! What can be done about a cluster. An action carries all that it needs.

use k8s_openapi::jiff::Timestamp;
use nico_api::NixosConfiguration;
use nico_api::names::MachineName;

use crate::kubeconfig::Kubeconfig;
use crate::plan::marks::Failure;
use crate::plan::renewal::Cause;
use crate::role::Role;

/// One change to the Kubernetes API. Doing it twice is the same as doing it once.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Puts the finalizer on the cluster. First of all, so that nothing is left behind.
    AddFinalizer,
    /// Claims a machine, provided that it is still as it was read.
    Claim {
        /// The machine.
        machine: MachineName,
        /// What it is to be.
        role: Role,
        /// resourceVersion that was read.
        version: String,
    },
    /// Gives a machine back, provided that it is still as it was read.
    Release {
        /// The machine.
        machine: MachineName,
        /// resourceVersion that was read.
        version: String,
    },
    /// Makes the Secret with the join token, unless there is one.
    CreateJoinToken,
    /// Makes the NixosConfiguration of a machine.
    CreateConfiguration(Box<NixosConfiguration>),
    /// Brings the NixosConfiguration of a machine to the wanted revision.
    UpdateConfiguration(Box<NixosConfiguration>),
    /// Has the wanted revision copied to a machine, where it waits.
    StageConfiguration(Box<NixosConfiguration>),
    /// Removes the notes of a rollout: the machine is back.
    SettleConfiguration(Box<NixosConfiguration>),
    /// Brings a machine on which a rollout failed back to what it ran before.
    RollBackConfiguration {
        /// What it ran, with the notes.
        configuration: Box<NixosConfiguration>,
        /// How the rollout failed.
        failure: Failure,
    },
    /// Notes how a rollout failed on a machine.
    NoteFailure {
        /// What it has, with the notes.
        configuration: Box<NixosConfiguration>,
        /// How the rollout failed.
        failure: Failure,
    },
    /// Notes on a Node of the new cluster that it is being drained, and cordons it.
    DrainNode {
        /// The machine.
        machine: MachineName,
        /// Name of the Node.
        node: String,
        /// Since when.
        since: Timestamp,
        /// Names the rollout.
        attempt: String,
        /// Whether it has to be cordoned.
        cordon: bool,
    },
    /// Evicts a Pod of the new cluster.
    EvictPod {
        /// The machine.
        machine: MachineName,
        /// Namespace of the Pod.
        namespace: String,
        /// Name of the Pod.
        name: String,
        /// Its uid, so that no other is evicted in its place.
        uid: String,
    },
    /// Takes the note off a Node of the new cluster, and the cordon if it came with the note.
    RestoreNode {
        /// The machine.
        machine: MachineName,
        /// Name of the Node.
        node: String,
        /// Whether to uncordon it.
        uncordon: bool,
    },
    /// Removes a Node from the new cluster.
    DeleteNode {
        /// The machine.
        machine: MachineName,
        /// Name of the Node.
        node: String,
        /// Its uid, so that no other is deleted in its place.
        uid: String,
    },
    /// Deletes the NixosConfiguration of a machine, which takes it off the machine.
    DeleteConfiguration {
        /// The machine.
        machine: MachineName,
        /// Name of the NixosConfiguration.
        name: String,
        /// Its uid, so that no other is deleted in its place.
        uid: String,
    },
    /// Notes on a machine that it was installed from scratch.
    MarkInstalled {
        /// The machine.
        machine: MachineName,
        /// Name of the NixosConfiguration that installed it.
        configuration: String,
        /// resourceVersion that was read.
        version: String,
    },
    /// Makes the Secret with the kubeconfig.
    PublishKubeconfig(Kubeconfig),
    /// Puts another kubeconfig into its Secret, provided that this is still as it was read.
    RenewKubeconfig {
        /// The kubeconfig.
        kubeconfig: Kubeconfig,
        /// resourceVersion that was read.
        version: String,
        /// Why.
        cause: Cause,
    },
    /// Deletes a Secret that the cluster made.
    DeleteSecret {
        /// Its name.
        name: String,
        /// Its uid, so that no other is deleted in its place.
        uid: String,
    },
    /// Takes the finalizer off the cluster. Last of all.
    RemoveFinalizer,
}
