//! Whether a machine may be wiped to install it.
//!
//! Decided once for each machine, because it cannot be undone: a machine that was installed
//! from scratch carries an annotation and is never installed so again.

use kube::ResourceExt;
use nico_api::kubernetes_cluster::InstallMode;
use nico_api::{Machine, NixosConfiguration, labels};

/// How a machine gets its first configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Installation {
    /// From scratch: the disk is wiped.
    Full,
    /// Onto the NixOS that is there.
    OntoNixos,
    /// Not at all: it runs something else, which nobody said may be wiped. With what it runs.
    Refused,
    /// Not yet: it is not known what the machine runs.
    FactsMissing,
}

/// Decides for a machine whose configuration is `existing`, if it has one already.
pub fn decide(
    mode: InstallMode,
    machine: &Machine,
    existing: Option<&NixosConfiguration>,
) -> Installation {
    if machine
        .annotations()
        .contains_key(labels::FULL_INSTALLATION_APPLIED)
    {
        return Installation::OntoNixos;
    }
    if let Some(existing) = existing {
        return if existing.spec.full_install {
            Installation::Full
        } else {
            Installation::OntoNixos
        };
    }
    match mode {
        InstallMode::Never => Installation::OntoNixos,
        InstallMode::Always => Installation::Full,
        InstallMode::Auto => by_facts(machine),
    }
}

/// What to do about a machine that is not touched, for people.
pub fn advice(machine: &Machine, installation: Installation) -> Option<String> {
    match installation {
        Installation::Full | Installation::OntoNixos => None,
        Installation::Refused => Some(format!(
            "runs {}, neither NixOS nor an installer: boot it from a NixOS installer, \
             or set installMode: Always to wipe its disk",
            text(machine, "os.name")
                .or_else(|| text(machine, "os.id"))
                .unwrap_or("an unknown system")
        )),
        Installation::FactsMissing => {
            Some("was not inspected yet: it is not known what it runs".to_owned())
        }
    }
}

fn by_facts(machine: &Machine) -> Installation {
    match (text(machine, "os.id"), text(machine, "os.variantId")) {
        (_, Some("installer")) => Installation::Full,
        (Some("nixos"), _) => Installation::OntoNixos,
        (Some(_), _) => Installation::Refused,
        (None, _) => Installation::FactsMissing,
    }
}

fn text<'a>(machine: &'a Machine, fact: &str) -> Option<&'a str> {
    machine.fact(fact).and_then(serde_json::Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::machine;
    use serde_json::json;

    fn running(os: &serde_json::Value) -> Machine {
        let mut machine = machine("m-01");
        let status = machine.status.get_or_insert_default();
        status.hardware_facts = json!({ "os": os }).as_object().cloned();
        machine
    }

    #[test]
    fn auto_wipes_only_what_runs_an_installer_from_memory() {
        let table = [
            (
                json!({"id": "nixos", "variantId": "installer"}),
                Installation::Full,
            ),
            (json!({"id": "nixos"}), Installation::OntoNixos),
            (
                json!({"id": "debian", "name": "Debian"}),
                Installation::Refused,
            ),
            (json!({}), Installation::FactsMissing),
        ];
        for (os, expected) in table {
            let decided = decide(InstallMode::Auto, &running(&os), None);
            assert_eq!(decided, expected, "{os}");
        }
    }

    #[test]
    fn never_wipes_nothing_and_always_wipes_once() {
        let mut machine = running(&json!({"id": "debian"}));
        assert_eq!(
            decide(InstallMode::Never, &machine, None),
            Installation::OntoNixos
        );
        assert_eq!(
            decide(InstallMode::Always, &machine, None),
            Installation::Full
        );
        machine.annotations_mut().insert(
            labels::FULL_INSTALLATION_APPLIED.to_owned(),
            "home".to_owned(),
        );
        assert_eq!(
            decide(InstallMode::Always, &machine, None),
            Installation::OntoNixos
        );
    }

    #[test]
    fn a_decision_stays_when_facts_and_mode_change() {
        let installer = running(&json!({"id": "nixos", "variantId": "installer"}));
        let mut existing = NixosConfiguration::default();
        assert_eq!(
            decide(InstallMode::Always, &installer, Some(&existing)),
            Installation::OntoNixos
        );
        existing.spec.full_install = true;
        assert_eq!(
            decide(
                InstallMode::Never,
                &running(&json!({"id": "nixos"})),
                Some(&existing)
            ),
            Installation::Full
        );
    }

    #[test]
    fn a_machine_that_is_not_touched_says_what_to_do() {
        let debian = running(&json!({"id": "debian", "name": "Debian GNU/Linux"}));
        let text = advice(&debian, Installation::Refused).unwrap();
        assert!(
            text.contains("Debian GNU/Linux") && text.contains("installMode: Always"),
            "{text}"
        );
        assert_eq!(advice(&debian, Installation::OntoNixos), None);
    }
}
