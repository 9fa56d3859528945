//! A report as Prometheus reads it, for the textfile collector of the node exporter or a gateway.

use std::fmt::Write;

use super::{Report, Status};

/// The report in the text format of Prometheus.
pub fn of(report: &Report) -> String {
    let mut text = String::new();
    let mut family = |name: &str, help: &str, samples: &[(String, f64)]| {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (labels, value) in samples {
            let _ = writeln!(text, "{name}{labels} {value}");
        }
    };
    let healthy = f64::from(u8::from(report.status == Status::Healthy));
    let whole = [(String::new(), healthy)];
    family(
        "nico_health_healthy",
        "1 when all was checked and nothing is wrong.",
        &whole,
    );
    let checked = f64::from(u8::from(report.summary.unknown == 0));
    family(
        "nico_health_checked",
        "1 when all could be checked.",
        &[(String::new(), checked)],
    );
    let seconds = report.timestamp.as_second() as f64;
    family(
        "nico_health_timestamp_seconds",
        "When the cluster was read.",
        &[(String::new(), seconds)],
    );
    let objects: Vec<(String, f64)> = report
        .layers
        .iter()
        .flat_map(|layer| {
            let sum = layer.summary;
            let counts = [
                ("healthy", sum.healthy),
                ("warning", sum.warnings),
                ("critical", sum.critical),
                ("unknown", sum.unknown),
            ];
            counts.map(|(status, count)| {
                let labels = format!("{{layer=\"{}\",status=\"{status}\"}}", layer.layer.name());
                (labels, count as f64)
            })
        })
        .collect();
    family(
        "nico_health_objects",
        "Objects by layer and status.",
        &objects,
    );
    let issues: Vec<(String, f64)> = report
        .roots()
        .map(|issue| {
            let labels = format!(
                "{{id=\"{}\",severity=\"{}\",layer=\"{}\",kind=\"{}\",namespace=\"{}\",name=\"{}\"}}",
                issue.id,
                issue.severity.word(),
                issue.layer.name(),
                escape(&issue.object.kind),
                escape(&issue.object.namespace),
                escape(&issue.object.name),
            );
            (labels, (issue.explains + 1) as f64)
        })
        .collect();
    family(
        "nico_health_issue",
        "Root causes; the value is the number of issues that one stands for.",
        &issues,
    );
    text
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}
