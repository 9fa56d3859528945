//! `nico check`: a GitOps repository, before it is merged.

mod output;

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use clap::{Args, Subcommand, ValueEnum};
use jiff::civil::Date;
use jiff::{ToSpan, Zoned};
use nico_gitops::baseline::Baseline;
use nico_gitops::config::{self, Config, matching_rules, minor_version};
use nico_gitops::graph::Graph;
use nico_gitops::presets::{Intervals, Preset};
use nico_gitops::report::{self, Report};
use nico_gitops::rules::Rule;
use nico_gitops::{Repository, Severity, load, render, rules, schema};

use output::{Format, GraphFormat};

/// The exit code for what is neither right nor wrong.
pub(crate) const COULD_NOT_CHECK: u8 = 3;

/// How long a finding may stay in a baseline, where nobody says it.
const BASELINE_DAYS: i32 = 90;

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    question: Option<Question>,
    /// The repository's root.
    #[arg(default_value = ".")]
    path: PathBuf,
    /// How findings are written.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// The least severity that makes the command fail.
    #[arg(long, value_enum, default_value_t = Threshold::Warning, value_name = "SEVERITY")]
    fail_on: Threshold,
    /// A folder of JSON schemas, named as kubeconform names them: for kinds whose definition is not in the
    /// repository.
    #[arg(long, value_name = "DIR")]
    schemas: Option<PathBuf>,
    /// Render the charts that are in the repository, with the `helm` on the path, and check what they make.
    #[arg(long)]
    helm: bool,
    /// Look for these rules alone, as in `FLX*,HR001`.
    #[arg(long, value_name = "GLOB", value_delimiter = ',')]
    rules: Vec<String>,
    /// Check what an older script checked.
    #[arg(long, value_enum, value_name = "NAME", conflicts_with = "rules")]
    preset: Option<PresetName>,
    /// Silence the findings in this file, until their last day.
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Write the findings into this file, instead of reporting them. Those of `--baseline` keep their
    /// reason and day.
    #[arg(long, value_name = "FILE", requires = "reason")]
    write_baseline: Option<PathBuf>,
    /// Why the findings in the written baseline stay.
    #[arg(long, value_name = "TEXT", requires = "write_baseline")]
    reason: Option<String>,
    /// The last day of the findings in the written baseline; 90 days from now if not given.
    #[arg(long, value_name = "DATE", requires = "write_baseline")]
    expires: Option<Date>,
    /// The version of Kubernetes that the objects must fit, as in 1.33.
    #[arg(long, value_name = "VERSION", value_parser = kubernetes_version)]
    kubernetes_version: Option<u32>,
    /// The version of Flux that the objects must fit, as in 2.6.
    #[arg(long, value_name = "VERSION", value_parser = flux_version)]
    flux_version: Option<u32>,
}

#[derive(Subcommand)]
enum Question {
    /// Explain a rule: what it wants, why, and how to put a finding right.
    Explain {
        /// The rule's identifier, as in FLX023.
        rule: String,
    },
    /// List all rules.
    Rules,
    /// Show the Kustomizations: which makes which, and which waits for which.
    Graph {
        /// The repository's root.
        #[arg(default_value = ".")]
        path: PathBuf,
        /// How the graph is written.
        #[arg(long, value_enum, default_value_t = GraphFormat::Text)]
        format: GraphFormat,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Threshold {
    Error,
    Warning,
    Info,
}

#[derive(Clone, Copy, ValueEnum)]
enum PresetName {
    /// How Kustomizations and HelmReleases are set up: six checks, and how often intervals occur.
    CheckFluxConfig,
    /// Whether each file is what an API server takes.
    ValidateManifests,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let code = match &arguments.question {
        Some(Question::Explain { rule }) => explain(rule),
        Some(Question::Rules) => list_rules(),
        Some(Question::Graph { path, format }) => show_graph(path, *format),
        None => check(arguments),
    };
    match code {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            super::report(&error);
            ExitCode::from(COULD_NOT_CHECK)
        }
    }
}

fn check(arguments: &Arguments) -> anyhow::Result<u8> {
    let mut config = read_config(&arguments.path)?;
    let settings = &mut config.settings;
    settings.kubernetes = arguments.kubernetes_version.or(settings.kubernetes);
    settings.flux = arguments.flux_version.or(settings.flux);
    let preset = arguments.preset.map(PresetName::preset);
    let rules = asked_for(&arguments.rules, preset)?;
    let baseline = arguments.baseline.as_deref().map(read_baseline);
    let baseline = baseline.transpose()?;

    let repository = load_some(&arguments.path)?;
    let clusters = Graph::clusters(&repository);
    if let Some(folder) = &arguments.schemas {
        let settings = &mut config.settings;
        settings.schemas = schema::directory::read(folder, &clusters, settings.kubernetes)?;
    }
    let mut findings = rules::check_for(&rules, &repository, &clusters, &config.settings);
    findings.extend(preset.map_or(Vec::new(), |preset| preset.findings(&repository, &clusters)));
    let (rendering, rendered) = render::check(
        &arguments.path,
        &repository,
        &clusters,
        &config.settings,
        arguments.helm,
    )?;
    findings.extend(rendered);
    let findings = config.apply(findings, &repository.sources);
    let mut report = Report::new(&repository, findings)
        .with_clusters(&clusters)
        .with_schemas(&clusters, &config.settings)
        .with_rendering(rendering)
        .with_rules(rules);

    if let Some(file) = &arguments.write_baseline {
        write_baseline(arguments, file, baseline.unwrap_or_default(), &report)?;
        return Ok(0);
    }
    if let Some(baseline) = baseline {
        report.apply(baseline, Zoned::now().date());
    }
    let fail_on = arguments.fail_on.severity();
    let mut text = arguments.format.write(&report, fail_on);
    if preset == Some(Preset::CheckFluxConfig) && arguments.format.is_for_people() {
        text += &Intervals::of(&repository, &clusters).to_string();
    }
    print(&text)?;
    Ok(report::exit_code(report.worst(), fail_on))
}

fn asked_for(patterns: &[String], preset: Option<Preset>) -> anyhow::Result<Vec<&'static Rule>> {
    if let Some(preset) = preset {
        return Ok(preset.rules()?);
    }
    if patterns.is_empty() {
        return Ok(rules::all());
    }
    let mut rules = Vec::new();
    for pattern in patterns {
        rules.extend(matching_rules("--rules", pattern.trim())?);
    }
    rules.sort_by_key(|rule| rule.id);
    rules.dedup_by_key(|rule| rule.id);
    Ok(rules)
}

/// A folder without YAML is a wrong folder, and not one without mistakes.
pub(crate) fn load_some(path: &Path) -> anyhow::Result<Repository> {
    let repository = load::disk::load(path)?;
    ensure!(
        !repository.sources.is_empty(),
        "there is no YAML file below {}: name the root of a repository",
        path.display()
    );
    Ok(repository)
}

fn read_config(root: &Path) -> anyhow::Result<Config> {
    let path = root.join(config::FILE);
    match fs::read_to_string(&path) {
        Ok(text) => Config::parse(&text).with_context(|| format!("cannot use {}", path.display())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Config::default()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn read_baseline(path: &Path) -> anyhow::Result<Baseline> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Baseline::parse(&text).with_context(|| format!("cannot use {}", path.display()))
}

#[expect(clippy::print_stderr, reason = "the answer of a command-line program")]
fn write_baseline(
    arguments: &Arguments,
    file: &Path,
    known: Baseline,
    report: &Report<'_>,
) -> anyhow::Result<()> {
    let reason = arguments.reason.as_deref().unwrap_or_default().trim();
    if reason.is_empty() {
        bail!("--reason is empty: say why the findings stay");
    }
    let today = Zoned::now().date();
    let expires = arguments.expires.unwrap_or(today + BASELINE_DAYS.days());
    ensure!(expires >= today, "--expires {expires} is over already");
    let baseline = Baseline::of(&report.findings, report.sources, known, reason, expires);
    fs::write(file, baseline.to_yaml())
        .with_context(|| format!("cannot write {}", file.display()))?;
    let count = baseline.findings.len();
    eprintln!("{count} findings written into {}", file.display());
    Ok(())
}

fn show_graph(path: &Path, format: GraphFormat) -> anyhow::Result<u8> {
    print(&format.write(&Graph::clusters(&load_some(path)?)))?;
    Ok(0)
}

fn explain(id: &str) -> anyhow::Result<u8> {
    let rule = rules::find(id)
        .with_context(|| format!("there is no rule {id}; `nico check rules` lists them"))?;
    print(&format!(
        "{} ({}): {}\n\nOtherwise {}.\nTo put it right: {}.\n\n{}",
        rule.id, rule.severity, rule.title, rule.consequence, rule.fix, rule.page
    ))?;
    Ok(0)
}

fn list_rules() -> anyhow::Result<u8> {
    let lines = rules::all().into_iter().map(|rule| {
        let (id, severity, title) = (rule.id, rule.severity.word(), rule.title);
        format!("{id:<8}{severity:<9}{title}\n")
    });
    print(&lines.collect::<String>())?;
    Ok(0)
}

pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut output = io::stdout().lock();
    output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush())
        .context("cannot write the output")
}

fn kubernetes_version(text: &str) -> Result<u32, config::Error> {
    minor_version("--kubernetes-version", text, 1)
}

fn flux_version(text: &str) -> Result<u32, config::Error> {
    minor_version("--flux-version", text, 2)
}

impl PresetName {
    fn preset(self) -> Preset {
        match self {
            Self::CheckFluxConfig => Preset::CheckFluxConfig,
            Self::ValidateManifests => Preset::ValidateManifests,
        }
    }
}

impl Threshold {
    fn severity(self) -> Severity {
        match self {
            Self::Error => Severity::Error,
            Self::Warning => Severity::Warning,
            Self::Info => Severity::Info,
        }
    }
}
