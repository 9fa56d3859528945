//! The rules for Talos: what `talhelper` reads.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::build;
use crate::finding::{Finding, Severity};
use crate::load::{Document, Repository};
use crate::rules::{Context, Rule};
use crate::yaml::{Node, Value};

/// A configuration that cannot be right.
pub static TAL001: Rule = Rule {
    id: "TAL001",
    title: "`talconfig.yaml` and `talenv.yaml` are complete, and no two nodes share what is one node's",
    severity: Severity::Error,
    consequence: "the configuration cannot be generated, or a node takes the place of another one",
    fix: "correct the value",
    page: include_str!("pages/TAL001.md"),
};

/// A patch that is not there.
pub static TAL002: Rule = Rule {
    id: "TAL002",
    title: "the patches of `talconfig.yaml` exist",
    severity: Severity::Error,
    consequence: "the configuration cannot be generated",
    fix: "correct the path, or add the file",
    page: include_str!("pages/TAL002.md"),
};

/// Versions or numbers that do not fit.
pub static TAL003: Rule = Rule {
    id: "TAL003",
    title: "the number of control planes is odd, and Talos knows the Kubernetes version",
    severity: Severity::Warning,
    consequence: "the loss of one machine more stops etcd, or the upgrade is refused",
    fix: "run one control plane more or less, or another version",
    page: include_str!("pages/TAL003.md"),
};

/// A disk that may be another one after a restart.
pub static TAL004: Rule = Rule {
    id: "TAL004",
    title: "the disk for the installation is named by what does not change",
    severity: Severity::Warning,
    consequence: "after a restart or another disk, the name may mean a disk with data",
    fix: "use `installDiskSelector` with the serial number of the disk",
    page: include_str!("pages/TAL004.md"),
};

/// What breaks the rules of this module.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let repository = context.repository;
    let mut findings = Vec::new();
    for document in &repository.documents {
        let path = &repository.sources.get(document.file).path;
        let (folder, name) = path.rsplit_once('/').unwrap_or((".", path));
        match name {
            "talconfig.yaml" => {
                findings.extend(whole(&document.root));
                findings.extend(nodes(&document.root));
                findings.extend(patches(repository, folder, &document.root));
                findings.extend(numbers(repository, folder, &document.root));
                findings.extend(disks(&document.root));
            }
            "talenv.yaml" => findings.extend(versions(document)),
            _ => {}
        }
    }
    findings
}

fn list<'a>(node: &'a Node, key: &str) -> &'a [Node] {
    node.get(key).map_or(&[][..], Node::items)
}

fn whole(root: &Node) -> Vec<Finding> {
    let mut findings = Vec::new();
    let start = root.fields().first().map_or(root.at, |field| field.key_at);
    for key in ["clusterName", "endpoint"] {
        if root.text_of(key).is_none_or(str::is_empty) {
            let at = root.field(key).map_or(start, |field| field.key_at);
            findings.push(Finding::new(
                &TAL001,
                at,
                format!("the cluster has no `{key}`"),
            ));
        }
    }
    if let Some(endpoint) = root.get("endpoint") {
        let is_url = endpoint
            .text()
            .is_some_and(|text| text.starts_with("https://") && text.len() > 8);
        if !is_url && endpoint.text().is_some_and(|text| !text.is_empty()) {
            findings.push(Finding::new(
                &TAL001,
                endpoint.at,
                "the endpoint is no URL that begins with https://",
            ));
        }
    }
    let nodes = list(root, "nodes");
    if nodes.is_empty() {
        let at = root.field("nodes").map_or(start, |field| field.key_at);
        findings.push(Finding::new(&TAL001, at, "the cluster has no `nodes`"));
    } else if !nodes.iter().any(is_control_plane) {
        let at = root.field("nodes").map_or(start, |field| field.key_at);
        findings.push(Finding::new(&TAL001, at, "no node is a control plane"));
    }
    findings
}

fn is_control_plane(node: &Node) -> bool {
    node.get("controlPlane")
        .is_some_and(|node| node.value == Value::Bool(true))
}

/// What belongs to one node: how it is called in messages, and its values.
fn own(node: &Node) -> Vec<(&'static str, &Node)> {
    let mut own = Vec::new();
    for (what, path) in [
        ("host name", &["hostname"][..]),
        ("address", &["ipAddress"]),
        ("disk serial", &["installDiskSelector", "serial"]),
    ] {
        own.extend(node.path(path).map(|value| (what, value)));
    }
    for interface in list(node, "networkInterfaces") {
        let address = interface.path(&["deviceSelector", "hardwareAddr"]);
        own.extend(address.map(|value| ("hardware address", value)));
    }
    own
}

fn nodes(root: &Node) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut known: BTreeMap<(&str, String), &str> = BTreeMap::new();
    for node in list(root, "nodes") {
        let name = node.text_of("hostname").unwrap_or("a node without a name");
        for key in ["hostname", "ipAddress"] {
            if node.get(key).is_none() {
                findings.push(Finding::new(
                    &TAL001,
                    node.at,
                    format!("the node has no `{key}`"),
                ));
            }
        }
        for (what, value) in own(node) {
            if let Some(message) = malformed(what, value) {
                findings.push(Finding::new(&TAL001, value.at, message));
                continue;
            }
            let text = value.scalar_text().unwrap_or_default().to_ascii_lowercase();
            if let Some(other) = known.insert((what, text), name) {
                let message = format!("the {what} is that of {other} too");
                findings.push(Finding::new(&TAL001, value.at, message));
            }
        }
        findings.extend(collisions(root, node));
        findings.extend(schematic(node));
    }
    findings
}

fn malformed(what: &str, value: &Node) -> Option<String> {
    let Some(text) = value.text() else {
        return Some(format!("the {what} is read as a number; it needs quotes"));
    };
    let is_right = match what {
        "address" => text
            .split(',')
            .all(|address| address.trim().parse::<IpAddr>().is_ok()),
        "hardware address" => text.contains('*') || is_hardware_address(text),
        "host name" => is_label(text),
        _ => !text.is_empty(),
    };
    (!is_right).then(|| format!("{text:?} is no {what}"))
}

fn is_hardware_address(text: &str) -> bool {
    let parts: Vec<_> = text.split(':').collect();
    let is_byte =
        |part: &&str| part.len() == 2 && part.chars().all(|letter| letter.is_ascii_hexdigit());
    parts.len() == 6 && parts.iter().all(is_byte)
}

fn is_label(text: &str) -> bool {
    let is_letter = |letter: char| {
        letter.is_ascii_lowercase() || letter.is_ascii_digit() || matches!(letter, '-' | '.')
    };
    (1..=63).contains(&text.len())
        && text.chars().all(is_letter)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// The address that moves between nodes belongs to none of them.
fn collisions(root: &Node, node: &Node) -> Vec<Finding> {
    let vips = list(node, "networkInterfaces")
        .iter()
        .filter_map(|interface| interface.path(&["vip", "ip"]));
    let is_taken = |vip: &&Node| {
        let mut nodes = list(root, "nodes").iter();
        vip.text().is_some() && nodes.any(|node| node.text_of("ipAddress") == vip.text())
    };
    vips.filter(is_taken)
        .map(|vip| {
            Finding::new(
                &TAL001,
                vip.at,
                "the shared address is the address of a node",
            )
        })
        .collect()
}

/// The image of the factory is named by the hash of what is in it.
fn schematic(node: &Node) -> Option<Finding> {
    let url = node.get("talosImageURL")?;
    let hash = url
        .text()?
        .split("/installer")
        .nth(1)?
        .rsplit('/')
        .next()?
        .split(':')
        .next()?;
    let is_hash = hash.len() == 64 && hash.chars().all(|letter| letter.is_ascii_hexdigit());
    let is_factory = url.text()?.starts_with("factory.talos.dev/");
    let message = "the schematic of the image has not 64 hexadecimal digits";
    (is_factory && !is_hash).then(|| Finding::new(&TAL001, url.at, message))
}

fn versions(document: &Document) -> Vec<Finding> {
    let fields = ["talosVersion", "kubernetesVersion"].into_iter();
    let wrong = fields.filter_map(|key| {
        let node = document.root.get(key)?;
        let message = format!("`{key}` is not written as v1.2.3");
        minor(node)
            .is_none()
            .then(|| Finding::new(&TAL001, node.at, message))
    });
    wrong.collect()
}

/// The minor number of `v1.2.3`.
fn minor(node: &Node) -> Option<u32> {
    let mut parts = node.text()?.strip_prefix('v')?.split('.');
    let numbers = [parts.next()?, parts.next()?, parts.next()?];
    let numbers = numbers.map(|part| part.parse::<u32>().ok());
    match (numbers, parts.next()) {
        ([Some(1), Some(minor), Some(_)], None) => Some(minor),
        _ => None,
    }
}

fn patches(repository: &Repository, folder: &str, root: &Node) -> Vec<Finding> {
    let mut lists = vec![list(root, "patches")];
    for part in ["controlPlane", "worker"] {
        lists.extend(root.get(part).map(|part| list(part, "patches")));
    }
    lists.extend(list(root, "nodes").iter().map(|node| list(node, "patches")));
    let all = lists.into_iter().flatten();
    let missing = all.filter_map(|patch| {
        let path = patch.text()?.strip_prefix('@')?;
        let exists = build::join(folder, path).is_some_and(|path| repository.exists(&path));
        let message = format!("the patch {path} does not exist");
        (!exists).then(|| Finding::new(&TAL002, patch.at, message))
    });
    missing.collect()
}

fn numbers(repository: &Repository, folder: &str, root: &Node) -> Vec<Finding> {
    let mut findings = Vec::new();
    let count = list(root, "nodes")
        .iter()
        .filter(|node| is_control_plane(node))
        .count();
    if count > 0 && count % 2 == 0 {
        let at = root.field("nodes").map_or(root.at, |field| field.key_at);
        findings.push(Finding::new(
            &TAL003,
            at,
            format!("the cluster has {count} control planes"),
        ));
    }
    let environment =
        build::join(folder, "talenv.yaml").and_then(|path| repository.sources.find(&path));
    let environment = environment.and_then(|file| repository.documents_of(file).first());
    let node = |key| {
        let own = root.get(key).filter(|node| minor(node).is_some());
        own.or_else(|| environment?.root.get(key))
    };
    if let (Some(talos), Some(kubernetes)) = (node("talosVersion"), node("kubernetesVersion"))
        && let (Some(version), Some(wanted)) = (minor(talos), minor(kubernetes))
    {
        // Each version of Talos has supported six of Kubernetes: 1.10 those from 1.28 to 1.33.
        let (first, last) = (version + 18, version + 23);
        if version >= 6 && !(first..=last).contains(&wanted) {
            let message = format!("Talos 1.{version} supports Kubernetes 1.{first} to 1.{last}");
            findings.push(Finding::new(&TAL003, kubernetes.at, message));
        }
    }
    findings
}

fn disks(root: &Node) -> Vec<Finding> {
    let fields = list(root, "nodes")
        .iter()
        .filter_map(|node| node.field("installDisk"));
    let by_path = fields.filter(|field| {
        let path = field.node.text().unwrap_or_default();
        path.starts_with("/dev/") && !path.starts_with("/dev/disk/by-")
    });
    by_path
        .map(|field| {
            Finding::new(
                &TAL004,
                field.node.at,
                "the disk is named by its place, which may change",
            )
        })
        .collect()
}
