//! Egress rules, with all that the server lets through.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::answer::{Answer, Result};
use super::body::Fields;
use super::policies;
use super::range;
use super::route::Call;
use super::state::State;

const DIRECT: &str = "direct_nat";

/// An egress rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// Made by the server.
    pub id: String,
    /// Free text.
    pub name: String,
    /// Name of the network.
    pub network: String,
    /// Free text.
    pub description: String,
    /// Routing nodes and their metrics.
    pub nodes: BTreeMap<String, i64>,
    /// Tags and their metrics.
    pub tags: BTreeMap<String, i64>,
    /// A range in canonical form, `*`, or nothing.
    pub range: String,
    /// How addresses are translated.
    pub mode: &'static str,
    /// Of the paid edition.
    pub virtual_range: String,
    /// Addresses of the domain.
    pub domain_ans: Vec<String>,
    /// A domain in the place of a range.
    pub domain: String,
    /// Whether addresses are translated.
    pub nat: bool,
    /// Whether the rule is on.
    pub status: bool,
    /// Name of the account that made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last written.
    pub updated_at: Timestamp,
    #[serde(skip)]
    order: u64,
}

/// What a client asks for.
struct Request {
    id: String,
    name: String,
    network: String,
    description: String,
    nodes: BTreeMap<String, i64>,
    tags: BTreeMap<String, i64>,
    range: String,
    domain: String,
    nat: bool,
    status: bool,
    is_internet_gateway: bool,
}

impl Request {
    fn read(body: &[u8]) -> std::result::Result<Self, String> {
        let fields = Fields::read(body)?;
        fields.text("mode")?;
        Ok(Self {
            id: fields.text("id")?,
            name: fields.text("name")?,
            network: fields.text("network")?,
            description: fields.text("description")?,
            nodes: fields.numbers("nodes")?,
            tags: fields.numbers("tags")?,
            range: fields.text("range")?,
            domain: fields.text("domain")?,
            nat: fields.flag("nat")?,
            status: fields.flag("status")?,
            is_internet_gateway: fields.flag("is_internet_gateway")?,
        })
    }

    /// A gateway to the internet has the range `*`; a domain wins over a range.
    fn settle_range(&mut self) -> std::result::Result<(), String> {
        if self.is_internet_gateway {
            "*".clone_into(&mut self.range);
            self.domain.clear();
            return Ok(());
        }
        if !self.range.is_empty() {
            self.range = range::normalize(&self.range)?;
        }
        if !self.domain.is_empty() {
            if !is_domain(&self.domain) {
                return Err("bad domain name".to_owned());
            }
            self.range.clear();
        }
        Ok(())
    }

    /// Tags win over nodes.
    fn settle_nodes(&mut self, state: &State) -> std::result::Result<(), String> {
        if !self.tags.is_empty() {
            self.nodes.clear();
        }
        if self.nodes.len() > 1 {
            return Err("can only set one routing node on CE".to_owned());
        }
        if self.nodes.keys().any(|id| !state.nodes.contains_key(id)) {
            return Err("invalid routing node no result found".to_owned());
        }
        Ok(())
    }
}

pub(super) fn list(state: &mut State, call: &Call) -> Result<Answer> {
    let network = call.query("network");
    if network.is_empty() {
        return Err(Answer::bad_request("network is required"));
    }
    Ok(Answer::wrapped(
        "fetched egress resource list",
        of_network(state, network),
    ))
}

/// The rules of a network, in the order in which they were made.
pub(super) fn of_network<'a>(state: &'a State, network: &str) -> Vec<&'a Rule> {
    let rules = state.rules.values();
    let mut rules: Vec<&Rule> = rules.filter(|rule| rule.network == network).collect();
    rules.sort_by_key(|rule| rule.order);
    rules
}

/// The rule that was made next after so many.
pub(super) fn made_after(state: &State, made: u64) -> Option<String> {
    let mut rules = state.rules.values();
    let rule = rules.find(|rule| rule.order == made + 1);
    rule.map(|rule| rule.id.clone())
}

/// Makes a rule. It is on whatever was asked for, and nothing is too like another rule.
pub(super) fn create(state: &mut State, call: &Call) -> Result<Answer> {
    let mut request = Request::read(&call.body).map_err(Answer::bad_request)?;
    request.settle_range().map_err(Answer::bad_request)?;
    known_network(state, &request.network)?;
    request.settle_nodes(state).map_err(Answer::bad_request)?;
    state.rules_made += 1;
    let rule = Rule {
        id: Uuid::new_v4().to_string(),
        name: request.name,
        network: request.network,
        description: request.description,
        nodes: request.nodes,
        tags: request.tags,
        range: request.range,
        mode: DIRECT,
        virtual_range: String::new(),
        domain_ans: Vec::new(),
        domain: request.domain,
        nat: request.nat,
        status: true,
        created_by: call.user.clone(),
        created_at: call.now,
        updated_at: call.now,
        order: state.rules_made,
    };
    let answer = Answer::wrapped("created egress resource", &rule);
    state.rules.insert(rule.id.clone(), rule);
    Ok(answer)
}

/// Replaces a rule whole, but never moves it. Without an id that is the first rule of all.
pub(super) fn update(state: &mut State, call: &Call) -> Result<Answer> {
    let mut request = Request::read(&call.body).map_err(Answer::bad_request)?;
    known_network(state, &request.network)?;
    request.settle_range().map_err(Answer::bad_request)?;
    let id = if request.id.is_empty() {
        state.rules.keys().next().cloned().unwrap_or_default()
    } else {
        request.id.clone()
    };
    if !state.rules.contains_key(&id) {
        return Err(Answer::bad_request("record not found"));
    }
    request.settle_nodes(state).map_err(Answer::bad_request)?;
    let Some(rule) = state.rules.get_mut(&id) else {
        return Err(Answer::bad_request("record not found"));
    };
    rule.name = request.name;
    rule.description = request.description;
    rule.nodes = request.nodes;
    rule.tags = request.tags;
    rule.range = request.range;
    rule.domain = request.domain;
    rule.nat = request.nat;
    rule.mode = if request.nat { DIRECT } else { "" };
    rule.status = request.status;
    rule.updated_at = call.now;
    Ok(Answer::wrapped("updated egress resource", &*rule))
}

pub(super) fn delete(state: &mut State, call: &Call) -> Result<Answer> {
    let id = call.query("id");
    if id.is_empty() {
        return Err(Answer::bad_request("id is required"));
    }
    if state.rules.remove(id).is_none() {
        return Err(Answer::bad_request("record not found"));
    }
    policies::forget_rule(state, id);
    Ok(Answer::wrapped("deleted egress resource", ()))
}

fn known_network(state: &State, name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(Answer::bad_request("network identifiers not provided"));
    }
    if !state.networks.contains_key(name) {
        return Err(Answer::bad_request("record not found"));
    }
    Ok(())
}

/// Labels of letters, digits and inner hyphens, and at the end two or more letters.
fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.rsplit_once('.').is_some_and(|(labels, last)| {
        last.len() >= 2
            && last.bytes().all(|byte| byte.is_ascii_alphabetic())
            && labels.split('.').all(is_label)
    })
}
