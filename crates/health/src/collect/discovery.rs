//! What the API server serves, known from one look at its API groups, so that a kind which is not
//! there costs no request.

use std::collections::{BTreeMap, BTreeSet};

use http::{Request, Uri};
use kube::Client;
use serde::Deserialize;

use super::list::{AskError, Question, ask};
use crate::world::Kind;

/// Groups with their kinds, and from API servers before 1.27 without.
const ACCEPT: &str =
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

/// The versions of API groups, the best first.
#[derive(Debug)]
pub(super) struct Served(BTreeMap<String, Vec<Version>>);

#[derive(Debug)]
struct Version {
    name: String,
    /// The names in URLs of the kinds that it has; `None` when it is not said.
    plurals: Option<BTreeSet<String>>,
}

impl Served {
    /// The versions in which a kind is served, or may be.
    pub(super) fn versions(&self, kind: &Kind) -> Vec<String> {
        let versions = self.0.get(kind.group).into_iter().flatten();
        let serving = versions.filter(|version| {
            let plurals = version.plurals.as_ref();
            plurals.is_none_or(|plurals| plurals.contains(kind.plural))
        });
        serving.map(|version| version.name.clone()).collect()
    }
}

/// Asks for the API groups.
pub(super) async fn served(client: &Client, question: &Question) -> Result<Served, AskError> {
    let mut request = Request::new(vec![]);
    *request.uri_mut() = Uri::from_static("/apis");
    let text = ask(client, request, ACCEPT, question).await?;
    Ok(understood(&text)?)
}

fn understood(text: &[u8]) -> serde_json::Result<Served> {
    /// Either of the two lists.
    #[derive(Deserialize)]
    struct Answer {
        #[serde(default)]
        groups: Vec<Group>,
        #[serde(default)]
        items: Vec<GroupWithKinds>,
    }

    #[derive(Deserialize)]
    struct Group {
        name: String,
        #[serde(default)]
        versions: Vec<VersionName>,
    }

    #[derive(Deserialize)]
    struct VersionName {
        version: String,
    }

    #[derive(Deserialize)]
    struct GroupWithKinds {
        metadata: GroupMetadata,
        #[serde(default)]
        versions: Vec<VersionWithKinds>,
    }

    #[derive(Deserialize)]
    struct GroupMetadata {
        #[serde(default)]
        name: String,
    }

    #[derive(Deserialize)]
    struct VersionWithKinds {
        version: String,
        /// `Stale` when what serves it does not answer: then its kinds are those of before, or none.
        #[serde(default)]
        freshness: String,
        #[serde(default)]
        resources: Vec<Resource>,
    }

    #[derive(Deserialize)]
    struct Resource {
        resource: String,
    }

    let answer: Answer = serde_json::from_slice(text)?;
    let bare = answer.groups.into_iter().map(|group| {
        let versions = group.versions.into_iter().map(|version| Version {
            name: version.version,
            plurals: None,
        });
        (group.name, versions.collect())
    });
    let with_kinds = answer.items.into_iter().map(|group| {
        let versions = group.versions.into_iter().map(|version| {
            let plurals = version.resources.into_iter().map(|one| one.resource);
            let plurals: BTreeSet<String> = plurals.collect();
            Version {
                name: version.version,
                plurals: (version.freshness != "Stale").then_some(plurals),
            }
        });
        (group.metadata.name, versions.collect())
    });
    Ok(Served(bare.chain(with_kinds).collect()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::world::KINDS;

    /// The versions in which a kind of Flux may be served, by the answer of an API server.
    fn versions(answer: &Value, name: &str) -> Vec<String> {
        let served = understood(answer.to_string().as_bytes()).expect("it is understood");
        let mut kinds = KINDS.iter();
        let kind = kinds.find(|kind| kind.name == name && kind.group.contains("toolkit"));
        served.versions(kind.expect("it is read"))
    }

    #[test]
    fn a_kind_is_looked_for_only_in_the_versions_that_have_it() {
        let answer = |freshness: &str| {
            json!({"kind": "APIGroupDiscoveryList", "items": [{
                "metadata": {"name": "source.toolkit.fluxcd.io"},
                "versions": [
                    {"version": "v1", "freshness": freshness, "resources": [{"resource": "gitrepositories"}]},
                    {"version": "v1beta2", "freshness": "Current", "resources": [
                        {"resource": "gitrepositories"}, {"resource": "ocirepositories"},
                    ]},
                ],
            }]})
        };
        let current = answer("Current");
        assert_eq!(versions(&current, "GitRepository"), ["v1", "v1beta2"]);
        assert_eq!(versions(&current, "OCIRepository"), ["v1beta2"]);
        assert_eq!(versions(&current, "Bucket"), Vec::<String>::new());
        assert_eq!(versions(&current, "HelmRelease"), Vec::<String>::new());
        // Of what does not answer it is not known.
        assert_eq!(versions(&answer("Stale"), "Bucket"), ["v1"]);
    }

    #[test]
    fn an_old_api_server_names_groups_and_versions_alone() {
        let answer = json!({"kind": "APIGroupList", "groups": [{
            "name": "source.toolkit.fluxcd.io",
            "versions": [{"groupVersion": "source.toolkit.fluxcd.io/v1", "version": "v1"}],
        }]});
        assert_eq!(versions(&answer, "Bucket"), ["v1"]);
        assert_eq!(versions(&answer, "HelmRelease"), Vec::<String>::new());
    }
}
