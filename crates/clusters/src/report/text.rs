//! Reports as lines of text. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use nico_api::kubernetes_cluster::Phase;
use nico_terminal::tree::{Branch, Line, Span, Tone, list, set};

use super::preview::{PlanReport, StepReport};
use super::state::MachineState;
use super::status::{ClusterReport, Concern, ConfigurationReport, MachineReport, StatusReport};

/// The first seven digits of a commit; another reference as it is.
pub fn short(revision: &str) -> &str {
    let is_commit = revision.len() >= 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit());
    match is_commit {
        true => &revision[..7],
        false => revision,
    }
}

/// A time that passed, as `kubectl` says it, in one unit.
pub fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(since).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// What `nico status` prints.
pub fn of_status(report: &StatusReport, width: usize) -> Vec<Line> {
    let now = report.observed_at.0;
    let roots: Vec<Branch> = report
        .clusters
        .iter()
        .map(|cluster| cluster_branch(cluster, now))
        .collect();
    let mut lines = match roots.is_empty() {
        true => vec![],
        false => set(&["NAME", "STATE", "REVISION", "SINCE"], &roots, width),
    };
    lines.extend(unread(&report.unread, width));
    lines
}

fn unread(unread: &[String], width: usize) -> Vec<Line> {
    if unread.is_empty() {
        return vec![];
    }
    let sentences: Vec<Span> = unread
        .iter()
        .map(|sentence| Span::new(Tone::Plain, &**sentence))
        .collect();
    let mut lines = vec![Line(vec![Span::new(Tone::Bad, "Could not be read:")])];
    lines.extend(list("  ", &sentences, width));
    lines
}

fn cluster_branch(cluster: &ClusterReport, now: Timestamp) -> Branch {
    let tone = match cluster.phase {
        Some(Phase::Ready) if cluster.ready => Tone::Good,
        Some(Phase::Failed) => Tone::Bad,
        _ if cluster.silent => Tone::Bad,
        _ => Tone::Busy,
    };
    let revision = cluster
        .revision
        .as_ref()
        .map_or("-", |revision| short(&revision.commit));
    let mut notes: Vec<Span> = vec![];
    if let Some(rollout) = &cluster.rollout {
        let since = rollout
            .started_at
            .as_ref()
            .map(|started| format!(", begun {} ago", age(started.0, now)));
        notes.push(Span::new(
            Tone::Plain,
            format!(
                "rollout of {}: {} of {} nodes{}",
                short(&rollout.target_commit),
                rollout.updated,
                rollout.total,
                since.unwrap_or_default()
            ),
        ));
    }
    notes.extend(cluster.waits_for.iter().map(|concern| note(concern, now)));
    let planes = [
        ("control plane", &cluster.control_plane),
        ("workers", &cluster.data_plane),
    ]
    .into_iter()
    .filter(|(_, plane)| plane.total > 0 || !plane.machines.is_empty())
    .map(|(name, plane)| {
        let is_well = plane.ready == plane.total;
        Branch {
            name: name.into(),
            cells: vec![
                Span::new(
                    if is_well { Tone::Good } else { Tone::Busy },
                    format!("{}/{} ready", plane.ready, plane.total),
                ),
                Span::new(
                    Tone::Plain,
                    format!("{}/{} new", plane.updated, plane.total),
                ),
            ],
            notes: vec![],
            branches: machines(&plane.machines, now),
        }
    });
    let mut branches: Vec<Branch> = planes.collect();
    if !cluster.leaving.is_empty() {
        branches.push(Branch {
            name: "leaving".into(),
            branches: machines(&cluster.leaving, now),
            ..Branch::default()
        });
    }
    Branch {
        name: Span::new(
            Tone::Strong,
            format!("{}/{}", cluster.namespace, cluster.name),
        ),
        cells: vec![
            Span::new(tone, cluster.state()),
            revision.into(),
            since(cluster.since.as_ref(), now),
        ],
        notes,
        branches,
    }
}

fn note(concern: &Concern, now: Timestamp) -> Span {
    let is_stuck = matches!(
        concern.reason.as_str(),
        "NodeFailed" | "VersionChangeRefused" | "DrainBlocked" | "ConfigurationFailed"
    );
    let tone = if is_stuck { Tone::Bad } else { Tone::Faint };
    let Concern {
        condition, reason, ..
    } = concern;
    let text = format!(
        "{condition} {reason} for {}: {}",
        age(concern.since.0, now),
        concern.message
    );
    Span::new(tone, text)
}

fn machines(machines: &[MachineReport], now: Timestamp) -> Vec<Branch> {
    machines
        .iter()
        .map(|machine| Branch {
            name: (&*machine.name).into(),
            cells: vec![
                Span::new(machine_tone(machine.state), format!("{:?}", machine.state)),
                machine.revision.as_deref().map_or("-", short).into(),
                since(machine.since.as_ref(), now),
            ],
            notes: faint(&machine.waits_for),
            branches: machine
                .configuration
                .iter()
                .map(|configuration| configuration_branch(configuration, now))
                .collect(),
        })
        .collect()
}

fn configuration_branch(configuration: &ConfigurationReport, now: Timestamp) -> Branch {
    Branch {
        name: (&*configuration.name).into(),
        cells: vec![
            (&*configuration.state).into(),
            short(&configuration.revision).into(),
            since(configuration.since.as_ref(), now),
        ],
        notes: faint(configuration.waits_for.as_slice()),
        branches: vec![],
    }
}

fn faint(sentences: &[String]) -> Vec<Span> {
    sentences
        .iter()
        .map(|sentence| Span::new(Tone::Faint, &**sentence))
        .collect()
}

fn machine_tone(state: MachineState) -> Tone {
    use MachineState::{
        Changing, Draining, Failed, Joining, Leaving, Missing, NotReady, Prepared, Preparing,
        Ready, Unknown, Waiting,
    };
    match state {
        Ready => Tone::Good,
        Missing | Failed | NotReady => Tone::Bad,
        Joining | Preparing | Draining | Changing | Leaving | Waiting => Tone::Busy,
        Prepared | Unknown => Tone::Plain,
    }
}

fn since(since: Option<&Time>, now: Timestamp) -> Span {
    match since {
        Some(since) => Span::new(Tone::Plain, age(since.0, now)),
        None => "-".into(),
    }
}

/// What `nico plan` prints.
pub fn of_plan(report: &PlanReport, width: usize) -> Vec<Line> {
    let mut lines = vec![];
    let mut say = |tone, text: String| lines.extend(list("", &[Span::new(tone, text)], width));
    say(
        Tone::Strong,
        format!("{}/{}", report.namespace, report.name),
    );
    if let Some(target) = &report.target {
        let hash: String = target.configuration_hash.chars().take(14).collect();
        say(
            Tone::Plain,
            format!("Every node is to run {} ({hash}).", short(&target.commit)),
        );
    }
    if let Some(order) = &report.order {
        say(Tone::Plain, sentence(&order.say()));
    }
    say(report.state.tone(), sentence(report.state.say()));
    if !report.waits_for.is_empty() {
        say(Tone::Plain, "It waits for:".to_owned());
        lines.extend(list("  ", &plain(&report.waits_for), width));
    }
    let mut say = |tone, text: String| lines.extend(list("", &[Span::new(tone, text)], width));
    if report.steps.is_empty() {
        say(Tone::Good, "Next: nothing.".to_owned());
    } else {
        say(Tone::Strong, "Next:".to_owned());
        lines.extend(steps(&report.steps, width));
    }
    for (title, sentences) in [
        ("After that, in this order:", &report.later),
        ("Notes:", &report.remarks),
    ] {
        if !sentences.is_empty() {
            lines.extend(list("", &[title.into()], width));
            lines.extend(list("  ", &plain(sentences), width));
        }
    }
    lines
}

fn plain(sentences: &[String]) -> Vec<Span> {
    sentences
        .iter()
        .map(|sentence| Span::new(Tone::Plain, &**sentence))
        .collect()
}

fn steps(steps: &[StepReport], width: usize) -> Vec<Line> {
    let digits = steps.len().to_string().len();
    steps
        .iter()
        .enumerate()
        .flat_map(|(number, step)| {
            let mark = format!("  {:>digits$}. ", number + 1);
            let under = " ".repeat(mark.len());
            let mut lines = list(&mark, &[Span::new(Tone::Plain, &*step.what)], width);
            let why = Span::new(Tone::Faint, format!("because {}", step.why));
            lines.extend(list(&under, &[why], width));
            lines
        })
        .collect()
}

/// The words as a sentence of their own.
fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    let first: String = letters
        .next()
        .into_iter()
        .flat_map(char::to_uppercase)
        .collect();
    format!("{first}{}.", letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_has_one_unit() {
        let at = |second| Timestamp::from_second(second).unwrap();
        for (seconds, expected) in [
            (-5, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (7_199, "119m"),
            (7_200, "2h"),
            (172_800, "2d"),
        ] {
            assert_eq!(age(at(0), at(seconds)), expected, "{seconds}");
        }
    }

    #[test]
    fn a_commit_is_shortened_and_a_branch_is_not() {
        assert_eq!(short(&"a1".repeat(20)), "a1a1a1a");
        assert_eq!(short("release-2026"), "release-2026");
    }
}
