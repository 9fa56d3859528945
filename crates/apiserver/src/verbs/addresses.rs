//! Addresses and node ports of Services, which no two have at once.

use serde_json::Value;
use tokio::sync::MutexGuard;

use crate::api::{self, Api};
use crate::objects::{NotAssigned, Taken, assign_addresses};
use crate::registry::Kind;
use crate::status::Status;

/// Held until a Service is written: nobody else is given what it was given.
pub type Reserved<'a> = Option<MutexGuard<'a, ()>>;

/// Gives a Service what it needs; does nothing to other kinds. `old` is what it was before an
/// update.
///
/// # Errors
/// 422 if it asks for what it cannot have, 500 if nothing is free.
pub async fn reserve<'a>(
    api: &'a Api,
    kind: &Kind,
    service: &mut Value,
    old: Option<&Value>,
) -> Result<Reserved<'a>, Status> {
    if !kind.is("", "Service") {
        return Ok(None);
    }
    let reserved = api.addresses.lock().await;
    let prefix = kind.storage_prefix();
    let listed = api.storage.list(&prefix, None, None, None);
    let stored = listed.await.map_err(|error| api::storage_failed(&error))?;
    let uid = service["metadata"]["uid"].clone();
    let mut taken = Taken::default();
    for entry in &stored.entries {
        let other: Value = serde_json::from_slice(&entry.value).unwrap_or_default();
        if other["metadata"]["uid"] != uid {
            taken.add(&other);
        }
    }
    match assign_addresses(service, old, &mut taken, rand::random()) {
        Ok(()) => Ok(Some(reserved)),
        Err(NotAssigned::Refused(cause)) => {
            let name = service["metadata"]["name"].as_str().unwrap_or_default();
            Err(Status::invalid(kind.kind_name(), name, vec![cause]))
        }
        Err(NotAssigned::Full(what)) => Err(Status::internal(format!("{what}: range is full"))),
    }
}
