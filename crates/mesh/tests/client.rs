//! The client against a Netmaker that fails in every way that was seen of real ones and of what
//! stands before them.

mod support;

use std::time::Duration;

use http::Method;
use nico_mesh::Metrics;
use nico_mesh::names::NetworkName;
use nico_mesh::netmaker::{ClientError, Credentials, Netmaker, Secret};
use nico_mesh::ownership::Cluster;
use nico_sandbox::netmaker::{Fault, FaultRule, NetmakerServer};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use support::{PASSWORD, TIMEOUT, USER, client, client_with, rule_body, server, settings};

const EGRESS: &str = "/api/v1/egress";
const LOGIN: &str = "/api/users/adm/authenticate";

fn network() -> NetworkName {
    "net".into()
}

async fn hosts(netmaker: &Netmaker) -> Result<usize, ClientError> {
    netmaker.hosts().await.map(|hosts| hosts.len())
}

async fn rules(netmaker: &Netmaker) -> Result<usize, ClientError> {
    let cluster = Cluster::default();
    let rules = netmaker.rules(&network(), &cluster).await;
    rules.map(|rules| rules.len())
}

fn with_password(password: &str, user: &str) -> Credentials {
    Credentials::Password {
        username: user.to_owned(),
        password: Secret::new(password),
    }
}

#[tokio::test]
async fn one_login_serves_many_requests() {
    let server = server().await;
    server.add_host("w-1", &["net"]);
    let netmaker = client(&server);
    for _ in 0..3 {
        assert_eq!(hosts(&netmaker).await.unwrap(), 1);
        assert_eq!(netmaker.members().await.unwrap().len(), 1);
        assert_eq!(netmaker.networks().await.unwrap(), [network()]);
        assert_eq!(rules(&netmaker).await.unwrap(), 0);
    }
    let logins = server
        .seen()
        .iter()
        .filter(|seen| seen.path == LOGIN)
        .count();
    assert_eq!(logins, 1);
}

#[tokio::test]
async fn every_request_is_counted_and_logins_are_requests() {
    let server = server().await;
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let netmaker = Netmaker::new(&settings(&server, TIMEOUT), metrics).unwrap();
    hosts(&netmaker).await.unwrap();
    server.end_tokens();
    rules(&netmaker).await.unwrap();
    let mut page = String::new();
    encode(&mut page, &registry).unwrap();
    for (labels, count) in [
        (r#"endpoint="login",code="200""#, 2),
        (r#"endpoint="hosts",code="200""#, 1),
        (r#"endpoint="egress",code="401""#, 1),
        (r#"endpoint="egress",code="200""#, 1),
    ] {
        let line = format!("kaput_not_api_requests_total{{{labels}}} {count}\n");
        assert!(page.contains(&line), "{line} is not in\n{page}");
    }
}

#[tokio::test]
async fn a_login_that_is_refused_is_named_as_that() {
    let server = server().await;
    for credentials in [
        with_password("wrong", USER),
        with_password(PASSWORD, "nobody"),
    ] {
        let error = hosts(&client_with(&server, credentials)).await.unwrap_err();
        assert!(
            matches!(error, ClientError::LoginRefused { .. }),
            "{error:?}"
        );
        assert!(error.to_string().contains("NETMAKER_PASSWORD"));
        assert!(!format!("{error:?} {error}").contains("wrong"));
    }
    server.disable_account(USER);
    let error = hosts(&client(&server)).await.unwrap_err();
    assert!(
        error.to_string().contains("user account disabled"),
        "{error}"
    );
}

#[tokio::test]
async fn an_account_with_a_second_factor_is_told_what_to_do() {
    let server = server().await;
    server.require_second_factor(USER);
    let error = hosts(&client(&server)).await.unwrap_err();
    assert!(matches!(error, ClientError::SecondFactor), "{error:?}");
    assert!(error.to_string().contains("NETMAKER_TOKEN"));
    // An access token of the same account works.
    let token = Credentials::Token(Secret::new(server.access_token(USER)));
    assert_eq!(hosts(&client_with(&server, token)).await.unwrap(), 0);
}

#[tokio::test]
async fn a_token_that_ends_is_renewed_in_the_middle_of_the_work() {
    let server = server().await;
    let netmaker = client(&server);
    assert_eq!(hosts(&netmaker).await.unwrap(), 0);
    server.end_tokens();
    assert_eq!(hosts(&netmaker).await.unwrap(), 0);
    server.end_tokens();
    netmaker.create(&rule_body(&server), None).await.unwrap();
    assert_eq!(server.rules("net").len(), 1);
}

#[tokio::test]
async fn an_access_token_that_holds_no_longer_is_named_as_that() {
    let server = server().await;
    let token = server.access_token(USER);
    let netmaker = client_with(&server, Credentials::Token(Secret::new(token.clone())));
    server.end_tokens();
    let error = hosts(&netmaker).await.unwrap_err();
    assert!(
        matches!(error, ClientError::TokenRefused { .. }),
        "{error:?}"
    );
    assert!(!format!("{error:?} {error}").contains(&token));
}

#[tokio::test]
async fn a_file_with_a_token_is_read_anew_when_the_token_ends() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, format!("{}\n", server.access_token(USER))).unwrap();
    let netmaker = client_with(&server, Credentials::TokenFile(file.clone()));
    assert_eq!(hosts(&netmaker).await.unwrap(), 0);
    server.end_tokens();
    std::fs::write(&file, server.access_token(USER)).unwrap();
    assert_eq!(hosts(&netmaker).await.unwrap(), 0);
}

/// D8: a plain 404 counted as "no such host".
#[tokio::test]
async fn d08_what_is_no_netmaker_is_named_as_that() {
    let server = server().await;
    let netmaker = client(&server);
    for fault in [
        Fault::unknown_path(),
        Fault::html(200),
        Fault::html(404),
        Fault::Redirect("https://elsewhere.example.com/api/hosts".to_owned()),
        Fault::Answer {
            status: 200,
            media_type: "text/plain",
            body: "[]".to_owned(),
        },
    ] {
        server
            .faults()
            .add(FaultRule::new("/api/hosts", fault.clone()).times(1));
        let error = hosts(&netmaker).await.unwrap_err();
        assert!(
            matches!(error, ClientError::NotNetmaker { .. }),
            "{fault:?}: {error:?}"
        );
        assert!(error.to_string().contains("NETMAKER_API_URL"));
    }
    for path in [LOGIN, EGRESS] {
        server.faults().add(FaultRule::new(path, Fault::html(404)));
        let error = rules(&client(&server)).await.unwrap_err();
        assert!(
            matches!(error, ClientError::NotNetmaker { .. }),
            "{path}: {error:?}"
        );
        server.faults().clear();
    }
}

/// D9: a redirect made a GET of a POST.
#[tokio::test]
async fn d09_a_redirect_of_a_write_is_refused() {
    let server = server().await;
    let netmaker = client(&server);
    let place = format!("{}/api/v1/egress", server.url());
    let rule = FaultRule::new(EGRESS, Fault::Redirect(place)).on(Method::POST);
    server.faults().add(rule);
    let error = netmaker
        .create(&rule_body(&server), None)
        .await
        .unwrap_err();
    assert!(
        matches!(error, ClientError::NotNetmaker { .. }),
        "{error:?}"
    );
    assert!(server.rules("net").is_empty());
}

#[tokio::test]
async fn a_list_that_is_cut_or_endless_is_no_list() {
    let server = server().await;
    for number in 0..50 {
        server.add_host(&format!("w-{number}"), &["net"]);
    }
    let netmaker = client(&server);
    for (fault, expected) in [
        (Fault::Truncated, "Broken"),
        (Fault::json("[{\"id\":"), "Broken"),
        (Fault::json(""), "Broken"),
        (Fault::Endless, "T"),
        (Fault::SilentBefore, "Timeout"),
        (Fault::json("{\"hosts\":[]}"), "Undecodable"),
        (Fault::json("[] []"), "Undecodable"),
        (Fault::json("\"hosts\""), "Undecodable"),
        (Fault::bad_gateway(), "Server"),
        (Fault::html(429), "Server"),
    ] {
        server
            .faults()
            .add(FaultRule::new("/api/hosts", fault.clone()).times(1));
        let error = hosts(&netmaker).await.unwrap_err();
        assert!(
            format!("{error:?}").starts_with(expected),
            "{fault:?}: {error:?}"
        );
    }
    assert_eq!(hosts(&netmaker).await.unwrap(), 50);
}

#[tokio::test]
async fn the_code_in_the_envelope_counts() {
    let server = server().await;
    let netmaker = client(&server);
    for body in [
        r#"{"Code":500,"Message":"oh","Response":[]}"#,
        r#"{"Code":200,"Message":"oh"}"#,
        r#"{"Code":200,"Message":"oh","Response":{"a":1}}"#,
    ] {
        server
            .faults()
            .add(FaultRule::new(EGRESS, Fault::json(body)).times(1));
        assert!(rules(&netmaker).await.is_err(), "{body}");
    }
    let empty = r#"{"Code":200,"Message":"fetched","Response":null}"#;
    server
        .faults()
        .add(FaultRule::new(EGRESS, Fault::json(empty)).times(1));
    assert_eq!(rules(&netmaker).await.unwrap(), 0);
}

#[tokio::test]
async fn nodes_that_are_null_and_ids_of_zeros_are_no_harm() {
    let server = server().await;
    let netmaker = client(&server);
    let id = "3f0c6c1e-0000-4000-8000-000000000001";
    let zeros = "00000000-0000-0000-0000-000000000000";
    let body = format!(
        r#"[{{"id":"{id}","name":"w-1","nodes":null}},{{"id":"{zeros}","name":"x","nodes":[]}}]"#
    );
    server
        .faults()
        .add(FaultRule::new("/api/hosts", Fault::json(body)).times(1));
    let hosts = netmaker.hosts().await.unwrap();
    assert_eq!(hosts.len(), 1);
    assert!(hosts[0].nodes.is_empty());
    let body = format!(
        r#"[{{"id":"{zeros}","hostid":"{zeros}","network":"net","is_static":true}},
            {{"id":"{id}","hostid":"{id}","network":"net","pendingdelete":true,"status":"offline"}}]"#
    );
    server
        .faults()
        .add(FaultRule::new("/api/nodes", Fault::json(body)).times(1));
    let members = netmaker.members().await.unwrap();
    assert_eq!(members.len(), 1);
    assert!(members[0].is_leaving && !members[0].is_live);
}

/// One metric that is no number made the whole list unreadable.
#[tokio::test]
async fn odd_rules_of_others_do_not_hide_ours() {
    let server = server().await;
    let netmaker = client(&server);
    let body = r#"{"Code":200,"Message":"","Response":[
        {"id":"3f0c6c1e-0000-4000-8000-000000000001","range":"*","nodes":{"x":"high"},"tags":null},
        {"id":"3f0c6c1e-0000-4000-8000-000000000002","range":"10.0.0.0/8","nodes":null,"domain_ans":null}]}"#;
    server
        .faults()
        .add(FaultRule::new(EGRESS, Fault::json(body)).times(1));
    assert_eq!(rules(&netmaker).await.unwrap(), 2);
}

/// D10: Netmaker answers 400 where others answer 404.
#[tokio::test]
async fn d10_what_is_not_there_is_told_from_what_is_wrong() {
    let server = server().await;
    let netmaker = client(&server);
    let nobody = nico_mesh::names::Uuid::from_u128(7);
    let error = netmaker.delete(nobody, None).await.unwrap_err();
    assert!(
        matches!(error, ClientError::NoSuchRecord { .. }),
        "{error:?}"
    );
    let body = rule_body(&server);
    let error = netmaker.update(nobody, &body, None).await.unwrap_err();
    assert!(
        matches!(error, ClientError::NoSuchRecord { .. }),
        "{error:?}"
    );
    let mut body = rule_body(&server);
    body.nodes = [(nobody.to_string(), 500)].into();
    let error = netmaker.create(&body, None).await.unwrap_err();
    assert!(matches!(error, ClientError::NoSuchNode { .. }), "{error:?}");
    let mut body = rule_body(&server);
    body.range = "nonsense".to_owned();
    let error = netmaker.create(&body, None).await.unwrap_err();
    assert!(matches!(error, ClientError::Refused { .. }), "{error:?}");
    assert!(!error.is_ambiguous());
}

#[tokio::test]
async fn a_write_that_may_have_been_done_says_so() {
    let server = server().await;
    let netmaker = client(&server);
    for (fault, done) in [
        (Fault::SilentBefore, false),
        (Fault::SilentAfter, true),
        (Fault::Truncated, true),
        (Fault::bad_gateway(), false),
        (
            Fault::AnswerAfter {
                status: 504,
                media_type: "text/html",
                body: String::new(),
            },
            true,
        ),
    ] {
        let before = server.rules("net").len();
        let rule = FaultRule::new(EGRESS, fault.clone())
            .on(Method::POST)
            .times(1);
        server.faults().add(rule);
        let error = netmaker
            .create(&rule_body(&server), None)
            .await
            .unwrap_err();
        assert!(error.is_ambiguous(), "{fault:?}: {error:?}");
        assert_eq!(
            server.rules("net").len() - before,
            usize::from(done),
            "{fault:?}"
        );
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_was_not_written_to() {
    let nowhere = NetmakerServer::start(([127, 0, 0, 1], 0).into())
        .await
        .unwrap();
    let settings = settings(&nowhere, Duration::from_secs(5));
    let netmaker = Netmaker::new(&settings, nico_mesh::Metrics::default()).unwrap();
    drop(nowhere);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    // The port may take a moment to close.
    loop {
        match hosts(&netmaker).await {
            Err(error @ ClientError::Unreachable { .. }) => {
                assert!(!error.is_ambiguous());
                return;
            }
            other => assert!(tokio::time::Instant::now() < deadline, "{other:?}"),
        }
    }
}
