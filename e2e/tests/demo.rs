//! `nico sandbox demo` as a program: what it leaves behind, however it ends.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nico_e2e::{eventually, nico_binary, say, skipped};
use nico_sandbox::state;

struct Demo {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
    seen: String,
}

impl Demo {
    fn start() -> Result<Self> {
        let mut child = Command::new(nico_binary()?)
            .args(["sandbox", "demo", "--yes"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().context("no standard output")?;
        Ok(Self {
            child,
            output: BufReader::new(output),
            seen: String::new(),
        })
    }

    /// Reads until a line contains the text.
    fn read_until(&mut self, text: &str) -> Result<()> {
        loop {
            let start = self.seen.len();
            ensure!(
                self.output.read_line(&mut self.seen)? > 0,
                "ended before: {text}\n{}",
                self.seen
            );
            if self.seen[start..].contains(text) {
                return Ok(());
            }
        }
    }

    fn id(&self) -> Result<String> {
        let line = self
            .seen
            .lines()
            .find_map(|line| line.trim().strip_prefix("sandbox "));
        Ok(line.context("the demo does not say its id")?.to_owned())
    }

    fn signal(&self, name: &str) -> Result<()> {
        let pid = self.child.id();
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -s {name} {pid}")])
            .status()?;
        ensure!(sent.success(), "kill ended with {sent}");
        Ok(())
    }

    /// Sends the signal again and again until the demo has ended.
    fn signal_until_it_ends(&mut self, name: &str) -> Result<()> {
        while self.child.try_wait()?.is_none() {
            self.signal(name)?;
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn end(mut self) -> Result<(std::process::ExitStatus, String)> {
        self.output.read_to_string(&mut self.seen)?;
        Ok((self.child.wait()?, self.seen))
    }
}

/// What there still is of a sandbox.
fn remains(id: &str) -> Vec<String> {
    let mut remains: Vec<String> = state::processes(id)
        .iter()
        .map(|pid| format!("process {pid}"))
        .collect();
    let namespaces = std::fs::read_dir("/run/netns")
        .into_iter()
        .flatten()
        .flatten();
    remains.extend(
        namespaces
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| name.contains(id))
            .map(|name| format!("namespace {name}")),
    );
    for path in [
        state::directory_of(id),
        Path::new("/sys/class/net").join(format!("nico-{id}")),
    ] {
        if path.exists() {
            remains.push(path.display().to_string());
        }
    }
    remains
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_ends_with_success_and_leaves_nothing() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let mut demo = Demo::start()?;
    demo.read_until("all answer on port 22")?;
    let id = demo.id()?;
    let (status, output) = demo.end()?;
    ensure!(status.success(), "{status}\n{output}");
    ensure!(output.contains("From `kubectl apply` to Ready"), "{output}");
    say(&output);
    assert_eq!(remains(&id), Vec::<String>::new());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_demo_leaves_nothing_and_does_not_claim_success() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    for (signal, moment) in [
        ("INT", "sandbox "),
        ("TERM", "kubectl wait --for=condition=Ready"),
    ] {
        let mut demo = Demo::start()?;
        demo.read_until(moment)?;
        let id = demo.id()?;
        demo.signal(signal)?;
        let (status, output) = demo.end()?;
        ensure!(
            !status.success(),
            "{signal} at {moment}: {status}\n{output}"
        );
        assert_eq!(remains(&id), Vec::<String>::new(), "{signal} at {moment}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_impatient_user_does_not_keep_the_demo_from_cleaning_up() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let mut demo = Demo::start()?;
    demo.read_until("kubectl apply -f machines.yaml")?;
    let id = demo.id()?;
    demo.signal_until_it_ends("INT")?;
    let (status, output) = demo.end()?;
    ensure!(!status.success(), "{status}\n{output}");
    assert_eq!(remains(&id), Vec::<String>::new());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_demo_leaves_is_removed_by_clean() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let mut demo = Demo::start()?;
    demo.read_until("both are ready")?;
    let id = demo.id()?;
    demo.signal("KILL")?;
    demo.end()?;
    ensure!(
        !remains(&id).is_empty(),
        "a killed demo cannot have cleaned up"
    );
    eventually("everything is removed", async || {
        let cleaned = Command::new(nico_binary()?)
            .args(["sandbox", "clean"])
            .status()?;
        ensure!(cleaned.success(), "clean ended with {cleaned}");
        Ok(remains(&id).is_empty().then_some(()))
    })
    .await
}
