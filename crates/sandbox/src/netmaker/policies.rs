//! Access policies, as far as they name egress rules: a rule that goes takes with it what is left
//! without a destination.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use uuid::Uuid;

use super::answer::{Answer, Result};
use super::body::Fields;
use super::route::Call;
use super::state::{Policy, State};

const EGRESS: &str = "egress-id";

pub(super) fn create(state: &mut State, call: &Call) -> Result<Answer> {
    let fields = Fields::read(&call.body).map_err(Answer::bad_request)?;
    let network = fields.text("network_id").map_err(Answer::bad_request)?;
    if !state.networks.contains_key(&network) {
        return Err(Answer::bad_request("record not found"));
    }
    let mut targets = fields.raw("dst_type");
    let mut egress_rules = BTreeSet::new();
    let mut other_targets = 0;
    for target in targets.as_array_mut().into_iter().flatten() {
        let value = target["value"].as_str().unwrap_or_default().to_owned();
        if target["id"] == EGRESS {
            let rule = state.rules.get(&value);
            target["name"] = json!(rule.map_or("", |rule| &rule.name));
            egress_rules.insert(value);
        } else {
            other_targets += 1;
        }
    }
    let id = Uuid::new_v4().to_string();
    let body = json!({
        "id": id,
        "default": false,
        "meta_data": "",
        "name": fields.raw("name"),
        "network_id": network,
        "policy_type": fields.raw("policy_type"),
        "src_type": fields.raw("src_type"),
        "dst_type": targets,
        "protocol": fields.raw("protocol"),
        "type": fields.raw("type"),
        "ports": null,
        "allowed_traffic_direction": fields.raw("allowed_traffic_direction"),
        "enabled": fields.raw("enabled"),
        "created_by": call.user,
        "created_at": call.now.to_string(),
    });
    let answer = Answer::wrapped("created acl successfully", &body);
    let policy = Policy {
        network,
        body,
        egress_rules,
        other_targets,
    };
    state.policies.insert(id, policy);
    Ok(answer)
}

pub(super) fn list(state: &mut State, call: &Call) -> Result<Answer> {
    let network = call.query("network");
    if network.is_empty() {
        return Err(Answer::bad_request("network id param is missing"));
    }
    let policies: Vec<&Value> = state
        .policies
        .values()
        .filter(|policy| policy.network == network)
        .map(|policy| &policy.body)
        .collect();
    let message = format!("fetched all acls in the network {network}");
    Ok(Answer::wrapped(message, policies))
}

/// Takes a rule out of all policies, and removes those that are left without a destination.
pub(super) fn forget_rule(state: &mut State, rule: &str) {
    for policy in state.policies.values_mut() {
        if policy.egress_rules.remove(rule)
            && let Some(targets) = policy.body["dst_type"].as_array_mut()
        {
            targets.retain(|target| target["id"] != EGRESS || target["value"] != rule);
        }
    }
    state
        .policies
        .retain(|_, policy| !policy.egress_rules.is_empty() || policy.other_targets > 0);
}
