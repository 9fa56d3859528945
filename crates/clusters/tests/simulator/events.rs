//! Everything that can happen.

use proptest::prelude::*;

/// The clusters and machines of a run.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// Control planes and workers of each cluster.
    pub(crate) clusters: Vec<Shape>,
    /// Machines that nobody asked for at first.
    pub(crate) spare: usize,
}

/// What a cluster asks for.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) control_planes: usize,
    pub(crate) workers: usize,
    /// Workers that may be down at once.
    pub(crate) budget: usize,
    /// Whether the API of the cluster shows its etcd members.
    pub(crate) shows_etcd: bool,
    pub(crate) drains: bool,
    pub(crate) rolls_back: bool,
}

impl Setup {
    /// One cluster and exactly its machines.
    pub(crate) fn one_cluster(control_planes: usize, workers: usize) -> Self {
        let shape = Shape {
            control_planes,
            workers,
            budget: 1.max(workers / 10),
            shows_etcd: true,
            drains: true,
            rolls_back: true,
        };
        Self {
            clusters: vec![shape],
            spare: 0,
        }
    }
}

pub(crate) fn any_setup() -> impl Strategy<Value = Setup> {
    let shape = (
        prop_oneof![Just(1_usize), Just(2), Just(3), Just(3), Just(5)],
        0..5_usize,
        1..3_usize,
        any::<[bool; 3]>(),
    )
        .prop_map(
            |(control_planes, workers, budget, [shows_etcd, drains, rolls_back])| Shape {
                control_planes,
                workers,
                budget,
                shows_etcd,
                drains,
                rolls_back,
            },
        );
    (prop::collection::vec(shape, 1..3), 0..3_usize)
        .prop_map(|(clusters, spare)| Setup { clusters, spare })
}

/// One thing that happens. Numbers pick a cluster, a machine or a Node, modulo how many there are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    /// The operator does its next action for a cluster, or looks at it.
    Operate(usize),
    /// The operator does all that it wants to do for every cluster.
    OperateAll,
    /// The machine layer takes up the configuration of a machine.
    Apply(usize),
    /// The machine layer takes up all of them.
    ApplyAll,
    /// Every Node says how it is.
    Heartbeat,
    /// Time passes, in seconds.
    Pass(i64),
    /// The operator stops in the middle, and another one starts.
    Crash(usize),
    /// The next action is refused.
    Conflict(usize),
    PowerOff(usize),
    PowerOn(usize),
    /// SSH stops or starts to answer; the Node goes on.
    ToggleSsh(usize),
    /// A Node says the opposite of what is true, until its next heartbeat.
    Lie(usize),
    /// A commit for a cluster.
    Push(usize, Quality),
    /// The cluster goes back to its first commit.
    Revert(usize),
    TogglePause(usize),
    /// The number of workers changes.
    Scale(usize, usize),
    /// A Machine object is deleted, and made again later.
    ToggleMachine(usize),
    /// A person cordons or uncordons a Node.
    ToggleCordon(usize),
    /// A PodDisruptionBudget holds the Pods of a Node, or lets them go.
    ToggleBudget(usize),
    DeleteCluster(usize),
}

impl Event {
    /// Whether it happens all the time and explains nothing.
    pub(crate) fn is_routine(self) -> bool {
        matches!(
            self,
            Self::Operate(_)
                | Self::OperateAll
                | Self::Apply(_)
                | Self::ApplyAll
                | Self::Heartbeat
                | Self::Pass(_)
        )
    }
}

/// What a commit is worth. The number picks the machine that it is bad for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quality {
    Good,
    /// With the next minor version of Kubernetes.
    Upgrade,
    DoesNotEvaluate(usize),
    DoesNotActivate(usize),
    /// The system activates, and the Node never comes up.
    BreaksNode(usize),
    BreaksEveryNode,
}

pub(crate) fn any_event() -> impl Strategy<Value = Event> {
    let which = 0..16_usize;
    let quality = prop_oneof![
        4 => Just(Quality::Good),
        1 => Just(Quality::Upgrade),
        1 => which.clone().prop_map(Quality::DoesNotEvaluate),
        1 => which.clone().prop_map(Quality::DoesNotActivate),
        1 => which.clone().prop_map(Quality::BreaksNode),
        1 => Just(Quality::BreaksEveryNode),
    ];
    prop_oneof![
        40 => which.clone().prop_map(Event::Operate),
        10 => Just(Event::OperateAll),
        20 => which.clone().prop_map(Event::Apply),
        10 => Just(Event::ApplyAll),
        15 => Just(Event::Heartbeat),
        15 => (1..700_i64).prop_map(Event::Pass),
        3 => which.clone().prop_map(Event::Crash),
        3 => which.clone().prop_map(Event::Conflict),
        2 => which.clone().prop_map(Event::PowerOff),
        3 => which.clone().prop_map(Event::PowerOn),
        2 => which.clone().prop_map(Event::ToggleSsh),
        2 => which.clone().prop_map(Event::Lie),
        5 => (which.clone(), quality).prop_map(|(cluster, quality)| Event::Push(cluster, quality)),
        1 => which.clone().prop_map(Event::Revert),
        1 => which.clone().prop_map(Event::TogglePause),
        1 => (which.clone(), 0..5_usize).prop_map(|(cluster, workers)| Event::Scale(cluster, workers)),
        1 => which.clone().prop_map(Event::ToggleMachine),
        1 => which.clone().prop_map(Event::ToggleCordon),
        1 => which.clone().prop_map(Event::ToggleBudget),
        1 => which.prop_map(Event::DeleteCluster),
    ]
}

/// A cluster comes up, and an upgrade follows.
pub(crate) fn rollout() -> Vec<Event> {
    let round = [
        Event::OperateAll,
        Event::ApplyAll,
        Event::Pass(30),
        Event::Heartbeat,
    ];
    let rounds = |number| round.into_iter().cycle().take(number * round.len());
    rounds(8)
        .chain([Event::Push(0, Quality::Upgrade)])
        .chain(rounds(4))
        .collect()
}
