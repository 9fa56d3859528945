//! What the server says of itself, to anybody.

use serde_json::json;

use super::answer::{Answer, Result};
use super::route::Call;
use super::state::State;

pub(super) const VERSION: &str = "v1.5.1";

pub(super) fn health(_: &mut State, _: &Call) -> Result<Answer> {
    Ok(Answer::text("Server is up and running!!"))
}

pub(super) fn status(_: &mut State, _: &Call) -> Result<Answer> {
    Ok(Answer::bare(&json!({
        "db_connected": true,
        "broker_connected": false,
        "is_broker_conn_open": false,
        "license_error": "",
        "is_pro": false,
        "trial_end_date": "0001-01-01T00:00:00Z",
        "is_on_trial_license": false,
        "deployment_mode": "",
        "version": VERSION,
    })))
}
