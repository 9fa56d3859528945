//! What a repository's owner may set about the rules. The defaults are those without a configuration.

use std::time::Duration;

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
    /// Schemas from outside of the repository, before those that come with this program.
    pub schemas: ByKind,
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
