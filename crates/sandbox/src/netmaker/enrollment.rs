//! Enrollment keys, and the registration of a host with one.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use uuid::Uuid;

use super::answer::{Answer, Result};
use super::body::Fields;
use super::hosts;
use super::route::Call;
use super::state::{EnrollmentKey, Host, State};

pub(super) fn create_key(state: &mut State, call: &Call) -> Result<Answer> {
    let fields = Fields::read(&call.body).map_err(Answer::bad_request)?;
    let networks = fields.texts("networks").map_err(Answer::bad_request)?;
    let tags = fields.texts("tags").map_err(Answer::bad_request)?;
    if tags.is_empty() {
        return Err(Answer::bad_request("a key name is required"));
    }
    let value = Uuid::new_v4().simple().to_string();
    let token = json!({"server": "netmaker.test", "value": value}).to_string();
    let token = STANDARD.encode(token);
    let answer = json!({
        "expiration": "0001-01-01T00:00:00Z",
        "uses_remaining": 0,
        "value": value,
        "networks": networks,
        "unlimited": true,
        "tags": tags,
        "token": token,
        "type": 3,
        "default": false,
    });
    state.keys.insert(token, EnrollmentKey { networks, tags });
    Ok(Answer::bare(&answer))
}

pub(super) fn list_keys(state: &mut State, _: &Call) -> Result<Answer> {
    let keys = state.keys.iter().map(|(token, key)| {
        json!({"token": token, "networks": key.networks, "tags": key.tags, "unlimited": true, "type": 3})
    });
    Ok(Answer::bare(&keys.collect()))
}

/// A machine registers, or registers again: its name is what it says now.
pub(super) fn register(state: &mut State, call: &Call) -> Result<Answer> {
    let Some(key) = state.keys.get(call.parameter(0)) else {
        return Err(Answer::bad_request("invalid enrollment key"));
    };
    let networks = key.networks.clone();
    let fields = Fields::read(&call.body).map_err(Answer::bad_request)?;
    let text = |name| fields.text(name).map_err(Answer::bad_request);
    let (id, name) = (text("id")?, text("name")?);
    if id.is_empty() {
        return Err(Answer::bad_request("invalid request body"));
    }
    let reported = hosts::reported(&fields);
    if let Some(host) = state.hosts.get_mut(&id) {
        host.name = name;
        host.rendered = None;
    } else {
        let nodes = fields.has("nodes").then(Vec::new);
        let host = Host {
            reported,
            name,
            nodes,
            rendered: None,
        };
        state.hosts.insert(id.clone(), host);
    }
    for network in networks {
        hosts::join(state, &id, &network, call.now)?;
    }
    let host = state.hosts.get(&id).map(|host| hosts::view(&id, host));
    Ok(Answer::bare(&json!({
        "serverconf": {"server": "netmaker.test"},
        "requested_host": host,
    })))
}
