//! What every process that runs for long is told: where it answers, how it logs, its name.

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};
use nico_runtime::telemetry;

#[derive(Args)]
pub(crate) struct Process {
    /// Port of `/metrics`; 0 picks a free one.
    #[arg(
        long,
        env = "METRICS_PORT",
        value_name = "PORT",
        default_value = "8080",
        value_parser = port
    )]
    pub(crate) metrics_port: u16,
    /// Port of `/healthz`, `/livez` and `/readyz`; 0 picks a free one.
    #[arg(
        long,
        env = "HEALTH_CHECK_PORT",
        value_name = "PORT",
        default_value = "8081",
        value_parser = port
    )]
    pub(crate) health_check_port: u16,
    /// How log lines look. `RUST_LOG` filters them.
    #[arg(
        long,
        env = "NICO_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "text"
    )]
    log_format: LogFormat,
    /// Name of this process among those that want to lead, such as that of its Pod. One that
    /// was killed and starts again under the same name need not wait for its Lease to run out.
    /// No two that run at once may have the same. By default, a new one at each start.
    #[arg(long, env = "NICO_IDENTITY", value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    identity: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

impl Process {
    /// Starts the log.
    ///
    /// # Errors
    /// When `RUST_LOG` cannot be understood.
    pub(crate) fn start_log(&self) -> anyhow::Result<()> {
        let format = match self.log_format {
            LogFormat::Text => telemetry::LogFormat::Text,
            LogFormat::Json => telemetry::LogFormat::Json,
        };
        Ok(telemetry::start(format, "info,kube=warn")?)
    }

    /// The name that was given, or one that no other process has: host, process, and when it
    /// started.
    pub(crate) fn identity(&self) -> String {
        if let Some(given) = &self.identity {
            return given.clone();
        }
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let started = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        let process = std::process::id();
        format!("{}_{process}_{}", host.trim(), started.as_nanos())
    }
}

fn port(text: &str) -> Result<u16, String> {
    text.parse()
        .map_err(|_| "allowed are 0 to 65535".to_owned())
}
