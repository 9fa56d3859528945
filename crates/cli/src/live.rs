//! A screen that is drawn again in place, scrolls, and is gone when it ends.
//!
//! It has the alternate screen of the terminal, which shows again what it showed before when the
//! screen is dropped, also in a panic.

use std::io;

use futures::StreamExt;
use nico_terminal::tree::{self, Tone};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{
    Event, EventStream, KeyCode, KeyEvent, KeyEventKind, KeyModifiers,
};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span, Text};

pub(crate) struct Live {
    terminal: DefaultTerminal,
    events: EventStream,
    has_colors: bool,
    lines: Vec<tree::Line>,
    view: View,
}

/// What the person at the terminal wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// An end.
    Quit,
    /// The lines for a terminal that has another width now.
    Resized,
}

/// Which lines are seen. The last row of the terminal is not theirs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct View {
    first: usize,
    rows: usize,
    lines: usize,
}

/// What a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Move {
    Quit,
    Lines(isize),
    Pages(isize),
    Top,
    Bottom,
}

impl Live {
    /// Takes the terminal.
    pub(crate) fn open(has_colors: bool) -> io::Result<Self> {
        let terminal = ratatui::try_init()?;
        Ok(Self {
            terminal,
            events: EventStream::new(),
            has_colors,
            lines: vec![],
            view: View::default(),
        })
    }

    /// How many characters fit on a line.
    pub(crate) fn width(&self) -> usize {
        let size = self.terminal.size();
        size.map_or(80, |size| usize::from(size.width))
    }

    /// Shows these lines in the place of those before, at the height to which was scrolled.
    pub(crate) fn show(&mut self, lines: Vec<tree::Line>) -> io::Result<()> {
        self.lines = lines;
        self.draw()
    }

    /// Waits until the person wants something that is not done here. Scrolling is done here.
    pub(crate) async fn wish(&mut self) -> io::Result<Wish> {
        loop {
            let event = self.events.next().await;
            match event.ok_or(io::ErrorKind::UnexpectedEof)?? {
                Event::Resize(..) => return Ok(Wish::Resized),
                Event::Key(key) => match meant(&key) {
                    Some(Move::Quit) => return Ok(Wish::Quit),
                    Some(step) => {
                        self.view = self.view.after(step);
                        self.draw()?;
                    }
                    None => {}
                },
                _ => {}
            }
        }
    }

    fn draw(&mut self) -> io::Result<()> {
        let (lines, has_colors) = (&self.lines, self.has_colors);
        let mut view = self.view;
        self.terminal.draw(|frame| {
            let rows = Layout::vertical([Constraint::Min(0), Constraint::Length(1)]);
            let [body, foot] = rows.areas(frame.area());
            view = view.of(lines.len(), usize::from(body.height));
            let seen = &lines[view.first..view.end()];
            let seen: Vec<Line<'_>> = seen.iter().map(|line| painted(line, has_colors)).collect();
            frame.render_widget(Text::from(seen), body);
            let style = style(Tone::Faint, has_colors);
            frame.render_widget(Line::styled(view.words(), style), foot);
        })?;
        self.view = view;
        Ok(())
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // Whoever cannot be told that the terminal is lost has lost it.
        let _ = ratatui::try_restore();
    }
}

impl View {
    /// The same place among other lines, as far as there is such a place.
    fn of(self, lines: usize, rows: usize) -> Self {
        Self {
            first: self.first.min(lines.saturating_sub(rows)),
            rows,
            lines,
        }
    }

    fn end(self) -> usize {
        (self.first + self.rows).min(self.lines)
    }

    fn after(self, step: Move) -> Self {
        let page = isize::try_from(self.rows.saturating_sub(1).max(1)).unwrap_or(isize::MAX);
        let first = match step {
            Move::Lines(lines) => self.first.saturating_add_signed(lines),
            Move::Pages(pages) => self.first.saturating_add_signed(pages.saturating_mul(page)),
            Move::Top => 0,
            Move::Bottom => usize::MAX,
            Move::Quit => self.first,
        };
        Self { first, ..self }.of(self.lines, self.rows)
    }

    fn words(self) -> String {
        match self.lines > self.rows {
            true => format!(
                "lines {}–{} of {}   ↑ ↓ PgUp PgDn scroll   q ends",
                self.first + 1,
                self.end(),
                self.lines
            ),
            false => "q ends".to_owned(),
        }
    }
}

/// The keys of `less`, as far as there is something to do for them.
fn meant(key: &KeyEvent) -> Option<Move> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('c' | 'd') if is_control => Some(Move::Quit),
        KeyCode::Char('q') | KeyCode::Esc => Some(Move::Quit),
        KeyCode::Up | KeyCode::Char('k') => Some(Move::Lines(-1)),
        KeyCode::Down | KeyCode::Char('j') | KeyCode::Enter => Some(Move::Lines(1)),
        KeyCode::PageUp | KeyCode::Char('b') => Some(Move::Pages(-1)),
        KeyCode::PageDown | KeyCode::Char(' ' | 'f') => Some(Move::Pages(1)),
        KeyCode::Home | KeyCode::Char('g') => Some(Move::Top),
        KeyCode::End | KeyCode::Char('G') => Some(Move::Bottom),
        _ => None,
    }
}

fn painted(line: &tree::Line, has_colors: bool) -> Line<'_> {
    let spans = line.0.iter();
    spans
        .map(|span| Span::styled(span.text.as_str(), style(span.tone, has_colors)))
        .collect()
}

fn style(tone: Tone, has_colors: bool) -> Style {
    match tone {
        _ if !has_colors => Style::new(),
        Tone::Plain => Style::new(),
        Tone::Strong => Style::new().add_modifier(Modifier::BOLD),
        Tone::Good => Style::new().fg(Color::Green),
        Tone::Busy => Style::new().fg(Color::Yellow),
        Tone::Bad => Style::new().fg(Color::Red),
        Tone::Faint => Style::new().add_modifier(Modifier::DIM),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TALL: View = View {
        first: 0,
        rows: 10,
        lines: 25,
    };

    #[test]
    fn scrolling_ends_at_the_ends() {
        for (steps, expected) in [
            (vec![Move::Lines(1)], 1),
            (vec![Move::Lines(-1)], 0),
            (vec![Move::Pages(1)], 9),
            (vec![Move::Pages(1), Move::Pages(1)], 15),
            (vec![Move::Bottom], 15),
            (vec![Move::Bottom, Move::Lines(1)], 15),
            (vec![Move::Bottom, Move::Pages(-1)], 6),
            (vec![Move::Bottom, Move::Top], 0),
        ] {
            let view = steps.iter().fold(TALL, |view, step| view.after(*step));
            assert_eq!(view.first, expected, "{steps:?}");
        }
    }

    #[test]
    fn what_became_shorter_is_seen_to_its_end() {
        let bottom = TALL.after(Move::Bottom);
        assert_eq!(bottom.of(12, 10).first, 2);
        assert_eq!(bottom.of(5, 10).first, 0);
        assert_eq!(bottom.of(0, 0).end(), 0);
    }

    #[test]
    fn the_last_row_says_where_one_is_when_not_all_is_seen() {
        let words = TALL.after(Move::Lines(3)).words();
        assert!(words.starts_with("lines 4–13 of 25"), "{words}");
        assert_eq!(TALL.of(10, 10).words(), "q ends");
    }
}
