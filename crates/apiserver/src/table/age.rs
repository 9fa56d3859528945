//! How long ago something was, as kubectl writes it.

use jiff::Timestamp;

const UNKNOWN: &str = "<unknown>";

/// How long ago a time was, in at most two units, as kubectl writes it.
pub fn age(time: &str, now: Timestamp) -> String {
    let Ok(time) = time.parse::<Timestamp>() else {
        return UNKNOWN.to_owned();
    };
    let seconds = now.as_second() - time.as_second();
    if seconds < -1 {
        return "<invalid>".to_owned();
    }
    let seconds = seconds.max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    let two = |first: i64, unit: &str, second: i64, smaller: &str| match second {
        0 => format!("{first}{unit}"),
        second => format!("{first}{unit}{second}{smaller}"),
    };
    match (seconds, minutes, hours, days) {
        (0..120, ..) => format!("{seconds}s"),
        (_, 0..10, ..) => two(minutes, "m", seconds % 60, "s"),
        (_, 0..180, ..) => format!("{minutes}m"),
        (_, _, 0..8, _) => two(hours, "h", minutes % 60, "m"),
        (_, _, 0..48, _) => format!("{hours}h"),
        (_, _, _, 0..8) => two(days, "d", hours % 24, "h"),
        (_, _, _, 0..730) => format!("{days}d"),
        (_, _, _, 0..2920) => two(days / 365, "y", days % 365, "d"),
        _ => format!("{}y", days / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_written_as_kubectl_writes_them() {
        let now: Timestamp = "2024-01-10T00:00:00Z".parse().unwrap();
        for (time, shown) in [
            ("2024-01-10T00:00:00Z", "0s"),
            ("2024-01-09T23:58:01Z", "119s"),
            ("2024-01-09T23:55:30Z", "4m30s"),
            ("2024-01-09T23:00:00Z", "60m"),
            ("2024-01-09T20:00:00Z", "4h"),
            ("2024-01-09T00:00:00Z", "24h"),
            ("2024-01-07T00:00:00Z", "3d"),
            ("2023-01-10T00:00:00Z", "365d"),
            ("2020-01-10T00:00:00Z", "4y1d"),
            ("2025-01-10T00:00:00Z", "<invalid>"),
            ("", "<unknown>"),
        ] {
            assert_eq!(age(time, now), shown, "{time}");
        }
    }
}
