//! The real `nix` on flakes that need no nixpkgs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nico_api::names::FlakeAttribute;
use nico_runtime::category::{Categorized, Category};
use prometheus_client::registry::Registry;
use tempfile::TempDir;

use super::*;
use crate::configuration::metrics::ConfigurationMetrics;
use crate::program::Redactor;

/// Whether `nix` can be used here. Says loudly when a test is skipped because it cannot.
fn nix_is_missing() -> bool {
    let has_nix = Command::new("nix").arg("--version").output().is_ok();
    let may_build = rustix::process::geteuid().is_root();
    if !(has_nix && may_build) {
        nico_sandbox::tools::skip("this test needs nix in PATH, and root to build");
    }
    !(has_nix && may_build)
}

struct Fixture {
    directory: TempDir,
    nix: Nix,
    registry: Registry,
}

fn fixture(flake: &str) -> Fixture {
    let directory = TempDir::new().unwrap();
    let configuration = directory.path().join(".config/nix");
    std::fs::create_dir_all(&configuration).unwrap();
    std::fs::write(
        configuration.join("nix.conf"),
        format!(
            // A store of its own: nothing of this machine is written. Nix builds into such a
            // store in a sandbox only, which has to see a shell.
            "store = local?root={}\nsandbox-paths = /bin /usr /lib /lib64\n\
             build-users-group =\nsubstitute = false\n",
            directory.path().display()
        ),
    )
    .unwrap();
    let tree = directory.path().join("a tree/below");
    std::fs::create_dir_all(&tree).unwrap();
    std::fs::write(tree.join("flake.nix"), flake).unwrap();
    let settings = Settings {
        home: directory.path().to_owned(),
        evaluations: 1,
        builds: 1,
        copies: 1,
        evaluate_memory: 400 << 20,
        evaluate_deadline: Duration::from_secs(120),
        build_deadline: Duration::from_secs(120),
        copy_deadline: Duration::from_secs(120),
        installer: PathBuf::from("nixos-anywhere"),
        install_deadline: Duration::from_secs(120),
        substitute_on_destination: false,
    };
    let mut registry = Registry::default();
    let metrics = ConfigurationMetrics::register(&mut registry);
    Fixture {
        registry,
        nix: Nix::new(settings, metrics),
        directory,
    }
}

impl Fixture {
    fn tree(&self) -> PathBuf {
        self.directory.path().join("a tree")
    }

    /// The content of a file in the fixture's own store.
    fn read(&self, path: &nico_api::names::StorePath) -> String {
        let root = self.directory.path();
        std::fs::read_to_string(root.join(&path.as_str()[1..])).unwrap()
    }

    /// How many evaluations there were.
    fn evaluations(&self) -> u64 {
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &self.registry).unwrap();
        page.lines()
            .filter(|line| line.starts_with("nio_nixos_builds_total{build_type=\"evaluate\""))
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok())
            .sum()
    }

    async fn evaluate(&self, attribute: &str) -> Result<nico_api::names::StorePath, NixError> {
        self.evaluate_with(attribute, &[]).await
    }

    /// Evaluates an output of which it is known that others will be asked for.
    async fn evaluate_with(
        &self,
        attribute: &str,
        others: &[&str],
    ) -> Result<nico_api::names::StorePath, NixError> {
        let attribute: FlakeAttribute = attribute.parse().unwrap();
        let tree = Tree {
            root: &self.tree(),
            directory: "below",
            entry: &self.directory.path().join("entry"),
            hash: "tree",
        };
        let mut secret = Redactor::default();
        secret.add("hunter22");
        let others = others.iter().map(|name| name.parse().unwrap()).collect();
        self.nix.evaluate(&tree, &attribute, &others, &secret).await
    }

    /// Waits until an evaluation runs, and kills it as the kernel does when memory runs out.
    async fn kill_the_evaluation(&self) {
        let ours = self.directory.path().to_string_lossy().into_owned();
        let evaluates = |process: &PathBuf| {
            let command = std::fs::read(process.join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&command).contains(&ours)
        };
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        while tokio::time::Instant::now() < deadline {
            let mut processes = std::fs::read_dir("/proc")
                .unwrap()
                .flatten()
                .map(|it| it.path());
            if let Some(process) = processes.find(evaluates) {
                let id = process.file_name().unwrap().to_string_lossy();
                let id = rustix::process::Pid::from_raw(id.parse().unwrap()).unwrap();
                rustix::process::kill_process(id, rustix::process::Signal::KILL).unwrap();
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("no evaluation was started");
    }
}

/// A flake whose output `web.example` runs `script` to build.
fn flake(script: &str) -> String {
    format!(
        r#"{{ outputs = {{ self }}: {{
             nixosConfigurations."web.example".config.system.build.toplevel = derivation {{
               name = "system"; system = builtins.currentSystem or "x86_64-linux";
               builder = "/bin/sh"; args = [ "-c" "{script}" ];
             }};
           }}; }}"#
    )
}

#[tokio::test]
async fn an_output_is_evaluated_and_built_and_kept_while_its_root_exists() {
    if nix_is_missing() {
        return;
    }
    let fixture = fixture(&flake("echo system > $out"));
    let derivation = fixture.evaluate("web.example").await.unwrap();
    assert!(derivation.as_str().ends_with("-system.drv"), "{derivation}");
    let root = fixture.directory.path().join("root");
    let redactor = Redactor::default();
    let system = fixture
        .nix
        .build(&derivation, &root, &redactor)
        .await
        .unwrap();
    assert_eq!(fixture.read(&system), "system\n");
    assert_eq!(
        std::fs::read_link(&root).unwrap(),
        Path::new(system.as_str())
    );
}

#[tokio::test]
async fn a_mistake_in_the_flake_is_the_users_and_shows_no_secret() {
    if nix_is_missing() {
        return;
    }
    let fixture = fixture("{ outputs = { self }: throw \"it is hunter22\"; }");
    let error = fixture.evaluate("web").await.unwrap_err();
    assert_eq!(error.category(), Category::InvalidInput);
    assert!(error.to_string().contains("it is [redacted]"), "{error}");
}

#[tokio::test]
async fn an_output_that_is_not_there_is_the_users_mistake() {
    if nix_is_missing() {
        return;
    }
    let fixture = fixture(&flake("echo > $out"));
    let error = fixture.evaluate("absent").await.unwrap_err();
    assert_eq!(error.category(), Category::InvalidInput);
}

#[tokio::test]
async fn a_build_that_fails_says_why() {
    if nix_is_missing() {
        return;
    }
    let unique = std::process::id();
    let fixture = fixture(&flake(&format!("echo no such thing {unique} >&2; exit 1")));
    let derivation = fixture.evaluate("web.example").await.unwrap();
    let root = fixture.directory.path().join("root");
    let redactor = Redactor::default();
    let error = fixture
        .nix
        .build(&derivation, &root, &redactor)
        .await
        .unwrap_err();
    assert_eq!(error.category(), Category::InvalidInput);
    assert!(error.to_string().contains("no such thing"), "{error}");
    assert!(!root.exists());
}

/// Several outputs, one of which has a mistake.
const SEVERAL: &str = r#"{ outputs = { self }:
  let
    system = name: { config.system.build.toplevel = derivation {
      name = "system-${name}"; system = "x86_64-linux"; builder = "/bin/sh";
    }; };
  in { nixosConfigurations = {
    a = system "a"; b = system "b"; "c.d" = system "c"; e = system "e"; bad = throw "no";
  }; };
}"#;

#[tokio::test]
async fn outputs_of_one_tree_are_evaluated_together_and_once() {
    if nix_is_missing() {
        return;
    }
    let fixture = fixture(SEVERAL);
    let names = ["a", "b", "c.d", "e"];
    let all = futures::future::join_all(names.map(|name| fixture.evaluate(name))).await;
    for (name, derivation) in names.iter().zip(all) {
        let end = format!("-system-{}.drv", &name[..1]);
        let derivation = derivation.unwrap();
        assert!(derivation.as_str().ends_with(&end), "{name}: {derivation}");
    }
    let processes = fixture.evaluations();
    assert!(processes <= 2, "the first, and those that waited for it");
    fixture.evaluate("b").await.unwrap();
    let after = fixture.evaluations();
    assert_eq!(after, processes, "what was evaluated is remembered");

    // A mistake in one output is told of that one alone.
    let (bad, good) = tokio::join!(fixture.evaluate("bad"), fixture.evaluate("a"));
    assert_eq!(bad.unwrap_err().category(), Category::InvalidInput);
    assert!(good.is_ok());
}

#[tokio::test]
async fn outputs_that_will_be_asked_for_are_evaluated_with_the_first_that_is() {
    if nix_is_missing() {
        return;
    }
    let fixture = fixture(SEVERAL);
    fixture.evaluate_with("a", &["b", "c.d"]).await.unwrap();
    assert_eq!(fixture.evaluations(), 1);
    fixture.evaluate_with("b", &["a", "c.d"]).await.unwrap();
    fixture.evaluate_with("c.d", &["a", "b"]).await.unwrap();
    assert_eq!(fixture.evaluations(), 1);
    // One with a mistake that nobody asked for yet costs one try.
    fixture.evaluate_with("e", &["bad"]).await.unwrap();
    assert_eq!(fixture.evaluations(), 3);
    let bad = fixture.evaluate_with("bad", &["e"]).await.unwrap_err();
    assert!(bad.to_string().contains("no"), "{bad}");
}

#[tokio::test]
async fn an_evaluation_that_needs_too_much_memory_is_told_from_other_mistakes() {
    if nix_is_missing() {
        return;
    }
    let hungry = "{ outputs = { self }: { nixosConfigurations.web.config.system.build.toplevel.drvPath = \
        builtins.concatStringsSep \"\" (builtins.genList (x: \"${toString x} of many\") 30000000); }; }";
    let fixture = fixture(hungry);
    let error = fixture.evaluate("web").await.unwrap_err();
    assert!(
        matches!(error, NixError::EvaluationMemory { .. }),
        "{error}"
    );
    assert_eq!(error.category(), Category::InvalidInput);
    let said = error.to_string();
    assert!(said.contains("400 MiB (NIO_EVAL_MEMORY"), "{said}");
}

#[tokio::test]
async fn an_evaluation_that_is_killed_is_tried_again_with_advice_about_memory() {
    if nix_is_missing() {
        return;
    }
    let endless = "{ outputs = { self }: { nixosConfigurations.web.config.system.build.toplevel.drvPath = \
        let many = builtins.genList (x: x) 100000; sum = builtins.foldl' (a: b: a + b) 0; \
        in toString (sum (map (_: sum many) many)); }; }";
    let fixture = fixture(endless);
    let (evaluated, ()) = tokio::join!(fixture.evaluate("web"), fixture.kill_the_evaluation());
    let error = evaluated.unwrap_err();
    assert!(
        matches!(error, NixError::EvaluationKilled { .. }),
        "{error}"
    );
    assert_eq!(error.category(), Category::Transient);
    let said = error.to_string();
    assert!(said.contains("400 MiB"), "{said}");
    assert!(said.contains("NIO_EVAL_MEMORY"), "{said}");
}
