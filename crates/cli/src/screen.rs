//! Standard output: lines that stay, or that are drawn again in place on a terminal.

use std::env;
use std::io::{self, ErrorKind, IsTerminal, Write};

use anstyle::{AnsiColor, Effects, Style};
use nico_terminal::tree::{Line, Tone};

/// Width of text where no terminal tells.
const WIDTH: usize = 80;

pub(crate) struct Screen {
    is_terminal: bool,
    has_colors: bool,
    /// How many lines of the last drawing are to be drawn over.
    drawn: usize,
}

impl Screen {
    /// Colours are for terminals, and not for those who set `NO_COLOR` (<https://no-color.org>).
    pub(crate) fn new() -> Self {
        let is_terminal = io::stdout().is_terminal();
        let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let is_dumb = env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self {
            is_terminal: is_terminal && !is_dumb,
            has_colors: is_terminal && !refused && !is_dumb,
            drawn: 0,
        }
    }

    /// Whether something can be drawn in place of what was drawn before.
    pub(crate) fn is_live(&self) -> bool {
        self.is_terminal
    }

    /// How many characters fit on a line.
    pub(crate) fn width(&self) -> usize {
        let told = env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
        self.size()
            .map(|(columns, _)| columns)
            .or(told)
            .filter(|columns| *columns > 0)
            .unwrap_or(WIDTH)
    }

    /// Writes lines that stay.
    pub(crate) fn print(&self, lines: &[Line]) -> io::Result<()> {
        let text: String = lines
            .iter()
            .map(|line| format!("{}\n", self.paint(line)))
            .collect();
        write(&text)
    }

    /// Writes one line of text that stays.
    pub(crate) fn say(&self, text: &str) -> io::Result<()> {
        write(&format!("{text}\n"))
    }

    /// Draws lines in the place of those that were drawn before. What is higher than the
    /// terminal is cut, for it could not be drawn over.
    pub(crate) fn draw(&mut self, lines: &[Line]) -> io::Result<()> {
        let rows = self.size().map_or(usize::MAX, |(_, rows)| rows.max(3));
        let shown = match lines.len() < rows {
            true => lines.len(),
            false => rows - 2,
        };
        let mut text = match self.drawn {
            0 => String::new(),
            drawn => format!("\x1b[{drawn}F"),
        };
        for line in &lines[..shown] {
            // What is left of the line before is cleared.
            text.push_str(&format!("{}\x1b[K\n", self.paint(line)));
        }
        self.drawn = shown;
        if shown < lines.len() {
            let more = lines.len() - shown;
            text.push_str(&format!("… {more} more lines\x1b[K\n"));
            self.drawn += 1;
        }
        text.push_str("\x1b[J");
        write(&text)
    }

    fn paint(&self, line: &Line) -> String {
        if !self.has_colors {
            return line.plain();
        }
        let spans = line.0.iter().map(|span| {
            let style = style(span.tone);
            format!("{style}{}{style:#}", span.text)
        });
        spans.collect()
    }

    fn size(&self) -> Option<(usize, usize)> {
        let size = rustix::termios::tcgetwinsize(io::stdout())
            .ok()
            .filter(|_| self.is_terminal)?;
        Some((usize::from(size.ws_col), usize::from(size.ws_row)))
    }
}

fn style(tone: Tone) -> Style {
    match tone {
        Tone::Plain => Style::new(),
        Tone::Strong => Style::new().effects(Effects::BOLD),
        Tone::Good => AnsiColor::Green.on_default(),
        Tone::Busy => AnsiColor::Yellow.on_default(),
        Tone::Bad => AnsiColor::Red.on_default(),
        Tone::Faint => Style::new().effects(Effects::DIMMED),
    }
}

/// Whoever closes the pipe has read enough.
fn write(text: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    let written = output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush());
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        other => other,
    }
}
