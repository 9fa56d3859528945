//! What an administrator can set about probes.

use std::time::Duration;

/// How machines are probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Time between two probes of a machine (`NIO_MACHINE_DISCOVERY_INTERVAL`); at least 1 s.
    pub discovery_interval: Duration,
    /// Time between two scans for facts (`NIO_HARDWARE_SCAN_INTERVAL`); at least 1 s.
    pub hardware_scan_interval: Duration,
    /// How many machines are probed at once (`NIO_PROBE_CONCURRENCY`); at least 1.
    pub probe_concurrency: usize,
    /// How long a probe waits for the TCP connection.
    pub probe_connect_timeout: Duration,
    /// How long a probe waits for an authenticated session, and again for each command.
    pub probe_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            discovery_interval: Duration::from_secs(60),
            hardware_scan_interval: Duration::from_secs(300),
            probe_concurrency: 64,
            probe_connect_timeout: Duration::from_secs(10),
            probe_timeout: Duration::from_secs(30),
        }
    }
}
