//! Rules of others whose range overlaps one of ours.

use std::collections::{BTreeSet, HashMap};

use super::{Overlap, Wanted};
use crate::names::{IpNet, NetworkName};
use crate::netmaker::types::{Owner, Rule};

/// Two ranges overlap only if one contains the other.
pub(super) fn overlaps(wanted: &[Wanted], rules: &[Rule]) -> Vec<Overlap> {
    let mut ranges: HashMap<&NetworkName, BTreeSet<IpNet>> = HashMap::new();
    let others: Vec<(&Rule, IpNet)> = rules
        .iter()
        .filter(|rule| rule.owner == Owner::Others && rule.is_on)
        .filter_map(|rule| Some((rule, rule.range?)))
        .collect();
    if others.is_empty() {
        return Vec::new();
    }
    for wanted in wanted {
        ranges
            .entry(&wanted.network)
            .or_default()
            .insert(wanted.cidr);
    }
    others
        .into_iter()
        .filter(|(rule, range)| {
            let ranges = ranges.get(&rule.network);
            ranges.is_some_and(|ranges| contains_one(range, ranges) || is_in_one(range, ranges))
        })
        .map(|(rule, range)| Overlap {
            rule: rule.id,
            name: rule.name.clone(),
            network: rule.network.clone(),
            range,
        })
        .collect()
}

/// Ranges are ordered by address and then by length: what a range contains follows it.
fn contains_one(range: &IpNet, ranges: &BTreeSet<IpNet>) -> bool {
    let next = ranges.range(range..).next();
    next.is_some_and(|next| range.contains(next))
}

fn is_in_one(range: &IpNet, ranges: &BTreeSet<IpNet>) -> bool {
    let mut wider = range.supernet();
    while let Some(net) = wider {
        if ranges.contains(&net) {
            return true;
        }
        wider = net.supernet();
    }
    false
}
