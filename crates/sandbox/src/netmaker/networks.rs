//! Networks.

use std::net::Ipv4Addr;

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::answer::{Answer, Result};
use super::body::Fields;
use super::range;
use super::route::Call;
use super::state::{Network, State};

/// The list is JSON that says it is plain text.
pub(super) fn list(state: &mut State, _: &Call) -> Result<Answer> {
    let networks = state.networks.iter();
    let networks = networks.map(|(name, network)| view(name, network));
    Ok(Answer::labelled_text(&networks.collect()))
}

pub(super) fn show(state: &mut State, call: &Call) -> Result<Answer> {
    let name = call.parameter(0);
    match state.networks.get(name) {
        Some(network) => Ok(Answer::bare(&view(name, network))),
        None => Err(Answer::error(StatusCode::NOT_FOUND, "record not found")),
    }
}

pub(super) fn create(state: &mut State, call: &Call) -> Result<Answer> {
    let fields = Fields::read(&call.body).map_err(Answer::bad_request)?;
    let text = |name| fields.text(name).map_err(Answer::bad_request);
    let (name, given, given6) = (
        text("netid")?,
        text("addressrange")?,
        text("addressrange6")?,
    );
    let is_allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    if name.is_empty() || name.len() > 32 || !name.bytes().all(is_allowed) {
        return Err(Answer::bad_request(
            "network name must be 1 to 32 of a-z, 0-9, - and _",
        ));
    }
    if given.is_empty() && given6.is_empty() {
        return Err(Answer::bad_request("IPv4 or IPv6 CIDR required"));
    }
    if state.networks.contains_key(&name) {
        return Err(Answer::bad_request("network already exists"));
    }
    let normalized = |given: &str| match given {
        "" => Ok(String::new()),
        given => range::normalize(given).map_err(Answer::bad_request),
    };
    let network = Network {
        range: normalized(&given)?,
        range6: normalized(&given6)?,
        addresses: 0,
    };
    let answer = Answer::bare(&view(&name, &network));
    state.networks.insert(name, network);
    Ok(answer)
}

/// Removes a network with its nodes. Its egress rules stay, with the ids of nodes that are gone.
pub(super) fn delete(state: &mut State, call: &Call) -> Result<Answer> {
    let name = call.parameter(0);
    let is_there = |network: &str| network == name;
    if !call.is_forced() && state.nodes.values().any(|node| is_there(&node.network)) {
        return Err(Answer::forbidden(
            "Node check failed. All nodes must be deleted before deleting network.",
        ));
    }
    if state.networks.remove(name).is_none() {
        return Err(Answer::internal("record not found"));
    }
    let gone: Vec<String> = state
        .nodes
        .extract_if(.., |_, node| node.network == name)
        .map(|(id, _)| id)
        .collect();
    for host in state.hosts.values_mut() {
        let Some(nodes) = &mut host.nodes else {
            continue;
        };
        let before = nodes.len();
        nodes.retain(|id| !gone.contains(id));
        if nodes.len() != before {
            host.rendered = None;
        }
    }
    state
        .external_clients
        .retain(|client| client.network != name);
    state.policies.retain(|_, policy| policy.network != name);
    Ok(Answer::wrapped("success", ()))
}

impl Network {
    /// The next addresses for a node: of the one family, of the other, or of both.
    pub(super) fn next_addresses(&mut self) -> (String, String) {
        self.addresses += 1;
        let number = self.addresses;
        let address = self.range.split_once('/').and_then(|(first, length)| {
            let first: Ipv4Addr = first.parse().ok()?;
            let address = Ipv4Addr::from(u32::from(first).wrapping_add(number));
            Some(format!("{address}/{length}"))
        });
        let address6 = self.range6.split_once('/').and_then(|(first, length)| {
            let first: std::net::Ipv6Addr = first.parse().ok()?;
            let address =
                std::net::Ipv6Addr::from(u128::from(first).wrapping_add(u128::from(number)));
            Some(format!("{address}/{length}"))
        });
        (address.unwrap_or_default(), address6.unwrap_or_default())
    }
}

fn view(name: &str, network: &Network) -> Value {
    json!({
        "id": name,
        "netid": name,
        "addressrange": network.range,
        "addressrange6": network.range6,
        "defaultkeepalive": 20,
        "defaultacl": "yes",
        "defaultmtu": 1280,
        "auto_join": true,
        "auto_remove": false,
        "auto_remove_tags": [],
        "auto_remove_threshold": 0,
        "jit_enabled": false,
    })
}
