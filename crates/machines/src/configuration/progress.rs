//! The status of a configuration, from one moment of an attempt to the next. Pure.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use nico_api::NixosConfigurationStatus;
use nico_api::condition::{self, Truth};
use nico_api::names::StorePath;
use nico_api::nixos_configuration::conditions::{
    ACTIVATED, BUILT, COPIED, EVALUATED, READY, SOURCE_READY, STALLED,
};
use nico_api::nixos_configuration::{Attempt, Outcome, StagedSystem, Step};
use nico_api::reason::ConfigurationReason;
use nico_runtime::category::Category;

use super::wanted::{Obstacle, Purpose, Wanted};

/// The conditions of the steps, in their order.
const STEPS: [&str; 5] = [SOURCE_READY, EVALUATED, BUILT, COPIED, ACTIVATED];

/// A status that is being written on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Progress {
    status: NixosConfigurationStatus,
    purpose: Purpose,
}

/// What a host runs after a success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Applied {
    pub(super) system: StorePath,
    pub(super) generation: Option<i64>,
    pub(super) reboot_required: Option<bool>,
}

/// A failure of a step, as it is reported.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Failure {
    pub(super) reason: ConfigurationReason,
    pub(super) message: String,
    /// `InvalidInput` is not tried again before something changes.
    pub(super) category: Category,
    /// Whether the host runs again what it ran before.
    pub(super) is_rolled_back: bool,
}

impl Progress {
    /// A status that says that the spec was seen. What is known of another machine than
    /// `machine` is left behind.
    pub(super) fn of(
        previous: Option<&NixosConfigurationStatus>,
        generation: Option<i64>,
        machine: &str,
        purpose: Purpose,
    ) -> Self {
        let mut status = previous
            .filter(|status| {
                status
                    .target_machine
                    .as_deref()
                    .is_none_or(|name| name == machine)
            })
            .cloned()
            .unwrap_or_default();
        status.observed_generation = generation;
        status.target_machine = Some(machine.to_owned());
        Self { status, purpose }
    }

    /// The status as it is to be written.
    pub(super) fn status(&self) -> &NixosConfigurationStatus {
        &self.status
    }

    /// An attempt begins, or is taken up again after a restart.
    pub(super) fn start(
        &mut self,
        wanted: &Wanted,
        started_at: Timestamp,
        failures: u32,
        now: Timestamp,
    ) {
        let previous = self.status.last_attempt.take();
        let same = previous.filter(|it| it.input_hash.as_ref() == Some(&wanted.input_hash));
        self.status.last_attempt = Some(Attempt {
            commit: Some(wanted.commit.to_string()),
            started_at: Some(Time(started_at)),
            failures: Some(i64::from(failures)),
            rollbacks: same.and_then(|it| it.rollbacks),
            input_hash: Some(wanted.input_hash.clone()),
            ..Attempt::default()
        });
        for kind in [SOURCE_READY, EVALUATED, BUILT, COPIED] {
            self.set(kind, Truth::Unknown, ConfigurationReason::Pending, "", now);
        }
        if condition::find(&self.status.conditions, ACTIVATED).is_none() {
            self.set(
                ACTIVATED,
                Truth::Unknown,
                ConfigurationReason::Pending,
                "",
                now,
            );
        }
        let reason = ConfigurationReason::InProgress;
        self.set(STALLED, Truth::False, reason, "", now);
        self.enter(Step::Source, now);
    }

    /// A step begins; those before it are done.
    pub(super) fn enter(&mut self, step: Step, now: Timestamp) {
        if let Some(attempt) = &mut self.status.last_attempt {
            attempt.step = Some(step);
        }
        let kind = condition_of(step);
        for done in STEPS.into_iter().take_while(|before| *before != kind) {
            self.set(done, Truth::True, success_of(done), "", now);
        }
        let message = doing(step);
        self.set(
            kind,
            Truth::Unknown,
            ConfigurationReason::InProgress,
            message,
            now,
        );
        let reason = match self.purpose {
            Purpose::Install => ConfigurationReason::InProgress,
            Purpose::Remove => ConfigurationReason::Removing,
        };
        self.set(READY, Truth::False, reason, message, now);
    }

    /// These files are about to be delivered to the host, beside those that are there.
    pub(super) fn deliver(&mut self, paths: Vec<String>) {
        self.status.host_files.extend(paths);
        self.status.host_files.sort();
        self.status.host_files.dedup();
    }

    /// The host is being rebooted into what was confirmed.
    pub(super) fn rebooting(&mut self, now: Timestamp) {
        let message = "the host is being rebooted into the new kernel";
        let reason = ConfigurationReason::InProgress;
        self.set(ACTIVATED, Truth::Unknown, reason, message, now);
        self.set(READY, Truth::False, reason, message, now);
    }

    /// How many attempts for what is attempted now were rolled back.
    pub(super) fn rollbacks(&self) -> i64 {
        let attempt = self.status.last_attempt.as_ref();
        attempt.and_then(|it| it.rollbacks).unwrap_or_default()
    }

    /// The step that was entered last failed.
    pub(super) fn fail(&mut self, failure: &Failure, now: Timestamp) {
        let step = self
            .status
            .last_attempt
            .as_ref()
            .and_then(|attempt| attempt.step)
            .unwrap_or(Step::Source);
        if let Some(attempt) = &mut self.status.last_attempt {
            attempt.finished_at = Some(Time(now));
            attempt.outcome = Some(Outcome::Failed);
            attempt.message = Some(failure.message.clone());
            attempt.failures = Some(attempt.failures.unwrap_or_default().saturating_add(1));
            if failure.is_rolled_back {
                attempt.outcome = Some(Outcome::RolledBack);
                attempt.rollbacks = Some(attempt.rollbacks.unwrap_or_default().saturating_add(1));
            }
        }
        let message = self.with_advice(&failure.message);
        let kind = if failure.is_rolled_back {
            ACTIVATED
        } else {
            condition_of(step)
        };
        self.set(kind, Truth::False, failure.reason, &message, now);
        self.set(READY, Truth::False, failure.reason, &message, now);
        self.set_stalled(failure.category, now);
    }

    /// An installation from scratch is about to begin: from here on the disk may be wiped.
    pub(super) fn install_begins(&mut self, now: Timestamp, machine: &str) {
        self.status.full_install_started_time = Some(Time(now));
        self.status.full_disk_install_completed = Some(false);
        let message = format!("the machine is being installed from scratch: {machine}");
        let reason = ConfigurationReason::InProgress;
        self.set(COPIED, Truth::Unknown, reason, &message, now);
        self.set(READY, Truth::False, reason, &message, now);
    }

    /// The machine was seen to run what was installed on it from scratch.
    pub(super) fn installed(&mut self) {
        self.status.full_disk_install_completed = Some(true);
    }

    /// The host runs what is wanted, and says so over a new connection.
    pub(super) fn succeed(&mut self, wanted: &Wanted, applied: &Applied, now: Timestamp) {
        if let Some(attempt) = &mut self.status.last_attempt {
            attempt.step = Some(Step::Record);
            attempt.finished_at = Some(Time(now));
            attempt.outcome = Some(Outcome::Succeeded);
            attempt.message = None;
            attempt.failures = Some(0);
            attempt.rollbacks = None;
        }
        self.status.staged = None;
        self.status.system_path = Some(applied.system.to_string());
        self.status.generation = applied.generation;
        self.status.reboot_required = applied.reboot_required;
        self.status.last_applied_time = Some(Time(now));
        self.status.applied_commit = Some(wanted.commit.to_string());
        self.status.configuration_hash = Some(wanted.configuration_hash.clone());
        self.status.additional_files_hash = Some(wanted.files_hash.clone());
        self.status.host_files = wanted.files.host_paths();
        match self.purpose {
            Purpose::Install => self.ready(now),
            Purpose::Remove => {
                for kind in STEPS {
                    self.set(kind, Truth::True, success_of(kind), "", now);
                }
            }
        }
    }

    /// The system is on the host and waits there.
    pub(super) fn stage(&mut self, staged: StagedSystem, now: Timestamp) {
        if let Some(attempt) = &mut self.status.last_attempt {
            attempt.step = Some(Step::Copy);
            attempt.finished_at = Some(Time(now));
            attempt.outcome = Some(Outcome::Succeeded);
            attempt.message = None;
            attempt.failures = Some(0);
        }
        for kind in [SOURCE_READY, EVALUATED, BUILT, COPIED] {
            self.set(kind, Truth::True, success_of(kind), "", now);
        }
        self.status.staged = Some(staged);
        self.waiting(now);
    }

    /// What is on the host waits there still.
    pub(super) fn waiting(&mut self, now: Timestamp) {
        let reason = ConfigurationReason::Staged;
        self.set(STALLED, Truth::False, reason, "", now);
        let staged = self.status.staged.as_ref();
        let message = format!(
            "{} is on the host and is activated when spec.hold is false",
            staged
                .map(|staged| staged.system_path.as_str())
                .unwrap_or_default()
        );
        self.set(READY, Truth::False, reason, &message, now);
    }

    /// Everything is as it should be.
    pub(super) fn ready(&mut self, now: Timestamp) {
        for kind in STEPS {
            self.set(kind, Truth::True, success_of(kind), "", now);
        }
        let system = self.status.system_path.clone().unwrap_or_default();
        let reason = ConfigurationReason::Applied;
        self.set(STALLED, Truth::False, reason, "", now);
        self.set(
            READY,
            Truth::True,
            reason,
            &format!("{system} is applied and confirmed"),
            now,
        );
    }

    /// The host was seen to run something else than what was applied.
    pub(super) fn drifted(&mut self, message: &str, now: Timestamp) {
        let reason = ConfigurationReason::Drifted;
        self.set(ACTIVATED, Truth::False, reason, message, now);
        self.set(READY, Truth::False, reason, message, now);
    }

    /// The host was booted since, and runs the kernel that it should.
    pub(super) fn rebooted(&mut self) {
        self.status.reboot_required = Some(false);
    }

    /// Something keeps an attempt from being made. What the host runs is not touched by it.
    pub(super) fn blocked(&mut self, obstacle: &Obstacle, now: Timestamp) {
        let message = self.with_advice(&obstacle.message);
        if let Some(step) = obstacle.step {
            let kind = condition_of(step);
            self.set(kind, Truth::False, obstacle.reason, &message, now);
        }
        // A Git server that is down for a while says nothing about what the host runs.
        if obstacle.category != Category::Transient || !self.was_ready_for_this_spec() {
            self.set(READY, Truth::False, obstacle.reason, &message, now);
        }
        self.set_stalled(obstacle.category, now);
    }

    /// How long the configuration has not been Ready; zero when it is.
    pub(super) fn unready_for(&self, now: Timestamp) -> Duration {
        condition::find(&self.status.conditions, READY)
            .filter(|ready| ready.status != "True")
            .map(|ready| now.duration_since(ready.last_transition_time.0))
            .and_then(|passed| Duration::try_from(passed).ok())
            .unwrap_or_default()
    }

    fn was_ready_for_this_spec(&self) -> bool {
        condition::find(&self.status.conditions, READY).is_some_and(|ready| {
            ready.status == "True" && ready.observed_generation == self.status.observed_generation
        })
    }

    fn set_stalled(&mut self, category: Category, now: Timestamp) {
        let (truth, reason, message) = match category {
            Category::InvalidInput => (
                Truth::True,
                ConfigurationReason::WaitingForChange,
                "nothing more is tried until spec, commit, Secrets or the annotation \
                 nio.homystack.com/reconcile-at change",
            ),
            Category::Transient | Category::Waiting | Category::Conflict | Category::Bug => (
                Truth::False,
                ConfigurationReason::Retrying,
                "it is tried again by itself",
            ),
        };
        self.set(STALLED, truth, reason, message, now);
    }

    /// A removal that hangs needs a way out.
    fn with_advice(&self, message: &str) -> String {
        match self.purpose {
            Purpose::Install => message.to_owned(),
            Purpose::Remove => format!(
                "{message}\nto give the host up as it is, annotate this object with \
                 nio.homystack.com/force-remove=true"
            ),
        }
    }

    fn set(
        &mut self,
        kind: &str,
        truth: Truth,
        reason: ConfigurationReason,
        message: &str,
        now: Timestamp,
    ) {
        let generation = self.status.observed_generation;
        condition::set(
            &mut self.status.conditions,
            kind,
            truth,
            reason,
            message,
            generation,
            now,
        );
    }
}

/// Whether the host was ever changed, or may have been: a step that changes it was entered.
pub(super) fn touched_the_host(status: &NixosConfigurationStatus) -> bool {
    status.applied_commit.is_some()
        || status.full_install_started_time.is_some()
        || !status.host_files.is_empty()
        || condition::find(&status.conditions, ACTIVATED)
            .is_some_and(|activated| !is_pending(activated))
}

fn is_pending(condition: &Condition) -> bool {
    condition.reason == ConfigurationReason::Pending.as_str()
}

/// The condition in which a step shows.
fn condition_of(step: Step) -> &'static str {
    match step {
        Step::Source | Step::Files => SOURCE_READY,
        Step::Evaluate => EVALUATED,
        Step::Build => BUILT,
        Step::Copy | Step::Install => COPIED,
        Step::Activate | Step::Confirm | Step::Record => ACTIVATED,
    }
}

fn success_of(kind: &str) -> ConfigurationReason {
    match kind {
        SOURCE_READY => ConfigurationReason::Resolved,
        EVALUATED => ConfigurationReason::Evaluated,
        BUILT => ConfigurationReason::Built,
        COPIED => ConfigurationReason::Copied,
        _ => ConfigurationReason::Activated,
    }
}

fn doing(step: Step) -> &'static str {
    match step {
        Step::Source => "the commit is being fetched",
        Step::Files => "the additional files are being put in",
        Step::Evaluate => "the flake output is being evaluated",
        Step::Build => "the system is being built",
        Step::Install => "the machine is looked at before it is installed from scratch",
        Step::Copy => "the closure is being copied to the host",
        Step::Activate => "the system is being activated",
        Step::Confirm => "the host is being asked over a new connection",
        Step::Record => "the result is being recorded",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nico_api::NixosConfiguration;
    use nico_git::Credentials;

    use super::super::files::Files;
    use super::super::wanted::Request;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn wanted() -> Wanted {
        let mut configuration = NixosConfiguration::default();
        configuration.spec.git_repo = Some("https://git.example/a.git".to_owned());
        configuration.spec.flake = "#web".to_owned();
        Wanted::new(
            &configuration,
            Request::read(&configuration, Purpose::Install).unwrap(),
            Credentials::Anonymous,
            "a".repeat(40).parse().unwrap(),
            Files::default(),
        )
    }

    fn started() -> Progress {
        let mut progress = Progress::of(None, Some(3), "m", Purpose::Install);
        progress.start(&wanted(), at(100), 0, at(100));
        progress
    }

    fn applied() -> Applied {
        Applied {
            system: "/nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-system"
                .parse()
                .unwrap(),
            generation: Some(7),
            reboot_required: Some(false),
        }
    }

    /// Type, status and reason of every condition of a step, and of Ready.
    fn shown(progress: &Progress) -> Vec<String> {
        STEPS
            .into_iter()
            .chain([READY])
            .filter_map(|kind| condition::find(&progress.status.conditions, kind))
            .map(|it| format!("{}={} {}", it.type_, it.status, it.reason))
            .collect()
    }

    #[test]
    fn a_step_under_way_shows_what_is_done_and_what_is_still_to_come() {
        let mut progress = started();
        progress.enter(Step::Build, at(101));
        assert_eq!(
            shown(&progress),
            [
                "SourceReady=True Resolved",
                "Evaluated=True Evaluated",
                "Built=Unknown InProgress",
                "Copied=Unknown Pending",
                "Activated=Unknown Pending",
                "Ready=False InProgress",
            ]
        );
        assert!(!touched_the_host(progress.status()));
    }

    #[test]
    fn the_host_counts_as_touched_from_the_moment_before_it_is() {
        let mut progress = started();
        progress.enter(Step::Activate, at(101));
        assert!(touched_the_host(progress.status()));
        // A later attempt that does not get so far does not change that.
        progress.start(&wanted(), at(200), 0, at(200));
        assert!(touched_the_host(progress.status()));
    }

    #[test]
    fn a_failure_shows_in_its_step_and_in_ready_and_is_counted() {
        let mut progress = started();
        progress.enter(Step::Evaluate, at(101));
        let failure = Failure {
            reason: ConfigurationReason::EvaluationFailed,
            message: "undefined variable".to_owned(),
            category: Category::InvalidInput,
            is_rolled_back: false,
        };
        progress.fail(&failure, at(102));
        assert_eq!(shown(&progress)[1], "Evaluated=False EvaluationFailed");
        assert_eq!(shown(&progress)[5], "Ready=False EvaluationFailed");
        assert!(condition::is_true(&progress.status.conditions, STALLED));
        let attempt = progress.status.last_attempt.unwrap();
        assert_eq!(attempt.outcome, Some(Outcome::Failed));
        assert_eq!(attempt.failures, Some(1));
        assert_eq!(attempt.message.as_deref(), Some("undefined variable"));
    }

    #[test]
    fn a_rollback_shows_in_the_activation_whichever_step_found_out() {
        let mut progress = started();
        for (step, rollbacks) in [(Step::Confirm, 1), (Step::Copy, 2)] {
            progress.start(&wanted(), at(100), 0, at(100));
            progress.enter(step, at(101));
            let failure = Failure {
                reason: ConfigurationReason::RolledBack,
                message: "nobody confirmed it".to_owned(),
                category: Category::Transient,
                is_rolled_back: true,
            };
            progress.fail(&failure, at(102));
            assert_eq!(shown(&progress)[4], "Activated=False RolledBack");
            assert_eq!(shown(&progress)[5], "Ready=False RolledBack");
            let attempt = progress.status.last_attempt.as_ref().unwrap();
            assert_eq!(attempt.outcome, Some(Outcome::RolledBack));
            assert_eq!(progress.rollbacks(), rollbacks);
        }
    }

    #[test]
    fn a_success_is_recorded_whole() {
        let mut progress = started();
        progress.succeed(&wanted(), &applied(), at(110));
        assert!(shown(&progress).iter().all(|line| line.contains("=True")));
        let status = progress.status();
        assert_eq!(status.observed_generation, Some(3));
        assert_eq!(status.generation, Some(7));
        assert_eq!(status.applied_commit, Some("a".repeat(40)));
        assert_eq!(status.configuration_hash, Some(wanted().configuration_hash));
    }

    #[test]
    fn the_host_counts_as_touched_from_the_moment_before_it_is_installed() {
        let mut progress = started();
        progress.enter(Step::Install, at(101));
        assert!(!touched_the_host(progress.status()));
        progress.install_begins(at(102), "memory 2000 MB, disks vda");
        assert!(touched_the_host(progress.status()));
        assert_eq!(progress.status().full_disk_install_completed, Some(false));
        progress.start(&wanted(), at(200), 0, at(200));
        let began = progress.status().full_install_started_time.as_ref();
        assert_eq!(began.map(|time| time.0), Some(at(102)));
    }

    #[test]
    fn what_is_known_of_another_machine_is_left_behind() {
        let mut progress = started();
        progress.succeed(&wanted(), &applied(), at(110));
        let same = Progress::of(Some(progress.status()), Some(4), "m", Purpose::Install);
        assert!(touched_the_host(same.status()));
        let other = Progress::of(Some(progress.status()), Some(4), "n", Purpose::Install);
        assert!(!touched_the_host(other.status()));
        assert_eq!(other.status().target_machine.as_deref(), Some("n"));
    }
}
