//! Looking again and again: a screen on a terminal, else a line for each change.

use std::future::{self, Future};
use std::pin::Pin;
use std::time::Duration;

use k8s_openapi::jiff::{Timestamp, tz::TimeZone};
use nico_runtime::shutdown::{self, SecondSignal};
use nico_terminal::tree::{Line, Span};
use tokio::time::MissedTickBehavior;

use crate::live::{Live, Wish};
use crate::screen::Screen;

/// Something that is looked at again and again.
pub(crate) trait Watched {
    /// What is seen at one look.
    type Report;

    /// Looks.
    async fn look(&self) -> Self::Report;

    /// When that was.
    fn time(report: &Self::Report) -> Timestamp;

    /// What is different now, a line each; everything when there is nothing before.
    fn changes(before: Option<&Self::Report>, after: &Self::Report) -> Vec<String>;

    /// The screen, with what is new.
    fn lines(report: &Self::Report, now: &str, news: &[String], width: usize) -> Vec<Line>;
}

/// How what is seen is told.
pub(crate) enum Telling<R> {
    /// A screen, or lines where there is none.
    ForPeople,
    /// A text for each look.
    ForPrograms(fn(&R) -> anyhow::Result<String>),
}

/// The last look, and what was new then.
struct Seen<R> {
    report: R,
    news: Vec<String>,
}

/// Looks until a signal comes, or the person at the terminal has seen enough.
pub(crate) async fn follow<W: Watched>(
    watched: &W,
    interval: Duration,
    telling: Telling<W::Report>,
) -> anyhow::Result<()> {
    let stop = shutdown::on_signal(SecondSignal::EndsAtOnce)?;
    let screen = Screen::new();
    let is_screen = matches!(telling, Telling::ForPeople) && screen.is_live();
    let mut live = match is_screen {
        true => Some(Live::open(screen.has_colors())?),
        false => None,
    };
    if let Some(live) = &mut live {
        live.show(vec![Line(vec![Span::from("looking …")])])?;
    }
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looking: Option<Pin<Box<dyn Future<Output = W::Report> + '_>>> = None;
    let mut seen: Option<Seen<W::Report>> = None;
    loop {
        let is_looking = looking.is_some();
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = ticks.tick(), if !is_looking => looking = Some(Box::pin(watched.look())),
            report = done(&mut looking) => {
                looking = None;
                let before = seen.as_ref().map(|seen| &seen.report);
                let changes = W::changes(before, &report);
                match (&mut live, &telling) {
                    (Some(live), _) => {
                        // At the first look all is new.
                        let news = if before.is_some() { changes } else { vec![] };
                        let now = Seen { report, news };
                        live.show(lines::<W>(&now, live.width()))?;
                        seen = Some(now);
                        continue;
                    }
                    (None, Telling::ForPeople) => {
                        let time = clock(W::time(&report));
                        for change in &changes {
                            screen.say(&format!("{time} {change}"))?;
                        }
                    }
                    (None, Telling::ForPrograms(text)) => screen.say(&text(&report)?)?,
                }
                seen = Some(Seen { report, news: changes });
            }
            wish = wish(&mut live) => match wish? {
                Wish::Quit => return Ok(()),
                Wish::Resized => {
                    if let (Some(live), Some(seen)) = (&mut live, &seen) {
                        live.show(lines::<W>(seen, live.width()))?;
                    }
                }
            },
        }
    }
}

/// A time of day here.
pub(crate) fn clock(time: Timestamp) -> String {
    let here = time.to_zoned(TimeZone::system());
    here.strftime("%H:%M:%S").to_string()
}

fn lines<W: Watched>(seen: &Seen<W::Report>, width: usize) -> Vec<Line> {
    W::lines(
        &seen.report,
        &clock(W::time(&seen.report)),
        &seen.news,
        width,
    )
}

/// The end of a look; never when nobody looks.
async fn done<R>(looking: &mut Option<Pin<Box<dyn Future<Output = R> + '_>>>) -> R {
    match looking {
        Some(looking) => looking.await,
        None => future::pending().await,
    }
}

/// What the person at the terminal wants; never anything without a terminal.
pub(crate) async fn wish(live: &mut Option<Live>) -> std::io::Result<Wish> {
    match live {
        Some(live) => live.wish().await,
        None => future::pending().await,
    }
}
