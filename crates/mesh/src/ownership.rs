//! The text by which a rule is known as ours.
//!
//! The description of a rule says who made it, for which cluster, and which of a Node's CIDRs it is
//! for. It is the same text, read by the same grammar, as that of the program `kaput-not`, so that
//! each takes over the rules of the other.

use std::fmt::Write as _;

use crate::names::NodeName;

const MARKER: &str = "Managed by kaput-not (DO NOT EDIT)";

/// Which cluster's rules are ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster(Option<String>);

/// The name cannot be written into a description so that it is found again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a cluster name has no white space and no \"=\"")]
pub struct ClusterNameError;

impl Cluster {
    /// The cluster of this name; the empty name means rules without a cluster.
    ///
    /// # Errors
    /// When the name has white space or `=`, which the grammar uses itself.
    pub fn new(name: &str) -> Result<Self, ClusterNameError> {
        if name.contains(|letter: char| letter.is_whitespace() || letter == '=') {
            return Err(ClusterNameError);
        }
        Ok(Self((!name.is_empty()).then(|| name.to_owned())))
    }

    /// The name, if there is one.
    pub fn name(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// What the description of a rule for a Node's CIDR number `index` is, from 0 on.
    pub fn description(&self, index: usize) -> String {
        let mut text = format!("{MARKER}: ");
        if let Some(name) = &self.0 {
            let _ = write!(text, "cluster={name} ");
        }
        let _ = write!(text, "index={index}");
        text
    }

    /// The index in the description of a rule of this cluster; `None` when the rule is of somebody
    /// else.
    pub fn index_of(&self, description: &str) -> Option<i64> {
        let mark = Mark::parse(description)?;
        (mark.cluster == self.name()).then_some(mark.index)
    }
}

/// What a description says. Pairs come in any order, unknown ones are passed over, the last of a
/// kind counts, and an index that is missing or no number is 0.
#[derive(Debug, PartialEq, Eq)]
struct Mark<'a> {
    cluster: Option<&'a str>,
    index: i64,
}

impl<'a> Mark<'a> {
    fn parse(description: &'a str) -> Option<Self> {
        let pairs = description.strip_prefix(MARKER)?.strip_prefix(": ")?;
        let mut mark = Self {
            cluster: None,
            index: 0,
        };
        for (key, value) in pairs
            .split_whitespace()
            .filter_map(|pair| pair.split_once('='))
        {
            match key {
                "cluster" => mark.cluster = Some(value).filter(|name| !name.is_empty()),
                "index" => mark.index = leading_number(value),
                _ => {}
            }
        }
        Some(mark)
    }
}

/// The number that a text begins with, as C's `scanf` reads it; 0 when it begins with none.
fn leading_number(text: &str) -> i64 {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = digits
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(digits.len());
    digits[..end].parse().map_or(0, |number: i64| sign * number)
}

/// What a rule is called: the Node, and which of how many CIDRs it is for, from 1 on.
pub fn rule_name(node: &NodeName, index: usize, count: usize) -> String {
    format!("{node} pods ({}/{count})", index + 1)
}

/// The Node that a rule's name speaks of.
pub fn node_of(rule_name: &str) -> Option<&str> {
    let (node, rest) = rule_name.rsplit_once(" pods (")?;
    let (number, count) = rest.strip_suffix(')')?.split_once('/')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (is_number(number) && is_number(count) && !node.is_empty()).then_some(node)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cluster(name: &str) -> Cluster {
        Cluster::new(name).unwrap()
    }

    #[test]
    fn the_text_is_that_of_the_go_program() {
        assert_eq!(
            cluster("").description(0),
            "Managed by kaput-not (DO NOT EDIT): index=0"
        );
        assert_eq!(
            cluster("prod").description(1),
            "Managed by kaput-not (DO NOT EDIT): cluster=prod index=1"
        );
        let node = NodeName::from("worker-1");
        assert_eq!(rule_name(&node, 0, 2), "worker-1 pods (1/2)");
    }

    #[test]
    fn descriptions_are_read_by_the_grammar_of_the_go_program() {
        let prefix = "Managed by kaput-not (DO NOT EDIT): ";
        for (rest, wanted) in [
            ("cluster=prod index=1", Some(1)),
            ("index=1 cluster=prod", Some(1)),
            ("  index=2\tcolour=blue   cluster=prod ", Some(2)),
            ("cluster=prod", Some(0)),
            ("cluster=prod index=", Some(0)),
            ("cluster=prod index=one", Some(0)),
            ("cluster=prod index=3rd", Some(3)),
            ("cluster=prod index=-1", Some(-1)),
            ("index=1", None),
            ("cluster=other index=1", None),
            ("cluster=production index=1", None),
        ] {
            let found = cluster("prod").index_of(&format!("{prefix}{rest}"));
            assert_eq!(found, wanted, "{rest}");
        }
        for text in [
            "",
            "index=1",
            "managed by kaput-not (DO NOT EDIT): index=1",
            "Managed by kaput-not (DO NOT EDIT):index=1",
        ] {
            assert_eq!(cluster("").index_of(text), None, "{text}");
        }
    }

    #[test]
    fn without_a_name_only_rules_without_a_cluster_are_ours() {
        let named = cluster("prod").description(0);
        assert_eq!(cluster("").index_of(&named), None);
        assert_eq!(cluster("").index_of(&cluster("").description(4)), Some(4));
    }

    /// D11: a name with a space made rules that were never found again.
    #[test]
    fn d11_a_name_that_would_not_be_found_again_is_refused() {
        for name in ["my cluster", " prod", "prod\n", "a\tb", "a=b"] {
            assert_eq!(Cluster::new(name), Err(ClusterNameError), "{name:?}");
        }
    }

    #[test]
    fn the_node_is_read_from_a_rule_name() {
        assert_eq!(node_of("worker-1 pods (1/2)"), Some("worker-1"));
        assert_eq!(node_of("a pods (x) pods (10/20)"), Some("a pods (x)"));
        for name in [
            "worker-1",
            "worker-1 pods",
            " pods (1/1)",
            "w pods (1)",
            "w pods (a/b)",
            "w pods (1/1) ",
        ] {
            assert!(node_of(name).is_none_or(|node| node != "w"), "{name}");
        }
    }

    proptest! {
        #[test]
        fn what_we_write_we_know_again(name in "[a-zA-Z0-9._/-]{0,20}", index in 0_usize..1000) {
            let cluster = cluster(&name);
            let found = cluster.index_of(&cluster.description(index));
            prop_assert_eq!(found, i64::try_from(index).ok());
        }

        #[test]
        fn no_text_is_too_odd_to_read(text in "\\PC*") {
            let marked = format!("{MARKER}: {text}");
            let _ = cluster("prod").index_of(&marked);
            let _ = node_of(&text);
        }
    }
}
