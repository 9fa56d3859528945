//! A source that cannot be fetched.

use super::failure::{Failure, failures};
use crate::detect::{Detector, Found, Scene};
use crate::issue::Layer;

pub(super) static DETECTOR: Detector = Detector {
    id: "source-not-ready",
    layer: Layer::Flux,
    finds: "A GitRepository, OCIRepository, HelmRepository, HelmChart or Bucket cannot be fetched. What was fetched before stays applied.",
    severity: "critical",
    fix: "look at the source's URL, reference and credentials",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for failure in failures(scene).filter(Failure::is_of_a_source) {
        let issue = failure.issue(found, "cannot be fetched");
        issue.suspects(failure.suspects(scene));
        if let Some(fix) = fix(&failure.story) {
            issue.fix(fix);
        }
    }
}

/// What to do about a failure that is known.
fn fix(story: &str) -> Option<&'static str> {
    const KNOWN: &[(&[&str], &str)] = &[
        (
            &[
                "authentication required",
                "ssh: handshake",
                "unauthorized",
                "401",
                "403",
                "denied",
            ],
            "renew the credentials in the Secret that the source names",
        ),
        (
            &[
                "manifest unknown",
                "no chart version",
                "no chart name",
                "not found",
                "404",
                "no match found for semver",
            ],
            "name a version, tag or path that exists",
        ),
        (
            &["x509", "certificate"],
            "trust the server's authority (spec.certSecretRef), or renew the server's certificate",
        ),
        (
            &["no such host", ":53"],
            "see that the cluster can resolve the name",
        ),
    ];
    let known = KNOWN
        .iter()
        .find(|(words, _)| words.iter().any(|word| story.contains(word)));
    known.map(|(_, fix)| *fix)
}
