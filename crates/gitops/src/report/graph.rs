//! The graph of Kustomizations, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};

use crate::graph::{Graph, KUSTOMIZE_GROUP, Key, Kustomization, key_of};
use crate::yaml::Node;

/// Each Kustomization with its path, what it waits for, and how many objects it makes; below the one that
/// makes it.
pub fn graph_text(clusters: &[Graph]) -> String {
    let mut text = String::new();
    for graph in clusters {
        if let Some(home) = &graph.home {
            writeln!(text, "cluster {home}").expect("a string takes all");
        }
        text += &cluster_text(graph);
    }
    text
}

fn cluster_text(graph: &Graph) -> String {
    let parents = parents(graph);
    let mut text = String::new();
    let tops = graph.kustomizations.keys();
    let mut open: Vec<_> = tops
        .filter(|key| !parents.contains_key(key))
        .map(|key| (key, 0))
        .collect();
    open.reverse();
    while let Some((key, depth)) = open.pop() {
        write_entry(&mut text, graph, key, depth);
        let children = parents.iter().rev();
        let children = children.filter(|(_, parent)| **parent == key);
        open.extend(children.map(|(child, _)| (child, depth + 1)));
    }
    text
}

fn write_entry(text: &mut String, graph: &Graph, key: &Key, depth: usize) {
    let Some(kustomization) = graph.kustomizations.get(key) else {
        return;
    };
    let indent = "  ".repeat(depth);
    let what = match (kustomization.is_here, kustomization.objects.len()) {
        (false, _) => "from another repository".to_owned(),
        (true, 1) => "1 object".to_owned(),
        (true, count) => format!("{count} objects"),
    };
    let path = path(kustomization);
    let mut line = format!("{indent}{}  {path}  {what}\n", name(key));
    for (needed, _) in kustomization.dependencies() {
        let exists = graph.kustomizations.contains_key(&needed);
        let missing = if exists { "" } else { ", which does not exist" };
        writeln!(line, "{indent}    waits for {}{missing}", name(&needed))
            .expect("a string takes all");
    }
    *text += &line;
}

/// A graph for Graphviz: an arrow from what makes a Kustomization to it, and a dashed one to what it waits
/// for.
pub fn graph_dot(clusters: &[Graph]) -> String {
    let mut text = "digraph kustomizations {\n  rankdir=LR;\n  node [shape=box];\n".to_owned();
    for graph in clusters {
        write_arrows(&mut text, graph);
    }
    text + "}\n"
}

fn write_arrows(text: &mut String, graph: &Graph) {
    let home = graph.home.as_ref().map(|home| format!("{home}: "));
    let home = home.unwrap_or_default();
    let quoted = |key: &Key| Value::from(format!("{home}{}", name(key))).to_string();
    for (key, kustomization) in &graph.kustomizations {
        let style = if kustomization.is_here {
            ""
        } else {
            " [style=dotted]"
        };
        writeln!(text, "  {}{style};", quoted(key)).expect("a string takes all");
        for (needed, _) in kustomization.dependencies() {
            writeln!(
                text,
                "  {} -> {} [style=dashed];",
                quoted(key),
                quoted(&needed)
            )
            .expect("a string takes all");
        }
    }
    for (child, parent) in parents(graph) {
        writeln!(text, "  {} -> {};", quoted(parent), quoted(&child)).expect("a string takes all");
    }
}

/// A graph as JSON: `{kustomizations: [{cluster, namespace, name, path, madeBy, here, complete, objects,
/// dependsOn}]}`. `cluster` is the folder in which it begins, or null where there is only one.
pub fn graph_json(clusters: &[Graph]) -> String {
    let entries: Vec<_> = clusters.iter().flat_map(cluster_json).collect();
    format!("{:#}\n", json!({ "kustomizations": entries }))
}

fn cluster_json(graph: &Graph) -> Vec<Value> {
    let parents = parents(graph);
    let entries = graph.kustomizations.iter().map(|(key, kustomization)| {
        let dependencies = kustomization.dependencies().map(|(needed, _)| {
            let exists = graph.kustomizations.contains_key(&needed);
            json!({ "namespace": needed.0, "name": needed.1, "exists": exists })
        });
        let objects = kustomization.objects.iter();
        let objects = objects.map(|object| object.display_name().to_string());
        json!({
            "cluster": graph.home,
            "namespace": key.0,
            "name": key.1,
            "path": path(kustomization),
            "madeBy": parents.get(key).map(|parent| name(parent)),
            "here": kustomization.is_here,
            "complete": kustomization.is_complete,
            "dependsOn": dependencies.collect::<Vec<_>>(),
            "objects": objects.collect::<Vec<_>>(),
        })
    });
    entries.collect()
}

/// Which Kustomization makes which.
fn parents(graph: &Graph) -> BTreeMap<Key, &Key> {
    let mut parents = BTreeMap::new();
    for (key, kustomization) in &graph.kustomizations {
        let objects = kustomization.objects.iter();
        for child in objects.filter(|object| object.is(KUSTOMIZE_GROUP, "Kustomization")) {
            let child = key_of(child);
            // One that makes itself, as Flux's own, is where a cluster begins.
            if child != *key {
                parents.entry(child).or_insert(key);
            }
        }
    }
    // Two that make each other would be below nothing.
    let in_a_circle = |key: &Key| {
        let mut above = parents.get(key);
        for _ in 0..parents.len() {
            match above {
                Some(parent) if **parent == *key => return true,
                Some(parent) => above = parents.get(*parent),
                None => return false,
            }
        }
        false
    };
    let circular: Vec<Key> = parents
        .keys()
        .filter(|key| in_a_circle(key))
        .cloned()
        .collect();
    parents.retain(|key, _| !circular.contains(key));
    parents
}

fn path(kustomization: &Kustomization) -> &str {
    let path = kustomization.spec("path").and_then(Node::text);
    path.unwrap_or(".")
}

fn name((namespace, name): &Key) -> String {
    if namespace.is_empty() {
        return name.clone();
    }
    format!("{namespace}/{name}")
}

#[cfg(test)]
mod tests {
    use super::super::tests::repository;
    use super::*;

    fn graph() -> Vec<Graph> {
        let flux = |name: &str, spec: &str| {
            format!(
                "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {{name: {name}, namespace: flux}}\nspec: {{{spec}}}\n"
            )
        };
        let apps = flux("apps", "path: ./apps");
        let one = flux("one", "path: ./one, dependsOn: [{name: two}, {name: gone}]");
        let two = flux(
            "two",
            "path: ./two, sourceRef: {kind: GitRepository, name: other}",
        );
        let object = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
        Graph::clusters(&repository(&[
            ("apps.yaml", &apps),
            ("apps/one.yaml", &one),
            ("apps/two.yaml", &two),
            ("one/a.yaml", object),
        ]))
    }

    #[test]
    fn text_shows_who_makes_and_who_waits() {
        let expected = "\
flux/apps  ./apps  2 objects
  flux/one  ./one  1 object
      waits for flux/two
      waits for flux/gone, which does not exist
  flux/two  ./two  from another repository
";
        assert_eq!(graph_text(&graph()), expected);
    }

    #[test]
    fn dot_has_an_arrow_for_each_relation() {
        let dot = graph_dot(&graph());
        for line in [
            "  \"flux/apps\" -> \"flux/one\";",
            "  \"flux/one\" -> \"flux/gone\" [style=dashed];",
            "  \"flux/two\" [style=dotted];",
        ] {
            assert!(dot.contains(line), "{dot}");
        }
    }

    #[test]
    fn json_names_the_objects() {
        let json: Value = serde_json::from_str(&graph_json(&graph())).unwrap();
        let one = &json["kustomizations"][1];
        assert_eq!(one["madeBy"], "flux/apps");
        assert_eq!(one["objects"], json!(["ConfigMap a"]));
        assert_eq!(one["dependsOn"][1]["exists"], false);
    }
}
