//! The two roles of a machine in a cluster.

use std::fmt;

/// What a machine is in a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Runs the Kubernetes API.
    ControlPlane,
    /// Runs workloads.
    Worker,
}

impl Role {
    /// The value of the label `nico.homystack.com/role`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ControlPlane => "control-plane",
            Self::Worker => "worker",
        }
    }

    /// The role that a label value stands for.
    pub fn from_label(value: &str) -> Option<Self> {
        [Self::ControlPlane, Self::Worker]
            .into_iter()
            .find(|role| role.as_str() == value)
    }

    /// What the role is called in messages.
    pub const fn plane(self) -> &'static str {
        match self {
            Self::ControlPlane => "control plane",
            Self::Worker => "data plane",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}
