//! Whether a host still runs what was applied, as its facts say. Pure: the probe of the machine
//! brings the facts anyhow, so that this costs the host nothing.

use nico_api::nixos_configuration::ActivationAction;
use nico_api::{Machine, NixosConfigurationStatus};
use serde_json::Value;

/// What the host runs instead of what was applied; `None` when nothing is known to differ.
pub(super) fn of(
    status: &NixosConfigurationStatus,
    machine: &Machine,
    action: ActivationAction,
) -> Option<String> {
    let applied_at = status.last_applied_time.as_ref()?;
    let scanned_at = machine.status.as_ref()?.last_hardware_scan_time.as_ref()?;
    if scanned_at.0 <= applied_at.0 {
        return None;
    }
    match action {
        ActivationAction::Switch | ActivationAction::Test => {
            let applied = status.system_path.as_deref()?;
            let current = text(machine, "nixos.currentSystem")?;
            (current != applied).then(|| {
                format!(
                    "the machine runs {current} instead of {applied}, which was applied; somebody \
                     changed it by hand, or booted another generation; it is put back"
                )
            })
        }
        // What runs is not what was applied before the next boot.
        ActivationAction::Boot => {
            let applied = status.generation?;
            let current = machine.fact("nixos.generation").and_then(Value::as_i64)?;
            (current != applied).then(|| {
                format!(
                    "generation {current} of the system profile is next to boot instead of \
                     {applied}, which was applied; somebody changed it by hand; it is put back"
                )
            })
        }
    }
}

/// Whether a host that needed a reboot was booted into what was applied.
pub(super) fn is_rebooted(status: &NixosConfigurationStatus, machine: &Machine) -> bool {
    let booted = text(machine, "nixos.bootedSystem");
    status.reboot_required == Some(true)
        && booted.is_some()
        && booted == status.system_path.as_deref()
}

fn text<'a>(machine: &'a Machine, fact: &str) -> Option<&'a str> {
    machine.fact(fact).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;
    use nico_api::MachineStatus;
    use serde_json::json;

    fn at(second: i64) -> Option<Time> {
        Some(Time(Timestamp::from_second(second).unwrap()))
    }

    /// Generation 7, which is `/new`, was applied at second 100.
    fn applied() -> NixosConfigurationStatus {
        NixosConfigurationStatus {
            last_applied_time: at(100),
            system_path: Some("/new".to_owned()),
            generation: Some(7),
            reboot_required: Some(true),
            ..NixosConfigurationStatus::default()
        }
    }

    fn machine(scanned_at: i64, current: &str, generation: i64) -> Machine {
        let facts = json!({"nixos": {
            "currentSystem": current, "bootedSystem": current, "generation": generation,
        }});
        Machine {
            status: Some(MachineStatus {
                last_hardware_scan_time: at(scanned_at),
                hardware_facts: facts.as_object().cloned(),
                ..MachineStatus::default()
            }),
            ..Machine::default()
        }
    }

    #[test]
    fn a_host_that_runs_something_else_has_drifted() {
        use ActivationAction::{Boot, Switch, Test};
        let cases = [
            (101, "/new", 7, [false, false, false]),
            (101, "/other", 8, [true, true, true]),
            // Rebooted, or not: what is to be booted is as it was applied.
            (101, "/other", 7, [true, false, true]),
            // What was seen before it was applied says nothing.
            (99, "/other", 6, [false, false, false]),
        ];
        for (scanned_at, current, generation, expected) in cases {
            let machine = machine(scanned_at, current, generation);
            let seen = [Switch, Boot, Test].map(|it| of(&applied(), &machine, it).is_some());
            assert_eq!(seen, expected, "{scanned_at} {current} {generation}");
        }
    }

    #[test]
    fn what_is_not_known_has_not_drifted() {
        let action = ActivationAction::Switch;
        assert_eq!(of(&applied(), &Machine::default(), action), None);
        let never = NixosConfigurationStatus::default();
        assert_eq!(of(&never, &machine(101, "/other", 8), action), None);
    }

    #[test]
    fn a_reboot_into_what_was_applied_is_noticed() {
        assert!(is_rebooted(&applied(), &machine(101, "/new", 7)));
        assert!(!is_rebooted(&applied(), &machine(101, "/old", 7)));
        assert!(!is_rebooted(&applied(), &Machine::default()));
    }
}
