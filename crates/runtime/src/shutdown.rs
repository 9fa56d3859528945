//! From a signal to an orderly end.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;

/// A token that is cancelled at the first SIGTERM or SIGINT. The second one ends the process at
/// once, with exit code 130.
///
/// # Errors
/// When the operating system does not let the process handle signals.
pub fn on_signal() -> std::io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        wait(&mut terminate, &mut interrupt).await;
        info!("shutting down; work in hand is finished first");
        cancelled.cancel();
        wait(&mut terminate, &mut interrupt).await;
        std::process::exit(130);
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
