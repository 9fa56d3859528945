//! What an hour costs in which nothing happens.
//!
//! It has six full passes, one each ten minutes. Six are measured, closer together, and the time
//! between them by itself; the hour is put together of both.

use std::time::{Duration, Instant};

use anyhow::ensure;
use nico_bench::table::{Against, Table};

use crate::subject::{PATIENCE, Subject};
use crate::world::World;

/// Full passes in an hour, with the usual time between them.
const PASSES: u64 = 6;
/// Lists that a full pass reads, with one network.
const LISTS: usize = 4;
/// After a pass, until it counts as quiet; and before the next one, which may come early.
const SETTLE: Duration = Duration::from_millis(500);
const HOUR: f64 = 3600.0;

pub async fn measure(
    world: &World,
    resync: Duration,
    subject: &mut Subject,
    name: &impl Fn(&str) -> String,
    table: &mut Table,
) -> anyhow::Result<()> {
    // The last changes may have a pass coming.
    let passes = subject.passes().await? + 2;
    subject.wait_for_passes(passes).await?;
    subject.rest(SETTLE).await?;
    world.netmaker.forget_seen();
    let (began, before) = (Instant::now(), subject.processor_time()?);
    let (mut quiet, mut quiet_used) = (Duration::ZERO, Duration::ZERO);
    for pass in 1..=PASSES {
        let lists = subject.requests(world).lists;
        let (start, used) = (Instant::now(), subject.processor_time()?);
        subject.rest(resync.saturating_sub(SETTLE * 3)).await?;
        let used = subject.processor_time()?.saturating_sub(used);
        if subject.requests(world).lists == lists {
            quiet += start.elapsed();
            quiet_used += used;
        }
        while subject.requests(world).lists < usize::try_from(pass)? * LISTS {
            ensure!(start.elapsed() < PATIENCE, "no pass comes");
            subject.rest(SETTLE / 10).await?;
        }
        subject.rest(SETTLE).await?;
    }
    let all = began.elapsed().as_secs_f64();
    let used = subject
        .processor_time()?
        .saturating_sub(before)
        .as_secs_f64();
    let quiet = quiet.as_secs_f64();
    let quiet_share = quiet_used.as_secs_f64() / quiet.max(f64::EPSILON);
    let requests = subject.requests(world);
    table.add(
        name("idle, requests of six full passes"),
        requests.lists as f64,
        "lists",
        Against::AtMost((LISTS as u64 * PASSES) as f64),
    );
    table.add(
        name("idle, writes of six full passes"),
        requests.writes as f64,
        "writes",
        Against::Nothing,
    );
    table.add(
        name(&format!(
            "idle, processor time of six full passes in {all:.0} s"
        )),
        used,
        "s",
        Against::Nothing,
    );
    table.add(
        name(&format!(
            "idle, processor time between passes, measured over {quiet:.0} s"
        )),
        quiet_share * 1e6,
        "µs a second",
        Against::Nothing,
    );
    table.add(
        name("idle, processor time of an hour, extrapolated"),
        used + quiet_share * (HOUR - all).max(0.0),
        "s",
        Against::Nothing,
    );
    Ok(())
}
