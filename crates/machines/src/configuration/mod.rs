//! The NixosConfiguration controller.

pub mod metrics;

/// A configuration as it comes out of a watch: perhaps not decodable.
pub(crate) type Guarded = kube::core::DeserializeGuard<nico_api::NixosConfiguration>;
