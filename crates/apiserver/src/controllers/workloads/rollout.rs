//! How large the ReplicaSets of a Deployment are to be. Pure: sizes go in, sizes come out.
//!
//! The rules are those of the Deployment controller of Kubernetes (`rolling.go`, `sync.go`).

use serde_json::Value;

/// What a Deployment wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Goal {
    /// Replicas.
    pub replicas: i64,
    /// How many more there may be meanwhile.
    pub max_surge: i64,
    /// How many of them may be unavailable meanwhile.
    pub max_unavailable: i64,
}

/// The size of a ReplicaSet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Replicas that it was told to have.
    pub replicas: i64,
    /// Replicas that are available.
    pub available: i64,
    /// The replicas that its Deployment wanted when the size was set; none if that is not known.
    pub desired: Option<i64>,
    /// The most replicas that its Deployment allowed when the size was set.
    pub most: Option<i64>,
}

impl Goal {
    /// Reads a Deployment.
    pub fn of(deployment: &Value) -> Self {
        let spec = &deployment["spec"];
        let replicas = spec["replicas"].as_i64().unwrap_or(1);
        if spec["strategy"]["type"] == "Recreate" {
            return Self {
                replicas,
                max_surge: 0,
                max_unavailable: 0,
            };
        }
        let rolling = &spec["strategy"]["rollingUpdate"];
        let max_surge = share(&rolling["maxSurge"], replicas, true);
        let max_unavailable = share(&rolling["maxUnavailable"], replicas, false);
        // Something must be able to move.
        let stuck = max_surge == 0 && max_unavailable == 0;
        Self {
            replicas,
            max_surge,
            max_unavailable: if stuck { 1 } else { max_unavailable }.min(replicas),
        }
    }

    /// The most replicas that there may be.
    pub fn most(&self) -> i64 {
        self.replicas + self.max_surge
    }
}

/// A number, or a share of the whole.
pub fn share(value: &Value, whole: i64, round_up: bool) -> i64 {
    let percent = |text: &str| text.strip_suffix('%')?.parse::<i64>().ok();
    match value {
        Value::String(text) => {
            let hundredths = percent(text).unwrap_or_default().saturating_mul(whole);
            if round_up {
                hundredths.saturating_add(99).div_euclid(100)
            } else {
                hundredths.div_euclid(100)
            }
        }
        value => value.as_i64().unwrap_or_default(),
    }
}

/// The next step of a rolling update: the size of the new ReplicaSet and of the old ones, which
/// come in the order of their age.
///
/// The new one grows as far as the surge allows. Only when it cannot grow, old ones shrink: first
/// by what is not available anyway, then by what may become unavailable.
pub fn roll(goal: Goal, new: Size, old: &[Size]) -> (i64, Vec<i64>) {
    let unchanged: Vec<i64> = old.iter().map(|size| size.replicas).collect();
    let total: i64 = new.replicas + unchanged.iter().sum::<i64>();
    let grown = if new.replicas >= goal.replicas {
        goal.replicas
    } else {
        let room = (goal.most() - total).max(0);
        goal.replicas.min(new.replicas + room)
    };
    if grown != new.replicas {
        return (grown, unchanged);
    }
    let least = goal.replicas - goal.max_unavailable;
    let new_unavailable = (new.replicas - new.available).max(0);
    let mut room = total - least - new_unavailable;
    let mut sizes = unchanged;
    for (size, known) in sizes.iter_mut().zip(old) {
        let unhealthy = (known.replicas - known.available).clamp(0, room.max(0));
        *size -= unhealthy;
        room -= unhealthy;
    }
    if room <= 0 {
        return (grown, sizes);
    }
    let available: i64 = new.available + old.iter().map(|size| size.available).sum::<i64>();
    let mut spare = (available - least).max(0);
    for size in &mut sizes {
        let fewer = (*size).min(spare);
        *size -= fewer;
        spare -= fewer;
    }
    (grown, sizes)
}

/// The step of an update that first ends what is old. `old_pods` says whether Pods of old
/// ReplicaSets are still there.
pub fn recreate(goal: Goal, new: Size, old: &[Size], old_pods: bool) -> (i64, Vec<i64>) {
    let waits = old_pods || old.iter().any(|size| size.replicas > 0);
    let new = if waits { new.replicas } else { goal.replicas };
    (new, vec![0; old.len()])
}

/// Whether the wanted replicas have changed since the sizes were set.
pub fn is_rescaled(goal: Goal, sizes: &[Size]) -> bool {
    let mut active = sizes.iter().filter(|size| size.replicas > 0);
    active.any(|size| size.desired.is_some_and(|desired| desired != goal.replicas))
}

/// New sizes after the wanted replicas have changed, or while a Deployment is paused: in the middle
/// of an update, all ReplicaSets grow or shrink in proportion. `sizes` come in the order of their
/// age, the new one (if any) at `new`.
pub fn rescale(goal: Goal, sizes: &[Size], new: Option<usize>) -> Vec<i64> {
    let mut wanted: Vec<i64> = sizes.iter().map(|size| size.replicas).collect();
    let active: Vec<usize> = (0..sizes.len())
        .filter(|i| sizes[*i].replicas > 0)
        .collect();
    let only = match active[..] {
        [] => new.or(sizes.len().checked_sub(1)),
        [one] => Some(one),
        _ => None,
    };
    if let Some(only) = only {
        wanted[only] = goal.replicas;
        return wanted;
    }
    let is_complete = |size: &Size| {
        size.replicas == goal.replicas
            && size.desired == Some(goal.replicas)
            && size.available == goal.replicas
    };
    if let Some(new) = new.filter(|new| is_complete(&sizes[*new])) {
        for index in active.into_iter().filter(|index| *index != new) {
            wanted[index] = 0;
        }
        return wanted;
    }
    proportions(goal, sizes, active, wanted)
}

fn proportions(
    goal: Goal,
    sizes: &[Size],
    mut active: Vec<usize>,
    mut wanted: Vec<i64>,
) -> Vec<i64> {
    let allowed = if goal.replicas > 0 { goal.most() } else { 0 };
    let total: i64 = wanted.iter().sum();
    let to_add = allowed - total;
    // The larger one first; among equals the newer one when growing, else the older one.
    active.sort_by_key(|index| {
        let age = i64::try_from(*index).unwrap_or(i64::MAX);
        let age = if to_add > 0 { -age } else { age };
        (-sizes[*index].replicas, age)
    });
    let mut added = 0;
    for index in &active {
        let size = sizes[*index];
        if to_add == 0 {
            break;
        }
        let part = part(goal, size, total);
        let left = to_add - added;
        let part = if to_add > 0 {
            part.clamp(0, left)
        } else {
            part.clamp(left, 0)
        };
        wanted[*index] = size.replicas + part;
        added += part;
    }
    if let Some(first) = active.first() {
        wanted[*first] = (wanted[*first] + to_add - added).max(0);
    }
    wanted
}

/// By how much a ReplicaSet changes in proportion to what it had of the whole.
fn part(goal: Goal, size: Size, total: i64) -> i64 {
    if goal.replicas == 0 {
        return -size.replicas;
    }
    let before = size.most.filter(|most| *most > 0).unwrap_or(total).max(1);
    // Rounded to the nearest.
    let scaled = (2 * size.replicas * goal.most() + before).div_euclid(2 * before);
    scaled - size.replicas
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn goal(replicas: i64, max_surge: i64, max_unavailable: i64) -> Goal {
        Goal {
            replicas,
            max_surge,
            max_unavailable,
        }
    }

    fn size(replicas: i64, available: i64) -> Size {
        Size {
            replicas,
            available,
            ..Size::default()
        }
    }

    #[test]
    fn shares_round_up_for_the_surge_and_down_for_what_may_be_missing() {
        let deployment = |surge: Value, unavailable: Value| {
            json!({"spec": {"replicas": 3, "strategy": {"type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}}})
        };
        let of = |surge, unavailable| Goal::of(&deployment(surge, unavailable));
        assert_eq!(of(json!("25%"), json!("25%")), goal(3, 1, 0));
        assert_eq!(of(json!(2), json!("50%")), goal(3, 2, 1));
        assert_eq!(of(json!(0), json!(0)), goal(3, 0, 1), "something must move");
        assert_eq!(of(json!(0), json!("100%")), goal(3, 0, 3));
    }

    #[test]
    fn a_step_keeps_to_surge_and_availability() {
        type Sizes<'a> = (i64, &'a [i64]);
        let rules: &[(&str, Goal, Size, &[Size], Sizes<'_>)] = &[
            ("from nothing", goal(3, 1, 0), size(0, 0), &[], (3, &[])),
            (
                "surge first",
                goal(3, 1, 0),
                size(0, 0),
                &[size(3, 3)],
                (1, &[3]),
            ),
            (
                "wait for the new",
                goal(3, 1, 0),
                size(1, 0),
                &[size(3, 3)],
                (1, &[3]),
            ),
            (
                "then shrink the old",
                goal(3, 1, 0),
                size(1, 1),
                &[size(3, 3)],
                (1, &[2]),
            ),
            (
                "then grow again",
                goal(3, 1, 0),
                size(1, 1),
                &[size(2, 2)],
                (2, &[2]),
            ),
            (
                "without surge",
                goal(3, 0, 1),
                size(0, 0),
                &[size(3, 3)],
                (0, &[2]),
            ),
            (
                "the broken go first",
                goal(3, 1, 1),
                size(1, 0),
                &[size(1, 0), size(2, 2)],
                (1, &[0, 2]),
            ),
            ("too large", goal(2, 1, 0), size(5, 5), &[], (2, &[])),
            (
                "to nothing",
                goal(0, 0, 0),
                size(1, 1),
                &[size(1, 1)],
                (0, &[1]),
            ),
        ];
        for (rule, goal, new, old, (grown, sizes)) in rules {
            assert_eq!(roll(*goal, *new, old), (*grown, sizes.to_vec()), "{rule}");
        }
    }

    /// Plays a rollout in which everything becomes available, one after the other.
    fn play(goal: Goal) {
        let mut new = size(0, 0);
        let mut old = vec![size(goal.replicas, goal.replicas)];
        for _ in 0..20 * (goal.replicas + 1) {
            let (grown, sizes) = roll(goal, new, &old);
            new.replicas = grown;
            new.available = new.available.min(grown);
            for (known, size) in old.iter_mut().zip(sizes) {
                known.replicas = size;
                known.available = known.available.min(size);
            }
            let total = new.replicas + old[0].replicas;
            let available = new.available + old[0].available;
            assert!(total <= goal.most(), "{goal:?}: {new:?} {old:?}");
            assert!(
                available >= goal.replicas - goal.max_unavailable,
                "{goal:?}: {new:?} {old:?}"
            );
            if new.available < new.replicas {
                new.available += 1;
            }
        }
        assert_eq!(
            (new.replicas, old[0].replicas),
            (goal.replicas, 0),
            "{goal:?}"
        );
    }

    #[test]
    fn every_rollout_ends_and_keeps_its_promises() {
        for replicas in 0..6 {
            for max_surge in 0..4 {
                for max_unavailable in 0..4.min(replicas + 1) {
                    if max_surge + max_unavailable > 0 {
                        play(goal(replicas, max_surge, max_unavailable));
                    }
                }
            }
        }
    }

    #[test]
    fn nothing_new_before_the_last_old_pod_is_gone() {
        let goal = goal(2, 0, 0);
        assert_eq!(
            recreate(goal, size(0, 0), &[size(2, 2)], true),
            (0, vec![0])
        );
        assert_eq!(
            recreate(goal, size(0, 0), &[size(0, 0)], true),
            (0, vec![0])
        );
        assert_eq!(
            recreate(goal, size(0, 0), &[size(0, 0)], false),
            (2, vec![0])
        );
    }

    #[test]
    fn a_change_of_replicas_in_the_middle_is_shared() {
        let sized = |replicas, desired, most| Size {
            replicas,
            available: replicas,
            desired: Some(desired),
            most: Some(most),
        };
        let sizes = [sized(6, 10, 12), sized(6, 10, 12)];
        assert!(is_rescaled(goal(20, 4, 0), &sizes));
        assert_eq!(rescale(goal(20, 4, 0), &sizes, Some(1)), [12, 12]);
        assert_eq!(rescale(goal(5, 1, 0), &sizes, Some(1)), [3, 3]);
        assert_eq!(rescale(goal(0, 0, 0), &sizes, Some(1)), [0, 0]);
        let one = [sized(0, 3, 4), sized(3, 3, 4)];
        assert_eq!(rescale(goal(5, 1, 0), &one, Some(1)), [0, 5]);
        assert!(!is_rescaled(goal(3, 1, 0), &one));
    }
}
