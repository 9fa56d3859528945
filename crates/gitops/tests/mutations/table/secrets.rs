//! Variables and secrets.

use super::{Mutation, elsewhere, here};

pub const MUTATIONS: &[Mutation] = &[
    elsewhere(
        "SEC001",
        r#"apps/\w+/app/secret\.sops\.yaml"#,
        "token: .*",
        "token: open",
        (r#"apps/APP/app/secret\.sops\.yaml"#, "stringData"),
    ),
    elsewhere(
        "SEC001",
        r#"apps/\w+/app/secret\.sops\.yaml"#,
        r#"^sops:\n(?s:.*)"#,
        "",
        (r#"apps/APP/app/secret\.sops\.yaml"#, "apiVersion"),
    ),
    elsewhere(
        "SEC002",
        r#"apps/\w+/app/external\.yaml"#,
        r#"placeholder: "true""#,
        r#"placeholder: "false""#,
        (r#"apps/APP/app/external\.yaml"#, "stringData"),
    ),
    here(
        "SEC003",
        r#"apps/\w+/app/secret\.sops\.yaml"#,
        "recipient: age1one",
        "recipient: ¶age1two",
    ),
    elsewhere(
        "SEC003",
        r#"\.sops\.yaml"#,
        "path_regex: apps",
        "path_regex: app/",
        (r#"apps/\w+/app/secret\.sops\.yaml"#, "^sops:"),
    ),
    elsewhere(
        "SEC003",
        r#"apps/\w+/app/secret\.sops\.yaml"#,
        r#"^  mac: .*\n"#,
        "",
        (r#"apps/APP/app/secret\.sops\.yaml"#, "^sops:"),
    ),
    elsewhere(
        "SEC004",
        r#"apps/\w+/ks\.yaml"#,
        r#"^  decryption:\n.*\n.*\n.*\n"#,
        "",
        (r#"apps/APP/ks\.yaml"#, "^spec:"),
    ),
    here(
        "SEC005",
        r#"apps/\w+/app/external\.yaml"#,
        "name: vault",
        "name: ¶volt",
    ),
    here(
        "SEC005",
        r#"apps/\w+/app/external\.yaml"#,
        "io/v1$",
        "io/¶v1beta1",
    ),
    here(
        "SEC005",
        r#"apps/\w+/app/external\.yaml"#,
        "refreshInterval: 24h",
        "¶refreshInterval: 1m",
    ),
    here(
        "SEC005",
        r#"apps/\w+/app/external\.yaml"#,
        r#"key: (\w+)/token"#,
        "key: ¶$1/",
    ),
    here(
        "SUB001",
        r#"apps/\w+/app/network\.yaml"#,
        r#"\$\{DOMAIN\}"#,
        "¶$${DOMIAN}",
    ),
    here(
        "SUB002",
        r#"base/shared/shared\.yaml"#,
        "note: .*",
        "note: ¶$${DOMAIN}",
    ),
    here(
        "SUB003",
        r#"apps/\w+/app/workload\.yaml"#,
        "echo done",
        "¶echo $${HOSTNAME}",
    ),
    here(
        "SUB003",
        r#"apps/\w+/app/workload\.yaml"#,
        r#""--host""#,
        r#"¶"$${HOSTNAME}""#,
    ),
    here(
        "SUB004",
        r#"apps/\w+/ks\.yaml"#,
        "name: cluster-settings",
        "name: ¶cluster-setting",
    ),
];
