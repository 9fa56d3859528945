//! Builds are compared with those of `kubectl kustomize`, object for object.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nico_gitops::build::{self, Object};
use nico_gitops::load::{self, RawFile, Repository};
use nico_sandbox::tools::skip;
use serde_json::Value;

type Objects = BTreeMap<String, Value>;

/// The first version that builds as Flux does.
fn has_kubectl() -> bool {
    let version = Command::new("kubectl")
        .args(["version", "--client", "--output=json"])
        .output();
    let minor = version.ok().and_then(|output| {
        let json: Value = serde_json::from_slice(&output.stdout).ok()?;
        let minor = json["clientVersion"]["minor"]
            .as_str()?
            .trim_end_matches('+');
        minor.parse::<u32>().ok()
    });
    let is_there = minor.is_some_and(|minor| minor >= 27);
    if !is_there {
        skip("kubectl 1.27 or newer is not there");
    }
    is_there
}

/// What `kubectl kustomize` makes of a folder, or what it says against it.
fn kubectl(folder: &Path) -> Result<Objects, String> {
    let output = Command::new("kubectl")
        .args(["kustomize", "--load-restrictor", "LoadRestrictionsNone"])
        .arg(folder)
        .env("GIT_TERMINAL_PROMPT", "0")
        .output()
        .expect("kubectl was there");
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(by_name(read(output.stdout)))
}

/// The objects in a text of YAML.
fn read(yaml: Vec<u8>) -> Vec<Object> {
    let read = Repository::from_files([RawFile {
        path: "output.yaml".into(),
        content: Ok(yaml),
    }]);
    assert!(
        read.findings.is_empty(),
        "the YAML cannot be read: {:?}",
        read.findings
    );
    let documents = read.documents.into_iter();
    documents
        .map(|document| Object::new(document.root).expect("an object"))
        .collect()
}

fn by_name(objects: impl IntoIterator<Item = Object>) -> Objects {
    let mut named = Objects::new();
    for object in objects {
        let name = format!("{} {}", object.api_version(), object.display_name());
        let clash = named.insert(name, object.node.to_json());
        assert!(clash.is_none());
    }
    named
}

/// Folders on which both agree, and those that kubectl cannot build. The rest is a failure.
fn compare(root: &Path) -> (Vec<String>, Vec<String>) {
    let repository = load::disk::load(root).expect("the folder is there");
    let (mut equal, mut unbuildable) = (Vec::new(), Vec::new());
    let mut differences = String::new();
    for folder in build::folders(&repository) {
        let built = build::build(&repository, &folder).expect("a folder with a kustomization");
        if built
            .findings
            .iter()
            .any(|finding| finding.rule.id == "FLX022")
        {
            // Whether kubectl can build it depends on the network.
            unbuildable.push(folder);
            continue;
        }
        let expected = match kubectl(&root.join(&folder)) {
            Ok(expected) => expected,
            Err(why) => {
                assert!(
                    !built.findings.is_empty(),
                    "{folder}: kubectl refuses it, and we do not: {why}"
                );
                unbuildable.push(folder);
                continue;
            }
        };
        let printed = build::yaml(&built.objects);
        assert_eq!(
            by_name(read(printed.into_bytes())),
            by_name(built.objects.clone()),
            "{folder}: printing changes the objects"
        );
        let messages: Vec<_> = built
            .findings
            .iter()
            .map(|finding| &finding.message)
            .collect();
        let got = by_name(built.objects);
        if got == expected && messages.is_empty() {
            equal.push(folder);
            continue;
        }
        differences += &format!("\n{folder}: findings {messages:?}\n");
        for name in expected
            .keys()
            .chain(got.keys())
            .collect::<std::collections::BTreeSet<_>>()
        {
            let (wanted, got) = (expected.get(name), got.get(name));
            if wanted != got {
                let show =
                    |value: Option<&Value>| value.map_or("nothing".into(), ToString::to_string);
                differences += &format!(
                    "  {name}\n    kubectl {}\n    here    {}\n",
                    show(wanted),
                    show(got)
                );
            }
        }
    }
    assert!(differences.is_empty(), "{differences}");
    (equal, unbuildable)
}

#[test]
fn every_supported_feature_builds_as_with_kubectl() {
    if !has_kubectl() {
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kustomize");
    let (equal, unbuildable) = compare(&root);
    // Every folder but `refused` is a case, and may have more kustomizations in it.
    for entry in fs::read_dir(&root).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let is_built = equal.contains(&name);
        assert_eq!(is_built, name != "refused", "{name}: {equal:?}");
    }
    assert!(
        unbuildable
            .iter()
            .all(|folder| folder.starts_with("refused/")),
        "{unbuildable:?}"
    );
}

#[test]
fn a_real_repository_builds_as_with_kubectl() {
    let root: PathBuf =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/gitops/anton-2025-06");
    if !root.is_dir() {
        return skip("../shared/gitops is not there");
    }
    if !has_kubectl() {
        return;
    }
    let (equal, unbuildable) = compare(&root);
    // 46 kustomizations and 2 components; the two with a base on another machine cannot be built.
    assert_eq!(equal.len() + unbuildable.len(), 48);
    assert_eq!(
        unbuildable,
        [
            "kubernetes/apps/database/dragonfly-operator/app",
            "kubernetes/apps/storage/local-path-provisioner/app",
        ]
    );
}
