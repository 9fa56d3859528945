//! Selections of checks under one name, as older scripts made them.

mod check_flux_config;

use crate::config::{Error, matching_rules};
use crate::finding::Finding;
use crate::graph::Graph;
use crate::load::Repository;
use crate::rules::Rule;

pub use check_flux_config::{Intervals, RULES as CHECK_FLUX_CONFIG};

/// A selection of checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// How Kustomizations and HelmReleases are set up: one finding for each file and check.
    CheckFluxConfig,
    /// Whether each file is what an API server takes.
    ValidateManifests,
}

impl Preset {
    /// The rules that it is about.
    pub fn rules(self) -> Result<Vec<&'static Rule>, Error> {
        match self {
            Self::CheckFluxConfig => Ok(CHECK_FLUX_CONFIG.to_vec()),
            Self::ValidateManifests => {
                let groups = VALIDATE_MANIFESTS.iter();
                let rules = groups.map(|group| matching_rules("preset", group));
                Ok(rules.collect::<Result<Vec<_>, _>>()?.concat())
            }
        }
    }

    /// What it finds by itself. Findings of its other rules are those of the whole check.
    pub fn findings(self, repository: &Repository, clusters: &[Graph]) -> Vec<Finding> {
        match self {
            Self::CheckFluxConfig => check_flux_config::check(repository, clusters),
            Self::ValidateManifests => Vec::new(),
        }
    }
}

/// The text of the files, and the fields of the objects.
const VALIDATE_MANIFESTS: [&str; 4] = ["FLX023", "FLX024", "LOD*", "BLD*"];
