//! A server and a `kube` client for it.

use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use nico_apiserver::Server;

/// A new server, and a client with its administrator's certificate.
pub async fn server() -> (Server, Client) {
    let server = Server::builder().start().await.expect("the server starts");
    let client = client(&server).await;
    (server, client)
}

/// A client with the administrator's certificate.
pub async fn client(server: &Server) -> Client {
    let kubeconfig = Kubeconfig::from_yaml(server.kubeconfig()).expect("the kubeconfig is valid");
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .expect("the kubeconfig is complete");
    Client::try_from(config).expect("the configuration is valid")
}
