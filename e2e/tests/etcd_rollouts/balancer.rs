//! The `controlPlaneEndpoint` of a cluster: hands each connection to a control plane that takes
//! it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

/// A control plane that takes longer is passed over.
const CONNECT: Duration = Duration::from_secs(1);

/// Serves until it is dropped.
pub(crate) struct Balancer {
    address: SocketAddr,
    _task: AbortOnDropHandle<()>,
}

impl Balancer {
    /// Listens on a free port of `address`.
    pub(crate) async fn start(address: Ipv4Addr, planes: Vec<SocketAddr>) -> Result<Self> {
        let listener = TcpListener::bind((address, 0)).await?;
        let address = listener.local_addr()?;
        let planes = Arc::new(planes);
        let turn = Arc::new(AtomicUsize::new(0));
        let task = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (planes, turn) = (Arc::clone(&planes), Arc::clone(&turn));
                tokio::spawn(async move {
                    let first = turn.fetch_add(1, Ordering::Relaxed);
                    for index in 0..planes.len() {
                        let plane = planes[(first + index) % planes.len()];
                        if let Ok(Ok(mut plane)) = timeout(CONNECT, TcpStream::connect(plane)).await
                        {
                            // How a connection ends is the business of those who use it.
                            let _ = copy_bidirectional(&mut client, &mut plane).await;
                            return;
                        }
                    }
                });
            }
        });
        Ok(Self {
            address,
            _task: AbortOnDropHandle::new(task),
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}
