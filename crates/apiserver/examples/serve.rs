//! Serves a Kubernetes API and writes a kubeconfig for it:
//!
//! ```sh
//! cargo run -p nico-apiserver --example serve -- kubeconfig.yaml &
//! kubectl --kubeconfig kubeconfig.yaml get namespaces
//! ```
#![allow(
    clippy::print_stdout,
    reason = "an example talks to the person who runs it"
)]

use std::error::Error;

use nico_apiserver::Server;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "kubeconfig.yaml".to_owned());
    let server = Server::builder().start().await?;
    std::fs::write(&path, server.kubeconfig())?;
    println!("serving {}; export KUBECONFIG={path}", server.url());
    // Runs until it is killed.
    std::future::pending::<()>().await;
    Ok(())
}
