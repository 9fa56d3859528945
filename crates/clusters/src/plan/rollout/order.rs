//! Which role goes first, by what happens to the version of Kubernetes.
//!
//! A kubelet must not be newer than its API server, and an API server goes up one minor version
//! at a time (Kubernetes' version skew policy).

use nico_api::kubernetes_cluster::RolloutOrder;

use crate::role::Role;

use super::super::readiness::{ConfigurationState, Member};

/// Which role goes first, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// `WorkersFirst` or `ControlPlaneFirst`.
    pub first: RolloutOrder,
    /// Why, for a person.
    pub why: String,
}

/// Decides which role goes first.
///
/// # Errors
/// Why the change is refused until a person sets the order by hand.
pub fn decide(wanted: RolloutOrder, members: &[Member]) -> Result<Order, String> {
    if wanted != RolloutOrder::Auto {
        return Ok(Order {
            first: wanted,
            why: "rollout.order says so".to_owned(),
        });
    }
    let changes: Vec<Change<'_>> = members.iter().filter_map(Change::of).collect();
    if let Some(refused) = changes.iter().find_map(Change::refusal) {
        return Err(format!(
            "{refused}; set rollout.order by hand if that is what you want"
        ));
    }
    let (first, why) = match changes.iter().find(|change| change.to > change.from) {
        _ if changes.is_empty() => (
            RolloutOrder::WorkersFirst,
            "the version of Kubernetes cannot be told".to_owned(),
        ),
        None => (
            RolloutOrder::WorkersFirst,
            "the version of Kubernetes does not rise".to_owned(),
        ),
        Some(rise) => (
            RolloutOrder::ControlPlaneFirst,
            format!("Kubernetes goes from {} to {}", rise.from, rise.to),
        ),
    };
    Ok(Order { first, why })
}

/// What happens to the version of Kubernetes on one machine.
struct Change<'a> {
    member: &'a Member,
    from: Version,
    to: Version,
}

impl<'a> Change<'a> {
    /// `None` when nothing happens, or it cannot be told.
    fn of(member: &'a Member) -> Option<Self> {
        let ConfigurationState::Staged(Some(to)) = &member.configuration else {
            return None;
        };
        let from = member.seen.as_ref()?.kubelet_version.as_deref()?;
        Some(Self {
            member,
            from: Version::read(from)?,
            to: Version::read(to)?,
        })
    }

    fn refusal(&self) -> Option<String> {
        if self.member.role != Role::ControlPlane {
            return None;
        }
        let Self { member, from, to } = self;
        let machine = &member.machine;
        if to < from {
            Some(format!(
                "{machine} would go down from Kubernetes {from} to {to}, which etcd data may not survive"
            ))
        } else if (to.major, to.minor) > (from.major, from.minor + 1) {
            Some(format!(
                "{machine} would go up from Kubernetes {from} to {to}, more than one minor version"
            ))
        } else {
            None
        }
    }
}

/// A version of Kubernetes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    major: u32,
    minor: u32,
    patch: u32,
}

impl Version {
    /// Reads `v1.31.4+k3s1`, or the same with less around it.
    pub(super) fn read(text: &str) -> Option<Self> {
        let text = text.trim().trim_start_matches('v');
        let mut numbers = text.splitn(3, '.').map(|part| {
            let end = part
                .find(|character: char| !character.is_ascii_digit())
                .unwrap_or(part.len());
            part[..end].parse().ok()
        });
        Some(Self {
            major: numbers.next()??,
            minor: numbers.next()??,
            patch: numbers.next().flatten().unwrap_or(0),
        })
    }

    /// Major and minor version.
    pub(super) fn minor(self) -> (u32, u32) {
        (self.major, self.minor)
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observed::Node;
    use crate::plan::marks::Marks;
    use crate::plan::readiness::NodeState;

    fn member(line: &str) -> Member {
        let words: Vec<&str> = line.split(' ').collect();
        let [name, from, to] = words[..] else {
            panic!("{line}")
        };
        Member {
            machine: name.parse().unwrap(),
            role: match name.starts_with("cp") {
                true => Role::ControlPlane,
                false => Role::Worker,
            },
            configuration: ConfigurationState::Staged((to != "-").then(|| to.to_owned())),
            updated: true,
            runs_wanted: false,
            runs_commit: false,
            node: NodeState::Ready,
            is_fresh: true,
            seen: Some(Node {
                kubelet_version: (from != "-").then(|| from.to_owned()),
                ..Node::default()
            }),
            marks: Marks::default(),
        }
    }

    fn first(lines: &[&str]) -> Result<RolloutOrder, String> {
        let members: Vec<Member> = lines.iter().map(|line| member(line)).collect();
        decide(RolloutOrder::Auto, &members).map(|order| order.first)
    }

    #[test]
    fn control_planes_go_first_when_the_version_rises() {
        use RolloutOrder::{ControlPlaneFirst, WorkersFirst};
        let table: &[(&[&str], RolloutOrder)] = &[
            (
                &["cp-01 v1.30.1+k3s1 1.31.0", "w-01 v1.30.1+k3s1 1.31.0"],
                ControlPlaneFirst,
            ),
            (
                &["cp-01 v1.31.0 1.31.0", "w-01 v1.30.1 1.31.0"],
                ControlPlaneFirst,
            ),
            (
                &["cp-01 v1.31.0 1.31.2", "w-01 v1.31.0 1.31.2"],
                ControlPlaneFirst,
            ),
            (
                &["cp-01 v1.31.0 1.31.0", "w-01 v1.31.0 1.31.0"],
                WorkersFirst,
            ),
            (&["w-01 v1.31.0 1.30.0"], WorkersFirst),
            (&["cp-01 v1.31.0 -", "w-01 - 1.31.0"], WorkersFirst),
        ];
        for (lines, expected) in table {
            assert_eq!(first(lines), Ok(*expected), "{lines:?}");
        }
    }

    #[test]
    fn a_skip_of_minor_versions_and_a_step_back_of_a_control_plane_are_refused() {
        for (line, word) in [
            ("cp-01 v1.30.1 1.32.0", "more than one minor"),
            ("cp-01 v1.31.2 1.31.0", "go down"),
        ] {
            let refusal = first(&[line]).unwrap_err();
            assert!(refusal.contains(word), "{refusal}");
            assert!(refusal.contains("rollout.order"), "{refusal}");
            let by_hand = decide(RolloutOrder::WorkersFirst, &[member(line)]);
            assert_eq!(by_hand.unwrap().first, RolloutOrder::WorkersFirst);
        }
    }

    #[test]
    fn a_version_is_read_from_what_distributions_write() {
        let read = |text| Version::read(text).map(|version| version.to_string());
        for (text, expected) in [
            ("v1.31.4+k3s1", Some("1.31.4")),
            ("1.31.4", Some("1.31.4")),
            ("v1.31.4-rc.1", Some("1.31.4")),
            ("v1.31", Some("1.31.0")),
            ("", None),
            ("unknown", None),
        ] {
            assert_eq!(read(text).as_deref(), expected, "{text}");
        }
    }
}
