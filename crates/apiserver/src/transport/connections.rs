//! All open connections, which a restart cuts at once.

use tokio::sync::RwLock;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The connections since the last restart.
#[derive(Debug, Default)]
pub struct Connections {
    current: RwLock<Generation>,
}

/// What connections between two restarts share.
#[derive(Clone, Debug, Default)]
struct Generation {
    cut: CancellationToken,
    open: TaskTracker,
}

impl Connections {
    /// Serves a connection until it ends or is cut. New connections wait while the server
    /// restarts.
    pub async fn serve(&self, connection: impl Future<Output = ()>) {
        let (cut, open) = {
            let current = self.current.read().await;
            (current.cut.clone(), current.open.token())
        };
        tokio::select! {
            () = cut.cancelled() => {}
            () = connection => {}
        }
        drop(open);
    }

    /// Cuts all connections. While none is open, does `meanwhile`; only then new ones are served.
    pub async fn restart<T>(&self, meanwhile: impl Future<Output = T>) -> T {
        let mut current = self.current.write().await;
        current.cut.cancel();
        current.open.close();
        current.open.wait().await;
        let result = meanwhile.await;
        *current = Generation::default();
        result
    }
}
