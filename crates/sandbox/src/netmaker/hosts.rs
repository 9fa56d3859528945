//! Hosts: machines that registered, whether they are in a network or not.

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::answer::{Answer, Result};
use super::body::Fields;
use super::route::Call;
use super::state::{Host, Node, State};

const DEFAULT_PAGE: usize = 10;
const LARGEST_PAGE: usize = 100;

pub(super) fn list(state: &mut State, _: &Call) -> Result<Answer> {
    let entries = state.hosts.iter_mut();
    Ok(Answer::list(entries.map(|(id, host)| rendered(id, host))))
}

/// A page of the hosts, by name.
pub(super) fn page(state: &mut State, call: &Call) -> Result<Answer> {
    let number = |name| call.query(name).parse::<i64>().unwrap_or(0);
    let page = match number("page") {
        0 => 1,
        page => page,
    };
    let per_page = match usize::try_from(number("per_page")) {
        Ok(size @ 1..=LARGEST_PAGE) => size,
        _ => DEFAULT_PAGE,
    };
    let (wanted, system) = (call.query("q").to_ascii_lowercase(), call.query("os"));
    let mut found: Vec<(&String, &Host)> = state
        .hosts
        .iter()
        .filter(|(id, host)| wanted.is_empty() || matches(id, host, &wanted))
        .filter(|(_, host)| system.is_empty() || host.reported["os"] == system)
        .collect();
    found.sort_by_key(|(_, host)| &host.name);
    let total = found.len();
    // A page before the first is the first.
    let before = usize::try_from(page - 1).unwrap_or(0);
    let data: Vec<Value> = found
        .into_iter()
        .skip(before.saturating_mul(per_page))
        .take(per_page)
        .map(|(id, host)| view(id, host))
        .collect();
    Ok(Answer::wrapped(
        "fetched hosts",
        json!({
            "data": data,
            "page": page,
            "per_page": per_page,
            "total": total,
            "total_pages": total.div_ceil(per_page).max(1),
        }),
    ))
}

/// Renames the host that the body names, whatever the path says.
pub(super) fn update(state: &mut State, call: &Call) -> Result<Answer> {
    let fields = Fields::read(&call.body).map_err(Answer::internal)?;
    let name = fields.text("name").map_err(Answer::internal)?;
    let id = fields.text("id").map_err(Answer::internal)?;
    if id.parse::<Uuid>().is_err() {
        let length = id.len();
        return Err(Answer::bad_request(format!(
            "failed to parse host id: invalid UUID length: {length}"
        )));
    }
    let Some(host) = state.hosts.get_mut(&id) else {
        return Err(Answer::internal("record not found"));
    };
    host.name = name;
    host.rendered = None;
    Ok(Answer::bare(&view(&id, host)))
}

/// Removes a host with its nodes. Its egress rules stay, with nobody in them.
pub(super) fn delete(state: &mut State, call: &Call) -> Result<Answer> {
    let removed = remove(state, call)?;
    let message = format!("deleted host {}", removed.name);
    Ok(Answer::wrapped(message, view(call.parameter(0), &removed)))
}

pub(super) fn delete_bare(state: &mut State, call: &Call) -> Result<Answer> {
    let removed = remove(state, call)?;
    Ok(Answer::bare(&view(call.parameter(0), &removed)))
}

fn remove(state: &mut State, call: &Call) -> Result<Host> {
    let id = call.parameter(0);
    let Some(host) = state.hosts.get(id) else {
        return Err(Answer::internal("record not found"));
    };
    let nodes = host.nodes.clone().unwrap_or_default();
    if !nodes.is_empty() && !call.is_forced() {
        return Err(Answer::internal("host still has associated nodes"));
    }
    for node in nodes {
        state.remove_node(&node);
    }
    let removed = state.hosts.remove(id);
    removed.ok_or_else(|| Answer::internal("record not found"))
}

pub(super) fn join_network(state: &mut State, call: &Call) -> Result<Answer> {
    let (host, network) = (call.parameter(0), call.parameter(1));
    if !state.hosts.contains_key(host) {
        return Err(Answer::internal("record not found"));
    }
    join(state, host, network, call.now)?;
    Ok(Answer::nothing())
}

/// With force the node goes at once; without, it is marked, and goes when the machine confirms.
pub(super) fn leave_network(state: &mut State, call: &Call) -> Result<Answer> {
    let (host, network) = (call.parameter(0), call.parameter(1));
    let Some(found) = state.hosts.get(host) else {
        return Err(Answer::internal("record not found"));
    };
    let nodes = found.nodes.clone().unwrap_or_default();
    let of_network = |id: &&String| {
        state
            .nodes
            .get(*id)
            .is_some_and(|node| node.network == network)
    };
    let Some(id) = nodes.iter().find(of_network).cloned() else {
        return Err(Answer::internal(format!(
            "host not part of the network {network}"
        )));
    };
    if call.is_forced() {
        state.remove_node(&id);
    } else if let Some(node) = state.nodes.get_mut(&id) {
        node.is_leaving = true;
        node.rendered = None;
    }
    Ok(Answer::nothing())
}

/// Makes a node of this host in this network, unless it has one that stays.
pub(super) fn join(state: &mut State, id: &str, network: &str, now: Timestamp) -> Result<()> {
    let Some(host) = state.hosts.get_mut(id) else {
        return Err(Answer::internal("record not found"));
    };
    let nodes = host.nodes.get_or_insert_default();
    let is_member = nodes.iter().any(|node| {
        let node = state.nodes.get(node);
        node.is_some_and(|node| node.network == network && !node.is_leaving)
    });
    if is_member {
        return Ok(());
    }
    let Some(found) = state.networks.get_mut(network) else {
        return Err(Answer::bad_request("record not found"));
    };
    let (address, address6) = found.next_addresses();
    let node = Uuid::new_v4().to_string();
    nodes.push(node.clone());
    host.rendered = None;
    state.nodes.insert(
        node,
        Node {
            host: id.to_owned(),
            network: network.to_owned(),
            address,
            address6,
            is_leaving: false,
            is_gateway: false,
            is_online: true,
            last_check_in: now.as_second(),
            rendered: None,
        },
    );
    Ok(())
}

/// What is kept of what a machine says of itself.
pub(super) fn reported(fields: &Fields) -> Value {
    let text = |name| fields.text(name).unwrap_or_default();
    let number = |name| fields.number(name).unwrap_or_default();
    json!({
        "version": text("version"),
        "os": text("os"),
        "listenport": number("listenport"),
        "mtu": number("mtu"),
        "interfaces": fields.raw("interfaces"),
        "endpointip": text("endpointip"),
        "publickey": key_text(&fields.raw("publickey")),
        "macaddress": text("macaddress"),
    })
}

/// A key of bytes, as text.
fn key_text(key: &Value) -> String {
    use base64::Engine;
    let bytes: Vec<u8> = key
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|byte| u8::try_from(byte.as_u64()?).ok())
        .collect();
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Whether a host has the text, which is in small letters, in a field that is searched.
fn matches(id: &str, host: &Host, wanted: &str) -> bool {
    let reported = |name: &str| host.reported[name].as_str().unwrap_or_default();
    [
        id,
        &host.name,
        reported("publickey"),
        reported("endpointip"),
    ]
    .iter()
    .any(|text| text.to_ascii_lowercase().contains(wanted))
}

fn rendered<'a>(id: &str, host: &'a mut Host) -> &'a str {
    if host.rendered.is_none() {
        host.rendered = Some(view(id, host).to_string());
    }
    host.rendered.as_deref().unwrap_or_default()
}

pub(super) fn view(id: &str, host: &Host) -> Value {
    let reported = &host.reported;
    json!({
        "id": id,
        "verbosity": 0,
        "firewallinuse": "",
        "version": reported["version"],
        "name": host.name,
        "os": reported["os"],
        "os_family": "",
        "os_version": "",
        "kernel_version": "",
        "debug": false,
        "isstaticport": false,
        "isstatic": false,
        "listenport": reported["listenport"],
        "wg_public_listen_port": 0,
        "mtu": reported["mtu"],
        "interfaces": reported["interfaces"],
        "defaultinterface": "",
        "endpointip": reported["endpointip"],
        "endpointipv6": "",
        "publickey": reported["publickey"],
        "macaddress": reported["macaddress"],
        "nodes": host.nodes,
        "isdefault": false,
        "nat_type": "",
        "persistentkeepalive": 20,
        "autoupdate": true,
        "dns": "yes",
        "enable_flow_logs": false,
        "location": "",
        "country_code": "",
    })
}

#[cfg(test)]
mod tests {
    use axum::http::{Method, StatusCode};

    use super::*;
    use crate::netmaker::route;
    use crate::netmaker::state::{Account, State};
    use crate::netmaker::token::{Claims, LOGIN};

    const USER: &str = "robot";

    /// A server with these hosts, and what it answers to its administrator.
    struct Server(State);

    impl Server {
        fn with(names: &[&str]) -> Self {
            let mut state = State::new();
            let account = Account {
                password: String::new(),
                role: "super-admin",
                is_disabled: false,
                second_factor: None,
            };
            state.accounts.insert(USER.to_owned(), account);
            for name in names {
                let host = Host {
                    reported: json!({"publickey": "Key=", "endpointip": "192.0.2.1"}),
                    name: (*name).to_owned(),
                    nodes: None,
                    rendered: None,
                };
                state.hosts.insert(Uuid::new_v4().to_string(), host);
            }
            Self(state)
        }

        fn ask(&mut self, method: &Method, path: &str, body: &Value) -> (StatusCode, Value) {
            let now = Timestamp::now().as_second();
            let claims = Claims::new(USER, "super-admin", LOGIN, now, now + 60);
            let token = format!("Bearer {}", self.0.signer.sign(&claims));
            let uri = path.parse().unwrap();
            let body = body.to_string().into();
            let (answer, _) = route::answer(&mut self.0, method, &uri, Some(&token), body);
            let (status, body) = answer.shown();
            (status, serde_json::from_str(&body).unwrap())
        }

        fn page(&mut self, query: &str) -> Value {
            let path = format!("/api/v1/hosts?{query}");
            self.ask(&Method::GET, &path, &Value::Null).1["Response"].take()
        }
    }

    fn names(page: &Value) -> Vec<&str> {
        let data = page["data"].as_array().into_iter().flatten();
        data.filter_map(|host| host["name"].as_str()).collect()
    }

    #[test]
    fn pages_are_searched_in_any_case_and_there_is_always_one() {
        let mut server = Server::with(&["b-Worker", "a-worker", "other"]);
        let page = server.page("q=WORKER&per_page=1");
        assert_eq!(names(&page), ["a-worker"]);
        assert_eq!(
            (&page["total"], &page["total_pages"]),
            (&json!(2), &json!(2))
        );
        assert_eq!(
            names(&server.page("q=WORKER&per_page=1&page=2")),
            ["b-Worker"]
        );

        let nothing = server.page("q=nobody&per_page=101");
        let expected = json!({"data": [], "page": 1, "per_page": 10, "total": 0, "total_pages": 1});
        assert_eq!(nothing, expected);
        let before = server.page("page=-1");
        assert_eq!((names(&before).len(), &before["page"]), (3, &json!(-1)));
    }

    #[test]
    fn the_body_says_which_host_is_renamed() {
        let mut server = Server::with(&["old"]);
        let id = server.0.hosts.keys().next().cloned().unwrap();
        let path = format!("/api/hosts/{id}");
        let (status, _) = server.ask(&Method::PUT, &path, &json!({"id": id, "name": "new"}));
        assert_eq!(status, StatusCode::OK);
        assert_eq!(names(&server.page("")), ["new"]);

        let (status, answer) = server.ask(&Method::PUT, &path, &json!({"name": "newer"}));
        assert_eq!(status, StatusCode::BAD_REQUEST);
        let message = "failed to parse host id: invalid UUID length: 0";
        assert_eq!(answer["Message"], message);
        let stranger = json!({"id": Uuid::new_v4().to_string(), "name": "newer"});
        let (status, _) = server.ask(&Method::PUT, &path, &stranger);
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    }
}
