//! The rules: what is looked for, how bad it is, what comes of it, how it is put right.
//!
//! [`TABLE`] has all of them. A rule is a static with its texts and a page, and stands beside the pure
//! function that looks for it.

pub mod bootstrap;
pub mod build;
pub mod flux;
pub mod helm;
pub mod network;
pub mod nico;
pub mod schema;
pub mod secrets;
pub mod sources;
pub mod substitution;
pub mod talos;
pub mod workloads;
pub mod yaml;

use std::collections::HashSet;

use crate::finding::{Finding, Severity};
use crate::graph::Graph;
use crate::load::Repository;
use crate::settings::Settings;

/// One rule of the catalogue. Everything about it that does not depend on the repository.
#[derive(Debug)]
pub struct Rule {
    /// Group and number, as in `FLX023`. Never given to another rule.
    pub id: &'static str,
    /// What must hold: one line.
    pub title: &'static str,
    /// How bad a finding is, where it does not say otherwise.
    pub severity: Severity,
    /// What happens when it does not hold.
    pub consequence: &'static str,
    /// What to do, where a finding cannot say it more exactly.
    pub fix: &'static str,
    /// The page that `nico check explain` shows below the rest: why, how it is found, examples.
    pub page: &'static str,
}

/// What rules look at.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The files as they are written.
    pub repository: &'a Repository,
    /// What Flux makes of them.
    pub graph: &'a Graph,
    /// What the repository's owner says.
    pub settings: &'a Settings,
}

/// Looks for what breaks some rules.
type Check = fn(&Context<'_>) -> Vec<Finding>;

/// Rules that are found while loading and building have nothing left to look for.
fn found_earlier(_: &Context<'_>) -> Vec<Finding> {
    Vec::new()
}

/// Every rule, and what looks for it. A rule of which two parts are looked for stands beside both.
const TABLE: &[(&[&Rule], Check)] = {
    use flux::{
        applying, components, dependencies, files, health, namespaces, ownership, providers, timing,
    };
    use helm::{chart, hooks, release, remediation, resources, values};
    use network::{dns, gateway, ingress, policy};
    use secrets::{encryption, external, plain};
    use workloads::{availability, images, probes, security, storage};
    &[
        (
            &[&yaml::FLX023, &yaml::LOD001, &yaml::LOD002],
            found_earlier,
        ),
        (&[&build::BLD001, &build::BLD002], found_earlier),
        (
            &[
                &files::FLX014,
                &files::FLX015,
                &files::FLX021,
                &files::FLX022,
                &sources::SRC001,
            ],
            files::check,
        ),
        (
            &[&flux::sources::FLX001, &flux::sources::FLX002],
            flux::sources::check,
        ),
        (
            &[
                &dependencies::FLX003,
                &dependencies::FLX004,
                &dependencies::FLX005,
            ],
            dependencies::check,
        ),
        (&[&providers::FLX006], providers::check),
        (
            &[
                &health::FLX007,
                &health::FLX008,
                &health::FLX026,
                &health::FLX027,
            ],
            health::check,
        ),
        (
            &[&timing::FLX009, &timing::FLX012, &timing::FLX013],
            timing::check,
        ),
        (&[&applying::FLX010, &applying::FLX011], applying::check),
        (&[&ownership::FLX016], ownership::check),
        (
            &[
                &namespaces::FLX017,
                &namespaces::FLX018,
                &namespaces::FLX019,
            ],
            namespaces::check,
        ),
        (&[&components::FLX020], components::check),
        (
            &[&remediation::HR001, &remediation::HR002],
            remediation::check,
        ),
        (&[&chart::HR003, &chart::HR004], chart::check),
        (&[&resources::HR005], resources::check),
        (&[&release::HR006], release::check),
        (&[&values::HR007, &values::HR008], values::check),
        (&[&hooks::HR009], hooks::check),
        (
            &[&sources::SRC001, &sources::SRC002, &sources::SRC003],
            sources::check,
        ),
        (&[&schema::FLX024, &schema::FLX025], schema::check),
        (
            &[
                &substitution::SUB001,
                &substitution::SUB002,
                &substitution::SUB003,
                &substitution::SUB004,
            ],
            substitution::check,
        ),
        (
            &[
                &encryption::SEC001,
                &encryption::SEC003,
                &encryption::SEC004,
            ],
            encryption::check,
        ),
        (&[&plain::SEC002], plain::check),
        (&[&external::SEC005], external::check),
        (&[&ingress::NET001, &ingress::NET002], ingress::check),
        (&[&gateway::NET003], gateway::check),
        (&[&dns::NET004], dns::check),
        (&[&policy::NET005], policy::check),
        (
            &[&storage::WKL001, &storage::WKL002, &storage::WKL005],
            storage::check,
        ),
        (&[&images::WKL003], images::check),
        (&[&availability::WKL004], availability::check),
        (&[&security::WKL006], security::check),
        (&[&probes::WKL007], probes::check),
        (
            &[
                &talos::TAL001,
                &talos::TAL002,
                &talos::TAL003,
                &talos::TAL004,
            ],
            talos::check,
        ),
        (&[&bootstrap::BOO001, &bootstrap::BOO002], bootstrap::check),
        (&[&nico::NIC001, &nico::NIC002], nico::check),
    ]
};

/// Every rule, by identifier.
pub fn all() -> Vec<&'static Rule> {
    let rules = TABLE.iter().flat_map(|(rules, _)| *rules);
    let mut rules: Vec<_> = rules.copied().collect();
    rules.sort_by_key(|rule| rule.id);
    rules.dedup_by_key(|rule| rule.id);
    rules
}

/// Everything that is wrong with the repository, each thing once, with the default settings.
pub fn check(repository: &Repository, clusters: &[Graph]) -> Vec<Finding> {
    check_for(&all(), repository, clusters, &Settings::default())
}

/// What is wrong with the repository by some rules, each thing once. The others are not looked for.
pub fn check_for(
    rules: &[&'static Rule],
    repository: &Repository,
    clusters: &[Graph],
    settings: &Settings,
) -> Vec<Finding> {
    let is_wanted = |rule: &Rule| rules.iter().any(|wanted| wanted.id == rule.id);
    let checks = TABLE.iter();
    let checks = checks.filter(|(rules, _)| rules.iter().any(|rule| is_wanted(rule)));
    let mut findings = repository.findings.clone();
    for graph in clusters {
        let context = Context {
            repository,
            graph,
            settings,
        };
        findings.extend(graph.findings.iter().cloned());
        findings.extend(checks.clone().flat_map(|(_, check)| check(&context)));
    }
    // Whatever is wrong with a base is wrong in every build and every cluster with it.
    let mut seen = HashSet::new();
    findings.retain(|finding| {
        is_wanted(finding.rule)
            && seen.insert((finding.rule.id, finding.location, finding.message.clone()))
    });
    findings
}

/// The page of the documentation that lists all rules.
pub fn reference() -> String {
    let mut page = "# Rules of `nico check`\n\nGenerated by `nico reference`. Do not edit. \
         `nico check explain RULE` says more.\n\n\
         | Rule | Severity | What must hold | Otherwise |\n|---|---|---|---|\n"
        .to_owned();
    for rule in all() {
        let (id, severity, title) = (rule.id, rule.severity, rule.title);
        page += &format!("| {id} | {severity} | {title} | {} |\n", rule.consequence);
    }
    page
}

/// The rule with this identifier, in any case.
pub fn find(id: &str) -> Option<&'static Rule> {
    all()
        .into_iter()
        .find(|rule| rule.id.eq_ignore_ascii_case(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_lists_every_rule() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/rules.md");
        let page = std::fs::read_to_string(path).unwrap();
        assert_eq!(page, reference(), "run ./scripts/generate");
    }

    #[test]
    fn identifiers_are_unique_and_every_rule_is_explained() {
        let rules = all();
        for pair in rules.windows(2) {
            assert!(pair[0].id < pair[1].id, "{} is there twice", pair[1].id);
        }
        for rule in rules {
            for text in [rule.title, rule.consequence, rule.fix, rule.page] {
                assert!(!text.trim().is_empty(), "{} is not explained", rule.id);
            }
        }
    }
}
