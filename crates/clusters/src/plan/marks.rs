//! What rollouts note on a NixosConfiguration, so that another operator can go on with them.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use nico_api::labels::{CHANGING_SINCE, FAILED_ROLLOUT, PREVIOUS_SPEC};
use nico_api::{NixosConfiguration, NixosConfigurationSpec};
use serde::{Deserialize, Serialize};

/// The notes on one configuration. What cannot be read counts as absent: then nothing is gone
/// back to, and nothing waits for it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Marks {
    /// What the machine was seen to run before the rollout.
    pub previous: Option<Box<NixosConfigurationSpec>>,
    /// Since when a rollout has the machine in hand.
    pub changing_since: Option<Timestamp>,
    /// How a rollout failed on the machine.
    pub failure: Option<Failure>,
}

impl Eq for Marks {}

/// How a rollout failed on a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// The rollout, as [`super::rollout::Situation::attempt`] names it.
    pub attempt: String,
    /// What was being done: a step of an apply, `Drain`, or `NodeReady`.
    pub step: String,
    /// What was said.
    pub message: String,
}

impl Marks {
    /// The notes on `configuration`.
    pub fn of(configuration: &NixosConfiguration) -> Self {
        let annotations = configuration.annotations();
        let json = |key| annotations.get(key).map(String::as_str);
        Self {
            previous: json(PREVIOUS_SPEC).and_then(|text| serde_json::from_str(text).ok()),
            changing_since: json(CHANGING_SINCE).and_then(|text| text.parse().ok()),
            failure: json(FAILED_ROLLOUT).and_then(|text| serde_json::from_str(text).ok()),
        }
    }

    /// Writes the notes on `configuration`, in the place of all others.
    pub fn write_on(&self, configuration: &mut NixosConfiguration) {
        let json = |value: Result<String, serde_json::Error>| {
            value.expect("a spec is made of strings and lists of them")
        };
        let notes = [
            (
                PREVIOUS_SPEC,
                self.previous
                    .as_ref()
                    .map(|spec| json(serde_json::to_string(spec))),
            ),
            (
                CHANGING_SINCE,
                self.changing_since.map(|since| since.to_string()),
            ),
            (
                FAILED_ROLLOUT,
                self.failure
                    .as_ref()
                    .map(|failure| json(serde_json::to_string(failure))),
            ),
        ];
        let notes: BTreeMap<String, String> = notes
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value?)))
            .collect();
        configuration.metadata.annotations = (!notes.is_empty()).then_some(notes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut configuration = NixosConfiguration::default();
        let marks = Marks {
            previous: Some(Box::new(NixosConfigurationSpec {
                reference: "a".repeat(40),
                ..NixosConfigurationSpec::default()
            })),
            changing_since: Some(Timestamp::from_second(1000).unwrap()),
            failure: Some(Failure {
                attempt: "x".to_owned(),
                step: "Activate".to_owned(),
                message: "status 4".to_owned(),
            }),
        };
        marks.write_on(&mut configuration);
        assert_eq!(Marks::of(&configuration), marks);
        Marks::default().write_on(&mut configuration);
        assert_eq!(configuration.metadata.annotations, None);
    }

    #[test]
    fn what_cannot_be_read_counts_as_absent() {
        let mut configuration = NixosConfiguration::default();
        for key in [PREVIOUS_SPEC, CHANGING_SINCE, FAILED_ROLLOUT] {
            configuration
                .annotations_mut()
                .insert(key.to_owned(), "{".to_owned());
        }
        assert_eq!(Marks::of(&configuration), Marks::default());
    }
}
