//! The state of a cluster as a table: one row for each machine. Pure: objects in, text out.

use std::time::Duration;

use kube::ResourceExt;
use nico_api::condition;
use nico_api::kubernetes_cluster::conditions as cluster_conditions;
use nico_api::machine::conditions as machine_conditions;
use nico_api::nixos_configuration::conditions as configuration_conditions;
use nico_api::{KubernetesCluster, Machine, NixosConfiguration, labels};

/// What was read of the management cluster.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    pub(super) machines: Vec<Machine>,
    pub(super) configurations: Vec<NixosConfiguration>,
    pub(super) cluster: Option<KubernetesCluster>,
}

/// The columns behind the name of the machine.
const COLUMNS: [&str; 4] = ["ssh", "role", "configuration", "node"];

/// One machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    machine: String,
    cells: [String; 4],
}

/// One row for each machine, by name.
pub(super) fn rows(snapshot: &Snapshot) -> Vec<Row> {
    let mut rows: Vec<Row> = snapshot
        .machines
        .iter()
        .map(|machine| {
            let name = machine.name_any();
            let cells = [
                reachability(machine),
                machine.label(labels::ROLE).unwrap_or("free").to_owned(),
                configuration(snapshot, &name),
                node(snapshot, machine),
            ];
            Row {
                machine: name,
                cells,
            }
        })
        .collect();
    rows.sort_by(|a, b| a.machine.cmp(&b.machine));
    rows
}

/// The cluster in one line.
pub(super) fn headline(snapshot: &Snapshot, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64();
    let Some(cluster) = &snapshot.cluster else {
        return format!("{seconds:5.1} s  no cluster");
    };
    let name = cluster.metadata.name.as_deref().unwrap_or_default();
    let status = cluster.status.clone().unwrap_or_default();
    let phase = status
        .phase
        .map_or_else(|| "Pending".to_owned(), |phase| format!("{phase:?}"));
    let message = condition::find(&status.conditions, cluster_conditions::READY)
        .map(|ready| ready.message.clone())
        .unwrap_or_default();
    format!(
        "{seconds:5.1} s  {name}: {phase}  control plane {}  workers {}  {message}",
        status.control_plane_ready.as_deref().unwrap_or("-"),
        status.data_plane_ready.as_deref().unwrap_or("-"),
    )
}

/// The rows under their titles, in columns.
pub(super) fn table(rows: &[Row]) -> Vec<String> {
    let titles = ["machine"].into_iter().chain(COLUMNS);
    let mut lines: Vec<Vec<String>> = vec![titles.map(str::to_uppercase).collect()];
    for row in rows {
        let cells = std::iter::once(&row.machine).chain(&row.cells);
        lines.push(cells.cloned().collect());
    }
    let widths: Vec<usize> = (0..=COLUMNS.len())
        .map(|column| {
            let cells = lines.iter().map(|line| line[column].chars().count());
            cells.max().unwrap_or(0)
        })
        .collect();
    lines
        .iter()
        .map(|line| {
            let cells = line.iter().zip(&widths);
            let padded: Vec<String> = cells
                .map(|(cell, width)| format!("{cell:<width$}"))
                .collect();
            padded.join("   ").trim_end().to_owned()
        })
        .collect()
}

/// What is different now, one line for each machine that changed.
pub(super) fn changes(before: &[Row], after: &[Row]) -> Vec<String> {
    after
        .iter()
        .filter_map(|row| {
            let old = before.iter().find(|old| old.machine == row.machine);
            let changed: Vec<String> = COLUMNS
                .iter()
                .zip(&row.cells)
                .enumerate()
                .filter(|(column, (_, cell))| old.is_none_or(|old| old.cells[*column] != **cell))
                .map(|(_, (title, cell))| format!("{title} {cell}"))
                .collect();
            (!changed.is_empty()).then(|| format!("{}: {}", row.machine, changed.join(", ")))
        })
        .collect()
}

fn reachability(machine: &Machine) -> String {
    if machine.is_discoverable() {
        return "connected".to_owned();
    }
    let conditions = machine.status.as_ref().map(|status| &status.conditions);
    conditions
        .and_then(|conditions| condition::find(conditions, machine_conditions::REACHABLE))
        .map_or("-", |reachable| reachable.reason.as_str())
        .to_owned()
}

/// The step that is under way, or how the last attempt ended.
fn configuration(snapshot: &Snapshot, machine: &str) -> String {
    let of_machine =
        |configuration: &&NixosConfiguration| configuration.spec.machine_ref.name == machine;
    let Some(configuration) = snapshot.configurations.iter().find(of_machine) else {
        return "-".to_owned();
    };
    let status = configuration.status.clone().unwrap_or_default();
    let removing = configuration.metadata.deletion_timestamp.is_some();
    let attempt = status.last_attempt.as_ref();
    if let Some(step) = attempt
        .filter(|attempt| attempt.finished_at.is_none())
        .and_then(|attempt| attempt.step)
    {
        let step = format!("{step:?}").to_lowercase();
        return if removing {
            format!("removing: {step}")
        } else {
            step
        };
    }
    if removing {
        return "removing".to_owned();
    }
    let ready = condition::find(&status.conditions, configuration_conditions::READY);
    let commit: String = status
        .applied_commit
        .unwrap_or_default()
        .chars()
        .take(7)
        .collect();
    match ready {
        Some(ready) if ready.status == "True" => format!("applied {commit}"),
        Some(ready) => ready.reason.clone(),
        None => "pending".to_owned(),
    }
}

fn node(snapshot: &Snapshot, machine: &Machine) -> String {
    let status = snapshot
        .cluster
        .as_ref()
        .and_then(|cluster| cluster.status.as_ref());
    let is_ready = status
        .map(|status| [&status.control_plane, &status.data_plane])
        .into_iter()
        .flatten()
        .flatten()
        .any(|plane| plane.ready_machines.contains(&machine.name_any()));
    // A cluster that is being deleted still says what was true before a machine was freed.
    let is_claimed = machine.label(labels::ROLE).is_some();
    if is_ready && is_claimed { "ready" } else { "-" }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn object<T: serde::de::DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).unwrap()
    }

    fn machine(name: &str, labels: &Value, status: &Value) -> Machine {
        object(json!({
            "apiVersion": "nio.homystack.com/v1alpha1", "kind": "Machine",
            "metadata": {"name": name, "labels": labels},
            "spec": {"ipAddress": "10.0.0.1"}, "status": status,
        }))
    }

    fn configuration(machine: &str, status: &Value) -> NixosConfiguration {
        object(json!({
            "apiVersion": "nio.homystack.com/v1alpha1", "kind": "NixosConfiguration",
            "metadata": {"name": format!("home-{machine}")},
            "spec": {"gitRepo": "https://a/b", "flake": "#x", "machineRef": {"name": machine}},
            "status": status,
        }))
    }

    fn cells(snapshot: &Snapshot) -> Vec<String> {
        rows(snapshot)[0].cells.to_vec()
    }

    #[test]
    fn a_machine_that_nobody_wants_is_free() {
        let machines = vec![machine("a", &json!({}), &json!({"discoverable": true}))];
        let snapshot = Snapshot {
            machines,
            ..Snapshot::default()
        };
        assert_eq!(cells(&snapshot), ["connected", "free", "-", "-"]);
    }

    #[test]
    fn a_machine_that_is_not_reached_says_why() {
        let condition = json!({"type": "Reachable", "status": "False", "message": "",
            "reason": "AuthenticationFailed", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let machines = vec![machine(
            "a",
            &json!({}),
            &json!({"conditions": [condition]}),
        )];
        let snapshot = Snapshot {
            machines,
            ..Snapshot::default()
        };
        assert_eq!(cells(&snapshot)[0], "AuthenticationFailed");
    }

    #[test]
    fn a_step_that_is_under_way_is_shown_before_the_last_result() {
        let claimed = json!({"nico.homystack.com/role": "worker"});
        let ready = json!({"type": "Ready", "status": "True", "reason": "Applied", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let mut status = json!({"appliedCommit": "0123456789", "conditions": [ready]});
        let mut snapshot = Snapshot {
            machines: vec![machine("a", &claimed, &json!({"discoverable": true}))],
            configurations: vec![configuration("a", &status)],
            cluster: None,
        };
        assert_eq!(
            cells(&snapshot),
            ["connected", "worker", "applied 0123456", "-"]
        );
        status["lastAttempt"] = json!({"step": "Copy"});
        snapshot.configurations = vec![configuration("a", &status)];
        assert_eq!(cells(&snapshot)[2], "copy");
    }

    #[test]
    fn only_what_changed_is_told() {
        let row = |machine: &str, ssh: &str| Row {
            machine: machine.to_owned(),
            cells: [ssh, "free", "-", "-"].map(str::to_owned),
        };
        let before = [row("a", "-"), row("b", "-")];
        let after = [row("a", "connected"), row("b", "-")];
        assert_eq!(changes(&before, &after), ["a: ssh connected"]);
        assert_eq!(changes(&after, &after), Vec::<String>::new());
    }

    #[test]
    fn columns_line_up() {
        let rows = [Row {
            machine: "cp-01".to_owned(),
            cells: ["connected", "control-plane", "build", "-"].map(str::to_owned),
        }];
        assert_eq!(
            table(&rows),
            [
                "MACHINE   SSH         ROLE            CONFIGURATION   NODE",
                "cp-01     connected   control-plane   build           -",
            ]
        );
    }
}
