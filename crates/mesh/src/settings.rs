//! What may be set.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::names::{IpNet, NetworkName};
use crate::ownership::Cluster;
use crate::plan::Policy;

/// A part of a whole, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share(u8);

/// A text is no share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("allowed are 0% to 100%")]
pub struct ShareError;

impl Share {
    /// Half of it.
    pub const HALF: Self = Self(50);
    /// All of it.
    pub const ALL: Self = Self(100);

    /// The share of so many, rounded down.
    pub fn of(self, whole: usize) -> usize {
        whole / 100 * usize::from(self.0) + whole % 100 * usize::from(self.0) / 100
    }
}

impl std::str::FromStr for Share {
    type Err = ShareError;

    fn from_str(text: &str) -> Result<Self, ShareError> {
        let number = text.trim().trim_end_matches('%');
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let percent: u8 = number.parse().map_err(|_| ShareError)?;
        (is_number && percent <= 100)
            .then_some(Self(percent))
            .ok_or(ShareError)
    }
}

/// How the mesh is kept.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which rules are ours.
    pub cluster: Cluster,
    /// Time between two passes over everything.
    pub resync: Duration,
    /// Which Nodes count, as a label selector; all without.
    pub selector: Option<String>,
    /// The only networks that are looked at; all without.
    pub networks: Option<BTreeSet<NetworkName>>,
    /// The only CIDRs that rules are written for; all without.
    pub cidrs: Vec<IpNet>,
    /// How many of our rules one pass may delete.
    pub max_deletes: Share,
    /// Plan and say so, and write nothing.
    pub dry_run: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cluster: Cluster::default(),
            resync: Duration::from_secs(600),
            selector: None,
            networks: None,
            cidrs: Vec::new(),
            max_deletes: Share::HALF,
            dry_run: false,
        }
    }
}

impl Settings {
    /// What the plan needs of them.
    pub fn policy(&self) -> Policy {
        Policy {
            cluster: self.cluster.clone(),
            cidrs: self.cidrs.clone(),
            max_deletes: self.max_deletes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_number_of_percent() {
        assert_eq!("50%".parse(), Ok(Share::HALF));
        assert_eq!("100".parse(), Ok(Share::ALL));
        for text in ["", "%", "101%", "-1", "half", "1.5%", "+5"] {
            assert_eq!(text.parse::<Share>(), Err(ShareError), "{text}");
        }
        assert_eq!(Share::HALF.of(11), 5);
        assert_eq!(Share::ALL.of(10_001), 10_001);
    }
}
