//! Every object of Flux and how it is. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use nico_terminal::tree::{Branch, Line, Span, Tone, list, set};
use serde::Serialize;

use crate::collect;
use crate::detect::words;
use crate::facts::flux::FluxObject;
use crate::facts::meta::condition;
use crate::index::all_flux;
use crate::issue::{Layer, ObjectRef};
use crate::report::Status;
use crate::world::{Outcome, World};

/// How the objects of Flux are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FluxReport {
    /// How they are as a whole.
    pub status: Status,
    /// When they were read.
    pub timestamp: Timestamp,
    /// The objects: sources, Kustomizations, HelmReleases.
    pub objects: Vec<FluxRow>,
    /// What could not be read, a sentence each.
    pub unread: Vec<String>,
}

/// How an object of Flux is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FluxRow {
    /// Which.
    #[serde(flatten)]
    pub object: ObjectRef,
    /// How it is.
    pub state: State,
    /// What it has fetched or applied; empty when that is not known.
    pub revision: String,
    /// Since when it is so.
    pub since: Option<Timestamp>,
    /// What Flux says.
    pub message: String,
}

/// How an object of Flux is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is as it should be.
    Ready,
    /// It is being worked on, or its newest spec was not looked at yet.
    Progressing,
    /// It fails.
    Failed,
    /// It is left alone.
    Suspended,
}

/// How the objects of Flux are.
pub fn status(world: &World, now: Timestamp) -> FluxReport {
    let home = world.namespace.as_deref();
    let objects: Vec<FluxRow> = all_flux(world)
        .filter(|object| home.is_none_or(|home| object.reference().namespace == home))
        .map(row)
        .collect();
    let unread: Vec<String> = world
        .outcomes()
        .filter(|(kind, outcome, _)| kind.layer == Layer::Flux && **outcome != Outcome::Absent)
        .filter_map(|(kind, outcome, _)| {
            Some(format!("{}: {}", kind.name, collect::reason(outcome)?))
        })
        .collect();
    let was_read = world.outcomes().any(|(kind, outcome, _)| {
        kind.layer == Layer::Flux && matches!(outcome, Outcome::Known { .. })
    });
    let any = |state| objects.iter().any(|row| row.state == state);
    let status = match (
        any(State::Failed),
        unread.is_empty(),
        any(State::Progressing),
    ) {
        (true, ..) => Status::Critical,
        (_, false, _) => Status::Unknown,
        (_, _, true) => Status::Warning,
        _ if was_read => Status::Healthy,
        _ => Status::Absent,
    };
    FluxReport {
        status,
        timestamp: now,
        objects,
        unread,
    }
}

fn row(object: &dyn FluxObject) -> FluxRow {
    let status = object.status();
    let ready = condition(&status.conditions, "Ready");
    let state = match ready {
        _ if object.is_suspended() => State::Suspended,
        // A HelmRepository of type `oci` is never looked at and needs not be.
        None if object.reference().kind == "HelmRepository" => State::Ready,
        Some(ready) if object.is_current(ready) && ready.is_true() => State::Ready,
        Some(ready)
            if object.is_current(ready) && ready.is_false() && ready.reason != "Progressing" =>
        {
            State::Failed
        }
        _ => State::Progressing,
    };
    let artifact = status
        .artifact
        .as_ref()
        .map(|artifact| artifact.revision.clone());
    let release = status
        .history
        .first()
        .map(|release| release.chart_version.clone());
    let applied = Some(&status.last_applied_revision).filter(|applied| !applied.is_empty());
    FluxRow {
        object: object.reference(),
        state,
        revision: applied
            .cloned()
            .or(artifact)
            .or(release)
            .unwrap_or_default(),
        since: ready.and_then(|ready| ready.last_transition_time),
        message: ready.map_or(String::new(), |ready| ready.words().to_owned()),
    }
}

impl FluxReport {
    /// Leaves out what is ready or suspended.
    pub fn only_not_ready(&mut self) {
        self.objects
            .retain(|row| matches!(row.state, State::Failed | State::Progressing));
    }

    /// The exit code: 0 all ready, 1 some under way, 2 some fail, 3 not all could be read.
    pub fn exit_code(&self) -> u8 {
        match self.status {
            Status::Critical => 2,
            Status::Unknown => 3,
            Status::Warning => 1,
            Status::Healthy | Status::Absent => 0,
        }
    }

    /// The report for people. Messages of what is ready are left out.
    pub fn text(&self, width: usize) -> Vec<Line> {
        let rows: Vec<Branch> = self
            .objects
            .iter()
            .map(|row| branch(row, self.timestamp))
            .collect();
        let mut lines = match (rows.is_empty(), self.status) {
            (true, Status::Absent) => list("", &[Span::from("This cluster has no Flux.")], width),
            (true, Status::Unknown) => vec![],
            (true, _) => list("", &[Span::from("There is nothing to show.")], width),
            (false, _) => set(&["OBJECT", "STATE", "REVISION", "SINCE"], &rows, width),
        };
        let unread: Vec<Span> = self
            .unread
            .iter()
            .map(|what| Span::new(Tone::Busy, format!("not read: {what}")))
            .collect();
        lines.extend(list("", &unread, width));
        lines
    }
}

fn branch(row: &FluxRow, now: Timestamp) -> Branch {
    let (tone, word) = match row.state {
        State::Ready => (Tone::Good, "ready"),
        State::Progressing => (Tone::Busy, "progressing"),
        State::Failed => (Tone::Bad, "failed"),
        State::Suspended => (Tone::Faint, "suspended"),
    };
    let since = row
        .since
        .map_or(String::new(), |since| words(now.duration_since(since)));
    let is_told =
        matches!(row.state, State::Failed | State::Progressing) && !row.message.is_empty();
    Branch {
        name: Span::from(row.object.to_string().as_str()),
        cells: vec![
            Span::new(tone, word),
            Span::from(short(&row.revision).as_str()),
            Span::new(Tone::Faint, since),
        ],
        notes: is_told
            .then(|| Span::from(row.message.as_str()))
            .into_iter()
            .collect(),
        branches: vec![],
    }
}

/// `main@sha1:0123456789…` as `main@0123456`.
fn short(revision: &str) -> String {
    const DIGITS: usize = 7;
    let Some((name, digest)) = revision.rsplit_once(':') else {
        return revision.to_owned();
    };
    let digest: String = digest.chars().take(DIGITS).collect();
    match name.rsplit_once('@') {
        Some((branch, _)) => format!("{branch}@{digest}"),
        None => digest,
    }
}

/// What is different between two reports, a line for each object. Nothing is gone while not
/// everything could be read.
pub fn changes(before: Option<&FluxReport>, after: &FluxReport) -> Vec<String> {
    let by_object = |report: &FluxReport| -> BTreeMap<ObjectRef, (State, String, String)> {
        let rows = report.objects.iter();
        let keyed = rows.map(|row| {
            let message = match row.state {
                State::Failed | State::Progressing => row.message.clone(),
                State::Ready | State::Suspended => String::new(),
            };
            (
                row.object.clone(),
                (row.state, row.revision.clone(), message),
            )
        });
        keyed.collect()
    };
    let known = before.map(by_object).unwrap_or_default();
    let now = by_object(after);
    let changed = now
        .iter()
        .filter(|(object, state)| known.get(*object) != Some(*state));
    let changed = changed.map(|(object, (state, revision, message))| {
        let state = format!("{state:?}").to_lowercase();
        format!("{object}: {state} {} {message}", short(revision))
            .trim_end()
            .to_owned()
    });
    let is_whole = after.unread.is_empty();
    let gone = known
        .keys()
        .filter(|object| is_whole && !now.contains_key(*object));
    let mut lines: Vec<String> = changed
        .chain(gone.map(|object| format!("{object}: gone")))
        .collect();
    if before.is_none_or(|before| before.unread != after.unread) {
        lines.extend(after.unread.iter().map(|what| format!("not read: {what}")));
    }
    if before.is_none_or(|before| before.status != after.status) {
        lines.push(format!("Flux is {}", after.status.word()));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(status: Status, objects: &[(&str, State)], unread: &[&str]) -> FluxReport {
        let rows = objects.iter().map(|(name, state)| FluxRow {
            object: ObjectRef::new("Kustomization", "flux-system", *name),
            state: *state,
            revision: String::new(),
            since: None,
            message: "why".to_owned(),
        });
        FluxReport {
            status,
            timestamp: Timestamp::UNIX_EPOCH,
            objects: rows.collect(),
            unread: unread.iter().map(|what| (*what).to_owned()).collect(),
        }
    }

    #[test]
    fn changes_are_told_and_what_cannot_be_read_is_not_gone() {
        let good = report(
            Status::Healthy,
            &[("a", State::Ready), ("b", State::Ready)],
            &[],
        );
        let all = [
            "Kustomization flux-system/a: ready",
            "Kustomization flux-system/b: ready",
            "Flux is healthy",
        ];
        assert_eq!(changes(None, &good), all);
        assert_eq!(changes(Some(&good), &good), [""; 0]);

        let bad = report(Status::Critical, &[("a", State::Failed)], &[]);
        let worse = [
            "Kustomization flux-system/a: failed  why",
            "Kustomization flux-system/b: gone",
            "Flux is critical",
        ];
        assert_eq!(changes(Some(&good), &bad), worse);

        let dark = report(Status::Unknown, &[], &["Kustomization: no answer"]);
        let told = ["not read: Kustomization: no answer", "Flux is unknown"];
        assert_eq!(changes(Some(&good), &dark), told);
        assert_eq!(changes(Some(&dark), &dark), [""; 0]);
        let absent = report(Status::Absent, &[], &[]);
        assert_eq!(changes(None, &absent), ["Flux is absent"]);
    }

    #[test]
    fn revisions_are_told_as_people_read_them() {
        for (revision, expected) in [
            ("main@sha1:0123456789abcdef", "main@0123456"),
            ("sha256:0123456789abcdef", "0123456"),
            ("6.5.4@sha256:0123456789", "6.5.4@0123456"),
            ("1.2.3", "1.2.3"),
            ("", ""),
        ] {
            assert_eq!(short(revision), expected);
        }
    }
}
