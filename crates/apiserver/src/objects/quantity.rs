//! Amounts such as `100m` or `1Gi`.

use std::cmp::Ordering;

/// How two amounts compare; none if one is no amount. Amounts that do not fit into the precision
/// of the comparison (15 digits) count as equal to their neighbours.
pub fn compare(left: &str, right: &str) -> Option<Ordering> {
    value(left)?.partial_cmp(&value(right)?)
}

/// Whether an amount has no fraction; not if it is no amount.
pub fn is_whole(text: &str) -> bool {
    value(text).is_some_and(|value| value.fract() == 0.0)
}

fn value(text: &str) -> Option<f64> {
    let end = text
        .char_indices()
        .find(|(index, c)| !(c.is_ascii_digit() || *c == '.' || *index == 0 && "+-".contains(*c)))
        .map_or(text.len(), |(index, _)| index);
    let (number, suffix) = text.split_at(end);
    let number: f64 = number.parse().ok()?;
    let factor = match suffix {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1024_f64.powi(2),
        "Gi" => 1024_f64.powi(3),
        "Ti" => 1024_f64.powi(4),
        "Pi" => 1024_f64.powi(5),
        "Ei" => 1024_f64.powi(6),
        exponent => 10_f64.powi(exponent.strip_prefix(['e', 'E'])?.parse().ok()?),
    };
    Some(number * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_compare_across_their_suffixes() {
        for (left, right, order) in [
            ("1500m", "1", Ordering::Greater),
            ("1Ki", "1024", Ordering::Equal),
            ("1G", "1Gi", Ordering::Less),
            ("1e3", "1k", Ordering::Equal),
            ("-1", "0", Ordering::Less),
        ] {
            assert_eq!(compare(left, right), Some(order), "{left} {right}");
        }
        assert_eq!(compare("x", "1"), None);
    }
}
