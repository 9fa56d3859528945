//! The API server says that a part of it is not ready.

use crate::detect::{Detector, Found, Scene};
use crate::issue::{Layer, ObjectRef};

pub(super) static DETECTOR: Detector = Detector {
    id: "api-server-not-ready",
    layer: Layer::ApiServer,
    finds: "The API server's own checks (`/readyz`) fail, etcd's among them.",
    severity: "critical",
    fix: "look at the API server's log, and for etcd at its members, disk and alarms",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    let Some(Ok(checks)) = &scene.world.checks else {
        return;
    };
    for check in checks {
        let Some(check) = check.strip_prefix("[-]") else {
            continue;
        };
        let name = check.split_whitespace().next().unwrap_or(check);
        let object = ObjectRef::new("APIServer", "", name);
        found.critical(object, format!("the API server is not ready: {check}"));
    }
}
