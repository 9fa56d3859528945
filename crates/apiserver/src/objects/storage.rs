//! Rules of volumes: claims to them, their classes and drivers.

use std::cmp::Ordering;

use serde_json::{Value, json};

use crate::status::Cause;

use super::quantity;
use super::values::{fields, items, set_default, text};

const ACCESS_MODES: &[&str] = &[
    "ReadOnlyMany",
    "ReadWriteMany",
    "ReadWriteOnce",
    "ReadWriteOncePod",
];
const VOLUME_MODES: &[&str] = &["Block", "Filesystem"];
const RECLAIM_POLICIES: &[&str] = &["Delete", "Recycle", "Retain"];
const CLASS_RECLAIM_POLICIES: &[&str] = &["Delete", "Retain"];
const BINDING_MODES: &[&str] = &["Immediate", "WaitForFirstConsumer"];
/// The fields of a volume's spec that say nothing about where it is.
const NOT_A_SOURCE: &[&str] = &[
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
];

/// A volume is a file system and outlives its claim.
pub fn volume_defaults(volume: &mut Value) {
    set_default(volume, "spec", json!({}));
    let spec = &mut volume["spec"];
    set_default(spec, "volumeMode", "Filesystem".into());
    set_default(spec, "persistentVolumeReclaimPolicy", "Retain".into());
    if spec["hostPath"].is_object() {
        set_default(&mut spec["hostPath"], "type", "".into());
    }
}

/// A claim is to a file system.
pub fn claim_defaults(claim: &mut Value) {
    set_default(claim, "spec", json!({}));
    let spec = &mut claim["spec"];
    set_default(spec, "volumeMode", "Filesystem".into());
    set_default(spec, "resources", json!({}));
}

/// A claim in a StatefulSet names its kind and waits to be made.
pub fn claim_template_defaults(claim: &mut Value) {
    set_default(claim, "apiVersion", "v1".into());
    set_default(claim, "kind", "PersistentVolumeClaim".into());
    claim_defaults(claim);
    set_default(claim, "status", json!({"phase": "Pending"}));
}

/// Volumes of a class are made at once and deleted with their claim.
pub fn class_defaults(class: &mut Value) {
    set_default(class, "reclaimPolicy", "Delete".into());
    set_default(class, "volumeBindingMode", "Immediate".into());
}

/// What a driver needs of the cluster unless it says otherwise.
pub fn driver_defaults(driver: &mut Value) {
    let spec = &mut driver["spec"];
    for (field, value) in [
        ("attachRequired", json!(true)),
        ("podInfoOnMount", json!(false)),
        ("storageCapacity", json!(false)),
        ("fsGroupPolicy", json!("ReadWriteOnceWithFSType")),
        ("volumeLifecycleModes", json!(["Persistent"])),
        ("requiresRepublish", json!(false)),
        ("seLinuxMount", json!(false)),
    ] {
        set_default(spec, field, value);
    }
}

/// A volume says how much, how and where.
pub fn validate_volume(volume: &Value) -> Vec<Cause> {
    let spec = &volume["spec"];
    let mut causes = Vec::new();
    if items(&spec["accessModes"]).next().is_none() {
        causes.push(Cause::required("spec.accessModes", ""));
    }
    if fields(&spec["capacity"]).next().is_none() {
        causes.push(Cause::required("spec.capacity", ""));
    } else if spec["capacity"].get("storage").is_none() {
        let known: Vec<&String> = fields(&spec["capacity"]).map(|(name, _)| name).collect();
        let value = json!(known);
        causes.push(Cause::not_supported("spec.capacity", &value, &["storage"]));
    }
    let mut sources = fields(spec).filter(|(name, _)| !NOT_A_SOURCE.contains(&name.as_str()));
    if sources.next().is_none() {
        causes.push(Cause::required("spec", "must specify a volume type"));
    }
    for (name, _) in sources {
        let why = "may not specify more than 1 volume type";
        causes.push(Cause::forbidden(format!("spec.{name}"), why));
    }
    let policy = &spec["persistentVolumeReclaimPolicy"];
    if !RECLAIM_POLICIES.contains(&text(policy)) {
        let field = "spec.persistentVolumeReclaimPolicy";
        causes.push(Cause::not_supported(field, policy, RECLAIM_POLICIES));
    }
    causes
}

/// A claim says how and how much.
pub fn validate_claim(claim: &Value) -> Vec<Cause> {
    let spec = &claim["spec"];
    let mut causes = Vec::new();
    if items(&spec["accessModes"]).next().is_none() {
        let why = "at least 1 access mode is required";
        causes.push(Cause::required("spec.accessModes", why));
    }
    for mode in items(&spec["accessModes"]) {
        if !ACCESS_MODES.contains(&text(mode)) {
            causes.push(Cause::not_supported("spec.accessModes", mode, ACCESS_MODES));
        }
    }
    let mode = &spec["volumeMode"];
    if !mode.is_null() && !VOLUME_MODES.contains(&text(mode)) {
        causes.push(Cause::not_supported("spec.volumeMode", mode, VOLUME_MODES));
    }
    match spec["resources"]["requests"].get("storage") {
        None => causes.push(Cause::required("spec.resources[storage]", "")),
        Some(size) if quantity::compare(text(size), "0").is_some_and(Ordering::is_le) => {
            let why = "must be greater than zero";
            causes.push(Cause::invalid("spec.resources[storage]", size, why));
        }
        Some(_) => {}
    }
    causes
}

/// A claim that has its volume may ask for more of it; whoever binds it names the volume.
pub fn validate_claim_update(claim: &Value, old: &Value) -> Vec<Cause> {
    let is_bound = old["status"]["phase"] == "Bound";
    let fixed = |claim: &Value| {
        let mut spec = claim["spec"].clone();
        if is_bound {
            spec["resources"]["requests"] = Value::Null;
        }
        if is_bound || old["spec"]["volumeName"].is_null() {
            spec["volumeName"] = Value::Null;
        }
        spec["volumeAttributesClassName"] = Value::Null;
        spec
    };
    if fixed(claim) == fixed(old) {
        return Vec::new();
    }
    let why = "spec is immutable after creation except resources.requests and \
               volumeAttributesClassName for bound claims";
    vec![Cause::forbidden("spec", why)]
}

/// A class has a driver.
pub fn validate_class(class: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    if text(&class["provisioner"]).is_empty() {
        causes.push(Cause::required("provisioner", ""));
    }
    for (field, known) in [
        ("reclaimPolicy", CLASS_RECLAIM_POLICIES),
        ("volumeBindingMode", BINDING_MODES),
    ] {
        if !known.contains(&text(&class[field])) {
            causes.push(Cause::not_supported(field, &class[field], known));
        }
    }
    causes
}

/// Volumes of one class are alike, whenever they were made.
pub fn validate_class_update(class: &Value, old: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    for field in ["parameters", "provisioner", "reclaimPolicy"] {
        if class[field] != old[field] {
            let why = format!("updates to {field} are forbidden.");
            causes.push(Cause::forbidden(field, why));
        }
    }
    let mode = &class["volumeBindingMode"];
    if *mode != old["volumeBindingMode"] {
        let why = "field is immutable";
        causes.push(Cause::invalid("volumeBindingMode", mode, why));
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(causes: &[Cause]) -> Vec<&str> {
        causes.iter().map(|cause| cause.field.as_str()).collect()
    }

    #[test]
    fn a_volume_has_one_source() {
        let volume = |spec: Value| {
            let mut volume = json!({"spec": spec});
            volume_defaults(&mut volume);
            volume
        };
        assert_eq!(
            found(&validate_volume(&volume(json!({})))),
            ["spec.accessModes", "spec.capacity", "spec"]
        );
        let two = json!({
            "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"},
            "hostPath": {"path": "/a"}, "nfs": {"path": "/b", "server": "c"},
        });
        let volume = volume(two);
        assert_eq!(volume["spec"]["hostPath"]["type"], "");
        assert_eq!(found(&validate_volume(&volume)), ["spec.nfs"]);
    }

    #[test]
    fn a_claim_is_to_something_that_volumes_have() {
        let claim = |modes: &[&str], size: &str, mode: &str| {
            json!({"spec": {"accessModes": modes, "volumeMode": mode,
                "resources": {"requests": {"storage": size}}}})
        };
        let good = claim(&["ReadWriteOnce"], "1Gi", "Block");
        assert!(validate_claim(&good).is_empty());
        assert_eq!(
            found(&validate_claim(&claim(&["Sometimes"], "0", "Tape"))),
            [
                "spec.accessModes",
                "spec.volumeMode",
                "spec.resources[storage]"
            ]
        );
    }

    #[test]
    fn only_a_bound_claim_may_grow() {
        let claim = |phase: &str, volume: Value, storage: &str| {
            json!({"status": {"phase": phase}, "spec": {
                "volumeName": volume, "resources": {"requests": {"storage": storage}}}})
        };
        for (old, new, is_good) in [
            (("Pending", Value::Null, "1Gi"), (json!("pv"), "1Gi"), true),
            (("Pending", Value::Null, "1Gi"), (Value::Null, "2Gi"), false),
            (("Bound", json!("pv"), "1Gi"), (json!("pv"), "2Gi"), true),
        ] {
            let old = claim(old.0, old.1, old.2);
            let new = claim("Bound", new.0, new.1);
            let causes = validate_claim_update(&new, &old);
            assert_eq!(causes.is_empty(), is_good, "{old} {new}");
        }
    }

    #[test]
    fn a_class_does_not_change() {
        let mut old = json!({"provisioner": "p", "parameters": {"a": "b"}});
        class_defaults(&mut old);
        assert!(validate_class(&old).is_empty());
        assert!(validate_class_update(&old, &old).is_empty());
        let mut new = old.clone();
        new["parameters"] = json!({});
        new["volumeBindingMode"] = "WaitForFirstConsumer".into();
        assert_eq!(
            found(&validate_class_update(&new, &old)),
            ["parameters", "volumeBindingMode"]
        );
        assert_eq!(
            found(&validate_class(&json!({"reclaimPolicy": "Recycle"}))),
            ["provisioner", "reclaimPolicy", "volumeBindingMode"]
        );
    }
}
