//! Installation from scratch: whether there is one, and what must be true of the machine. Pure.
//!
//! It wipes the disk, so it happens once. That it began is written down before it does, and a
//! process that finds such a mark without a success never begins again by itself: it looks
//! whether the machine runs the system, and else says what a person can do.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use nico_api::labels::{FULL_INSTALLATION_APPLIED, REPEAT_FULL_INSTALL};
use nico_api::{Machine, NixosConfiguration, NixosConfigurationStatus};
use serde_json::{Map, Value};

use super::wanted::Purpose;

/// What an attempt does about an installation from scratch.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Installation {
    /// Nothing: the configuration is copied and activated.
    NotWanted,
    /// Begins it.
    Begin,
    /// Only looks how one ended that began before and of which no end is known.
    FindOut {
        /// When it began.
        began: Time,
    },
}

/// Why a machine is not installed from scratch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// The facts that were recorded are those of another machine.
    #[error(
        "the machine at this address is not the recorded one: its system.uuid is {seen}, and {recorded} was recorded; correct the address; if the mainboard was replaced, delete the Machine and make it again"
    )]
    OtherMachine {
        /// What the machine says now.
        seen: String,
        /// What the Machine's facts say.
        recorded: String,
    },
    /// The installer runs from memory.
    #[error(
        "the machine has {has} MB of memory; the installer runs from memory and needs {MEMORY_MB} MB"
    )]
    TooLittleMemory {
        /// Memory in MB.
        has: u64,
    },
    /// There is nothing to install to.
    #[error(
        "the machine has no disk that could be installed to; look whether its driver is loaded"
    )]
    NoDisk,
}

/// What nixos-anywhere asks for, in MB.
const MEMORY_MB: u64 = 1000;

/// Decides by what is known of configuration and machine. `status` is what is known of this
/// configuration on this machine.
///
/// What was applied already is never wiped, however it came there: whoever wants that deletes
/// the configuration and makes a new one.
pub(super) fn decide(
    configuration: &NixosConfiguration,
    machine: &Machine,
    status: &NixosConfigurationStatus,
    purpose: Purpose,
) -> Installation {
    let is_installed = status.full_disk_install_completed == Some(true)
        || status.applied_commit.is_some()
        || machine
            .annotations()
            .contains_key(FULL_INSTALLATION_APPLIED);
    if purpose != Purpose::Install || !configuration.spec.full_install || is_installed {
        return Installation::NotWanted;
    }
    match &status.full_install_started_time {
        None => Installation::Begin,
        Some(began) if repeat_wish(configuration) == Some(written(began).as_str()) => {
            Installation::Begin
        }
        Some(began) => Installation::FindOut {
            began: began.clone(),
        },
    }
}

/// The value by which a user asks for another installation.
pub(super) fn repeat_wish(configuration: &NixosConfiguration) -> Option<&str> {
    let annotations = configuration.metadata.annotations.as_ref()?;
    annotations
        .get(REPEAT_FULL_INSTALL)
        .map(|value| value.trim())
}

/// What a person can do about an installation that began and did not end well.
pub(super) fn way_out(began: &Time) -> String {
    format!(
        "look at the console of the machine; to wipe its disk and install again, annotate this \
         object with {REPEAT_FULL_INSTALL}={}; if NixOS is on it, set spec.fullInstall to false",
        written(began)
    )
}

/// A time as it stands in the status.
pub(super) fn written(time: &Time) -> String {
    match serde_json::to_value(time) {
        Ok(Value::String(text)) => text,
        _ => String::new(),
    }
}

/// Looks at `facts` that were gathered just now. Gives what will be installed to, for people.
///
/// # Errors
/// [`Refusal`].
pub(super) fn preflight(machine: &Machine, facts: &Map<String, Value>) -> Result<String, Refusal> {
    let now = |group: &str, name: &str| facts.get(group)?.get(name);
    let recorded = machine.fact("system.uuid").and_then(Value::as_str);
    let seen = now("system", "uuid").and_then(Value::as_str);
    if let (Some(recorded), Some(seen)) = (recorded, seen)
        && !recorded.eq_ignore_ascii_case(seen)
    {
        return Err(Refusal::OtherMachine {
            seen: seen.to_owned(),
            recorded: recorded.to_owned(),
        });
    }
    let memory = now("memory", "mb").and_then(Value::as_u64);
    if let Some(has) = memory.filter(|has| *has < MEMORY_MB) {
        return Err(Refusal::TooLittleMemory { has });
    }
    let disks: Vec<String> = now("storage", "disks")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(describe_disk)
        .collect();
    if disks.is_empty() {
        return Err(Refusal::NoDisk);
    }
    let memory = memory.map_or_else(|| "unknown".to_owned(), |mb| format!("{mb} MB"));
    Ok(format!("memory {memory}, disks {}", disks.join(", ")))
}

fn describe_disk(disk: &Value) -> String {
    const GB: u64 = 1_000_000_000;
    let text = |name: &str| disk.get(name).and_then(Value::as_str);
    let mut words = vec![text("name").unwrap_or("?").to_owned()];
    if let Some(bytes) = disk.get("sizeBytes").and_then(Value::as_u64) {
        words.push(format!("{} GB", bytes / GB));
    }
    words.extend(text("model").map(str::to_owned));
    words.extend(text("serial").map(|serial| format!("serial {serial}")));
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;
    use nico_api::MachineStatus;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn wanted() -> NixosConfiguration {
        let mut configuration = NixosConfiguration::default();
        configuration.spec.full_install = true;
        configuration
    }

    fn began() -> Time {
        Time(Timestamp::from_second(1_700_000_000).unwrap())
    }

    fn interrupted() -> NixosConfigurationStatus {
        NixosConfigurationStatus {
            full_install_started_time: Some(began()),
            ..NixosConfigurationStatus::default()
        }
    }

    fn decided(
        configuration: &NixosConfiguration,
        status: &NixosConfigurationStatus,
    ) -> Installation {
        decide(configuration, &Machine::default(), status, Purpose::Install)
    }

    #[test]
    fn it_happens_only_where_the_spec_asks_for_it_and_not_on_removal() {
        let fresh = NixosConfigurationStatus::default();
        assert_eq!(decided(&wanted(), &fresh), Installation::Begin);
        assert_eq!(
            decided(&NixosConfiguration::default(), &fresh),
            Installation::NotWanted
        );
        let removal = decide(&wanted(), &Machine::default(), &fresh, Purpose::Remove);
        assert_eq!(removal, Installation::NotWanted);
    }

    #[test]
    fn a_machine_that_was_installed_or_configured_is_never_wiped() {
        let completed = NixosConfigurationStatus {
            full_disk_install_completed: Some(true),
            ..interrupted()
        };
        assert_eq!(decided(&wanted(), &completed), Installation::NotWanted);
        let applied = NixosConfigurationStatus {
            applied_commit: Some("a".repeat(40)),
            ..NixosConfigurationStatus::default()
        };
        assert_eq!(decided(&wanted(), &applied), Installation::NotWanted);
        let mut machine = Machine::default();
        let mark = (FULL_INSTALLATION_APPLIED.to_owned(), "web".to_owned());
        machine.metadata.annotations = Some([mark].into());
        let fresh = NixosConfigurationStatus::default();
        let decided = decide(&wanted(), &machine, &fresh, Purpose::Install);
        assert_eq!(decided, Installation::NotWanted);
    }

    #[test]
    fn one_that_began_is_repeated_only_for_the_annotation_that_names_it() {
        let look = Installation::FindOut { began: began() };
        assert_eq!(decided(&wanted(), &interrupted()), look);
        let annotated = |value: &str| {
            let mut configuration = wanted();
            let wish = (REPEAT_FULL_INSTALL.to_owned(), value.to_owned());
            configuration.metadata.annotations = Some([wish].into());
            configuration
        };
        let wish = annotated("2023-11-14T22:13:20Z");
        assert_eq!(decided(&wish, &interrupted()), Installation::Begin);
        for other in ["true", "", "2023-11-14T22:13:21Z"] {
            assert_eq!(decided(&annotated(other), &interrupted()), look, "{other}");
        }
        // The wish is used up by the installation that it brings about.
        let again = NixosConfigurationStatus {
            full_install_started_time: Some(Time(Timestamp::from_second(1_700_000_900).unwrap())),
            ..NixosConfigurationStatus::default()
        };
        assert!(matches!(
            decided(&wish, &again),
            Installation::FindOut { .. }
        ));
        assert!(way_out(&began()).contains("repeat-full-install=2023-11-14T22:13:20Z"));
    }

    proptest! {
        #[test]
        fn no_status_with_a_mark_begins_one_without_the_wish(
            completed in any::<Option<bool>>(), applied in any::<bool>(), second in 0_i64..4_000_000_000,
        ) {
            let status = NixosConfigurationStatus {
                full_disk_install_completed: completed,
                applied_commit: applied.then(|| "a".repeat(40)),
                full_install_started_time: Some(Time(Timestamp::from_second(second).unwrap())),
                ..NixosConfigurationStatus::default()
            };
            prop_assert_ne!(decided(&wanted(), &status), Installation::Begin);
        }
    }

    fn recorded(facts: &Value) -> Machine {
        let status = MachineStatus {
            hardware_facts: facts.as_object().cloned(),
            ..MachineStatus::default()
        };
        Machine {
            status: Some(status),
            ..Machine::default()
        }
    }

    fn flight(machine: &Machine, facts: &Value) -> Result<String, Refusal> {
        preflight(machine, facts.as_object().unwrap())
    }

    fn good() -> Value {
        json!({
            "system": {"uuid": "AA-1"}, "memory": {"mb": 2000},
            "storage": {"disks": [
                {"name": "nvme0n1", "sizeBytes": 512_110_190_592_u64, "model": "Samsung", "serial": "S6"},
                {"name": "vda"},
            ]},
        })
    }

    #[test]
    fn another_machine_at_the_address_is_refused_and_an_unknown_one_is_not() {
        let machine = recorded(&json!({"system": {"uuid": "bb-2"}}));
        let refusal = flight(&machine, &good()).unwrap_err();
        assert!(matches!(refusal, Refusal::OtherMachine { .. }), "{refusal}");
        let same = recorded(&json!({"system": {"uuid": "aa-1"}}));
        assert!(flight(&same, &good()).is_ok());
        assert!(flight(&Machine::default(), &good()).is_ok());
    }

    #[test]
    fn too_little_memory_and_no_disk_are_refused() {
        let machine = Machine::default();
        let mut facts = good();
        facts["memory"]["mb"] = json!(512);
        let refusal = flight(&machine, &facts).unwrap_err();
        assert_eq!(refusal, Refusal::TooLittleMemory { has: 512 });
        let mut facts = good();
        facts["storage"] = json!({});
        assert_eq!(flight(&machine, &facts), Err(Refusal::NoDisk));
    }

    #[test]
    fn the_disks_are_listed_for_people() {
        assert_eq!(
            flight(&Machine::default(), &good()).unwrap(),
            "memory 2000 MB, disks nvme0n1 512 GB Samsung serial S6, vda"
        );
    }
}
