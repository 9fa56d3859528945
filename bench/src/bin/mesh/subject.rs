//! The process that is measured.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use nico_bench::metrics::{self, sum};
use nico_bench::process;
use tokio::process::{Child, Command};

use crate::world::{NETWORK, PASSWORD, USER, World};

/// How long to wait for what must come.
pub const PATIENCE: Duration = Duration::from_secs(600);
/// Between two looks at the memory.
const LOOK: Duration = Duration::from_millis(20);

/// A running `nico mesh run`. Killed when dropped.
pub struct Subject {
    child: Child,
    metrics: u16,
    started: Instant,
    highest: f64,
    log: PathBuf,
}

/// Requests to Netmaker, as Netmaker counted them.
pub struct Requests {
    pub logins: usize,
    pub lists: usize,
    pub writes: usize,
}

impl Subject {
    pub async fn start(nico: &Path, world: &World, resync: Duration) -> anyhow::Result<Self> {
        let metrics = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        let log = File::create(world.log())?;
        world.netmaker.forget_seen();
        let started = Instant::now();
        let child = Command::new(nico)
            .args(["mesh", "run"])
            .env("KUBECONFIG", world.kubeconfig())
            .env("NETMAKER_API_URL", world.netmaker.url())
            .env("NETMAKER_USERNAME", USER)
            .env("NETMAKER_PASSWORD", PASSWORD)
            .env("K8S_CLUSTER_NAME", "bench")
            .env("LEADER_ELECTION_ENABLED", "true")
            .env("LEADER_ELECTION_NAMESPACE", "default")
            .env("MESH_RESYNC_PERIOD", format!("{}s", resync.as_secs()))
            .env("METRICS_PORT", metrics.to_string())
            .env("HEALTH_CHECK_PORT", "0")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", nico.display()))?;
        Ok(Self {
            child,
            metrics,
            started,
            highest: 0.0,
            log: world.log(),
        })
    }

    /// Waits until there are so many rules. Returns how long after the start that was.
    pub async fn wait_for_rules(
        &mut self,
        world: &World,
        number: usize,
    ) -> anyhow::Result<Duration> {
        let began = Instant::now();
        while world.writes().len() < number {
            ensure!(
                began.elapsed() < PATIENCE,
                "only {} of {number} rules were written; it says:\n{}",
                world.writes().len(),
                self.words()
            );
            self.rest(LOOK).await?;
        }
        let last = world.writes().into_iter().max().context("no write")?;
        let rules = world.netmaker.rules(NETWORK).len();
        ensure!(rules == number, "{number} writes made {rules} rules");
        Ok(last.duration_since(self.started))
    }

    /// What was asked of Netmaker since requests were forgotten.
    pub fn requests(&self, world: &World) -> Requests {
        let seen = world.netmaker.seen();
        let writes = seen.iter().filter(|seen| seen.is_write()).count();
        let is_login = |path: &str| path.ends_with("/authenticate");
        let logins = seen.iter().filter(|seen| is_login(&seen.path)).count();
        Requests {
            logins,
            lists: seen.len() - writes - logins,
            writes,
        }
    }

    /// Resident memory, in MB.
    pub fn memory(&self) -> anyhow::Result<f64> {
        Ok(process::resident_memory(self.pid()?)? as f64 / 1e6)
    }

    /// The highest resident memory that was seen, in MB.
    pub fn highest_memory(&self) -> f64 {
        self.highest
    }

    /// Processor time so far.
    pub fn processor_time(&self) -> anyhow::Result<Duration> {
        process::processor_time(self.pid()?)
    }

    /// Passes so far.
    pub async fn passes(&self) -> anyhow::Result<u64> {
        let page = metrics::page(self.metrics).await?;
        Ok(sum(&page, "kaput_not_pass_duration_seconds_count "))
    }

    /// Waits until so many passes were done.
    pub async fn wait_for_passes(&mut self, number: u64) -> anyhow::Result<()> {
        let began = Instant::now();
        while self.passes().await? < number {
            ensure!(began.elapsed() < PATIENCE, "no pass comes");
            self.rest(LOOK * 5).await?;
        }
        Ok(())
    }

    /// Lets it work for so long, and looks at its memory.
    pub async fn rest(&mut self, time: Duration) -> anyhow::Result<()> {
        let end = Instant::now() + time;
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status}; it says:\n{}", self.words());
            }
            self.highest = self.highest.max(self.memory()?);
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            tokio::time::sleep(LOOK.min(left)).await;
        }
    }

    fn words(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn pid(&self) -> anyhow::Result<u32> {
        self.child.id().context("it has ended")
    }
}
