//! What an administrator can set about the machine layer.

use crate::{configuration, machine};

/// Settings of the machine layer, with the defaults of the specification.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// How machines are probed.
    pub machines: machine::Settings,
    /// How configurations are applied.
    pub configurations: configuration::Settings,
    /// Whether objects may refer to Secrets of other namespaces
    /// (`NIO_ALLOW_CROSS_NAMESPACE_SECRETS`).
    pub allow_cross_namespace_secrets: bool,
}
