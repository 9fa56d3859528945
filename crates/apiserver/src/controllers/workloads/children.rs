//! Which Pods or ReplicaSets belong to a workload: those that it owns; and it takes those that
//! fit and that nobody owns, and lets go those that do not fit any more.

use std::sync::Arc;

use serde_json::Value;

use crate::objects;
use crate::status::Status;

use super::control::{Control, namespace};
use super::pod::{self, Owner};
use super::queue::Key;

/// A child and its key.
pub type Child = (Key, Arc<Value>);

/// The children of a workload, among the objects whose keys begin with `prefix`
/// (`group/resource/`).
///
/// # Errors
/// What the writes say that take children or let them go.
pub async fn claim(
    control: &mut Control,
    key: &Key,
    owner: Owner<'_>,
    prefix: &str,
) -> Result<Vec<Child>, Status> {
    let selector = &owner.object["spec"]["selector"];
    let uid = pod::uid(owner.object).to_owned();
    let fits = |object: &Value| {
        selector.is_object() && objects::selects(selector, &object["metadata"]["labels"])
    };
    // Who goes changes nothing any more about who belongs to it.
    if pod::is_terminating(owner.object) {
        return Ok(control.world.children(&uid));
    }
    let mut children = Vec::new();
    for (child, object) in control.world.children(&uid) {
        if fits(&object) {
            children.push((child, object));
        } else if !pod::is_terminating(&object) {
            control
                .update(&child, None, |object| release(object, &uid))
                .await?;
        }
    }
    let orphans = format!("{prefix}{}/", namespace(key).unwrap_or_default());
    for (orphan, object) in control.world.orphans(&orphans) {
        if !fits(&object) || pod::is_terminating(&object) || pod::is_over(&object) {
            continue;
        }
        let reference = owner.reference();
        control
            .update(&orphan, None, |object| adopt(object, &reference))
            .await?;
        if let Some(object) = control.world.get(&orphan) {
            children.push((orphan, object));
        }
    }
    Ok(children)
}

fn adopt(object: &mut Value, reference: &Value) {
    match object["metadata"]["ownerReferences"].as_array_mut() {
        Some(references) => references.push(reference.clone()),
        None => object["metadata"]["ownerReferences"] = vec![reference.clone()].into(),
    }
}

fn release(object: &mut Value, uid: &str) {
    let Some(metadata) = object["metadata"].as_object_mut() else {
        return;
    };
    if let Some(references) = metadata
        .get_mut("ownerReferences")
        .and_then(Value::as_array_mut)
    {
        references.retain(|reference| reference["uid"] != uid);
        if references.is_empty() {
            metadata.shift_remove("ownerReferences");
        }
    }
}
