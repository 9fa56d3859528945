//! Discovery: groups, versions, resources, the version, health.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::answer::Answer;
use crate::registry::{Group, Kind, Registry, Version};
use crate::request::Request;
use crate::request::media;
use crate::request::options::Query;
use crate::request::path::Target;
use crate::status::Status;
use crate::storage::Storage;

/// How long the storage may take to count as healthy.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

/// The version of Kubernetes whose API is imitated.
const MINOR: &str = "36";

/// Answers `/api`, `/apis` and what is directly below.
///
/// # Errors
/// 404 for groups and versions that are not served.
pub fn document(registry: &Registry, target: &Target, request: &Request) -> Result<Answer, Status> {
    let groups = registry.groups();
    let accept = request.header(&http::header::ACCEPT);
    let aggregates = matches!(target, Target::CoreVersions | Target::Groups);
    if !(aggregates && media::wants_aggregated(accept).is_some()) {
        media::negotiate(accept)?;
    }
    match target {
        Target::Root => Ok(Answer::json(json!({"paths": paths(&groups)}))),
        Target::CoreVersions | Target::Groups => {
            let core = *target == Target::CoreVersions;
            let groups: Vec<&Group> = groups
                .iter()
                .filter(|group| group.name.is_empty() == core)
                .collect();
            match media::wants_aggregated(accept) {
                Some(version) => Ok(aggregated(&groups, version, request)),
                None if core => Ok(Answer::json(core_versions())),
                None => {
                    let groups: Vec<Value> = groups.iter().map(|group| summary(group)).collect();
                    Ok(Answer::json(json!({
                        "kind": "APIGroupList", "apiVersion": "v1", "groups": groups,
                    })))
                }
            }
        }
        Target::Group(name) => {
            let group = groups
                .iter()
                .find(|group| group.name == *name && !name.is_empty());
            let mut document = summary(group.ok_or_else(Status::unknown_path)?);
            document["kind"] = "APIGroup".into();
            document["apiVersion"] = "v1".into();
            Ok(Answer::json(document))
        }
        Target::Resources { group, version } => {
            let group = groups.iter().find(|known| known.name == *group);
            let versions = group
                .map(|group| group.versions.as_slice())
                .unwrap_or_default();
            let version = versions.iter().find(|known| known.name == *version);
            Ok(Answer::json(resource_list(
                version.ok_or_else(Status::unknown_path)?,
            )))
        }
        _ => Err(Status::unknown_path()),
    }
}

/// All paths below which something is served.
fn paths(groups: &[Group]) -> Vec<String> {
    let mut paths: Vec<String> = ["/api", "/apis", "/healthz", "/livez", "/readyz"]
        .into_iter()
        .chain(["/metrics", "/openapi/v2", "/openapi/v3", "/version"])
        .map(str::to_owned)
        .collect();
    for group in groups {
        let base = match group.name.as_str() {
            "" => "/api".to_owned(),
            name => format!("/apis/{name}"),
        };
        paths.extend(group.versions.iter().map(|v| format!("{base}/{}", v.name)));
        paths.push(base);
    }
    paths.sort_unstable();
    paths.dedup();
    paths
}

/// `/version`.
pub fn version() -> Value {
    json!({
        "major": "1",
        "minor": MINOR,
        "gitVersion": format!("v1.{MINOR}.0+nico"),
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, architecture()),
    })
}

/// The name that Kubernetes has for this machine's architecture.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// `/healthz`, `/livez`, `/readyz`: whether the server works, and its storage, which is called
/// `etcd` here whatever it is.
///
/// # Errors
/// 404 for a check that does not exist.
pub async fn health(
    storage: &dyn Storage,
    endpoint: &str,
    check: Option<&str>,
    query: &Query,
) -> Result<Answer, Status> {
    const CHECKS: &[&str] = &["ping", "log", "etcd", "poststarthook/start-informers"];
    if check.is_some_and(|check| !CHECKS.contains(&check)) {
        return Err(Status::unknown_path());
    }
    let excluded = query.all("exclude");
    let asked = match check {
        Some(check) => check == "etcd",
        None => !excluded.contains(&"etcd"),
    };
    let healthy = !asked || is_healthy(storage).await;
    let whole = check.is_none() && (query.has("verbose") || !healthy);
    let mut text = String::from("ok");
    if whole {
        let line = |check: &&str| match *check {
            check if excluded.contains(&check) => format!("[+]{check} excluded: ok\n"),
            "etcd" if !healthy => "[-]etcd failed: reason withheld\n".to_owned(),
            check => format!("[+]{check} ok\n"),
        };
        text = CHECKS.iter().map(line).collect();
        let verdict = if healthy { "passed" } else { "failed" };
        text.push_str(&format!("{endpoint} check {verdict}\n"));
    } else if !healthy {
        text = "internal server error: the storage does not answer\n".to_owned();
    }
    let mut answer = Answer::bytes("text/plain; charset=utf-8", text);
    if let (false, Answer::Raw(response)) = (healthy, &mut answer) {
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    }
    Ok(answer)
}

async fn is_healthy(storage: &dyn Storage) -> bool {
    match tokio::time::timeout(HEALTH_TIMEOUT, storage.revision()).await {
        Ok(Ok(_)) => true,
        Ok(Err(error)) => {
            tracing::warn!(%error, "the storage does not work");
            false
        }
        Err(_) => {
            tracing::warn!(timeout = ?HEALTH_TIMEOUT, "the storage does not answer");
            false
        }
    }
}

fn core_versions() -> Value {
    json!({
        "kind": "APIVersions",
        "apiVersion": "v1",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [],
    })
}

fn summary(group: &Group) -> Value {
    let version = |version: &Version| json!({"groupVersion": group_version(&group.name, &version.name), "version": version.name});
    json!({
        "name": group.name,
        "versions": group.versions.iter().map(version).collect::<Vec<_>>(),
        "preferredVersion": group.versions.first().map(version),
    })
}

fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

fn resource_list(version: &Version) -> Value {
    let mut resources = Vec::new();
    for kind in &version.kinds {
        let mut resource = json!({
            "name": kind.plural,
            "singularName": kind.singular,
            "namespaced": kind.namespaced,
            "kind": kind.kind,
            "verbs": kind.verbs.names(),
        });
        add_names(&mut resource, kind);
        resources.push(resource);
        for subresource in &kind.subresources {
            let mut resource = json!({
                "name": format!("{}/{}", kind.plural, subresource.name),
                "singularName": "",
                "namespaced": kind.namespaced,
                "kind": subresource.kind.unwrap_or(&kind.kind),
                "verbs": subresource.verbs,
            });
            if let Some((group, version)) = subresource.group_version {
                resource["group"] = group.into();
                resource["version"] = version.into();
            }
            resources.push(resource);
        }
    }
    let group_version = version
        .kinds
        .first()
        .map(|kind| kind.api_version())
        .unwrap_or_default();
    json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version,
        "resources": resources,
    })
}

fn add_names(resource: &mut Value, kind: &Kind) {
    if !kind.short_names.is_empty() {
        resource["shortNames"] = json!(kind.short_names);
    }
    if !kind.categories.is_empty() {
        resource["categories"] = json!(kind.categories);
    }
}

/// Clients keep the document and ask with its tag whether it is still the same.
fn aggregated(groups: &[&Group], version: &str, request: &Request) -> Answer {
    let items: Vec<Value> = groups
        .iter()
        .map(|group| {
            let versions: Vec<Value> = group.versions.iter().map(aggregated_version).collect();
            let metadata = if group.name.is_empty() {
                json!({})
            } else {
                json!({"name": group.name})
            };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    let document = json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {},
        "items": items,
    });
    let content_type = match version {
        "v2" => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        _ => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
    };
    let document = document.to_string();
    let digest = Sha256::digest(document.as_bytes());
    let hash: String = digest.iter().map(|byte| format!("{byte:02X}")).collect();
    let tag = format!("\"{hash}\"");
    if request.header(&http::header::IF_NONE_MATCH) == Some(&tag) {
        return Answer::unchanged(&tag);
    }
    Answer::tagged(content_type, document, &tag)
}

fn aggregated_version(version: &Version) -> Value {
    let response = |kind: &Kind, name: &str, group_version: Option<(&str, &str)>| {
        let (group, version) = group_version.unwrap_or((&kind.group, &kind.version));
        json!({"group": group, "version": version, "kind": name})
    };
    let resources: Vec<Value> = version
        .kinds
        .iter()
        .map(|kind| {
            let mut resource = json!({
                "resource": kind.plural,
                "responseKind": response(kind, &kind.kind, None),
                "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
                "singularResource": kind.singular,
                "verbs": kind.verbs.names(),
            });
            add_names(&mut resource, kind);
            let subresources: Vec<Value> = kind
                .subresources
                .iter()
                .map(|sub| {
                    let name = sub.kind.unwrap_or(&kind.kind);
                    json!({
                        "subresource": sub.name,
                        "responseKind": response(kind, name, sub.group_version),
                        "verbs": sub.verbs,
                    })
                })
                .collect();
            if !subresources.is_empty() {
                resource["subresources"] = Value::Array(subresources);
            }
            resource
        })
        .collect();
    json!({"version": version.name, "resources": resources, "freshness": "Current"})
}
