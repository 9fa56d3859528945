//! SOPS: what should be encrypted is, for the right people, and can be decrypted where it is applied.

use std::collections::BTreeSet;

use regex::Regex;

use crate::build::Object;
use crate::finding::{Finding, Severity};
use crate::load::{Document, Repository};
use crate::pattern;
use crate::rules::{Context, Rule};
use crate::source::Location;
use crate::yaml::{Field, Node, Value};

/// A file that says it is encrypted and is not.
pub static SEC001: Rule = Rule {
    id: "SEC001",
    title: "a file named `*.sops.*` is encrypted",
    severity: Severity::Error,
    consequence: "the secret is in Git for everybody who can read it, and in its history for ever",
    fix: "encrypt the file with `sops --encrypt --in-place`, and change the secret",
    page: include_str!("../pages/SEC001.md"),
};

/// A file that others encrypted, or for others.
pub static SEC003: Rule = Rule {
    id: "SEC003",
    title: "an encrypted file follows the rules in `.sops.yaml`",
    severity: Severity::Warning,
    consequence: "somebody who should can no longer read the file, or somebody who should not still can",
    fix: "run `sops updatekeys` on the file",
    page: include_str!("../pages/SEC003.md"),
};

/// An encrypted object that nobody decrypts.
pub static SEC004: Rule = Rule {
    id: "SEC004",
    title: "a Kustomization with encrypted objects decrypts them",
    severity: Severity::Error,
    consequence: "the encrypted text is applied as if it were the secret, or the apply fails",
    fix: "add `decryption` to the Kustomization, or to a patch of the one above it",
    page: include_str!("../pages/SEC004.md"),
};

/// What breaks the rules of this module.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let repository = context.repository;
    let rules = creation_rules(repository);
    let mut findings = Vec::new();
    for document in &repository.documents {
        let path = &repository.sources.get(document.file).path;
        let name = path.rsplit('/').next().unwrap_or(path);
        if name.contains(".sops.") && !name.starts_with(".sops.") {
            findings.extend(not_encrypted(document));
        }
        if is_encrypted(&document.root) {
            findings.extend(against_rules(rules.as_deref(), path, document));
        }
    }
    findings.extend(not_decrypted(context));
    findings
}

/// Whether SOPS has encrypted a document.
pub fn is_encrypted(root: &Node) -> bool {
    root.path(&["sops", "mac"]).is_some() || root.path(&["sops", "lastmodified"]).is_some()
}

/// About the object of a document, where it is one.
fn about(finding: Finding, root: &Node) -> Finding {
    match Object::new(root.clone()) {
        Some(object) => finding.about(&object),
        None => finding,
    }
}

fn not_encrypted(document: &Document) -> Option<Finding> {
    let root = &document.root;
    if root.get("sops").is_none() {
        let at = root.fields().first().map_or(root.at, |field| field.key_at);
        let message =
            "the name of the file says that SOPS has encrypted it, and there is no `sops` in it";
        return Some(about(Finding::new(&SEC001, at, message), root));
    }
    let sops = root.get("sops")?;
    let encrypted = pattern::compile(sops.text_of("encrypted_regex").unwrap_or(""))?;
    let unencrypted = sops.text_of("unencrypted_suffix").unwrap_or("_unencrypted");
    let fields = root.fields().iter().filter(|field| &*field.key != "sops");
    let plain = fields
        .filter(|field| has_plain(field, &encrypted, unencrypted, false))
        .map(|field| (&*field.key, line_without_value(root, field)))
        .next()?;
    let (key, at) = plain;
    let message = format!("SOPS should have encrypted `{key}`, and something in it is plain");
    Some(about(Finding::new(&SEC001, at, message), root))
}

/// The line of a finding is shown: it must not be the one with the value.
fn line_without_value(root: &Node, field: &Field) -> Location {
    let is_scalar = field.node.fields().is_empty() && field.node.items().is_empty();
    let sops = root.field("sops").filter(|_| is_scalar);
    sops.map_or(field.key_at, |sops| sops.key_at)
}

/// Whether a value in a field should be encrypted and is not.
fn has_plain(field: &Field, encrypted: &Regex, unencrypted: &str, inherited: bool) -> bool {
    if field.key.ends_with(unencrypted) {
        return false;
    }
    let is_meant = inherited || encrypted.is_match(&field.key);
    let mut fields = field.node.fields().iter();
    if fields.any(|field| has_plain(field, encrypted, unencrypted, is_meant)) {
        return true;
    }
    let is_plain = |node: &Node| {
        let text = node.scalar_text();
        text.is_some_and(|text| !text.is_empty() && !text.starts_with("ENC["))
    };
    is_meant && (is_plain(&field.node) || field.node.items().iter().any(is_plain))
}

/// A rule of `.sops.yaml`: the files it is for, and the age recipients, where it names only such.
struct CreationRule {
    path: Option<Regex>,
    recipients: Option<BTreeSet<String>>,
}

fn creation_rules(repository: &Repository) -> Option<Vec<CreationRule>> {
    let file = repository.sources.find(".sops.yaml")?;
    let root = &repository.documents_of(file).first()?.root;
    let rules = root.get("creation_rules")?.items().iter().map(|rule| {
        let text = rule.text_of("path_regex");
        // What cannot be read as a pattern matches everything: nothing is reported for it.
        let path = text.and_then(pattern::compile);
        let others = [
            "key_groups",
            "kms",
            "pgp",
            "gcp_kms",
            "azure_keyvault",
            "hc_vault_transit_uri",
        ];
        let has_others = others.iter().any(|key| rule.get(key).is_some());
        let recipients = rule.get("age").filter(|_| !has_others).map(recipients);
        CreationRule { path, recipients }
    });
    Some(rules.collect())
}

/// Recipients: a list, or one text with commas.
fn recipients(node: &Node) -> BTreeSet<String> {
    let texts: Vec<&str> = match &node.value {
        Value::Sequence(items) => items.iter().filter_map(Node::text).collect(),
        _ => node.text().into_iter().collect(),
    };
    let parts = texts.iter().flat_map(|text| text.split(','));
    parts
        .map(|part| part.trim().to_owned())
        .filter(|part| !part.is_empty())
        .collect()
}

fn against_rules(rules: Option<&[CreationRule]>, path: &str, document: &Document) -> Vec<Finding> {
    let root = &document.root;
    let Some(field) = root.field("sops") else {
        return Vec::new();
    };
    let sops = &field.node;
    let mut findings = Vec::new();
    let report = |at, message: String| about(Finding::new(&SEC003, at, message), root);
    if sops.get("mac").is_none() {
        let finding = report(field.key_at, "the encrypted file has no `mac`".to_owned());
        let finding = finding
            .consequence("nobody can tell whether somebody changed the file, and SOPS refuses it");
        findings.push(finding.fix("encrypt the file anew"));
    }
    let Some(rules) = rules else {
        return findings;
    };
    let mut fitting = rules.iter();
    let fits = |rule: &&CreationRule| {
        rule.path
            .as_ref()
            .is_none_or(|pattern| pattern.is_match(path))
    };
    let Some(rule) = fitting.find(fits) else {
        let finding = report(field.key_at, format!("no rule of .sops.yaml is for {path}"));
        let finding = finding
            .consequence("the next one who edits it may encrypt it for anybody, or not at all");
        findings
            .push(finding.fix("add a rule whose `path_regex` matches the file, or move the file"));
        return findings;
    };
    let Some(wanted) = &rule.recipients else {
        return findings;
    };
    let entries = sops.get("age").map_or(&[][..], Node::items);
    for entry in entries {
        let Some(recipient) = entry.get("recipient") else {
            continue;
        };
        if recipient.text().is_some_and(|name| !wanted.contains(name)) {
            let message =
                "the file is encrypted for a recipient who is not in its rule in .sops.yaml";
            findings.push(report(recipient.at, message.to_owned()));
        }
    }
    let has: BTreeSet<&str> = entries
        .iter()
        .filter_map(|entry| entry.text_of("recipient"))
        .collect();
    if wanted.iter().any(|name| !has.contains(name.as_str())) {
        let message = "the file is not encrypted for every recipient of its rule in .sops.yaml";
        findings.push(report(field.key_at, message.to_owned()));
    }
    findings
}

fn not_decrypted(context: &Context<'_>) -> Vec<Finding> {
    let all = context.graph.kustomizations.values();
    let wrong = all.filter_map(|kustomization| {
        let mut objects = kustomization.objects.iter();
        let secret = objects.find(|object| is_encrypted(&object.node))?;
        let message = format!(
            "it has {}, which is encrypted, and no `decryption`",
            secret.display_name()
        );
        let object = &kustomization.object;
        let is_missing = kustomization.spec("decryption").is_none();
        is_missing.then(|| Finding::new(&SEC004, object.spec_at(), message).about(object))
    });
    wrong.collect()
}
