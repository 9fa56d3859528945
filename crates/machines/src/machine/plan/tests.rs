use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use nico_api::machine::conditions::{HARDWARE_INSPECTED, NEEDS_CLEANUP, REACHABLE, READY};
use nico_api::{Machine, MachineSpec, MachineStatus, condition};
use nico_runtime::category::Category;
use nico_ssh::test_server::key;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::machine::observe::Contact;

const INTERVALS: Intervals = Intervals {
    discovery: Duration::from_secs(60),
    scan: Duration::from_secs(300),
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).expect("a second of this century")
}

fn machine() -> Machine {
    let mut machine = Machine::new("w-01", MachineSpec::default());
    machine.metadata.generation = Some(1);
    machine
}

fn answer(facts: Option<Result<&str, &str>>) -> Observed {
    let scan = facts.map(|facts| Scan {
        facts: facts
            .map(|id| {
                json!({"os": {"id": id}})
                    .as_object()
                    .cloned()
                    .expect("an object")
            })
            .map_err(str::to_owned),
        facter: None,
    });
    Observed {
        contact: Ok(Contact {
            host_key: key(1).public_key().clone(),
            trusted: vec!["SHA256:one".to_owned()],
            scan,
        }),
    }
}

fn no_answer(reason: MachineReason) -> Observed {
    Observed {
        contact: Err(Failure {
            reason,
            category: Category::Transient,
            message: format!("because of {reason}"),
        }),
    }
}

/// What stands in the API after a probe.
fn after(mut machine: Machine, observed: &Observed, now: Timestamp) -> Machine {
    let seen = machine
        .status
        .as_ref()
        .and_then(|status| status.last_seen_time.as_ref())
        .map(|time| time.0);
    let known = machine.status.clone().unwrap_or_default();
    let plan = plan(&machine, observed, seen, now, INTERVALS);
    let applied = applied(&plan).unwrap_or_else(|| known.clone());
    let (facts, scanned) = gathered(&plan).map_or(
        (known.hardware_facts, known.last_hardware_scan_time),
        |(facts, time)| (Some(facts), Some(Time(time))),
    );
    machine.status = Some(MachineStatus {
        hardware_facts: facts,
        last_hardware_scan_time: scanned,
        ..applied
    });
    machine
}

fn applied(plan: &Plan) -> Option<MachineStatus> {
    plan.actions.iter().find_map(|action| match action {
        Action::ApplyStatus(status) => Some(status.as_ref().clone()),
        _ => None,
    })
}

fn gathered(plan: &Plan) -> Option<(Map<String, Value>, Timestamp)> {
    plan.actions.iter().find_map(|action| match action {
        Action::ApplyFacts(facts, time) => Some((facts.clone(), *time)),
        _ => None,
    })
}

fn events(plan: &Plan) -> Vec<&'static str> {
    plan.actions
        .iter()
        .filter_map(|action| match action {
            Action::Publish(event) => Some(event.reason),
            _ => None,
        })
        .collect()
}

fn reason<'a>(machine: &'a Machine, kind: &str) -> &'a str {
    let conditions = &machine.status.as_ref().expect("a status").conditions;
    &condition::find(conditions, kind)
        .expect("the condition")
        .reason
}

fn known() -> Machine {
    after(machine(), &answer(Some(Ok("nixos"))), at(0))
}

#[test]
fn a_machine_that_answers_is_discoverable_inspected_and_ready() {
    let machine = known();
    let status = machine.status.as_ref().expect("a status");
    assert_eq!(status.discoverable, Some(true));
    assert_eq!(status.observed_generation, Some(1));
    assert_eq!(status.last_seen_time, Some(Time(at(0))));
    assert_eq!(status.last_hardware_scan_time, Some(Time(at(0))));
    assert_eq!(status.ssh_host_key_fingerprints, ["SHA256:one"]);
    assert_eq!(machine.fact("os.id"), Some(&json!("nixos")));
    for kind in [REACHABLE, HARDWARE_INSPECTED, READY] {
        assert!(condition::is_true(&status.conditions, kind), "{kind}");
    }
}

#[test]
fn each_failure_is_reported_for_what_it_is() {
    for failure in [
        MachineReason::DnsFailure,
        MachineReason::ConnectionRefused,
        MachineReason::TimedOut,
        MachineReason::AuthenticationFailed,
        MachineReason::MissingCredentials,
    ] {
        let machine = after(machine(), &no_answer(failure), at(0));
        assert_eq!(reason(&machine, REACHABLE), failure.as_str());
        assert_eq!(reason(&machine, READY), "NotReachable");
        assert_eq!(
            machine
                .status
                .as_ref()
                .and_then(|status| status.discoverable),
            Some(false)
        );
    }
}

#[test]
fn one_failed_probe_shows_in_reachable_and_leaves_the_machine_discoverable() {
    let machine = after(known(), &no_answer(MachineReason::TimedOut), at(60));
    assert!(machine.is_discoverable());
    assert_eq!(reason(&machine, REACHABLE), "TimedOut");
    assert_eq!(reason(&machine, READY), "Available");
    let machine = after(machine, &no_answer(MachineReason::TimedOut), at(120));
    assert!(!machine.is_discoverable());
    assert_eq!(reason(&machine, READY), "NotReachable");
}

#[test]
fn a_changed_host_key_and_refused_credentials_count_at_once() {
    for failure in [
        MachineReason::HostKeyChanged,
        MachineReason::AuthenticationFailed,
        MachineReason::MissingCredentials,
    ] {
        assert!(
            !after(known(), &no_answer(failure), at(1)).is_discoverable(),
            "{failure}"
        );
    }
}

#[test]
fn a_machine_that_was_never_there_gets_no_grace() {
    let first = after(machine(), &no_answer(MachineReason::TimedOut), at(0));
    assert!(!after(first, &no_answer(MachineReason::TimedOut), at(1)).is_discoverable());
}

#[test]
fn the_last_success_in_memory_counts_though_the_status_is_older() {
    let plan = plan(
        &known(),
        &no_answer(MachineReason::TimedOut),
        Some(at(240)),
        at(300),
        INTERVALS,
    );
    let status = applied(&plan).expect("the reason is new");
    assert_eq!(status.discoverable, Some(true));
    assert_eq!(status.last_seen_time, Some(Time(at(240))));
}

#[test]
fn nothing_is_written_while_nothing_changes() {
    let machine = known();
    let again = plan(&machine, &answer(None), Some(at(0)), at(60), INTERVALS);
    assert_eq!(applied(&again), None);
    assert!(events(&again).is_empty());

    let away = after(machine, &no_answer(MachineReason::HostKeyChanged), at(60));
    let still = plan(
        &away,
        &no_answer(MachineReason::HostKeyChanged),
        Some(at(0)),
        at(900),
        INTERVALS,
    );
    assert_eq!(still.actions, []);
}

#[test]
fn the_time_of_the_last_success_is_written_now_and_then() {
    let plan = plan(&known(), &answer(None), Some(at(240)), at(300), INTERVALS);
    let status = applied(&plan).expect("the time is old");
    assert_eq!(status.last_seen_time, Some(Time(at(300))));
    assert!(events(&plan).is_empty());
}

#[test]
fn people_are_told_when_a_machine_goes_and_when_it_comes_back() {
    let refused = no_answer(MachineReason::ConnectionRefused);
    assert_eq!(
        events(&plan(&machine(), &answer(None), None, at(0), INTERVALS)),
        ["Connected"]
    );
    assert_eq!(
        events(&plan(&known(), &refused, None, at(60), INTERVALS)),
        ["ConnectionRefused"]
    );
    let away = after(known(), &refused, at(60));
    assert!(events(&plan(&away, &refused, None, at(120), INTERVALS)).is_empty());
    assert_eq!(
        events(&plan(&away, &answer(None), None, at(120), INTERVALS)),
        ["Connected"]
    );
}

#[test]
fn failed_inspection_keeps_the_old_facts_and_says_why() {
    let machine = after(known(), &answer(Some(Err("awk: not found"))), at(300));
    assert_eq!(machine.fact("os.id"), Some(&json!("nixos")));
    assert_eq!(reason(&machine, HARDWARE_INSPECTED), "InspectionFailed");
    assert_eq!(reason(&machine, READY), "InspectionFailed");
    assert_eq!(
        machine
            .status
            .as_ref()
            .and_then(|status| status.last_hardware_scan_time.clone()),
        Some(Time(at(0)))
    );
}

#[test]
fn facts_are_written_before_the_status_says_that_they_are_there() {
    let plan = plan(
        &machine(),
        &answer(Some(Ok("nixos"))),
        None,
        at(0),
        INTERVALS,
    );
    let place = |wanted: fn(&Action) -> bool| plan.actions.iter().position(wanted);
    let facts = place(|action| matches!(action, Action::ApplyFacts(..)));
    let status = place(|action| matches!(action, Action::ApplyStatus(_)));
    assert!(facts.is_some() && facts < status);
}

#[test]
fn maintenance_and_a_forced_removal_make_a_machine_unready() {
    let mut machine = machine();
    machine.spec.maintenance = true;
    let machine = after(machine, &answer(Some(Ok("nixos"))), at(0));
    assert_eq!(reason(&machine, READY), "Maintenance");
    assert!(machine.is_discoverable());

    let mut machine = known();
    let conditions = &mut machine.status.as_mut().expect("a status").conditions;
    condition::set(
        conditions,
        NEEDS_CLEANUP,
        Truth::True,
        MachineReason::RemovalForced,
        "",
        None,
        at(0),
    );
    let status =
        applied(&plan(&machine, &answer(None), None, at(60), INTERVALS)).expect("it changes");
    let ready = condition::find(&status.conditions, READY).expect("the summary");
    assert_eq!(ready.reason, "RemovalForced");
}

#[test]
fn fields_and_conditions_of_other_controllers_are_not_applied() {
    let mut machine = known();
    let status = machine.status.as_mut().expect("a status");
    status.has_configuration = Some(true);
    status.applied_configuration = Some("w-01".to_owned());
    status.applied_commit = Some("abc".to_owned());
    status.nix_facter_result = Some(Map::new());
    condition::set(
        &mut status.conditions,
        NEEDS_CLEANUP,
        Truth::False,
        "Other",
        "",
        None,
        at(0),
    );
    let refused = no_answer(MachineReason::ConnectionRefused);
    let status = applied(&plan(&machine, &refused, None, at(600), INTERVALS)).expect("it changes");
    assert_eq!(status.has_configuration, None);
    assert_eq!(status.applied_configuration, None);
    assert_eq!(status.applied_commit, None);
    assert_eq!(status.nix_facter_result, None);
    assert_eq!(status.hardware_facts, None);
    assert_eq!(status.last_hardware_scan_time, None);
    assert_eq!(condition::find(&status.conditions, NEEDS_CLEANUP), None);
}

#[test]
fn the_host_key_is_pinned_before_the_status_is_written_unless_the_spec_names_it() {
    let first = plan(&machine(), &answer(None), None, at(0), INTERVALS);
    assert!(matches!(first.actions.first(), Some(Action::PinHostKey(_))));
    let mut machine = machine();
    machine.spec.ssh_host_keys = vec!["ssh-ed25519 AAAA".to_owned()];
    let named = plan(&machine, &answer(None), None, at(0), INTERVALS);
    assert!(
        !named
            .actions
            .iter()
            .any(|action| matches!(action, Action::PinHostKey(_)))
    );
}

#[test]
fn facts_are_asked_for_when_they_are_missing_old_or_failed_or_somebody_asks() {
    let facts = |machine: &Machine, changed, now| questions(machine, changed, now, INTERVALS).facts;
    assert!(facts(&machine(), false, at(0)));
    assert!(!facts(&known(), false, at(60)));
    assert!(facts(&known(), false, at(300)));
    assert!(facts(&known(), true, at(60)));
    let failed = after(known(), &answer(Some(Err("no"))), at(60));
    assert!(facts(&failed, false, at(120)));
}

#[test]
fn a_success_that_is_yet_to_come_counts_for_nothing() {
    let year = 365 * 24 * 3600;
    let from_the_future = after(machine(), &answer(Some(Ok("nixos"))), at(year));
    let refused = no_answer(MachineReason::TimedOut);
    assert!(!after(from_the_future.clone(), &refused, at(0)).is_discoverable());
    assert!(questions(&from_the_future, false, at(0), INTERVALS).facts);
    let corrected = after(from_the_future, &answer(None), at(0));
    let seen = corrected.status.and_then(|status| status.last_seen_time);
    assert_eq!(seen, Some(Time(at(0))));
}

fn observations() -> impl Strategy<Value = Observed> {
    prop_oneof![
        Just(()).prop_map(|()| answer(None)),
        "[a-z]{1,4}".prop_map(|id| answer(Some(Ok(&id)))),
        Just(()).prop_map(|()| answer(Some(Err("no")))),
        proptest::sample::select(MachineReason::ALL).prop_map(no_answer),
    ]
}

proptest! {
    #[test]
    fn a_plan_that_was_carried_out_leaves_nothing_to_write(
        history in proptest::collection::vec((observations(), 1_i64..400), 1..20),
    ) {
        let mut machine = machine();
        let mut now = 0;
        for (observed, wait) in &history {
            now += wait;
            machine = after(machine, observed, at(now));
            let again = plan(&machine, observed, None, at(now), INTERVALS);
            prop_assert_eq!(applied(&again), None);
        }
    }

    #[test]
    fn a_machine_that_did_not_answer_for_two_intervals_is_not_discoverable(
        history in proptest::collection::vec((observations(), 1_i64..400), 0..20),
        silence in 120_i64..1000,
    ) {
        let mut machine = machine();
        let mut now = 0;
        for (observed, wait) in &history {
            now += wait;
            machine = after(machine, observed, at(now));
        }
        let machine = after(machine, &no_answer(MachineReason::TimedOut), at(now + silence));
        prop_assert!(!machine.is_discoverable());
    }
}
