//! The chain from the source to the machine, with the link that fails. Pure.

use jiff::Timestamp;
use nico_terminal::tree::{Line, Span, Tone, list};
use serde::Serialize;

use crate::detect::{Scene, flux::installed, words};
use crate::facts::flux::FluxObject;
use crate::facts::meta::{Metadata, Object, condition};
use crate::index::{Index, workload_of};
use crate::issue::ObjectRef;
use crate::report::{Report, ReportedIssue};
use crate::thresholds::Thresholds;
use crate::world::World;

/// The way from a source to a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Chain {
    /// What was asked about.
    pub object: ObjectRef,
    /// The links, from the source on.
    pub links: Vec<Link>,
    /// The link to put right; none when all are as they should be.
    pub failing: Option<ObjectRef>,
    /// What to do about it.
    pub fix: Option<String>,
}

/// One object on the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Link {
    /// Which.
    pub object: ObjectRef,
    /// How it is.
    pub state: LinkState,
    /// What is said of it.
    pub message: String,
    /// Since when something is wrong with it.
    pub since: Option<Timestamp>,
}

/// How a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkState {
    /// Nothing is wrong with it.
    Good,
    /// Something is wrong with it.
    Bad,
    /// It is not there.
    Missing,
    /// It could not be read.
    Unknown,
}

/// The chain of an object; `None` when there is no such object.
///
/// `report` must be made from the same world.
pub fn why(
    world: &World,
    report: &Report,
    thresholds: &Thresholds,
    object: &ObjectRef,
) -> Option<Chain> {
    let scene = Scene {
        world,
        index: Index::new(world),
        thresholds,
        now: report.timestamp,
    };
    let walk = Walk {
        scene: &scene,
        report,
    };
    let metadata = walk.metadata(object)?;
    let mut places = walk.above(object, metadata);
    places.push(object.clone());
    places.extend(walk.below(object));
    let root = walk.issue(object).map(|issue| match &issue.cause {
        Some(cause) => cause.object.clone(),
        None => issue.object.clone(),
    });
    // What is behind another branch of the tree still belongs to the answer.
    places.extend(root.clone());
    let mut links: Vec<Link> = vec![];
    for place in places {
        if links.iter().all(|link| link.object != place) {
            links.push(walk.link(place));
        }
    }
    let is_bad = |link: &&Link| matches!(link.state, LinkState::Bad | LinkState::Missing);
    let failing = root.or_else(|| {
        links
            .iter()
            .rev()
            .find(is_bad)
            .map(|link| link.object.clone())
    });
    let fix = failing
        .as_ref()
        .and_then(|object| walk.issue(object))
        .map(|issue| issue.fix.clone());
    Some(Chain {
        object: object.clone(),
        links,
        failing,
        fix,
    })
}

struct Walk<'a> {
    scene: &'a Scene<'a>,
    report: &'a Report,
}

impl<'a> Walk<'a> {
    fn issue(&self, object: &ObjectRef) -> Option<&'a ReportedIssue> {
        self.report
            .issues
            .iter()
            .find(|issue| issue.object == *object)
    }

    /// The metadata of an object on a chain.
    fn metadata(&self, object: &ObjectRef) -> Option<&'a Metadata> {
        let world = self.scene.world;
        let is_it = |kind: &str, metadata: &Metadata| {
            kind == object.kind
                && metadata.namespace == object.namespace
                && metadata.name == object.name
        };
        macro_rules! find {
            ($($field:ident),+) => {
                $(if let Some(found) = world.$field.iter().find(|one| is_it(one.kind, &one.metadata)) {
                    return Some(&found.metadata);
                })+
            };
        }
        find!(
            git_repositories,
            oci_repositories,
            helm_repositories,
            helm_charts,
            buckets,
            kustomizations,
            helm_releases,
            deployments,
            stateful_sets,
            daemon_sets,
            jobs,
            pods,
            nodes,
            machines,
            configurations,
            clusters
        );
        None
    }

    /// What an object comes from, the first at the front.
    fn above(&self, object: &ObjectRef, metadata: &Metadata) -> Vec<ObjectRef> {
        let mut chain = vec![];
        let mut at = (object.clone(), metadata);
        // The parents of a root can name themselves.
        while let Some(parent) = self.parent(&at.0, at.1) {
            if parent == at.0 || chain.contains(&parent) {
                break;
            }
            let sources = self.sources(&at.0);
            chain.splice(0..0, sources);
            let Some(metadata) = self.metadata(&parent) else {
                chain.insert(0, parent);
                return chain;
            };
            chain.insert(0, parent.clone());
            at = (parent, metadata);
        }
        let sources = self.sources(&at.0);
        chain.splice(0..0, sources);
        chain
    }

    /// What applied or made an object.
    fn parent(&self, object: &ObjectRef, metadata: &Metadata) -> Option<ObjectRef> {
        if object.kind == "Pod" {
            let mut pods = self.scene.world.pods.iter();
            let pod = pods.find(|pod| pod.reference() == *object)?;
            return workload_of(pod);
        }
        let annotation = |name: &str| metadata.annotation(&format!("meta.helm.sh/{name}"));
        if let (Some(name), Some(namespace)) =
            (annotation("release-name"), annotation("release-namespace"))
        {
            let mut releases = self.scene.world.helm_releases.iter();
            let release = releases.find(|release| release.release() == (namespace, name));
            if let Some(release) = release.filter(|release| release.reference() != *object) {
                return Some(release.reference());
            }
        }
        let label =
            |tool: &str, name: &str| metadata.label(&format!("{tool}.toolkit.fluxcd.io/{name}"));
        for (tool, kind) in [("helm", "HelmRelease"), ("kustomize", "Kustomization")] {
            if let (Some(name), Some(namespace)) = (label(tool, "name"), label(tool, "namespace")) {
                return Some(ObjectRef::new(kind, namespace, name));
            }
        }
        None
    }

    /// The sources of an object of Flux, the first at the front.
    fn sources(&self, object: &ObjectRef) -> Vec<ObjectRef> {
        let mut sources = vec![];
        let mut next = self.scene.index.flux(object).and_then(FluxObject::source);
        while let Some(source) = next.filter(|source| !sources.contains(source)) {
            next = self.scene.index.flux(&source).and_then(FluxObject::source);
            sources.insert(0, source);
        }
        sources
    }

    /// The first thing that fails among what an object brings into the cluster, and so on down to
    /// the machine.
    fn below(&self, object: &ObjectRef) -> Vec<ObjectRef> {
        let mut chain: Vec<ObjectRef> = vec![];
        let mut at = object.clone();
        loop {
            let next = self
                .children(&at)
                .into_iter()
                .find(|child| !chain.contains(child));
            let Some(next) = next else {
                return chain;
            };
            chain.push(next.clone());
            at = next;
        }
    }

    /// What an object brings, and fails; of a Pod, its Node.
    fn children(&self, object: &ObjectRef) -> Vec<ObjectRef> {
        let world = self.scene.world;
        let is_wrong = |child: &ObjectRef| self.issue(child).is_some();
        match object.kind.as_str() {
            "Kustomization" | "HelmRelease" => {
                let waits = self.scene.index.flux(object).map(FluxObject::dependencies);
                let all = waits
                    .unwrap_or_default()
                    .into_iter()
                    .chain(installed(self.scene, object));
                all.filter(is_wrong).collect()
            }
            "Deployment" | "StatefulSet" | "DaemonSet" | "Job" => {
                let pods = self
                    .scene
                    .index
                    .pods_of(object)
                    .iter()
                    .map(|pod| pod.reference());
                let (wrong, right): (Vec<_>, Vec<_>) = pods.partition(is_wrong);
                wrong.into_iter().chain(right).take(1).collect()
            }
            "Pod" => {
                let pod = world.pods.iter().find(|pod| pod.reference() == *object);
                let node = pod
                    .map(|pod| pod.spec.node_name.as_str())
                    .filter(|node| !node.is_empty());
                node.map(|node| ObjectRef::new("Node", "", node))
                    .into_iter()
                    .collect()
            }
            "Node" => {
                let configurations = world.configurations.iter();
                let own = configurations.filter(|one| one.spec.machine_ref.name == object.name);
                own.map(Object::reference).collect()
            }
            "NixosConfiguration" => {
                let configurations = world.configurations.iter();
                let mut own = configurations.filter(|one| one.reference() == *object);
                let machine = own.next().map(|one| {
                    ObjectRef::new(
                        "Machine",
                        &one.metadata.namespace,
                        &one.spec.machine_ref.name,
                    )
                });
                machine.into_iter().collect()
            }
            _ => vec![],
        }
    }

    fn link(&self, object: ObjectRef) -> Link {
        let issue = self.issue(&object);
        let (state, message) = match issue {
            Some(issue) => (LinkState::Bad, issue.message.clone()),
            None if self.metadata(&object).is_some() => (LinkState::Good, self.good(&object)),
            None if self.is_read(&object.kind) => (LinkState::Missing, "does not exist".to_owned()),
            None => (LinkState::Unknown, "could not be read".to_owned()),
        };
        Link {
            object,
            state,
            message,
            since: issue.and_then(|issue| issue.since),
        }
    }

    fn is_read(&self, kind: &str) -> bool {
        let mut outcomes = self.scene.world.outcomes();
        outcomes.any(|(one, outcome, _)| {
            one.name == kind && matches!(outcome, crate::world::Outcome::Known { .. })
        })
    }

    /// What is worth to be told of something with which nothing is wrong.
    fn good(&self, object: &ObjectRef) -> String {
        let Some(found) = self.scene.index.flux(object) else {
            return "all right".to_owned();
        };
        if found.is_suspended() {
            return "suspended".to_owned();
        }
        let ready = condition(&found.status().conditions, "Ready");
        ready.map_or("all right", |ready| ready.words()).to_owned()
    }
}

impl Chain {
    /// The exit code: 0 no link fails, 2 one does, 3 none is known to, and one could not be read.
    pub fn exit_code(&self) -> u8 {
        let is_unknown = |link: &Link| link.state == LinkState::Unknown;
        match (&self.failing, self.links.iter().any(is_unknown)) {
            (Some(_), _) => 2,
            (None, true) => 3,
            (None, false) => 0,
        }
    }

    /// The chain for people.
    pub fn text(&self, now: Timestamp, width: usize) -> Vec<Line> {
        let mut lines = vec![];
        for link in &self.links {
            let is_failing = self.failing.as_ref() == Some(&link.object);
            let (tone, mark) = match link.state {
                LinkState::Good => (Tone::Good, "✓ "),
                LinkState::Bad | LinkState::Missing => (Tone::Bad, "✗ "),
                LinkState::Unknown => (Tone::Busy, "? "),
            };
            let here = if is_failing { "  ← here" } else { "" };
            let since = link.since.map_or(String::new(), |since| {
                format!(", for {}", words(now.duration_since(since)))
            });
            let title = format!("{}{since}{here}", link.object);
            lines.extend(list(mark, &[Span::new(tone, title)], width));
            lines.extend(list("    ", &[Span::from(link.message.as_str())], width));
        }
        if let Some(fix) = &self.fix {
            lines.extend(list("→ ", &[Span::new(Tone::Strong, fix.clone())], width));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_with_a_link_that_could_not_be_read_is_not_in_order() {
        let pod = ObjectRef::new("Pod", "apps", "web-0");
        let chain = |states: &[LinkState], failing: Option<&ObjectRef>| Chain {
            object: pod.clone(),
            links: states
                .iter()
                .map(|state| Link {
                    object: pod.clone(),
                    state: *state,
                    message: String::new(),
                    since: None,
                })
                .collect(),
            failing: failing.cloned(),
            fix: None,
        };
        for (states, failing, code) in [
            (vec![LinkState::Good], None, 0),
            (vec![LinkState::Good, LinkState::Unknown], None, 3),
            (vec![LinkState::Bad, LinkState::Unknown], Some(&pod), 2),
        ] {
            assert_eq!(chain(&states, failing).exit_code(), code, "{states:?}");
        }
    }
}
