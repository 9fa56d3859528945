//! Waiting for conditions, with deadlines far beyond what is usual.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::Api;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Far more than anything takes: what is not there by then does not come.
const DEADLINE: Duration = Duration::from_secs(120);

/// Between two looks.
const PERIOD: Duration = Duration::from_millis(100);

/// Looks until `look` gives something.
///
/// # Errors
/// When it gave nothing for two minutes; the last error of `look`, if it had one.
pub async fn eventually<T>(
    what: &str,
    mut look: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let end = Instant::now() + DEADLINE;
    loop {
        let seen = look().await;
        if let Ok(Some(value)) = seen {
            return Ok(value);
        }
        if Instant::now() > end {
            return match seen {
                Err(error) => Err(error.context(format!("waited for: {what}"))),
                Ok(_) => bail!("waited {} s for: {what}", DEADLINE.as_secs()),
            };
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// Waits until an object has the condition with that status, and gives the condition.
///
/// # Errors
/// When it does not come; the message has the conditions that are there.
pub async fn condition<K>(api: &Api<K>, name: &str, kind: &str, status: &str) -> Result<Condition>
where
    K: Clone + Debug + DeserializeOwned + Serialize,
{
    let what = format!("{kind}={status} on {name}");
    wait(api, name, &what, |condition| {
        condition.type_ == kind && condition.status == status
    })
    .await
}

/// Waits until a condition of an object has that reason, and gives the condition.
///
/// # Errors
/// When it does not come; the message has the conditions that are there.
pub async fn reason<K>(api: &Api<K>, name: &str, kind: &str, reason: &str) -> Result<Condition>
where
    K: Clone + Debug + DeserializeOwned + Serialize,
{
    let what = format!("{kind} for the reason {reason} on {name}");
    wait(api, name, &what, |condition| {
        condition.type_ == kind && condition.reason == reason
    })
    .await
}

async fn wait<K>(
    api: &Api<K>,
    name: &str,
    what: &str,
    is_wanted: impl Fn(&Condition) -> bool,
) -> Result<Condition>
where
    K: Clone + Debug + DeserializeOwned + Serialize,
{
    let mut last = Value::Null;
    let found = eventually(what, async || {
        let Some(object) = api.get_opt(name).await? else {
            return Ok(None);
        };
        last = serde_json::to_value(&object)?["status"]["conditions"].take();
        let conditions: Vec<Condition> = serde_json::from_value(last.clone()).unwrap_or_default();
        Ok(conditions.into_iter().find(&is_wanted))
    })
    .await;
    found.map_err(|error| error.context(format!("the conditions of {name} are {last:#}")))
}
