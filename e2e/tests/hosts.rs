//! The hosts of a sandbox themselves, without an operator.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nico_e2e::{eventually, nico_binary, skipped};
use nico_sandbox::host::Host;
use nico_sandbox::{Sandbox, state};

const ONE_HOST: &[(&str, u8)] = &[("w-01", 21)];

const CLUSTER: &str = r#"{
  clusterName = "home";
  name = "home";
  controlPlane = [ { name = "cp-01"; ip = "10.77.255.254"; hostname = "cp-01"; } ];
  workers = [ { name = "w-01"; ip = "10.77.255.253"; hostname = "w-01"; } ];
}
"#;

fn sandbox(hosts: &[(&str, u8)]) -> Result<Sandbox> {
    let mut sandbox = Sandbox::create(&nico_binary()?)?;
    sandbox.add_hosts(hosts)?;
    Ok(sandbox)
}

/// Runs a shell command on a host, which must succeed, and gives its standard output.
fn on(host: &Host, command: &str) -> Result<String> {
    let output = host.run(command)?;
    ensure!(
        output.status.success(),
        "{command}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[test]
fn a_host_sees_and_changes_nothing_of_the_real_file_system() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let sandbox = sandbox(ONE_HOST)?;
    let host = &sandbox.hosts()[0];
    let marker = format!("marker-{}", sandbox.id());
    for directory in [
        "/etc", "/root", "/home", "/tmp", "/var", "/nix", "/run", "/opt", "/dev",
    ] {
        on(host, &format!("touch {directory}/{marker}"))?;
        ensure!(
            !Path::new(directory).join(&marker).exists(),
            "{directory} is the real one"
        );
    }
    ensure!(
        !host.run(&format!("touch /usr/{marker}"))?.status.success(),
        "/usr can be written"
    );
    ensure!(
        !host
            .run("echo 1 >/proc/sys/vm/swappiness")?
            .status
            .success(),
        "/proc/sys can be written"
    );
    ensure!(on(host, "ls /run")? != on(host, "ls /")?);
    ensure!(
        !host
            .run(&format!("ls {}", state::directory().display()))?
            .status
            .success()
    );
    ensure!(on(host, "hostname")? == "w-01");
    ensure!(on(host, ". /etc/os-release; echo $ID")? == "nixos");
    Ok(())
}

#[test]
fn two_sandboxes_at_once_have_networks_of_their_own_and_are_removed_each_alone() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let first = sandbox(ONE_HOST)?;
    let second = sandbox(ONE_HOST)?;
    let (one, other) = (first.hosts()[0].address(), second.hosts()[0].address());
    ensure!(one != other, "both have {one}");
    let answers = |address: Ipv4Addr| -> Result<bool> {
        let scan = Command::new("ssh-keyscan")
            .args(["-T", "5", &address.to_string()])
            .output()?;
        Ok(!scan.stdout.is_empty())
    };
    let id = first.id().to_owned();
    first.remove()?;
    ensure!(!state::directory_of(&id).exists());
    ensure!(state::processes(&id).is_empty());
    ensure!(!answers(one)?, "{one} still answers");
    ensure!(answers(other)?, "{other} does not answer");
    Ok(())
}

/// Puts the flake on the host itself and builds two systems there.
fn build_on(sandbox: &Sandbox, host: &Host) -> Result<(String, String)> {
    let flake = sandbox
        .directory()
        .join("repository")
        .join(nico_sandbox::flake::SUBDIRECTORY);
    let target = host.disk().join("root/flake");
    let copied = Command::new("cp")
        .arg("-r")
        .arg(&flake)
        .arg(&target)
        .status()?;
    ensure!(copied.success());
    fs::write(target.join("cluster.nix"), CLUSTER)?;
    fs::write(target.join("join-token"), "abcdef.0123456789abcdef")?;
    let build = |name: &str| -> Result<String> {
        let output =
            format!("path:/root/flake#nixosConfigurations.{name}.config.system.build.toplevel");
        on(
            host,
            &format!("nix build --out-link /root/{name} '{output}'"),
        )?;
        on(host, &format!("readlink /root/{name}"))
    };
    Ok((build("w-01")?, build("minimal")?))
}

fn agent(host: &Host) -> Result<String> {
    on(host, "cat /run/services/k3s-agent/pid")
}

#[test]
fn an_activation_starts_what_is_missing_once_and_minimal_removes_it() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let mut sandbox = sandbox(ONE_HOST)?;
    let (worker, minimal) = build_on(&sandbox, &sandbox.hosts()[0])?;
    let host = &sandbox.hosts()[0];
    let switch = |host: &Host, system: &str| {
        on(
            host,
            &format!("nix-env -p /nix/var/nix/profiles/system --set {system}"),
        )?;
        on(
            host,
            &format!("{system}/bin/switch-to-configuration switch"),
        )
    };
    switch(host, &worker)?;
    let process = agent(host)?;
    ensure!(on(host, "stat -c %a /run/k3s/agent/token")? == "600");
    switch(host, &worker)?;
    ensure!(
        agent(host)? == process,
        "a second activation restarted the agent"
    );
    ensure!(on(host, "readlink /run/current-system")? == worker);

    let host = sandbox.host_mut("w-01").context("no such host")?;
    host.power_off();
    host.power_on()?;
    ensure!(on(host, "readlink /run/booted-system")? == worker);
    agent(host).context("the agent does not run after a reboot")?;

    switch(host, &minimal)?;
    ensure!(on(host, "ls /run/services /run/k3s")? == "/run/k3s:\n\n/run/services:");
    ensure!(on(host, "readlink /run/current-system")? == minimal);
    ensure!(
        !host.run("grep -l nico /proc/[0-9]*/comm")?.status.success(),
        "nico still runs"
    );
    Ok(())
}

#[test]
fn an_activation_whose_service_does_not_start_fails_with_its_last_words() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let sandbox = sandbox(ONE_HOST)?;
    let host = &sandbox.hosts()[0];
    let script = host.disk().join("root/flake");
    let (_, _) = build_on(&sandbox, host)?;
    let broken = fs::read_to_string(script.join("services.nix"))?
        .replace("test -s /run/k3s/agent/token", "false")
        .replace("/bin/k3s agent", "/bin/k3s no-such-command");
    fs::write(script.join("services.nix"), broken)?;
    on(
        host,
        "nix build --out-link /root/broken 'path:/root/flake#nixosConfigurations.w-01.config.system.build.toplevel'",
    )?;
    let switched = host.run("/root/broken/bin/switch-to-configuration switch")?;
    ensure!(switched.status.code() == Some(4), "{switched:?}");
    let said = String::from_utf8_lossy(&switched.stderr);
    ensure!(said.contains("unknown command no-such-command"), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_can_be_cut_off_and_comes_back() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let sandbox = sandbox(ONE_HOST)?;
    let host = &sandbox.hosts()[0];
    let address = host.address().to_string();
    let answers = || {
        let scan = Command::new("ssh-keyscan")
            .args(["-T", "2", &address])
            .output();
        scan.is_ok_and(|output| !output.stdout.is_empty())
    };
    ensure!(answers());
    for (cut, mend) in [
        (
            Host::pause_ssh as fn(&Host) -> _,
            Host::resume_ssh as fn(&Host) -> _,
        ),
        (|host| host.set_link(false), |host| host.set_link(true)),
    ] {
        cut(host)?;
        ensure!(!answers());
        mend(host)?;
        eventually("the host answers again", async || {
            Ok(answers().then_some(()))
        })
        .await?;
    }
    Ok(())
}
