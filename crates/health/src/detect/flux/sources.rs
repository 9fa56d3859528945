//! A source that cannot be fetched.

use super::words::{failure, story, suspects};
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
    for object in scene.index.all_flux() {
        let reference = object.reference();
        let is_source = !matches!(reference.kind.as_str(), "Kustomization" | "HelmRelease");
        let Some(ready) = failure(object).filter(|_| is_source) else {
            continue;
        };
        let story = story(object);
        let suspects = suspects(scene, object, &story);
        let fix = fix(&story);
        let issue = found.critical(reference, format!("cannot be fetched: {story}"));
        issue.since(ready.last_transition_time).suspects(suspects);
        if let Some(fix) = fix {
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
