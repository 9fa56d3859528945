//! Leader election against the API server: one leader at a time, and always one again.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use kube::Client;
use nico_runtime::leader::{Candidate, Leadership, Timing};
use nico_testbed::ControlPlane;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const DEADLINE: Duration = Duration::from_secs(20);

/// Fast enough for a test: a Lease lasts whole seconds.
const TIMING: Timing = Timing {
    lease: Duration::from_secs(1),
    renew_deadline: Duration::from_millis(700),
    retry: Duration::from_millis(100),
};

fn candidate(client: &Client, identity: &str) -> Candidate {
    Candidate::new(client.clone(), "default", "operator", identity, TIMING)
}

async fn lead(candidate: Candidate) -> Leadership {
    let never = CancellationToken::new();
    timeout(DEADLINE, candidate.lead(&never))
        .await
        .expect("a leader in time")
        .unwrap()
}

#[tokio::test]
async fn the_second_candidate_waits_until_the_first_releases() {
    let server = ControlPlane::start().await.unwrap();
    let client = server.client().await.unwrap();
    let first = lead(candidate(&client, "first")).await;

    let waiting = tokio::spawn(lead(candidate(&client, "second")));
    // Longer than the Lease lasts, so it is renewed meanwhile.
    assert!(
        timeout(TIMING.lease * 2, first.lost().cancelled())
            .await
            .is_err()
    );
    assert!(!waiting.is_finished());

    first.release().await;
    waiting.await.unwrap().release().await;
}

#[tokio::test]
async fn a_leader_that_died_is_succeeded_when_its_lease_ran_out() {
    let server = ControlPlane::start().await.unwrap();
    let client = server.client().await.unwrap();
    let process = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let own_client = server.client().await.unwrap();
    process
        .spawn(lead(candidate(&own_client, "dies")))
        .await
        .unwrap();
    process.shutdown_background();

    lead(candidate(&client, "successor")).await;
}

#[tokio::test]
async fn a_leader_without_an_api_server_knows_that_it_lost() {
    let server = ControlPlane::start().await.unwrap();
    let client = server.client().await.unwrap();
    let leadership = lead(candidate(&client, "cut-off")).await;
    let lost = leadership.lost();
    server.shutdown().await;
    timeout(DEADLINE, lost.cancelled())
        .await
        .expect("the loss is noticed");
}

#[tokio::test]
async fn of_many_candidates_exactly_one_leads() {
    let server = ControlPlane::start().await.unwrap();
    let client = server.client().await.unwrap();
    let stop = CancellationToken::new();
    let candidates: Vec<_> = (0..10)
        .map(|number| {
            let (candidate, stop) = (candidate(&client, &format!("c{number}")), stop.clone());
            tokio::spawn(async move { candidate.lead(&stop).await })
        })
        .collect();
    let is_decided = || candidates.iter().any(tokio::task::JoinHandle::is_finished);
    timeout(DEADLINE, async {
        while !is_decided() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("a leader in time");
    stop.cancel();
    let mut leaders = 0;
    for candidate in candidates {
        leaders += usize::from(candidate.await.unwrap().is_some());
    }
    assert_eq!(leaders, 1);
}

#[tokio::test]
async fn a_fence_is_open_while_the_lease_is_held_and_closed_after() {
    let server = ControlPlane::start().await.unwrap();
    let client = server.client().await.unwrap();
    let leadership = lead(candidate(&client, "first")).await;
    let fence = leadership.fence();
    let deadline = fence.write_deadline().unwrap().unwrap();
    assert!(deadline <= tokio::time::Instant::now() + TIMING.lease);

    leadership.release().await;
    assert!(fence.write_deadline().is_none());
    assert_eq!(
        nico_runtime::leader::Fence::open().write_deadline(),
        Some(None)
    );
}
