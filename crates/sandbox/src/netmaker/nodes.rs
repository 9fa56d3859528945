//! Nodes: a host in a network. External clients stand in the same lists, with ids of zeros.

use std::sync::LazyLock;

use serde_json::Value;

use super::answer::{Answer, Result};
use super::route::Call;
use super::state::{ExternalClient, Node, State};

const NOBODY: &str = "00000000-0000-0000-0000-000000000000";
/// How long a node may stay away, in seconds.
const LIFETIME: i64 = 315_360_000;

/// An entry of the list with every field that a real server has.
static BLANK: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("node.json")).unwrap_or_default());

pub(super) fn list(state: &mut State, _: &Call) -> Result<Answer> {
    Ok(list_where(state, |_| true))
}

pub(super) fn list_network(state: &mut State, call: &Call) -> Result<Answer> {
    let wanted = call.parameter(0);
    Ok(list_where(state, |network| network == wanted))
}

fn list_where(state: &mut State, wanted: impl Fn(&str) -> bool) -> Answer {
    let networks = &state.networks;
    let clients: Vec<String> = state
        .external_clients
        .iter()
        .filter(|client| wanted(&client.network))
        .map(|client| external(client, ranges(networks, &client.network)).to_string())
        .collect();
    let nodes = state
        .nodes
        .iter_mut()
        .filter(|(_, node)| wanted(&node.network))
        .map(|(id, node)| rendered(id, node, networks));
    Answer::list(clients.iter().map(String::as_str).chain(nodes))
}

type Networks = std::collections::BTreeMap<String, super::state::Network>;

fn ranges<'a>(networks: &'a Networks, name: &str) -> (&'a str, &'a str) {
    let network = networks.get(name);
    network.map_or(("", ""), |network| (&network.range, &network.range6))
}

fn rendered<'a>(id: &str, node: &'a mut Node, networks: &Networks) -> &'a str {
    if node.rendered.is_none() {
        let ranges = ranges(networks, &node.network);
        node.rendered = Some(view(id, node, ranges).to_string());
    }
    node.rendered.as_deref().unwrap_or_default()
}

/// A node as the lists show it.
pub(super) fn view(id: &str, node: &Node, (range, range6): (&str, &str)) -> Value {
    let mut view = BLANK.clone();
    for time in ["lastmodified", "lastcheckin", "lastpeerupdate"] {
        view[time] = node.last_check_in.into();
    }
    view["expdatetime"] = (node.last_check_in + LIFETIME).into();
    for (field, text) in [
        ("id", id),
        ("hostid", &node.host),
        ("address", &node.address),
        ("address6", &node.address6),
        ("network", &node.network),
        ("networkrange", range),
        ("networkrange6", range6),
        ("status", if node.is_online { "online" } else { "offline" }),
    ] {
        view[field] = text.into();
    }
    for (field, flag) in [
        ("is_gw", node.is_gateway),
        ("isingressgateway", node.is_gateway),
        ("pendingdelete", node.is_leaving),
    ] {
        view[field] = flag.into();
    }
    view
}

fn external(client: &ExternalClient, ranges: (&str, &str)) -> Value {
    let node = Node {
        host: NOBODY.to_owned(),
        network: client.network.clone(),
        address: String::new(),
        address6: String::new(),
        is_leaving: false,
        is_gateway: false,
        is_online: true,
        last_check_in: 0,
        rendered: None,
    };
    let mut view = view(NOBODY, &node, ranges);
    view["is_static"] = true.into();
    let about = &mut view["static_node"];
    about["clientid"] = client.id.as_str().into();
    about["network"] = client.network.as_str().into();
    about["ingressgatewayid"] = client.gateway.as_str().into();
    about["enabled"] = true.into();
    view
}
