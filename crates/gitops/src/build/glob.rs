//! Patterns of a shell: `*`, `?` and `[a-z]`, at the beginning or the end of a text.

/// Which of several matches counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    Shortest,
    Longest,
}

#[derive(Debug)]
enum Part {
    Any,
    One,
    Letter(char),
    Class {
        ranges: Vec<(char, char)>,
        is_negated: bool,
    },
}

/// The text without the beginning that the pattern fits; whole where it fits none, or is no pattern.
pub(super) fn without_prefix(text: &str, pattern: &str, length: Length) -> String {
    let end = parse(pattern).and_then(|pattern| fitting_prefix(text, &pattern, length));
    text[end.unwrap_or_default()..].to_owned()
}

/// The text without the end that the pattern fits.
pub(super) fn without_suffix(text: &str, pattern: &str, length: Length) -> String {
    // As Flux does it: a class does not survive being turned round.
    let turned = |text: &str| text.chars().rev().collect::<String>();
    turned(&without_prefix(&turned(text), &turned(pattern), length))
}

/// Where the part that fits ends. Nothing at all is no part.
fn fitting_prefix(text: &str, pattern: &[Part], length: Length) -> Option<usize> {
    let mut fitting = None;
    // Which parts of the pattern are done; after each letter, all ways at once.
    let mut done = vec![false; pattern.len() + 1];
    done[0] = true;
    skip_any(&mut done, pattern);
    for (start, letter) in text.char_indices() {
        let mut next = vec![false; pattern.len() + 1];
        for (index, part) in pattern.iter().enumerate().filter(|(index, _)| done[*index]) {
            match part {
                Part::Any => next[index] = true,
                part if fits(part, letter) => next[index + 1] = true,
                _ => {}
            }
        }
        skip_any(&mut next, pattern);
        done = next;
        if done[pattern.len()] {
            fitting = Some(start + letter.len_utf8());
            if length == Length::Shortest {
                break;
            }
        }
    }
    fitting
}

/// A star may also stand for nothing.
fn skip_any(done: &mut [bool], pattern: &[Part]) {
    for (index, part) in pattern.iter().enumerate() {
        if done[index] && matches!(part, Part::Any) {
            done[index + 1] = true;
        }
    }
}

fn fits(part: &Part, letter: char) -> bool {
    match part {
        Part::Any | Part::One => true,
        Part::Letter(wanted) => *wanted == letter,
        Part::Class { ranges, is_negated } => {
            let is_in = |(first, last): &(char, char)| (*first..=*last).contains(&letter);
            ranges.iter().any(is_in) != *is_negated
        }
    }
}

fn parse(pattern: &str) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut letters = pattern.chars().peekable();
    while let Some(letter) = letters.next() {
        parts.push(match letter {
            '*' => Part::Any,
            '?' => Part::One,
            '\\' => Part::Letter(letters.next()?),
            '[' => class(&mut letters)?,
            letter => Part::Letter(letter),
        });
    }
    Some(parts)
}

fn class(letters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Part> {
    let is_negated = letters.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        let first = match letters.next()? {
            ']' if !ranges.is_empty() => return Some(Part::Class { ranges, is_negated }),
            '\\' => letters.next()?,
            '-' | ']' => return None,
            letter => letter,
        };
        let is_range = letters.next_if_eq(&'-').is_some();
        let last = if is_range { letters.next()? } else { first };
        ranges.push((first, last));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_takes_away_the_shortest_or_the_longest_part() {
        use Length::{Longest, Shortest};
        for (text, pattern, length, expected) in [
            ("a.b.c", "*.", Shortest, "b.c"),
            ("a.b.c", "*.", Longest, "c"),
            ("abc", "?", Longest, "bc"),
            ("abc", "[a-b][^a]", Longest, "c"),
            ("abc", "[a-b", Longest, "abc"),
            ("abc", "x*", Longest, "abc"),
            ("abc", "*", Longest, ""),
            ("abc", "*", Shortest, "bc"),
            ("a*c", "a\\*", Shortest, "c"),
            ("üx", "?", Shortest, "x"),
        ] {
            assert_eq!(
                without_prefix(text, pattern, length),
                expected,
                "{text} {pattern}"
            );
        }
        assert_eq!(without_suffix("a.b.c", ".*", Shortest), "a.b");
        assert_eq!(without_suffix("a.b.c", ".*", Longest), "a");
    }
}
