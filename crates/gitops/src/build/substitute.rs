//! `postBuild`: variables in the objects of a Flux Kustomization.
//!
//! Flux writes each object as YAML, puts the variables into the text, and reads it again. So a value that
//! looks like a number becomes one, unless YAML needs quotes around the text it stands in.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::finding::{Finding, ObjectName};
use crate::load::{parse, plain_scalar};
use crate::rules::build::BLD001;
use crate::source::Location;
use crate::yaml::{Field, Node, Value};

use super::envsubst::{self, Variable};
use super::object::Object;

/// A label or annotation with which an object opts out.
const SWITCH: &str = "kustomize.toolkit.fluxcd.io/substitute";

/// The variables of a Kustomization, from `substitute` and `substituteFrom`.
#[derive(Debug, Default)]
pub struct Variables {
    /// By name; none where the value cannot be seen, as in an encrypted Secret.
    values: BTreeMap<String, Option<String>>,
    /// Where each name is written.
    places: BTreeMap<String, Location>,
    /// What `substituteFrom` names and is not in this repository: its kind and name, and where that is
    /// written.
    pub absent: Vec<(String, String, Location)>,
}

/// A variable that is used and that nothing gives a value. Flux puts in nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undefined {
    /// Its name.
    pub variable: String,
    /// The text in which it stands.
    pub at: Location,
    /// The object in which it stands.
    pub object: ObjectName,
}

impl Variables {
    /// The variables of a Kustomization. `find` gives the ConfigMap or Secret of a name, in the
    /// Kustomization's own namespace.
    pub fn of<'a>(kustomization: &Object, find: &dyn Fn(&str, &str) -> Option<&'a Node>) -> Self {
        let mut variables = Self::default();
        let post_build = kustomization.node.path(&["spec", "postBuild"]);
        let entry = |key| post_build.and_then(|post_build| post_build.get(key));
        for from in entry("substituteFrom").map_or(&[][..], Node::items) {
            let text = |key| from.text_of(key).unwrap_or_default();
            match find(text("kind"), text("name")) {
                Some(object) => variables.add_all(object),
                None => {
                    let (kind, name) = (text("kind").to_owned(), text("name").to_owned());
                    variables.absent.push((kind, name, from.at));
                }
            }
        }
        for Field { key, key_at, node } in entry("substitute").map_or(&[][..], Node::fields) {
            let value = node.scalar_text().unwrap_or_default();
            variables.add(key, *key_at, Some(value));
        }
        variables
    }

    /// The variables in a ConfigMap or Secret.
    fn add_all(&mut self, object: &Node) {
        let is_encrypted = object.get("sops").is_some();
        let is_secret = object.text_of("kind") == Some("Secret");
        let fields = |key| object.get(key).map_or(&[][..], Node::fields).iter();
        for Field { key, key_at, node } in fields("data") {
            let text = node.scalar_text().unwrap_or_default();
            let decoded = is_secret.then(|| BASE64_STANDARD.decode(text).unwrap_or_default());
            let decoded = decoded.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            let value = decoded.as_deref().unwrap_or(text);
            self.add(key, *key_at, (!is_encrypted).then_some(value));
        }
        for Field { key, key_at, node } in fields("stringData").filter(|_| is_secret) {
            let text = node.scalar_text().unwrap_or_default();
            self.add(key, *key_at, (!is_encrypted).then_some(text));
        }
    }

    fn add(&mut self, name: &str, at: Location, value: Option<&str>) {
        let value = value.map(|value| value.replace('\n', ""));
        self.values.insert(name.to_owned(), value);
        self.places.insert(name.to_owned(), at);
    }

    /// Whether a variable has a value, seen here or not.
    pub fn defines(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// The names of all variables with a value.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    fn get(&self, name: &str) -> Variable<'_> {
        match self.values.get(name) {
            Some(Some(value)) => Variable::Known(value),
            Some(None) => Variable::Hidden,
            // What is not here may define it.
            None if !self.absent.is_empty() => Variable::Elsewhere,
            None => Variable::Missing,
        }
    }

    /// Names that Flux refuses.
    fn check(&self) -> Vec<Finding> {
        let is_letter = |letter: char| letter.is_ascii_alphabetic() || letter == '_';
        let is_name = |name: &str| {
            name.starts_with(is_letter)
                && name
                    .chars()
                    .all(|letter| is_letter(letter) || letter.is_ascii_digit())
        };
        let wrong = self.places.iter().filter(|(name, _)| !is_name(name));
        wrong
            .map(|(name, at)| {
                let message = format!("{name:?} cannot be the name of a variable");
                Finding::new(&BLD001, *at, message)
                    .fix("use letters, digits and `_`, and no digit at the beginning")
            })
            .collect()
    }

    /// Puts the variables into the objects. Returns those without a value, and what Flux refuses.
    pub(super) fn put_into(&self, objects: &mut [Object]) -> (Vec<Undefined>, Vec<Finding>) {
        // Flux leaves the objects alone where there is no variable at all.
        if self.values.is_empty() && self.absent.is_empty() {
            return (Vec::new(), Vec::new());
        }
        let mut writer = Writer {
            variables: self,
            undefined: Vec::new(),
            findings: self.check(),
        };
        let is_meant = |object: &Object| has_variable(&object.node) && !is_switched_off(object);
        for object in objects.iter_mut().filter(|object| is_meant(object)) {
            let name = object.display_name();
            let before = (writer.undefined.len(), writer.findings.len());
            writer.visit(&mut object.node, &name);
            for undefined in &mut writer.undefined[before.0..] {
                undefined.object = object.display_name();
            }
            for finding in &mut writer.findings[before.1..] {
                finding.object = Some(object.display_name());
            }
        }
        (writer.undefined, writer.findings)
    }
}

fn has_variable(node: &Node) -> bool {
    let mut fields = node.fields().iter();
    fields.any(|field| field.key.contains('$') || has_variable(&field.node))
        || node.items().iter().any(has_variable)
        || node.text().is_some_and(|text| text.contains('$'))
}

fn is_switched_off(object: &Object) -> bool {
    ["labels", "annotations"].into_iter().any(|field| {
        let switch = object.node.path(&["metadata", field, SWITCH]);
        switch.and_then(Node::text) == Some("disabled")
    })
}

struct Writer<'a> {
    variables: &'a Variables,
    undefined: Vec<Undefined>,
    findings: Vec<Finding>,
}

impl Writer<'_> {
    fn visit(&mut self, node: &mut Node, object: &ObjectName) {
        match &mut node.value {
            Value::Sequence(items) => items.iter_mut().for_each(|item| self.visit(item, object)),
            Value::Mapping(fields) => {
                for field in fields {
                    if field.key.contains('$')
                        && let Some(key) = self.text(&field.key, field.key_at, object)
                    {
                        field.key = key.into();
                    }
                    self.visit(&mut field.node, object);
                }
            }
            Value::Text(text) if text.contains('$') => {
                let text = std::mem::take(text);
                let value = self.text(&text, node.at, object);
                node.value = match value {
                    None => Value::Text(text),
                    Some(value) if *value == *text || !is_written_plain(&text) => {
                        Value::Text(value.into())
                    }
                    Some(value) => self.reread(&value, node.at),
                };
            }
            _ => {}
        }
    }

    fn text(&mut self, text: &str, at: Location, object: &ObjectName) -> Option<String> {
        match envsubst::substitute(text, &|name| self.variables.get(name)) {
            Ok(substituted) => {
                let missing = substituted.missing.into_iter();
                self.undefined.extend(missing.map(|variable| Undefined {
                    variable,
                    at,
                    object: object.clone(),
                }));
                Some(substituted.text)
            }
            Err(error) => {
                let fix = "correct the text, or write `$${` where no variable is meant";
                self.findings
                    .push(Finding::new(&BLD001, at, error.to_string()).fix(fix));
                None
            }
        }
    }

    /// What a text without quotes means, now that its variables have values.
    fn reread(&mut self, text: &str, at: Location) -> Value {
        if is_written_plain(text) || text.is_empty() {
            return plain_scalar(text);
        }
        let mut parsed = parse(at.file, &format!("value: {text}\n"));
        let field = match (parsed.documents.pop(), parsed.findings.is_empty()) {
            (Some(mut document), true) => document.remove("value"),
            _ => None,
        };
        if let Some(mut field) = field {
            field.node.place_all(at);
            return field.node.value;
        }
        let message = "with its variables put in, this is no YAML";
        self.findings.push(Finding::new(&BLD001, at, message));
        Value::Text(text.into())
    }
}

/// Whether YAML needs no quotes around a text.
fn is_written_plain(text: &str) -> bool {
    let starts_plain = !text.starts_with([
        '-', '?', ':', ',', '[', ']', '{', '}', '#', '&', '*', '!', '|', '>', '\'', '"', '%', '@',
        '`', ' ',
    ]) || text.starts_with('-') && text[1..].starts_with(char::is_alphanumeric);
    starts_plain
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.contains(" #")
        && !text.contains(|letter: char| letter.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Sources;

    fn document(text: &str) -> Node {
        let file = Sources::default().add(String::new(), String::new());
        parse(file, text).documents.remove(0)
    }

    /// The `spec` of an object, and the findings, after the variables were put in.
    fn substituted(
        post_build: &str,
        from: &[&str],
        spec: &str,
    ) -> (Node, Vec<Undefined>, Vec<Finding>) {
        let kustomization = document(&format!(
            "apiVersion: a/v1\nkind: K\nmetadata: {{name: k}}\nspec:\n  postBuild: {post_build}\n"
        ));
        let from: Vec<Node> = from.iter().map(|text| document(text)).collect();
        let find = |kind: &str, name: &str| {
            from.iter().find(|object| {
                object.text_of("kind") == Some(kind)
                    && object.path(&["metadata", "name"]).and_then(Node::text) == Some(name)
            })
        };
        let kustomization = Object::new(kustomization).unwrap();
        let variables = Variables::of(&kustomization, &find);
        let object = document(&format!(
            "apiVersion: v1\nkind: Thing\nmetadata: {{name: t}}\nspec: {spec}\n"
        ));
        let mut objects = [Object::new(object).unwrap()];
        let (undefined, findings) = variables.put_into(&mut objects);
        let [object] = objects;
        (
            object.node.get("spec").unwrap().clone(),
            undefined,
            findings,
        )
    }

    #[test]
    fn a_value_means_what_it_means_in_yaml_without_quotes() {
        let post_build =
            "{substitute: {N: '3', B: 'true', S: text, M: '{a: b}', Q: 'a: b', E: ''}}";
        for (before, after) in [
            ("[$N, '${N}', \"${N}m\", 'x: ${N}']", "[$N, 3, 3m, 'x: 3']"),
            ("[$B, '${B}', '${S}', '- ${N}']", "[$B, true, text, '- 3']"),
            ("['${M}', '${E}', '*${N}']", "[{a: b}, null, '*3']"),
            ("{'${S}': '$${N}'}", "{text: '${N}'}"),
            ("\"two\\nlines ${N}\"", "\"two\\nlines 3\""),
        ] {
            let (spec, _, findings) = substituted(post_build, &[], before);
            assert_eq!(spec, document(after), "{before}");
            assert!(findings.is_empty(), "{before}");
        }
        let (_, _, findings) = substituted(post_build, &[], "['${Q}: x']");
        assert!(findings.is_empty(), "needs quotes from the beginning");
        let (_, _, findings) = substituted(post_build, &[], "['${Q}']");
        assert_eq!(findings.len(), 1, "{findings:?}");
    }

    const MAP: &str = "kind: ConfigMap\nmetadata: {name: m}\ndata: {A: map, B: map}\n";
    const SECRET: &str =
        "kind: Secret\nmetadata: {name: s}\ndata: {B: c2VjcmV0}\nstringData: {C: plain}\n";
    const HIDDEN: &str = "kind: Secret\nmetadata: {name: h}\nstringData: {D: 'ENC[x]'}\nsops: {}\n";

    #[test]
    fn later_sources_win_and_inline_values_last() {
        let from = "{kind: ConfigMap, name: m}, {kind: Secret, name: s}, {kind: Secret, name: h}";
        let post_build = format!("{{substitute: {{A: inline}}, substituteFrom: [{from}]}}");
        let spec = "['${A}', '${B}', '${C}', '${D}', '${E}', '${F:=f}']";
        let (spec, undefined, _) = substituted(&post_build, &[MAP, SECRET, HIDDEN], spec);
        assert_eq!(spec, document("[inline, secret, plain, '${D}', null, f]"));
        let names: Vec<_> = undefined
            .iter()
            .map(|undefined| &*undefined.variable)
            .collect();
        assert_eq!(names, ["E"]);
    }

    #[test]
    fn what_an_absent_object_may_define_is_not_missed() {
        let post_build = "{substituteFrom: [{kind: ConfigMap, name: other}]}";
        let (spec, undefined, _) = substituted(post_build, &[], "['${A}', '${B:=b}']");
        assert_eq!(spec, document("['${A}', b]"));
        assert!(undefined.is_empty());
    }

    #[test]
    fn without_a_variable_nothing_is_changed() {
        let (spec, undefined, _) = substituted("{substitute: {}}", &[], "['${A}', '$${B}']");
        assert_eq!(spec, document("['${A}', '$${B}']"));
        assert!(undefined.is_empty());
    }

    #[test]
    fn names_that_flux_refuses_are_found() {
        let (.., findings) = substituted("{substitute: {a-b: x, 1a: x, _a1: x}}", &[], "[]");
        assert_eq!(findings.len(), 2, "{findings:?}");
    }

    #[test]
    fn an_object_can_opt_out() {
        for field in ["labels", "annotations"] {
            let text = format!(
                "apiVersion: v1\nkind: Thing\nmetadata: {{name: '${{A}}', {field}: {{{SWITCH}: disabled}}}}\n"
            );
            let mut objects = [Object::new(document(&text)).unwrap()];
            let mut variables = Variables::default();
            variables.add("A", objects[0].node.at, Some("x"));
            variables.put_into(&mut objects);
            assert_eq!(objects[0].name(), "${A}");
        }
    }
}
