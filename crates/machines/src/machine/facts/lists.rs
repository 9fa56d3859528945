//! The facts of which there are many: disks, file systems, network interfaces.

use serde::Serialize;
use serde_json::{Map, Value};

use super::{insert, number, text};

/// No list gets longer, whatever a host prints.
const MAX_ENTRIES: usize = 64;

/// The kernel counts the size of a block device in sectors of this many bytes, whatever the
/// device itself does.
const SECTOR_BYTES: u64 = 512;

const KIB: u64 = 1024;

#[derive(Default)]
pub(super) struct Lists {
    filesystems: Vec<Filesystem>,
    disks: Vec<Disk>,
    dns_servers: Vec<String>,
    interfaces: Vec<Interface>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Filesystem {
    source: String,
    mount_point: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    size_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    used_bytes: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Disk {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    size_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rotational: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Interface {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mac: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtu: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    speed_mbps: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    addresses: Vec<String>,
}

impl Lists {
    /// Takes one line of the script's output; other lines are passed over.
    pub(super) fn add(&mut self, fields: &[&str]) {
        match fields {
            ["filesystem", source, mount_point, size, used] => {
                if let (Some(source), Some(mount_point)) = (text(source), text(mount_point)) {
                    let filesystem = Filesystem {
                        source,
                        mount_point,
                        size_bytes: scaled(size, KIB),
                        used_bytes: scaled(used, KIB),
                    };
                    push(&mut self.filesystems, filesystem);
                }
            }
            ["disk", name, sectors, rotational, model, serial] => {
                if let Some(name) = text(name) {
                    let disk = Disk {
                        name,
                        size_bytes: scaled(sectors, SECTOR_BYTES),
                        rotational: number(rotational).map(|flag| flag != 0),
                        model: text(model),
                        serial: text(serial),
                    };
                    push(&mut self.disks, disk);
                }
            }
            ["dns", address] => {
                if let Some(address) = text(address) {
                    push(&mut self.dns_servers, address);
                }
            }
            ["interface", name, mac, mtu, speed] => {
                if let Some(name) = text(name) {
                    let interface = Interface {
                        name,
                        mac: text(mac).filter(|mac| mac != "00:00:00:00:00:00"),
                        mtu: number(mtu),
                        // A link that is down has speed -1, which is no number here.
                        speed_mbps: number(speed).filter(|speed| *speed > 0),
                        addresses: Vec::new(),
                    };
                    push(&mut self.interfaces, interface);
                }
            }
            ["address", interface, address] => self.add_address(interface, address),
            _ => {}
        }
    }

    /// `eth0@if5`, as `ip` names one end of a pair, is the interface `eth0`.
    fn add_address(&mut self, interface: &str, address: &str) {
        let name = interface.split('@').next().unwrap_or_default();
        let found = self
            .interfaces
            .iter_mut()
            .find(|interface| interface.name == name);
        if let (Some(interface), Some(address)) = (found, text(address)) {
            push(&mut interface.addresses, address);
        }
    }

    /// Puts the lists where they belong; empty ones are left out.
    pub(super) fn insert_into(self, facts: &mut Map<String, Value>) {
        let lists = [
            ("storage.filesystems", list(&self.filesystems)),
            ("storage.disks", list(&self.disks)),
            ("network.dnsServers", list(&self.dns_servers)),
            ("network.interfaces", list(&self.interfaces)),
        ];
        for (name, list) in lists {
            if let Some(list) = list {
                insert(facts, name, list);
            }
        }
    }
}

fn push<T>(list: &mut Vec<T>, entry: T) {
    if list.len() < MAX_ENTRIES {
        list.push(entry);
    }
}

fn scaled(value: &str, unit: u64) -> Option<u64> {
    number(value)?.checked_mul(unit)
}

fn list(entries: &[impl Serialize]) -> Option<Value> {
    let value = serde_json::to_value(entries).expect("texts and numbers are JSON");
    (!entries.is_empty()).then_some(value)
}
