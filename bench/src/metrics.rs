//! The metrics of a process, read over HTTP.

use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The page of metrics that a process on this machine serves.
///
/// # Errors
/// When it serves none there.
pub async fn page(port: u16) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream
        .write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")
        .await?;
    let mut page = String::new();
    stream.read_to_string(&mut page).await?;
    Ok(page)
}

/// The sum of all series that begin with this text, which is a whole name or one with a `{`.
pub fn sum(page: &str, series: &str) -> u64 {
    page.lines()
        .filter(|line| line.starts_with(series))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_of_one_metric_are_added() {
        let page = "# HELP a A.\na_total{x=\"1\"} 2\na_total{x=\"2\"} 3\nb_total 4\n";
        assert_eq!(sum(page, "a_total{"), 5);
        assert_eq!(sum(page, "b_total "), 4);
        assert_eq!(sum(page, "c_total"), 0);
    }
}
