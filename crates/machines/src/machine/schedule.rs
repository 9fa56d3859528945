//! When the next probe of a machine is due.
//!
//! A probe is due at once when a machine is new to this process or when something changed that
//! may change the outcome; else once in every interval, at a moment that depends on the machine
//! only, so that thousands of probes spread evenly and stay spread over restarts.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use nico_api::machine::conditions::NEEDS_CLEANUP;
use nico_api::{Machine, condition, labels};
use tokio::time::Instant;

/// What this process remembers of the machines that it probed, by uid.
#[derive(Default)]
pub(super) struct Schedule {
    probes: Mutex<HashMap<String, Probe>>,
}

/// What is remembered of one machine.
#[derive(Default)]
struct Probe {
    /// `None` until a first probe was recorded.
    last: Option<Recorded>,
    /// Something that the machine refers to has changed since a probe began.
    expired: bool,
    last_success: Option<Timestamp>,
    failures: u32,
}

struct Recorded {
    cause: Cause,
    next: Instant,
}

/// What starts a probe when it changes. Status changes that come from the probe itself are not
/// part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cause {
    generation: Option<i64>,
    reconcile_at: Option<String>,
    reset_host_key: Option<String>,
    needs_cleanup: bool,
}

/// Whether a probe is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// At once, because something is new.
    Changed,
    /// At once, because its time has come.
    Routine,
    /// Not before this long.
    In(Duration),
}

impl Schedule {
    /// Whether `machine` is to be probed now. Whoever is told so begins a probe.
    pub(super) fn due(&self, machine: &Machine) -> Due {
        let mut probes = self.lock();
        let probe = probes.entry(key(machine)).or_default();
        let recorded = match &probe.last {
            Some(recorded) if !probe.expired && recorded.cause == Cause::of(machine) => recorded,
            _ => {
                probe.expired = false;
                return Due::Changed;
            }
        };
        match recorded.next.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Due::Routine,
            wait => Due::In(wait),
        }
    }

    /// The last success that this process saw.
    pub(super) fn last_success(&self, machine: &Machine) -> Option<Timestamp> {
        self.lock().get(&key(machine))?.last_success
    }

    /// Notes that a probe of `machine`, as it was read when the probe began, has ended and been
    /// recorded.
    pub(super) fn probed(&self, machine: &Machine, success: Option<Timestamp>, next: Duration) {
        let mut probes = self.lock();
        let probe = probes.entry(key(machine)).or_default();
        probe.last = Some(Recorded {
            cause: Cause::of(machine),
            next: Instant::now() + next,
        });
        probe.last_success = success.or(probe.last_success);
        probe.failures = 0;
    }

    /// Notes that the outcome of a probe could not be recorded, so that it has to be repeated.
    /// Gives the number of times in a row, at least 1.
    pub(super) fn failed(&self, machine: &Machine) -> u32 {
        let mut probes = self.lock();
        let probe = probes.entry(key(machine)).or_default();
        probe.expired = true;
        probe.failures = probe.failures.saturating_add(1);
        probe.failures
    }

    /// Notes that something that `machine` refers to has changed: the next look at it is a probe,
    /// also when one is under way now.
    pub(super) fn expire(&self, machine: &Machine) {
        self.lock().entry(key(machine)).or_default().expired = true;
    }

    /// Forgets a machine that is gone.
    pub(super) fn forget(&self, machine: &Machine) {
        self.lock().remove(&key(machine));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Probe>> {
        self.probes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cause {
    fn of(machine: &Machine) -> Self {
        let annotation = |name| machine.annotations().get(name).cloned();
        let conditions = machine
            .status
            .as_ref()
            .map(|status| status.conditions.as_slice());
        Self {
            generation: machine.metadata.generation,
            reconcile_at: annotation(labels::RECONCILE_AT),
            reset_host_key: annotation(labels::RESET_HOST_KEY),
            needs_cleanup: condition::is_true(conditions.unwrap_or_default(), NEEDS_CLEANUP),
        }
    }
}

/// How long to wait from `now` for the machine's own moment in the interval. At least a quarter
/// of the interval, at most one and a quarter, so that no two probes follow close upon another.
///
/// `phase` is that moment, from 0 (the beginning of the interval) to 1 (its end).
pub(super) fn until_next(now: Timestamp, interval: Duration, phase: f64) -> Duration {
    let period = interval.as_secs_f64();
    if period <= 0.0 {
        return Duration::ZERO;
    }
    let position = now.as_duration().as_secs_f64().rem_euclid(period);
    let wait = (phase.clamp(0.0, 1.0) * period - position).rem_euclid(period);
    let wait = if wait < period / 4.0 {
        wait + period
    } else {
        wait
    };
    Duration::from_secs_f64(wait)
}

/// The moment of a machine in every interval, from 0 to 1: evenly spread over machines, and the
/// same for the same machine.
pub(super) fn phase(machine: &Machine) -> f64 {
    let mut hasher = DefaultHasher::new();
    key(machine).hash(&mut hasher);
    f64::from(u32::try_from(hasher.finish() >> 32).unwrap_or_default()) / f64::from(u32::MAX)
}

/// The uid; for objects that never were in an API server, the name.
fn key(machine: &Machine) -> String {
    machine.uid().unwrap_or_else(|| machine.name_any())
}

#[cfg(test)]
mod tests {
    use nico_api::MachineSpec;
    use proptest::prelude::*;

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(60);

    fn machine(name: &str) -> Machine {
        let mut machine = Machine::new(name, MachineSpec::default());
        machine.metadata.generation = Some(1);
        machine
    }

    #[test]
    fn a_machine_that_is_new_is_probed_at_once_and_then_in_its_turn() {
        let (schedule, machine) = (Schedule::default(), machine("w-01"));
        assert_eq!(schedule.due(&machine), Due::Changed);
        schedule.probed(&machine, None, INTERVAL);
        assert!(matches!(schedule.due(&machine), Due::In(wait) if wait <= INTERVAL));
        schedule.probed(&machine, None, Duration::ZERO);
        assert_eq!(schedule.due(&machine), Due::Routine);
    }

    #[test]
    fn a_new_spec_or_annotation_starts_a_probe_and_a_new_status_does_not() {
        let (schedule, mut machine) = (Schedule::default(), machine("w-01"));
        schedule.probed(&machine, None, INTERVAL);
        machine.status = Some(nico_api::MachineStatus {
            discoverable: Some(true),
            ..Default::default()
        });
        machine.metadata.resource_version = Some("2".to_owned());
        assert!(matches!(schedule.due(&machine), Due::In(_)));

        machine
            .annotations_mut()
            .insert(labels::RECONCILE_AT.to_owned(), "now".to_owned());
        assert_eq!(schedule.due(&machine), Due::Changed);
        schedule.probed(&machine, None, INTERVAL);
        machine.metadata.generation = Some(2);
        assert_eq!(schedule.due(&machine), Due::Changed);
    }

    #[test]
    fn a_changed_secret_starts_a_probe_also_when_one_is_under_way() {
        let (schedule, machine) = (Schedule::default(), machine("w-01"));
        schedule.probed(&machine, None, INTERVAL);
        schedule.expire(&machine);
        assert_eq!(schedule.due(&machine), Due::Changed);
        schedule.expire(&machine);
        schedule.probed(&machine, None, INTERVAL);
        assert_eq!(schedule.due(&machine), Due::Changed);
        schedule.probed(&machine, None, INTERVAL);
        assert!(matches!(schedule.due(&machine), Due::In(_)));
    }

    #[test]
    fn the_last_success_outlives_failed_probes() {
        let (schedule, machine) = (Schedule::default(), machine("w-01"));
        let success = Timestamp::from_second(1000).ok();
        schedule.probed(&machine, success, INTERVAL);
        schedule.probed(&machine, None, INTERVAL);
        assert_eq!(schedule.last_success(&machine), success);
    }

    #[test]
    fn what_cannot_be_recorded_is_counted_until_it_can() {
        let (schedule, machine) = (Schedule::default(), machine("w-01"));
        assert_eq!(schedule.failed(&machine), 1);
        assert_eq!(schedule.failed(&machine), 2);
        assert_eq!(schedule.due(&machine), Due::Changed);
        schedule.probed(&machine, None, INTERVAL);
        assert_eq!(schedule.failed(&machine), 1);
    }

    #[test]
    fn many_machines_spread_over_the_interval() {
        let mut tenths = [0; 10];
        for number in 0..1000 {
            let tenth = (phase(&machine(&format!("w-{number}"))) * 10.0).floor();
            tenths[(tenth as usize).min(9)] += 1;
        }
        assert!(
            tenths.iter().all(|count| (50..200).contains(count)),
            "{tenths:?}"
        );
    }

    proptest! {
        #[test]
        fn every_probe_has_its_moment_and_none_follows_close_upon_another(
            second in 0_i64..4_000_000_000, seconds in 1_u64..100_000, phase in 0.0_f64..1.0,
        ) {
            let now = Timestamp::from_second(second).expect("a second of this century");
            let interval = Duration::from_secs(seconds);
            let wait = until_next(now, interval, phase);
            prop_assert!(wait >= interval.mul_f64(0.249) && wait <= interval.mul_f64(1.251));
            let moment = (second as f64 + wait.as_secs_f64()).rem_euclid(seconds as f64) / seconds as f64;
            let distance = (moment - phase).abs();
            prop_assert!(!(0.01..0.99).contains(&distance), "{moment} is not {phase}");
        }
    }
}
