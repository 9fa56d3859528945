//! Where a Pod goes: a simple scheduler.
//!
//! It knows node selectors, required node affinity, taints, `unschedulable`, readiness and the
//! number of Pods that a Node can have. It does not know what Pods need of processors and memory,
//! nor affinity between Pods.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde_json::{Value, json};

use crate::objects;

use super::taints;

const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// Addresses of Pods on Nodes without a `podCIDR`.
const ADDRESSES: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 244, 0, 0), 16);

/// A Node, and what is there already.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The Node.
    pub node: &'a Value,
    /// Pods on it.
    pub pods: usize,
    /// Pods of the same controller on it.
    pub siblings: usize,
}

/// The name of the Node for a Pod: the one with fewest Pods of its kind, then with fewest Pods.
///
/// # Errors
/// Why there is none, in the words of the scheduler.
pub fn choose<'a>(pod: &Value, candidates: &[Candidate<'a>]) -> Result<&'a str, String> {
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let mut best: Option<(usize, usize, &str)> = None;
    for candidate in candidates {
        match obstacle(&pod["spec"], candidate) {
            Some(reason) => *reasons.entry(reason).or_default() += 1,
            None => {
                let name = candidate.node["metadata"]["name"]
                    .as_str()
                    .unwrap_or_default();
                let rank = (candidate.siblings, candidate.pods, name);
                best = Some(best.map_or(rank, |best| best.min(rank)));
            }
        }
    }
    if let Some((.., name)) = best {
        return Ok(name);
    }
    if candidates.is_empty() {
        return Err("no nodes available to schedule pods".to_owned());
    }
    let reasons: Vec<String> = reasons
        .into_iter()
        .map(|(reason, count)| format!("{count} {reason}"))
        .collect();
    let count = candidates.len();
    Err(format!(
        "0/{count} nodes are available: {}.",
        reasons.join(", ")
    ))
}

/// Why a Pod cannot go to a Node.
fn obstacle(spec: &Value, candidate: &Candidate<'_>) -> Option<String> {
    let node = candidate.node;
    let cordon = json!({"key": UNSCHEDULABLE, "effect": "NoSchedule"});
    if node["spec"]["unschedulable"] == true && !taints::is_tolerated(spec, &cordon) {
        return Some("node(s) were unschedulable".to_owned());
    }
    if !matches_selectors(spec, node) {
        return Some("node(s) didn't match Pod's node affinity/selector".to_owned());
    }
    if let Some(taint) = taints::untolerated(spec, node) {
        let text = |field: &str| taint[field].as_str().unwrap_or_default();
        let (key, value) = (text("key"), text("value"));
        return Some(format!("node(s) had untolerated taint {{{key}: {value}}}"));
    }
    if !is_ready(node) {
        return Some("node(s) were not ready".to_owned());
    }
    let room = node["status"]["allocatable"].get("pods");
    let room = room.and_then(|pods| {
        pods.as_str()
            .map_or(pods.as_u64(), |text| text.parse().ok())
    });
    let pods = u64::try_from(candidate.pods).unwrap_or(u64::MAX);
    room.is_some_and(|room| pods >= room)
        .then(|| "Too many pods".to_owned())
}

/// Whether a Node is Ready.
pub fn is_ready(node: &Value) -> bool {
    objects::is_true(&node["status"], "Ready")
}

/// Whether the selector and the required affinity of a Pod's spec allow a Node.
pub fn matches_selectors(spec: &Value, node: &Value) -> bool {
    let labels = &node["metadata"]["labels"];
    let selector = spec["nodeSelector"].as_object().into_iter().flatten();
    if !selector
        .into_iter()
        .all(|(key, value)| labels.get(key) == Some(value))
    {
        return false;
    }
    let affinity = &spec["affinity"]["nodeAffinity"];
    let required = &affinity["requiredDuringSchedulingIgnoredDuringExecution"];
    let Some(terms) = required["nodeSelectorTerms"].as_array() else {
        return true;
    };
    let field = |name: &str| (name == "metadata.name").then(|| &node["metadata"]["name"]);
    terms.iter().any(|term| {
        let of = |list: &str| term[list].as_array().map(Vec::as_slice).unwrap_or_default();
        let (expressions, fields) = (of("matchExpressions"), of("matchFields"));
        let any = !expressions.is_empty() || !fields.is_empty();
        any && expressions.iter().all(|e| holds(e, |key| labels.get(key)))
            && fields.iter().all(|e| holds(e, field))
    })
}

fn holds<'a>(expression: &Value, value: impl Fn(&str) -> Option<&'a Value>) -> bool {
    let found = value(expression["key"].as_str().unwrap_or_default()).and_then(Value::as_str);
    let values: Vec<&str> = expression["values"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let among = found.is_some_and(|found| values.contains(&found));
    let numbers =
        || -> Option<(i64, i64)> { Some((found?.parse().ok()?, values.first()?.parse().ok()?)) };
    match expression["operator"].as_str() {
        Some("In") => among,
        Some("NotIn") => !among,
        Some("Exists") => found.is_some(),
        Some("DoesNotExist") => found.is_none(),
        Some("Gt") => numbers().is_some_and(|(found, limit)| found > limit),
        Some("Lt") => numbers().is_some_and(|(found, limit)| found < limit),
        _ => false,
    }
}

/// Gives out addresses of Pods: of the `podCIDR` of their Node, or of a common range. An address is
/// not given out again before all others were.
#[derive(Debug, Default)]
pub struct Addresses {
    last: BTreeMap<(Ipv4Addr, u8), u32>,
}

impl Addresses {
    /// A free address on a Node; none if all are taken.
    pub fn next(&mut self, node: &Value, taken: impl Fn(Ipv4Addr) -> bool) -> Option<Ipv4Addr> {
        let range = node["spec"]["podCIDR"].as_str().and_then(parse_range);
        let range = range.unwrap_or(ADDRESSES);
        let (base, length) = range;
        let size = 1u32.checked_shl(32 - u32::from(length)).unwrap_or(u32::MAX);
        let first = u32::from(base) & !(size - 1);
        let last = self.last.entry(range).or_insert(1);
        // Not the network's own address, the gateway's, nor that of the broadcast.
        for _ in 2..size.saturating_sub(1) {
            *last = if *last + 2 < size { *last + 1 } else { 2 };
            let address = Ipv4Addr::from(first + *last);
            if !taken(address) {
                return Some(address);
            }
        }
        None
    }
}

fn parse_range(text: &str) -> Option<(Ipv4Addr, u8)> {
    let (address, length) = text.split_once('/')?;
    let length: u8 = length.parse().ok()?;
    Some((address.parse().ok()?, length)).filter(|(_, length)| (1..=32).contains(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> Value {
        json!({
            "metadata": {"name": name, "labels": {"zone": "a", "size": "3"}},
            "status": {"conditions": [{"type": "Ready", "status": "True"}],
                "allocatable": {"pods": "2"}},
        })
    }

    fn with(pointer: &str, value: Value) -> Value {
        let mut node = node("n");
        objects::set_path(&mut node, pointer, value);
        node
    }

    fn obstacle_of(spec: &Value, node: &Value) -> Option<String> {
        let candidate = Candidate {
            node,
            pods: 0,
            siblings: 0,
        };
        obstacle(spec, &candidate)
    }

    #[test]
    fn siblings_are_spread_before_pods_are() {
        let nodes = [node("a"), node("b"), node("c")];
        let counts = [(1, 0), (0, 1), (0, 1)];
        let candidates: Vec<Candidate<'_>> = nodes
            .iter()
            .zip(counts)
            .map(|(node, (siblings, pods))| Candidate {
                node,
                pods,
                siblings,
            })
            .collect();
        assert_eq!(choose(&json!({}), &candidates), Ok("b"));
    }

    #[test]
    fn what_keeps_a_pod_from_a_node() {
        let toleration = json!({"tolerations": [{"operator": "Exists"}]});
        let cordoned = with(".spec.unschedulable", true.into());
        let tainted = with(
            ".spec.taints",
            json!([{"key": "k", "effect": "NoSchedule"}]),
        );
        let preferred = with(
            ".spec.taints",
            json!([{"key": "k", "effect": "PreferNoSchedule"}]),
        );
        let lost = with(
            ".status.conditions",
            json!([{"type": "Ready", "status": "Unknown"}]),
        );
        for (spec, node, expected) in [
            (json!({}), node("n"), None),
            (
                json!({}),
                cordoned.clone(),
                Some("node(s) were unschedulable"),
            ),
            (toleration.clone(), cordoned, None),
            (
                json!({}),
                tainted.clone(),
                Some("node(s) had untolerated taint {k: }"),
            ),
            (toleration, tainted, None),
            (json!({}), preferred, None),
            (json!({}), lost, Some("node(s) were not ready")),
            (json!({"nodeSelector": {"zone": "a"}}), node("n"), None),
            (
                json!({"nodeSelector": {"zone": "b"}}),
                node("n"),
                Some("node(s) didn't match Pod's node affinity/selector"),
            ),
        ] {
            assert_eq!(
                obstacle_of(&spec, &node).as_deref(),
                expected,
                "{spec} {node}"
            );
        }
    }

    #[test]
    fn required_affinity_is_one_of_several_terms() {
        let spec = |terms: Value| {
            json!({"affinity": {"nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}})
        };
        let expression = |operator: &str, key: &str, value: &str| json!({"matchExpressions": [{"key": key, "operator": operator, "values": [value]}]});
        let named = |name: &str| json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]});
        for (terms, expected) in [
            (json!([expression("In", "zone", "a")]), true),
            (json!([expression("NotIn", "zone", "a")]), false),
            (json!([expression("Gt", "size", "2")]), true),
            (json!([expression("Lt", "size", "2")]), false),
            (json!([named("other"), named("n")]), true),
            (json!([named("other")]), false),
            (json!([{}]), false),
        ] {
            assert_eq!(
                matches_selectors(&spec(terms.clone()), &node("n")),
                expected,
                "{terms}"
            );
        }
    }

    #[test]
    fn a_pod_that_fits_nowhere_is_told_why() {
        let cordoned = with(".spec.unschedulable", true.into());
        let full = node("full");
        let candidates =
            [(&cordoned, 0), (&cordoned, 0), (&full, 2)].map(|(node, pods)| Candidate {
                node,
                pods,
                siblings: 0,
            });
        let why = "0/3 nodes are available: 1 Too many pods, 2 node(s) were unschedulable.";
        assert_eq!(choose(&json!({}), &candidates), Err(why.to_owned()));
        assert!(choose(&json!({}), &[]).is_err());
    }

    #[test]
    fn addresses_are_of_the_range_of_the_node_and_free() {
        let mut addresses = Addresses::default();
        let node = json!({"spec": {"podCIDR": "10.1.2.0/29"}});
        let mut taken = vec![Ipv4Addr::new(10, 1, 2, 3)];
        while let Some(address) = addresses.next(&node, |address| taken.contains(&address)) {
            taken.push(address);
        }
        taken.sort();
        let expected: Vec<Ipv4Addr> = (2..=6).map(|last| Ipv4Addr::new(10, 1, 2, last)).collect();
        assert_eq!(taken, expected);
        let other = addresses.next(&json!({}), |_| false);
        assert_eq!(other, Some(Ipv4Addr::new(10, 244, 0, 2)));
    }
}
