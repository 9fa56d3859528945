//! Which workers may be taken in hand now.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::role::Role;

use super::{Placed, Situation, Stage};

/// The workers to take in hand now, those that are down first: the change may be what brings
/// them back. Or why none may be taken, though some wait.
///
/// Workers that are down already count against the budget, whoever took them down; machines
/// that join do not, for they never served.
pub fn next<'a, 'b>(
    situation: &Situation<'_>,
    placed: &'b [Placed<'a>],
) -> Result<Vec<&'b Placed<'a>>, String> {
    let workers: Vec<&Placed<'_>> = placed
        .iter()
        .filter(|node| node.is_of(Role::Worker) && node.stage != Stage::Joining)
        .collect();
    let waiting: Vec<&Placed<'_>> = workers
        .iter()
        .copied()
        .filter(|node| node.stage == Stage::Staged)
        .collect();
    if waiting.is_empty() {
        return Ok(vec![]);
    }
    let budget = budget(&situation.strategy.max_unavailable_workers, workers.len());
    let in_hand = workers
        .iter()
        .filter(|node| node.stage.is_in_hand())
        .count();
    let is_down = |node: &&&Placed<'_>| !node.stage.is_in_hand() && !node.member.is_alive();
    let down = workers.iter().filter(is_down).count();

    let mut taken: Vec<&Placed<'_>> = waiting
        .iter()
        .copied()
        .filter(|node| !node.member.is_alive())
        .take(budget.saturating_sub(in_hand))
        .collect();
    let doubt = situation.doubt();
    if doubt.is_none() {
        taken.extend(
            waiting
                .iter()
                .copied()
                .filter(|node| node.member.is_alive())
                .take(budget.saturating_sub(in_hand + down)),
        );
    }
    if taken.is_empty() && in_hand == 0 {
        return Err(doubt.unwrap_or_else(|| {
            let down: Vec<&str> = workers
                .iter()
                .filter(is_down)
                .map(|node| node.member.machine.as_str())
                .collect();
            format!(
                "{} down, and {budget} may be at once (rollout.maxUnavailableWorkers)",
                is_or_are(&down)
            )
        }));
    }
    Ok(taken)
}

/// Why a worker that is drained may not go down now: others went down meanwhile, or may have.
pub fn obstacle(situation: &Situation<'_>, placed: &[Placed<'_>]) -> Option<String> {
    if let Some(doubt) = situation.doubt() {
        return Some(doubt);
    }
    let workers = placed
        .iter()
        .filter(|node| node.is_of(Role::Worker) && node.stage != Stage::Joining);
    let budget = budget(
        &situation.strategy.max_unavailable_workers,
        workers.clone().count(),
    );
    let is_away = |node: &&Placed<'_>| node.stage.is_in_hand() || !node.member.is_alive();
    let away: Vec<&str> = workers
        .filter(is_away)
        .map(|node| node.member.machine.as_str())
        .collect();
    (away.len() > budget).then(|| format!("{} away already", is_or_are(&away)))
}

fn is_or_are(names: &[&str]) -> String {
    let verb = if names.len() == 1 { "is" } else { "are" };
    format!("{} {verb}", names.join(", "))
}

/// How many of `workers` may be down at once: at least 1, a percentage rounded down.
fn budget(limit: &IntOrString, workers: usize) -> usize {
    let number = match limit {
        IntOrString::Int(number) => usize::try_from(*number).unwrap_or(1),
        IntOrString::String(text) => {
            let percentage: Option<usize> = text.trim_end_matches('%').parse().ok();
            workers * percentage.unwrap_or(0) / 100
        }
    };
    number.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_is_rounded_down_to_at_least_one() {
        let text = |text: &str| IntOrString::String(text.to_owned());
        let table = [
            (IntOrString::Int(1), 5, 1),
            (IntOrString::Int(3), 5, 3),
            (text("10%"), 5, 1),
            (text("50%"), 5, 2),
            (text("100%"), 5, 5),
            (text("25%"), 200, 50),
        ];
        for (limit, workers, expected) in table {
            assert_eq!(budget(&limit, workers), expected, "{limit:?} of {workers}");
        }
    }
}
