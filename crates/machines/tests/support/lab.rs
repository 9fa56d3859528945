//! A cluster with a real host.

use std::path::Path;

use nico_sandbox::{Sandbox, tools};

use super::Cluster;

/// A cluster with one host, whose Machine is `m`.
pub struct Lab {
    pub cluster: Cluster,
    pub sandbox: Sandbox,
}

impl Lab {
    /// `None`, said loudly, where hosts cannot be made.
    pub async fn start() -> Option<Self> {
        Self::start_with(|_| {}).await
    }

    /// The same, with changes of what the host has on its disk before it is powered on.
    pub async fn start_with(change: impl FnOnce(&Path)) -> Option<Self> {
        if let Err(missing) = tools::check(&[]) {
            tools::skip(&missing.to_string());
            return None;
        }
        // The hosts do not run it.
        let nico = Path::new("/bin/true");
        let sandbox = tokio::task::block_in_place(|| {
            let mut sandbox = Sandbox::create(nico).unwrap();
            sandbox.add_hosts(&[("m", 11)]).unwrap();
            let host = sandbox.host_mut("m").unwrap();
            host.power_off();
            change(&host.disk());
            host.power_on().unwrap();
            sandbox
        });
        let cluster = Cluster::start().await;
        let key = sandbox.private_key().unwrap();
        cluster.secret("machine-key", "ssh-privatekey", &key).await;
        let address = sandbox.network().address(11).to_string();
        cluster.machine("m", &address).await;
        Some(Self { cluster, sandbox })
    }

    /// What a command says on the host.
    pub fn on_host(&self, command: &str) -> String {
        let output = self.sandbox.hosts()[0].run(command).unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Waits until a condition of the shell holds on the host.
    pub fn until(&self, condition: &str) {
        let script = format!(
            "i=0; until {condition}; do sleep 0.05; i=$((i+1)); [ $i -lt 1200 ] || exit 1; done"
        );
        let output = self.sandbox.hosts()[0].run(&script).unwrap();
        assert!(
            output.status.success(),
            "{condition} never held on the host"
        );
    }

    /// The content of the systems that were made to run on the host, in their order. That
    /// their boot entries were made is no activation.
    pub fn activations(&self) -> Vec<String> {
        let script = "while read -r action system; do \
                      [ $action = boot ] || cat $system/content; done </var/log/switches";
        self.on_host(script)
            .lines()
            .map(|line| line.trim().to_owned())
            .collect()
    }
}
