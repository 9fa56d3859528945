//! HelmReleases and sources.

use super::{Mutation, elsewhere, here};

pub const MUTATIONS: &[Mutation] = &[
    here(
        "HR001",
        r#"apps/\w+/app/release\.yaml"#,
        "retries: 3",
        "retries: ¶-1",
    ),
    elsewhere(
        "HR002",
        r#"apps/\w+/app/release\.yaml"#,
        r#"^  install:\n.*\n.*\n  upgrade:\n.*\n.*\n"#,
        "",
        (r#"apps/APP/app/release\.yaml"#, "^spec:"),
    ),
    here(
        "HR003",
        r#"apps/\w+/app/release\.yaml"#,
        "^  chart:$",
        "  ¶chartRef:\n    kind: OCIRepository\n    name: APP\n  chart:",
    ),
    here(
        "HR003",
        r#"apps/\w+/app/release\.yaml"#,
        "kind: HelmRepository",
        "kind: ¶OCIRepository",
    ),
    here(
        "HR004",
        r#"apps/\w+/app/release\.yaml"#,
        "version: 1.2.3",
        r#"version: ¶"*""#,
    ),
    here(
        "HR004",
        r#"apps/\w+/app/release\.yaml"#,
        "version: 1.2.3",
        "version: ¶1.x",
    ),
    here(
        "HR004",
        r#"apps/\w+/app/release\.yaml"#,
        "version: 1.2.3",
        r#"version: ¶">=1.0.0""#,
    ),
    here(
        "HR004",
        r#"apps/\w+/app/release\.yaml"#,
        "version: 1.2.3",
        "version: ¶latest",
    ),
    here(
        "HR004",
        r#"apps/\w+/app/release\.yaml"#,
        "version: 1.2.3",
        "version: ¶1",
    ),
    here(
        "HR004",
        r#"apps/\w+/app/source\.yaml"#,
        "tag: 1.2.3",
        "tag: ¶latest",
    ),
    elsewhere(
        "HR005",
        r#"apps/\w+/app/release\.yaml"#,
        r#"^    resources:\n.*\n"#,
        "    other: 1\n",
        (r#"apps/APP/app/release\.yaml"#, "^  values:"),
    ),
    elsewhere(
        "HR006",
        r#"apps/\w+/app/release\.yaml"#,
        "^  releaseName: second",
        "  releaseName: ¶APP",
        (r#"apps/APP/app/release\.yaml"#, "^  name: APP"),
    ),
    here(
        "HR006",
        r#"apps/\w+/app/release\.yaml"#,
        "^  releaseName: second",
        "  releaseName: ¶a-name-that-is-long-enough-for-helm-to-say-no-to-it-now",
    ),
    here(
        "HR007",
        r#"apps/\w+/app/release\.yaml"#,
        r#"^      name: (\w+)-values"#,
        "      name: ¶$1-valus",
    ),
    here(
        "HR008",
        r#"apps/operator/app/all\.yaml"#,
        "^    replicas: 2",
        "    ¶replica: 2",
    ),
    here(
        "HR009",
        r#"apps/\w+/app/release\.yaml"#,
        "useHelmHooks: false",
        "useHelmHooks: ¶true",
    ),
    elsewhere(
        "SRC001",
        r#"apps/\w+/app/kustomization\.yaml"#,
        r#"^  - \./source\.yaml\n"#,
        "",
        (r#"apps/APP/app/source\.yaml"#, "^  name: "),
    ),
    elsewhere(
        "SRC002",
        r#"apps/\w+/app/source\.yaml"#,
        r#"^    operation: copy\n"#,
        "",
        (r#"apps/APP/app/source\.yaml"#, "layerSelector"),
    ),
    here(
        "SRC002",
        r#"apps/operator/app/all\.yaml"#,
        "url: https://charts",
        "url: ¶oci://charts",
    ),
    elsewhere(
        "SRC003",
        r#"apps/\w+/app/source\.yaml"#,
        r#"^  ref:\n.*\n"#,
        "",
        (r#"apps/APP/app/source\.yaml"#, "url:"),
    ),
    here(
        "SRC003",
        r#"apps/\w+/app/source\.yaml"#,
        "interval: 1h",
        "interval: ¶20s",
    ),
];
