//! Copying a closure to a host, over the `ssh` program.

use std::time::Instant;

use nico_api::names::StorePath;
use nico_ssh::quote;

use super::destination::{ALIAS, Destination};
use super::error::NixError;
use super::local::{Nix, turn};
use crate::configuration::metrics::BuildType;
use crate::program::{self, Redactor};

impl Destination {
    /// The store URL. Users other than root write to the store through `sudo`.
    fn store_url(&self) -> String {
        if self.user == "root" {
            format!("ssh://{ALIAS}")
        } else {
            format!("ssh://{ALIAS}?remote-program=sudo%20-n%20nix-store")
        }
    }
}

impl Nix {
    /// Copies a store path and all that it needs, as far as the host lacks it.
    ///
    /// # Errors
    /// [`NixError::Copy`].
    pub async fn copy(
        &self,
        path: &StorePath,
        destination: &Destination,
        redactor: &Redactor,
    ) -> Result<(), NixError> {
        self.copy_as(path, &[], destination, redactor).await
    }

    /// Copies a derivation and all that building it needs, and not what comes out.
    ///
    /// # Errors
    /// [`NixError::Copy`].
    pub(super) async fn copy_derivation(
        &self,
        derivation: &StorePath,
        destination: &Destination,
        redactor: &Redactor,
    ) -> Result<(), NixError> {
        let options = ["--derivation"];
        self.copy_as(derivation, &options, destination, redactor)
            .await
    }

    async fn copy_as(
        &self,
        path: &StorePath,
        options: &[&str],
        destination: &Destination,
        redactor: &Redactor,
    ) -> Result<(), NixError> {
        let _turn = turn(&self.copies).await;
        let started = Instant::now();
        let mut command = self.nix(&["copy", "--no-check-sigs"]);
        command.args(options);
        if self.settings.substitute_on_destination {
            command.arg("--substitute-on-destination");
        }
        let ssh_options = format!("-F {}", quote(&destination.configuration.to_string_lossy()));
        command.env("NIX_SSHOPTS", ssh_options).args([
            "--to",
            &destination.store_url(),
            path.as_str(),
        ]);
        let copied = program::run(command, self.settings.copy_deadline, redactor).await;
        self.metrics
            .built(BuildType::Copy, copied.is_ok(), started.elapsed());
        copied.map(|_| ()).map_err(|source| NixError::Copy {
            path: path.to_string(),
            host: destination.shown.clone(),
            source,
        })
    }
}
