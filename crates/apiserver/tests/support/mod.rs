//! A server and a `kube` client for it.

#![allow(dead_code, reason = "each test file uses its part of what they share")]

pub mod cluster;
pub mod sender;

use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use nico_apiserver::Server;

/// A new server, and a client with its administrator's certificate.
pub async fn server() -> (Server, Client) {
    let server = Server::builder().start().await.expect("the server starts");
    let client = client(&server).await;
    (server, client)
}

/// What a client with the administrator's certificate needs to know. The first answer of the
/// server counts, also if it asks to try again.
pub async fn config(server: &Server) -> Config {
    let kubeconfig = Kubeconfig::from_yaml(server.kubeconfig()).expect("the kubeconfig is valid");
    let options = KubeConfigOptions::default();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .expect("the kubeconfig is complete");
    config.default_retry = false;
    config
}

/// A client that does not try again by itself.
pub async fn client(server: &Server) -> Client {
    Client::try_from(config(server).await).expect("the configuration is valid")
}

/// A client as `kube` makes it by default: it tries again when the server asks for that.
pub async fn persistent_client(server: &Server) -> Client {
    let mut config = config(server).await;
    config.default_retry = true;
    Client::try_from(config).expect("the configuration is valid")
}

/// How long anything may take to become true.
const SOON: Duration = Duration::from_secs(30);

/// Waits until something is true.
///
/// # Panics
/// If it does not become true in time.
pub async fn eventually<F>(what: &str, mut is_true: F)
where
    F: AsyncFnMut() -> bool,
{
    let mut again = tokio::time::interval(Duration::from_millis(20));
    let wait = async {
        while !is_true().await {
            again.tick().await;
        }
    };
    let waited = tokio::time::timeout(SOON, wait).await;
    assert!(waited.is_ok(), "not in time: {what}");
}
