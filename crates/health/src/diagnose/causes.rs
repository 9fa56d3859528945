//! Which issue explains which.

use std::collections::{BTreeSet, HashMap};

use crate::issue::{Issue, ObjectRef};

/// For each issue of a list, by its place, the one that explains it.
pub(super) struct Causes {
    direct: Vec<Option<usize>>,
    roots: Vec<usize>,
}

impl Causes {
    /// An issue is explained by the first of its suspects with which something is wrong too.
    pub(super) fn of(issues: &[Issue]) -> Self {
        let places: HashMap<&ObjectRef, usize> = issues
            .iter()
            .enumerate()
            .map(|(place, issue)| (&issue.object, place))
            .collect();
        let mut direct: Vec<Option<usize>> = issues
            .iter()
            .enumerate()
            .map(|(place, issue)| {
                let suspects = issue.suspects.iter();
                let mut wrong = suspects.filter_map(|suspect| places.get(suspect));
                wrong.find(|suspect| **suspect != place).copied()
            })
            .collect();
        break_circles(&mut direct);
        let roots = (0..issues.len()).map(|place| end(place, &direct)).collect();
        Self { direct, roots }
    }

    /// The issue at the end of all reasons: the issue itself, where nothing explains it.
    pub(super) fn root(&self, place: usize) -> usize {
        self.roots[place]
    }

    /// These issues with all that explains them.
    pub(super) fn with_reasons(&self, asked: impl Iterator<Item = usize>) -> BTreeSet<usize> {
        let mut all = BTreeSet::new();
        for place in asked {
            let mut at = Some(place);
            // What is there already is there with its reasons.
            while let Some(place) = at.filter(|place| all.insert(*place)) {
                at = self.direct[place];
            }
        }
        all
    }
}

/// Objects that wait for each other in a circle: the first of them explains the others.
fn break_circles(direct: &mut [Option<usize>]) {
    let mut is_checked = vec![false; direct.len()];
    for start in 0..direct.len() {
        let mut path = vec![];
        let mut at = start;
        while !is_checked[at] {
            is_checked[at] = true;
            path.push(at);
            let Some(next) = direct[at] else { break };
            at = next;
            if let Some(begin) = path.iter().position(|place| *place == at) {
                let first = path[begin..].iter().min().copied().unwrap_or(at);
                direct[first] = None;
            }
        }
    }
}

fn end(place: usize, direct: &[Option<usize>]) -> usize {
    let mut at = place;
    while let Some(next) = direct[at] {
        at = next;
    }
    at
}
