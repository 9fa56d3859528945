//! PodDisruptionBudgets: their status, and the evictions that they allow.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::api::{self, Api};
use crate::objects;
use crate::registry::Kind;
use crate::status::Status;
use crate::verbs;

use super::follow::{Follower, Seen};

const PODS: &str = "/pods/";
const BUDGETS: &str = "policy/poddisruptionbudgets/";

/// Runs until the server ends.
pub async fn run(api: Arc<Api>) {
    let mut follower = Follower::new(api.clone());
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
        let key = kind.key(Some(namespace), name(&budget));
        verbs::modify(api, &kind, &key, Some("status"), None, |budget| {
            Ok(with_status(budget, &pods))
        })
        .await?;
    }
    Ok(())
}

/// The budget with the status that these pods make.
fn with_status(budget: &Value, pods: &[Value]) -> Value {
    let expected = pods.iter().filter(|pod| counts(pod)).count();
    let disrupted = |pod: &&Value| budget["status"]["disruptedPods"].get(name(pod)).is_some();
    let healthy = pods
        .iter()
        .filter(|pod| counts(pod) && is_ready(pod) && !disrupted(pod))
        .count();
    let desired = desired(&budget["spec"], expected);
    let mut updated = budget.clone();
    if !updated["status"].is_object() {
        updated["status"] = json!({});
    }
    let status = &mut updated["status"];
    status["currentHealthy"] = healthy.into();
    status["desiredHealthy"] = desired.into();
    status["disruptionsAllowed"] = if expected == 0 {
        0
    } else {
        healthy.saturating_sub(desired)
    }
    .into();
    status["expectedPods"] = expected.into();
    status["observedGeneration"] = budget["metadata"]["generation"].clone();
    let living: Vec<&str> = pods
        .iter()
        .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
        .map(name)
        .collect();
    if let Some(disrupted) = status
        .get_mut("disruptedPods")
        .and_then(Value::as_object_mut)
    {
        disrupted.retain(|name, _| living.contains(&name.as_str()));
    }
    updated
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
            let empty = selector.as_object().is_none_or(serde_json::Map::is_empty);
            !empty && objects::selects(selector, labels)
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
        .list(&prefix, None, None)
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
        let status = with_status(&budget, &[pod("True"), pod("False")])["status"].clone();
        assert_eq!(status["currentHealthy"], 1);
        assert_eq!(status["expectedPods"], 2);
        assert_eq!(status["disruptionsAllowed"], 0);
    }
}
