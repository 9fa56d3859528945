//! Percentiles of durations.

use std::time::Duration;

/// The value that this share of all durations does not exceed (0.5 is the median); zero if there
/// are none.
pub fn percentile(durations: &mut [Duration], share: f64) -> Duration {
    durations.sort_unstable();
    let Some(last) = durations.len().checked_sub(1) else {
        return Duration::ZERO;
    };
    let index = (last as f64 * share).round() as usize;
    durations[index.min(last)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_all_durations_do_not_exceed_the_median() {
        let mut durations: Vec<Duration> = (1..=5).rev().map(Duration::from_millis).collect();
        assert_eq!(percentile(&mut durations, 0.5), Duration::from_millis(3));
        assert_eq!(percentile(&mut durations, 1.0), Duration::from_millis(5));
        assert_eq!(percentile(&mut [], 0.5), Duration::ZERO);
    }
}
