//! `nico plan`: what the operator would do next about a cluster, without doing it.

use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use k8s_openapi::jiff::Timestamp;
use nico_clusters::Settings;
use nico_clusters::report::{look, preview, text};

use crate::NOT_THERE_YET;
use crate::connection::{Connection, Management, Output, cluster_name};
use crate::screen::Screen;

/// Show what the operator would do next about a cluster, and why, without doing it.
///
/// It reads what the operator reads (also the Secrets of the cluster, the Git repository and the
/// new cluster's API), decides by the same code, and writes nothing. No machine is reached. Ends
/// with 0 when there is nothing to do or to wait for, with 3 when there is, with 1 when something
/// cannot be read or the cluster does not exist, and with 2 when an argument is wrong.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Name of the cluster.
    #[arg(value_name = "CLUSTER", value_parser = cluster_name)]
    cluster: String,
    /// How the answer is written.
    #[arg(long, short, value_name = "FORMAT", value_enum, default_value = "text")]
    output: Output,
    /// Repository of clusters that name none, as the operator has it.
    #[arg(long, env = "NICO_DEFAULT_GIT_REPO", value_name = "URL")]
    default_git_repo: Option<String>,
    /// Whether `file` URLs may be used, as the operator has it. They are read here.
    #[arg(long, env = "NIO_ALLOW_FILE_URLS", value_name = "BOOL", default_value_t = false, action = clap::ArgAction::Set)]
    allow_file_urls: bool,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    tokio::runtime::Runtime::new()?.block_on(show(arguments))
}

async fn show(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Management {
        client,
        namespace,
        url,
    } = arguments.connection.open().await?;
    let settings = Settings {
        default_git_repo: arguments.default_git_repo,
        allow_file_urls: arguments.allow_file_urls,
        ..Settings::default()
    };
    let name = &arguments.cluster;
    let now = Timestamp::now();
    let observed = look::look(&client, &settings, &namespace, name, now)
        .await
        .with_context(|| {
            format!("cannot see what the operator sees of {namespace}/{name} at {url}")
        })?;
    let Some(observed) = observed else {
        bail!("there is no KubernetesCluster {namespace}/{name}");
    };
    let report = preview::of(&observed, &settings.intervals, now);
    let screen = Screen::new();
    match arguments.output {
        Output::Json => screen.say(&serde_json::to_string_pretty(&report)?)?,
        Output::Text => screen.print(&text::of_plan(&report, screen.width()))?,
    }
    Ok(match report.is_settled() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(NOT_THERE_YET),
    })
}
