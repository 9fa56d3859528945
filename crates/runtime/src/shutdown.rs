//! From a signal to an orderly end.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;

/// What a second signal does, while the work in hand is being finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecondSignal {
    /// It ends the process at once, with exit code 130: whatever is left converges later.
    EndsAtOnce,
    /// Nothing: what is being removed would stay behind for ever.
    ChangesNothing,
}

/// A token that is cancelled at the first SIGTERM or SIGINT.
///
/// # Errors
/// When the operating system does not let the process handle signals.
pub fn on_signal(second: SecondSignal) -> std::io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        wait(&mut terminate, &mut interrupt).await;
        info!("shutting down; work in hand is finished first");
        cancelled.cancel();
        loop {
            wait(&mut terminate, &mut interrupt).await;
            match second {
                SecondSignal::EndsAtOnce => std::process::exit(130),
                SecondSignal::ChangesNothing => info!("still cleaning up"),
            }
        }
    });
    Ok(token)
}

async fn wait(
    terminate: &mut tokio::signal::unix::Signal,
    interrupt: &mut tokio::signal::unix::Signal,
) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
