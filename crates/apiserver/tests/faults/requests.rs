//! Error answers and latency.

use std::time::{Duration, Instant};

use http::{HeaderValue, Request, header};
use kube::Client;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::client::Body;
use kube::core::Status;
use nico_apiserver::faults::{Fault, Nth, Refusal, Rule, Verb, When};
use serde_json::json;

use crate::support::persistent_client;
use crate::{NEVER, config, create, map, maps, names, server, value};

fn status<T: std::fmt::Debug>(answer: Result<T, kube::Error>) -> Status {
    match answer {
        Err(kube::Error::Api(status)) => *status,
        other => panic!("no error of the API: {other:?}"),
    }
}

#[tokio::test]
async fn a_conflict_is_a_conflict_once_and_nothing_is_written() {
    let (server, client) = server().await;
    let maps = maps(&client);
    let created = create(&maps, "a").await;
    let rule = Rule::refuse(Refusal::Conflict).verbs([Verb::Update]);
    let conflict = server
        .faults()
        .add(rule.resource("configmaps").name("a").nth(Nth::First(1)));
    let mut changed = created.clone();
    changed.data = map("a", "2").data;
    let params = PostParams::default();
    let update = || maps.replace("a", &params, &changed);
    let refused = status(update().await);
    assert_eq!((refused.code, refused.reason.as_str()), (409, "Conflict"));
    assert!(refused.message.contains("please apply your changes"));
    assert_eq!(refused.details.unwrap().name, "a");
    assert_eq!(maps.get("a").await.unwrap(), created);
    update().await.unwrap();
    assert_eq!(value(&maps.get("a").await.unwrap()), "2");
    assert_eq!((conflict.seen(), conflict.hits()), (2, 1));
}

#[tokio::test]
async fn a_conflict_of_a_creation_says_that_the_name_is_taken() {
    let (server, client) = server().await;
    let maps = maps(&client);
    let rule = Rule::refuse(Refusal::Conflict).verbs([Verb::Create]);
    server.faults().add(rule.name("a"));
    let create_a = maps.create(&PostParams::default(), &map("a", "1")).await;
    let refused = status(create_a);
    assert_eq!(
        (refused.code, refused.reason.as_str()),
        (409, "AlreadyExists")
    );
    create(&maps, "b").await;
    assert!(names(&maps).await.contains(&"b".to_owned()));
}

#[tokio::test]
async fn too_many_requests_says_when_to_try_again() {
    let (server, client) = server().await;
    let maps = maps(&client);
    let refusal = Refusal::TooManyRequests { retry_after: 7 };
    server
        .faults()
        .add(Rule::refuse(refusal).resource("ConfigMap"));
    let refused = status(maps.list(&ListParams::default()).await);
    assert_eq!(
        (refused.code, refused.reason.as_str()),
        (429, "TooManyRequests")
    );
    assert_eq!(refused.details.unwrap().retry_after_seconds, 7);
    let request = Request::get("/api/v1/configmaps").body(Body::empty());
    let answer = client.send(request.unwrap()).await.unwrap();
    assert_eq!(
        answer.headers().get(header::RETRY_AFTER),
        Some(&HeaderValue::from_static("7"))
    );
}

#[tokio::test]
async fn a_client_that_tries_again_waits_as_long_as_it_is_told() {
    let (server, _) = server().await;
    let client = persistent_client(&server).await;
    let refusal = Refusal::TooManyRequests { retry_after: 1 };
    let busy = server
        .faults()
        .add(Rule::refuse(refusal).nth(Nth::First(1)));
    let begun = Instant::now();
    names(&maps(&client)).await;
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!(busy.hits(), 1);
}

#[tokio::test]
async fn a_client_tries_again_after_503_and_504_and_not_after_500() {
    let (server, patient) = server().await;
    let eager = persistent_client(&server).await;
    for (refusal, code, reason, again) in [
        (Refusal::InternalError, 500, "InternalError", false),
        (Refusal::ServiceUnavailable, 503, "ServiceUnavailable", true),
        (Refusal::Timeout, 504, "Timeout", true),
    ] {
        let rule = server
            .faults()
            .add(Rule::refuse(refusal).verbs([Verb::List]).nth(Nth::First(3)));
        let list = async |client: &Client| maps(client).list(&ListParams::default()).await;
        let refused = status(list(&patient).await);
        assert_eq!((refused.code, refused.reason.as_str()), (code, reason));
        assert_eq!(list(&eager).await.is_ok(), again, "{refusal:?}");
        assert_eq!(rule.hits(), if again { 3 } else { 2 });
        rule.remove();
    }
}

#[tokio::test]
async fn an_error_after_the_write_hides_that_it_was_done() {
    let (server, client) = server().await;
    let maps = maps(&client);
    let fault = Fault::Refuse {
        with: Refusal::InternalError,
        when: When::After,
    };
    let lost = server
        .faults()
        .add(Rule::new(fault).verbs(Verb::WRITES).resource("configmaps"));
    let answer = maps.create(&PostParams::default(), &map("a", "1")).await;
    assert_eq!(status(answer).code, 500);
    assert_eq!(value(&maps.get("a").await.unwrap()), "1");
    let patch = Patch::Merge(json!({"data": {"key": "2"}}));
    let answer = maps.patch("a", &PatchParams::default(), &patch).await;
    assert_eq!(status(answer).code, 500);
    assert_eq!(value(&maps.get("a").await.unwrap()), "2");
    let answer = maps.delete("a", &DeleteParams::default()).await;
    assert_eq!(status(answer.map(drop)).code, 500);
    assert!(maps.get_opt("a").await.unwrap().is_none());
    assert_eq!(lost.hits(), 3);
}

#[tokio::test]
async fn a_slow_server_answers_late() {
    let (server, client) = server().await;
    let latency = Duration::from_millis(100);
    server.faults().add(Rule::new(Fault::Latency {
        before: latency,
        after: latency,
    }));
    let begun = Instant::now();
    names(&maps(&client)).await;
    assert!(begun.elapsed() >= 2 * latency);
}

#[tokio::test]
async fn latency_before_a_write_delays_the_write_and_latency_after_it_only_the_answer() {
    let (server, client) = server().await;
    let maps = maps(&client);
    for (name, before, after) in [
        ("before", NEVER, Duration::ZERO),
        ("after", Duration::ZERO, NEVER),
    ] {
        let slow = Rule::new(Fault::Latency { before, after });
        let slow = server.faults().add(slow.verbs([Verb::Create]).name(name));
        let waiting = tokio::spawn({
            let maps = maps.clone();
            async move { create(&maps, name).await }
        });
        slow.hit(1).await.unwrap();
        let is_done = names(&maps).await.contains(&name.to_owned());
        assert_eq!(is_done, before.is_zero(), "{name}");
        assert!(!waiting.is_finished());
        waiting.abort();
    }
}

#[tokio::test]
async fn a_client_that_does_not_wait_so_long_gives_up() {
    let (server, _) = server().await;
    let mut config = config(&server).await;
    config.read_timeout = Some(Duration::from_millis(100));
    let maps = maps(&Client::try_from(config).unwrap());
    server.faults().add(Rule::new(Fault::Latency {
        before: NEVER,
        after: Duration::ZERO,
    }));
    let error = maps.get("a").await.unwrap_err();
    assert!(!matches!(error, kube::Error::Api(_)), "{error}");
}

#[tokio::test]
async fn a_rule_for_one_user_agent_leaves_the_others_alone() {
    let (server, other) = server().await;
    let mut config = config(&server).await;
    let agent = HeaderValue::from_static("flaky/1.0");
    config.headers.push((header::USER_AGENT, agent));
    let flaky = Client::try_from(config).unwrap();
    server
        .faults()
        .add(Rule::refuse(Refusal::InternalError).user_agent("flaky/"));
    assert_eq!(status(maps(&flaky).get("a").await).code, 500);
    assert_eq!(status(maps(&other).get("a").await).code, 404);
}

#[tokio::test]
async fn discovery_fails_too_unless_a_rule_names_resources() {
    let (server, client) = server().await;
    let every = server.faults().add(Rule::refuse(Refusal::InternalError));
    assert_eq!(status(client.apiserver_version().await).code, 500);
    every.remove();
    server
        .faults()
        .add(Rule::refuse(Refusal::InternalError).resource("configmaps"));
    client.apiserver_version().await.unwrap();
}
