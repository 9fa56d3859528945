//! Kustomizations that cannot be built, or that ask for more than any machine has.

use super::Case;

const CONFIG_MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  k: v\n";

/// A kustomization that takes in a ConfigMap, with something more.
fn beside_config_map(
    name: &'static str,
    kustomization: impl Into<String>,
    expected: (&'static str, &'static str),
) -> Case {
    let files = [
        ("a.yaml", CONFIG_MAP.to_owned()),
        ("kustomization.yaml", kustomization.into()),
    ];
    Case::files(name, files, expected)
}

/// Kustomizations `k0`, `k1`, … with these texts.
fn numbered(
    name: &'static str,
    count: usize,
    text: impl Fn(usize) -> String,
    expected: (&'static str, &'static str),
) -> Case {
    let path = |number| format!("k{number}/kustomization.yaml");
    let files = (0..count).map(|number| (path(number), text(number)));
    Case::files(name, files, expected)
}

/// The folders of all other kustomizations, as a list.
fn all_others(number: usize, count: usize) -> String {
    let others = (0..count).filter(|other| *other != number);
    let others: Vec<_> = others.map(|other| format!("../k{other}")).collect();
    others.join(", ")
}

const COMPONENT: &str = "kind: Component\napiVersion: kustomize.config.k8s.io/v1alpha1\n";

/// What a careless person writes.
pub fn malformed() -> Vec<Case> {
    let out = (
        "FLX021 kustomization.yaml:2",
        "../../etc/passwd leads out of the repository",
    );
    vec![
        numbered(
            "a circle of two",
            2,
            |number| format!("resources: [../k{}]\n", 1 - number),
            (
                "BLD001 k0/kustomization.yaml:1",
                "the kustomization in k0 takes in itself",
            ),
        ),
        beside_config_map(
            "a circle of one",
            "resources:\n- .\n",
            (
                "BLD001 kustomization.yaml:1",
                "the kustomization in . takes in itself",
            ),
        ),
        numbered(
            "a circle of components",
            2,
            |number| format!("{COMPONENT}components: [../k{}]\n", 1 - number),
            ("BLD001", "the kustomization in k0 takes in itself"),
        )
        .used_by("resources: []\ncomponents: [k0]\n")
        .anywhere(),
        beside_config_map(
            "a resource outside",
            "resources: [a.yaml]\nbases: [../../etc/passwd]\n",
            out,
        ),
        beside_config_map(
            "a component outside",
            "resources: [a.yaml]\ncomponents: [../../etc/passwd]\n",
            out,
        ),
        beside_config_map(
            "a patch outside",
            "resources: [a.yaml]\npatches: [{path: ../../etc/passwd}]\n",
            out,
        ),
        beside_config_map(
            "a file of a generator outside",
            "resources: [a.yaml]\nconfigMapGenerator: [{name: b, files: [../../etc/passwd]}]\n",
            out,
        ),
        beside_config_map(
            "an absolute path",
            "resources:\n- /etc/passwd\n",
            (
                "FLX021 kustomization.yaml:2",
                "/etc/passwd leads out of the repository",
            ),
        ),
        Case::files(
            "the path of a Kustomization outside",
            [(
                "ks.yaml",
                "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: a, namespace: b}\nspec:\n  path: ../../etc\n",
            )],
            ("FLX014 ks.yaml:5", "there is nothing in ../../etc"),
        ),
        Case::files(
            "a kustomization that is a list",
            [("kustomization.yaml", "- a\n")],
            ("BLD001 kustomization.yaml:1", "a kustomization has fields"),
        ),
        Case::files(
            "a kustomization that is empty",
            [("kustomization.yaml", "# nothing\n")],
            ("BLD001 kustomization.yaml:1", "the kustomization is empty"),
        ),
    ]
}

/// What nobody writes by mistake.
pub fn bombs() -> Vec<Case> {
    let many = |count: usize| -> String {
        let one = |number| CONFIG_MAP.replace("name: a", &format!("name: a{number}"));
        (0..count)
            .map(|number| format!("---\n{}", one(number)))
            .collect()
    };
    let copies: String = (0..60)
        .map(|number| format!("    - {{op: copy, from: /data, path: /data/c{number}}}\n"))
        .collect();
    let replacements: String = (0..60)
        .map(|number| {
            format!(
                "- source: {{kind: ConfigMap, fieldPath: data}}\n  targets:\n  - select: {{kind: ConfigMap}}\n    fieldPaths: [data.c{number}]\n    options: {{create: true}}\n"
            )
        })
        .collect();
    let long_path = "a.".repeat(200_000);
    let same_path: String = (0..3000)
        .map(|number| {
            format!(
                "---\napiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {{name: a{number}, namespace: b}}\nspec: {{path: app, targetNamespace: n{number}}}\n"
            )
        })
        .collect();
    let long = "x".repeat(1_000_000);
    let substituted = format!(
        "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {{name: a, namespace: b}}\nspec:\n  path: app\n  postBuild: {{substitute: {{X: {long}}}}}\n"
    );
    let uses = |use_: &str| CONFIG_MAP.replace("k: v", &format!("k: {use_}"));
    vec![
        numbered(
            "bases that multiply",
            40,
            |number| match number {
                0 => "namePrefix: x-\n".to_owned(),
                _ => format!("resources: [../k{0}, ../k{0}]\n", number - 1),
            },
            ("LOD002", "a build takes in more than"),
        )
        .anywhere(),
        numbered(
            "components that multiply",
            40,
            |number| match number {
                0 => COMPONENT.to_owned(),
                _ => format!("{COMPONENT}components: [../k{0}, ../k{0}]\n", number - 1),
            },
            ("LOD002", "a build takes in more than"),
        )
        .used_by("components: [k39]\n")
        .anywhere(),
        numbered(
            "everything takes in everything",
            40,
            |number| format!("resources: [{}]\n", all_others(number, 40)),
            ("BLD001", "the kustomization in"),
        )
        .anywhere(),
        numbered(
            "every component takes in every component",
            40,
            |number| format!("{COMPONENT}components: [{}]\n", all_others(number, 40)),
            ("LOD002", "a build takes in more than"),
        )
        .used_by("components: [k0]\n")
        .anywhere(),
        Case::files(
            "objects that multiply",
            (0..20)
                .flat_map(|level: usize| {
                    let list = match level {
                        0 => "resources: [../all.yaml]\n".to_owned(),
                        _ => format!("resources: [../{0}x, ../{0}y]\n", level - 1),
                    };
                    ["x", "y"].map(|side| {
                        let path = format!("{level}{side}/kustomization.yaml");
                        (path, format!("namePrefix: {side}\n{list}"))
                    })
                })
                .chain([("all.yaml".to_owned(), many(1000))]),
            ("LOD002", "all builds together make more than"),
        )
        .anywhere(),
        Case::files(
            "one build of far too many objects",
            [
                (
                    "kustomization.yaml",
                    "resources:\n- one.yaml\n- two.yaml\n".to_owned(),
                ),
                ("one.yaml", many(60_000)),
                ("two.yaml", many(60_000).replace("name: a", "name: b")),
            ],
            ("LOD002 kustomization.yaml:3", "a build makes more than"),
        ),
        Case::files(
            "many Kustomizations of many objects",
            [
                ("ks.yaml", same_path),
                (
                    "app/kustomization.yaml",
                    "resources: [all.yaml]\n".to_owned(),
                ),
                ("app/all.yaml", many(2000)),
            ],
            ("LOD002", "all builds together make more than"),
        )
        .anywhere(),
        beside_config_map(
            "a patch that copies its copies",
            format!(
                "resources: [a.yaml]\npatches:\n- target: {{kind: ConfigMap}}\n  patch: |\n{copies}"
            ),
            (
                "BLD001 kustomization.yaml:5",
                "ConfigMap a: the operation copy /data",
            ),
        ),
        beside_config_map(
            "replacements of replacements",
            format!("resources: [a.yaml]\nreplacements:\n{replacements}"),
            ("BLD001", "ConfigMap a: this makes the object larger"),
        )
        .anywhere(),
        beside_config_map(
            "a replacement with a path without end",
            format!(
                "resources: [a.yaml]\nreplacements:\n- source: {{kind: ConfigMap}}\n  targets:\n  - select: {{kind: ConfigMap}}\n    fieldPaths: [{long_path}a]\n    options: {{create: true}}\n"
            ),
            (
                "BLD001 kustomization.yaml:3",
                "ConfigMap a: the path has 200001 parts",
            ),
        ),
        beside_config_map(
            "a label with a path without end",
            format!(
                "resources: [a.yaml]\nlabels:\n- pairs: {{a: b}}\n  fields: [{{path: {}a, create: true}}]\n",
                "a/".repeat(200_000)
            ),
            ("BLD001 kustomization.yaml:4", "the path has 200001 parts"),
        ),
        beside_config_map(
            "a pattern that is too large",
            "resources: [a.yaml]\npatches:\n- target: {name: '(\\w{1000}){1000}'}\n  patch: '- {op: remove, path: /data}'\n",
            (
                "BLD002 kustomization.yaml:3",
                "name of the target is no regular expression",
            ),
        ),
        Case::files(
            "variables that multiply",
            [
                ("ks.yaml", substituted.clone()),
                ("app/a.yaml", uses(&"${X}".repeat(1000))),
            ],
            ("BLD001 app/a.yaml:6", "variables make a text of more than"),
        ),
        Case::files(
            "a variable that is replaced letter by letter",
            [
                ("ks.yaml", substituted),
                ("app/a.yaml", uses("${X//x/${X}}")),
            ],
            ("BLD001 app/a.yaml:6", "variables make a text of more than"),
        ),
        numbered(
            "generators that read a large file again and again",
            400,
            |number| format!("configMapGenerator: [{{name: a{number}, files: [../large.yaml]}}]\n"),
            ("FLX021", "all generators read more than"),
        )
        .with_file("large.yaml", format!("# {}\n", "x".repeat(2_000_000)))
        .anywhere(),
    ]
}
