//! Talos, bootstrap, and objects of NICO.

use super::{Mutation, elsewhere, here};

pub const MUTATIONS: &[Mutation] = &[
    here(
        "BOO001",
        r#"bootstrap/helmfile\.yaml"#,
        "version: 1.2.3",
        "version: ¶1.2.4",
    ),
    here(
        "BOO002",
        r#"bootstrap/helmfile\.yaml"#,
        r#"needs: \[(\w+)"#,
        "needs: ¶[no$1",
    ),
    here(
        "BOO002",
        r#"bootstrap/helmfile\.yaml"#,
        r#"more\.yaml"#,
        "¶moer.yaml",
    ),
    elsewhere(
        "NIC001",
        r#"nico/machines\.yaml"#,
        r#"ipAddress: 192\.0\.2\.[2345]"#,
        "ipAddress: 192.0.2.1",
        (r#"nico/machines\.yaml"#, r#"192\.0\.2\.1$"#),
    ),
    elsewhere(
        "NIC001",
        r#"nico/cluster\.yaml"#,
        "- m-[23]",
        "- m-1",
        (r#"nico/cluster\.yaml"#, "m-1"),
    ),
    here("NIC002", r#"nico/cluster\.yaml"#, r#"- m-(\d)"#, "- ¶m-9$1"),
    here(
        "NIC002",
        r#"nico/cluster\.yaml"#,
        r#"machineSelector:\n(.*)worker"#,
        "¶machineSelector:\n${1}workre",
    ),
    elsewhere(
        "NIC002",
        r#"nico/machines\.yaml"#,
        "role: worker",
        "role: other",
        (r#"nico/cluster\.yaml"#, "machineSelector"),
    ),
    here(
        "TAL001",
        r#"talos/talconfig\.yaml"#,
        "ipAddress: .*",
        "ipAddress: ¶192.0.2",
    ),
    here(
        "TAL001",
        r#"talos/talconfig\.yaml"#,
        "serial: .*",
        "serial: ¶12345",
    ),
    here(
        "TAL001",
        r#"talos/talconfig\.yaml"#,
        "hostname: (.*)",
        "hostname: ¶K_$1",
    ),
    here(
        "TAL001",
        r#"talos/talconfig\.yaml"#,
        "hardwareAddr: .*",
        r#"hardwareAddr: ¶"02:00:00""#,
    ),
    here(
        "TAL001",
        r#"talos/talconfig\.yaml"#,
        "ip: 192.*",
        "ip: ¶192.0.2.1",
    ),
    here(
        "TAL001",
        r#"talos/talconfig\.yaml"#,
        "installer/....",
        "installer/¶xyz",
    ),
    here(
        "TAL001",
        r#"talos/talenv\.yaml"#,
        r#"Version: v(.*)\.\d+$"#,
        "Version: ¶$1",
    ),
    elsewhere(
        "TAL001",
        r#"talos/talconfig\.yaml"#,
        r#"serial: "SERIAL[2345]""#,
        r#"serial: "SERIAL1""#,
        (r#"talos/talconfig\.yaml"#, r#""SERIAL1""#),
    ),
    here(
        "TAL002",
        r#"talos/talconfig\.yaml"#,
        r#"time\.yaml"#,
        "¶tiem.yaml",
    ),
    elsewhere(
        "TAL003",
        r#"talos/talconfig\.yaml"#,
        "controlPlane: true",
        "controlPlane: false",
        (r#"talos/talconfig\.yaml"#, "^nodes:"),
    ),
    here("TAL003", r#"talos/talenv\.yaml"#, "v1.33.1", "¶v1.40.0"),
    here(
        "TAL004",
        r#"talos/talconfig\.yaml"#,
        r#"^    installDiskSelector:\n.*\n"#,
        "    installDisk: ¶/dev/sda\n",
    ),
];
