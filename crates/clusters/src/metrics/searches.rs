//! Since when planes are without all their machines. A process that starts begins anew.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::jiff::Timestamp;

use super::OfRole;

/// Since when each plane is without all its machines.
#[derive(Clone, Debug, Default)]
pub(super) struct Searches(Arc<Mutex<HashMap<OfRole, Timestamp>>>);

impl Searches {
    /// Notes whether a plane is complete; gives for how many seconds it was not, once it is.
    pub(super) fn note(&self, plane: &OfRole, is_complete: bool, now: Timestamp) -> Option<f64> {
        let mut searches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_complete {
            searches.entry(plane.clone()).or_insert(now);
            return None;
        }
        let since = searches.remove(plane)?;
        Some(now.duration_since(since).as_secs_f64().max(0.0))
    }

    pub(super) fn forget(&self, plane: &OfRole) {
        let mut searches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        searches.remove(plane);
    }
}
