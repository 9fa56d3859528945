//! The machines: SSH servers that answer like a NixOS host, and some that say nothing.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context;
use clap::Args;
use nico_ssh::test_server::{Behaviour, Reply, TestServer, key};

/// What a host says when it is asked for its facts.
const FACTS: &str =
    include_str!("../../../../crates/machines/src/machine/facts/fixtures/nixos.txt");

/// Seeds of the keys of hosts and user.
const HOST_KEY: u8 = 1;
pub const USER_KEY: u8 = 2;

#[derive(Args)]
pub struct Arguments {
    /// How many answer.
    answering: usize,
    /// How many accept connections and say nothing.
    silent: usize,
}

/// The address of a host: first those that answer, then the silent ones, then those where nobody
/// listens.
pub fn address(number: usize) -> Ipv4Addr {
    let octet = |value: usize| u8::try_from(value % 256).unwrap_or_default();
    Ipv4Addr::new(
        127,
        1 + octet(number / 62_500),
        octet(number / 250 % 250),
        1 + octet(number % 250),
    )
}

/// Serves until it is killed. Says the port, which is the same on every address.
#[expect(clippy::print_stdout, reason = "tells the process that measures")]
pub async fn serve(arguments: &Arguments) -> anyhow::Result<()> {
    let current = FACTS
        .lines()
        .find_map(|line| line.strip_prefix("fact\tnixos.currentSystem\t"))
        .context("the facts name no system")?;
    let answering = Behaviour::new(key(HOST_KEY))
        .authorize(&key(USER_KEY))
        .on_command(move |command| {
            if command == "sh -s" {
                Reply::stdout(format!("{current}\n"))
            } else {
                Reply::stdout(FACTS)
            }
        });
    let silent = Behaviour {
        silent: true,
        ..answering.clone()
    };
    let mut port = 0;
    let mut servers = Vec::new();
    for number in 0..arguments.answering + arguments.silent {
        let behaviour = if number < arguments.answering {
            answering.clone()
        } else {
            silent.clone()
        };
        let at = SocketAddr::from((address(number), port));
        let server = TestServer::start_at(at, behaviour)
            .await
            .with_context(|| format!("cannot listen on {at}; is `ulimit -n` too low?"))?;
        port = server.address().port();
        servers.push(server);
    }
    println!("{port}");
    std::future::pending::<()>().await;
    Ok(())
}
