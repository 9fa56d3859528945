//! `nico check` as people and CI systems run it: exit codes, schemas, the GitHub Action, the hook.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

const NICO: &str = env!("CARGO_BIN_EXE_nico");

const RIGHT: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
const WARNING: &str =
    "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: a}\nspec: {}\n";
const ERROR: &str = "apiVersion: v1\nkind: ConfigMap\nkind: ConfigMap\nmetadata: {name: a}\n";
const GAME: &str =
    "apiVersion: example.com/v1\nkind: Game\nmetadata: {name: a}\nspec: {board: flat}\n";

fn tree(text: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("a.yaml"), text).expect("a file");
    folder
}

fn check(tree: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(NICO);
    command.arg("check").arg(tree).args(arguments);
    command.output().expect("nico runs")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("it ended by itself")
}

#[test]
fn the_exit_code_says_how_bad_it_is() {
    for (text, arguments, expected) in [
        (RIGHT, &[][..], 0),
        (WARNING, &[], 1),
        (WARNING, &["--fail-on", "error"], 0),
        (ERROR, &[], 2),
        (ERROR, &["--rules", "HR*"], 0),
        (RIGHT, &["--rules", "XYZ"], 3),
        (RIGHT, &["--schemas", "/nowhere"], 3),
        (RIGHT, &["--baseline", "/nowhere"], 3),
        (RIGHT, &["--kubernetes-version", "2"], 3),
    ] {
        let tree = tree(text);
        let output = check(tree.path(), arguments);
        assert_eq!(code(&output), expected, "{arguments:?}: {output:?}");
    }
    let empty = tempfile::tempdir().unwrap();
    assert_eq!(code(&check(empty.path(), &[])), 3, "a wrong folder");
}

#[test]
fn kinds_without_a_schema_are_counted_until_somebody_has_one() {
    let tree = tree(GAME);
    let summary = |arguments: &[&str]| {
        let output = check(tree.path(), &[&["--format", "json"], arguments].concat());
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        (code(&output), json)
    };
    let (exit, json) = summary(&[]);
    assert_eq!(exit, 0);
    let expected = serde_json::json!([{"kind": "example.com/v1 Game", "objects": 1}]);
    assert_eq!(json["summary"]["withoutSchema"], expected);

    let schemas = tempfile::tempdir().unwrap();
    let schema = r#"{"properties": {"spec": {"properties": {"board": {"enum": ["round"]}}}}}"#;
    fs::write(schemas.path().join("game-example-v1.json"), schema).unwrap();
    let (exit, json) = summary(&["--schemas", schemas.path().to_str().unwrap()]);
    assert_eq!(exit, 2);
    assert_eq!(json["summary"]["withoutSchema"], serde_json::json!([]));
    let message = json["findings"][0]["message"].as_str().unwrap();
    assert_eq!(message, "`spec.board` must be one of \"round\"");
}

/// A file at the root of this repository.
fn at_root(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(name);
    let text = fs::read_to_string(path).expect("it is there");
    serde_saphyr::from_str(&text).expect("YAML")
}

/// Runs the step of the action that checks.
fn action(tree: &Path, fail_on: &str, sarif: &str) -> Output {
    let action = at_root("action.yml");
    let steps = action["runs"]["steps"].as_array().expect("steps");
    let step = steps.iter().find(|step| step["name"] == "Check");
    let step = step.expect("a step that checks");
    let mut command = Command::new("bash");
    // As GitHub runs `shell: bash`.
    command.args(["--noprofile", "--norc", "-eo", "pipefail", "-c"]);
    command.arg(step["run"].as_str().expect("a script"));
    command.env("NICO", NICO).env("CHECK_PATH", tree);
    command.env("FAIL_ON", fail_on).env("SARIF", sarif);
    command.env("MORE_ARGUMENTS", "--rules FLX*,NET*");
    command.output().expect("bash runs")
}

#[test]
fn the_action_annotates_and_fails_as_the_check_does() {
    for (text, fail_on, expected) in [
        (RIGHT, "warning", 0),
        (WARNING, "warning", 1),
        (WARNING, "error", 0),
        (ERROR, "error", 2),
    ] {
        let tree = tree(text);
        let reports = tempfile::tempdir().unwrap();
        let sarif = reports.path().join("report.sarif");
        let output = action(tree.path(), fail_on, sarif.to_str().unwrap());
        assert_eq!(code(&output), expected, "{output:?}");
        let annotations = String::from_utf8(output.stdout).unwrap();
        assert_eq!(
            annotations.contains("file=a.yaml"),
            text != RIGHT,
            "{annotations}"
        );
        let report: Value = serde_json::from_slice(&fs::read(sarif).unwrap()).unwrap();
        assert_eq!(report["version"], "2.1.0");
    }
    let empty = tempfile::tempdir().unwrap();
    let sarif = empty.path().join("report.sarif");
    let output = action(empty.path(), "error", sarif.to_str().unwrap());
    assert_eq!(code(&output), 3, "what could not be checked is no success");
}

#[test]
fn the_action_describes_each_input_that_it_uses() {
    let action = at_root("action.yml");
    let inputs = action["inputs"].as_object().unwrap();
    let text = action["runs"].to_string();
    for name in inputs.keys() {
        assert!(
            text.contains(&format!("inputs.{name}")),
            "{name} is not used"
        );
    }
    let used = text.matches("inputs.").count();
    // `nico` decides whether it is built, and then which one runs.
    assert_eq!(used, inputs.len() + 1);
}

#[test]
fn the_hook_is_a_command_that_is_there() {
    let hooks = at_root(".pre-commit-hooks.yaml");
    let hook = &hooks[0];
    assert_eq!(hook["pass_filenames"], false);
    let entry = hook["entry"].as_str().unwrap();
    let arguments = entry.strip_prefix("nico ").expect("this program");
    let tree = tree(WARNING);
    let mut command = Command::new(NICO);
    command.args(arguments.split(' ')).current_dir(tree.path());
    assert_eq!(code(&command.output().unwrap()), 1);
}
