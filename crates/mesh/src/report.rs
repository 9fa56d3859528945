//! Tells people: one log line for each write and each Node that waits, and an Event on the Node.
//!
//! Events are published beside the work, so that each is logged here. When there are more than can
//! be published at once, as at the first start of a large cluster, the rest is only logged.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Node;
use kube::api::ObjectMeta;
use nico_runtime::events::{Event, EventKind, Events};
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use crate::causes::chain;
use crate::execute::{Done, Outcome, WriteError};
use crate::names::NodeName;
use crate::plan::{Action, Drift, NodeState, Plan, Withheld};

/// How many Events wait at most.
const WAITING: usize = 128;
/// How many Nodes are told that their rules are not deleted.
const TOLD_AT_ONCE: usize = 10;

const CREATED: &str = "EgressRuleCreated";
const UPDATED: &str = "EgressRuleUpdated";
const DELETED: &str = "EgressRuleDeleted";
const HOST_NOT_IN_MESH: &str = "HostNotInMesh";
const AMBIGUOUS_HOST: &str = "AmbiguousHost";
const FAILED: &str = "EgressFailed";

/// Where things are told.
pub(crate) struct Reporter {
    events: mpsc::Sender<(NodeName, Event)>,
    told: BTreeMap<NodeName, NodeState>,
    told_withheld: Option<Withheld>,
}

impl Reporter {
    /// Begins to tell.
    pub(crate) fn start(events: Events) -> Self {
        let (sender, mut receiver) = mpsc::channel::<(NodeName, Event)>(WAITING);
        tokio::spawn(async move {
            while let Some((node, event)) = receiver.recv().await {
                events.publish_logged(&object(&node), event).await;
            }
        });
        Self {
            events: sender,
            told: BTreeMap::new(),
            told_withheld: None,
        }
    }

    /// Tells how Nodes stand, where that changed, and what is not done.
    pub(crate) fn plan(&mut self, plan: &Plan) {
        for (name, state) in &plan.nodes {
            if self.told.get(name) != Some(state) {
                self.node(name, *state);
            }
        }
        self.told.clone_from(&plan.nodes);
        for overlap in &plan.overlaps {
            debug!(network = %overlap.network, rule = %overlap.rule, name = &*overlap.name, range = %overlap.range,
                "a rule of somebody else overlaps a CIDR of a Node");
        }
        let withheld = plan.withheld.as_ref().map(|(reason, _)| reason.clone());
        if self.told_withheld != withheld
            && let Some((reason, deletions)) = &plan.withheld
        {
            let note = withheld_note(reason, deletions.len());
            warn!(deletions = deletions.len(), "{note}");
            let nodes = deletions
                .iter()
                .filter_map(|deletion| deletion.node.as_ref());
            for node in nodes.take(TOLD_AT_ONCE) {
                self.publish(node, EventKind::Warning, FAILED, "Delete", note.clone());
            }
        }
        self.told_withheld = withheld;
    }

    /// Tells what came of the actions.
    pub(crate) fn outcomes(&self, outcomes: &[Outcome]) {
        for outcome in outcomes {
            match &outcome.result {
                Ok(done) => self.done(&outcome.action, *done),
                Err(error) => self.failed(&outcome.action, error),
            }
        }
    }

    /// Tells what would be done.
    pub(crate) fn would_do(&self, actions: &[Action]) {
        for action in actions {
            info!("dry run: would {}", describe(action));
        }
    }

    fn node(&self, name: &NodeName, state: NodeState) {
        let reason = match state {
            NodeState::Ready | NodeState::WithoutCidrs => return,
            NodeState::HostMissing => HOST_NOT_IN_MESH,
            NodeState::Ambiguous => AMBIGUOUS_HOST,
            NodeState::Inconsistent | NodeState::UnreadableCidrs | NodeState::Refused => FAILED,
        };
        let note = node_note(name, state);
        warn!(node = %name, reason, "{note}");
        self.publish(name, EventKind::Warning, reason, "Plan", note);
    }

    fn done(&self, action: &Action, done: Done) {
        let text = describe(action);
        match done {
            Done::Written => info!("did {text}"),
            Done::AlreadyGone => info!("{text}: it was gone already"),
        }
        let (node, reason, verb) = match action {
            Action::Create(wanted) => (Some(&wanted.node), CREATED, "Create"),
            Action::Update { wanted, .. } => (Some(&wanted.node), UPDATED, "Update"),
            Action::Delete(deletion) => (deletion.node.as_ref(), DELETED, "Delete"),
        };
        if let Some(node) = node {
            self.publish(node, EventKind::Normal, reason, verb, text);
        }
    }

    fn failed(&self, action: &Action, error: &WriteError) {
        let text = describe(action);
        if !matches!(error, WriteError::Client(_)) {
            debug!("{text}: {error}");
            return;
        }
        let note = format!("cannot {text}: {}", chain(error));
        warn!("{note}");
        let node = match action {
            Action::Create(wanted) | Action::Update { wanted, .. } => Some(&wanted.node),
            Action::Delete(deletion) => deletion.node.as_ref(),
        };
        if let Some(node) = node {
            self.publish(node, EventKind::Warning, FAILED, "Write", note);
        }
    }

    fn publish(
        &self,
        node: &NodeName,
        kind: EventKind,
        reason: &'static str,
        action: &'static str,
        note: String,
    ) {
        let event = Event {
            kind,
            reason,
            action,
            note,
        };
        if self.events.try_send((node.clone(), event)).is_err() {
            debug!(%node, reason, "too many Events at once; this one is not published");
        }
    }
}

/// How a Node stands, in words.
pub fn node_note(name: &NodeName, state: NodeState) -> String {
    match state {
        NodeState::Ready => format!("the rules of {name} are known"),
        NodeState::WithoutCidrs => format!("{name} has no podCIDRs"),
        NodeState::HostMissing => {
            format!("no host named {name} is in a network of Netmaker; waiting for it")
        }
        NodeState::Ambiguous => format!(
            "several hosts of Netmaker are named {name}, and not exactly one of them is online; their rules stay as they are until the others are removed"
        ),
        NodeState::Inconsistent => format!(
            "Netmaker's lists do not agree about the host {name}; its rules stay as they are"
        ),
        NodeState::UnreadableCidrs => {
            format!("one of the podCIDRs of {name} is no CIDR; its rules stay as they are")
        }
        NodeState::Refused => format!(
            "one of the podCIDRs of {name} is outside of MESH_CIDRS; its rules stay as they are"
        ),
    }
}

/// Why nothing is deleted, and what to do.
pub fn withheld_note(reason: &Withheld, deletions: usize) -> String {
    match reason {
        Withheld::EmptyList(list) => format!(
            "the list of {list} is empty; no rule is deleted for that ({deletions} would be)"
        ),
        Withheld::TooMany {
            deletions,
            ours,
            allowed,
        } => format!(
            "{deletions} of {ours} rules would be deleted, and MESH_MAX_DELETES allows {allowed}: none is; look at `nico mesh plan`, and set MESH_MAX_DELETES=100% if it is right"
        ),
    }
}

/// An action in words, without its subject.
pub(crate) fn describe(action: &Action) -> String {
    match action {
        Action::Create(wanted) => format!(
            "create the rule for {} of Node {} in network {}",
            wanted.cidr, wanted.node, wanted.network
        ),
        Action::Update {
            rule,
            wanted,
            drift,
        } => {
            let drift: Vec<&str> = drift.iter().copied().map(Drift::as_str).collect();
            format!(
                "update the rule {rule} for {} of Node {} in network {} ({} differed)",
                wanted.cidr,
                wanted.node,
                wanted.network,
                drift.join(", ")
            )
        }
        Action::Delete(deletion) => format!(
            "delete the rule {} {:?} in network {} ({})",
            deletion.rule,
            deletion.name,
            deletion.network,
            deletion.why.as_str()
        ),
    }
}

/// A Node to speak of, which may be gone.
fn object(name: &NodeName) -> Node {
    Node {
        metadata: ObjectMeta {
            name: Some(name.to_string()),
            uid: Some(name.to_string()),
            ..ObjectMeta::default()
        },
        ..Node::default()
    }
}
