//! The closed sets of condition reasons.
//!
//! A reason is part of the API: scripts match it and `docs/troubleshooting.md` explains it.
//! [`all`] gives every reason with what it means, from which that page is checked for
//! completeness.

use std::fmt;

macro_rules! reasons {
    ($(#[$documentation:meta])* $set:ident { $($name:ident = $meaning:literal,)+ }) => {
        $(#[$documentation])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $set {
            $(#[doc = $meaning] $name,)+
        }

        impl $set {
            /// Every reason of the set.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The word that stands in `reason`.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }

            /// What the reason means, in one sentence.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => $meaning,)+
                }
            }
        }

        impl fmt::Display for $set {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(self.as_str())
            }
        }

        impl AsRef<str> for $set {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }
    };
}

reasons! {
    /// Why a condition of a Machine is what it is.
    MachineReason {
        Connected = "A session was opened and a command answered.",
        DnsFailure = "The host name could not be resolved.",
        ConnectionRefused = "The address answers, but nothing listens on the SSH port.",
        Unreachable = "There is no way to the address.",
        TimedOut = "The machine did not answer in time.",
        HostKeyChanged = "The machine shows another host key than the one that is trusted.",
        AuthenticationFailed = "The machine accepts neither the key nor the password.",
        MissingCredentials = "The spec names no Secret, or the Secret or its key is not there.",
        InvalidCredentials = "The Secret holds something that is no usable private key.",
        CrossNamespaceSecret = "The Secret is in another namespace, which the operator does not allow.",
        ConnectionFailed = "The connection broke, or the other side does not speak SSH.",
        CommandFailed = "A session was opened, but the command failed.",
        Inspected = "The facts are fresh.",
        InspectionFailed = "The facts could not be gathered.",
        Available = "The machine is reachable and inspected.",
        NotReachable = "The machine is not reachable; the condition Reachable says why.",
        Maintenance = "The machine is in maintenance.",
        RemovalForced = "A configuration was given up by force; the host still carries it.",
        InvalidSpec = "The spec cannot be used as it is.",
    }
}

reasons! {
    /// Why a condition of a NixosConfiguration is what it is.
    ConfigurationReason {
        Applied = "The machine runs what is wanted.",
        Pending = "The step has not been reached yet.",
        InProgress = "The step is under way.",
        Resolved = "The reference is resolved and the commit is exported.",
        Evaluated = "The flake output was evaluated.",
        Built = "The system was built.",
        Copied = "The closure is on the host.",
        Activated = "The system was activated and confirmed.",
        MachineNotFound = "There is no Machine of that name.",
        MachineInUse = "Another NixosConfiguration has the machine.",
        MachineInMaintenance = "The machine is in maintenance and is not changed.",
        MachineNotReachable = "No session to the machine can be opened.",
        SecretNotFound = "A Secret, or a key of it, is not there.",
        FactsNotFound = "The machine has no nixos-facter report.",
        InvalidSpec = "The spec cannot be used as it is.",
        NotSupported = "The spec asks for something that this version does not do.",
        FileUrlNotAllowed = "The operator does not allow file URLs.",
        RepositoryNotFound = "There is no Git repository at the URL, or it is hidden.",
        ReferenceNotFound = "The repository has no such branch, tag or commit.",
        GitAuthenticationFailed = "The repository does not accept the credentials.",
        GitUnreachable = "The Git server did not answer.",
        GitFailed = "Git failed.",
        EvaluationFailed = "The flake output does not evaluate.",
        BuildFailed = "The system does not build.",
        CopyFailed = "The closure could not be copied to the host.",
        RootRequired = "The SSH user is neither root nor may use sudo without a password.",
        HostDiskFull = "The host has no space left.",
        HostReadOnly = "A file system of the host that has to be written is read-only.",
        ActivationFailed = "The system could not be activated.",
        InstallerMissing = "There is no nixos-anywhere where the operator runs.",
        InstallRefused = "The machine is not one that can be installed from scratch.",
        InstallFailed = "The installation from scratch failed; the disk may be wiped.",
        InstallInterrupted = "An installation from scratch began and did not end well; it is not repeated by itself.",
        NotConfirmed = "The host did not answer over a new connection.",
        RebootIneffective = "The host was rebooted and still does not run the new kernel.",
        RolledBack = "The host went back to the previous generation.",
        Drifted = "The host runs another system than the one that was applied.",
        Removing = "The configuration is being taken off the machine.",
        TimedOut = "The step took longer than it may.",
        InternalError = "The operator met a state that it does not expect.",
        Staged = "The system is on the host and waits until the spec no longer says hold.",
        Retrying = "It is tried again by itself.",
        WaitingForChange = "Nothing more is tried until spec, commit, Secrets or Machine change.",
    }
}

reasons! {
    /// Why a condition of a KubernetesCluster is what it is.
    ClusterReason {
        AllReady = "Every machine is ready.",
        Selected = "Every machine is chosen and claimed.",
        NotEnoughMachines = "Fewer machines can be chosen than the spec asks for.",
        MachineNotFound = "A machine of the spec does not exist.",
        MachineNotDiscoverable = "A machine of the spec does not answer over SSH.",
        MachineNotInstallable = "A machine runs neither NixOS nor an installer, and its disk may not be wiped.",
        MachineInUse = "A machine of the spec is claimed by another cluster or carries another configuration.",
        ClaimContended = "Another cluster claimed the machines first.",
        Resolved = "The reference is resolved to a commit.",
        NoRepository = "Neither the spec nor the operator names a repository.",
        InvalidSpec = "The spec cannot be used as it is.",
        FileUrlNotAllowed = "The operator does not allow file URLs.",
        RepositoryNotFound = "There is no Git repository at the URL, or it is hidden.",
        ReferenceNotFound = "The repository has no such branch, tag or commit.",
        GitAuthenticationFailed = "The repository does not accept the credentials.",
        GitUnreachable = "The Git server did not answer.",
        GitFailed = "Git failed.",
        SecretNotFound = "A Secret, or a key of it, is not there.",
        WaitingForMachines = "Machines are not chosen yet.",
        WaitingForConfigurations = "Configurations are not applied yet.",
        WaitingForNodes = "Nodes are not Ready in the new cluster yet.",
        WaitingForControlPlane = "The control plane is not ready yet.",
        NoWorkers = "The spec has no workers.",
        ConfigurationFailed = "The configuration of a machine failed.",
        Published = "The kubeconfig is in its Secret.",
        KubeconfigNotFound = "No control-plane machine has a kubeconfig yet.",
        KubeconfigInvalid = "The kubeconfig of the control plane cannot be used.",
        KubeconfigNotProven = "The kubeconfig was found, but a request with it failed.",
        KubeconfigEnding = "The client certificate of the kubeconfig has less than a quarter of its life left, and no control-plane machine has a better one yet.",
        KubeconfigRefused = "The API of the new cluster refuses the kubeconfig, or its certificate is not the one that the kubeconfig names, and no control-plane machine has a better one yet.",
        NodesReady = "Every Node is Ready.",
        NodesNotReady = "A Node is missing or not Ready.",
        ClusterUnreachable = "The API of the new cluster cannot be reached.",
        NotStarted = "There is nothing to roll out yet.",
        Finished = "Every node runs the wanted revision.",
        Staging = "The wanted revision is evaluated, built and copied to every machine; no node is touched yet.",
        Updating = "Nodes are being changed.",
        DrainBlocked = "Pods cannot be moved away from the node that is to be changed.",
        ClusterNotHealthy = "The cluster could not bear that another node goes down.",
        VersionChangeRefused = "The change of the Kubernetes version is not one that rolls out by itself.",
        NodeFailed = "A node failed, and the rollout stopped.",
        Paused = "The spec says paused.",
        NotPaused = "The spec does not say paused.",
        Deleting = "The cluster is being deleted.",
        InternalError = "The operator met a state that it does not expect.",
    }
}

/// Every reason: the kind that carries it, the word, what it means.
pub fn all() -> Vec<(&'static str, &'static str, &'static str)> {
    let machine = MachineReason::ALL
        .iter()
        .map(|reason| ("Machine", reason.as_str(), reason.meaning()));
    let configuration = ConfigurationReason::ALL
        .iter()
        .map(|reason| ("NixosConfiguration", reason.as_str(), reason.meaning()));
    let cluster = ClusterReason::ALL
        .iter()
        .map(|reason| ("KubernetesCluster", reason.as_str(), reason.meaning()));
    machine.chain(configuration).chain(cluster).collect()
}
