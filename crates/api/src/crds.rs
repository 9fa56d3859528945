//! All CustomResourceDefinitions, generated from the types of this crate.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

use crate::{KubernetesCluster, Machine, NixosConfiguration};

/// Every CustomResourceDefinition, with the name of the file that carries it under `crds/`.
pub fn all() -> Vec<(&'static str, CustomResourceDefinition)> {
    vec![
        ("machine.yaml", Machine::crd()),
        ("nixosconfiguration.yaml", NixosConfiguration::crd()),
        ("kubernetescluster.yaml", KubernetesCluster::crd()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn schema(crd: &CustomResourceDefinition) -> Value {
        let version = &crd.spec.versions[0];
        serde_json::to_value(
            version
                .schema
                .as_ref()
                .unwrap()
                .open_api_v3_schema
                .as_ref()
                .unwrap(),
        )
        .unwrap()
    }

    /// Fields of Kubernetes' own types carry their description with the type.
    fn undescribed_fields(schema: &Value, path: &str, found: &mut Vec<String>) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            if property["description"].as_str().is_none_or(str::is_empty) {
                found.push(path.clone());
            }
            undescribed_fields(property, &path, found);
            undescribed_fields(&property["items"], &path, found);
        }
    }

    #[test]
    fn every_field_is_described() {
        let mut found = vec![];
        for (_, crd) in all() {
            let schema = schema(&crd);
            for part in ["spec", "status"] {
                let path = format!("{}.{part}", crd.spec.names.kind);
                undescribed_fields(&schema["properties"][part], &path, &mut found);
            }
        }
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn every_kind_has_its_short_names_and_a_status() {
        let short_names: Vec<_> = all()
            .iter()
            .map(|(_, crd)| {
                crd.spec
                    .names
                    .short_names
                    .clone()
                    .unwrap_or_default()
                    .join(",")
            })
            .collect();
        assert_eq!(short_names, ["mach", "nixconf", "kcluster,k8scluster"]);
        for (_, crd) in all() {
            assert!(
                crd.spec.versions[0]
                    .subresources
                    .as_ref()
                    .unwrap()
                    .status
                    .is_some()
            );
        }
    }

    #[test]
    fn defaults_of_the_specs_are_in_the_schema() {
        let [machine, configuration, cluster] = &all()[..] else {
            panic!("three kinds")
        };
        let machine = &schema(&machine.1)["properties"]["spec"]["properties"];
        assert_eq!(
            (
                &machine["sshUser"]["default"],
                &machine["sshPort"]["default"]
            ),
            (&"root".into(), &22.into())
        );
        let configuration = &schema(&configuration.1)["properties"]["spec"]["properties"];
        assert_eq!(configuration["ref"]["default"], "main");
        assert_eq!(configuration["fullInstall"]["default"], false);
        let cluster = &schema(&cluster.1)["properties"]["spec"]["properties"];
        assert_eq!(cluster["secretDelivery"]["default"], "Flake");
        assert_eq!(cluster["installMode"]["default"], "Auto");
        let rollout = &cluster["rollout"]["properties"];
        assert_eq!(rollout["maxUnavailableWorkers"]["default"], 1);
        assert_eq!(rollout["nodeReadyTimeout"]["default"], "600s");
    }
}
