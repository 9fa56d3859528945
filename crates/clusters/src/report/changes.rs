//! What is different between two status reports: one line for each thing that changed, for
//! where a tree cannot be drawn again.

use std::collections::BTreeMap;

use super::status::{ClusterReport, MachineReport, StatusReport};
use super::text::short;

/// What is new in `after`, one line each. Everything, when there is nothing before.
pub fn between(before: Option<&StatusReport>, after: &StatusReport) -> Vec<String> {
    let known = before.map(lines_of).unwrap_or_default();
    let now = lines_of(after);
    let gone = known
        .keys()
        .filter(|subject| !now.contains_key(*subject))
        .map(|subject| format!("{subject}: gone"));
    let changed = now
        .iter()
        .filter(|(subject, line)| known.get(*subject) != Some(line))
        .map(|(subject, line)| format!("{subject}: {line}"));
    changed.chain(gone).collect()
}

/// A line for everything that a report tells of, by what it is about.
fn lines_of(report: &StatusReport) -> BTreeMap<String, String> {
    let unread = report
        .unread
        .iter()
        .map(|what| match what.split_once(": ") {
            Some((subject, why)) => (subject.to_owned(), why.to_owned()),
            None => (what.clone(), "not read".to_owned()),
        });
    let clusters = report.clusters.iter().flat_map(|cluster| {
        let path = format!("{}/{}", cluster.namespace, cluster.name);
        let machines = [
            &cluster.control_plane.machines,
            &cluster.data_plane.machines,
            &cluster.leaving,
        ];
        let machines = machines
            .into_iter()
            .flatten()
            .map(|machine| (format!("{path} {}", machine.name), of_machine(machine)))
            .collect::<Vec<_>>();
        std::iter::once((path, of_cluster(cluster))).chain(machines)
    });
    unread.chain(clusters).collect()
}

fn of_cluster(cluster: &ClusterReport) -> String {
    let (control_plane, workers) = (&cluster.control_plane, &cluster.data_plane);
    let counts = format!(
        "control plane {}/{}, workers {}/{}",
        control_plane.ready, control_plane.total, workers.ready, workers.total
    );
    let concerns = cluster
        .waits_for
        .iter()
        .map(|concern| format!("; {}: {}", concern.reason, concern.message));
    let concerns: String = concerns.collect();
    format!("{}, {counts}{concerns}", cluster.state())
}

fn of_machine(machine: &MachineReport) -> String {
    let mut parts = vec![match &machine.revision {
        Some(revision) => format!("{:?} {}", machine.state, short(revision)),
        None => format!("{:?}", machine.state),
    }];
    if let Some(configuration) = &machine.configuration
        && let Some(why) = &configuration.waits_for
    {
        let revision = short(&configuration.revision);
        parts.push(format!("{} {revision}: {why}", configuration.state));
    }
    parts.extend(machine.waits_for.iter().cloned());
    parts.join("; ")
}
