//! Random repositories in which nothing is wrong.

use std::collections::BTreeMap;

/// Files by path.
pub type Tree = BTreeMap<String, String>;

/// A generator of numbers that gives the same ones for the same seed (SplitMix64).
pub struct Random(u64);

impl Random {
    pub fn new(seed: &str) -> Self {
        Self(
            seed.bytes()
                .fold(7, |state, byte| state * 31 + u64::from(byte)),
        )
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).expect("fits")
    }

    /// A name that was not given before.
    fn name(&mut self, taken: &mut Vec<String>) -> String {
        const SYLLABLES: [&str; 12] = [
            "ba", "do", "fi", "gu", "ka", "lo", "mi", "no", "ra", "su", "te", "vo",
        ];
        loop {
            let length = 3 + self.below(3);
            let name: String = (0..length)
                .map(|_| SYLLABLES[self.below(SYLLABLES.len())])
                .collect();
            if !taken.contains(&name) {
                taken.push(name.clone());
                return name;
            }
        }
    }
}

/// A correct repository. Where charts are installed, what they make is not known, and some rules have
/// nothing to say.
pub fn correct(random: &mut Random, has_charts: bool) -> Tree {
    let mut taken = Vec::new();
    let apps: Vec<String> = (0..3 + random.below(2))
        .map(|_| random.name(&mut taken))
        .collect();
    let mut tree = Tree::new();
    let mut add = |path: &str, text: String| {
        tree.insert(path.to_owned(), text);
    };
    add(
        "cluster/ks.yaml",
        include_str!("tree/cluster.yaml").to_owned(),
    );
    add(".sops.yaml", include_str!("tree/sops.yaml").to_owned());
    add(
        "common/kustomization.yaml",
        include_str!("tree/component.yaml").to_owned(),
    );
    add(
        "common/namespace.yaml",
        include_str!("tree/namespace.yaml").to_owned(),
    );
    add(
        "common/settings.yaml",
        include_str!("tree/settings.yaml").to_owned(),
    );
    add(
        "base/shared/kustomization.yaml",
        "resources:\n  - ./shared.yaml\n".to_owned(),
    );
    add(
        "base/shared/shared.yaml",
        include_str!("tree/shared.yaml").to_owned(),
    );
    for name in ["talconfig.yaml", "talenv.yaml", "patches/time.yaml"] {
        let text = match name {
            "talconfig.yaml" => include_str!("tree/talconfig.yaml"),
            "talenv.yaml" => include_str!("tree/talenv.yaml"),
            _ => "machine:\n  time:\n    disabled: false\n",
        };
        add(&format!("talos/{name}"), text.to_owned());
    }
    add(
        "nico/machines.yaml",
        include_str!("tree/machines.yaml").to_owned(),
    );
    add(
        "nico/cluster.yaml",
        include_str!("tree/nico.yaml").to_owned(),
    );
    let mut list = "resources:\n  - ./operator/ks.yaml\n".to_owned();
    let mut helmfile = "releases:\n".to_owned();
    add("apps/operator/ks.yaml", kustomization("operator", ""));
    add("apps/operator/app/all.yaml", operator(has_charts));
    for (index, app) in apps.iter().enumerate() {
        list += &format!("  - ./{app}/ks.yaml\n");
        let mut more = String::new();
        if index == 1 {
            more += &format!("    - name: {}\n", apps[0]);
        }
        add(&format!("apps/{app}/ks.yaml"), of_app(app, index, &more));
        let mut files = vec![
            "workload.yaml",
            "rights.yaml",
            "network.yaml",
            "secret.sops.yaml",
            "external.yaml",
            "game.yaml",
        ];
        if has_charts {
            files.extend(["release.yaml", "source.yaml", "values.yaml"]);
            let needs = if index == 0 {
                String::new()
            } else {
                format!("    needs: [{0}/{0}]\n", apps[index - 1])
            };
            helmfile += &format!(
                "  - name: {app}\n    namespace: {app}\n    chart: oci://registry.example/{app}\n    version: 1.2.3\n    values: [../apps/{app}/values/more.yaml]\n{needs}"
            );
            add(
                &format!("apps/{app}/values/more.yaml"),
                "replicas: 1\n".to_owned(),
            );
        } else {
            files.push("storage.yaml");
        }
        let resources: String = files.iter().map(|file| format!("  - ./{file}\n")).collect();
        add(
            &format!("apps/{app}/app/kustomization.yaml"),
            format!("namespace: {app}\ncomponents:\n  - ../../../common\nresources:\n{resources}"),
        );
        for file in files {
            let text = template(file).replace("APP", app);
            add(&format!("apps/{app}/app/{file}"), text);
        }
    }
    add("apps/kustomization.yaml", list);
    if has_charts {
        add("bootstrap/helmfile.yaml", helmfile);
        add(
            "charts/local/Chart.yaml",
            "apiVersion: v2\nname: local\nversion: 1.0.0\n".to_owned(),
        );
        add(
            "charts/local/values.yaml",
            "replicas: 1\nimage: {}\nresources: {}\n".to_owned(),
        );
    }
    tree
}

fn template(file: &str) -> &'static str {
    match file {
        "workload.yaml" => include_str!("tree/app/workload.yaml"),
        "rights.yaml" => include_str!("tree/app/rights.yaml"),
        "network.yaml" => include_str!("tree/app/network.yaml"),
        "secret.sops.yaml" => include_str!("tree/app/secret.yaml"),
        "external.yaml" => include_str!("tree/app/external.yaml"),
        "game.yaml" => include_str!("tree/app/game.yaml"),
        "release.yaml" => include_str!("tree/app/release.yaml"),
        "source.yaml" => include_str!("tree/app/source.yaml"),
        "values.yaml" => include_str!("tree/app/values.yaml"),
        "storage.yaml" => include_str!("tree/app/storage.yaml"),
        other => panic!("there is no template {other}"),
    }
}

fn operator(has_charts: bool) -> String {
    let mut text = include_str!("tree/operator.yaml").to_owned();
    if has_charts {
        text += include_str!("tree/charts.yaml");
    }
    text
}

fn kustomization(name: &str, more: &str) -> String {
    format!(
        "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata:\n  name: {name}\n  namespace: flux-system\nspec:\n  interval: 1h\n  retryInterval: 2m\n  timeout: 5m\n  path: ./apps/{name}/app\n  prune: true\n  wait: true\n  sourceRef:\n    kind: GitRepository\n    name: flux-system\n    namespace: flux-system\n{more}"
    )
}

/// The first app has health checks, which another one waits for; the third has expressions.
fn of_app(app: &str, index: usize, needed: &str) -> String {
    let mut more = format!(
        "  decryption:\n    provider: sops\n    secretRef:\n      name: sops-age\n  postBuild:\n    substitute:\n      DOMAIN: {app}.example\n    substituteFrom:\n      - kind: ConfigMap\n        name: cluster-settings\n  dependsOn:\n{needed}    - name: operator\n"
    );
    if index == 2 {
        more += "  healthCheckExprs:\n    - apiVersion: example.com/v1\n      kind: Game\n      current: status.ready\n";
    }
    let text = kustomization(app, &more);
    if index > 0 {
        return text;
    }
    let checks = format!(
        "  wait: false\n  healthChecks:\n    - apiVersion: source.toolkit.fluxcd.io/v1\n      kind: GitRepository\n      name: here\n      namespace: default\n    - apiVersion: apps/v1\n      kind: Deployment\n      name: {app}\n      namespace: {app}\n"
    );
    text.replace("  wait: true\n", &checks)
}
