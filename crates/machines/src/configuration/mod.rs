//! The NixosConfiguration controller.

mod files;
pub mod metrics;
mod settings;
mod workspace;
pub use settings::Settings;

/// A configuration as it comes out of a watch: perhaps not decodable.
pub(crate) type Guarded = kube::core::DeserializeGuard<nico_api::NixosConfiguration>;
