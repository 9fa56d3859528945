//! One host and a flake whose activation does what a test wants.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nico_api::NixosConfiguration;
use nico_sandbox::host::{Host, Init};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::block_in_place;

use crate::{Lab, eventually};

/// Intervals are short, so that a test waits for nothing but what it tests.
const ENVIRONMENT: &[(&str, &str)] = &[
    // One that was killed is followed by the next at once.
    ("NICO_IDENTITY", "the-operator"),
    ("NIO_MACHINE_DISCOVERY_INTERVAL", "2s"),
    ("NIO_CONFIG_RECONCILE_INTERVAL", "2s"),
    ("NIO_RETRY_BASE_DELAY", "100ms"),
];

/// Notes what it is asked for, is then the running system, as its namesake in NixOS, and does
/// what the file `behaviour` says. As each system of a real host, it brings the network up.
const SWITCH: &str = r#"#!/bin/sh
system=$(readlink -f "$0")
system=${system%/bin/switch-to-configuration}
echo "$1 $(cat "$system/content")" >>/var/log/switches
[ "$1" != boot ] || exit 0
ip link set eth0 up
ln -sfn "$system" /run/current-system
. "$system/behaviour"
"#;

const FLAKE: &str = r#"{
  outputs = { self }:
    let
      system = name: content: {
        config.system.build.toplevel = derivation {
          name = "nixos-system-${name}";
          system = "PLATFORM";
          builder = "/bin/sh";
          PATH = "/usr/bin:/bin";
          args = [ "-euc" ''
            ${if name == "web" then builtins.readFile ./build.sh else ""}
            mkdir -p $out/bin
            cat ${./switch} > $out/bin/switch-to-configuration
            chmod 555 $out/bin/switch-to-configuration
            echo ${content} > $out/content
            cat ${if name == "web" then ./behaviour else ./nothing} > $out/behaviour
            for part in kernel initrd kernel-modules; do ln -s ${./kernel} $out/$part; done
          '' ];
        };
      };
    in {
      nixosConfigurations.web = system "web" (builtins.readFile ./content);
      nixosConfigurations.minimal = system "minimal" "minimal";
    };
}
"#;

/// A sandbox with one host, whose Machine is `m`, and a Git repository of its own.
pub struct OneHost {
    /// The sandbox.
    pub lab: Lab,
    repository: TempDir,
}

impl OneHost {
    /// Makes the host, the operator with further settings, the Machine and the repository.
    ///
    /// # Errors
    /// When one of them does not work.
    pub async fn start(environment: &[(&str, &str)]) -> Result<Self> {
        let environment = [ENVIRONMENT, environment].concat();
        let lab = Lab::start(&[("m", 11)], &environment).await?;
        let one = Self {
            lab,
            repository: TempDir::new()?,
        };
        one.git(&["init", "--quiet", "--initial-branch=main", "."])?;
        let platform = format!("{}-linux", std::env::consts::ARCH);
        one.write("flake.nix", &FLAKE.replace("PLATFORM", &platform))?;
        for (path, content) in [
            ("switch", SWITCH),
            ("build.sh", ""),
            ("nothing", ""),
            ("behaviour", ""),
            ("kernel", "first"),
            ("content", "first"),
        ] {
            one.write(path, content)?;
        }
        one.lab.create_key().await?;
        one.machine(json!({})).await?;
        Ok(one)
    }

    /// Applies the Machine, with changes.
    ///
    /// # Errors
    /// What `kubectl` says.
    pub async fn machine(&self, change: Value) -> Result<()> {
        let address = self.lab.stack.sandbox().network().address(11);
        let mut spec = json!({
            "ipAddress": address, "sshKeySecretRef": {"name": "machine-key"},
        });
        merge(&mut spec, change);
        self.apply("Machine", "m", &spec).await
    }

    /// Applies the configuration `web` of the machine, with changes.
    ///
    /// # Errors
    /// What `kubectl` says.
    pub async fn configure(&self, change: Value) -> Result<()> {
        let mut spec = json!({
            "gitRepo": format!("file://{}", self.repository.path().display()),
            "flake": "#web", "onRemoveFlake": "#minimal", "machineRef": {"name": "m"},
        });
        merge(&mut spec, change);
        self.apply("NixosConfiguration", "web", &spec).await
    }

    async fn apply(&self, kind: &str, name: &str, spec: &Value) -> Result<()> {
        let object = json!({
            "apiVersion": "nio.homystack.com/v1alpha1", "kind": kind,
            "metadata": {"name": name}, "spec": spec,
        });
        self.lab.apply(&object.to_string()).await?;
        Ok(())
    }

    /// Writes a file of the repository: `content` names the system, `behaviour` is what its
    /// activation does, `build.sh` what its build does, `kernel` is its kernel.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &str, content: &str) -> Result<()> {
        Ok(std::fs::write(self.repository.path().join(path), content)?)
    }

    /// Commits a system of this name that behaves so when it is activated, and gives the commit.
    ///
    /// # Errors
    /// What `git` says.
    pub fn push(&self, content: &str, behaviour: &str) -> Result<String> {
        self.write("content", content)?;
        self.write("behaviour", behaviour)?;
        self.git(&["add", "--all"])?;
        self.git(&["commit", "--quiet", "--message", content])?;
        self.git(&["rev-parse", "HEAD"])
    }

    fn git(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new("git")
            .args(["-c", "user.name=t", "-c", "user.email=t@example.com"])
            .args(arguments)
            .current_dir(self.repository.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()?;
        ensure!(output.status.success(), "git {arguments:?}: {output:?}");
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// The repository.
    pub fn repository(&self) -> &Path {
        self.repository.path()
    }

    /// The host.
    ///
    /// # Errors
    /// Never: it was made.
    pub fn host(&self) -> Result<&Host> {
        self.lab.stack.sandbox().host("m").context("the host")
    }

    /// Powers the host off and on again.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn power_cycle(&mut self) -> Result<()> {
        let host = self.lab.stack.sandbox_mut().host_mut("m");
        let host = host.context("the host")?;
        block_in_place(|| {
            host.power_off();
            host.power_on()
        })?;
        Ok(())
    }

    /// Puts the directory `/var/programs`, for programs of a test, first into the path of the
    /// host's SSH server.
    ///
    /// # Errors
    /// When the host does not come up with it.
    pub fn with_programs(&mut self) -> Result<()> {
        let config = self.host()?.disk().join("etc/ssh/sshd_config");
        let text = std::fs::read_to_string(&config)?;
        let text = text.replace("SetEnv PATH=", "SetEnv PATH=/var/programs:");
        std::fs::write(&config, text)?;
        self.on_host("mkdir /var/programs")?;
        self.power_cycle()
    }

    /// Starts the host anew, with systemd as its first process.
    ///
    /// # Errors
    /// When it does not come up with it.
    pub fn with_systemd(&mut self) -> Result<()> {
        let host = self.lab.stack.sandbox_mut().host_mut("m");
        host.context("the host")?.set_init(Init::Systemd);
        self.power_cycle()
    }

    /// Waits until the host shuts itself down, and powers it on, as a real one does that
    /// reboots.
    ///
    /// # Errors
    /// When it does not, or does not come up.
    pub async fn rebooted(&mut self) -> Result<()> {
        let stack = &mut self.lab.stack;
        eventually("the host reboots", async || {
            let host = stack.sandbox_mut().host_mut("m");
            Ok((!host.context("the host")?.is_on()).then_some(()))
        })
        .await?;
        self.power_cycle()
    }

    /// Puts a script into `/var/programs`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn program(&self, name: &str, script: &str) -> Result<()> {
        let path = self.host()?.disk().join("var/programs").join(name);
        std::fs::write(&path, script)?;
        Ok(std::fs::set_permissions(
            &path,
            Permissions::from_mode(0o755),
        )?)
    }

    /// Runs a command on the host, which must succeed, and gives its standard output.
    ///
    /// # Errors
    /// What it says when it fails.
    pub fn on_host(&self, command: &str) -> Result<String> {
        let output = block_in_place(|| self.host()?.run(command).map_err(anyhow::Error::from))?;
        ensure!(
            output.status.success(),
            "{command}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Waits until a command succeeds on the host.
    ///
    /// # Errors
    /// When it never does.
    pub async fn until(&self, command: &str) -> Result<()> {
        eventually(command, async || Ok(self.on_host(command).ok().map(|_| ()))).await
    }

    /// What the host was asked to switch to, each as action and name of the system.
    ///
    /// # Errors
    /// When the host cannot be asked.
    pub fn switches(&self) -> Result<Vec<String>> {
        let log = self.on_host("cat /var/log/switches 2>/dev/null || true")?;
        Ok(log.lines().map(str::to_owned).collect())
    }

    /// The name of the system that runs.
    ///
    /// # Errors
    /// When none runs.
    pub fn running(&self) -> Result<String> {
        self.on_host("cat /run/current-system/content")
    }

    /// Waits until `web` is as it should be, and gives it.
    ///
    /// # Errors
    /// When it does not become so; with what it is.
    pub async fn web(
        &self,
        what: &str,
        is_right: impl Fn(&NixosConfiguration) -> bool,
    ) -> Result<NixosConfiguration> {
        let mut last = None;
        let found = eventually(what, async || {
            last = self.lab.configurations().get_opt("web").await?;
            Ok(last.clone().filter(&is_right))
        })
        .await;
        found.with_context(|| format!("web is {last:#?}"))
    }

    /// Waits until the commit is applied.
    ///
    /// # Errors
    /// When it is not.
    pub async fn applied(&self, commit: &str) -> Result<NixosConfiguration> {
        self.web("the commit is applied", |web| {
            let status = web.status.clone().unwrap_or_default();
            let is_ready = nico_api::condition::is_true(&status.conditions, "Ready");
            is_ready && status.applied_commit.as_deref() == Some(commit)
        })
        .await
    }

    /// Waits until `web` is not ready for this reason, and gives the message.
    ///
    /// # Errors
    /// When it does not become so.
    pub async fn reason(&self, reason: &str) -> Result<String> {
        let web = self
            .web(reason, |web| {
                ready(web).is_some_and(|it| it.reason == reason)
            })
            .await?;
        Ok(ready(&web).map(|it| it.message).unwrap_or_default())
    }

    /// Waits until nothing of a guard is left on the host: no process, no file.
    ///
    /// # Errors
    /// When something stays.
    pub async fn no_guard_is_left(&self) -> Result<()> {
        let look = "for process in /proc/[0-9]*; do \
                      case $(tr '\\0' ' ' <$process/cmdline 2>/dev/null) in \
                        *nio/activation/guar[d]*) echo $process ;; \
                      esac; \
                    done; \
                    ls -d /run/nio /var/lib/nio /nix/var/nix/gcroots/nio-* 2>/dev/null; true";
        eventually("no guard is left", async || {
            let found = self.on_host(look)?;
            ensure!(found.is_empty(), "{found}");
            Ok(Some(()))
        })
        .await
    }
}

fn ready(
    web: &NixosConfiguration,
) -> Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition> {
    let conditions = &web.status.as_ref()?.conditions;
    nico_api::condition::find(conditions, "Ready").cloned()
}

fn merge(spec: &mut Value, change: Value) {
    if let Value::Object(change) = change {
        for (field, value) in change {
            spec[field] = value;
        }
    }
}
