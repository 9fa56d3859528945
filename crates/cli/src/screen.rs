//! Standard output: lines that stay. [`crate::live`] has those that are drawn again in place.

use std::env;
use std::io::{self, ErrorKind, IsTerminal, Write};

use anstyle::{AnsiColor, Effects, Style};
use nico_terminal::tree::{Line, Tone};

/// Width of text where no terminal tells.
const WIDTH: usize = 80;

pub(crate) struct Screen {
    is_terminal: bool,
    has_colors: bool,
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
        }
    }

    /// Whether something can be drawn in place of what was drawn before.
    pub(crate) fn is_live(&self) -> bool {
        self.is_terminal
    }

    /// Whether there may be colours.
    pub(crate) fn has_colors(&self) -> bool {
        self.has_colors
    }

    /// How many characters fit on a line.
    pub(crate) fn width(&self) -> usize {
        let told = env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
        self.columns()
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

    fn columns(&self) -> Option<usize> {
        let size = rustix::termios::tcgetwinsize(io::stdout());
        let size = size.ok().filter(|_| self.is_terminal)?;
        Some(usize::from(size.ws_col))
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
