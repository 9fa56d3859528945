//! The steps of the story, each with the commands that a user would type.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};
use nico_api::{KubernetesCluster, Machine, NixosConfiguration};
use tokio::task;
use tokio_util::sync::CancellationToken;

use super::terminal::{Style, Terminal};
use super::view::{self, Snapshot};
use super::{DemoError, DemoOptions};
use crate::kubectl::Kubectl;
use crate::manifests::{self, CLUSTER_NAME, KEY_SECRET};
use crate::proof;
use crate::sandbox::{FIVE_HOSTS, Sandbox, SandboxError};
use crate::stack::{self, Stack};
use crate::state::file_error;

/// How often the live view looks.
const REFRESH: Duration = Duration::from_millis(150);

/// How long the cluster may take to be Ready, and to be gone. Far more than it does.
const PATIENCE: &str = "--timeout=180s";

/// Whoever tells, where, and until when.
pub(super) struct Story<'a> {
    pub(super) steps: usize,
    pub(super) terminal: &'a mut Terminal,
    pub(super) stop: &'a CancellationToken,
}

impl Story<'_> {
    pub(super) async fn tell(
        &mut self,
        options: &DemoOptions,
        started: Instant,
    ) -> Result<(), DemoError> {
        let stack = self.make(options.nico.clone()).await?;
        let kubectl = stack.kubectl();
        let told = self.tell_of_the_cluster(options, &stack, &kubectl).await;
        if let Err(error) = &told
            && !matches!(error, DemoError::Interrupted)
        {
            self.show_what_is_there(&stack, &kubectl).await;
            if options.keep {
                self.stay_up(&stack, true).await?;
            }
        }
        let ready_after = told?;
        let removing = Instant::now();
        task::spawn_blocking(|| stack.remove()).await??;
        self.terminal.done(
            removing.elapsed(),
            "hosts, network, processes and files removed",
        );
        self.terminal.line(Style::Plain, "");
        let summary = format!(
            "From `kubectl apply` to Ready: {:.1} s. The whole run: {:.1} s.",
            ready_after.as_secs_f64(),
            started.elapsed().as_secs_f64()
        );
        self.terminal.line(Style::Bold, &summary);
        Ok(())
    }

    /// Steps 1 and 2.
    pub(super) async fn make(&mut self, nico: PathBuf) -> Result<Stack, DemoError> {
        self.terminal.step(
            1,
            self.steps,
            "Five hosts, each with its own address, sshd, host key, /nix and /etc",
        );
        let begun = Instant::now();
        let sandbox = task::spawn_blocking(move || {
            let mut sandbox = Sandbox::create(&nico)?;
            sandbox.add_hosts(FIVE_HOSTS)?;
            Ok::<_, SandboxError>(sandbox)
        });
        let sandbox = sandbox.await??;
        self.check_interrupt()?;
        let hosts: Vec<String> = sandbox
            .hosts()
            .iter()
            .map(|host| format!("{} {}", host.name(), host.address()))
            .collect();
        self.terminal.output(&format!("sandbox {}", sandbox.id()));
        self.terminal.output(&hosts.join(", "));
        self.terminal.done(begun.elapsed(), "all answer on port 22");

        self.terminal.step(
            2,
            self.steps,
            "A management cluster: `nico apiserver` and `nico operator`, two processes",
        );
        let begun = Instant::now();
        let stack = task::spawn_blocking(move || Stack::start(sandbox, &[])).await??;
        self.check_interrupt()?;
        let kubectl = stack.kubectl();
        let crds = kubectl.directory().join("crds");
        fs::create_dir_all(&crds).map_err(file_error("create", &crds))?;
        for (name, crd) in nico_api::crds::all() {
            // JSON is YAML too.
            write(&crds.join(name), &serde_json::to_string_pretty(&crd)?)?;
        }
        self.user(&kubectl, &["apply", "-f", "crds/"]).await?;
        self.user(
            &kubectl,
            &["wait", "--for=condition=Established", "crd", "--all"],
        )
        .await?;
        let stack = task::spawn_blocking(move || {
            let mut stack = stack;
            stack.start_operator().map(|()| stack)
        });
        let stack = stack.await??;
        self.check_interrupt()?;
        self.terminal.done(begun.elapsed(), "both are ready");
        Ok(stack)
    }

    /// Steps 3 to 7; gives the time from the first `apply` to Ready.
    async fn tell_of_the_cluster(
        &mut self,
        options: &DemoOptions,
        stack: &Stack,
        kubectl: &Kubectl,
    ) -> Result<Duration, DemoError> {
        let client = stack.client().await?;

        self.terminal
            .step(3, self.steps, "Five machines and a cluster, as manifests");
        let applied = Instant::now();
        self.describe_machines(stack, kubectl).await?;
        self.write_cluster(stack, kubectl)?;
        self.user(kubectl, &["apply", "-f", "cluster.yaml"]).await?;

        self.terminal
            .step(4, self.steps, "From Git to a cluster, machine by machine");
        let resource = format!("kcluster/{CLUSTER_NAME}");
        let wait = ["wait", "--for=condition=Ready", &resource, PATIENCE];
        self.user_with_view(kubectl, &wait, &client, applied)
            .await?;
        let ready_after = applied.elapsed();
        self.terminal.done(ready_after, "the cluster is Ready");

        self.terminal.step(
            5,
            self.steps,
            "The new cluster, with the kubeconfig from its Secret",
        );
        let begun = Instant::now();
        self.use_cluster(stack, kubectl).await?;
        self.user(kubectl, &["get", "mach,nixconf,kcluster"])
            .await?;
        self.terminal.done(begun.elapsed(), "five Ready Nodes");

        if options.keep {
            self.stay_up(stack, true).await?;
            return Ok(ready_after);
        }

        self.terminal
            .step(6, self.steps, "And back: every machine is freed");
        let begun = Instant::now();
        let delete = ["delete", "kcluster", CLUSTER_NAME, PATIENCE];
        self.user_with_view(kubectl, &delete, &client, begun)
            .await?;
        self.terminal.done(begun.elapsed(), "the cluster is gone");

        self.terminal.step(7, self.steps, "Nothing is left");
        self.prove_that_nothing_is_left(stack, &client).await?;
        Ok(ready_after)
    }

    pub(super) async fn describe_machines(
        &mut self,
        stack: &Stack,
        kubectl: &Kubectl,
    ) -> Result<(), DemoError> {
        let path = kubectl.directory().join("machines.yaml");
        write(&path, &manifests::machines(stack.sandbox()))?;
        let key = stack.sandbox().private_key()?;
        let from_file = "--from-file=ssh-privatekey=/dev/stdin";
        let create = ["create", "secret", "generic", KEY_SECRET, from_file];
        self.terminal
            .command(&format!("kubectl {} < id_ed25519", create.join(" ")));
        let output = kubectl.run_with_input(&create, &key).await?;
        self.terminal.output(&output);
        self.user(kubectl, &["apply", "-f", "machines.yaml"]).await
    }

    pub(super) fn write_cluster(
        &mut self,
        stack: &Stack,
        kubectl: &Kubectl,
    ) -> Result<(), DemoError> {
        let path = kubectl.directory().join("cluster.yaml");
        write(&path, &manifests::cluster(stack.sandbox()))
    }

    async fn use_cluster(&mut self, stack: &Stack, kubectl: &Kubectl) -> Result<(), DemoError> {
        let secret = format!("{CLUSTER_NAME}-kubeconfig");
        let file = format!("{CLUSTER_NAME}.kubeconfig");
        let template = "{{.data.kubeconfig | base64decode}}";
        let get = ["get", "secret", &secret, "--template", template];
        self.terminal.command(&format!(
            "kubectl get secret {secret} --template '{template}' > {file}"
        ));
        let kubeconfig = kubectl.run(&get).await?;
        let path = kubectl.directory().join(&file);
        write(&path, &kubeconfig)?;
        self.user(
            kubectl,
            &["--kubeconfig", &file, "get", "nodes", "-o", "wide"],
        )
        .await?;

        let nodes = Api::<Node>::all(stack::client(&path).await?);
        let nodes = nodes.list(&ListParams::default()).await?;
        let ready = nodes.iter().filter(|node| is_ready(node)).count();
        let wanted = stack.sandbox().hosts().len();
        if ready != wanted || nodes.items.len() != wanted {
            let names: Vec<String> = nodes.iter().map(ResourceExt::name_any).collect();
            return Err(DemoError::Nodes {
                ready,
                wanted,
                nodes: names.join(", "),
            });
        }
        Ok(())
    }

    async fn prove_that_nothing_is_left(
        &mut self,
        stack: &Stack,
        client: &Client,
    ) -> Result<(), DemoError> {
        let mut findings = proof::of_the_api(client).await?;
        findings.extend(proof::of_the_hosts(stack.sandbox().hosts())?);
        let mut left = Vec::new();
        for finding in findings {
            if finding.found.is_empty() {
                self.terminal
                    .line(Style::Good, &format!("      ✓ {}", finding.claim));
            } else {
                let found = format!("{}: {}", finding.claim, finding.found.join(", "));
                self.terminal.line(Style::Bad, &format!("      ✗ {found}"));
                left.push(found);
            }
        }
        if left.is_empty() {
            return Ok(());
        }
        Err(DemoError::Left(left.join("; ")))
    }

    /// A command of the user, shown with its output.
    async fn user(&mut self, kubectl: &Kubectl, arguments: &[&str]) -> Result<(), DemoError> {
        self.terminal
            .command(&format!("kubectl {}", arguments.join(" ")));
        let output = tokio::select! {
            output = kubectl.run(arguments) => output?,
            () = self.stop.cancelled() => return Err(DemoError::Interrupted),
        };
        self.terminal.output(&output);
        Ok(())
    }

    /// A command that takes its time, with the live view below.
    async fn user_with_view(
        &mut self,
        kubectl: &Kubectl,
        arguments: &[&str],
        client: &Client,
        since: Instant,
    ) -> Result<(), DemoError> {
        self.terminal
            .command(&format!("kubectl {}", arguments.join(" ")));
        let mut ticks = tokio::time::interval(REFRESH);
        let mut rows = Vec::new();
        let command = kubectl.run(arguments);
        tokio::pin!(command);
        let output = loop {
            tokio::select! {
                output = &mut command => break output,
                () = self.stop.cancelled() => return Err(DemoError::Interrupted),
                _ = ticks.tick() => self.show(client, &mut rows, since).await,
            }
        };
        self.show(client, &mut rows, since).await;
        self.terminal.keep_block();
        self.terminal.output(&output?);
        Ok(())
    }

    async fn show(&mut self, client: &Client, shown: &mut Vec<view::Row>, since: Instant) {
        let snapshot = match snapshot(client).await {
            Ok(snapshot) => snapshot,
            Err(error) => {
                tracing::debug!(%error, "the view keeps what it has");
                return;
            }
        };
        let rows = view::rows(&snapshot);
        if self.terminal.is_live() {
            let headline = view::headline(&snapshot, since.elapsed());
            let lines = std::iter::once(headline).chain(view::table(&rows));
            self.terminal
                .draw(lines.map(|line| format!("      {line}")).collect());
        } else {
            for change in view::changes(shown, &rows) {
                let seconds = since.elapsed().as_secs_f64();
                self.terminal.output(&format!("{seconds:5.1} s  {change}"));
            }
        }
        *shown = rows;
    }

    /// After a failure: what a person would look at first.
    async fn show_what_is_there(&mut self, stack: &Stack, kubectl: &Kubectl) {
        self.terminal.keep_block();
        for arguments in [
            ["get", "mach,nixconf,kcluster"],
            ["describe", "nixconf,kcluster"],
        ] {
            if let Err(error) = self.user(kubectl, &arguments).await {
                self.terminal.output(&error.to_string());
            }
        }
        let log = fs::read_to_string(stack.operator_log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        self.terminal
            .command(&format!("tail -n 40 {}", stack.operator_log().display()));
        self.terminal
            .output(&lines[lines.len().saturating_sub(40)..].join("\n"));
    }

    pub(super) async fn stay_up(
        &mut self,
        stack: &Stack,
        with_cluster: bool,
    ) -> Result<(), DemoError> {
        let directory = stack.kubectl().directory().to_owned();
        let mut text = vec![
            String::new(),
            "Everything stays up until Ctrl-C. In another terminal, as root:".to_owned(),
            String::new(),
            format!("  cd {}", directory.display()),
            format!("  export KUBECONFIG={}", stack.kubeconfig().display()),
            "  kubectl get mach,nixconf,kcluster".to_owned(),
        ];
        if with_cluster {
            text.push(format!(
                "  kubectl --kubeconfig {CLUSTER_NAME}.kubeconfig get nodes"
            ));
        } else {
            text.push("  kubectl apply -f cluster.yaml".to_owned());
        }
        text.push(format!("  tail -f {}", stack.operator_log().display()));
        text.push(format!("  curl {}", stack.metrics_url()));
        text.push(format!(
            "  git clone {}",
            stack.sandbox().repository().url()
        ));
        for host in stack.sandbox().hosts() {
            let init = host.init()?;
            text.push(format!(
                "  nsenter --all --wd --target {init} sh    # on {}",
                host.name()
            ));
        }
        for line in text {
            self.terminal.line(Style::Plain, &line);
        }
        self.stop.cancelled().await;
        Ok(())
    }

    fn check_interrupt(&self) -> Result<(), DemoError> {
        if self.stop.is_cancelled() {
            return Err(DemoError::Interrupted);
        }
        Ok(())
    }
}

async fn snapshot(client: &Client) -> Result<Snapshot, kube::Error> {
    let all = ListParams::default();
    let machines = Api::<Machine>::default_namespaced(client.clone());
    let configurations = Api::<NixosConfiguration>::default_namespaced(client.clone());
    let clusters = Api::<KubernetesCluster>::default_namespaced(client.clone());
    let (machines, configurations, cluster) = tokio::try_join!(
        machines.list(&all),
        configurations.list(&all),
        clusters.get_opt(CLUSTER_NAME),
    )?;
    Ok(Snapshot {
        machines: machines.items,
        configurations: configurations.items,
        cluster,
    })
}

fn is_ready(node: &Node) -> bool {
    let conditions = node
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn write(path: &Path, content: &str) -> Result<(), DemoError> {
    Ok(fs::write(path, content).map_err(file_error("write", path))?)
}
