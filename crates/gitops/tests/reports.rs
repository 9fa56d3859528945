//! Reports for programs are what their schemas say.

use nico_gitops::load::{RawFile, Repository};
use nico_gitops::report::{self, Report};
use serde_json::{Value, json};

/// A mistake of each kind of place: with an object and without one, silenced and not, at the end of a
/// file, in a file that is no text.
fn repository() -> Repository {
    let files = [
        ("twice.yaml", &b"a: 1\na: 2\n"[..]),
        (
            "silenced.yaml",
            b"a: 1\na: 2 # nico-ignore: FLX023 on purpose\n",
        ),
        ("with space/ü.yaml", b"name: caf\xe9\n"),
        ("broken.yaml", b"a: [1"),
    ];
    Repository::from_files(files.map(|(path, content)| RawFile {
        path: path.to_owned(),
        content: Ok(content.to_vec()),
    }))
}

fn check(schema: &Value, instance: &str) {
    let instance: Value = serde_json::from_str(instance).expect("a report in JSON");
    let validator = jsonschema::validator_for(schema).expect("the schema is one");
    let errors: Vec<_> = validator
        .iter_errors(&instance)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

#[test]
fn sarif_is_what_its_schema_says() {
    // The published schema has one pattern with a bracket that is not escaped.
    let schema = include_str!("schemas/sarif-2.1.0.json").replace("{2}]?$", "{2}\\\\]?$");
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let repository = repository();
    let log = report::sarif(
        &Report::new(&repository, repository.findings.clone()),
        "1.2.3",
    );
    check(&schema, &log);
    // The schema is one that says no.
    let validator = jsonschema::validator_for(&schema).unwrap();
    assert!(!validator.is_valid(&json!({"version": "2.1.0"})));
}

#[test]
fn json_is_what_its_schema_says() {
    let schema = schemars::schema_for!(report::Output<'_>).to_value();
    let repository = repository();
    let report = Report::new(&repository, repository.findings.clone());
    assert!(report.findings.len() >= 3);
    check(&schema, &report::json(&report));
    let validator = jsonschema::validator_for(&schema).unwrap();
    assert!(!validator.is_valid(&json!({"findings": []})));
}
