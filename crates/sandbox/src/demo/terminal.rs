//! What the demo shows: lines that stay, and below them a block that is drawn again and again
//! when standard output is a terminal.

use std::io::{self, IsTerminal, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

/// How wide a line may be where the terminal does not tell.
const WIDTH: usize = 100;

#[derive(Clone, Copy)]
pub(super) enum Style {
    Plain,
    Bold,
    Dim,
    Good,
    Bad,
}

/// Standard output. Nothing that fails to be shown fails the demo.
pub(super) struct Terminal {
    is_terminal: bool,
    has_colors: bool,
    width: usize,
    block: Vec<String>,
}

impl Terminal {
    pub(super) fn new() -> Self {
        let is_terminal = io::stdout().is_terminal();
        Self {
            is_terminal,
            has_colors: is_terminal && std::env::var_os("NO_COLOR").is_none(),
            width: if is_terminal { columns() } else { WIDTH },
            block: Vec::new(),
        }
    }

    /// Whether a block can be drawn again; otherwise changes are told line by line.
    pub(super) fn is_live(&self) -> bool {
        self.is_terminal
    }

    /// A line that stays, above the block.
    pub(super) fn line(&mut self, style: Style, text: &str) {
        let line = self.styled(style, text);
        let block = std::mem::take(&mut self.block);
        self.write(&format!("{}{line}\n", erase(block.len())));
        self.draw(block);
    }

    pub(super) fn step(&mut self, number: usize, of: usize, title: &str) {
        self.line(Style::Plain, "");
        self.line(Style::Bold, &format!("[{number}/{of}] {title}"));
    }

    pub(super) fn done(&mut self, took: Duration, what: &str) {
        let text = format!("      ✓ {what} ({:.1} s)", took.as_secs_f64());
        self.line(Style::Good, &text);
    }

    /// A command as a user would type it.
    pub(super) fn command(&mut self, command: &str) {
        self.line(Style::Plain, &format!("      $ {command}"));
    }

    /// What a command wrote.
    pub(super) fn output(&mut self, output: &str) {
        for line in output.lines() {
            self.line(Style::Dim, &format!("      {line}"));
        }
    }

    /// Draws the block, in place of the one before. Does nothing when it is the same.
    pub(super) fn draw(&mut self, block: Vec<String>) {
        if block == self.block {
            return;
        }
        let mut text = erase(self.block.len());
        for line in &block {
            // A line that the terminal wraps could not be erased.
            text.extend(line.chars().take(self.width.saturating_sub(1)));
            text.push('\n');
        }
        self.write(&text);
        self.block = block;
    }

    /// Leaves the block where it is; what follows comes below.
    pub(super) fn keep_block(&mut self) {
        self.block.clear();
    }

    fn styled(&self, style: Style, text: &str) -> String {
        let code = match style {
            Style::Plain => "",
            Style::Bold => "1",
            Style::Dim => "2",
            Style::Good => "32",
            Style::Bad => "31",
        };
        if self.has_colors && !code.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    fn write(&self, text: &str) {
        let mut output = io::stdout().lock();
        if let Err(error) = output
            .write_all(text.as_bytes())
            .and_then(|()| output.flush())
        {
            tracing::debug!(%error, "standard output is gone");
        }
    }
}

/// Moves to the first of the last lines and clears from there on.
fn erase(lines: usize) -> String {
    match lines {
        0 => String::new(),
        _ => format!("\x1b[{lines}A\x1b[J"),
    }
}

fn columns() -> usize {
    let size = Command::new("stty")
        .args(["-F", "/dev/tty", "size"])
        .stderr(Stdio::null())
        .output();
    size.ok()
        .and_then(|output| {
            let text = String::from_utf8(output.stdout).ok()?;
            text.split_whitespace().nth(1)?.parse().ok()
        })
        .filter(|columns| *columns > 0)
        .unwrap_or(WIDTH)
}
