//! Files and builds.

use super::{Mutation, elsewhere, here};

pub const MUTATIONS: &[Mutation] = &[
    here(
        "BLD001",
        r#"apps/\w+/app/kustomization\.yaml"#,
        "^resources:",
        "¶ressources:",
    ),
    elsewhere(
        "BLD001",
        r#"apps/\w+/app/game\.yaml"#,
        r#"^  name: (\w+)$"#,
        "  nome: $1",
        (r#"apps/APP/app/game\.yaml"#, "apiVersion"),
    ),
    here(
        "BLD001",
        r#"apps/\w+/app/game\.yaml"#,
        "^apiVersion: (.*)$",
        "¶apiversion: $1",
    ),
    here(
        "BLD002",
        r#"apps/\w+/app/kustomization\.yaml"#,
        "^resources:",
        "¶helmCharts: []\nresources:",
    ),
    here(
        "LOD002",
        r#"apps/\w+/app/game\.yaml"#,
        "^  board: round",
        "  board: ¶[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    ),
    here(
        "LOD001",
        r#"apps/\w+/app/game\.yaml"#,
        "board: round",
        "board: ¶\u{1}round",
    ),
];
