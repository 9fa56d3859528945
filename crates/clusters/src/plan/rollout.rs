//! Which machines are changed next.
//!
//! The first configuration of a machine is applied at once, for all machines together: nothing
//! runs there that could break. A machine that runs something is changed alone, workers before
//! control planes, and only while every other is ready, or is itself waiting for this change.

use nico_api::names::MachineName;

use crate::role::Role;

use super::readiness::{ConfigurationState, Member};

/// What a change does next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Machines that get a configuration for the first time.
    pub create: Vec<MachineName>,
    /// Machines whose configuration is brought to the wanted revision.
    pub update: Vec<MachineName>,
    /// Machines that must be ready before the next one is taken.
    pub waits_for: Vec<MachineName>,
}

/// Decides what to change now.
///
/// Pure: the same members give the same step. `may_disturb` is false while no machine that is
/// well may be taken in hand, because the cluster's API does not answer; one that is down may
/// be, or a change that broke the API could never be corrected.
pub fn next_step(members: &[Member], may_disturb: bool) -> Step {
    let mut step = Step::default();
    let mut outdated: Vec<&Member> = vec![];
    for member in members {
        let machine = || member.machine.clone();
        match &member.configuration {
            ConfigurationState::Absent => step.create.push(machine()),
            ConfigurationState::Removing => step.waits_for.push(machine()),
            ConfigurationState::New(_) if !member.updated => step.update.push(machine()),
            _ if !member.updated => outdated.push(member),
            _ if !member.is_ready() => step.waits_for.push(machine()),
            _ => {}
        }
    }
    // A machine that is down already goes first: the change may be what brings it back, and
    // taking another one down beside it would make two.
    outdated.sort_by_key(|member| (member.is_ready(), member.role == Role::ControlPlane));
    let all_settled = step.waits_for.is_empty() && step.create.is_empty() && step.update.is_empty();
    if let Some(next) = outdated.first()
        && all_settled
        && (may_disturb || !next.is_ready())
    {
        step.update.push(next.machine.clone());
    }
    step
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::readiness::{NodeState, Progress};
    use proptest::prelude::*;

    fn progress() -> Progress {
        Progress {
            message: String::new(),
            is_stalled: false,
        }
    }

    /// Members from words such as `cp-01 old ready`: a name that tells the role, `none`, `new`
    /// (never applied), `old` or `current`, and `ready` or `down`.
    fn members(lines: &[&str]) -> Vec<Member> {
        lines
            .iter()
            .map(|line| {
                let words: Vec<&str> = line.split(' ').collect();
                let [name, state, health] = words[..] else {
                    panic!("{line}");
                };
                Member {
                    machine: name.parse().unwrap(),
                    role: if name.starts_with("cp") {
                        Role::ControlPlane
                    } else {
                        Role::Worker
                    },
                    configuration: match state {
                        "none" => ConfigurationState::Absent,
                        "new" | "new-old" => ConfigurationState::New(progress()),
                        _ if health == "failed" => ConfigurationState::Behind(progress()),
                        _ => ConfigurationState::Applied,
                    },
                    updated: matches!(state, "current" | "new"),
                    node: match health {
                        "down" => NodeState::NotReady(String::new()),
                        _ => NodeState::Ready,
                    },
                }
            })
            .collect()
    }

    fn changed(lines: &[&str]) -> Vec<String> {
        let step = next_step(&members(lines), true);
        step.create
            .iter()
            .chain(&step.update)
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn the_first_configuration_goes_to_all_machines_at_once() {
        assert_eq!(
            changed(&["cp-01 none -", "cp-02 none -", "w-01 none -"]),
            ["cp-01", "cp-02", "w-01"]
        );
    }

    #[test]
    fn a_configuration_that_never_worked_is_corrected_on_all_machines_at_once() {
        assert_eq!(
            changed(&["cp-01 new-old -", "w-01 new-old -"]),
            ["cp-01", "w-01"]
        );
    }

    #[test]
    fn workers_change_one_at_a_time_before_control_planes() {
        let table: &[(&[&str], &[&str])] = &[
            (
                &["cp-01 old ready", "w-01 old ready", "w-02 old ready"],
                &["w-01"],
            ),
            (
                &["cp-01 old ready", "w-01 current ready", "w-02 old ready"],
                &["w-02"],
            ),
            (
                &["cp-01 old ready", "cp-02 old ready", "w-01 current ready"],
                &["cp-01"],
            ),
            (
                &[
                    "cp-01 current ready",
                    "cp-02 old ready",
                    "w-01 current ready",
                ],
                &["cp-02"],
            ),
            (&["cp-01 current ready", "w-01 current ready"], &[]),
        ];
        for (lines, expected) in table {
            assert_eq!(changed(lines), *expected, "{lines:?}");
        }
    }

    #[test]
    fn the_next_machine_waits_until_the_last_one_is_ready_again() {
        assert_eq!(
            changed(&["cp-01 old ready", "w-01 current down", "w-02 old ready"]),
            [""; 0]
        );
        assert_eq!(
            changed(&["cp-01 old ready", "w-01 current failed", "w-02 old ready"]),
            [""; 0]
        );
    }

    #[test]
    fn a_machine_that_is_down_gets_the_change_first() {
        assert_eq!(
            changed(&["cp-01 old ready", "cp-02 old failed", "w-01 old ready"]),
            ["cp-02"]
        );
    }

    #[test]
    fn nothing_that_runs_is_touched_while_it_must_not_be_disturbed() {
        let update = |lines: &[&str]| next_step(&members(lines), false).update.len();
        assert_eq!(update(&["cp-01 old ready", "w-01 old ready"]), 0);
        assert_eq!(
            update(&["cp-01 old failed", "w-01 old ready"]),
            1,
            "it is down already"
        );
    }

    fn any_member() -> impl Strategy<Value = (bool, &'static str, &'static str)> {
        (
            any::<bool>(),
            prop::sample::select(vec!["none", "new", "new-old", "old", "current"]),
            prop::sample::select(vec!["ready", "down", "failed"]),
        )
    }

    fn lines(members: &[(bool, &str, &str)]) -> Vec<String> {
        members
            .iter()
            .enumerate()
            .map(|(number, (is_control, state, health))| {
                format!(
                    "{}-{number} {state} {health}",
                    if *is_control { "cp" } else { "w" }
                )
            })
            .collect()
    }

    proptest! {
        #[test]
        fn a_machine_that_runs_is_never_taken_while_another_is_down(cluster in prop::collection::vec(any_member(), 0..8)) {
            let lines = lines(&cluster);
            let members = members(&lines.iter().map(String::as_str).collect::<Vec<_>>());
            let step = next_step(&members, true);
            let find = |name: &MachineName| members.iter().find(|member| member.machine == *name).unwrap();
            let disturbed: Vec<&Member> = step.update.iter().map(find).filter(|member| member.is_ready()).collect();
            prop_assert!(disturbed.len() <= 1);
            if !disturbed.is_empty() {
                prop_assert!(members.iter().all(Member::is_ready), "{:?}", members);
            }
        }

        #[test]
        fn every_rollout_without_faults_ends(cluster in prop::collection::vec(any_member(), 0..8)) {
            let lines = lines(&cluster);
            let mut members = members(&lines.iter().map(String::as_str).collect::<Vec<_>>());
            for _ in 0..2 * members.len() + 2 {
                let step = next_step(&members, true);
                for member in &mut members {
                    if step.create.contains(&member.machine) || step.update.contains(&member.machine) {
                        member.updated = true;
                    }
                    if member.updated {
                        member.configuration = ConfigurationState::Applied;
                        member.node = NodeState::Ready;
                    }
                }
            }
            prop_assert!(members.iter().all(|member| member.updated && member.is_ready()));
        }
    }
}
