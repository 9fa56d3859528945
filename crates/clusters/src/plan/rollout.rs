//! What a rollout does next.
//!
//! The first configuration of a machine is applied at once, for all machines together: nothing
//! runs there that could break. A machine that runs something goes through [`Stage`]s: the
//! wanted revision is copied to every machine before the first is touched; then workers are
//! changed within their budget and control planes one at a time; a machine that fails stops the
//! rollout and goes back to what it ran.
//!
//! Where a machine stands is told from its configuration, the notes on it and its Node, and from
//! nothing that a process remembers.
//!
//! - [`stage`]: where a machine stands
//! - [`failure`]: whether a machine failed
//! - [`order`]: which role goes first, and which changes of the version are refused
//! - [`workers`], [`control_plane`]: who may be taken in hand now
//! - [`drain`]: how Pods are moved away
//! - [`joining`], [`departure`]: how machines come and go while the cluster runs

mod control_plane;
mod departure;
mod drain;
mod failure;
mod joining;
mod order;
mod stage;
mod workers;

use k8s_openapi::jiff::Timestamp;
use nico_api::kubernetes_cluster::{FailurePolicy, RolloutOrder, RolloutStrategy};
use nico_api::names::MachineName;

use crate::observed::{DrainedPod, Workload};
use crate::role::Role;

use super::marks::Failure;
use super::readiness::{ConfigurationState, Member, Obstacle};

pub use departure::Leaving;
pub use order::Order;
pub use stage::Stage;

/// Everything that decides what a rollout does.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// The machines, in the order in which they were chosen.
    pub members: &'a [Member],
    /// The machines that have a configuration and are no part of the cluster any more.
    pub leaving: &'a [Leaving],
    /// Whether every machine that the user asks for is held.
    pub is_complete: bool,
    /// What the cluster says of itself.
    pub workload: &'a Workload,
    /// How the user wants changes rolled out.
    pub strategy: &'a RolloutStrategy,
    /// Names this rollout: another commit, another strategy or a request to try again makes it
    /// another one, for which earlier failures do not count.
    pub attempt: &'a str,
    /// Whether no other machine may be taken in hand.
    pub paused: bool,
    /// The time.
    pub now: Timestamp,
}

impl Situation<'_> {
    /// Why nothing that works may be taken in hand: it is not sure how the cluster is.
    fn doubt(&self) -> Option<String> {
        self.workload.doubt(self.now)
    }
}

/// What a rollout does now, and what it says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// What is done with which machine, in this order.
    pub moves: Vec<(MachineName, Move)>,
    /// Machines that were taken in hand and are not back.
    pub in_hand: Vec<MachineName>,
    /// What it waits for, a sentence each.
    pub waits_for: Vec<String>,
    /// What a person should know about what it does, a sentence each.
    pub remarks: Vec<String>,
    /// Where the rollout stands.
    pub state: State,
    /// Which role goes first, once that is decided.
    pub order: Option<Order>,
}

/// Where a rollout stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Every machine runs what is wanted, or is about to for the first time.
    #[default]
    Finished,
    /// The wanted revision is copied to the machines; none is touched yet.
    Staging,
    /// Machines are changed, one after the other.
    Changing,
    /// The cluster could not bear that the next machine goes down.
    Unhealthy,
    /// Pods cannot be moved away from the machine in hand.
    DrainBlocked,
    /// Every machine runs what is wanted, and others are on their way out.
    Leaving {
        /// Whether Pods cannot be moved away from one of them.
        is_drain_blocked: bool,
    },
    /// Nothing is begun because the user says so.
    Paused,
    /// A machine failed.
    Failed {
        /// The machine.
        machine: MachineName,
        /// How.
        failure: Failure,
    },
    /// The change is not one that rolls out by itself.
    Refused(String),
}

/// What is done with one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Move {
    /// It gets its first configuration.
    Create,
    /// Its first configuration, which never worked, is brought to the wanted revision.
    Correct,
    /// What it was held with is taken back: it runs the wanted revision.
    Return,
    /// The wanted revision is copied to it and waits there.
    Stage,
    /// Its Node is to be drained from now on.
    Drain {
        /// Name of the Node.
        node: String,
        /// Whether it has to be cordoned for that.
        cordon: bool,
        /// Names the rollout.
        attempt: String,
    },
    /// Pods are evicted from its Node.
    Evict(Vec<DrainedPod>),
    /// The wanted revision is activated.
    Activate,
    /// It is back: the notes about it are removed.
    Settle,
    /// Its Node takes Pods again.
    Restore {
        /// Name of the Node.
        node: String,
        /// Whether it was cordoned for the drain, and not by somebody else before.
        uncordon: bool,
    },
    /// It failed and goes back to what it ran before.
    RollBack(Failure),
    /// It failed and stays as it is.
    NoteFailure(Failure),
    /// It leaves: its Node is removed from the cluster.
    DeleteNode {
        /// Name of the Node.
        node: String,
        /// uid of the Node, so that no other is removed in its place.
        uid: String,
    },
    /// It leaves: its configuration is taken off.
    Remove,
}

/// A member, and where it stands.
#[derive(Clone, Debug)]
struct Placed<'a> {
    member: &'a Member,
    stage: Stage,
}

impl Placed<'_> {
    fn is_of(&self, role: Role) -> bool {
        self.member.role == role
    }

    /// Whether the closure can be waited for: a machine that is down and does not answer holds
    /// nobody up.
    fn holds_staging_up(&self) -> bool {
        match self.stage {
            Stage::Outdated => true,
            Stage::Staging => {
                let is_unreachable = self
                    .member
                    .progress()
                    .is_some_and(|progress| progress.obstacle == Obstacle::Unreachable);
                self.member.is_alive() || !is_unreachable
            }
            _ => false,
        }
    }
}

/// Decides what a rollout does now.
///
/// Pure: the same situation gives the same step.
pub fn next_step(situation: &Situation<'_>) -> Step {
    let placed: Vec<Placed<'_>> = situation
        .members
        .iter()
        .map(|member| Placed {
            member,
            stage: stage::of(member, situation.attempt),
        })
        .collect();
    let mut step = Step {
        in_hand: placed
            .iter()
            .filter(|node| node.stage.is_in_hand())
            .map(|node| node.member.machine.clone())
            .collect(),
        ..Step::default()
    };
    let failed = placed.iter().find_map(|node| {
        let failure = failure::of(situation, node)?;
        Some((node.member.machine.clone(), failure))
    });
    if !situation.paused {
        step.join(&placed);
    }
    for node in &placed {
        step.go_on(situation, &placed, node, failed.is_some());
    }
    let is_finished = placed.iter().all(|node| !node.stage.is_part_of_a_change());
    if let Some((machine, failure)) = failed {
        step.state = State::Failed { machine, failure };
    } else if is_finished {
        step.state = State::Finished;
    } else if situation.paused && step.in_hand.is_empty() {
        step.state = State::Paused;
    } else if !situation.paused {
        step.begin(situation, &placed);
    } else if step.state == State::Finished {
        step.state = State::Changing;
    }
    departure::depart(&mut step, situation, &placed);
    step
}

impl Step {
    fn push(&mut self, node: &Placed<'_>, what: Move) {
        self.moves.push((node.member.machine.clone(), what));
    }

    /// First configurations, which disturb nobody.
    fn join(&mut self, placed: &[Placed<'_>]) {
        let obstacle = joining::obstacle(placed);
        for node in placed {
            let what = match &node.member.configuration {
                ConfigurationState::Absent => Move::Create,
                ConfigurationState::New(_) if !node.member.updated => Move::Correct,
                _ => continue,
            };
            match &obstacle {
                None => self.push(node, what),
                Some(why) => self
                    .waits_for
                    .push(format!("{} does not join yet: {why}", node.member.machine)),
            }
        }
    }

    /// Brings a machine on that was taken in hand.
    fn go_on(
        &mut self,
        situation: &Situation<'_>,
        placed: &[Placed<'_>],
        node: &Placed<'_>,
        is_halted: bool,
    ) {
        let drained = node.member.seen.as_ref().and_then(|seen| {
            let drain = seen.drain.as_ref()?;
            Some((seen, drain))
        });
        match node.stage {
            Stage::Draining if !is_halted => self.go_on_draining(situation, placed, node),
            Stage::Changing { .. } => self.go_on_changing(situation, node),
            _ => {
                let is_noted = node.member.marks.changing_since.is_some();
                let is_back =
                    matches!(node.stage, Stage::Arrived | Stage::Failed { is_back: true });
                if is_noted && is_back {
                    self.push(node, Move::Settle);
                }
                let can_be_told = matches!(situation.workload, Workload::Answers(_));
                let is_well = node.member.is_alive() && can_be_told;
                if let Some((seen, drain)) = drained.filter(|_| is_well) {
                    let node_name = seen.name.clone();
                    self.push(
                        node,
                        Move::Restore {
                            node: node_name,
                            uncordon: drain.cordoned,
                        },
                    );
                }
            }
        }
    }

    fn go_on_draining(
        &mut self,
        situation: &Situation<'_>,
        placed: &[Placed<'_>],
        node: &Placed<'_>,
    ) {
        let Some(pods) = drain::remaining(situation, node.member) else {
            self.waits_for
                .push(format!("the Pods of {} are not known", node.member.machine));
            return;
        };
        if pods.is_empty() {
            // The drain took its time: another target may be on its way by now, and another
            // node may be down.
            let obstacle = match node.member.role {
                _ if placed.iter().any(Placed::holds_staging_up) => {
                    Some("not every machine is prepared yet".to_owned())
                }
                Role::ControlPlane => control_plane::obstacle(situation, placed, node),
                Role::Worker => workers::obstacle(situation, placed),
            };
            match obstacle {
                None => self.push(node, Move::Activate),
                Some(why) => self.waits_for.push(format!(
                    "{} is drained and waits: {why}",
                    node.member.machine
                )),
            }
            return;
        }
        if let Some(failure) = failure::of_drain(situation, node, &pods) {
            self.push(node, Move::NoteFailure(failure));
            return;
        }
        if !pods.waiting.is_empty() {
            self.waits_for
                .push(format!("draining {}: {}", node.member.machine, pods));
        }
        if pods.is_blocked {
            self.state = State::DrainBlocked;
        }
        if !pods.evict.is_empty() {
            self.push(node, Move::Evict(pods.evict));
        }
    }

    fn go_on_changing(&mut self, situation: &Situation<'_>, node: &Placed<'_>) {
        let Some(failure) = failure::of(situation, node) else {
            let why = node
                .member
                .waits_for()
                .unwrap_or_else(|| "is being changed".to_owned());
            self.waits_for
                .push(format!("{} {why}", node.member.machine));
            return;
        };
        match situation.strategy.on_failure {
            FailurePolicy::Stop => {}
            FailurePolicy::RollBackNode if node.member.marks.previous.is_some() => {
                self.push(node, Move::RollBack(failure));
            }
            FailurePolicy::RollBackNode => self.push(node, Move::NoteFailure(failure)),
        }
    }

    /// Copies the wanted revision to the machines and, when it is everywhere, takes the next
    /// ones in hand.
    fn begin(&mut self, situation: &Situation<'_>, placed: &[Placed<'_>]) {
        for node in placed.iter().filter(|node| node.stage == Stage::Outdated) {
            let is_back_already = node.member.runs_wanted;
            self.push(
                node,
                if is_back_already {
                    Move::Return
                } else {
                    Move::Stage
                },
            );
        }
        let unstaged: Vec<&Placed<'_>> = placed
            .iter()
            .filter(|node| node.holds_staging_up())
            .collect();
        if !unstaged.is_empty() {
            if self.in_hand.is_empty() {
                self.state = State::Staging;
            }
            self.waits_for.extend(unstaged.iter().map(|node| {
                let why = node.member.progress().map(|progress| &progress.message);
                let why = why.map_or("gets the wanted revision", String::as_str);
                format!("{} is not prepared: {why}", node.member.machine)
            }));
            return;
        }
        if self.state == State::Finished {
            self.state = State::Changing;
        }
        let order = match order::decide(situation.strategy.order, situation.members) {
            Ok(order) => order,
            Err(refusal) => {
                self.state = State::Refused(refusal);
                return;
            }
        };
        self.take_next(situation, placed, &order);
        self.order = Some(order);
    }

    fn take_next(&mut self, situation: &Situation<'_>, placed: &[Placed<'_>], order: &Order) {
        let is_control_plane_turn = is_turn_of(Role::ControlPlane, placed, order.first);
        let is_workers_turn = is_turn_of(Role::Worker, placed, order.first);
        let mut refusals = vec![];
        match control_plane::next(situation, placed, is_control_plane_turn) {
            Ok(Some(node)) => self.take(situation, node),
            Ok(None) => {}
            Err(why) => refusals.push(why),
        }
        if is_workers_turn {
            match workers::next(situation, placed) {
                Ok(nodes) => nodes
                    .into_iter()
                    .for_each(|node| self.take(situation, node)),
                Err(why) => refusals.push(why),
            }
        }
        self.remarks = control_plane::remarks(situation, placed, is_control_plane_turn);
        let takes_nothing = self.in_hand.is_empty() && self.moves.is_empty();
        if takes_nothing && !refusals.is_empty() {
            self.state = State::Unhealthy;
        }
        self.waits_for.extend(refusals);
    }

    fn take(&mut self, situation: &Situation<'_>, node: &Placed<'_>) {
        let begin = drain::begin(situation, node.member).unwrap_or(Move::Activate);
        self.push(node, begin);
    }
}

/// Whether machines of the role may be taken in hand: the role that goes second waits until all
/// machines of the first are back, but for those that do not answer.
fn is_turn_of(role: Role, placed: &[Placed<'_>], first: RolloutOrder) -> bool {
    let first = match first {
        RolloutOrder::ControlPlaneFirst => Role::ControlPlane,
        RolloutOrder::WorkersFirst | RolloutOrder::Auto => Role::Worker,
    };
    role == first
        || placed
            .iter()
            .filter(|node| node.is_of(first))
            .all(|node| !node.stage.is_part_of_a_change() || node.stage == Stage::Staging)
}

#[cfg(test)]
mod tests;
