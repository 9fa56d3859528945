//! How the commands of a person find the management cluster.

use anyhow::Context;
use clap::{Args, ValueEnum};
use kube::config::KubeConfigOptions;
use kube::{Client, Config};
use nico_runtime::proxy::Proxy;

#[derive(Args)]
pub(crate) struct Connection {
    /// Context of the kubeconfig; by default the current one. The kubeconfig is that of
    /// `KUBECONFIG`, else `~/.kube/config`, else that of the ServiceAccount.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Namespace to look in; by default that of the context, or all for what looks at all.
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

/// The management cluster.
pub(crate) struct Management {
    pub(crate) client: Client,
    /// The namespace to look in.
    pub(crate) namespace: String,
    /// Where its API is.
    pub(crate) url: String,
}

/// The name of a cluster, as a person gives it.
pub(crate) fn cluster_name(text: &str) -> Result<String, String> {
    match text.split_once('/') {
        Some((namespace, name)) => Err(format!(
            "the name of a cluster has no slash; say: --namespace {namespace} {name}"
        )),
        None if text.is_empty() => Err("a cluster has a name".to_owned()),
        None => Ok(text.to_owned()),
    }
}

impl Connection {
    /// The management cluster, for who looks in one namespace.
    pub(crate) async fn open(&self) -> anyhow::Result<Management> {
        let config = self.config().await?;
        let namespace = self.namespace.clone();
        Ok(Management {
            namespace: namespace.unwrap_or(config.default_namespace.clone()),
            url: config.cluster_url.to_string(),
            client: client(config)?,
        })
    }

    /// A client, and the namespace if one was named: for who looks at all of them otherwise.
    pub(crate) async fn open_everywhere(&self) -> anyhow::Result<(Client, Option<String>)> {
        let config = self.config().await?;
        Ok((client(config)?, self.namespace.clone()))
    }

    async fn config(&self) -> anyhow::Result<Config> {
        let Some(context) = &self.context else {
            return Config::infer()
                .await
                .context("cannot find a Kubernetes API: set KUBECONFIG");
        };
        let options = KubeConfigOptions {
            context: Some(context.clone()),
            ..KubeConfigOptions::default()
        };
        Config::from_kubeconfig(&options)
            .await
            .with_context(|| format!("cannot use the context {context:?}"))
    }
}

/// A client; through a proxy only where the kubeconfig or the environment wants one.
pub(crate) fn client(mut config: Config) -> anyhow::Result<Client> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let of_environment = variable("HTTPS_PROXY").or_else(|| variable("https_proxy"));
    let of_environment = of_environment.and_then(|url| url.parse().ok());
    // The library asks NO_PROXY about the proxy, in the place of the server.
    if config.proxy_url.is_some()
        && config.proxy_url == of_environment
        && Proxy::on_the_way_to(&config.cluster_url, variable)?.is_none()
    {
        config.proxy_url = None;
    }
    Client::try_from(config).context("cannot use the kubeconfig")
}
