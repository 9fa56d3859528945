//! Measures a deployment to many hosts: `cargo run --release -p nico-bench --bin deploy`.
//!
//! The hosts are namespaces with their own `sshd` and `/nix`, the systems are trivial, so what is
//! measured is everything around them: Git, evaluation, build, copy, activation, confirmation.
//! Needs root, and the binary `nico` beside this program.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use kube::api::{Api, ListParams};
use nico_api::NixosConfiguration;
use nico_api::labels::RECONCILE_AT;
use nico_bench::ending::until_signal;
use nico_bench::table::{Against, Table};
use nico_sandbox::stack::Stack;
use nico_sandbox::{Sandbox, flake, manifests, tools};
use serde_json::json;
use tokio::task::block_in_place;

/// What deploy-rs 1.0 took for each of ten hosts with trivial closures, one after the other: 58 s
/// for all of them.
const PEER_SECONDS_FOR_EACH_HOST: f64 = 5.8;

/// Far more than anything takes.
const DEADLINE: Duration = Duration::from_secs(900);

/// How often the operator looks at everything, in seconds.
const INTERVAL: u64 = 10;

/// Deploy one flake to many hosts and print a table.
#[derive(Parser)]
struct Arguments {
    /// Hosts, at most 200.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u8).range(1..=200))]
    hosts: u8,
    /// The binary to measure; by default the one beside this program.
    #[arg(long, value_name = "FILE")]
    nico: Option<PathBuf>,
}

/// A flake with one system for each host, all of which have the file `content` in them.
const FLAKE: &str = r#"{
  outputs = { self }:
    let
      system = name: {
        config.system.build.toplevel = derivation {
          name = "nixos-system-${name}";
          system = builtins.readFile ./system;
          builder = "/bin/sh";
          PATH = "/usr/bin:/bin";
          args = [ "-euc" ''
            mkdir -p $out/bin
            echo "${name} $content" >$out/content
            { echo '#!/bin/sh'; echo "ln -sfn $out /run/current-system"; } >$out/bin/switch-to-configuration
            chmod 555 $out/bin/switch-to-configuration
          '' ];
          content = builtins.readFile ./content;
        };
      };
    in {
      nixosConfigurations = builtins.listToAttrs (map (name: { inherit name; value = system name; }) (import ./hosts.nix));
    };
}
"#;

struct Measured {
    seconds: f64,
    counts: Counts,
}

/// What the operator and the hosts counted since they were started.
#[derive(Clone, Copy)]
struct Counts {
    evaluations: f64,
    lookups: f64,
    bytes: f64,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Err(missing) = tools::check(&[("kubectl", "kubernetes-client")]) {
        bail!("{missing}");
    }
    tokio::runtime::Runtime::new()?.block_on(until_signal(measure(&arguments)))
}

#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]
async fn measure(arguments: &Arguments) -> Result<()> {
    let nico = nico_bench::spawn::nico(arguments.nico.as_deref())?;
    let names: Vec<String> = (0..arguments.hosts)
        .map(|number| format!("h-{number:03}"))
        .collect();
    eprintln!("making {} hosts", names.len());
    let lab = Lab::start(&nico, &names).await?;

    eprintln!("deploying for the first time");
    let first = lab.deploy("first").await?;
    eprintln!("deploying a change");
    let change = lab.deploy("second").await?;
    eprintln!("changing nothing for {} intervals", 3);
    let before = lab.counts().await?;
    tokio::time::sleep(Duration::from_secs(3 * INTERVAL)).await;
    let nothing = lab.counts().await?.since(before);

    let hosts = f64::from(arguments.hosts);
    let peer = Against::Peer("deploy-rs 1.0", PEER_SECONDS_FOR_EACH_HOST * hosts);
    let mut table = Table::default();
    for (name, measured) in [("first deployment", first), ("change", change)] {
        let count = measured.counts;
        table.add(
            format!("{name}, {hosts} hosts"),
            measured.seconds,
            "s",
            peer.clone(),
        );
        table.add(
            format!("{name}: evaluations"),
            count.evaluations,
            "",
            Against::Nothing,
        );
        table.add(
            format!("{name}: `git ls-remote`"),
            count.lookups,
            "",
            Against::Nothing,
        );
        let kilobytes = count.bytes / hosts / 1000.0;
        table.add(
            format!("{name}: sent to each host"),
            kilobytes,
            "kB",
            Against::Nothing,
        );
    }
    let for_each = |count: f64| count / 3.0;
    table.add(
        "nothing changed: `git ls-remote` in an interval",
        for_each(nothing.lookups),
        "",
        Against::AtMost(1.0),
    );
    table.add(
        "nothing changed: evaluations",
        nothing.evaluations,
        "",
        Against::Nothing,
    );
    println!("{table}");
    Ok(())
}

struct Lab {
    stack: Stack,
    configurations: Api<NixosConfiguration>,
    hosts: usize,
}

impl Lab {
    async fn start(nico: &std::path::Path, names: &[String]) -> Result<Self> {
        let mut stack = block_in_place(|| {
            let mut sandbox = Sandbox::create(nico)?;
            let hosts: Vec<(&str, u8)> = names.iter().map(String::as_str).zip(11..).collect();
            sandbox.add_hosts(&hosts)?;
            let interval = INTERVAL.to_string();
            let environment = [("NIO_CONFIG_RECONCILE_INTERVAL", interval.as_str())];
            anyhow::Ok(Stack::start(sandbox, &environment)?)
        })?;
        let kubectl = stack.kubectl();
        let apply = async |manifest: String| {
            kubectl
                .run_with_input(&["apply", "-f", "-"], &manifest)
                .await
        };
        for (_, crd) in nico_api::crds::all() {
            apply(serde_json::to_string(&crd)?).await?;
        }
        let established = ["wait", "--for=condition=Established", "crd", "--all"];
        kubectl.run(&established).await?;
        block_in_place(|| stack.start_operator())?;

        let quoted: String = names.iter().map(|name| format!("\"{name}\" ")).collect();
        let repository = stack.sandbox().repository();
        repository.write("flake.nix", FLAKE)?;
        repository.write("hosts.nix", &format!("[ {quoted}]\n"))?;
        repository.write("system", &format!("{}-linux", std::env::consts::ARCH))?;
        let key = stack.sandbox().private_key()?;
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": manifests::KEY_SECRET},
            "stringData": {"ssh-privatekey": key},
        });
        apply(secret.to_string()).await?;
        let machines = stack.sandbox().hosts().iter().map(|host| {
            json!({
                "apiVersion": "nio.homystack.com/v1alpha1", "kind": "Machine",
                "metadata": {"name": host.name()},
                "spec": {
                    "ipAddress": host.address().to_string(),
                    "sshKeySecretRef": {"name": manifests::KEY_SECRET},
                },
            })
        });
        let machines =
            json!({"apiVersion": "v1", "kind": "List", "items": machines.collect::<Vec<_>>()});
        apply(machines.to_string()).await?;
        let configurations = Api::default_namespaced(stack.client().await?);
        Ok(Self {
            configurations,
            hosts: names.len(),
            stack,
        })
    }

    /// Commits a change of every system, and waits until every host runs it.
    async fn deploy(&self, content: &str) -> Result<Measured> {
        let before = self.counts().await?;
        let repository = self.stack.sandbox().repository();
        repository.write("content", content)?;
        let commit = repository.commit(content)?;
        let started = Instant::now();
        // The annotation says that there is something to see, so that no interval is waited for.
        let items = self.stack.sandbox().hosts().iter().map(|host| {
            json!({
                "apiVersion": "nio.homystack.com/v1alpha1", "kind": "NixosConfiguration",
                "metadata": {"name": host.name(), "annotations": {RECONCILE_AT: content}},
                "spec": {
                    "gitRepo": repository.url(), "ref": "main",
                    "configurationSubdir": flake::SUBDIRECTORY,
                    "flake": format!("#{}", host.name()),
                    "machineRef": {"name": host.name()},
                },
            })
        });
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items.collect::<Vec<_>>()});
        let kubectl = self.stack.kubectl();
        kubectl
            .run_with_input(&["apply", "-f", "-"], &list.to_string())
            .await?;
        loop {
            let all = self.configurations.list(&ListParams::default()).await?;
            let done = all.items.iter().filter(|it| {
                let applied = it.status.as_ref().and_then(|it| it.applied_commit.as_ref());
                applied == Some(&commit)
            });
            if done.count() == self.hosts {
                break;
            }
            ensure!(
                started.elapsed() < DEADLINE,
                "the hosts did not get {commit}"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(Measured {
            seconds: started.elapsed().as_secs_f64(),
            counts: self.counts().await?.since(before),
        })
    }

    async fn counts(&self) -> Result<Counts> {
        let page = metrics(&self.stack.metrics_url()).await?;
        let sum = |start: &str, label: &str| -> f64 {
            page.lines()
                .filter(|line| line.starts_with(start) && line.contains(label))
                .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
                .sum()
        };
        let mut bytes = 0.0;
        for host in self.stack.sandbox().hosts() {
            let output = host.run("cat /proc/net/dev")?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let received = text
                .lines()
                .filter_map(|line| line.split_once(':'))
                .filter(|(name, _)| name.trim() != "lo")
                .filter_map(|(_, numbers)| numbers.split_whitespace().next()?.parse::<f64>().ok());
            bytes += received.sum::<f64>();
        }
        Ok(Counts {
            evaluations: sum("nio_nixos_builds_total", "build_type=\"evaluate\""),
            lookups: sum("nio_git_lookups_total", ""),
            bytes,
        })
    }
}

impl Counts {
    fn since(self, before: Self) -> Self {
        Self {
            evaluations: self.evaluations - before.evaluations,
            lookups: self.lookups - before.lookups,
            bytes: self.bytes - before.bytes,
        }
    }
}

/// The operator's metrics.
async fn metrics(url: &str) -> Result<String> {
    let output = tokio::process::Command::new("curl")
        .args(["--silent", "--show-error", "--fail", url])
        .output()
        .await
        .context("cannot start curl")?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
