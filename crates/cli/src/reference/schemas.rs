//! The JSON Schemas of what commands print with `--output json`, or `--format json`.

use nico_clusters::report::preview::PlanReport;
use nico_clusters::report::status::StatusReport;
use nico_gitops::report::Output;

/// Each with the name of its file.
pub(super) fn pages() -> anyhow::Result<Vec<(&'static str, String)>> {
    [
        ("status.schema.json", schemars::schema_for!(StatusReport)),
        ("plan.schema.json", schemars::schema_for!(PlanReport)),
        ("check.schema.json", schemars::schema_for!(Output<'_>)),
    ]
    .into_iter()
    .map(|(file, schema)| {
        Ok((
            file,
            format!("{}\n", serde_json::to_string_pretty(&schema)?),
        ))
    })
    .collect()
}
