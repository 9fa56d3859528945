//! The troubleshooting page explains every reason, and no other.

use std::collections::BTreeSet;

/// The words that stand in backticks in the first column of the page's tables.
fn explained(page: &str) -> BTreeSet<&str> {
    page.lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|line| line.split(" | ").next())
        .flat_map(|cell| cell.split(['`', ',', ' ']))
        .filter(|word| !word.is_empty())
        .collect()
}

#[test]
fn every_reason_is_explained_and_no_other() {
    let page = include_str!("../../../docs/troubleshooting.md");
    let reasons: BTreeSet<_> = nico_api::reason::all()
        .into_iter()
        .map(|(_, reason, _)| reason)
        .collect();
    let explained = explained(page);
    let missing: Vec<_> = reasons.difference(&explained).collect();
    let unknown: Vec<_> = explained.difference(&reasons).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "missing {missing:?}, unknown {unknown:?}"
    );
}
