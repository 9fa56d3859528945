//! One machine at a time: reach it, know it, configure it, take the configuration off again.
//!
//! - [`machine`]: the Machine controller: probes, facts, pinned host keys
//! - [`configuration`]: the NixosConfiguration controller
//! - `git`, `nix`, `program`: the outside systems that it drives
//! - [`run`] starts the controllers with [`Settings`] and [`Metrics`]

pub mod configuration;
mod git;
mod hash;
pub mod machine;
mod metrics;
mod nix;
mod program;
mod settings;
mod tree;

pub use metrics::Metrics;
pub use settings::Settings;

use nico_runtime::context::Context;
use nico_ssh::Access;
use thiserror::Error;

/// Why the machine layer ended.
#[derive(Debug, Error)]
pub enum Error {
    /// The Machine controller ended.
    #[error(transparent)]
    Machine(#[from] machine::Error),
    /// The NixosConfiguration controller ended.
    #[error(transparent)]
    Configuration(#[from] configuration::Error),
}

/// Runs the controllers of the layer until the shutdown of `context`.
///
/// # Errors
/// When a controller ends by itself.
pub async fn run(context: Context, settings: Settings, metrics: Metrics) -> Result<(), Error> {
    let access = Access::new(
        context.client.clone(),
        &context.namespace,
        settings.allow_cross_namespace_secrets,
    );
    let configurations = configuration::run(
        context.clone(),
        access.clone(),
        settings.configurations,
        metrics.configurations.clone(),
        metrics.reconcile.clone(),
    );
    let machines = machine::run(context, access, settings.machines, metrics);
    tokio::try_join!(async { configurations.await.map_err(Error::from) }, async {
        machines.await.map_err(Error::from)
    },)?;
    Ok(())
}
