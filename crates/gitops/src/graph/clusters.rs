//! The clusters of a repository: mostly one. Where two folders bring a Kustomization of the same name and
//! namespace, each is a cluster of its own, and what lies in neither belongs to both.

use std::collections::BTreeSet;

use crate::load::Repository;

use super::Graph;
use super::discover::Survey;

/// The files that one cluster is made of: all but those of the others.
pub(super) struct Part {
    others: Vec<String>,
}

impl Part {
    fn everything() -> Self {
        Self { others: Vec::new() }
    }

    /// Whether a file is none of another cluster's.
    pub(super) fn has(&self, path: &str) -> bool {
        !self.others.iter().any(|home| is_in(path, home))
    }
}

impl Graph {
    /// The clusters of a repository; at least one, which may be empty.
    pub fn clusters(repository: &Repository) -> Vec<Self> {
        let survey = Survey::new(repository);
        let everything = Part::everything();
        let all = survey.discover(&everything);
        let homes = homes(&all);
        if homes.len() < 2 {
            let mut clusters = vec![all];
            survey.collect_rest(&mut clusters[0], &everything);
            return clusters;
        }
        let parts = homes.iter().map(|home| Part {
            others: homes
                .iter()
                .filter(|other| *other != home)
                .cloned()
                .collect(),
        });
        let parts: Vec<_> = parts.collect();
        let clusters = parts.iter().zip(&homes).map(|(part, home)| Self {
            home: Some(home.clone()),
            ..survey.discover(part)
        });
        let mut clusters: Vec<_> = clusters.collect();
        share_files(&mut clusters);
        for (cluster, part) in clusters.iter_mut().zip(&parts) {
            survey.collect_rest(cluster, part);
        }
        clusters
    }
}

/// What one cluster applies is not left over in another.
fn share_files(clusters: &mut [Graph]) {
    let union = |files: fn(&Graph) -> &BTreeSet<_>, clusters: &[Graph]| -> BTreeSet<_> {
        clusters.iter().flat_map(files).copied().collect()
    };
    let applied = union(|cluster| &cluster.applied, clusters);
    let taken_in = union(|cluster| &cluster.taken_in, clusters);
    for cluster in clusters {
        cluster
            .unregistered
            .retain(|unregistered| !applied.contains(&unregistered.object.node.at.file));
        cluster.applied.clone_from(&applied);
        cluster.taken_in.clone_from(&taken_in);
    }
}

/// The folders in which the clusters begin, where there are several. The outermost ones count.
fn homes(graph: &Graph) -> Vec<String> {
    if graph.rivals.is_empty() {
        return Vec::new();
    }
    let homes: BTreeSet<&String> = graph.rivals.iter().chain(&graph.bootstrapped).collect();
    let is_inner = |home: &str| homes.iter().any(|outer| is_in(home, outer));
    let outermost = homes.iter().filter(|home| !is_inner(home));
    outermost.map(|home| (*home).clone()).collect()
}

/// Whether a file lies in a folder. What lies at the root lies in no folder but the root.
pub(super) fn is_in(path: &str, folder: &str) -> bool {
    if folder == "." {
        return !path.contains('/');
    }
    let rest = path.strip_prefix(folder);
    rest.is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::RawFile;

    fn kustomization(name: &str, path: &str) -> String {
        format!(
            "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {{name: {name}, namespace: flux-system}}\nspec:\n  path: {path}\n  sourceRef: {{kind: GitRepository, name: flux-system}}\n"
        )
    }

    /// `HOME: NAME PATH, …` for each cluster of a repository.
    fn clusters(files: &[(&str, String)]) -> Vec<String> {
        let mut files = files.to_vec();
        files.sort();
        let repository = Repository::from_files(files.iter().map(|(path, text)| RawFile {
            path: (*path).to_owned(),
            content: Ok(text.as_bytes().to_vec()),
        }));
        assert!(repository.findings.is_empty());
        let clusters = Graph::clusters(&repository).into_iter();
        clusters
            .map(|cluster| {
                assert!(
                    cluster.unregistered.is_empty(),
                    "{:?}",
                    cluster.unregistered
                );
                let mut rest = cluster.rest.iter();
                assert!(rest.all(|object| object.kind() == "Kustomization"));
                let kustomizations = cluster.kustomizations.values();
                let names: Vec<_> = kustomizations
                    .map(|known| {
                        let path = known.spec("path").and_then(crate::yaml::Node::text);
                        format!("{} {}", known.object.name(), path.unwrap_or_default())
                    })
                    .collect();
                format!("{}: {}", cluster.home.unwrap_or_default(), names.join(", "))
            })
            .collect()
    }

    #[test]
    fn clusters_that_flux_was_started_in_are_told_apart() {
        let cluster = |name: &str| {
            [
                (
                    format!("clusters/{name}/flux-system/sync.yaml"),
                    kustomization("flux-system", &format!("./clusters/{name}")),
                ),
                (
                    format!("clusters/{name}/apps.yaml"),
                    kustomization("apps", &format!("./apps/{name}")),
                ),
                (
                    format!("apps/{name}/a.yaml"),
                    format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n"),
                ),
            ]
        };
        let files = [cluster("a"), cluster("b")].concat();
        let files: Vec<_> = files
            .iter()
            .map(|(path, text)| (&**path, text.clone()))
            .collect();
        assert_eq!(
            clusters(&files),
            [
                "clusters/a: apps ./apps/a, flux-system ./clusters/a",
                "clusters/b: apps ./apps/b, flux-system ./clusters/b",
            ]
        );
    }

    #[test]
    fn folders_without_a_name_in_common_are_one_cluster() {
        let files = [
            ("one/ks.yaml", kustomization("a", "./apps")),
            ("two/ks.yaml", kustomization("b", "./apps")),
            (
                "apps/a.yaml",
                "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n".to_owned(),
            ),
        ];
        assert_eq!(clusters(&files), [": a ./apps, b ./apps"]);
    }

    #[test]
    fn a_base_of_several_clusters_is_built_for_each() {
        let overlay = |name: &str| {
            format!(
                "resources: [../../base]\npatches:\n- target: {{kind: Kustomization}}\n  patch: '[{{op: replace, path: /spec/path, value: ./apps/{name}}}]'\n"
            )
        };
        let object =
            |name: &str| format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n");
        let files = [
            (
                "base/kustomization.yaml",
                "resources: [apps.yaml]\n".to_owned(),
            ),
            ("base/apps.yaml", kustomization("apps", "./nowhere")),
            ("clusters/a/kustomization.yaml", overlay("a")),
            ("clusters/b/kustomization.yaml", overlay("b")),
            ("apps/a/a.yaml", object("a")),
            ("apps/b/b.yaml", object("b")),
        ];
        assert_eq!(
            clusters(&files),
            ["clusters/a: apps ./apps/a", "clusters/b: apps ./apps/b"]
        );
    }

    #[test]
    fn what_lies_in_no_cluster_belongs_to_each() {
        let files = [
            ("clusters/a/ks.yaml", kustomization("apps", "./apps")),
            ("clusters/b/ks.yaml", kustomization("apps", "./apps")),
            ("shared/ks.yaml", kustomization("shared", "./apps")),
            (
                "apps/a.yaml",
                "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n".to_owned(),
            ),
        ];
        assert_eq!(
            clusters(&files),
            [
                "clusters/a: apps ./apps, shared ./apps",
                "clusters/b: apps ./apps, shared ./apps",
            ]
        );
    }
}
