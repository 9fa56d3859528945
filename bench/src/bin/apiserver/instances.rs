//! Many servers in one process.

use http::Method;
use nico_bench::table::{Against, Table};

use super::Sizes;
use super::serve::Running;

pub async fn measure(sizes: &Sizes, table: &mut Table) -> anyhow::Result<()> {
    let process = Running::start_many(sizes.instances).await?;
    let started = process.began.elapsed();
    for number in 0..sizes.instances {
        let mut client = process.endpoint(number)?.connect().await?;
        client
            .request(Method::GET, "/api/v1/namespaces/default", "")
            .await?;
    }
    let instances = sizes.instances;
    let memory = process.memory()?;
    table.add(
        format!("{instances} servers in one process: answering"),
        instances as f64,
        "servers",
        Against::AtLeast(200.0),
    );
    table.add(
        format!("{instances} servers in one process: time to start all"),
        started.as_secs_f64() * 1000.0,
        "ms",
        Against::Nothing,
    );
    table.add(
        format!("{instances} servers in one process: memory of the process"),
        memory,
        "MB",
        Against::Nothing,
    );
    Ok(())
}
