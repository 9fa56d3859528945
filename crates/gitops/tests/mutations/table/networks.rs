//! Networks.

use super::{Mutation, here};

pub const MUTATIONS: &[Mutation] = &[
    here(
        "NET001",
        r#"apps/\w+/app/network\.yaml"#,
        r#"ingressClassName: (\w+)"#,
        "ingressClassName: ¶x$1",
    ),
    here(
        "NET002",
        r#"apps/\w+/app/network\.yaml"#,
        r#"^  annotations:\n    external-dns.*\nspec:\n"#,
        "spec:\n¶",
    ),
    here(
        "NET002",
        r#"apps/\w+/app/network\.yaml"#,
        "name: inside",
        "name: inside\n  annotations:\n    ¶external-dns.alpha.kubernetes.io/target: x",
    ),
    here(
        "NET003",
        r#"apps/\w+/app/network\.yaml"#,
        r#"^    - name: (\w+)\n      namespace"#,
        "    - name: ¶x$1\n      namespace",
    ),
    here(
        "NET003",
        r#"apps/\w+/app/network\.yaml"#,
        "sectionName: https",
        "sectionName: ¶http",
    ),
    here(
        "NET003",
        r#"apps/\w+/app/network\.yaml"#,
        r#"hostnames: \[www\.(\w+)\.example\]"#,
        "hostnames: ¶[www.other$1.example]",
    ),
    here(
        "NET004",
        r#"apps/\w+/app/network\.yaml"#,
        "host: outside.*",
        "host: ¶outside.other.test",
    ),
    here(
        "NET005",
        r#"apps/\w+/app/network\.yaml"#,
        r#"^  ingress:\n(.*)\n(.*)port: 8080"#,
        "  ¶ingress:\n$1\n${2}port: 9090",
    ),
];
