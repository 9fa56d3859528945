//! The rules of a plan, by tables.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use nico_api::labels::{CONFIGURATION_FINALIZER, RECONCILE_AT};
use nico_api::nixos_configuration::Step;
use nico_api::nixos_configuration::conditions::READY;
use nico_api::{MachineStatus, NixosConfigurationSpec};
use nico_git::Credentials;
use proptest::prelude::*;

use super::super::files::Files;
use super::super::progress::{Applied, Failure};
use super::super::wanted::Request;
use super::*;

const RHYTHM: Rhythm = Rhythm {
    interval: Duration::from_secs(120),
    backoff: Backoff::RECONCILE,
    jitter: 1.0,
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A configuration of `web` that asks for commit aaa… on machine `m`, which nobody has.
fn observed() -> Observed {
    let spec = NixosConfigurationSpec {
        git_repo: Some("https://git.example/a.git".to_owned()),
        reference: "main".to_owned(),
        flake: "#web".to_owned(),
        on_remove_flake: Some("#minimal".to_owned()),
        machine_ref: nico_api::references::LocalReference {
            name: "m".to_owned(),
        },
        ..NixosConfigurationSpec::default()
    };
    let mut configuration = NixosConfiguration::new("web", spec);
    configuration.metadata.generation = Some(1);
    configuration.metadata.finalizers = Some(vec![CONFIGURATION_FINALIZER.to_owned()]);
    Observed {
        wanted: Some(Ok(wanted(&configuration, Purpose::Install, 'a'))),
        configuration,
        machine: Some(Machine::default()),
        holder: Holder::Nobody,
        left_machine: None,
    }
}

fn wanted(configuration: &NixosConfiguration, purpose: Purpose, commit: char) -> Wanted {
    Wanted::new(
        configuration,
        Request::read(configuration, purpose).unwrap(),
        Credentials::Anonymous,
        commit.to_string().repeat(40).parse().unwrap(),
        Files::default(),
    )
}

fn wanted_of(observed: &Observed) -> &Wanted {
    observed.wanted.as_ref().unwrap().as_ref().unwrap()
}

/// The same, some way into an attempt that began at second 100.
fn attempted(step: impl FnOnce(&mut Progress, &Wanted)) -> Observed {
    let mut observed = observed();
    observed.holder = Holder::Me;
    let mut progress = progress(&observed.configuration, Purpose::Install);
    progress.start(wanted_of(&observed), at(100), 0, at(100));
    step(&mut progress, wanted_of(&observed));
    observed.configuration.status = Some(progress.status().clone());
    observed
}

fn applied() -> Observed {
    attempted(|progress, wanted| {
        progress.enter(Step::Activate, at(101));
        let system = "/nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-system";
        let applied = Applied {
            system: system.parse().unwrap(),
            generation: Some(1),
            reboot_required: None,
        };
        progress.succeed(wanted, &applied, at(110));
    })
}

fn failure(category: Category) -> Failure {
    Failure {
        reason: ConfigurationReason::EvaluationFailed,
        message: "no".to_owned(),
        category,
        is_rolled_back: false,
    }
}

fn failed(step: Step, category: Category) -> Observed {
    attempted(|progress, _| {
        progress.enter(step, at(105));
        progress.fail(&failure(category), at(110));
    })
}

fn deleted(mut observed: Observed) -> Observed {
    observed.configuration.metadata.deletion_timestamp = Some(Time(at(200)));
    let wanted = wanted(&observed.configuration, Purpose::Remove, 'a');
    observed.wanted = Some(Ok(wanted));
    observed
}

/// The actions of a plan, one word each.
fn actions(observed: &Observed, now: i64) -> Vec<&'static str> {
    names(&plan(observed, &RHYTHM, at(now)))
}

fn names(plan: &Plan) -> Vec<&'static str> {
    plan.actions
        .iter()
        .map(|action| match action {
            Action::AddFinalizer => "finalize",
            Action::RemoveFinalizer => "let go",
            Action::Report(_) => "report",
            Action::Claim(_) => "claim",
            Action::Apply(_) => "apply",
            Action::RemoveFiles { .. } => "remove files",
            Action::Release {
                left_behind: None, ..
            } => "release",
            Action::Release { .. } => "release dirty",
        })
        .collect()
}

/// The reason of `Ready` in the status that a plan writes.
fn reported(observed: &Observed, now: i64) -> (String, String) {
    let plan = plan(observed, &RHYTHM, at(now));
    let Some(Action::Report(progress)) = plan.actions.last() else {
        panic!("{:?} reports nothing", names(&plan));
    };
    let ready = condition::find(&progress.status().conditions, READY).unwrap();
    (ready.reason.clone(), ready.message.clone())
}

#[test]
fn a_new_configuration_gets_its_finalizer_and_its_machine_before_the_host_is_touched() {
    let mut new = observed();
    new.configuration.metadata.finalizers = None;
    assert_eq!(actions(&new, 0), ["finalize", "claim", "apply"]);
}

#[test]
fn a_machine_of_another_configuration_is_left_alone() {
    let mut second = observed();
    second.holder = Holder::Other("first".to_owned());
    assert_eq!(actions(&second, 0), ["report"]);
    let (reason, message) = reported(&second, 0);
    assert_eq!(reason, "MachineInUse");
    assert!(message.contains("NixosConfiguration first"), "{message}");
}

#[test]
fn a_machine_that_is_not_there_is_named() {
    let mut lost = observed();
    lost.machine = None;
    let (reason, message) = reported(&lost, 0);
    assert_eq!(reason, "MachineNotFound");
    assert!(message.contains("Machine m"), "{message}");
}

#[test]
fn a_machine_in_maintenance_is_not_changed_and_stays_ready_as_it_is() {
    let in_maintenance = |mut observed: Observed| {
        observed.machine.as_mut().unwrap().spec.maintenance = true;
        observed
    };
    assert_eq!(
        reported(&in_maintenance(observed()), 0).0,
        "MachineInMaintenance"
    );
    assert_eq!(reported(&in_maintenance(applied()), 200).0, "Applied");
    assert_eq!(
        actions(&in_maintenance(deleted(applied())), 200),
        ["report"]
    );
}

#[test]
fn an_obstacle_is_reported_and_nothing_is_applied() {
    let mut observed = observed();
    observed.wanted = Some(Err(Obstacle {
        step: Some(Step::Files),
        reason: ConfigurationReason::SecretNotFound,
        message: "Secret default/join does not exist".to_owned(),
        category: Category::Waiting,
        retry_in: None,
    }));
    assert_eq!(actions(&observed, 0), ["report"]);
    assert_eq!(reported(&observed, 0).0, "SecretNotFound");
}

#[test]
fn an_obstacle_is_looked_at_often_at_first_and_at_the_interval_later() {
    let mut observed = observed();
    observed.machine = None;
    let first = plan(&observed, &RHYTHM, at(0));
    assert_eq!(first.requeue, Some(RHYTHM.backoff.base));
    let Some(Action::Report(progress)) = first.actions.last() else {
        panic!("{:?}", names(&first));
    };
    observed.configuration.status = Some(progress.status().clone());
    let requeue = |now| plan(&observed, &RHYTHM, at(now)).requeue;
    assert_eq!(requeue(30), Some(Duration::from_secs(30)));
    assert_eq!(requeue(10_000), Some(RHYTHM.interval));
}

#[test]
fn a_git_server_that_is_down_does_not_make_a_running_host_unready() {
    let mut observed = applied();
    observed.wanted = Some(Err(Obstacle {
        step: Some(Step::Source),
        reason: ConfigurationReason::GitUnreachable,
        message: "no route".to_owned(),
        category: Category::Transient,
        retry_in: Some(Duration::from_secs(7)),
    }));
    assert_eq!(reported(&observed, 200).0, "Applied");
    let requeue = plan(&observed, &RHYTHM, at(200)).requeue;
    assert_eq!(requeue, Some(Duration::from_secs(7)));
}

#[test]
fn what_runs_as_wanted_is_only_looked_at_again() {
    let observed = applied();
    let plan = plan(&observed, &RHYTHM, at(200));
    assert_eq!(names(&plan), ["report"]);
    let Action::Report(progress) = &plan.actions[0] else {
        panic!("no report");
    };
    let status = observed.configuration.status.as_ref();
    assert_eq!(Some(progress.status()), status, "nothing is written");
    assert!(plan.requeue.unwrap() <= RHYTHM.interval);
}

#[test]
fn a_new_commit_and_a_lost_claim_are_applied() {
    let mut pushed = applied();
    pushed.wanted = Some(Ok(wanted(&pushed.configuration, Purpose::Install, 'b')));
    assert_eq!(actions(&pushed, 200), ["apply"]);
    let mut unclaimed = applied();
    unclaimed.holder = Holder::Nobody;
    assert_eq!(actions(&unclaimed, 200), ["claim", "apply"]);
}

#[test]
fn an_attempt_that_a_killed_process_left_goes_on_as_the_same_attempt() {
    for step in [Step::Source, Step::Build, Step::Activate, Step::Confirm] {
        let left = attempted(|progress, _| progress.enter(step, at(105)));
        let plan = plan(&left, &RHYTHM, at(500));
        let Some(Action::Apply(attempt)) = plan.actions.last() else {
            panic!("{step:?}: {:?}", names(&plan));
        };
        assert_eq!(attempt.started_at, at(100), "{step:?}");
        assert_eq!(attempt.resumed_from, Some(step));
    }
}

#[test]
fn a_failure_that_may_pass_is_tried_again_after_its_wait() {
    let failed = failed(Step::Copy, Category::Transient);
    let early = plan(&failed, &RHYTHM, at(112));
    assert_eq!(names(&early), [""; 0]);
    assert_eq!(early.requeue, Some(Duration::from_secs(3)));
    let due = plan(&failed, &RHYTHM, at(115));
    let Some(Action::Apply(attempt)) = due.actions.last() else {
        panic!("{:?}", names(&due));
    };
    assert_eq!((attempt.failures, attempt.started_at), (1, at(115)));
}

#[test]
fn what_may_pass_is_tried_for_ever_and_at_most_ten_minutes_apart() {
    let mut observed = failed(Step::Copy, Category::Transient);
    let mut now = 110;
    let mut waits = Vec::new();
    for _ in 0..30 {
        let early = plan(&observed, &RHYTHM, at(now));
        assert_eq!(names(&early), [""; 0]);
        let wait = early.requeue.unwrap().as_secs();
        waits.push(wait);
        now += i64::try_from(wait).unwrap();
        let due = plan(&observed, &RHYTHM, at(now));
        let Some(Action::Apply(next)) = due.actions.last() else {
            panic!("{:?}", names(&due));
        };
        let mut progress = next.progress.clone();
        progress.start(&next.wanted, next.started_at, next.failures, at(now));
        progress.enter(Step::Copy, at(now));
        progress.fail(&failure(Category::Transient), at(now));
        observed.configuration.status = Some(progress.status().clone());
    }
    assert_eq!(waits[..8], [5, 10, 20, 40, 80, 160, 320, 600]);
    assert!(waits[8..].iter().all(|wait| *wait == 600), "{waits:?}");
}

type Change = fn(&mut NixosConfiguration);

#[test]
fn a_new_spec_commit_or_wish_is_tried_at_once_and_its_failures_counted_anew() {
    let spec: Change = |it| it.spec.flake = "#other".to_owned();
    let wish: Change = |it| {
        let now = (RECONCILE_AT.to_owned(), "now".to_owned());
        it.metadata.annotations = Some([now].into());
    };
    let changes: [(Change, char); 3] = [(spec, 'a'), (wish, 'a'), (|_| {}, 'b')];
    for category in [Category::Transient, Category::InvalidInput] {
        for (change, commit) in changes {
            let mut observed = failed(Step::Build, category);
            assert_eq!(actions(&observed, 111), [""; 0]);
            change(&mut observed.configuration);
            let wanted = wanted(&observed.configuration, Purpose::Install, commit);
            observed.wanted = Some(Ok(wanted));
            let plan = plan(&observed, &RHYTHM, at(111));
            let Some(Action::Apply(attempt)) = plan.actions.last() else {
                panic!("{:?}", names(&plan));
            };
            assert_eq!((attempt.failures, attempt.started_at), (0, at(111)));
        }
    }
}

#[test]
fn a_host_that_went_back_is_left_alone_for_longer_than_one_that_failed() {
    let rolled_back = attempted(|progress, _| {
        progress.enter(Step::Confirm, at(105));
        let failure = Failure {
            reason: ConfigurationReason::RolledBack,
            message: "nobody confirmed it".to_owned(),
            category: Category::Transient,
            is_rolled_back: true,
        };
        progress.fail(&failure, at(110));
    });
    let wait = plan(&rolled_back, &RHYTHM, at(110)).requeue.unwrap();
    assert!(wait > Duration::from_secs(60), "{wait:?}");
    assert_eq!(actions(&rolled_back, 110 + 81), ["apply"]);
}

#[test]
fn a_host_that_was_changed_by_hand_is_said_to_have_drifted_and_then_put_back() {
    let mut drifted = applied();
    let facts = serde_json::json!({"nixos": {"currentSystem": "/nix/store/other"}});
    drifted.machine.as_mut().unwrap().status = Some(MachineStatus {
        hardware_facts: facts.as_object().cloned(),
        last_hardware_scan_time: Some(Time(at(150))),
        ..MachineStatus::default()
    });
    assert_eq!(actions(&drifted, 151), ["report"]);
    let (reason, message) = reported(&drifted, 151);
    assert_eq!(reason, "Drifted");
    assert!(message.contains("/nix/store/other"), "{message}");
    let plan = plan(&drifted, &RHYTHM, at(151));
    let Some(Action::Report(progress)) = plan.actions.last() else {
        panic!("{:?}", names(&plan));
    };
    drifted.configuration.status = Some(progress.status().clone());
    assert_eq!(actions(&drifted, 156), ["apply"]);
    drifted.machine.as_mut().unwrap().spec.maintenance = true;
    assert_eq!(actions(&drifted, 156), ["report"]);
}

#[test]
fn a_mistake_of_the_user_is_not_tried_again_before_something_changes() {
    let mut failed = failed(Step::Evaluate, Category::InvalidInput);
    assert_eq!(actions(&failed, 1_000_000), [""; 0]);
    failed.wanted = Some(Ok(wanted(&failed.configuration, Purpose::Install, 'b')));
    assert_eq!(actions(&failed, 111), ["apply"]);
}

#[test]
fn a_machine_that_answers_again_is_tried_at_once() {
    let mut failed = attempted(|progress, _| {
        progress.enter(Step::Copy, at(105));
        let failure = Failure {
            reason: ConfigurationReason::MachineNotReachable,
            message: "no route".to_owned(),
            category: Category::Transient,
            is_rolled_back: false,
        };
        progress.fail(&failure, at(110));
    });
    assert_eq!(actions(&failed, 111), [""; 0]);
    failed.machine.as_mut().unwrap().status = Some(MachineStatus {
        discoverable: Some(true),
        last_seen_time: Some(Time(at(111))),
        ..MachineStatus::default()
    });
    assert_eq!(actions(&failed, 111), ["apply"]);
}

#[test]
fn a_removal_applies_its_flake_then_frees_the_machine_then_lets_go() {
    let expected = ["apply", "release", "let go"];
    assert_eq!(actions(&deleted(applied()), 200), expected);
}

#[test]
fn a_removal_that_was_applied_is_not_applied_again() {
    let mut removed = deleted(applied());
    let mut progress = progress(&removed.configuration, Purpose::Remove);
    progress.start(wanted_of(&removed), at(210), 0, at(210));
    let applied = Applied {
        system: "/nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-minimal"
            .parse()
            .unwrap(),
        generation: None,
        reboot_required: None,
    };
    progress.succeed(wanted_of(&removed), &applied, at(220));
    removed.configuration.status = Some(progress.status().clone());
    assert_eq!(actions(&removed, 230), ["release", "let go"]);
}

#[test]
fn a_host_that_was_never_touched_needs_no_removal() {
    let claimed = deleted(failed(Step::Evaluate, Category::InvalidInput));
    assert_eq!(actions(&claimed, 200), ["release", "let go"]);
    let touched = deleted(failed(Step::Activate, Category::Transient));
    assert_eq!(actions(&touched, 200), ["apply", "release", "let go"]);
}

#[test]
fn without_a_flake_for_removal_only_the_machine_is_freed() {
    let mut plain = deleted(applied());
    plain.wanted = None;
    assert_eq!(actions(&plain, 200), ["release", "let go"]);
}

#[test]
fn without_a_flake_for_removal_the_files_on_the_host_still_go() {
    let mut delivered = attempted(|progress, _| {
        progress.deliver(vec!["token".to_owned()]);
        progress.enter(Step::Copy, at(105));
    });
    delivered = deleted(delivered);
    let with_flake = ["apply", "release", "let go"];
    assert_eq!(actions(&delivered, 200), with_flake);
    delivered.wanted = None;
    let without = ["remove files", "release", "let go"];
    assert_eq!(actions(&delivered, 200), without);
}

#[test]
fn force_gives_the_host_up_and_says_that_it_needs_cleanup() {
    let force = |mut observed: Observed| {
        let forced = (FORCE_REMOVE.to_owned(), "true".to_owned());
        observed.configuration.metadata.annotations = Some([forced].into());
        observed
    };
    let forced = force(deleted(applied()));
    assert_eq!(actions(&forced, 200), ["release dirty", "let go"]);
    let untouched = force(deleted(failed(Step::Build, Category::Transient)));
    assert_eq!(actions(&untouched, 200), ["release", "let go"]);
}

#[test]
fn a_machine_that_is_gone_or_of_another_holds_up_no_removal() {
    let mut gone = deleted(applied());
    gone.machine = None;
    assert_eq!(actions(&gone, 200), ["let go"]);
    let mut other = deleted(applied());
    other.holder = Holder::Other("second".to_owned());
    assert_eq!(actions(&other, 200), ["let go"]);
}

#[test]
fn a_removal_that_hangs_says_how_to_force_it() {
    let mut stuck = deleted(applied());
    stuck.wanted = Some(Err(Obstacle {
        step: Some(Step::Source),
        reason: ConfigurationReason::RepositoryNotFound,
        message: "there is no repository".to_owned(),
        category: Category::Waiting,
        retry_in: None,
    }));
    let (_, message) = reported(&stuck, 200);
    assert!(message.contains("force-remove=true"), "{message}");
}

#[test]
fn a_configuration_that_moves_frees_the_machine_that_it_leaves() {
    let mut moved = applied();
    moved.configuration.spec.machine_ref.name = "n".to_owned();
    moved.wanted = Some(Ok(wanted(&moved.configuration, Purpose::Install, 'a')));
    moved.holder = Holder::Nobody;
    moved.left_machine = Some(Machine::default());
    assert_eq!(actions(&moved, 200), ["release dirty", "claim", "apply"]);
}

proptest! {
    /// Whatever happened before, a host is only changed by the holder of its machine.
    #[test]
    fn no_apply_without_a_claim(
        is_deleted in any::<bool>(),
        holder in prop_oneof![
            Just(Holder::Nobody), Just(Holder::Me), Just(Holder::Other("x".to_owned()))
        ],
        step in prop_oneof![Just(Step::Source), Just(Step::Build), Just(Step::Activate)],
        now in 0_i64..2_000,
    ) {
        let mut observed = failed(step, Category::Transient);
        observed.holder = holder.clone();
        if is_deleted {
            observed = deleted(observed);
        }
        let names = actions(&observed, now);
        if names.contains(&"apply") {
            prop_assert!(holder == Holder::Me || names.contains(&"claim"));
            prop_assert!(!matches!(holder, Holder::Other(_)));
        }
    }
}
