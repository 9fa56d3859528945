//! Evaluation: a flake output becomes a derivation, once for all who want one of the same tree.
//!
//! Many machines are outputs of one flake, and most of what evaluating costs is the same for all
//! of them. Outputs of the same tree that wait for their turn, and those that others are about to
//! ask for, are evaluated together, in one process; what was evaluated is remembered. A process
//! that needs more memory than it may have, or is killed for it, is tried again with fewer outputs.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nico_api::names::{FlakeAttribute, StorePath};

use super::error::NixError;
use super::local::{Nix, store_path, turn, unexpected};
use crate::configuration::metrics::BuildType;
use crate::program::{self, ProgramError, Redactor};

/// How long an evaluation is remembered. Inputs that a flake does not lock may change meanwhile;
/// Nix itself looks for newer ones as rarely.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// The most outputs that are evaluated in one process.
const LARGEST_GROUP: usize = 64;

/// The sources of a flake on the operator's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tree<'a> {
    /// The whole tree, which the flake may use.
    pub root: &'a Path,
    /// Directory of `flake.nix` below it; empty for the root.
    pub directory: &'a str,
    /// A directory that belongs to this tree alone, for a flake that leads to it.
    pub entry: &'a Path,
    /// What tells this tree, with all that was put into it, from every other.
    pub hash: &'a str,
}

impl Tree<'_> {
    /// The reference under which Nix finds the outputs.
    ///
    /// Nix 2.8 does not take `path:…?dir=…`, but it does take such an input of another flake.
    pub(super) async fn flake_url(&self) -> Result<String, NixError> {
        if self.directory.is_empty() {
            return Ok(path_url(self.root));
        }
        let file = self.entry.join("flake.nix");
        let written = async {
            tokio::fs::create_dir_all(self.entry).await?;
            tokio::fs::write(&file, self.entry_flake()).await
        };
        written.await.map_err(|source| NixError::Storage {
            path: file.display().to_string(),
            source,
        })?;
        Ok(path_url(self.entry))
    }

    fn entry_flake(&self) -> String {
        format!(
            "{{\n  inputs.target = {{ type = \"path\"; path = {}; dir = {}; }};\n  \
             outputs = {{ target, ... }}: {{ inherit (target) nixosConfigurations; }};\n}}\n",
            nix_string(&self.root.to_string_lossy()),
            nix_string(self.directory)
        )
    }
}

/// What is evaluated, and what was.
pub(super) struct Evaluations {
    trees: Mutex<HashMap<String, Arc<Outputs>>>,
    /// Shrinks when a process had too little memory for so many.
    group: AtomicUsize,
}

/// The outputs of one tree.
struct Outputs {
    /// Held by the one that evaluates.
    evaluating: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

struct State {
    /// Those that somebody waits for.
    waiting: BTreeSet<String>,
    /// Those that somebody will ask for.
    expected: BTreeSet<String>,
    /// Whether such are taken along.
    expects: bool,
    known: HashMap<String, StorePath>,
    /// Whether outputs of this tree can be evaluated together.
    together: bool,
    used: Instant,
}

impl Default for Evaluations {
    fn default() -> Self {
        Self {
            trees: Mutex::default(),
            group: AtomicUsize::new(LARGEST_GROUP),
        }
    }
}

impl Evaluations {
    fn outputs(&self, tree: &str) -> Arc<Outputs> {
        let mut trees = self.trees.lock().unwrap_or_else(PoisonError::into_inner);
        trees.retain(|_, outputs| {
            Arc::strong_count(outputs) > 1 || outputs.state().used.elapsed() < REMEMBERED
        });
        let outputs = trees.entry(tree.to_owned()).or_insert_with(|| {
            Arc::new(Outputs {
                evaluating: tokio::sync::Mutex::default(),
                state: Mutex::new(State {
                    waiting: BTreeSet::new(),
                    expected: BTreeSet::new(),
                    expects: true,
                    known: HashMap::new(),
                    together: true,
                    used: Instant::now(),
                }),
            })
        });
        Arc::clone(outputs)
    }

    /// Forgets a derivation that turned out not to be there any more, or to be of no use.
    pub(super) fn forget(&self, derivation: &StorePath) {
        let trees = self.trees.lock().unwrap_or_else(PoisonError::into_inner);
        for outputs in trees.values() {
            outputs.state().known.retain(|_, known| known != derivation);
        }
    }
}

impl Outputs {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who is evaluated next: `attribute`, and as many as may go with it, of those that wait
    /// before those that are expected.
    fn next_group(&self, attribute: &str, largest: usize) -> Vec<String> {
        let state = self.state();
        let mut group = vec![attribute.to_owned()];
        if state.together {
            let expected = state.expected.difference(&state.waiting);
            let others = state.waiting.iter().chain(expected);
            let others = others.filter(|other| *other != attribute);
            group.extend(others.take(largest.saturating_sub(1)).cloned());
        }
        group
    }

    /// What to do after a group failed: first leave out those that nobody asked for yet, for
    /// the mistake may be in one of them, and then take each alone.
    fn separate(&self) {
        let mut state = self.state();
        if state.expected.is_empty() {
            state.together = false;
        }
        state.expected.clear();
        state.expects = false;
    }

    /// Notes that nobody waits for an output any more.
    fn give_up(&self, attribute: &str) {
        self.state().waiting.remove(attribute);
    }

    /// Notes that `attribute` is waited for, and which others will be.
    fn ask(&self, attribute: &str, others: &BTreeSet<FlakeAttribute>) {
        let mut state = self.state();
        state.waiting.insert(attribute.to_owned());
        let others = others.iter().map(FlakeAttribute::as_str);
        let unknown: Vec<_> = others
            .filter(|other| !state.known.contains_key(*other))
            .map(str::to_owned)
            .collect();
        if state.expects {
            state.expected.extend(unknown);
        }
    }
}

impl Nix {
    /// Evaluates `nixosConfigurations.<attribute>` of a flake to the derivation of its system.
    /// `others` are the outputs of the same tree that will be asked for, too.
    ///
    /// # Errors
    /// [`NixError::Evaluate`], [`NixError::EvaluationMemory`], [`NixError::EvaluationKilled`],
    /// or [`NixError::UnexpectedAnswer`] when it is no derivation.
    pub async fn evaluate(
        &self,
        tree: &Tree<'_>,
        attribute: &FlakeAttribute,
        others: &BTreeSet<FlakeAttribute>,
        redactor: &Redactor,
    ) -> Result<StorePath, NixError> {
        let outputs = self.evaluations.outputs(tree.hash);
        let name = attribute.as_str();
        outputs.ask(name, others);
        let _alone = outputs.evaluating.lock().await;
        let known = outputs.state().known.get(name).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let flake = tree.flake_url().await?;
        let _turn = turn(&self.evaluating).await;
        loop {
            let largest = self.evaluations.group.load(Ordering::Relaxed);
            let group = outputs.next_group(name, largest);
            if let [only] = group.as_slice() {
                let evaluated = self.evaluate_one(&flake, only, redactor).await;
                outputs.give_up(only);
                let derivation = evaluated?;
                remember(&outputs, [(only.clone(), derivation.clone())]);
                return Ok(derivation);
            }
            match self.evaluate_group(&flake, &group, redactor).await {
                Ok(derivations) => {
                    remember(&outputs, derivations);
                    let known = outputs.state().known.get(name).cloned();
                    if let Some(derivation) = known {
                        return Ok(derivation);
                    }
                    outputs.separate();
                }
                Err(NixError::EvaluationMemory { .. } | NixError::EvaluationKilled { .. }) => {
                    let smaller = (group.len() / 2).max(1);
                    tracing::info!(outputs = smaller, "evaluating fewer outputs in one process");
                    self.evaluations.group.fetch_min(smaller, Ordering::Relaxed);
                }
                // One of them has a mistake, which shall be told of that one alone.
                Err(NixError::Evaluate { .. } | NixError::UnexpectedAnswer { .. }) => {
                    outputs.separate();
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn evaluate_one(
        &self,
        flake: &str,
        attribute: &str,
        redactor: &Redactor,
    ) -> Result<StorePath, NixError> {
        let output = format!(
            "{flake}#nixosConfigurations.\"{attribute}\".config.system.build.toplevel.drvPath"
        );
        let arguments = ["--raw", "--", &output];
        let answer = self.evaluate_to(&arguments, attribute, redactor).await?;
        store_path("eval", &answer)
    }

    async fn evaluate_group(
        &self,
        flake: &str,
        attributes: &[String],
        redactor: &Redactor,
    ) -> Result<HashMap<String, StorePath>, NixError> {
        let wanted: String = attributes
            .iter()
            .map(|name| {
                let name = nix_string(name);
                format!("{name} = all.{name}.config.system.build.toplevel.drvPath; ")
            })
            .collect();
        let function = format!("all: {{ {wanted}}}");
        let output = format!("{flake}#nixosConfigurations");
        let shown = attributes.join(", ");
        let arguments = ["--json", "--apply", &function, "--", &output];
        let answer = self.evaluate_to(&arguments, &shown, redactor).await?;
        let unexpected = || unexpected("eval", &answer, "an object with a derivation for each");
        let paths: HashMap<String, String> =
            serde_json::from_slice(&answer).map_err(|_| unexpected())?;
        paths
            .into_iter()
            .map(|(name, path)| Ok((name, path.parse().map_err(|_| unexpected())?)))
            .collect()
    }

    async fn evaluate_to(
        &self,
        arguments: &[&str],
        shown: &str,
        redactor: &Redactor,
    ) -> Result<Vec<u8>, NixError> {
        let started = Instant::now();
        let mut command = self.nix(&["eval", "--no-write-lock-file"]);
        command.args(arguments);
        let memory = self.settings.evaluate_memory;
        let deadline = self.settings.evaluate_deadline;
        let answer = program::run_within(command, deadline, Some(memory), redactor).await;
        self.metrics
            .built(BuildType::Evaluate, answer.is_ok(), started.elapsed());
        let output = format!("nixosConfigurations.{shown}");
        answer.map_err(|source| evaluation_error(output, memory, source))
    }
}

fn evaluation_error(output: String, ceiling: u64, source: ProgramError) -> NixError {
    if source.says_out_of_memory() {
        NixError::EvaluationMemory {
            output,
            ceiling,
            source,
        }
    } else if source.was_killed() {
        NixError::EvaluationKilled {
            output,
            ceiling,
            source,
        }
    } else {
        NixError::Evaluate { output, source }
    }
}

fn remember(outputs: &Outputs, derivations: impl IntoIterator<Item = (String, StorePath)>) {
    let mut state = outputs.state();
    for (name, derivation) in derivations {
        state.waiting.remove(&name);
        state.expected.remove(&name);
        state.known.insert(name, derivation);
    }
    state.used = Instant::now();
}

fn path_url(path: &Path) -> String {
    format!("path:{}", percent_encode(&path.to_string_lossy()))
}

/// A string literal of the Nix language that stands for exactly `text`.
fn nix_string(text: &str) -> String {
    let escaped = text
        .replace('\\', r"\\")
        .replace('"', "\\\"")
        .replace("${", r"\${");
    format!("\"{escaped}\"")
}

fn percent_encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_path_changes_the_meaning_of_the_url() {
        let url = path_url(Path::new("/var/lib/nico 1/a&b#c?d=%2e"));
        assert_eq!(url, "path:/var/lib/nico%201/a%26b%23c%3Fd%3D%252e");
    }

    #[test]
    fn nothing_in_a_directory_name_ends_the_string() {
        assert_eq!(nix_string(r#"a"b\c${d}"#), r#""a\"b\\c\${d}""#);
    }

    #[test]
    fn those_that_wait_go_with_the_one_whose_turn_it_is() {
        let evaluations = Evaluations::default();
        let outputs = evaluations.outputs("tree");
        for name in ["a", "b", "c", "d"] {
            outputs.ask(name, &BTreeSet::new());
        }
        assert_eq!(outputs.next_group("c", 3), ["c", "a", "b"]);
        assert_eq!(outputs.next_group("a", 9), ["a", "b", "c", "d"]);
        remember(
            &outputs,
            ["a", "b", "c"].map(|name| (name.to_owned(), derivation())),
        );
        assert_eq!(outputs.next_group("d", 9), ["d"], "none is evaluated twice");
        let other = evaluations.outputs("another tree");
        assert!(other.state().waiting.is_empty(), "trees are never mixed");
    }

    #[test]
    fn those_that_will_be_asked_for_go_along_after_those_that_wait() {
        let evaluations = Evaluations::default();
        let outputs = evaluations.outputs("tree");
        let others = ["a", "b", "d", "e"]
            .map(|name| name.parse().unwrap())
            .into();
        remember(&outputs, [("a".to_owned(), derivation())]);
        outputs.ask("c", &others);
        outputs.ask("e", &BTreeSet::new());
        assert_eq!(outputs.next_group("c", 3), ["c", "e", "b"]);
        assert_eq!(outputs.next_group("c", 9), ["c", "e", "b", "d"]);
        // One of them has a mistake: first those are left out that nobody asked for.
        outputs.separate();
        outputs.ask("c", &others);
        assert_eq!(outputs.next_group("c", 9), ["c", "e"]);
        outputs.separate();
        assert_eq!(outputs.next_group("c", 9), ["c"]);
    }

    fn derivation() -> StorePath {
        let path = "/nix/store/6la6ykn8z7mkn8sd123pkfp93mvka13h-system.drv";
        path.parse().unwrap()
    }
}
