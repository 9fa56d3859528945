//! The table that every benchmark prints: measure, value, limit or peer, ratio.

use std::fmt;

/// What a value is compared with.
#[derive(Clone, Debug)]
pub enum Against {
    /// Nothing; the value speaks for itself.
    Nothing,
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
    /// Another program, of which less is better too.
    Peer(&'static str, f64),
}

/// A line of the table.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was measured.
    pub measure: String,
    /// How much it was.
    pub value: f64,
    /// The unit of the value and of what it is compared with.
    pub unit: &'static str,
    /// What it is compared with.
    pub against: Against,
}

/// The results of a benchmark. It is shown as a Markdown table.
#[derive(Clone, Debug, Default)]
pub struct Table {
    rows: Vec<Row>,
}

impl Table {
    /// Adds a line.
    pub fn add(
        &mut self,
        measure: impl Into<String>,
        value: f64,
        unit: &'static str,
        against: Against,
    ) {
        self.rows.push(Row {
            measure: measure.into(),
            value,
            unit,
            against,
        });
    }
}

impl Row {
    /// How many times better the value is than what it is compared with; below 1 it is worse.
    fn ratio(&self) -> Option<f64> {
        match self.against {
            Against::Nothing => None,
            Against::AtMost(limit) | Against::Peer(_, limit) => Some(limit / self.value),
            Against::AtLeast(limit) => Some(self.value / limit),
        }
    }

    fn cells(&self) -> [String; 4] {
        let amount = |value: f64| format!("{} {}", short(value), self.unit);
        let against = match self.against {
            Against::Nothing => "–".to_owned(),
            Against::AtMost(limit) => format!("≤ {}", amount(limit)),
            Against::AtLeast(limit) => format!("≥ {}", amount(limit)),
            Against::Peer(name, value) => format!("{name}: {}", amount(value)),
        };
        let ratio = self
            .ratio()
            .map_or_else(|| "–".to_owned(), |ratio| format!("{}×", short(ratio)));
        [self.measure.clone(), amount(self.value), against, ratio]
    }
}

/// Three significant digits are as much as a measurement is worth.
fn short(value: f64) -> String {
    match value.abs() {
        large if large >= 99.95 => format!("{value:.0}"),
        medium if medium >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["measure", "value", "limit or peer", "ratio"].map(str::to_owned);
        let mut lines = vec![head];
        lines.extend(self.rows.iter().map(Row::cells));
        let width = |column: usize| {
            let lengths = lines.iter().map(|line| line[column].chars().count());
            lengths.max().unwrap_or_default()
        };
        let widths = [0, 1, 2, 3].map(width);
        let mut write = |cells: &[String; 4]| {
            let padded = cells
                .iter()
                .zip(widths)
                .map(|(cell, width)| format!("{cell:width$}"));
            writeln!(f, "| {} |", padded.collect::<Vec<_>>().join(" | "))
        };
        write(&lines[0])?;
        write(&widths.map(|width| "-".repeat(width)))?;
        lines[1..].iter().try_for_each(write)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_above_one_is_better_than_what_was_asked() {
        let mut table = Table::default();
        table.add("time", 25.0, "ms", Against::AtMost(50.0));
        table.add("speed", 4000.0, "/s", Against::AtLeast(5000.0));
        table.add("memory", 3.0, "MB", Against::Peer("other", 300.0));
        table.add("size", 1.0, "kB", Against::Nothing);
        assert_eq!(
            table.to_string(),
            "| measure | value   | limit or peer | ratio |\n\
             | ------- | ------- | ------------- | ----- |\n\
             | time    | 25.0 ms | ≤ 50.0 ms     | 2.00× |\n\
             | speed   | 4000 /s | ≥ 5000 /s     | 0.80× |\n\
             | memory  | 3.00 MB | other: 300 MB | 100×  |\n\
             | size    | 1.00 kB | –             | –     |\n"
        );
    }
}
