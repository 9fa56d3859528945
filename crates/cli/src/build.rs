//! `nico build`: the objects of a kustomization, or those that a Flux Kustomization applies.

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use clap::Args;
use nico_gitops::build::{self, Build};
use nico_gitops::graph::Graph;
use nico_gitops::report::{self, Report};
use nico_gitops::{Repository, load};

use crate::check::{COULD_NOT_CHECK, load_some, print};

#[derive(Args)]
pub(crate) struct Arguments {
    /// The folder with the kustomization, or with `--kustomization` the repository's root.
    #[arg(default_value = ".")]
    path: PathBuf,
    /// The repository's root, outside of which nothing is read. Without it: the nearest folder above
    /// with a `.git`; else the current folder, where it holds the kustomization; else the
    /// kustomization's own folder.
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Print what this Flux Kustomization applies. `PATH` is then the repository's root.
    #[arg(long, value_name = "NAMESPACE/NAME", conflicts_with = "root")]
    kustomization: Option<String>,
    /// The folder in which the cluster of the Kustomization begins, where several clusters have it.
    #[arg(long, value_name = "DIR", requires = "kustomization")]
    cluster: Option<String>,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let code = match &arguments.kustomization {
        Some(name) => print_kustomization(&arguments.path, name, arguments.cluster.as_deref()),
        None => print_folder(arguments),
    };
    match code {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            super::report(&error);
            ExitCode::from(COULD_NOT_CHECK)
        }
    }
}

fn print_kustomization(root: &Path, name: &str, cluster: Option<&str>) -> anyhow::Result<u8> {
    let (namespace, name) = name
        .split_once('/')
        .context("--kustomization takes NAMESPACE/NAME, as in flux-system/apps")?;
    let repository = load_some(root)?;
    let clusters = Graph::clusters(&repository);
    let key = (namespace.to_owned(), name.to_owned());
    let homes = clusters.iter().filter_map(|graph| graph.home.as_deref());
    let homes = homes.collect::<Vec<_>>().join(", ");
    let is_meant = |graph: &&Graph| cluster.is_none() || graph.home.as_deref() == cluster;
    ensure!(
        clusters.iter().any(|graph| is_meant(&graph)),
        "no cluster begins in that folder; they begin in: {homes}"
    );
    let meant = clusters.iter().filter(is_meant);
    let mut found = meant.filter_map(|graph| graph.kustomizations.get(&key));
    let kustomization = found.next().with_context(|| {
        format!(
            "there is no Kustomization {namespace}/{name}; `nico check graph` shows those that are"
        )
    })?;
    if found.next().is_some() {
        bail!("several clusters have this Kustomization: set --cluster to one of {homes}");
    }
    if !kustomization.is_here {
        bail!("Kustomization {namespace}/{name} comes from another repository");
    }
    let built = build::build_flux(&repository, &kustomization.object, &kustomization.variables);
    print_objects(&repository, built)
}

fn print_folder(arguments: &Arguments) -> anyhow::Result<u8> {
    let path = canonical(&arguments.path)?;
    let root = match &arguments.root {
        Some(root) => canonical(root)?,
        None => root_of(&path)?,
    };
    let Ok(folder) = path.strip_prefix(&root) else {
        bail!("{} is not below {}", path.display(), root.display());
    };
    let folder = folder.to_str().context("the path is not UTF-8")?;
    let repository = load::disk::load(&root)?;
    let folder = if folder.is_empty() { "." } else { folder };
    let built = build::build(&repository, folder)
        .with_context(|| format!("{} holds no kustomization", arguments.path.display()))?;
    print_objects(&repository, built)
}

#[expect(clippy::print_stderr, reason = "standard output is for the objects")]
fn print_objects(repository: &Repository, built: Build) -> anyhow::Result<u8> {
    let mut findings = built.findings;
    let own = repository.findings.iter();
    findings.extend(
        own.filter(|finding| built.files.contains(&finding.location.file))
            .cloned(),
    );
    if findings.is_empty() {
        print(&build::yaml(&built.objects))?;
        return Ok(0);
    }
    eprint!(
        "{}",
        report::text(&Report::new(repository, findings), false)
    );
    eprintln!("nothing is printed, for it would not be complete");
    Ok(2)
}

fn canonical(path: &Path) -> anyhow::Result<PathBuf> {
    path.canonicalize()
        .with_context(|| format!("cannot read {}", path.display()))
}

fn root_of(path: &Path) -> anyhow::Result<PathBuf> {
    if let Some(root) = path.ancestors().find(|folder| folder.join(".git").exists()) {
        return Ok(root.to_owned());
    }
    let current = env::current_dir().context("cannot find the current folder")?;
    let holds_it = path.starts_with(&current);
    Ok(if holds_it { current } else { path.to_owned() })
}
