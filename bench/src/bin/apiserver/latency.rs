//! How long an event is under way from a writer to the watchers.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use http::Method;
use http_body_util::BodyExt;
use nico_bench::percentile::percentile;
use nico_bench::table::{Against, Table};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::Sizes;
use super::objects::{self, CONFIG_MAPS};
use super::serve::Running;
use super::watchers::{resource_version, watch_path};

/// Writes a second: a busy cluster, far below what the server can take.
const RATE: u64 = 500;
/// What stands before the number of a write.
const MARKER: &[u8] = br#""marker":"w"#;
/// Digits of the number.
const DIGITS: usize = 6;
/// How long all events together may take beyond the time of the writes.
const PATIENCE: Duration = Duration::from_secs(30);

/// When a write was sent, and when it was answered.
#[derive(Default)]
struct Write {
    sent: OnceLock<Instant>,
    answered: OnceLock<Instant>,
}

pub async fn measure(sizes: &Sizes, table: &mut Table) -> anyhow::Result<()> {
    let server = Running::start(&sizes.program).await?;
    let endpoint = server.endpoint(0)?;
    let count = usize::try_from(sizes.duration.as_secs() * RATE)?.min(10_usize.pow(DIGITS as u32));
    let writes: Arc<Vec<Write>> = Arc::new((0..count).map(|_| Write::default()).collect());
    let mut writer = endpoint.connect().await?;
    let created = objects::config_map("latency", "");
    writer.request(Method::POST, CONFIG_MAPS, created).await?;

    let version = resource_version(&endpoint, CONFIG_MAPS).await?;
    let mut watchers = JoinSet::new();
    for _ in 0..sizes.watchers {
        let mut client = endpoint.connect().await?;
        let mut body = client.stream(&watch_path(CONFIG_MAPS, &version)).await?;
        watchers.spawn(async move {
            let mut seen = Vec::with_capacity(count);
            // A line may come in several frames.
            let mut rest = Vec::new();
            while seen.len() < count {
                let frame = body.frame().await.context("a watch has ended")??;
                rest.extend_from_slice(&frame.into_data().unwrap_or_default());
                let now = Instant::now();
                while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = rest.drain(..=end).collect();
                    let number = marker(&line).context("an event without a marker")?;
                    seen.push((number, now));
                }
            }
            Ok::<_, anyhow::Error>(seen)
        });
    }

    let mut ticks = tokio::time::interval(Duration::from_secs(1) / u32::try_from(RATE)?);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for (number, write) in writes.iter().enumerate() {
        ticks.tick().await;
        let body = objects::config_map("latency", &format!("w{number:0DIGITS$}"));
        write.sent.get_or_init(Instant::now);
        let path = format!("{CONFIG_MAPS}/latency");
        writer.request(Method::PUT, &path, body).await?;
        write.answered.get_or_init(Instant::now);
    }

    let all = tokio::time::timeout(PATIENCE, watchers.join_all()).await;
    let mut after_sending = Vec::new();
    let mut after_answer = Vec::new();
    for seen in all.context("the watchers do not see all events")? {
        for (number, at) in seen? {
            ensure!(number < writes.len(), "an event that nobody has written");
            let time = |lock: &OnceLock<Instant>| lock.get().copied().unwrap_or(at);
            after_sending.push(at.saturating_duration_since(time(&writes[number].sent)));
            after_answer.push(at.saturating_duration_since(time(&writes[number].answered)));
        }
    }
    for (from, durations) in [
        ("write sent", &mut after_sending),
        ("write answered", &mut after_answer),
    ] {
        for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
            table.add(
                format!(
                    "{from} to event received, {} watchers, {RATE} writes/s, {name}",
                    sizes.watchers
                ),
                percentile(durations, share).as_secs_f64() * 1000.0,
                "ms",
                Against::Nothing,
            );
        }
    }
    Ok(())
}

/// The number of the write that an event tells of.
fn marker(line: &[u8]) -> Option<usize> {
    let start = line
        .windows(MARKER.len())
        .position(|window| window == MARKER)?
        + MARKER.len();
    let digits = line.get(start..start + DIGITS)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marker_of_an_event_is_the_number_of_its_write() {
        let body = objects::config_map("a", "w000042");
        assert_eq!(marker(&body), Some(42));
        assert_eq!(marker(b"{}"), None);
    }
}
