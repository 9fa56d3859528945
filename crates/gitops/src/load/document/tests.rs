//! What the reader makes of text, good and bad.

use proptest::prelude::*;

use super::*;
use crate::source::Sources;

struct Case {
    sources: Sources,
    file: FileId,
    parsed: Parsed,
}

fn read(text: &str) -> Case {
    let mut sources = Sources::default();
    let file = sources.add("a.yaml".into(), text.into());
    let parsed = parse(file, text);
    Case {
        sources,
        file,
        parsed,
    }
}

impl Case {
    fn slice(&self, at: Location) -> &str {
        &self.sources.get(self.file).text[at.start as usize..at.end as usize]
    }

    /// `RULE line:column message`, one for each finding.
    fn findings(&self) -> Vec<String> {
        self.parsed
            .findings
            .iter()
            .map(|finding| {
                let position = self.sources.position(finding.location);
                let (line, column) = (position.line, position.column);
                format!("{} {line}:{column} {}", finding.rule.id, finding.message)
            })
            .collect()
    }
}

#[test]
fn every_node_knows_where_it_stands() {
    let case =
        read("# x\nspec:\n  list: [a, 'b c']\n  text: |\n    one\n    two\n  last: 3 # why\n");
    let root = &case.parsed.documents[0];
    let at = |path: &[&str]| case.slice(root.path(path).unwrap().at);
    assert_eq!(at(&["spec", "list"]), "[a, 'b c']");
    assert_eq!(
        case.slice(root.path(&["spec", "list"]).unwrap().items()[1].at),
        "'b c'"
    );
    assert_eq!(at(&["spec", "last"]), "3");
    assert_eq!(
        root.path(&["spec", "text"]).unwrap().text(),
        Some("one\ntwo\n")
    );
    assert_eq!(case.slice(root.field("spec").unwrap().key_at), "spec");
    assert!(at(&["spec"]).starts_with("list:") && at(&["spec"]).ends_with('3'));
}

#[test]
fn documents_are_told_apart_and_empty_ones_left_out() {
    let case = read("---\n# nothing\n---\na: 1\n---\nb: 2\n...\n---\n");
    assert_eq!(case.parsed.documents.len(), 2);
    assert!(case.findings().is_empty());
}

#[test]
fn windows_line_ends_change_nothing() {
    let case = read("a: x\r\nb:\r\n  - 'y'\r\n");
    assert_eq!(
        case.parsed.documents[0],
        read("a: x\nb:\n  - 'y'\n").parsed.documents[0]
    );
}

#[test]
fn aliases_and_merge_keys_are_resolved() {
    let case =
        read("base: &base {a: 1, b: 2}\nname: &name app\nuse:\n  <<: *base\n  b: 3\nalso: *name\n");
    let root = &case.parsed.documents[0];
    assert_eq!(
        root.path(&["use", "a"]).unwrap().value,
        Value::Number("1".into())
    );
    assert_eq!(
        root.path(&["use", "b"]).unwrap().value,
        Value::Number("3".into())
    );
    assert_eq!(case.slice(root.get("also").unwrap().at), "*name");
    assert_eq!(root.text_of("also"), Some("app"));
    assert!(case.findings().is_empty(), "{:?}", case.findings());
}

#[test]
fn a_mistake_is_found_where_it_is() {
    for (text, expected) in [
        (
            "spec:\n  a: 1\n  b: 2\n  a: 3\n",
            "FLX023 4:3 the key \"a\" stands twice",
        ),
        ("a: *gone\n", "FLX023 1:4 the alias *gone has no anchor"),
        ("a:\n\t- b\n", "FLX023 2:"),
        ("a: 'x\n", "FLX023 "),
        ("a: [1, 2\nb: 3\n", "FLX023 "),
        ("a: b: c\n", "FLX023 1:"),
        ("? [a, b]\n: c\n", "FLX023 1:3 a key must be a word"),
        (
            "- value: database---\n",
            "FLX023 1:18 a document separator is glued",
        ),
        (
            "a: &x [*x]\n",
            "FLX023 1:8 the alias stands inside its own anchor",
        ),
    ] {
        let found = read(text).findings();
        assert!(
            found.iter().any(|found| found.starts_with(expected)),
            "{text:?}: {found:?}"
        );
    }
}

#[test]
fn a_broken_document_does_not_hide_the_next() {
    let case = read("a: 1\n---\na: [\n---\nb: 2\nb: 3\n");
    let found = case.findings();
    assert!(
        found.iter().any(|found| found.starts_with("FLX023 6:1")),
        "{found:?}"
    );
    assert_eq!(found.len(), 2, "{found:?}");
}

#[test]
fn alias_bombs_end_at_the_limit() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..40 {
        let below = format!("*a{}, ", level - 1).repeat(9);
        bomb += &format!("a{level}: &a{level} [{below}]\n");
    }
    let case = read(&bomb);
    let found = case.findings();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("LOD002"), "{found:?}");
    assert!(case.parsed.documents.is_empty());
}

#[test]
fn nesting_and_size_have_limits() {
    for text in [
        "[".repeat(100_000),
        "{a: ".repeat(100_000),
        (0..5_000)
            .map(|depth| format!("{}a:\n", " ".repeat(depth)))
            .collect(),
        "- ".repeat(100_000),
        format!("a: {}\n", "x".repeat(10 * 1024 * 1024)),
        format!(
            "a: |\n{}",
            "  xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n".repeat(100_000)
        ),
    ] {
        let found = read(&text).findings();
        assert!(
            found.iter().any(|found| found.starts_with("LOD002")),
            "{found:?}"
        );
    }
}

#[test]
fn ignoring_comments_are_kept_with_their_reason() {
    let case =
        read("a: 1 # nico-ignore: HR001 upstream asks for it\n# nico-ignore: FLX009\nb: 2\n");
    let ignores: Vec<_> = case
        .parsed
        .ignores
        .iter()
        .map(|ignore| (&*ignore.rule, &*ignore.reason))
        .collect();
    assert_eq!(ignores, [("HR001", "upstream asks for it"), ("FLX009", "")]);
}

proptest! {
    #[test]
    fn no_text_is_too_much(text in "[ \\t\\n\\r\\-a:&*<\\[\\]{}|>'\"#!%,?]{0,200}") {
        let case = read(&text);
        for finding in &case.parsed.findings {
            case.sources.position(finding.location);
        }
    }
}
