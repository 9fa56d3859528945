//! Times as arguments.

use std::time::Duration;

/// Whole seconds, as the reference writes them, or a duration such as `90s`, `5m` or `1h30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map(Duration::from_secs).ok();
    let parsed = seconds.or_else(|| {
        let duration: kube::core::Duration = text.parse().ok()?;
        (!duration.is_negative()).then(|| duration.into())
    });
    parsed
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| {
            "allowed are seconds above 0 and durations such as 90s, 5m or 1h30m".to_owned()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_or_durations() {
        assert_eq!(duration("60"), Ok(Duration::from_secs(60)));
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        for bad in ["", "0", "-5", "-5s", "soon", "5 minutes"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
