//! Durations as Flux takes them: numbers with units, as in `1h30m` or `1.5s`.

use std::time::Duration;

/// The duration that a text means; none where Flux would refuse it.
pub fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| letter != '.' && !letter.is_ascii_digit())?;
        let number = &rest[..digits];
        let has_ends = !number.starts_with('.') && !number.ends_with('.');
        let number: f64 = number.parse().ok().filter(|_| has_ends)?;
        rest = &rest[digits..];
        let (unit, seconds) = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)]
            .into_iter()
            .find(|(unit, _)| rest.starts_with(unit))?;
        rest = &rest[unit.len()..];
        total = total.checked_add(Duration::try_from_secs_f64(number * seconds).ok()?)?;
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_add_up_and_everything_else_is_refused() {
        for (text, seconds) in [
            ("1h", Some(3600.0)),
            ("1h30m", Some(5400.0)),
            ("90s", Some(90.0)),
            ("1.5m", Some(90.0)),
            ("250ms", Some(0.25)),
            ("", None),
            ("5", None),
            ("1d", None),
            ("-1m", None),
            ("1 m", None),
            (".5m", None),
            ("m", None),
            ("1m5", None),
        ] {
            let expected = seconds.map(Duration::from_secs_f64);
            assert_eq!(parse(text), expected, "{text}");
        }
    }
}
