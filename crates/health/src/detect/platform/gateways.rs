//! A Gateway that is accepted and does not serve.

use crate::detect::{Detector, Found, Scene};
use crate::facts::meta::condition;
use crate::facts::network::Gateway;
use crate::issue::Layer;

pub(super) static DETECTOR: Detector = Detector {
    id: "gateway-not-serving",
    layer: Layer::Platform,
    finds: "A Gateway is not accepted or not programmed, or a listener cannot resolve its references.",
    severity: "critical",
    fix: "see that the listener's Secret exists, that no other Gateway has its port, and that its controller runs",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for gateway in &scene.world.gateways {
        if !scene.lasts(
            gateway.metadata.creation_timestamp,
            scene.thresholds.pending,
        ) {
            continue;
        }
        if let Some((message, since)) = problem(gateway) {
            found
                .critical(gateway.reference(), message)
                .since(since)
                .suspects(certificates(scene, gateway));
        }
    }
}

fn problem(gateway: &Gateway) -> Option<(String, Option<jiff::Timestamp>)> {
    let status = &gateway.status;
    for kind in ["Accepted", "Programmed"] {
        match condition(&status.conditions, kind) {
            Some(one) if one.is_true() => {}
            Some(one) => {
                return Some((
                    format!("is not {kind}: {}", one.words()),
                    one.last_transition_time,
                ));
            }
            None => return Some((format!("nobody says that it is {kind}"), None)),
        }
    }
    status.listeners.iter().find_map(|listener| {
        let one = condition(&listener.conditions, "ResolvedRefs").filter(|one| one.is_false())?;
        let message = format!("listener {} does not serve: {}", listener.name, one.words());
        Some((message, one.last_transition_time))
    })
}

/// Certificates of the Gateway's namespace that its listeners may be waiting for.
fn certificates(scene: &Scene<'_>, gateway: &Gateway) -> Vec<crate::issue::ObjectRef> {
    let said: String = gateway
        .status
        .listeners
        .iter()
        .flat_map(|listener| &listener.conditions)
        .map(crate::facts::meta::Condition::words)
        .collect();
    let certificates = scene.world.certificates.iter();
    let named = certificates
        .filter(|one| !one.spec.secret_name.is_empty() && said.contains(&one.spec.secret_name));
    named.map(crate::facts::meta::Object::reference).collect()
}
