//! How the commands of a person find the management cluster.

use anyhow::Context;
use clap::{Args, ValueEnum};
use kube::config::KubeConfigOptions;
use kube::{Client, Config};

#[derive(Args)]
pub(crate) struct Connection {
    /// Context of the kubeconfig; by default the current one. The kubeconfig is that of
    /// `KUBECONFIG`, else `~/.kube/config`, else that of the ServiceAccount.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Namespace of the cluster; by default that of the context.
    #[arg(long, short, value_name = "NAME")]
    namespace: Option<String>,
}

/// How the answer is written.
#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    #[default]
    Text,
    Json,
}

impl Connection {
    /// A client, and the namespace to look in.
    pub(crate) async fn open(&self) -> anyhow::Result<(Client, String)> {
        let config = match &self.context {
            None => Config::infer()
                .await
                .context("cannot find a Kubernetes API: set KUBECONFIG")?,
            Some(context) => {
                let options = KubeConfigOptions {
                    context: Some(context.clone()),
                    ..KubeConfigOptions::default()
                };
                Config::from_kubeconfig(&options)
                    .await
                    .with_context(|| format!("cannot use the context {context:?}"))?
            }
        };
        let namespace = self
            .namespace
            .clone()
            .unwrap_or(config.default_namespace.clone());
        let client = Client::try_from(config).context("cannot use the kubeconfig")?;
        Ok((client, namespace))
    }
}
