//! Workloads.

use super::{Mutation, here, without_charts};

pub const MUTATIONS: &[Mutation] = &[
    here(
        "WKL001",
        r#"apps/\w+/app/workload\.yaml"#,
        r#"^  strategy:\n    type: Recreate"#,
        "  ¶strategy:\n    type: RollingUpdate",
    ),
    here(
        "WKL001",
        r#"apps/\w+/app/workload\.yaml"#,
        "replicas: 1",
        "¶replicas: 3",
    ),
    here(
        "WKL002",
        r#"apps/\w+/app/workload\.yaml"#,
        "type: Recreate",
        "type: Recreate\n    ¶rollingUpdate: {maxSurge: 1}",
    ),
    here(
        "WKL003",
        r#"apps/\w+/app/workload\.yaml"#,
        "image: (.*):1.2.3",
        "image: ¶$1",
    ),
    here(
        "WKL003",
        r#"apps/\w+/app/workload\.yaml"#,
        "image: (.*):1.2.3",
        "image: ¶$1:latest",
    ),
    here(
        "WKL003",
        r#"apps/\w+/app/release\.yaml"#,
        "tag: 1.2.3",
        "tag: ¶latest",
    ),
    here(
        "WKL004",
        r#"apps/\w+/app/workload\.yaml"#,
        "minAvailable: 1",
        "minAvailable: ¶2",
    ),
    here(
        "WKL004",
        r#"apps/\w+/app/workload\.yaml"#,
        "minAvailable: 1",
        "maxUnavailable: ¶0",
    ),
    without_charts(
        "WKL005",
        r#"apps/\w+/app/storage\.yaml"#,
        "storageClassName: (.*)",
        "storageClassName: ¶no-$1",
    ),
    without_charts(
        "WKL005",
        r#"apps/\w+/app/storage\.yaml"#,
        r#"  accessModes: (.*)\n  storageClassName: .*\n"#,
        "  ¶accessModes: $1\n",
    ),
    here(
        "WKL006",
        r#"apps/\w+/app/workload\.yaml"#,
        "^      containers:",
        "      ¶hostNetwork: true\n      containers:",
    ),
    here(
        "WKL006",
        r#"apps/\w+/app/workload\.yaml"#,
        "^          image: (.*)",
        "          image: $1\n          securityContext:\n            ¶privileged: true",
    ),
    here(
        "WKL007",
        r#"apps/\w+/app/workload\.yaml"#,
        r#"^        - name: main\n(.*\n.*\n.*\n.*\n.*\n)          readinessProbe:\n.*\n"#,
        "        - name: ¶main\n$1",
    ),
];
