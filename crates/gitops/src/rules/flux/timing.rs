//! Time: how often a Kustomization is looked at, and how long it may take.

use std::time::Duration;

use crate::duration;
use crate::finding::{Finding, Severity};
use crate::graph::Kustomization;
use crate::rules::{Context, Rule};
use crate::settings::Settings;
use crate::yaml::Node;

/// A timeout that is missing or does not fit.
pub static FLX009: Rule = Rule {
    id: "FLX009",
    title: "a Kustomization has a timeout between 30 seconds and its interval",
    severity: Severity::Warning,
    consequence: "without a timeout, a failed apply holds the Kustomization nearly as long as its interval",
    fix: "set `timeout`, for most 5m",
    page: include_str!("../pages/FLX009.md"),
};

/// An interval that does not fit its namespace.
pub static FLX012: Rule = Rule {
    id: "FLX012",
    title: "the interval of a Kustomization is that of its tier",
    severity: Severity::Warning,
    consequence: "what changes in the cluster by itself is put right too late, or the API server is asked too often",
    fix: "set an interval of the tier",
    page: include_str!("../pages/FLX012.md"),
};

/// A long interval without an interval for retries.
pub static FLX013: Rule = Rule {
    id: "FLX013",
    title: "a Kustomization with an interval of half an hour or more says when it tries again",
    severity: Severity::Warning,
    consequence: "after a failure, nothing is tried again for the whole interval",
    fix: "set `retryInterval`, such as 2m",
    page: include_str!("../pages/FLX013.md"),
};

/// What breaks the rules of this module.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for kustomization in context.graph.kustomizations.values() {
        findings.extend(timeout(kustomization));
        findings.extend(tier(context.settings, kustomization));
        findings.extend(retries(kustomization));
    }
    findings
}

fn timeout(kustomization: &Kustomization) -> Option<Finding> {
    let object = &kustomization.object;
    let Some(node) = kustomization.spec("timeout") else {
        let message = "the Kustomization has no `timeout`";
        return Some(Finding::new(&FLX009, object.spec_at(), message).about(object));
    };
    let timeout = read(node)?;
    let too_short = timeout < Duration::from_secs(30);
    let interval = kustomization.spec("interval").and_then(read);
    let too_long = interval.is_some_and(|interval| timeout >= interval);
    let written = node.text().unwrap_or_default();
    let (message, consequence) = if too_short {
        (
            format!("the timeout {written} is shorter than 30 seconds"),
            "the apply is broken off before the API server has taken everything",
        )
    } else if too_long {
        (
            format!("the timeout {written} is not shorter than the interval"),
            "one apply is still going on when the next one is due",
        )
    } else {
        return None;
    };
    let finding = Finding::new(&FLX009, node.at, message).about(object);
    Some(finding.consequence(consequence))
}

fn tier(settings: &Settings, kustomization: &Kustomization) -> Option<Finding> {
    let object = &kustomization.object;
    let node = kustomization.spec("interval")?;
    let interval = read(node)?;
    let mut tiers = settings.tiers.iter();
    let tier = tiers.find(|tier| {
        tier.namespaces
            .iter()
            .any(|known| known == object.namespace())
    })?;
    let (least, most) = (tier.at_least, tier.at_most);
    let message = format!(
        "the interval {} is not that of the tier {:?}: {} to {}",
        node.text().unwrap_or_default(),
        tier.name,
        text(least),
        text(most)
    );
    let fits = (least..=most).contains(&interval);
    (!fits).then(|| Finding::new(&FLX012, node.at, message).about(object))
}

fn retries(kustomization: &Kustomization) -> Option<Finding> {
    let object = &kustomization.object;
    let node = kustomization.spec("interval")?;
    let is_long = read(node)? >= Duration::from_secs(30 * 60);
    let is_missing = is_long && kustomization.spec("retryInterval").is_none();
    let message = format!(
        "the interval is {}, and there is no `retryInterval`",
        node.text().unwrap_or_default()
    );
    is_missing.then(|| Finding::new(&FLX013, node.at, message).about(object))
}

fn read(node: &Node) -> Option<Duration> {
    duration::parse(node.text()?)
}

fn text(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => "0s".to_owned(),
        _ if seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
        _ if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}
