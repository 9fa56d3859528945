//! PodDisruptionBudgets: their status, and the evictions that they allow.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::api::{self, Api};
use crate::objects;
use crate::registry::Kind;
use crate::status::Status;
use crate::verbs;

use super::follow::{Follower, Seen};

const PODS: &str = "/pods/";
const BUDGETS: &str = "policy/poddisruptionbudgets/";

/// How long an eviction that is allowed may take to delete its pod.
const DISRUPTION_TIMEOUT: SignedDuration = SignedDuration::from_mins(2);

/// Runs until the server ends.
pub async fn run(api: Arc<Api>) {
    let mut follower = Follower::of(api.clone(), &[PODS, BUDGETS]);
    let mut namespaces: BTreeSet<String> = BTreeSet::new();
    while let Some(seen) = follower.next(!namespaces.is_empty()).await {
        let (Seen::Everything(events) | Seen::Changes(events)) = seen;
        namespaces.extend(events.iter().filter_map(|event| {
            let rest = event
                .key
                .strip_prefix(PODS)
                .or(event.key.strip_prefix(BUDGETS))?;
            rest.split('/').next().map(str::to_owned)
        }));
        for namespace in std::mem::take(&mut namespaces) {
            if let Err(error) = refresh(&api, &namespace).await {
                tracing::debug!(%error, %namespace, "cannot refresh disruption budgets");
                namespaces.insert(namespace);
            }
        }
    }
}

/// Brings the status of all budgets of a namespace up to date.
async fn refresh(api: &Arc<Api>, namespace: &str) -> Result<(), Status> {
    let Some(kind) = budgets(api) else {
        return Ok(());
    };
    for budget in list(api, &kind, namespace).await? {
        let pods = selected(api, namespace, &budget).await?;
        let expected = expected(api, namespace, &budget["spec"], &pods).await?;
        let key = kind.key(Some(namespace), name(&budget));
        verbs::modify(api, &kind, &key, Some("status"), None, |budget| {
            Ok(match &expected {
                Ok(expected) => with_status(budget, &pods, *expected, Timestamp::now()),
                Err(why) => without_knowledge(budget, why),
            })
        })
        .await?;
    }
    Ok(())
}

/// How many pods there should be: as many as their controllers want, unless the budget names a
/// number that must stay. Says why, if that cannot be known.
async fn expected(
    api: &Api,
    namespace: &str,
    spec: &Value,
    pods: &[Value],
) -> Result<Result<usize, String>, Status> {
    if spec["minAvailable"].is_number() {
        return Ok(Ok(pods.iter().filter(|pod| counts(pod)).count()));
    }
    let mut scales: BTreeMap<String, usize> = BTreeMap::new();
    let mut asked: BTreeSet<&str> = BTreeSet::new();
    for pod in pods {
        // Pods that nobody controls do not count.
        let Some(reference) = controller(pod) else {
            continue;
        };
        if !asked.insert(reference["uid"].as_str().unwrap_or_default()) {
            continue;
        }
        match scale(api, namespace, reference).await? {
            Some((uid, scale)) => scales.insert(uid, scale),
            None => return Ok(Err(format!("found no controllers for pod {:?}", name(pod)))),
        };
    }
    Ok(Ok(scales.into_values().sum()))
}

/// The uid and the wanted replicas of a controller: of the Deployment, where a ReplicaSet has one.
/// None for those without a scale.
async fn scale(
    api: &Api,
    namespace: &str,
    reference: &Value,
) -> Result<Option<(String, usize)>, Status> {
    let mut reference = reference.clone();
    loop {
        let Some(found) = referenced(api, namespace, &reference).await? else {
            return Ok(None);
        };
        let (kind, object) = found;
        if kind.is("apps", "ReplicaSet")
            && let Some(owner) = controller(&object).filter(|owner| owner["kind"] == "Deployment")
        {
            reference = owner.clone();
            continue;
        }
        let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
        let replicas = verbs::replicas(&kind, &object);
        return Ok(replicas.map(|replicas| (uid.to_owned(), replicas)));
    }
}

/// The object that an owner reference means.
async fn referenced(
    api: &Api,
    namespace: &str,
    reference: &Value,
) -> Result<Option<(Arc<Kind>, Value)>, Status> {
    let text = |field: &str| reference[field].as_str().unwrap_or_default();
    let Some(kind) = api.registry.of_kind(text("apiVersion"), text("kind")) else {
        return Ok(None);
    };
    let key = kind.key(kind.namespaced.then_some(namespace), text("name"));
    let stored = api
        .storage
        .get(&key)
        .await
        .map_err(|error| api::storage_failed(&error))?;
    let Some(stored) = stored else {
        return Ok(None);
    };
    let object = api::decode(&kind, &stored)?;
    let same = object["metadata"]["uid"] == reference["uid"];
    Ok(same.then_some((kind, object)))
}

/// The budget with the status that these pods make.
fn with_status(budget: &Value, pods: &[Value], expected: usize, now: Timestamp) -> Value {
    let mut updated = budget.clone();
    if !updated["status"].is_object() {
        updated["status"] = json!({});
    }
    let status = &mut updated["status"];
    if let Some(disrupted) = status
        .get_mut("disruptedPods")
        .and_then(Value::as_object_mut)
    {
        let living: Vec<&str> = pods
            .iter()
            .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
            .map(name)
            .collect();
        // An eviction that has led to nothing after some time will not.
        let fresh = |time: &Value| {
            let time = time
                .as_str()
                .and_then(|time| time.parse::<Timestamp>().ok());
            time.is_some_and(|time| now.duration_since(time) < DISRUPTION_TIMEOUT)
        };
        disrupted.retain(|name, time| living.contains(&name.as_str()) && fresh(time));
    }
    let disrupted = |pod: &&Value| status["disruptedPods"].get(name(pod)).is_some();
    let healthy = pods
        .iter()
        .filter(|pod| counts(pod) && is_ready(pod) && !disrupted(pod))
        .count();
    let desired = desired(&budget["spec"], expected);
    let allowed = match expected {
        0 => 0,
        _ => healthy.saturating_sub(desired),
    };
    status["currentHealthy"] = healthy.into();
    status["desiredHealthy"] = desired.into();
    status["disruptionsAllowed"] = allowed.into();
    status["expectedPods"] = expected.into();
    status["observedGeneration"] = budget["metadata"]["generation"].clone();
    let reason = match allowed {
        0 => "InsufficientPods",
        _ => "SufficientPods",
    };
    set_condition(&mut updated, allowed > 0, reason, "");
    updated
}

/// The budget when it is not known how many pods there should be: nothing may be disrupted.
fn without_knowledge(budget: &Value, why: &str) -> Value {
    let mut updated = budget.clone();
    updated["status"]["disruptionsAllowed"] = 0.into();
    updated["status"]["observedGeneration"] = budget["metadata"]["generation"].clone();
    set_condition(&mut updated, false, "SyncFailed", why);
    updated
}

fn set_condition(budget: &mut Value, allowed: bool, reason: &str, message: &str) {
    let status = if allowed { "True" } else { "False" };
    let condition = json!({
        "type": "DisruptionAllowed", "status": status, "reason": reason, "message": message,
        "observedGeneration": budget["metadata"]["generation"],
    });
    objects::set_condition(&mut budget["status"], condition, &api::now());
}

/// How many pods must stay healthy.
fn desired(spec: &Value, expected: usize) -> usize {
    if let Some(least) = amount(&spec["minAvailable"], expected) {
        return least;
    }
    let most = amount(&spec["maxUnavailable"], expected).unwrap_or(1);
    expected.saturating_sub(most)
}

/// A number, or a share of the whole, rounded up.
fn amount(value: &Value, whole: usize) -> Option<usize> {
    match value {
        Value::Number(number) => usize::try_from(number.as_u64()?).ok(),
        Value::String(text) => {
            let percent: usize = text.strip_suffix('%')?.parse().ok()?;
            Some(whole.saturating_mul(percent).div_ceil(100))
        }
        _ => None,
    }
}

/// Takes one disruption from the budget of a pod. A pod that is not ready does not count and
/// takes none if enough others are healthy, or if its budget says so; then this returns the
/// name of the budget.
///
/// # Errors
/// 429 if the budget has none left, or is not up to date; 500 for more than one budget.
pub async fn claim(
    api: &Arc<Api>,
    namespace: Option<&str>,
    pod: &Value,
    dry_run: bool,
) -> Result<Option<String>, Status> {
    let (Some(kind), Some(namespace)) = (budgets(api), namespace) else {
        return Ok(None);
    };
    let labels = &pod["metadata"]["labels"];
    let all = list(api, &kind, namespace).await?;
    let matching: Vec<&Value> = all
        .iter()
        .filter(|b| {
            let selector = &b["spec"]["selector"];
            selector.is_object() && objects::selects(selector, labels)
        })
        .collect();
    if matching.len() > 1 {
        return Err(Status::failure(
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does \
             not support.",
        ));
    }
    let Some(budget) = matching.first() else {
        return Ok(None);
    };
    if !is_ready(pod) && lets_unready_go(budget) {
        return Ok(Some(name(budget).to_owned()));
    }
    let key = kind.key(Some(namespace), name(budget));
    let take = |budget: &Value| {
        let status = &budget["status"];
        let number = |value: &Value| value.as_i64().unwrap_or_default();
        if number(&status["observedGeneration"]) < number(&budget["metadata"]["generation"]) {
            return Err(still_processed(name(budget)));
        }
        let allowed = status["disruptionsAllowed"].as_i64().unwrap_or_default();
        if allowed <= 0 {
            return Err(Status::disruption_budget(format!(
                "The disruption budget {} needs {} healthy pods and has {} currently",
                name(budget),
                status["desiredHealthy"],
                status["currentHealthy"]
            )));
        }
        let mut taken = budget.clone();
        taken["status"]["disruptionsAllowed"] = (allowed - 1).into();
        taken["status"]["disruptedPods"][name(pod)] = api::now().into();
        Ok(taken)
    };
    if dry_run {
        return take(budget).map(|_| None);
    }
    verbs::modify(api, &kind, &key, Some("status"), None, take)
        .await
        .map(|_| None)
}

/// Whether a pod that is not ready may go without taking a disruption.
fn lets_unready_go(budget: &Value) -> bool {
    let number = |field: &str| budget["status"][field].as_i64().unwrap_or_default();
    let desired = number("desiredHealthy");
    budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
        || desired > 0 && number("currentHealthy") >= desired
}

/// 429: the budget's status is older than its last change.
pub fn still_processed(budget: &str) -> Status {
    Status::disruption_budget_unsettled(format!(
        "The disruption budget {budget} is still being processed by the server."
    ))
}

fn budgets(api: &Api) -> Option<Arc<Kind>> {
    api.registry.find("policy", "v1", "poddisruptionbudgets")
}

async fn list(api: &Api, kind: &Kind, namespace: &str) -> Result<Vec<Value>, Status> {
    let prefix = kind.collection_prefix(Some(namespace));
    let page = api
        .storage
        .list(&prefix, None, None, None)
        .await
        .map_err(|error| api::storage_failed(&error))?;
    page.entries
        .iter()
        .map(|stored| api::decode(kind, stored))
        .collect()
}

async fn selected(api: &Api, namespace: &str, budget: &Value) -> Result<Vec<Value>, Status> {
    let Some(kind) = api.registry.find("", "v1", "pods") else {
        return Ok(Vec::new());
    };
    let selector = &budget["spec"]["selector"];
    let mut pods = list(api, &kind, namespace).await?;
    pods.retain(|pod| {
        selector.is_object() && objects::selects(selector, &pod["metadata"]["labels"])
    });
    Ok(pods)
}

fn counts(pod: &Value) -> bool {
    !matches!(
        pod["status"]["phase"].as_str(),
        Some("Succeeded" | "Failed")
    )
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    pod["metadata"]["deletionTimestamp"].is_null()
        && conditions
            .iter()
            .any(|c| c["type"] == "Ready" && c["status"] == "True")
}

/// The owner reference of the controller.
fn controller(object: &Value) -> Option<&Value> {
    let mut references = object["metadata"]["ownerReferences"].as_array()?.iter();
    references.find(|reference| reference["controller"] == true)
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_rounded_up() {
        assert_eq!(amount(&json!("50%"), 3), Some(2));
        assert_eq!(amount(&json!(2), 3), Some(2));
        assert_eq!(desired(&json!({"maxUnavailable": "34%"}), 3), 1);
        assert_eq!(desired(&json!({"minAvailable": 1}), 3), 1);
    }

    #[test]
    fn unready_pods_go_where_enough_others_are_healthy() {
        let budget = |healthy: i64, policy: &str| {
            json!({"spec": {"unhealthyPodEvictionPolicy": policy},
                "status": {"desiredHealthy": 1, "currentHealthy": healthy}})
        };
        assert!(lets_unready_go(&budget(1, "IfHealthyBudget")));
        assert!(!lets_unready_go(&budget(0, "IfHealthyBudget")));
        assert!(lets_unready_go(&budget(0, "AlwaysAllow")));
    }

    #[test]
    fn only_ready_pods_are_healthy() {
        let pod = |ready: &str| {
            json!({"metadata": {"name": ready}, "status": {"phase": "Running",
                "conditions": [{"type": "Ready", "status": ready}]}})
        };
        let budget = json!({"metadata": {"generation": 1}, "spec": {"minAvailable": 1}});
        let pods = [pod("True"), pod("False")];
        let status = with_status(&budget, &pods, 2, Timestamp::now())["status"].clone();
        assert_eq!(status["currentHealthy"], 1);
        assert_eq!(status["expectedPods"], 2);
        assert_eq!(status["disruptionsAllowed"], 0);
        assert_eq!(status["conditions"][0]["reason"], "InsufficientPods");
    }

    #[test]
    fn pods_that_are_missing_count_against_a_budget() {
        let pod = json!({"metadata": {"name": "a"}, "status": {"phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}]}});
        let budget = json!({"metadata": {}, "spec": {"maxUnavailable": 1}});
        let allowed = |expected| {
            let judged = with_status(
                &budget,
                std::slice::from_ref(&pod),
                expected,
                Timestamp::now(),
            );
            judged["status"]["disruptionsAllowed"].clone()
        };
        assert_eq!(allowed(1), 1);
        assert_eq!(allowed(2), 0);
    }

    #[test]
    fn an_eviction_that_led_to_nothing_is_forgotten() {
        let pod = json!({"metadata": {"name": "a"}, "status": {"phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}]}});
        let start: Timestamp = "2001-01-01T00:00:00Z".parse().unwrap();
        let budget = json!({"metadata": {}, "spec": {"maxUnavailable": 1},
            "status": {"disruptedPods": {"a": "2001-01-01T00:00:00Z"}}});
        let healthy = |after| {
            let now = start + SignedDuration::from_secs(after);
            let judged = with_status(&budget, std::slice::from_ref(&pod), 1, now);
            judged["status"]["currentHealthy"].clone()
        };
        assert_eq!(healthy(60), 0);
        assert_eq!(healthy(120), 1);
    }
}
