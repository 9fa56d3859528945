//! A Netmaker for one test, and a client of it.

#![allow(dead_code, reason = "each test file uses a part")]

pub(crate) mod lab;
pub(crate) mod proxy;

use std::collections::BTreeMap;
use std::time::Duration;

use nico_mesh::Metrics;
use nico_mesh::netmaker::{ClientSettings, Credentials, Netmaker, RuleBody, Secret};
use nico_sandbox::netmaker::NetmakerServer;

pub(crate) const USER: &str = "robot";
pub(crate) const PASSWORD: &str = "a-good-password";

/// How long a client waits for an answer that never comes; long enough for one that does.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(3);

/// With one account and the network `net`.
pub(crate) async fn server() -> NetmakerServer {
    let server = NetmakerServer::start(([127, 0, 0, 1], 0).into()).await;
    let server = server.expect("a server");
    server.add_account(USER, PASSWORD);
    server.add_network("net", "10.100.0.0/16");
    server
}

pub(crate) fn settings(server: &NetmakerServer, timeout: Duration) -> ClientSettings {
    ClientSettings {
        url: server.url().parse().expect("an address"),
        credentials: Credentials::Password {
            username: USER.to_owned(),
            password: Secret::new(PASSWORD),
        },
        authorities: None,
        proxy: None,
        timeout,
    }
}

pub(crate) fn client(server: &NetmakerServer) -> Netmaker {
    Netmaker::new(&settings(server, TIMEOUT), Metrics::default()).expect("a client")
}

pub(crate) fn client_with(server: &NetmakerServer, credentials: Credentials) -> Netmaker {
    let settings = ClientSettings {
        credentials,
        ..settings(server, TIMEOUT)
    };
    Netmaker::new(&settings, Metrics::default()).expect("a client")
}

/// A rule for nobody.
pub(crate) fn rule_body(_: &NetmakerServer) -> RuleBody {
    RuleBody {
        name: "x".to_owned(),
        network: "net".into(),
        description: "x".to_owned(),
        range: "10.42.0.0/24".to_owned(),
        nodes: BTreeMap::new(),
        tags: BTreeMap::new(),
        domain: "",
        nat: false,
        mode: "",
        status: true,
        is_internet_gateway: false,
    }
}
