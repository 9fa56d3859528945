//! How long to wait before the next attempt: exponential, with jitter, up to a limit.

use std::time::Duration;

/// The first and the longest wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Wait after the first failure.
    pub base: Duration,
    /// No wait is longer.
    pub max: Duration,
}

impl Backoff {
    /// For what a controller retries: 5 s to 10 min.
    pub const RECONCILE: Self = Self {
        base: Duration::from_secs(5),
        max: Duration::from_secs(600),
    };

    /// The wait after `failures` failures in a row: doubled each time, and between half of that
    /// and all of it as `jitter` (0 to 1) says. No failure means no wait.
    pub fn delay(&self, failures: u32, jitter: f64) -> Duration {
        let Some(doublings) = failures.checked_sub(1) else {
            return Duration::ZERO;
        };
        let factor = 2_u32.saturating_pow(doublings);
        let longest = self.base.saturating_mul(factor).min(self.max);
        longest.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit() {
        let seconds = |failures| Backoff::RECONCILE.delay(failures, 1.0).as_secs();
        assert_eq!([0, 1, 2, 3, 4].map(seconds), [0, 5, 10, 20, 40]);
        assert_eq!([8, 9, 100, u32::MAX].map(seconds), [600; 4]);
    }

    #[test]
    fn jitter_shortens_a_wait_by_up_to_half() {
        let delay = |jitter| Backoff::RECONCILE.delay(2, jitter);
        assert_eq!(delay(0.0), Duration::from_secs(5));
        assert_eq!(delay(0.5), Duration::from_millis(7500));
        assert_eq!(delay(7.0), Duration::from_secs(10));
    }
}
