//! `nico reference`: the generated pages under `docs/reference/`.

mod commands;
mod reasons;
mod resources;
mod schemas;

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Folder that the pages are written into.
    #[arg(long, value_name = "DIR")]
    output_dir: PathBuf,
}

pub(crate) fn run(arguments: Arguments, root: &clap::Command) -> anyhow::Result<()> {
    let folder = arguments.output_dir;
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let pages = [
        ("commands.md", commands::page(root)),
        ("reasons.md", reasons::page()),
        ("resources.md", resources::page()?),
        ("rules.md", nico_gitops::rules::reference()),
    ];
    for (file, text) in pages.into_iter().chain(schemas::pages()?) {
        let path = folder.join(file);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Text that fits a cell of a table.
fn cell(text: &str) -> String {
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|")
}
