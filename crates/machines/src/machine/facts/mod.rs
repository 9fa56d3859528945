//! Facts about a host: the script that gathers them, and what it prints as JSON.
//!
//! The output of a host is not trusted: unknown lines are passed over, numbers are parsed,
//! texts are bounded, and nothing in it can make the parser fail but a missing last line.

mod lists;
#[cfg(test)]
mod roots;

use serde_json::{Map, Value};
use thiserror::Error;

use lists::Lists;

/// The script, for `sh -s`.
pub(crate) const SCRIPT: &str = include_str!("facts.sh");

/// The longest text that is taken over, in characters.
const MAX_TEXT: usize = 256;

/// What firmware says when its maker did not fill in a field. Unknown is absent.
const PLACEHOLDERS: &[&str] = &[
    "",
    "00000000-0000-0000-0000-000000000000",
    "default string",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "n/a",
    "not applicable",
    "not available",
    "not settable",
    "not specified",
    "system manufacturer",
    "system product name",
    "system serial number",
    "to be filled by o.e.m.",
    "unknown",
];

/// What a fact's value is.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Number,
    Truth,
}

/// Every single-valued fact, by its dotted name in `status.hardwareFacts`.
const FACTS: &[(&str, Kind)] = &[
    ("os.name", Kind::Text),
    ("os.id", Kind::Text),
    ("os.version", Kind::Text),
    ("os.variantId", Kind::Text),
    ("kernel.version", Kind::Text),
    ("architecture", Kind::Text),
    ("hostname", Kind::Text),
    ("uptime.days", Kind::Number),
    ("cpu.model", Kind::Text),
    ("cpu.cores", Kind::Number),
    ("cpu.threads", Kind::Number),
    ("memory.mb", Kind::Number),
    ("virtualization.type", Kind::Text),
    ("container.engine", Kind::Text),
    ("system.serial", Kind::Text),
    ("system.uuid", Kind::Text),
    ("system.vendor", Kind::Text),
    ("system.product", Kind::Text),
    ("system.timezone", Kind::Text),
    ("nix.version", Kind::Text),
    ("nixos.version", Kind::Text),
    ("nixos.generation", Kind::Number),
    ("nixos.bootedSystem", Kind::Text),
    ("nixos.currentSystem", Kind::Text),
    ("security.apparmor", Kind::Truth),
    ("security.selinux", Kind::Text),
    ("security.secureBoot", Kind::Truth),
    ("security.tpm", Kind::Text),
];

/// Why an output is no set of facts.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum FactsError {
    /// The last line is missing.
    #[error(
        "the output of the script that gathers facts ends early; a program in it hung or the disk is full"
    )]
    CutOff,
}

/// Parses what [`SCRIPT`] printed into the value of `status.hardwareFacts`.
pub(crate) fn parse(output: &[u8]) -> Result<Map<String, Value>, FactsError> {
    let output = String::from_utf8_lossy(output);
    let mut facts = Map::new();
    let mut lists = Lists::default();
    let mut complete = false;
    for line in output.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        match fields.as_slice() {
            ["fact", name, value] => insert_fact(&mut facts, name, value),
            ["end"] => complete = true,
            fields => lists.add(fields),
        }
    }
    if !complete {
        return Err(FactsError::CutOff);
    }
    lists.insert_into(&mut facts);
    Ok(facts)
}

fn insert_fact(facts: &mut Map<String, Value>, name: &str, value: &str) {
    let Some((_, kind)) = FACTS.iter().find(|(known, _)| *known == name) else {
        return;
    };
    let value = match kind {
        Kind::Text => text(value).map(Value::from),
        Kind::Number => number(value)
            .filter(|number| *number > 0 || name == "uptime.days")
            .map(Value::from),
        Kind::Truth => value.trim().parse::<bool>().ok().map(Value::from),
    };
    if let Some(value) = value {
        insert(facts, name, value);
    }
}

/// Puts a value at a dotted name, making the objects on the way.
fn insert(facts: &mut Map<String, Value>, dotted: &str, value: Value) {
    match dotted.split_once('.') {
        None => {
            facts.insert(dotted.to_owned(), value);
        }
        Some((group, rest)) => {
            let group = facts
                .entry(group)
                .or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(group) = group {
                insert(group, rest, value);
            }
        }
    }
}

/// A text that says something, trimmed, bounded and without control characters.
fn text(value: &str) -> Option<String> {
    let value: String = value
        .trim()
        .chars()
        .filter(|character| !character.is_control())
        .take(MAX_TEXT)
        .collect();
    let known = !PLACEHOLDERS.contains(&value.to_lowercase().as_str());
    known.then_some(value)
}

fn number(value: &str) -> Option<u64> {
    value.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn fixture(output: &str, expected: &str) {
        let facts = parse(output.as_bytes()).expect("the fixture is complete");
        let expected: Value = serde_json::from_str(expected).expect("the fixture is JSON");
        assert_eq!(Value::Object(facts), expected);
    }

    #[test]
    fn facts_of_debian() {
        fixture(
            include_str!("fixtures/debian.txt"),
            include_str!("fixtures/debian.json"),
        );
    }

    #[test]
    fn facts_of_nixos_on_hardware() {
        fixture(
            include_str!("fixtures/nixos.txt"),
            include_str!("fixtures/nixos.json"),
        );
    }

    #[test]
    fn facts_of_busybox_in_a_small_container() {
        fixture(
            include_str!("fixtures/busybox.txt"),
            include_str!("fixtures/busybox.json"),
        );
    }

    #[test]
    fn unknown_is_absent_never_a_word() {
        let facts = parse(
            b"fact\tsystem.serial\tTo Be Filled By O.E.M.\nfact\tos.name\tunknown\nfact\tcpu.cores\t0\n\
              fact\tmemory.mb\tmany\nfact\tsecurity.apparmor\tperhaps\nend\n",
        );
        assert_eq!(facts, Ok(Map::new()));
    }

    #[test]
    fn numbers_are_numbers_and_truths_are_truths() {
        let facts = parse(
            b"fact\tmemory.mb\t2048\nfact\tuptime.days\t0\nfact\tsecurity.apparmor\tfalse\nend\n",
        );
        let expected = json!({
            "memory": {"mb": 2048}, "uptime": {"days": 0}, "security": {"apparmor": false},
        });
        assert_eq!(facts.map(Value::Object), Ok(expected));
    }

    /// By this fact the cluster layer tells that a disk may be installed anew.
    #[test]
    fn an_installer_is_told_from_an_installed_system() {
        let facts = parse(b"fact\tos.id\tnixos\nfact\tos.variantId\tinstaller\nend\n");
        let expected = json!({"os": {"id": "nixos", "variantId": "installer"}});
        assert_eq!(facts.map(Value::Object), Ok(expected));
    }

    #[test]
    fn an_output_that_was_cut_off_is_refused() {
        assert_eq!(parse(b""), Err(FactsError::CutOff));
        assert_eq!(parse(b"fact\tos.id\tdebian\nen"), Err(FactsError::CutOff));
    }

    #[test]
    fn names_that_nobody_knows_are_passed_over() {
        assert_eq!(
            parse(b"fact\tpassword\thunter2\nWelcome!\nend"),
            Ok(Map::new())
        );
    }

    /// Lines that look like the real ones, with anything in their fields.
    fn line() -> impl Strategy<Value = String> {
        let words = [
            "fact",
            "disk",
            "filesystem",
            "dns",
            "interface",
            "address",
            "end",
        ];
        let names: Vec<&str> = FACTS.iter().map(|(name, _)| *name).collect();
        let field = prop_oneof![
            any::<String>(),
            proptest::sample::select(names).prop_map(str::to_owned),
            any::<i128>().prop_map(|number| number.to_string()),
        ];
        (
            proptest::sample::select(words.to_vec()),
            proptest::collection::vec(field, 0..7),
        )
            .prop_map(|(word, fields)| format!("{word}\t{}\n", fields.join("\t")))
    }

    proptest! {
        #[test]
        fn no_output_makes_the_parser_panic(output in any::<Vec<u8>>()) {
            let _ = parse(&output);
        }

        #[test]
        fn whatever_a_host_prints_facts_stay_bounded(lines in proptest::collection::vec(line(), 0..60)) {
            let facts = parse(format!("{}end\n", lines.concat()).as_bytes()).expect("it is complete");
            let size = serde_json::to_string(&facts).expect("facts are JSON").len();
            prop_assert!(size < 512 * 1024, "{size} bytes");
        }
    }
}
