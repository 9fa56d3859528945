//! From the change of a Node to the write of its rule.

use std::time::{Duration, Instant};

use anyhow::ensure;
use nico_bench::percentile::percentile;
use nico_bench::table::{Against, Table};

use crate::subject::{PATIENCE, Subject};
use crate::world::World;
use crate::{LATENCY_LIMIT, Size};

/// Between two looks for the write.
const LOOK: Duration = Duration::from_millis(2);

pub async fn measure(
    world: &World,
    size: &Size,
    subject: &mut Subject,
    name: &impl Fn(&str) -> String,
    table: &mut Table,
) -> anyhow::Result<()> {
    let mut comes = Vec::new();
    let mut goes = Vec::new();
    for event in 0..size.events {
        let number = size.nodes + event;
        let sent = Instant::now();
        world.netmaker.forget_seen();
        world.create_node(number).await?;
        comes.push(written(world, subject, sent, 1).await?);
        let sent = Instant::now();
        world.netmaker.forget_seen();
        world.remove_node(number).await?;
        goes.push(written(world, subject, sent, 1).await?);
    }
    let mut show = |what: &str, times: &mut [Duration]| {
        for (text, share, against) in [
            ("p50", 0.5, Against::Nothing),
            ("p99", 0.99, Against::AtMost(LATENCY_LIMIT)),
            ("slowest", 1.0, Against::Nothing),
        ] {
            let value = percentile(times, share).as_secs_f64() * 1000.0;
            table.add(name(&format!("{what}, {text}")), value, "ms", against);
        }
    };
    show("a Node comes, until its rule is written", &mut comes);
    show("a Node goes, until its rule is removed", &mut goes);

    let sent = Instant::now();
    world.netmaker.forget_seen();
    for event in 0..size.events {
        world.create_node(size.nodes + event).await?;
    }
    let all = written(world, subject, sent, size.events).await?;
    table.add(
        name(&format!(
            "{} Nodes come one after the other, until all rules are written",
            size.events
        )),
        all.as_secs_f64(),
        "s",
        Against::Nothing,
    );
    Ok(())
}

/// Waits for so many writes. Returns when the last of them was done, counted from `sent`.
async fn written(
    world: &World,
    subject: &mut Subject,
    sent: Instant,
    number: usize,
) -> anyhow::Result<Duration> {
    loop {
        let writes = world.writes();
        if writes.len() >= number {
            ensure!(writes.len() == number, "more was written than needed");
            let last = writes.into_iter().max().unwrap_or(sent);
            return Ok(last.duration_since(sent));
        }
        ensure!(sent.elapsed() < PATIENCE, "a rule is not written");
        subject.rest(LOOK).await?;
    }
}
