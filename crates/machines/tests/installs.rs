//! Installations from scratch on a real host. `nixos-anywhere` itself is not at hand where these
//! tests run: a script stands in for it that takes the options which the real one documents,
//! reaches the host with the `ssh` from `PATH` and with the options of the real one, which switch
//! the checking of host keys off, and has real effects: a new system, a new host key, a reboot.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nico_api::NixosConfiguration;
use nico_api::condition;
use nico_api::labels::{FULL_INSTALLATION_APPLIED, REPEAT_FULL_INSTALL};
use nico_api::nixos_configuration::conditions::{COPIED, READY, STALLED};
use nico_sandbox::{Sandbox, tools};
use serde_json::json;
use support::{Cluster, Operator, eventually, message};
use tempfile::TempDir;
use tokio::task::block_in_place;

const STAND_IN: &str = include_str!("support/nixos-anywhere.sh");

/// A cluster with one host, whose Machine is `m`, and the program that installs it.
struct Lab {
    cluster: Cluster,
    sandbox: Sandbox,
    program: TempDir,
}

impl Lab {
    /// `None`, said loudly, where hosts cannot be made.
    async fn start() -> Option<Self> {
        if let Err(missing) = tools::check(&[]) {
            tools::skip(&missing.to_string());
            return None;
        }
        let sandbox = block_in_place(|| {
            // The hosts do not run it.
            let mut sandbox = Sandbox::create(Path::new("/bin/true")).unwrap();
            sandbox.add_hosts(&[("m", 11)]).unwrap();
            sandbox
        });
        let program = TempDir::new().unwrap();
        let script = program.path().join("nixos-anywhere");
        std::fs::write(&script, STAND_IN).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        let cluster = Cluster::start().await;
        let key = sandbox.private_key().unwrap();
        cluster.secret("machine-key", "ssh-privatekey", &key).await;
        let address = sandbox.network().address(11).to_string();
        cluster.machine("m", &address).await;
        Some(Self {
            cluster,
            sandbox,
            program,
        })
    }

    fn operator(&self) -> Operator {
        let installer = self.file("nixos-anywhere");
        self.cluster
            .operator_with(|settings| settings.configurations.installer = installer)
    }

    async fn wish(&self) {
        let wish = json!({"fullInstall": true});
        self.cluster.configuration("web", "m", wish).await;
    }

    /// A file beside the stand-in, by which test and stand-in talk.
    fn file(&self, name: &str) -> PathBuf {
        self.program.path().join(name)
    }

    /// Makes the stand-in stop at a point: `before-disk`, `after-disk`, `after-reboot`.
    fn hold(&self, point: &str) {
        std::fs::write(self.file("hold"), point).unwrap();
    }

    /// How often the stand-in was started.
    fn runs(&self) -> usize {
        std::fs::read_to_string(self.file("runs")).map_or(0, |runs| runs.lines().count())
    }

    async fn reached(&self, point: &str) {
        let file = self.file(point);
        assert!(support::came(|| file.exists()).await, "{point}");
    }

    /// Does what firmware does when the stand-in says that the machine reboots.
    async fn reboot_when_asked(&mut self) {
        let asked = self.sandbox.hosts()[0].disk().join("var/reboot");
        if !support::came(|| asked.exists()).await {
            let stuck = self.cluster.configurations().get("web").await.unwrap();
            panic!("the machine was not asked to reboot: {:#?}", stuck.status);
        }
        block_in_place(|| {
            let host = self.sandbox.host_mut("m").unwrap();
            host.power_off();
            std::fs::remove_file(&asked).unwrap();
            host.power_on().unwrap();
        });
    }

    fn on_host(&self, command: &str) -> String {
        let output = self.sandbox.hosts()[0].run(command).unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn host_key(&self) -> String {
        self.on_host("ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key | cut -d' ' -f2")
    }

    async fn stalled(&self, reason: &str) -> NixosConfiguration {
        eventually(&self.cluster.configurations(), "web", |it| {
            it.status.as_ref().is_some_and(|status| {
                condition::find(&status.conditions, COPIED)
                    .is_some_and(|copied| copied.reason == reason)
                    && condition::is_true(&status.conditions, STALLED)
            })
        })
        .await
    }
}

fn began(configuration: &NixosConfiguration) -> String {
    let status = configuration.status.as_ref().unwrap();
    let time = status.full_install_started_time.as_ref().unwrap();
    serde_json::to_value(time)
        .unwrap()
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_installed_once_and_its_new_host_key_is_pinned() {
    let Some(mut lab) = Lab::start().await else {
        return;
    };
    let operator = lab.operator();
    let machines = lab.cluster.machines();
    let old_key = lab.host_key();
    eventually(&machines, "m", nico_api::Machine::is_discoverable).await;
    lab.wish().await;
    lab.reboot_when_asked().await;
    let ready = lab.cluster.reason("web", "Applied").await;
    let status = ready.status.unwrap();
    assert_eq!(status.full_disk_install_completed, Some(true));
    assert_eq!(
        lab.on_host("readlink -f /run/current-system"),
        status.system_path.unwrap()
    );

    // The probe trusts the key of the installed system without anybody's help.
    let new_key = lab.host_key();
    assert_ne!(new_key, old_key, "the stand-in made no new host key");
    let machine = eventually(&machines, "m", |machine| {
        let status = machine.status.as_ref().unwrap();
        machine.is_discoverable() && status.ssh_host_key_fingerprints == [new_key.clone()]
    })
    .await;
    assert_eq!(
        machine.metadata.annotations.unwrap()[FULL_INSTALLATION_APPLIED],
        "web"
    );

    // A later commit, another process and a wish for another try are ordinary switches.
    operator.shut_down().await;
    let _operator = lab.operator();
    lab.cluster.repository.write("hosts/content", "two ");
    let second = lab.cluster.repository.commit();
    lab.cluster.commit("web", &second).await;
    assert_eq!(lab.runs(), 1);
    let log = std::fs::read_to_string(lab.file("ssh")).unwrap();
    assert!(log.contains("StrictHostKeyChecking=yes"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_dies_during_an_installation_does_not_begin_another() {
    let Some(mut lab) = Lab::start().await else {
        return;
    };
    let operator = lab.operator();
    lab.hold("after-disk");
    lab.wish().await;
    lab.reached("after-disk").await;
    operator.kill().await;
    std::fs::remove_file(lab.file("hold")).unwrap();

    let operator = lab.operator();
    let stalled = lab.stalled("InstallInterrupted").await;
    let said = message(&stalled, READY);
    assert!(said.contains("repeat-full-install"), "{said}");
    // Neither a restart nor a wish to look again is a wish to wipe.
    operator.shut_down().await;
    let _operator = lab.operator();
    let first = stalled.status.clone().unwrap().last_attempt.unwrap();
    let again = (nico_api::labels::RECONCILE_AT, "now");
    lab.cluster.annotate("web", again.0, again.1).await;
    eventually(&lab.cluster.configurations(), "web", |it| {
        let attempt = it.status.as_ref().unwrap().last_attempt.as_ref().unwrap();
        attempt.input_hash != first.input_hash && attempt.finished_at.is_some()
    })
    .await;
    assert_eq!(lab.runs(), 1);

    let time = began(&stalled);
    lab.cluster
        .annotate("web", REPEAT_FULL_INSTALL, &time)
        .await;
    lab.reboot_when_asked().await;
    let ready = lab.cluster.reason("web", "Applied").await;
    assert_eq!(lab.runs(), 2);
    assert_ne!(began(&ready), time);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_that_ended_while_nobody_looked_is_found_out() {
    let Some(mut lab) = Lab::start().await else {
        return;
    };
    let operator = lab.operator();
    lab.hold("after-reboot");
    lab.wish().await;
    lab.reboot_when_asked().await;
    lab.reached("after-reboot").await;
    operator.kill().await;

    // Meanwhile, the branch moves on.
    lab.cluster.repository.write("hosts/content", "two ");
    let second = lab.cluster.repository.commit();
    let _operator = lab.operator();
    let ready = lab.cluster.commit("web", &second).await;
    assert_eq!(
        ready.status.unwrap().full_disk_install_completed,
        Some(true)
    );
    assert_eq!(lab.runs(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_that_fails_is_not_repeated_and_says_why() {
    let Some(lab) = Lab::start().await else {
        return;
    };
    let _operator = lab.operator();
    std::fs::write(lab.file("fail"), "").unwrap();
    lab.wish().await;
    let stalled = lab.stalled("InstallFailed").await;
    let said = message(&stalled, READY);
    assert!(said.contains("no space left on /dev/vda"), "{said}");
    let time = began(&stalled);
    assert!(
        said.contains(&format!("repeat-full-install={time}")),
        "{said}"
    );
    assert_eq!(lab.runs(), 1);
    assert_eq!(
        stalled.status.unwrap().full_disk_install_completed,
        Some(false)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_host_key_than_the_pinned_one_is_not_installed_over() {
    let Some(lab) = Lab::start().await else {
        return;
    };
    let _operator = lab.operator();
    // What is installed is reached only under the key that was seen before: the stand-in
    // replaces it in the middle, as somebody between would.
    std::fs::write(lab.file("impostor"), "").unwrap();
    lab.wish().await;
    let stalled = lab.stalled("InstallFailed").await;
    let said = message(&stalled, READY);
    assert!(said.contains("Host key verification failed"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_nixos_anywhere_nothing_is_touched_and_the_message_says_where_it_is() {
    let Some(lab) = Lab::start().await else {
        return;
    };
    let _operator = lab
        .cluster
        .operator_with(|settings| settings.configurations.installer = "/nonexistent".into());
    lab.wish().await;
    let waiting = lab.cluster.reason("web", "InstallerMissing").await;
    let said = message(&waiting, READY);
    assert!(said.contains("nixpkgs#nixos-anywhere"), "{said}");
    let status = waiting.status.unwrap();
    assert_eq!(status.full_install_started_time, None);
    assert!(!condition::is_true(&status.conditions, STALLED));
}
