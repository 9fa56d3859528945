//! What happens when a measurement is ended from outside.

use anyhow::bail;
use tokio::signal::unix::{SignalKind, signal};

/// Measures until that is done, or a signal asks the process to end. What the measurement has
/// started ends with it, as it does when the measurement fails.
///
/// # Errors
/// Those of the measurement; also when it was ended by a signal.
pub async fn until_signal<T>(
    measurement: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::select! {
        result = measurement => result,
        _ = interrupt.recv() => bail!("interrupted"),
        _ = terminate.recv() => bail!("terminated"),
        _ = hangup.recv() => bail!("the terminal is gone"),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;
    use std::time::Duration;

    use tokio::process::Command;

    use super::*;

    #[tokio::test]
    async fn what_was_started_ends_with_a_signal() {
        let mut command = Command::new("sleep");
        command.arg("600").stdin(Stdio::null()).kill_on_drop(true);
        let child = command.spawn().unwrap();
        let process = format!("/proc/{}/stat", child.id().unwrap());
        let ended = until_signal::<()>(async move {
            let own = std::process::id().to_string();
            let _child = child;
            Command::new("kill").arg(own).status().await?;
            std::future::pending().await
        })
        .await;
        assert_eq!(ended.unwrap_err().to_string(), "terminated");
        // Gone, or dead and not yet waited for.
        let gone = async {
            while std::fs::read_to_string(&process).is_ok_and(|stat| !stat.contains(") Z ")) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), gone)
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn what_is_measured_is_given_back() {
        assert_eq!(until_signal(async { Ok(7) }).await.unwrap(), 7);
    }
}
