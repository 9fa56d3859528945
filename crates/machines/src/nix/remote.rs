//! Building on the host that will run the system, from a derivation that was evaluated here.

use std::time::Instant;

use nico_api::names::StorePath;
use nico_ssh::{Session, quote};

use super::destination::Destination;
use super::error::NixError;
use super::local::{Nix, store_path};
use crate::configuration::metrics::BuildType;
use crate::program::{Redactor, tail};

const REALISE: &str = include_str!("realise.sh");

/// Protects what was built on the host until it is the system profile. There is one for each
/// host, so that a new build takes the place of an old one that nobody wants any more.
const ROOT: &str = "/nix/var/nix/gcroots/nio-built";

impl Nix {
    /// Copies the closure of a derivation to a host and builds it there.
    ///
    /// # Errors
    /// [`NixError::Copy`], [`NixError::RemoteBuild`], [`NixError::Session`].
    pub async fn build_on_host(
        &self,
        derivation: &StorePath,
        destination: &Destination,
        session: &Session,
        redactor: &Redactor,
    ) -> Result<StorePath, NixError> {
        self.copy_derivation(derivation, destination, redactor)
            .await?;
        let started = Instant::now();
        let command = format!("sh -s -- {} {ROOT}", quote(derivation.as_str()));
        let deadline = self.settings.build_deadline;
        let answer = session
            .run_as_root(&command, REALISE.as_bytes(), deadline)
            .await;
        let built = answer.as_ref().is_ok_and(|output| output.status == 0);
        self.metrics
            .built(BuildType::Build, built, started.elapsed());
        let host = &destination.shown;
        let output = answer.map_err(|source| NixError::Session {
            host: host.clone(),
            source,
        })?;
        if output.status != 0 {
            return Err(NixError::RemoteBuild {
                derivation: derivation.to_string(),
                host: host.clone(),
                status: output.status,
                tail: tail(&output.stderr, redactor),
            });
        }
        store_path("build", &output.stdout)
    }
}
