//! From when on something is worth to be told: the section `health` of `.nico.yaml`.

use std::fmt;

use jiff::SignedDuration;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};

/// From when on something is worth to be told. Durations are written as `90s`, `10m`, `1h30m` or
/// `7d`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Thresholds {
    /// A container that is started again and again.
    pub crash_loop: Span,
    /// Restarts of a Pod's containers, if the last was not long ago.
    pub restarts: u32,
    /// A restart is not long ago.
    pub recent_restart: Span,
    /// A Pod that no Node takes, or whose containers do not start.
    pub pending: Span,
    /// A Pod that is prepared by its Node: volumes, network, images.
    pub starting: Span,
    /// A Pod that runs and is not ready.
    pub not_ready: Span,
    /// A Pod of which nothing is heard: a warning.
    pub unknown_warning: Span,
    /// A Pod of which nothing is heard: critical.
    pub unknown_critical: Span,
    /// What is to be gone and is not.
    pub terminating: Span,
    /// A cordoned Node.
    pub cordoned: Span,
    /// Nodes that run different versions.
    pub upgrade_window: Span,
    /// Nodes whose starts lie this close together started together.
    pub restarted_together: Span,
    /// A Certificate that is not ready.
    pub certificate_not_ready: Span,
    /// Days for which a certificate is still valid: a warning.
    pub certificate_warning_days: i64,
    /// Days for which a certificate is still valid: critical.
    pub certificate_critical_days: i64,
    /// How full a volume is, in percent: a warning.
    pub volume_warning_percent: u64,
    /// How full a volume is, in percent: critical.
    pub volume_critical_percent: u64,
    /// A degraded volume.
    pub volume_degraded: Span,
    /// A volume that is being attached.
    pub volume_attaching: Span,
    /// An object of Flux that says neither that it is ready nor that it is not.
    pub flux_progressing: Span,
    /// What Flux is told to leave alone.
    pub suspended: Span,
    /// Reads of a store of Secrets in a day, for stores that count.
    pub secret_reads_per_day: u64,
    /// Pods that failed and were left behind.
    pub failed_pods: usize,
    /// A Job that failed.
    pub failed_job: Span,
    /// Namespaces on which others depend.
    pub critical_namespaces: Vec<String>,
}

/// A duration, with days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub SignedDuration);

/// A file with thresholds cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("its section `health` cannot be understood: {0}")]
pub struct ThresholdsError(String);

/// The file; other sections belong to others.
#[derive(Default, Deserialize)]
#[serde(default)]
struct File {
    health: Thresholds,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            crash_loop: Span::minutes(2),
            restarts: 10,
            recent_restart: Span::hours(1),
            pending: Span::minutes(2),
            starting: Span::minutes(10),
            not_ready: Span::minutes(5),
            unknown_warning: Span::minutes(10),
            unknown_critical: Span::hours(1),
            terminating: Span::minutes(10),
            cordoned: Span::minutes(30),
            upgrade_window: Span::hours(24),
            restarted_together: Span::minutes(30),
            certificate_not_ready: Span::hours(1),
            certificate_warning_days: 30,
            certificate_critical_days: 7,
            volume_warning_percent: 80,
            volume_critical_percent: 90,
            volume_degraded: Span::minutes(15),
            volume_attaching: Span::minutes(10),
            flux_progressing: Span::minutes(15),
            suspended: Span::hours(7 * 24),
            secret_reads_per_day: 1000,
            failed_pods: 100,
            failed_job: Span::hours(24),
            critical_namespaces: [
                "cert-manager",
                "external-secrets",
                "flux-system",
                "kube-system",
                "network",
            ]
            .map(str::to_owned)
            .to_vec(),
        }
    }
}

impl Thresholds {
    /// The thresholds of a `.nico.yaml`; those that it does not name are as always.
    ///
    /// # Errors
    /// When the section has a field that there is not, or a value that cannot be understood.
    pub fn of_file(text: &str) -> Result<Self, ThresholdsError> {
        let file: Option<File> =
            serde_saphyr::from_str(text).map_err(|error| ThresholdsError(error.to_string()))?;
        Ok(file.unwrap_or_default().health)
    }
}

impl Span {
    const fn minutes(minutes: i64) -> Self {
        Self(SignedDuration::from_mins(minutes))
    }

    const fn hours(hours: i64) -> Self {
        Self(SignedDuration::from_hours(hours))
    }

    fn parse(text: &str) -> Option<Self> {
        if let Some(days) = text.strip_suffix('d') {
            let hours = days.parse::<i64>().ok()?.checked_mul(24)?;
            return (hours >= 0).then(|| Self::hours(hours));
        }
        let duration: kube::core::Duration = text.parse().ok()?;
        if duration.is_negative() {
            return None;
        }
        SignedDuration::try_from(std::time::Duration::from(duration))
            .ok()
            .map(Self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Span;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a duration such as 90s, 10m, 1h30m or 7d")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
                Span::parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_changes_what_it_names_and_other_sections_are_left_to_others() {
        let text =
            "check:\n  anything: [1]\nhealth:\n  pending: 5m\n  suspended: 30d\n  restarts: 3\n";
        let thresholds = Thresholds::of_file(text).expect("it can be read");
        let expected = Thresholds {
            pending: Span::minutes(5),
            suspended: Span::hours(720),
            restarts: 3,
            ..Thresholds::default()
        };
        assert_eq!(thresholds, expected);
        assert_eq!(
            Thresholds::of_file("check: {}").expect("it can be read"),
            Thresholds::default()
        );
        assert_eq!(
            Thresholds::of_file("").expect("it can be read"),
            Thresholds::default()
        );
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_name() {
        for (text, word) in [
            ("health: {pendign: 5m}", "pendign"),
            ("health: {pending: soon}", "soon"),
            ("health: {pending: -5m}", "-5m"),
            ("health: {restarts: -1}", "-1"),
        ] {
            let error = Thresholds::of_file(text)
                .expect_err("it is refused")
                .to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
