//! What the server needs for the writes of a cold start, when nobody looks or plans before.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use nico_bench::nodes::{cidr, name};
use nico_mesh::Metrics;
use nico_mesh::execute::CONCURRENCY;
use nico_mesh::netmaker::{ClientSettings, Credentials, Netmaker, RuleBody, Secret};

use crate::world::{NETWORK, PASSWORD, USER, netmaker};

pub async fn time_of_writes(number: usize) -> anyhow::Result<Duration> {
    let server = netmaker().await?;
    let mut members = Vec::with_capacity(number);
    for number in 0..number {
        let host = server.add_host(&name(number), &[]);
        members.extend(server.join(&host, NETWORK));
    }
    let settings = ClientSettings {
        url: server.url().parse()?,
        credentials: Credentials::Password {
            username: USER.to_owned(),
            password: Secret::new(PASSWORD),
        },
        authorities: None,
        proxy: None,
        timeout: Duration::from_secs(30),
    };
    let client = Netmaker::new(&settings, Metrics::default())?;
    client.networks().await?;
    let began = Instant::now();
    stream::iter(members.into_iter().enumerate())
        .map(|(number, member)| {
            let client = client.clone();
            async move { client.create(&rule(number, member), None).await }
        })
        .buffer_unordered(CONCURRENCY)
        .try_collect::<()>()
        .await?;
    Ok(began.elapsed())
}

fn rule(number: usize, member: String) -> RuleBody {
    RuleBody {
        name: format!("{} pods (1/1)", name(number)),
        network: NETWORK.into(),
        description: "bench".to_owned(),
        range: cidr(number),
        nodes: BTreeMap::from([(member, 500)]),
        tags: BTreeMap::new(),
        domain: "",
        nat: false,
        mode: "",
        status: true,
        is_internet_gateway: false,
    }
}
