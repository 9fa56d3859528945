//! Whether the published kubeconfig must be replaced, and by what.
//!
//! It is only ever replaced in its place, and by one that was just proven by a request, so there
//! is never a moment without. While it works, it is replaced for three reasons: its client
//! certificate ends before long and another lasts longer; the file on the machine that it came
//! from changed; that machine is no control plane of the cluster any more. Each machine has its
//! own client certificate, so that another machine has something else is no reason.

use std::fmt;

use k8s_openapi::jiff::Timestamp;
use nico_api::names::MachineName;

use crate::kubeconfig::{Contents, Kubeconfig};
use crate::observed::{Published, Workload};

/// What is wrong with the published kubeconfig, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The Secret holds nothing that can be used.
    Unusable,
    /// The new cluster does not take it.
    Refused,
    /// Nobody answered at its address for a while.
    Silent,
    /// Its client certificate has less than a quarter of its life left.
    Ending,
}

/// Why the published kubeconfig is replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Something is wrong with it.
    Need(Need),
    /// The file on the machine that it came from changed.
    Changed,
    /// The machine that it came from is not known, or no control plane of the cluster any more.
    MachineLeft,
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Need(Need::Unusable) => "what is in the Secret cannot be used",
            Self::Need(Need::Refused) => "the new cluster does not take the one in the Secret",
            Self::Need(Need::Silent) => "nobody answers at the address in the Secret",
            Self::Need(Need::Ending) => "the client certificate in the Secret ends before long",
            Self::Changed => "the file on the machine changed",
            Self::MachineLeft => "the one in the Secret came from no control plane of today",
        })
    }
}

/// What is wrong with the published kubeconfig now.
pub fn need(published: &Published, workload: &Workload, now: Timestamp) -> Option<Need> {
    let Ok(contents) = &published.contents else {
        return Some(Need::Unusable);
    };
    if let Workload::Unreachable { is_refusal, .. } = workload {
        match (is_refusal, workload.is_long_silent(now)) {
            (true, _) => return Some(Need::Refused),
            (false, true) => return Some(Need::Silent),
            (false, false) => {}
        }
    }
    let is_ending = contents
        .validity()
        .is_some_and(|validity| validity.is_ending(now));
    is_ending.then_some(Need::Ending)
}

/// The machines to ask for their kubeconfig, of those that may have one, in this order: the one
/// that the published came from, whose file may have changed, and, if that will not do, the
/// others.
pub fn sources(
    published: &Published,
    need: Option<Need>,
    machines: Vec<MachineName>,
) -> Vec<MachineName> {
    let (mut first, others): (Vec<_>, Vec<_>) = machines
        .into_iter()
        .partition(|machine| published.machine.as_ref() == Some(machine));
    if need.is_some() || first.is_empty() {
        first.extend(others);
    }
    first
}

/// Whether it is useless to ask for a better kubeconfig than `candidate`: it has the certificate
/// authority that is known, so it is of the same cluster and not of one that a machine which was
/// made anew began for itself, and lasts longer if that is what is needed.
pub fn is_best(published: &Published, need: Option<Need>, candidate: &Contents) -> bool {
    let Ok(known) = &published.contents else {
        return true;
    };
    let lasts = need != Some(Need::Ending) || lasts_longer(candidate, known);
    candidate.authority() == known.authority() && lasts
}

/// What takes the place of the published kubeconfig, and why; `None` when it stays.
/// `control_plane` are the control-plane machines of the cluster.
pub fn replacement<'a>(
    published: &'a Published,
    workload: &Workload,
    control_plane: &[MachineName],
    now: Timestamp,
) -> Option<(&'a Kubeconfig, Cause)> {
    let found = published.found.as_ref()?;
    let need = need(published, workload, now);
    let cause = match (&published.contents, need) {
        (Err(_), _) => Cause::Need(Need::Unusable),
        (Ok(known), _) if known == found.contents() => {
            // Only the note is missing or wrong, or nothing.
            let is_noted = published.machine.as_ref() == Some(found.machine());
            return (!is_noted && is_orphaned(published, control_plane))
                .then_some((found, Cause::MachineLeft));
        }
        (Ok(_), Some(need @ (Need::Refused | Need::Silent))) => Cause::Need(need),
        (Ok(known), Some(Need::Ending)) if lasts_longer(found.contents(), known) => {
            Cause::Need(Need::Ending)
        }
        _ if published.machine.as_ref() == Some(found.machine()) => Cause::Changed,
        _ if is_orphaned(published, control_plane) => Cause::MachineLeft,
        _ => return None,
    };
    Some((found, cause))
}

/// Whether nobody would see a change of the file that the published kubeconfig came from.
fn is_orphaned(published: &Published, control_plane: &[MachineName]) -> bool {
    published
        .machine
        .as_ref()
        .is_none_or(|machine| !control_plane.contains(machine))
}

fn lasts_longer(one: &Contents, other: &Contents) -> bool {
    match (one.validity(), other.validity()) {
        (None, Some(_)) => true,
        (Some(one), Some(other)) => one.until > other.until,
        (_, None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{at, contents, kubeconfig, name};
    use crate::observed::{Problem, View};

    /// The present of every test; see [`LONG`] and [`SHORT`].
    const NOW: i64 = 10_000;
    /// A life that is in its first half, and one that ends sooner and is in its last quarter.
    const LONG: (i64, i64) = (9_000, 90_000);
    const SHORT: (i64, i64) = (1_000, 11_000);

    fn published(life: (i64, i64)) -> Published {
        Published {
            uid: "uid".to_owned(),
            version: "1".to_owned(),
            machine: Some(name("cp-01")),
            contents: Ok(contents("ca", "key", Some(life))),
            found: None,
            problem: None,
        }
    }

    fn silent(since: i64, is_refusal: bool) -> Workload {
        Workload::Unreachable {
            since: at(since),
            last_nodes: None,
            is_refusal,
            message: "no answer".to_owned(),
        }
    }

    fn answers() -> Workload {
        Workload::Answers(View::default())
    }

    #[test]
    fn a_kubeconfig_is_needed_when_the_old_one_ends_or_does_not_work() {
        let unusable = Published {
            contents: Err("it has no user".to_owned()),
            ..published(LONG)
        };
        for (published, workload, expected) in [
            (published(LONG), answers(), None),
            (published(SHORT), answers(), Some(Need::Ending)),
            (published(LONG), silent(NOW - 59, false), None),
            (published(LONG), silent(NOW - 60, false), Some(Need::Silent)),
            (published(LONG), silent(NOW, true), Some(Need::Refused)),
            (
                published(SHORT),
                silent(NOW - 60, true),
                Some(Need::Refused),
            ),
            (unusable, answers(), Some(Need::Unusable)),
        ] {
            assert_eq!(
                need(&published, &workload, at(NOW)),
                expected,
                "{published:?} {workload:?}"
            );
        }
    }

    #[test]
    fn what_takes_its_place() {
        const OTHER: (i64, i64) = (9_500, 80_000);
        let mut table: Vec<(&str, Published, Workload, Kubeconfig, Option<Cause>)> = vec![];
        let mut row = |what, published, workload, found, expected| {
            table.push((what, published, workload, found, expected));
        };
        let found = |machine, key, life| kubeconfig(machine, contents("ca", key, Some(life)));
        let same = || found("cp-01", "key", LONG);
        let of_another = || found("cp-02", "key2", OTHER);
        let need = |need| Some(Cause::Need(need));
        row("the same", published(LONG), answers(), same(), None);
        row(
            "another machine's",
            published(LONG),
            answers(),
            of_another(),
            None,
        );
        let changed = found("cp-01", "new", OTHER);
        row(
            "the file changed",
            published(LONG),
            answers(),
            changed,
            Some(Cause::Changed),
        );
        let new_authority = kubeconfig("cp-01", contents("ca2", "new", Some(LONG)));
        row(
            "a new authority",
            published(LONG),
            answers(),
            new_authority,
            Some(Cause::Changed),
        );
        row(
            "it ends",
            published(SHORT),
            answers(),
            of_another(),
            need(Need::Ending),
        );
        let no_better = found("cp-02", "key2", SHORT);
        row(
            "it ends, nothing lasts longer",
            published(SHORT),
            answers(),
            no_better,
            None,
        );
        let endless = kubeconfig("cp-02", contents("ca", "token", None));
        row(
            "it ends, a token lasts",
            published(SHORT),
            answers(),
            endless,
            need(Need::Ending),
        );
        let refused = silent(NOW, true);
        row(
            "refused",
            published(LONG),
            refused.clone(),
            of_another(),
            need(Need::Refused),
        );
        row(
            "refused, and all have the same",
            published(LONG),
            refused,
            same(),
            None,
        );
        let long_silent = silent(NOW - 60, false);
        row(
            "silent",
            published(LONG),
            long_silent,
            of_another(),
            need(Need::Silent),
        );
        let just_silent = silent(NOW - 5, false);
        row(
            "just silent",
            published(LONG),
            just_silent,
            of_another(),
            None,
        );
        let unusable = Published {
            contents: Err("damaged".to_owned()),
            ..published(LONG)
        };
        row(
            "unusable",
            unusable,
            answers(),
            of_another(),
            need(Need::Unusable),
        );
        let left = |machine: Option<&str>| Published {
            machine: machine.map(name),
            ..published(LONG)
        };
        let orphaned = || Some(Cause::MachineLeft);
        row(
            "its machine left",
            left(Some("cp-09")),
            answers(),
            of_another(),
            orphaned(),
        );
        row("of no machine", left(None), answers(), same(), orphaned());

        let control_plane = ["cp-01", "cp-02"].map(name);
        for (what, mut published, workload, found, expected) in table {
            published.found = Some(found.clone());
            let given = replacement(&published, &workload, &control_plane, at(NOW));
            assert_eq!(given, expected.map(|cause| (&found, cause)), "{what}");
        }
    }

    #[test]
    fn without_one_that_was_just_proven_the_old_one_stays() {
        let refused = Published {
            problem: Some(Problem {
                reason: nico_api::reason::ClusterReason::KubeconfigNotProven,
                message: "no answer".to_owned(),
                needs_change: false,
            }),
            ..published(SHORT)
        };
        let given = replacement(&refused, &silent(0, true), &[name("cp-01")], at(NOW));
        assert_eq!(given, None);
    }

    #[test]
    fn its_own_machine_is_asked_first_and_the_others_when_something_is_wrong() {
        let machines = || ["cp-02", "cp-01", "cp-03"].map(name).to_vec();
        let asked = |need| sources(&published(LONG), need, machines());
        assert_eq!(asked(None), ["cp-01"].map(name));
        assert_eq!(
            asked(Some(Need::Ending)),
            ["cp-01", "cp-02", "cp-03"].map(name)
        );
        let orphan = Published {
            machine: None,
            ..published(LONG)
        };
        assert_eq!(sources(&orphan, None, machines()), machines());
    }

    #[test]
    fn one_of_the_known_authority_is_better_than_one_of_another() {
        let candidate = |authority, life| contents(authority, "new", Some(life));
        for (need, candidate, expected) in [
            (Some(Need::Refused), candidate("ca", SHORT), true),
            (Some(Need::Refused), candidate("ca2", LONG), false),
            (Some(Need::Ending), candidate("ca", SHORT), false),
            (Some(Need::Ending), candidate("ca", LONG), true),
        ] {
            let best = is_best(&published(SHORT), need, &candidate);
            assert_eq!(best, expected, "{need:?} {candidate:?}");
        }
    }
}
