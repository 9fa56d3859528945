//! The rules: what is looked for, how bad it is, what comes of it, how it is put right.

pub mod build;
pub mod flux;
pub mod helm;
pub mod yaml;

use std::collections::HashSet;

use crate::finding::{Finding, Severity};
use crate::graph::Graph;
use crate::load::Repository;

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

/// Every rule, by identifier.
pub fn all() -> Vec<&'static Rule> {
    let mut rules = Vec::new();
    rules.extend(build::RULES);
    rules.extend(flux::RULES);
    rules.extend(helm::RULES);
    rules.extend(yaml::RULES);
    rules.sort_by_key(|rule| rule.id);
    rules
}

/// Everything that is wrong with the repository, each thing once.
pub fn check(repository: &Repository, graph: &Graph) -> Vec<Finding> {
    let mut findings = repository.findings.clone();
    findings.extend(crate::build::findings(repository));
    findings.extend(graph.findings.iter().cloned());
    findings.extend(flux::check(graph));
    findings.extend(helm::check(graph));
    // Whatever is wrong with a base is wrong in every build with it.
    let mut seen = HashSet::new();
    findings.retain(|finding| {
        seen.insert((finding.rule.id, finding.location, finding.message.clone()))
    });
    findings
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
