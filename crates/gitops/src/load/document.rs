//! Text to documents: YAML events become nodes, without recursion and within limits.
//!
//! A mistake in one document does not hide the others: reading goes on with the next one.

mod extent;
mod fields;

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};

use crate::finding::Finding;
use crate::rules::yaml::{FLX023, LOD002};
use crate::source::{FileId, Location};
use crate::yaml::{Field, Node, Value};

use super::scalar;
use fields::Fields;

pub(crate) use extent::Extent;

/// The API server does not take larger requests.
pub(crate) const MAX_DOCUMENT_BYTES: usize = 3 * 1024 * 1024;

/// Levels of nesting, of each of the two styles.
const MAX_DEPTH: usize = 200;

/// Levels of nesting with what aliases stand for.
const MAX_DEPTH_WITH_ALIASES: usize = 2 * MAX_DEPTH;

/// Of a file with more mistakes, the rest is not read.
const MAX_FINDINGS: usize = 100;

/// Aliases may always make this much of a file, in bytes.
const ALIAS_BYTES: usize = 64 * 1024;

/// Above [`ALIAS_BYTES`], aliases may make a file this many times larger.
const ALIAS_FACTOR: usize = 10;

/// What a file says.
#[derive(Debug, Default)]
pub struct Parsed {
    /// Its documents without mistakes. Empty documents are left out.
    pub documents: Vec<Node>,
    /// The comments that silence a rule.
    pub ignores: Vec<Ignore>,
    /// What is wrong with it.
    pub findings: Vec<Finding>,
}

/// A comment `# nico-ignore: RULE reason`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignore {
    /// Where the comment stands.
    pub at: Location,
    /// The rule's identifier.
    pub rule: String,
    /// Why; may be empty, which is a mistake of its own.
    pub reason: String,
}

/// Reads the documents of a file.
pub fn parse(file: FileId, text: &str) -> Parsed {
    let options = granit_parser::options! {
        emit_unresolved_aliases: true,
        max_buffered_comment_events: 10_000,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    let mut reader = Reader {
        file,
        text,
        parsed: Parsed::default(),
        builder: Builder::default(),
        alias_bytes_left: ALIAS_BYTES.max(text.len().saturating_mul(ALIAS_FACTOR)),
    };
    let mut parser = Parser::new_from_str_with_options(text, options);
    loop {
        if reader.parsed.findings.len() >= MAX_FINDINGS {
            reader.give_up();
            break;
        }
        match parser.next_event() {
            None | Some(Ok((Event::StreamEnd, _))) => break,
            Some(Ok((event, span))) => reader.event(event, span),
            Some(Err(error)) => {
                reader.syntax_error(&error);
                // A second mistake on the way to the next document is not worth reporting.
                if !matches!(parser.proceed_next_document(), Ok(true)) {
                    break;
                }
            }
        }
    }
    reader.parsed
}

struct Reader<'text> {
    file: FileId,
    text: &'text str,
    parsed: Parsed,
    builder: Builder,
    alias_bytes_left: usize,
}

/// The document that is being read.
#[derive(Default)]
struct Builder {
    start: usize,
    open: Vec<Open>,
    root: Option<Node>,
    anchors: HashMap<usize, Anchored>,
    /// Set when the document cannot be used.
    is_broken: bool,
}

/// A collection whose end was not seen yet.
struct Open {
    anchor: usize,
    start: usize,
    content: OpenContent,
}

enum OpenContent {
    Sequence(Vec<Node>),
    Mapping {
        fields: Fields,
        /// The key whose value comes next.
        key: Option<(Box<str>, Location)>,
        /// Values of merge keys (`<<`).
        merged: Vec<Node>,
    },
}

struct Anchored {
    node: Node,
    extent: Extent,
}

impl Reader<'_> {
    fn event(&mut self, event: Event<'_>, span: Span) {
        match event {
            Event::DocumentStart(..) => {
                self.builder = Builder {
                    start: start_of(&span),
                    ..Builder::default()
                };
            }
            Event::DocumentEnd => self.end_document(&span),
            Event::Comment(text, _) => self.comment(&text, &span),
            Event::Scalar(text, style, anchor, tag) => {
                self.check_glued_separator(&text, style, &span);
                let node = Node {
                    at: self.at(&span),
                    value: scalar_value(text.as_ref(), style, tag.as_deref()),
                };
                self.keep_anchored(anchor, &node);
                self.place(node, style == ScalarStyle::Plain, Some(&text));
            }
            Event::Alias(anchor) => self.alias(anchor, &span),
            Event::UnresolvedAlias(name) => {
                let at = self.at(&span);
                self.report(Finding::new(
                    &FLX023,
                    at,
                    format!("the alias *{name} has no anchor &{name} before it in this document"),
                ));
                let value = Value::Null;
                self.place(Node { at, value }, false, None);
            }
            Event::SequenceStart(_, anchor, _) => {
                self.open(anchor, &span, OpenContent::Sequence(Vec::new()));
            }
            Event::MappingStart(_, anchor, _) => {
                let content = OpenContent::Mapping {
                    fields: Fields::default(),
                    key: None,
                    merged: Vec::new(),
                };
                self.open(anchor, &span, content);
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(&span),
            _ => {}
        }
    }

    fn open(&mut self, anchor: usize, span: &Span, content: OpenContent) {
        self.builder.open.push(Open {
            anchor,
            start: start_of(span),
            content,
        });
    }

    fn close(&mut self, span: &Span) {
        let Some(open) = self.builder.open.pop() else {
            return;
        };
        let (value, last) = match open.content {
            OpenContent::Sequence(items) => {
                let last = items.last().map(|item| item.at.end);
                (Value::Sequence(items.into()), last)
            }
            OpenContent::Mapping { fields, merged, .. } => {
                let last = fields.end();
                (Value::Mapping(fields.merged_with(merged)), last)
            }
        };
        // A block's end event stands where the next thing begins; its last entry is its end.
        let end = match self.text.as_bytes().get(open.start) {
            Some(b'{' | b'[') => end_of(span),
            _ => last.map_or_else(|| end_of(span), |end| end as usize),
        };
        let node = Node {
            at: Location::new(self.file, open.start, end),
            value,
        };
        self.keep_anchored(open.anchor, &node);
        self.place(node, false, None);
    }

    fn alias(&mut self, anchor: usize, span: &Span) {
        let at = self.at(span);
        let Some(anchored) = self.builder.anchors.get(&anchor) else {
            // An alias inside its own anchor, or to one that was too large to keep.
            if !self.builder.is_broken {
                self.report(Finding::new(
                    &FLX023,
                    at,
                    "the alias stands inside its own anchor",
                ));
            }
            return self.place(
                Node {
                    at,
                    value: Value::Null,
                },
                false,
                None,
            );
        };
        let extent = anchored.extent;
        let left = self.alias_bytes_left.checked_sub(extent.bytes);
        let depth = self.builder.open.len() + extent.depth;
        let node = if let Some(left) = left.filter(|_| depth <= MAX_DEPTH_WITH_ALIASES) {
            self.alias_bytes_left = left;
            Node {
                at,
                value: anchored.node.value.clone(),
            }
        } else {
            self.too_many_aliases(at);
            Node {
                at,
                value: Value::Null,
            }
        };
        let text = node.text().map(str::to_owned);
        self.place(node, false, text.as_deref());
    }

    fn keep_anchored(&mut self, anchor: usize, node: &Node) {
        if anchor == 0 || self.builder.is_broken {
            return;
        }
        match Extent::within(node, self.alias_bytes_left) {
            Some(extent) => {
                self.alias_bytes_left -= extent.bytes;
                let node = node.clone();
                self.builder
                    .anchors
                    .insert(anchor, Anchored { node, extent });
            }
            None => self.too_many_aliases(node.at),
        }
    }

    fn too_many_aliases(&mut self, at: Location) {
        if !self.builder.is_broken {
            self.report(
                Finding::new(
                    &LOD002,
                    at,
                    "aliases make this document far larger or deeper than its text",
                )
                .fix("write the repeated part once, in a base or a component"),
            );
        }
    }

    /// Puts a finished node where it belongs. `key` is its text, should it be a key.
    fn place(&mut self, node: Node, is_plain: bool, key: Option<&str>) {
        if self.builder.is_broken {
            return;
        }
        let Some(open) = self.builder.open.last_mut() else {
            self.builder.root = Some(node);
            return;
        };
        match &mut open.content {
            OpenContent::Sequence(items) => items.push(node),
            OpenContent::Mapping {
                fields,
                key: waiting,
                merged,
            } => match waiting.take() {
                Some((key, _)) if &*key == "<<" && !matches!(node.value, Value::Text(_)) => {
                    merged.push(node);
                }
                Some((key, key_at)) => {
                    if let Err(twice) = fields.add(Field { key, key_at, node }) {
                        self.duplicate(&twice.key, key_at);
                    }
                }
                None => match key {
                    Some(key) => *waiting = Some((key.into(), node.at)),
                    None if is_plain => *waiting = Some(("".into(), node.at)),
                    None => {
                        self.report(Finding::new(
                            &FLX023,
                            node.at,
                            "a key must be a word, and this is a list or a mapping",
                        ));
                    }
                },
            },
        }
    }

    fn duplicate(&mut self, key: &str, at: Location) {
        let finding = Finding::new(
            &FLX023,
            at,
            format!("the key {key:?} stands twice in this mapping"),
        );
        self.parsed
            .findings
            .push(finding.fix("remove one of the two"));
    }

    fn end_document(&mut self, span: &Span) {
        let builder = std::mem::take(&mut self.builder);
        let Some(root) = builder.root.filter(|_| !builder.is_broken) else {
            return;
        };
        let bytes = start_of(span).saturating_sub(builder.start);
        if bytes > MAX_DOCUMENT_BYTES {
            self.parsed.findings.push(Finding::new(
                &LOD002,
                Location::new(self.file, builder.start, builder.start),
                format!("the document has {bytes} bytes; an API server takes {MAX_DOCUMENT_BYTES}"),
            ));
        } else if !root.is_null() {
            self.parsed.documents.push(root);
        }
    }

    /// `value: database---` is the end of one file and the beginning of the next.
    fn check_glued_separator(&mut self, text: &str, style: ScalarStyle, span: &Span) {
        let is_glued = style == ScalarStyle::Plain
            && text.len() > 3
            && text.ends_with("---")
            && text.contains(|letter| letter != '-');
        if is_glued {
            let end = end_of(span);
            let at = Location::new(self.file, end.saturating_sub(3), end);
            let finding = Finding::new(&FLX023, at, "a document separator is glued to this value")
                .fix("put `---` on a line of its own, or quote the value");
            self.parsed.findings.push(finding);
        }
    }

    fn comment(&mut self, text: &str, span: &Span) {
        if let Some(rest) = text.trim_start().strip_prefix("nico-ignore:") {
            let rest = rest.trim();
            let (rule, reason) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            self.parsed.ignores.push(Ignore {
                at: self.at(span),
                rule: rule.to_owned(),
                reason: reason.trim().to_owned(),
            });
        }
    }

    fn syntax_error(&mut self, error: &ScanError) {
        let marker = error.marker();
        let offset = marker
            .byte_offset()
            .unwrap_or_else(|| offset_of(self.text, marker.line(), marker.col()));
        let at = Location::new(self.file, offset, offset);
        let what = error.info();
        let rule = if what.contains("nesting") || what.contains("limit") {
            &LOD002
        } else {
            &FLX023
        };
        let line_start = self.text[..self.text.floor_char_boundary(offset)]
            .rfind('\n')
            .map_or(0, |newline| newline + 1);
        let indented_by_tab = self.text[line_start..]
            .trim_start_matches(' ')
            .starts_with('\t');
        let finding = Finding::new(rule, at, format!("this is not YAML: {what}"));
        self.report(if indented_by_tab {
            finding.fix("indent with spaces; YAML does not allow tabs there")
        } else {
            finding
        });
    }

    fn give_up(&mut self) {
        let last = self.parsed.findings.last();
        let at = last.map_or(Location::start_of(self.file), |last| last.location);
        let message = format!("after {MAX_FINDINGS} mistakes, the rest of the file is not read");
        let finding = Finding::new(&LOD002, at, message);
        let consequence = "what else is wrong in the file is not known";
        self.parsed
            .findings
            .push(finding.consequence(consequence).fix("correct the mistakes"));
    }

    fn report(&mut self, finding: Finding) {
        self.builder.is_broken = true;
        self.parsed.findings.push(finding);
    }

    fn at(&self, span: &Span) -> Location {
        Location::new(self.file, start_of(span), end_of(span))
    }
}

fn scalar_value(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Value {
    match tag.and_then(Tag::core_suffix) {
        Some("str" | "binary") => Value::Text(text.into()),
        Some("int" | "float" | "bool" | "null") => scalar::resolve(text),
        _ if style == ScalarStyle::Plain => scalar::resolve(text),
        _ => Value::Text(text.into()),
    }
}

fn start_of(span: &Span) -> usize {
    span.byte_range().map_or(0, |range| range.start)
}

fn end_of(span: &Span) -> usize {
    span.byte_range().map_or(0, |range| range.end)
}

fn offset_of(text: &str, line: usize, column: usize) -> usize {
    let line_start: usize = text
        .split_inclusive('\n')
        .take(line.saturating_sub(1))
        .map(str::len)
        .sum();
    let in_line = text[line_start..].char_indices().nth(column);
    in_line.map_or(text.len(), |(offset, _)| line_start + offset)
}

#[cfg(test)]
mod tests;
