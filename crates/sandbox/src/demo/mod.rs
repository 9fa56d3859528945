//! The demo: five machines from nothing to a Ready Kubernetes cluster and back, told step by
//! step, with the commands that a user would type.

mod story;
mod terminal;
mod view;

use std::io::{self, BufRead, Write};
use std::path::PathBuf;
use std::time::Instant;

use nico_runtime::shutdown::{self, SecondSignal};
use tokio::task;

use story::Story;
use terminal::{Style, Terminal};

use crate::host::HostError;
use crate::kubectl::KubectlError;
use crate::sandbox::SandboxError;
use crate::stack::StackError;
use crate::state::StateError;
use crate::tools::{self, MissingTools};

/// Steps of the whole story, and of its beginning alone.
const STEPS: usize = 7;
const STEPS_UP: usize = 3;

/// What the demo does.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// The `nico` binary that is shown.
    pub nico: PathBuf,
    /// Stay up instead of deleting the cluster, until Ctrl-C.
    pub keep: bool,
    /// Ask nothing.
    pub yes: bool,
}

/// What `nico sandbox up` does.
#[derive(Clone, Debug)]
pub struct UpOptions {
    /// The `nico` binary that is run.
    pub nico: PathBuf,
}

/// Why the demo did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// Something is not installed.
    #[error(transparent)]
    Tools(#[from] MissingTools),
    /// The question was not answered with yes.
    #[error("nothing was done")]
    Declined,
    /// Ctrl-C or SIGTERM.
    #[error("interrupted; everything was removed")]
    Interrupted,
    /// The hosts.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// A host cannot be asked.
    #[error(transparent)]
    Host(#[from] HostError),
    /// API server or operator.
    #[error(transparent)]
    Stack(#[from] StackError),
    /// A file cannot be written.
    #[error(transparent)]
    State(#[from] StateError),
    /// A command of the user failed.
    #[error(transparent)]
    Kubectl(#[from] KubectlError),
    /// The API cannot be asked.
    #[error("cannot ask the Kubernetes API")]
    Api(#[from] kube::Error),
    /// A manifest cannot be written as text.
    #[error("cannot encode a manifest")]
    Encode(#[from] serde_json::Error),
    /// The cluster is there, but its Nodes are not as they should be.
    #[error("the new cluster has {ready} Ready Nodes: {nodes}; there should be {wanted}")]
    Nodes {
        /// How many are Ready.
        ready: usize,
        /// How many should be.
        wanted: usize,
        /// All of them.
        nodes: String,
    },
    /// Something is left after the deletion.
    #[error("something is left after the deletion: {0}")]
    Left(String),
    /// A thread of the demo ended in a panic.
    #[error("a part of the demo ended unexpectedly")]
    Thread(#[from] task::JoinError),
    /// Signals cannot be handled.
    #[error("cannot wait for Ctrl-C")]
    Signal(#[from] io::Error),
}

/// Runs the demo. Everything that it made is gone when it returns.
///
/// # Errors
/// When one step was not right, or on Ctrl-C.
pub async fn demo(options: DemoOptions) -> Result<(), DemoError> {
    tools::check(&[("kubectl", "kubernetes-client")])?;
    let mut terminal = Terminal::new();
    if !options.yes && !task::spawn_blocking(is_wanted).await? {
        return Err(DemoError::Declined);
    }
    let stop = shutdown::on_signal(SecondSignal::ChangesNothing)?;
    let started = Instant::now();
    let mut story = Story {
        steps: STEPS,
        terminal: &mut terminal,
        stop: &stop,
    };
    let result = story.tell(&options, started).await;
    match &result {
        Ok(()) => {}
        Err(DemoError::Interrupted) => {
            terminal.line(Style::Plain, "");
            terminal.line(Style::Plain, "interrupted");
        }
        Err(error) => terminal.line(Style::Bad, &format!("      ✗ {error}")),
    }
    result
}

/// Makes hosts, API server and operator, describes the machines, and stays up until Ctrl-C.
///
/// # Errors
/// When a part cannot be started or removed.
pub async fn up(options: UpOptions) -> Result<(), DemoError> {
    tools::check(&[("kubectl", "kubernetes-client")])?;
    let stop = shutdown::on_signal(SecondSignal::ChangesNothing)?;
    let mut terminal = Terminal::new();
    let mut story = Story {
        steps: STEPS_UP,
        terminal: &mut terminal,
        stop: &stop,
    };
    let stack = story.make(options.nico).await?;
    let kubectl = stack.kubectl();
    story
        .terminal
        .step(3, STEPS_UP, "Five machines, free to be used");
    story.describe_machines(&stack, &kubectl).await?;
    story.write_cluster(&stack, &kubectl)?;
    story.stay_up(&stack, false).await?;
    task::spawn_blocking(|| stack.remove()).await??;
    Ok(())
}

fn is_wanted() -> bool {
    let question = "This makes six network namespaces, one network interface and a file system in \
                    memory,\nand removes them at the end. Go on? [Y/n] ";
    let mut output = io::stdout().lock();
    let asked = output
        .write_all(question.as_bytes())
        .and_then(|()| output.flush());
    let mut answer = String::new();
    let answered = asked.and_then(|()| io::stdin().lock().read_line(&mut answer));
    match answered {
        // Nobody is there to answer.
        Ok(0) | Err(_) => false,
        Ok(_) => matches!(answer.trim(), "" | "y" | "Y" | "yes"),
    }
}
