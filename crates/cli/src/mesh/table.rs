//! What the commands print.

#![expect(clippy::print_stdout, reason = "the answer of a command-line program")]

use std::io::{BufRead, Write};

use nico_mesh::plan::{Deletion, NodeState, Plan};
use nico_mesh::{Removed, describe, withheld_note};

pub(super) fn print_plan(plan: &Plan) {
    for action in &plan.actions {
        println!("{}", describe(action));
    }
    if let Some((reason, deletions)) = &plan.withheld {
        println!("{}", withheld_note(reason, deletions.len()));
        for deletion in deletions {
            let described = describe(&nico_mesh::plan::Action::Delete(deletion.clone()));
            println!("withheld: {described}");
        }
    }
    for (node, state) in &plan.nodes {
        if *state != NodeState::Ready {
            println!("Node {node}: {}", state.as_str());
        }
    }
    for overlap in &plan.overlaps {
        println!(
            "the rule {} {:?} of somebody else in network {} overlaps: {}",
            overlap.rule, overlap.name, overlap.network, overlap.range
        );
    }
    if plan.is_settled() {
        println!(
            "nothing to change: {} rules are as they should be",
            plan.ours.len()
        );
    }
}

pub(super) fn print_rules(plan: &Plan) {
    let rows: Vec<[String; 5]> = plan
        .ours
        .iter()
        .map(|rule| {
            [
                or_dash(rule.node.as_ref()),
                rule.network.to_string(),
                or_dash(rule.range.as_ref()),
                rule.state.as_str().to_owned(),
                rule.rule.to_string(),
            ]
        })
        .collect();
    print_rows(
        &["NODE", "NETWORK", "CIDR", "STATE", "ID"].map(str::to_owned),
        &rows,
    );
}

pub(super) fn print_deletions(rules: &[Deletion]) {
    if rules.is_empty() {
        println!("there is no egress rule of this cluster");
        return;
    }
    let rows: Vec<[String; 5]> = rules
        .iter()
        .map(|rule| {
            [
                or_dash(rule.node.as_ref()),
                rule.network.to_string(),
                or_dash(rule.range.as_ref()),
                rule.name.to_string(),
                rule.rule.to_string(),
            ]
        })
        .collect();
    print_rows(
        &["NODE", "NETWORK", "CIDR", "NAME", "ID"].map(str::to_owned),
        &rows,
    );
}

pub(super) fn print_removed(removed: &Removed) {
    println!("removed {} rules", removed.gone);
    for (rule, network, why) in &removed.failed {
        println!("the rule {rule} in network {network} is still there: {why}");
    }
}

pub(super) fn confirm(question: &str) -> std::io::Result<bool> {
    print!("{question} [y/N] ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn or_dash(cell: Option<&impl ToString>) -> String {
    cell.map_or_else(|| "-".to_owned(), ToString::to_string)
}

fn print_rows(head: &[String; 5], rows: &[[String; 5]]) {
    let widths: Vec<usize> = (0..head.len())
        .map(|column| {
            let cells = rows.iter().map(|row| row[column].chars().count());
            cells
                .chain([head[column].chars().count()])
                .max()
                .unwrap_or(0)
        })
        .collect();
    for row in std::iter::once(head).chain(rows) {
        let cells = row.iter().zip(&widths);
        let line: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        println!("{}", line.join("  ").trim_end());
    }
}
