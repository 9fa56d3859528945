//! `nico health`: is the cluster all right, and if not, what is the one thing to fix first?

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, ValueEnum};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use nico_health::collect::{Scope, Wanted, collect};
use nico_health::diagnose::diagnose;
use nico_health::issue::{Layer, Severity};
use nico_health::report::{Report, changes, prometheus, redact, text};
use nico_health::thresholds::Thresholds;
use nico_terminal::tree::Line;

use crate::check::COULD_NOT_CHECK;
use crate::connection::Connection;
use crate::duration::duration;
use crate::screen::Screen;
use crate::watch::{self, Telling, Watched};

/// Where thresholds are looked for when nothing else is said.
const THRESHOLDS: &str = ".nico.yaml";

/// Say whether a cluster is all right, and if not, what to fix first.
///
/// Any Kubernetes cluster: its API server, Nodes, network, storage, Flux, platform, workloads, and
/// NICO's objects. Reads only. What an issue explains is folded into it, and the first issue named
/// is the one to look at first. Exit codes: 0 healthy, 1 warnings, 2 critical, 3 could not check
/// all. With --watch: 0 when it is ended by q or Ctrl-C.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    connection: Connection,
    /// Look at this layer only, and at what explains its issues; can be given more than once.
    #[arg(long, value_name = "LAYER", value_parser = layer)]
    layer: Vec<Layer>,
    /// Look closer: ask kubelets how full volumes are, and read the logs of tunnels.
    ///
    /// One request more for each Node that has volumes, with the right to get `nodes/proxy`, and one
    /// for each Pod of a tunnel, with the right to get `pods/log`.
    #[arg(long)]
    closer: bool,
    /// How the answer is written.
    #[arg(long, value_enum, default_value = "text", value_name = "FORMAT")]
    format: Format,
    /// The least severity that makes the command fail. What could not be checked always does.
    #[arg(long, value_enum, default_value = "warning", value_name = "SEVERITY")]
    fail_on: FailOn,
    /// Go on until q or Ctrl-C: drawn again in place on a terminal, else a line for each change,
    /// with `--format json` a report on one line each time.
    #[arg(long, short)]
    watch: bool,
    /// How often the cluster is read with --watch.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration, requires = "watch")]
    interval: Duration,
    #[command(flatten)]
    looking: Looking,
}

/// How it is looked at a cluster.
#[derive(Args)]
pub(crate) struct Looking {
    /// Leave addresses and host names out.
    #[arg(long)]
    redact: bool,
    /// File with thresholds, in its section `health`; by default `.nico.yaml` where it is there.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How long the API server may be silent before it answers, or in the middle of an answer.
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = duration)]
    pub(crate) timeout: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For programs: one object.
    Json,
    /// For Prometheus: its text format.
    Prometheus,
}

#[derive(Clone, Copy, ValueEnum)]
enum FailOn {
    Warning,
    Critical,
}

/// What is asked, and how the answer is judged.
struct Question {
    client: Client,
    scope: Scope,
    layers: Vec<Layer>,
    thresholds: Thresholds,
    rewrite: fn(&str) -> String,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let answer = tokio::runtime::Runtime::new()
        .context("cannot start")
        .and_then(|runtime| runtime.block_on(answer(arguments)));
    match answer {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            super::report(&error);
            ExitCode::from(COULD_NOT_CHECK)
        }
    }
}

async fn answer(arguments: &Arguments) -> anyhow::Result<u8> {
    let thresholds = arguments.looking.thresholds()?;
    let (client, namespace) = arguments.connection.open_everywhere().await?;
    let question = Question {
        client,
        scope: Scope {
            namespace,
            wanted: Wanted::Layers(arguments.layer.clone()),
            is_closer: arguments.closer,
            timeout: arguments.looking.timeout,
        },
        layers: arguments.layer.clone(),
        thresholds,
        rewrite: arguments.looking.rewrite(),
    };
    if arguments.watch {
        let telling = arguments.format.telling();
        watch::follow(&question, arguments.interval, telling).await?;
        return Ok(0);
    }
    let report = question.ask().await;
    let screen = Screen::new();
    match arguments.format {
        Format::Text => screen.print(&text::of(&report, screen.width()))?,
        Format::Json => screen.say(&serde_json::to_string_pretty(&report)?)?,
        Format::Prometheus => screen.say(prometheus::of(&report).trim_end())?,
    }
    Ok(report.exit_code(arguments.fail_on.severity()))
}

impl Watched for Question {
    type Report = Report;

    async fn look(&self) -> Report {
        self.ask().await
    }

    fn time(report: &Report) -> Timestamp {
        report.timestamp
    }

    fn changes(before: Option<&Report>, after: &Report) -> Vec<String> {
        changes::between(before, after)
    }

    fn lines(report: &Report, now: &str, news: &[String], width: usize) -> Vec<Line> {
        text::of_watch(report, now, news, width)
    }
}

impl Question {
    async fn ask(&self) -> Report {
        let world = collect(&self.client, &self.scope).await.world;
        let now = Timestamp::now();
        let mut report = diagnose(&world, &self.layers, &self.thresholds, now);
        redact::rewrite(&mut report, self.rewrite);
        report
    }
}

impl Looking {
    /// What is done to text that comes from the cluster.
    pub(crate) fn rewrite(&self) -> fn(&str) -> String {
        match self.redact {
            true => redact::without_addresses,
            false => redact::without_credentials,
        }
    }

    /// The thresholds of the file.
    pub(crate) fn thresholds(&self) -> anyhow::Result<Thresholds> {
        let path = self.config.as_deref().unwrap_or(Path::new(THRESHOLDS));
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound && self.config.is_none() => {
                return Ok(Thresholds::default());
            }
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        let thresholds = Thresholds::of_file(&text);
        thresholds.with_context(|| format!("cannot use {}", path.display()))
    }
}

impl Format {
    /// How a report is told with --watch.
    fn telling(self) -> Telling<Report> {
        match self {
            Self::Text => Telling::ForPeople,
            Self::Json => Telling::ForPrograms(|report| Ok(serde_json::to_string(report)?)),
            Self::Prometheus => {
                Telling::ForPrograms(|report| Ok(prometheus::of(report).trim_end().to_owned()))
            }
        }
    }
}

impl FailOn {
    fn severity(self) -> Severity {
        match self {
            Self::Warning => Severity::Warning,
            Self::Critical => Severity::Critical,
        }
    }
}

fn layer(text: &str) -> Result<Layer, String> {
    let mut layers = Layer::ALL.into_iter();
    layers.find(|layer| layer.name() == text).ok_or_else(|| {
        let names: Vec<&str> = Layer::ALL.into_iter().map(Layer::name).collect();
        format!("there are {}", names.join(", "))
    })
}
