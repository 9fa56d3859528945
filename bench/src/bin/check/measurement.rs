//! One check in this process, and what it took.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use nico_bench::process;
use nico_gitops::graph::Graph;
use nico_gitops::report::{self, Report};
use nico_gitops::{Settings, load, rules};
use serde::{Deserialize, Serialize};

/// What a check took.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Measurement {
    pub(crate) time: Duration,
    pub(crate) processor_time: Duration,
    pub(crate) memory_bytes: u64,
    pub(crate) files: usize,
    pub(crate) findings: usize,
}

impl Measurement {
    /// Checks a tree.
    pub(crate) fn take(tree: &Path) -> Result<Self> {
        let started = Instant::now();
        let repository = load::disk::load(tree)?;
        let clusters = Graph::clusters(&repository);
        let findings = rules::check(&repository, &clusters);
        let report = Report::new(&repository, findings)
            .with_clusters(&clusters)
            .with_schemas(&clusters, &Settings::default());
        let text = report::text(&report, false);
        let time = started.elapsed();
        ensure!(!text.is_empty(), "the report is empty");
        Ok(Self {
            time,
            processor_time: process::own_processor_time()?,
            memory_bytes: process::highest_memory(std::process::id())?,
            files: repository.sources.len(),
            findings: report.findings.len(),
        })
    }
}
