//! Text in columns with branches before it, and paragraphs under it, within a width. Pure.
//!
//! What comes from outside may hold anything: control characters never reach a terminal.

/// How a piece of text is meant, which a terminal may show by a colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// As it is.
    #[default]
    Plain,
    /// What is looked for first.
    Strong,
    /// As it should be.
    Good,
    /// Under way.
    Busy,
    /// Stopped, and a person is needed.
    Bad,
    /// Less important.
    Faint,
}

/// A piece of text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// How it is meant.
    pub tone: Tone,
    /// The text.
    pub text: String,
}

/// A line of text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line(pub Vec<Span>);

/// One row, what is said under it, and the rows that belong to it.
#[derive(Clone, Debug, Default)]
pub struct Branch {
    /// The first column.
    pub name: Span,
    /// The other columns.
    pub cells: Vec<Span>,
    /// Paragraphs under it.
    pub notes: Vec<Span>,
    /// Rows that belong to it.
    pub branches: Vec<Branch>,
}

/// Between two columns.
const GAP: &str = "  ";

/// A paragraph gets no more lines than this; the rest is in the JSON.
const LONGEST_NOTE: usize = 5;

impl Span {
    /// A piece of text.
    pub fn new(tone: Tone, text: impl Into<String>) -> Self {
        Self {
            tone,
            text: text.into(),
        }
    }
}

impl From<&str> for Span {
    fn from(text: &str) -> Self {
        Self::new(Tone::Plain, text)
    }
}

impl Line {
    /// The text alone.
    pub fn plain(&self) -> String {
        let text: String = self.0.iter().map(|span| span.text.as_str()).collect();
        text.trim_end().to_owned()
    }
}

/// Sets rows in columns under their titles, with the branches before the first one. Columns are
/// as wide as they must be; paragraphs are broken at `width`.
pub fn set(titles: &[&str], roots: &[Branch], width: usize) -> Vec<Line> {
    let mut rows = vec![];
    for root in roots {
        collect(root, "", "", &mut rows);
    }
    let header = Row {
        guide: String::new(),
        name: Span::new(Tone::Faint, titles.first().copied().unwrap_or_default()),
        cells: titles
            .iter()
            .skip(1)
            .map(|title| Span::new(Tone::Faint, *title))
            .collect(),
        notes_guide: String::new(),
        notes: vec![],
    };
    let rows: Vec<Row> = std::iter::once(header).chain(rows).collect();
    let widths: Vec<usize> = (0..titles.len())
        .map(|column| rows.iter().map(|row| row.width(column)).max().unwrap_or(0))
        .collect();
    rows.iter()
        .flat_map(|row| row.lines(&widths, width))
        .collect()
}

/// Paragraphs one under the other, each after its mark.
pub fn list(mark: &str, paragraphs: &[Span], width: usize) -> Vec<Line> {
    let rest = " ".repeat(mark.chars().count());
    paragraphs
        .iter()
        .flat_map(|paragraph| {
            let room = width.saturating_sub(rest.len());
            let lines = wrap(&paragraph.text, room);
            lines
                .into_iter()
                .enumerate()
                .map(|(number, text)| {
                    let before = if number == 0 { mark } else { &rest };
                    Line(vec![Span::from(before), Span::new(paragraph.tone, text)])
                })
                .collect::<Vec<_>>()
        })
        .collect()
}

struct Row {
    guide: String,
    name: Span,
    cells: Vec<Span>,
    notes_guide: String,
    notes: Vec<Span>,
}

fn collect(branch: &Branch, guide: &str, below: &str, rows: &mut Vec<Row>) {
    let own = if branch.branches.is_empty() {
        "  "
    } else {
        "│ "
    };
    rows.push(Row {
        guide: guide.to_owned(),
        name: branch.name.clone(),
        cells: branch.cells.clone(),
        notes_guide: format!("{below}{own}"),
        notes: branch.notes.clone(),
    });
    let last = branch.branches.len().saturating_sub(1);
    for (number, child) in branch.branches.iter().enumerate() {
        let (turn, on) = match number == last {
            true => ("└─ ", "   "),
            false => ("├─ ", "│  "),
        };
        let (guide, on) = (format!("{below}{turn}"), format!("{below}{on}"));
        collect(child, &guide, &on, rows);
    }
}

impl Row {
    fn width(&self, column: usize) -> usize {
        match column {
            0 => self.guide.chars().count() + self.name.text.chars().count(),
            _ => self
                .cells
                .get(column - 1)
                .map_or(0, |cell| cell.text.chars().count()),
        }
    }

    fn lines(&self, widths: &[usize], width: usize) -> Vec<Line> {
        let mut spans = vec![Span::new(Tone::Faint, &*self.guide), clean_span(&self.name)];
        for (column, cell) in self.cells.iter().enumerate() {
            let padding = widths[column].saturating_sub(self.width(column));
            spans.push(Span::from(&*format!("{}{GAP}", " ".repeat(padding))));
            spans.push(clean_span(cell));
        }
        let room = width.saturating_sub(self.notes_guide.chars().count() + 1);
        let notes = self.notes.iter().flat_map(|note| {
            wrap(&note.text, room).into_iter().map(|text| {
                Line(vec![
                    Span::new(Tone::Faint, format!("{} ", self.notes_guide)),
                    Span::new(note.tone, text),
                ])
            })
        });
        std::iter::once(Line(spans)).chain(notes).collect()
    }
}

fn clean_span(span: &Span) -> Span {
    Span::new(span.tone, clean(&span.text))
}

/// Text without what a terminal would take for a command.
fn clean(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '\t' => ' ',
            other if other.is_control() => '\u{fffd}',
            other => other,
        })
        .collect()
}

/// The lines of a paragraph, broken between words where that is possible, none longer than
/// `width`; at most [`LONGEST_NOTE`], the last with `…` when something is left out.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(20);
    let mut lines: Vec<String> = vec![];
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in clean(paragraph).split_whitespace() {
            let mut word: Vec<char> = word.chars().collect();
            let needed = line.chars().count() + usize::from(!line.is_empty()) + word.len();
            if needed > width && !line.is_empty() {
                lines.push(std::mem::take(&mut line));
            }
            while word.len() > width {
                let rest = word.split_off(width);
                lines.push(word.into_iter().collect());
                word = rest;
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.extend(word);
        }
        if !line.is_empty() {
            lines.push(line);
        }
    }
    if lines.len() > LONGEST_NOTE {
        lines.truncate(LONGEST_NOTE);
        if let Some(last) = lines.last_mut() {
            let kept: String = last.chars().take(width - 2).collect();
            *last = format!("{kept} …");
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(lines: &[Line]) -> Vec<String> {
        lines.iter().map(Line::plain).collect()
    }

    #[test]
    fn notes_stand_under_their_row_between_the_branches() {
        let leaf = |name: &str, note: &str| Branch {
            name: name.into(),
            cells: vec!["x".into()],
            notes: vec![note.into()],
            branches: vec![],
        };
        let root = Branch {
            name: "root".into(),
            cells: vec!["yes".into()],
            notes: vec!["said of the root, in more words than fit".into()],
            branches: vec![leaf("one", "first"), leaf("three", "last")],
        };
        assert_eq!(
            plain(&set(&["NAME", "IS"], &[root], 30)),
            [
                "NAME      IS",
                "root      yes",
                "│  said of the root, in more",
                "│  words than fit",
                "├─ one    x",
                "│     first",
                "└─ three  x",
                "      last",
            ]
        );
    }

    #[test]
    fn no_control_character_reaches_the_terminal() {
        let root = Branch {
            name: "a\u{1b}[31m".into(),
            notes: vec!["b\u{7}\u{1b}]0;title\u{7}\r\nc".into()],
            ..Branch::default()
        };
        let lines = plain(&set(&["N"], &[root], 80));
        assert!(
            lines.iter().all(|line| !line.contains(char::is_control)),
            "{lines:?}"
        );
    }

    proptest! {
        #[test]
        fn no_paragraph_is_wider_or_longer_than_it_may(text in "\\PC{0,400}", width in 20_usize..120) {
            let lines = wrap(&text, width);
            prop_assert!(lines.len() <= LONGEST_NOTE);
            for line in lines {
                prop_assert!(line.chars().count() <= width, "{}", line);
            }
        }
    }
}
