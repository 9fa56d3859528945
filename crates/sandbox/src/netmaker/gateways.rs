//! Gateways and the external clients behind them.

use serde_json::json;

use super::answer::{Answer, Result};
use super::body::Fields;
use super::nodes;
use super::route::Call;
use super::state::{ExternalClient, State};

pub(super) fn make_gateway(state: &mut State, call: &Call) -> Result<Answer> {
    let (network, id) = (call.parameter(0), call.parameter(1));
    let found = state
        .nodes
        .get_mut(id)
        .filter(|node| node.network == network);
    let Some(node) = found else {
        return Err(Answer::bad_request("no result found"));
    };
    node.is_gateway = true;
    node.rendered = None;
    let ranges = state.networks.get(network);
    let ranges = ranges.map_or(("", ""), |network| (&*network.range, &*network.range6));
    Ok(Answer::bare(&nodes::view(id, node, ranges)))
}

pub(super) fn create_client(state: &mut State, call: &Call) -> Result<Answer> {
    let fields = Fields::read(&call.body).map_err(Answer::bad_request)?;
    let id = fields.text("clientid").map_err(Answer::bad_request)?;
    let (network, gateway) = (call.parameter(0), call.parameter(1));
    if !state.nodes.get(gateway).is_some_and(|node| node.is_gateway) {
        return Err(Answer::internal("failed to get ingress gateway host"));
    }
    let answer =
        json!({"clientid": id, "network": network, "ingressgatewayid": gateway, "enabled": true});
    state.external_clients.push(ExternalClient {
        id,
        network: network.to_owned(),
        gateway: gateway.to_owned(),
    });
    Ok(Answer::bare(&answer))
}
