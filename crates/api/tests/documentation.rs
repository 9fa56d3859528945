//! The troubleshooting page explains every reason of every kind, and no other.

use std::collections::BTreeSet;

/// The words that stand in backticks in the first column of the tables of a section.
fn explained<'a>(page: &'a str, title: &str) -> BTreeSet<&'a str> {
    let mut section = page
        .lines()
        .skip_while(|line| *line != format!("## {title}"))
        .skip(1)
        .take_while(|line| !line.starts_with("## "))
        .peekable();
    assert!(section.peek().is_some(), "there is no section {title}");
    section
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|line| line.split(" | ").next())
        .flat_map(|cell| cell.split(['`', ',', ' ']))
        .filter(|word| !word.is_empty())
        .collect()
}

#[test]
fn every_reason_is_explained_in_the_section_of_its_kind_and_no_other() {
    let page = include_str!("../../../docs/troubleshooting.md");
    for (kind, title) in [
        ("Machine", "Machines"),
        ("NixosConfiguration", "Configurations"),
        ("KubernetesCluster", "Clusters"),
    ] {
        let reasons: BTreeSet<_> = nico_api::reason::all()
            .into_iter()
            .filter(|(of, _, _)| *of == kind)
            .map(|(_, reason, _)| reason)
            .collect();
        let explained = explained(page, title);
        let missing: Vec<_> = reasons.difference(&explained).collect();
        let unknown: Vec<_> = explained.difference(&reasons).collect();
        assert!(
            missing.is_empty() && unknown.is_empty(),
            "{title}: missing {missing:?}, unknown {unknown:?}"
        );
    }
}
