//! What happens is logged once, also what an Event is published about.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::ListParams;
use support::lab::{DEADLINE, Lab, cidrs};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::fmt::MakeWriter;

/// What was logged in this process.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn lines_with(&self, text: &str) -> Vec<String> {
        let log = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let lines = log.lines().filter(|line| line.contains(text));
        lines.map(ToOwned::to_owned).collect()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn a_write_and_a_node_that_waits_have_one_line_each() {
    let log = Log::default();
    tracing_subscriber::fmt()
        .with_writer(log.clone())
        .with_ansi(false)
        .init();
    let lab = Lab::start().await;
    lab.netmaker.add_host("w-1", &["net"]);
    lab.add_node("w-1", &cidrs(1, false)).await;
    lab.add_node("w-2", &cidrs(2, false)).await;
    let shutdown = CancellationToken::new();
    let running = lab.run(&shutdown);
    let events: Api<Event> = Api::all(lab.client.clone());
    let published = async {
        for reason in ["EgressRuleCreated", "HostNotInMesh"] {
            let of_reason = ListParams::default().fields(&format!("reason={reason}"));
            while events.list(&of_reason).await.unwrap().items.is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    };
    tokio::time::timeout(DEADLINE, published).await.unwrap();
    shutdown.cancel();
    running.await.unwrap();
    for text in [
        "create the rule for 10.42.1.0/24 of Node w-1 in network net",
        "no host named w-2 is in a network of Netmaker",
    ] {
        let lines = log.lines_with(text);
        assert_eq!(lines.len(), 1, "{lines:#?}");
    }
}
