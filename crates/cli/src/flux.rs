//! `nico flux`: how the objects of Flux are, why one is not, and asking for it again.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use nico_health::collect::{Scope, Wanted, collect};
use nico_health::diagnose::diagnose;
use nico_health::flux::status::{self, FluxReport};
use nico_health::flux::{reconcile, why};
use nico_health::issue::{Layer, ObjectRef};
use nico_health::report::{redact, text};
use nico_terminal::tree::Line;

use crate::ask::is_meant;
use crate::check::COULD_NOT_CHECK;
use crate::connection::{Connection, Output};
use crate::duration::duration;
use crate::health::Looking;
use crate::screen::Screen;
use crate::watch::{self, Telling, Watched};

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show every source, Kustomization and HelmRelease, and how it is.
    ///
    /// Exit codes: 0 all ready or suspended, 1 some under way, 2 some fail, 3 not all could be read.
    Status(StatusArguments),
    /// Show the same, again and again, until q or Ctrl-C.
    Watch(WatchArguments),
    /// Show the way from an object's source to the machine it runs on, and the link that fails.
    ///
    /// Exit codes: 0 no link fails, 2 one does, 3 one could not be read.
    Why(WhyArguments),
    /// Ask Flux to look at an object now, and wait until it has. The only command here that writes.
    ///
    /// Exit codes: 0 done, 2 it failed or took too long, 3 could not be asked.
    Reconcile(ReconcileArguments),
}

#[derive(Args)]
struct StatusArguments {
    #[command(flatten)]
    connection: Connection,
    /// Leave out what is ready or suspended.
    #[arg(long)]
    not_ready: bool,
    /// How the answer is written.
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text")]
    format: Output,
    #[command(flatten)]
    looking: Looking,
}

#[derive(Args)]
struct WatchArguments {
    #[command(flatten)]
    status: StatusArguments,
    /// How often Flux is looked at.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    interval: Duration,
}

#[derive(Args)]
struct WhyArguments {
    /// Kind of the object, such as `kustomization`, `hr`, `deployment` or `pod`.
    kind: String,
    /// The object, as `NAMESPACE/NAME`; a Node has a name alone.
    #[arg(value_name = "NS/NAME")]
    object: String,
    #[command(flatten)]
    connection: Connection,
    /// How the answer is written.
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text")]
    format: Output,
    #[command(flatten)]
    looking: Looking,
}

#[derive(Args)]
struct ReconcileArguments {
    /// Kind of the object, such as `kustomization`, `hr` or `gitrepository`.
    kind: String,
    /// The object, as `NAMESPACE/NAME`.
    #[arg(value_name = "NS/NAME")]
    object: String,
    #[command(flatten)]
    connection: Connection,
    /// Ask for its sources first.
    #[arg(long)]
    with_source: bool,
    /// Do not ask whether that is meant.
    #[arg(long, short)]
    yes: bool,
    /// How long each object may take.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    wait: Duration,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let answer = tokio::runtime::Runtime::new()
        .context("cannot start")
        .and_then(|runtime| runtime.block_on(answer(&arguments.command)));
    match answer {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            super::report(&error);
            ExitCode::from(COULD_NOT_CHECK)
        }
    }
}

async fn answer(command: &Command) -> anyhow::Result<u8> {
    match command {
        Command::Status(arguments) => once(arguments).await,
        Command::Watch(arguments) => follow(arguments).await,
        Command::Why(arguments) => explain(arguments).await,
        Command::Reconcile(arguments) => ask_for(arguments).await,
    }
}

async fn once(arguments: &StatusArguments) -> anyhow::Result<u8> {
    let (client, namespace) = arguments.connection.open_everywhere().await?;
    let report = look(&client, namespace, arguments).await;
    let screen = Screen::new();
    match arguments.format {
        Output::Text => screen.print(&report.text(screen.width()))?,
        Output::Json => screen.say(&serde_json::to_string_pretty(&report)?)?,
    }
    Ok(report.exit_code())
}

/// What is asked about Flux, again and again.
struct Question<'a> {
    client: Client,
    namespace: Option<String>,
    arguments: &'a StatusArguments,
}

async fn follow(arguments: &WatchArguments) -> anyhow::Result<u8> {
    let (client, namespace) = arguments.status.connection.open_everywhere().await?;
    let question = Question {
        client,
        namespace,
        arguments: &arguments.status,
    };
    let telling = match arguments.status.format {
        Output::Text => Telling::ForPeople,
        Output::Json => Telling::ForPrograms(|report| Ok(serde_json::to_string(report)?)),
    };
    watch::follow(&question, arguments.interval, telling).await?;
    Ok(0)
}

impl Watched for Question<'_> {
    type Report = FluxReport;

    async fn look(&self) -> FluxReport {
        look(&self.client, self.namespace.clone(), self.arguments).await
    }

    fn time(report: &FluxReport) -> Timestamp {
        report.timestamp
    }

    fn changes(before: Option<&FluxReport>, after: &FluxReport) -> Vec<String> {
        status::changes(before, after)
    }

    fn lines(report: &FluxReport, now: &str, news: &[String], width: usize) -> Vec<Line> {
        let mut lines = text::news(now, news, width);
        lines.extend(report.text(width));
        lines
    }
}

async fn look(
    client: &Client,
    namespace: Option<String>,
    arguments: &StatusArguments,
) -> FluxReport {
    let scope = Scope {
        namespace,
        wanted: Wanted::Alone(Layer::Flux),
        is_closer: false,
        timeout: arguments.looking.timeout,
    };
    let collected = collect(client, &scope).await;
    let mut report = status::status(&collected.world, Timestamp::now());
    if arguments.not_ready {
        report.only_not_ready();
    }
    let rewrite = arguments.looking.rewrite();
    for row in &mut report.objects {
        row.message = rewrite(&row.message);
    }
    report
}

async fn explain(arguments: &WhyArguments) -> anyhow::Result<u8> {
    let object = object(&arguments.kind, &arguments.object)?;
    let thresholds = arguments.looking.thresholds()?;
    let (client, _) = arguments.connection.open_everywhere().await?;
    let scope = Scope {
        namespace: None,
        wanted: Wanted::Layers(vec![]),
        is_closer: false,
        timeout: arguments.looking.timeout,
    };
    let collected = collect(&client, &scope).await;
    let mut report = diagnose(&collected.world, &[], &thresholds, Timestamp::now());
    redact::rewrite(&mut report, arguments.looking.rewrite());
    let Some(mut chain) = why::why(&collected.world, &report, &thresholds, &object) else {
        let gaps = report.layers.iter().flat_map(|layer| &layer.gaps);
        let of_kind = format!("{} objects", object.kind);
        let gap = gaps
            .filter(|gap| gap.what == of_kind)
            .map(|gap| gap.why.clone())
            .next();
        bail!(
            "there is no {object}{}",
            gap.map_or(String::new(), |why| format!(": {why}"))
        );
    };
    for link in &mut chain.links {
        link.message = arguments.looking.rewrite()(&link.message);
    }
    let screen = Screen::new();
    match arguments.format {
        Output::Text => screen.print(&chain.text(report.timestamp, screen.width()))?,
        Output::Json => screen.say(&serde_json::to_string_pretty(&chain)?)?,
    }
    Ok(chain.exit_code())
}

async fn ask_for(arguments: &ReconcileArguments) -> anyhow::Result<u8> {
    let object = object(&arguments.kind, &arguments.object)?;
    let (client, _) = arguments.connection.open_everywhere().await?;
    let steps = reconcile::plan(&client, &object, arguments.with_source).await?;
    let screen = Screen::new();
    for step in &steps {
        screen.say(&format!(
            "will annotate {step} with {}",
            reconcile::REQUESTED_AT
        ))?;
    }
    if !arguments.yes && !is_meant("Go on?")? {
        bail!("nothing was done");
    }
    for step in &steps {
        match reconcile::reconcile(&client, step, Timestamp::now(), arguments.wait).await {
            Ok(done) => screen.say(&format!(
                "✓ {}: {}",
                done.object,
                redact::without_credentials(&done.message)
            ))?,
            Err(
                error @ (reconcile::ReconcileError::Failed { .. }
                | reconcile::ReconcileError::TimedOut { .. }),
            ) => {
                screen.say(&format!(
                    "✗ {}",
                    redact::without_credentials(&error.to_string())
                ))?;
                return Ok(2);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(0)
}

/// An object as a person names it.
fn object(kind: &str, path: &str) -> anyhow::Result<ObjectRef> {
    const KINDS: &[(&str, &[&str])] = &[
        (
            "GitRepository",
            &["gitrepository", "gitrepositories", "gitrepo"],
        ),
        (
            "OCIRepository",
            &["ocirepository", "ocirepositories", "ocirepo"],
        ),
        (
            "HelmRepository",
            &["helmrepository", "helmrepositories", "helmrepo"],
        ),
        ("HelmChart", &["helmchart", "helmcharts", "hc"]),
        ("Bucket", &["bucket", "buckets"]),
        ("Kustomization", &["kustomization", "kustomizations", "ks"]),
        ("HelmRelease", &["helmrelease", "helmreleases", "hr"]),
        ("Deployment", &["deployment", "deployments", "deploy"]),
        ("StatefulSet", &["statefulset", "statefulsets", "sts"]),
        ("DaemonSet", &["daemonset", "daemonsets", "ds"]),
        ("Job", &["job", "jobs"]),
        ("Pod", &["pod", "pods", "po"]),
        ("Node", &["node", "nodes", "no"]),
        (
            "NixosConfiguration",
            &["nixosconfiguration", "nixosconfigurations", "nixconf"],
        ),
        ("Machine", &["machine", "machines", "mach"]),
    ];
    let wanted = kind.to_lowercase();
    let found = KINDS
        .iter()
        .find(|(_, names)| names.contains(&wanted.as_str()));
    let Some((kind, _)) = found else {
        let all: Vec<&str> = KINDS.iter().map(|(kind, _)| *kind).collect();
        bail!(
            "{kind} is no kind that can be asked about; there are {}",
            all.join(", ")
        );
    };
    match (path.split_once('/'), *kind) {
        (None, "Node") => Ok(ObjectRef::new(*kind, "", path)),
        (Some((namespace, name)), _) if !namespace.is_empty() && !name.is_empty() => {
            Ok(ObjectRef::new(*kind, namespace, name))
        }
        _ => bail!("{path:?} does not name an object; write NAMESPACE/NAME"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_named_as_kubectl_and_flux_name_them() {
        for (kind, path, expected) in [
            ("ks", "flux-system/apps", "Kustomization flux-system/apps"),
            ("HelmRelease", "apps/web", "HelmRelease apps/web"),
            ("pods", "apps/web-0", "Pod apps/web-0"),
            ("node", "node-1", "Node node-1"),
        ] {
            assert_eq!(
                object(kind, path).expect("it is understood").to_string(),
                expected
            );
        }
        for (kind, path, word) in [
            ("secret", "a/b", "secret"),
            ("ks", "apps", "apps"),
            ("ks", "/apps", "/apps"),
        ] {
            let error = object(kind, path).expect_err("it is refused").to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
