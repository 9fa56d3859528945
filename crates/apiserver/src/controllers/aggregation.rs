//! ClusterRoles that are made up of others: their rules are those of the roles that they select.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::api::Api;
use crate::managed::Writer;
use crate::objects;
use crate::status::Status;
use crate::verbs;

use super::follow::{Follower, Seen};

const PREFIX: &str = "rbac.authorization.k8s.io/clusterroles/";

/// Runs until the server ends.
pub async fn run(api: Arc<Api>) {
    let mut follower = Follower::new(api.clone());
    let mut known: BTreeMap<String, Value> = BTreeMap::new();
    let mut failed = false;
    while let Some(seen) = follower.next(failed).await {
        let events = match seen {
            Seen::Everything(events) => {
                known.clear();
                events
            }
            Seen::Changes(events) => events,
        };
        let mut changed = failed;
        for event in &events {
            let Some(name) = event.key.strip_prefix(PREFIX) else {
                continue;
            };
            changed = true;
            match event.after() {
                Some(role) => known.insert(name.to_owned(), role),
                None => known.remove(name),
            };
        }
        if changed {
            failed = false;
            let roles: Vec<Value> = known.values().cloned().collect();
            for (name, role) in &known {
                if let Some(rules) = rules_of(role, &roles)
                    && let Err(error) = write(&api, name, &rules).await
                {
                    tracing::debug!(%error, %name, "cannot put together a ClusterRole");
                    failed = true;
                }
            }
        }
    }
}

/// The rules that a ClusterRole should have as others make it up; none if they are those that it
/// has, or it is not made up of others.
pub fn rules_of(role: &Value, roles: &[Value]) -> Option<Value> {
    let selectors = role["aggregationRule"]["clusterRoleSelectors"].as_array()?;
    let name = |role: &Value| {
        role["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let mut others: Vec<&Value> = roles
        .iter()
        .filter(|other| name(other) != name(role))
        .collect();
    others.sort_by_key(|other| name(other));
    let mut rules: Vec<&Value> = Vec::new();
    for selector in selectors {
        for other in &others {
            if !objects::selects(selector, &other["metadata"]["labels"]) {
                continue;
            }
            for rule in other["rules"].as_array().into_iter().flatten() {
                if !rules.contains(&rule) {
                    rules.push(rule);
                }
            }
        }
    }
    let rules: Value = rules.into_iter().cloned().collect();
    let has = &role["rules"];
    let none = |rules: &Value| rules.as_array().is_none_or(Vec::is_empty);
    (rules != *has && !(none(&rules) && none(has))).then_some(rules)
}

async fn write(api: &Arc<Api>, name: &str, rules: &Value) -> Result<(), Status> {
    let Some(kind) = api
        .registry
        .find("rbac.authorization.k8s.io", "v1", "clusterroles")
    else {
        return Ok(());
    };
    let writer = Writer {
        manager: "clusterrole-aggregation-controller",
        subresource: None,
    };
    verbs::modify(
        api,
        &kind,
        &kind.key(None, name),
        None,
        Some(writer),
        |role| {
            let mut filled = role.clone();
            if !filled["aggregationRule"].is_null() {
                filled["rules"] = rules.clone();
            }
            Ok(filled)
        },
    )
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn role(name: &str, labels: &Value, rules: &Value) -> Value {
        json!({"kind": "ClusterRole", "metadata": {"name": name, "labels": labels}, "rules": rules})
    }

    #[test]
    fn a_role_has_the_rules_of_those_that_it_selects_each_once() {
        let (one, two) = (json!({"verbs": ["get"]}), json!({"verbs": ["list"]}));
        let mut whole = role("a-whole", &json!({"part": "yes"}), &json!([]));
        whole["aggregationRule"] =
            json!({"clusterRoleSelectors": [{"matchLabels": {"part": "yes"}}]});
        let roles = [
            whole.clone(),
            role("c", &json!({"part": "yes"}), &json!([two, one])),
            role("b", &json!({"part": "yes"}), &json!([one])),
            role("d", &json!({"part": "no"}), &json!([{"verbs": ["delete"]}])),
        ];
        let rules = rules_of(&whole, &roles);
        assert_eq!(rules, Some(json!([one, two])));
        whole["rules"] = json!([one, two]);
        assert_eq!(rules_of(&whole, &roles), None);
        assert_eq!(rules_of(&roles[1], &roles), None);
    }
}
