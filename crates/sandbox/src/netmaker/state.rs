//! What the server keeps.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;

use super::answer::{Answer, Result};
use super::egress::Rule;
use super::token::Signer;

/// The whole database. Maps are ordered by key, as the server's answers are.
#[derive(Debug)]
pub(super) struct State {
    pub(super) signer: Signer,
    pub(super) accounts: BTreeMap<String, Account>,
    pub(super) access_tokens: BTreeMap<String, AccessToken>,
    pub(super) networks: BTreeMap<String, Network>,
    pub(super) keys: BTreeMap<String, EnrollmentKey>,
    pub(super) hosts: BTreeMap<String, Host>,
    pub(super) nodes: BTreeMap<String, Node>,
    pub(super) external_clients: Vec<ExternalClient>,
    pub(super) policies: BTreeMap<String, Policy>,
    pub(super) rules: BTreeMap<String, Rule>,
    /// Rules are listed in the order in which they were made.
    pub(super) rules_made: u64,
}

#[derive(Debug)]
pub(super) struct Account {
    pub(super) password: String,
    pub(super) role: &'static str,
    pub(super) is_disabled: bool,
    pub(super) second_factor: Option<Vec<u8>>,
}

#[derive(Debug)]
pub(super) struct AccessToken {
    pub(super) name: String,
    pub(super) user: String,
    pub(super) created_by: String,
    pub(super) created_at: Timestamp,
    pub(super) expires_at: String,
}

#[derive(Debug)]
pub(super) struct Network {
    pub(super) range: String,
    pub(super) range6: String,
    /// How many addresses were given away.
    pub(super) addresses: u32,
}

#[derive(Debug)]
pub(super) struct EnrollmentKey {
    pub(super) networks: Vec<String>,
    pub(super) tags: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Host {
    /// What the machine said of itself.
    pub(super) reported: Value,
    pub(super) name: String,
    /// None until the machine sends a list or joins something.
    pub(super) nodes: Option<Vec<String>>,
    /// The entry of the host list, made when it is asked for.
    pub(super) rendered: Option<String>,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) host: String,
    pub(super) network: String,
    pub(super) address: String,
    pub(super) address6: String,
    pub(super) is_leaving: bool,
    pub(super) is_gateway: bool,
    pub(super) is_online: bool,
    pub(super) last_check_in: i64,
    /// The entry of the node list, made when it is asked for.
    pub(super) rendered: Option<String>,
}

#[derive(Debug)]
pub(super) struct ExternalClient {
    pub(super) id: String,
    pub(super) network: String,
    pub(super) gateway: String,
}

#[derive(Debug)]
pub(super) struct Policy {
    pub(super) network: String,
    /// As it was sent, with the names of what it points at.
    pub(super) body: Value,
    pub(super) egress_rules: BTreeSet<String>,
    pub(super) other_targets: usize,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            signer: Signer::new(),
            accounts: BTreeMap::new(),
            access_tokens: BTreeMap::new(),
            networks: BTreeMap::new(),
            keys: BTreeMap::new(),
            hosts: BTreeMap::new(),
            nodes: BTreeMap::new(),
            external_clients: Vec::new(),
            policies: BTreeMap::new(),
            rules: BTreeMap::new(),
            rules_made: 0,
        }
    }

    /// The account of this name.
    ///
    /// # Errors
    /// The texts of the server's database, as 401.
    pub(super) fn account(&self, name: &str) -> Result<&Account> {
        if name.is_empty() {
            return Err(Answer::unauthorized("user identifiers not provided"));
        }
        let found = self.accounts.get(name);
        found.ok_or_else(|| Answer::unauthorized("record not found"))
    }

    pub(super) fn account_mut(&mut self, name: &str) -> Result<&mut Account> {
        let found = self.accounts.get_mut(name);
        found.ok_or_else(|| Answer::internal("record not found"))
    }

    /// Takes a node out of its host, and out of the rules that name it. The rules stay.
    pub(super) fn remove_node(&mut self, id: &str) {
        let Some(node) = self.nodes.remove(id) else {
            return;
        };
        if let Some(host) = self.hosts.get_mut(&node.host) {
            host.rendered = None;
            if let Some(nodes) = &mut host.nodes {
                nodes.retain(|other| other != id);
            }
        }
        for rule in self.rules.values_mut() {
            if rule.network == node.network {
                rule.nodes.remove(id);
            }
        }
        self.external_clients.retain(|client| client.gateway != id);
    }
}
