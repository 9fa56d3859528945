//! A certificate that is not issued, or soon not valid.

use crate::detect::{Detector, Found, Scene, words};
use crate::facts::meta::condition;
use crate::facts::platform::Certificate;
use crate::issue::{Layer, ObjectRef, Severity};

pub(super) static DETECTOR: Detector = Detector {
    id: "certificate-not-valid",
    layer: Layer::Platform,
    finds: "A Certificate is not Ready for long, has run out, or should have been renewed and has not.",
    severity: "critical within the critical days or when it has run out, otherwise a warning; not Ready is critical",
    fix: "look at its CertificateRequest and at its issuer",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for certificate in &scene.world.certificates {
        let Some((severity, message, since)) = problem(scene, certificate) else {
            continue;
        };
        let suspects = suspects(scene, certificate);
        found
            .add(severity, certificate.reference(), message)
            .since(since)
            .suspects(suspects);
    }
}

type Problem = (Severity, String, Option<jiff::Timestamp>);

fn problem(scene: &Scene<'_>, certificate: &Certificate) -> Option<Problem> {
    let status = &certificate.status;
    if let Some(end) = status.not_after {
        let left = end.duration_since(scene.now);
        let days = left.as_hours() / 24;
        if left.is_negative() {
            return Some((Severity::Critical, "has run out".to_owned(), Some(end)));
        }
        // One that lives for days only is renewed days before its end: that is not late.
        let is_late = status
            .renewal_time
            .is_none_or(|renewal| scene.age(renewal) > scene.thresholds.certificate_not_ready.0);
        let message = format!("runs out in {} and has not been renewed", words(left));
        if is_late && days <= scene.thresholds.certificate_critical_days {
            return Some((Severity::Critical, message, status.renewal_time));
        }
        if is_late && days <= scene.thresholds.certificate_warning_days {
            return Some((Severity::Warning, message, status.renewal_time));
        }
    }
    let ready = condition(&status.conditions, "Ready");
    let since = ready.map_or(certificate.metadata.creation_timestamp, |ready| {
        ready.last_transition_time
    });
    let is_ready = ready.is_some_and(crate::facts::meta::Condition::is_true);
    if is_ready || !scene.lasts(since, scene.thresholds.certificate_not_ready) {
        return None;
    }
    let why = ready.map_or("cert-manager has not looked at it", |ready| ready.words());
    Some((Severity::Critical, format!("is not issued: {why}"), since))
}

fn suspects(scene: &Scene<'_>, certificate: &Certificate) -> Vec<ObjectRef> {
    let namespace = &certificate.metadata.namespace;
    let issuer = &certificate.spec.issuer_ref;
    let issuer = match issuer.kind.as_str() {
        "ClusterIssuer" => ObjectRef::new("ClusterIssuer", "", &issuer.name),
        _ => ObjectRef::new("Issuer", namespace, &issuer.name),
    };
    // Orders and Challenges are named after the Certificate that they are for.
    let steps = scene.world.challenges.iter().chain(&scene.world.orders);
    let steps = steps.filter(|step| {
        step.metadata.namespace == *namespace
            && step
                .metadata
                .name
                .starts_with(&format!("{}-", certificate.metadata.name))
    });
    std::iter::once(issuer)
        .chain(steps.map(crate::facts::meta::Object::reference))
        .collect()
}
