//! The published kubeconfig is replaced when the one on its machine changes, ends or works no
//! more, and there is never a moment without one that works.

use std::ops::Range;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::jiff::civil::Date;
use k8s_openapi::jiff::{Timestamp, ToSpan, tz::TimeZone};
use kube::api::{Api, ListParams, Patch, PatchParams, WatchEvent, WatchParams};
use kube::config::Kubeconfig;
use kube::{Client, ResourceExt};
use nico_api::kubernetes_cluster::conditions as kind;
use nico_api::labels;
use nico_testbed::ControlPlane;
use serde_json::json;

use crate::lab::{Lab, Operator, eventually};
use crate::writes::Side;

const SECRET: &str = "home-kubeconfig";
const MASTERS: [&str; 1] = ["system:masters"];

/// A cluster of one machine that is ready, and an operator that looks at the kubeconfig on the
/// machine all the time. At first the machine has the one that `first` makes.
async fn ready(first: impl FnOnce(&Lab) -> Option<String>) -> (Lab, Operator) {
    let mut lab = Lab::start_embedded(&["cp-01"]).await;
    lab.kubeconfig_interval = Duration::from_millis(100);
    if let Some(text) = first(&lab) {
        lab.kubeconfigs.replace(text);
    }
    let operator = lab.operator().await;
    lab.create("home", json!({"controlPlane": {"machines": ["cp-01"]}}))
        .await;
    lab.condition("home", kind::READY, "True").await;
    (lab, operator)
}

/// The kubeconfig of another administrator of the new cluster.
fn of_somebody_else(lab: &Lab) -> String {
    let server = lab.server(Side::NewCluster);
    server.kubeconfig_for("somebody-else", &MASTERS).unwrap()
}

/// One with a client certificate that is good from so many days ago, for so many days from now.
fn good_for_days(lab: &Lab, ago: i64, left: i64) -> String {
    let server = lab.server(Side::NewCluster);
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    let days: Range<Date> = today.saturating_sub(ago.days())..today.saturating_add(left.days());
    server
        .kubeconfig_during("short-lived", &MASTERS, &days)
        .unwrap()
}

fn certificate_in(kubeconfig: &str) -> String {
    let document = Kubeconfig::from_yaml(kubeconfig).unwrap();
    let user = document.auth_infos[0].auth_info.clone().unwrap();
    user.client_certificate_data.unwrap()
}

fn text_in(secret: &Secret, key: &str) -> String {
    let data = secret.data.as_ref().unwrap();
    String::from_utf8(data[key].0.clone()).unwrap()
}

async fn secret(lab: &Lab) -> Secret {
    lab.api::<Secret>().get(SECRET).await.unwrap()
}

async fn is_published(lab: &Lab, kubeconfig: &str) {
    let certificate = certificate_in(kubeconfig);
    eventually("the other kubeconfig is published", async || {
        let published = text_in(&secret(lab).await, "kubeconfig");
        (certificate_in(&published) == certificate).then_some(())
    })
    .await;
}

async fn event(lab: &Lab, reason: &str) -> String {
    eventually(&format!("event {reason}"), async || {
        let events: Api<Event> = lab.api();
        let events = events.list(&ListParams::default()).await.unwrap();
        let mut events = events.items.into_iter();
        let found = events.find(|event| event.reason.as_deref() == Some(reason))?;
        found.note
    })
    .await
}

async fn damage(lab: &Lab, text: &str) {
    let text = ByteString(text.as_bytes().to_vec());
    let patch = json!({"data": {"kubeconfig": text, "value": text}});
    let secrets: Api<Secret> = lab.api();
    secrets
        .patch(SECRET, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .unwrap();
}

/// Every state that the Secret has from now on.
async fn states(client: Client) -> impl futures::Stream<Item = WatchEvent<Secret>> {
    let secrets: Api<Secret> = Api::namespaced(client, "default");
    let now = secrets.get(SECRET).await.unwrap();
    let only = WatchParams::default().fields(&format!("metadata.name={SECRET}"));
    let events = secrets.watch(&only, &now.resource_version().unwrap()).await;
    events
        .unwrap()
        .map_err(|error| panic!("{error}"))
        .map(|event: Result<_, ()>| event.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_on_the_machine_takes_the_place_of_the_old_one_at_once() {
    let (lab, operator) = ready(|_| None).await;
    let before = secret(&lab).await;
    assert_eq!(before.annotations()[labels::KUBECONFIG_MACHINE], "cp-01");
    let states = states(lab.client.clone()).await;
    let other = of_somebody_else(&lab);
    lab.kubeconfigs.replace(other.clone());
    is_published(&lab, &other).await;

    let mut states = states.boxed();
    let first = states.next().await.unwrap();
    let WatchEvent::Modified(state) = first else {
        panic!("the Secret was not changed in its place: {first:?}");
    };
    assert_eq!(state.uid(), before.uid());
    assert_eq!(text_in(&state, "kubeconfig"), text_in(&state, "value"));
    assert_eq!(
        certificate_in(&text_in(&state, "value")),
        certificate_in(&other)
    );
    let told = event(&lab, "KubeconfigRenewed").await;
    assert!(told.contains("the file on the machine changed"), "{told}");
    eventually("it is counted", async || {
        let counted =
            "nico_kubeconfig_generation_success_total{namespace=\"default\",cluster=\"home\"} 2";
        operator.metrics().contains(counted).then_some(())
    })
    .await;
    lab.condition("home", kind::READY, "True").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_does_not_work_never_takes_the_place_of_one_that_does() {
    let (lab, operator) = ready(|_| None).await;
    let before = secret(&lab).await;
    let elsewhere = ControlPlane::start_embedded().await.unwrap();
    let here = lab.server(Side::NewCluster).url();
    let misleading = elsewhere.kubeconfig().replace(elsewhere.url(), here);
    lab.kubeconfigs.replace(misleading);
    eventually("it was tried", async || {
        let counted =
            "nico_kubeconfig_generation_errors_total{namespace=\"default\",cluster=\"home\"}";
        operator.metrics().contains(counted).then_some(())
    })
    .await;
    assert_eq!(
        secret(&lab).await.resource_version(),
        before.resource_version()
    );
    lab.condition("home", kind::KUBECONFIG_AVAILABLE, "True")
        .await;
    lab.condition("home", kind::READY, "True").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_in_the_last_quarter_of_its_life_is_told_of_and_replaced() {
    let (lab, operator) = ready(|lab| Some(good_for_days(lab, 90, 10))).await;
    let message = lab
        .reason("home", kind::KUBECONFIG_AVAILABLE, "KubeconfigEnding")
        .await;
    assert!(
        message.contains("no control-plane machine has one that lasts longer"),
        "{message}"
    );
    lab.condition("home", kind::KUBECONFIG_AVAILABLE, "True")
        .await;
    event(&lab, "KubeconfigEnding").await;

    let longer = good_for_days(&lab, 1, 300);
    lab.kubeconfigs.replace(longer.clone());
    is_published(&lab, &longer).await;
    lab.reason("home", kind::KUBECONFIG_AVAILABLE, "Published")
        .await;
    let told = event(&lab, "KubeconfigRenewed").await;
    assert!(told.contains("ends before long"), "{told}");
    let today = Timestamp::now().as_second();
    eventually("the metric has the new end", async || {
        let metrics = operator.metrics();
        let line = metrics
            .lines()
            .find(|line| line.starts_with("nico_kubeconfig_expiry_timestamp_seconds{"))?;
        let end: i64 = line.rsplit(' ').next()?.parse().ok()?;
        (end > today + 200 * 86_400).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_the_cluster_refuses_or_that_is_damaged_is_replaced_without_waiting() {
    let (lab, _operator) = ready(|_| None).await;
    let good = text_in(&secret(&lab).await, "kubeconfig");
    let elsewhere = ControlPlane::start_embedded().await.unwrap();
    let here = lab.server(Side::NewCluster).url();
    let refused = elsewhere.kubeconfig().replace(elsewhere.url(), here);
    for damaged in [refused.as_str(), "no kubeconfig"] {
        damage(&lab, damaged).await;
        eventually("the good one is back", async || {
            let now = secret(&lab).await;
            let is_back = text_in(&now, "kubeconfig") == good && text_in(&now, "value") == good;
            is_back.then_some(())
        })
        .await;
    }
    lab.condition("home", kind::READY, "True").await;
}
