//! What a repository's owner may set about the rules. The defaults are those without a configuration.

use std::time::Duration;

use globset::{Glob, GlobMatcher};

use crate::graph::Key;
use crate::schema::ByKind;

/// Everything that rules are told from outside of the repository's objects.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The Kubernetes version that the objects must fit: the minor number of 1.x.
    pub kubernetes: Option<u32>,
    /// The Flux version that the objects must fit: the minor number of 2.x. Where it is not set, the
    /// one that the repository installs, if that is written anywhere.
    pub flux: Option<u32>,
    /// How often Kustomizations are looked at, by their namespace. The first that fits counts.
    pub tiers: Vec<Tier>,
    /// API groups, and the Kustomization that brings their kinds. For what cannot be seen in the tree.
    pub providers: Vec<(String, Key)>,
    /// Ingress classes that something outside of the repository makes.
    pub ingress_classes: Vec<String>,
    /// How many secrets may be read from one store in a day; stores of 1Password have a quota.
    pub secret_reads_a_day: u64,
    /// Whether Flux refuses variables without a value (its feature `StrictPostBuildSubstitutions`).
    pub strict_substitution: bool,
    /// What the owner wants beyond what works.
    pub conventions: Conventions,
    /// Schemas from outside of the repository, before those that come with this program.
    pub schemas: ByKind,
}

/// What is the same everywhere in a repository, where its owner says so.
#[derive(Clone, Debug, Default)]
pub struct Conventions {
    /// Where the path of a Kustomization leads.
    pub path: Option<PathConvention>,
    /// Whether each HelmRelease has exactly one source in its folder.
    pub source_beside_release: bool,
    /// The Ingresses that may be external, by `NAMESPACE/NAME`. Without it, all may.
    pub external_ingresses: Option<Vec<GlobMatcher>>,
}

/// A pattern for paths with `{namespace}` and `{name}` in it.
#[derive(Clone, Debug)]
pub struct PathConvention(String);

impl PathConvention {
    /// The convention of a pattern such as `apps/{namespace}/{name}/**`.
    ///
    /// # Errors
    /// If it is no pattern.
    pub fn parse(pattern: &str) -> Result<Self, globset::Error> {
        let convention = Self(trimmed(pattern).to_owned());
        convention.matcher("a", "b").map(|_| convention)
    }

    /// Whether the path of the Kustomization with this namespace and name is where it should be.
    pub fn fits(&self, path: &str, namespace: &str, name: &str) -> bool {
        let matcher = self.matcher(&globset::escape(namespace), &globset::escape(name));
        matcher.is_ok_and(|matcher| matcher.is_match(trimmed(path)))
    }

    /// The pattern as it was written.
    pub fn pattern(&self) -> &str {
        &self.0
    }

    fn matcher(&self, namespace: &str, name: &str) -> Result<GlobMatcher, globset::Error> {
        let filled = self.0.replace("{namespace}", namespace);
        let glob = Glob::new(&filled.replace("{name}", name))?;
        Ok(glob.compile_matcher())
    }
}

fn trimmed(path: &str) -> &str {
    path.trim_start_matches("./").trim_matches('/')
}

/// Namespaces whose Kustomizations should be looked at equally often.
#[derive(Clone, Debug)]
pub struct Tier {
    /// What it is called in findings.
    pub name: String,
    /// The namespaces.
    pub namespaces: Vec<String>,
    /// The shortest interval.
    pub at_least: Duration,
    /// The longest interval.
    pub at_most: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        let critical = [
            "cert-manager",
            "external-secrets",
            "flux-system",
            "kube-system",
            "network",
        ];
        Self {
            kubernetes: None,
            flux: None,
            tiers: vec![Tier {
                name: "critical".to_owned(),
                namespaces: critical.map(str::to_owned).to_vec(),
                at_least: Duration::from_secs(60),
                at_most: Duration::from_secs(3600),
            }],
            providers: Vec::new(),
            ingress_classes: Vec::new(),
            secret_reads_a_day: 1000,
            strict_substitution: false,
            conventions: Conventions::default(),
            schemas: ByKind::new(),
        }
    }
}

impl Settings {
    /// Whether the cluster cannot do without what runs in this namespace.
    pub fn is_critical(&self, namespace: &str) -> bool {
        let mut tiers = self.tiers.iter();
        tiers.any(|tier| {
            tier.name == "critical" && tier.namespaces.iter().any(|known| known == namespace)
        })
    }
}
