//! What the commands print.

use std::io;

use nico_mesh::plan::{Action, Deletion, NodeState, Plan, RuleState};
use nico_mesh::{Removed, describe, node_note, withheld_note};

use crate::screen::Screen;

const NO_RULES: &str = "there is no egress rule of this cluster";

pub(super) fn print_plan(screen: &Screen, plan: &Plan) -> io::Result<()> {
    for action in &plan.actions {
        screen.say(&describe(action))?;
    }
    if let Some((reason, deletions)) = &plan.withheld {
        screen.say(&withheld_note(reason, deletions.len()))?;
        for deletion in deletions {
            let described = describe(&Action::Delete(deletion.clone()));
            screen.say(&format!("withheld: {described}"))?;
        }
    }
    for (node, state) in &plan.nodes {
        if *state != NodeState::Ready {
            screen.say(&format!("Node {node}: {}", node_note(node, *state)))?;
        }
    }
    for overlap in &plan.overlaps {
        screen.say(&format!(
            "the rule {} {:?} of somebody else in network {} overlaps: {}",
            overlap.rule, overlap.name, overlap.network, overlap.range
        ))?;
    }
    if plan.is_settled() {
        let count = |state: RuleState| plan.ours.iter().filter(|rule| rule.state == state).count();
        let in_sync = count(RuleState::InSync);
        let held = match count(RuleState::Held) {
            0 => String::new(),
            held => format!(", and {held} stay as they are"),
        };
        screen.say(&format!(
            "nothing to change: {in_sync} rules are as they should be{held}"
        ))?;
    }
    Ok(())
}

pub(super) fn print_rules(screen: &Screen, plan: &Plan) -> io::Result<()> {
    if plan.ours.is_empty() {
        return screen.say(NO_RULES);
    }
    let rows = plan.ours.iter().map(|rule| {
        [
            or_dash(rule.node.as_ref()),
            rule.network.to_string(),
            or_dash(rule.range.as_ref()),
            rule.state.as_str().to_owned(),
            rule.rule.to_string(),
        ]
    });
    print_rows(screen, ["NODE", "NETWORK", "CIDR", "STATE", "ID"], rows)
}

pub(super) fn print_deletions(screen: &Screen, rules: &[Deletion]) -> io::Result<()> {
    if rules.is_empty() {
        return screen.say(NO_RULES);
    }
    let rows = rules.iter().map(|rule| {
        [
            or_dash(rule.node.as_ref()),
            rule.network.to_string(),
            or_dash(rule.range.as_ref()),
            rule.name.to_string(),
            rule.rule.to_string(),
        ]
    });
    print_rows(screen, ["NODE", "NETWORK", "CIDR", "NAME", "ID"], rows)
}

pub(super) fn print_removed(screen: &Screen, removed: &Removed) -> io::Result<()> {
    for (rule, network, why) in &removed.failed {
        screen.say(&format!(
            "the rule {rule} in network {network} is still there: {why}"
        ))?;
    }
    screen.say(&format!("removed {} rules", removed.gone))
}

fn or_dash(cell: Option<&impl ToString>) -> String {
    cell.map_or_else(|| "-".to_owned(), ToString::to_string)
}

fn print_rows(
    screen: &Screen,
    head: [&str; 5],
    rows: impl Iterator<Item = [String; 5]>,
) -> io::Result<()> {
    let rows: Vec<[String; 5]> = std::iter::once(head.map(str::to_owned))
        .chain(rows)
        .collect();
    let widths: [usize; 5] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    });
    for row in &rows {
        let cells = row.iter().zip(widths);
        let line: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        screen.say(line.join("  ").trim_end())?;
    }
    Ok(())
}
