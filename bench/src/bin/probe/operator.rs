//! The operator that is measured.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nico_bench::metrics::{self, sum};
use nico_bench::process;
use tokio::process::{Child, Command};

use crate::world::World;

/// How long to wait for what must come.
const PATIENCE: Duration = Duration::from_secs(900);

/// Between two looks at the memory.
const LOOK: Duration = Duration::from_millis(500);

/// A running operator. Killed when dropped.
pub struct Operator {
    child: Child,
    metrics: u16,
    highest: f64,
}

impl Operator {
    /// Starts it and waits until it serves its metrics.
    pub async fn start(nico: &Path, world: &World, interval: Duration) -> anyhow::Result<Self> {
        let folder = world.folder();
        std::fs::create_dir_all(&folder)?;
        let metrics = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        let log = File::create(folder.join("log"))?;
        let child = Command::new(nico)
            .arg("operator")
            .env("KUBECONFIG", world.kubeconfig())
            .env("NIO_BASE_CONFIG_PATH", &folder)
            .env(
                "NIO_MACHINE_DISCOVERY_INTERVAL",
                format!("{}s", interval.as_secs()),
            )
            .env("METRICS_PORT", metrics.to_string())
            .env("HEALTH_CHECK_PORT", "0")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", nico.display()))?;
        let mut operator = Self {
            child,
            metrics,
            highest: 0.0,
        };
        let began = Instant::now();
        while operator.page().await.is_err() {
            ensure!(began.elapsed() < PATIENCE, "the operator does not start");
            operator.rest(LOOK).await?;
        }
        // It lists and watches by now.
        operator.rest(Duration::from_secs(5)).await?;
        Ok(operator)
    }

    /// Resident memory, in MB.
    pub fn memory(&self) -> anyhow::Result<f64> {
        Ok(process::resident_memory(self.pid()?)? as f64 / 1e6)
    }

    /// The highest resident memory that was seen, in MB.
    pub fn highest_memory(&self) -> f64 {
        self.highest
    }

    /// Processor time and number of probes so far.
    pub async fn usage(&self) -> anyhow::Result<(Duration, u64)> {
        let probes = sum(&self.page().await?, "nio_ssh_connections_total{");
        Ok((process::processor_time(self.pid()?)?, probes))
    }

    /// Waits until so many machines are discoverable.
    pub async fn wait_for_discoverable(&mut self, machines: usize) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let found = sum(&self.page().await?, "nio_machines_discoverable{");
            if found >= machines as u64 {
                return Ok(());
            }
            ensure!(
                began.elapsed() < PATIENCE,
                "only {found} of {machines} machines were found"
            );
            self.rest(LOOK).await?;
        }
    }

    /// Lets it work for so long, and looks at its memory.
    pub async fn rest(&mut self, time: Duration) -> anyhow::Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            tokio::time::sleep(LOOK.min(end.saturating_duration_since(Instant::now()))).await;
            self.highest = self.highest.max(self.memory()?);
        }
        Ok(())
    }

    fn pid(&self) -> anyhow::Result<u32> {
        self.child.id().context("the operator has ended")
    }

    async fn page(&self) -> anyhow::Result<String> {
        metrics::page(self.metrics).await
    }
}
