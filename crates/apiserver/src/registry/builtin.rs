//! The kinds that are part of Kubernetes.

use std::any::TypeId;
use std::sync::{Arc, LazyLock};

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::{
    admissionregistration::v1 as admissionregistration, apps::v1 as apps,
    authentication::v1 as authentication, authorization::v1 as authorization,
    autoscaling::v1 as autoscaling_v1, autoscaling::v2 as autoscaling, batch::v1 as batch,
    certificates::v1 as certificates, coordination::v1 as coordination, core::v1 as core,
    discovery::v1 as discovery, events::v1 as events, flowcontrol::v1 as flowcontrol,
    networking::v1 as networking, node::v1 as node, policy::v1 as policy, rbac::v1 as rbac,
    resource::v1 as resource, scheduling::v1 as scheduling, storage::v1 as storage,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensions;
use k8s_openapi::schemars::JsonSchema;

use crate::objects::Type;

use super::{Behaviour, Kind, Source, Subresource, Verbs};

const READ_WRITE: &[&str] = &["get", "patch", "update"];
const CREATE: &[&str] = &["create"];
const CONNECT: &[&str] = &["create", "get"];

static ALL: LazyLock<Vec<Arc<Kind>>> =
    LazyLock::new(|| table().into_iter().map(|entry| Arc::new(entry.0)).collect());

/// All built-in kinds. The table is made once for the process.
pub fn all() -> &'static [Arc<Kind>] {
    &ALL
}

fn table() -> Vec<Entry> {
    let mut table = core_kinds();
    table.extend(workloads());
    table.extend(cluster_services());
    table.extend(questions());
    table
}

fn core_kinds() -> Vec<Entry> {
    vec![
        kind::<core::Binding>().create_only(),
        kind::<core::ComponentStatus>().short(&["cs"]).read_only(),
        kind::<core::ConfigMap>().short(&["cm"]),
        kind::<core::Endpoints>().short(&["ep"]).creates_on_update(),
        kind::<core::Event>().short(&["ev"]).creates_on_update(),
        kind::<core::LimitRange>()
            .short(&["limits"])
            .creates_on_update(),
        kind::<core::Namespace>()
            .short(&["ns"])
            .status()
            .sub("finalize", None, None, &["update"])
            .no_delete_collection(),
        kind::<core::Node>()
            .short(&["no"])
            .status()
            .keeps_status_on_create(),
        kind::<core::PersistentVolume>()
            .short(&["pv"])
            .status()
            .delete_returns_object(),
        kind::<core::PersistentVolumeClaim>()
            .short(&["pvc"])
            .status()
            .delete_returns_object(),
        kind::<core::Pod>()
            .short(&["po"])
            .category("all")
            .status()
            .generation()
            .delete_returns_object()
            .sub("attach", Some("PodAttachOptions"), None, CONNECT)
            .sub("binding", Some("Binding"), None, CREATE)
            .sub("ephemeralcontainers", None, None, READ_WRITE)
            .sub("eviction", Some("Eviction"), Some(("policy", "v1")), CREATE)
            .sub("exec", Some("PodExecOptions"), None, CONNECT)
            .sub("log", None, None, &["get"])
            .sub("portforward", Some("PodPortForwardOptions"), None, CONNECT)
            .sub(
                "proxy",
                Some("PodProxyOptions"),
                None,
                &["create", "delete", "get", "patch", "update"],
            )
            .sub("resize", None, None, READ_WRITE),
        kind::<core::PodTemplate>().delete_returns_object(),
        kind::<core::ReplicationController>()
            .short(&["rc"])
            .category("all")
            .status()
            .scale()
            .generation()
            .orphans_dependents(),
        kind::<core::ResourceQuota>()
            .short(&["quota"])
            .status()
            .delete_returns_object(),
        kind::<core::Secret>(),
        kind::<core::Service>()
            .short(&["svc"])
            .category("all")
            .status()
            .creates_on_update()
            .delete_returns_object(),
        kind::<core::ServiceAccount>()
            .short(&["sa"])
            .delete_returns_object()
            .sub(
                "token",
                Some("TokenRequest"),
                Some(("authentication.k8s.io", "v1")),
                CREATE,
            ),
    ]
}

fn workloads() -> Vec<Entry> {
    vec![
        kind::<apps::ControllerRevision>(),
        kind::<apps::DaemonSet>()
            .short(&["ds"])
            .category("all")
            .status()
            .generation(),
        kind::<apps::Deployment>()
            .short(&["deploy"])
            .category("all")
            .status()
            .scale()
            .generation(),
        kind::<apps::ReplicaSet>()
            .short(&["rs"])
            .category("all")
            .status()
            .scale()
            .generation(),
        kind::<apps::StatefulSet>()
            .short(&["sts"])
            .category("all")
            .status()
            .scale()
            .generation(),
        kind::<autoscaling::HorizontalPodAutoscaler>()
            .short(&["hpa"])
            .category("all")
            .status(),
        kind::<autoscaling_v1::HorizontalPodAutoscaler>()
            .short(&["hpa"])
            .category("all")
            .status(),
        kind::<batch::CronJob>()
            .short(&["cj"])
            .category("all")
            .status()
            .generation(),
        kind::<batch::Job>()
            .category("all")
            .status()
            .generation()
            .orphans_dependents(),
        kind::<policy::PodDisruptionBudget>()
            .short(&["pdb"])
            .status()
            .generation()
            .update_needs_version(),
    ]
}

fn cluster_services() -> Vec<Entry> {
    vec![
        kind::<admissionregistration::MutatingAdmissionPolicy>()
            .category("api-extensions")
            .generation()
            .update_needs_version(),
        kind::<admissionregistration::MutatingAdmissionPolicyBinding>()
            .category("api-extensions")
            .generation()
            .update_needs_version(),
        kind::<admissionregistration::MutatingWebhookConfiguration>()
            .category("api-extensions")
            .generation()
            .update_needs_version(),
        kind::<admissionregistration::ValidatingAdmissionPolicy>()
            .category("api-extensions")
            .status()
            .generation()
            .update_needs_version(),
        kind::<admissionregistration::ValidatingAdmissionPolicyBinding>()
            .category("api-extensions")
            .generation()
            .update_needs_version(),
        kind::<admissionregistration::ValidatingWebhookConfiguration>()
            .category("api-extensions")
            .generation()
            .update_needs_version(),
        kind::<apiextensions::CustomResourceDefinition>()
            .short(&["crd", "crds"])
            .category("api-extensions")
            .status()
            .generation()
            .update_needs_version(),
        kind::<certificates::CertificateSigningRequest>()
            .short(&["csr"])
            .status()
            .sub("approval", None, None, READ_WRITE),
        kind::<coordination::Lease>()
            .creates_on_update()
            .update_needs_version(),
        kind::<discovery::EndpointSlice>()
            .generation()
            .update_needs_version(),
        kind::<events::Event>().short(&["ev"]).creates_on_update(),
        kind::<flowcontrol::FlowSchema>()
            .status()
            .generation()
            .update_needs_version(),
        kind::<flowcontrol::PriorityLevelConfiguration>()
            .status()
            .generation()
            .update_needs_version(),
        kind::<networking::IPAddress>().short(&["ip"]).generation(),
        kind::<networking::Ingress>()
            .short(&["ing"])
            .status()
            .generation(),
        kind::<networking::IngressClass>().generation(),
        kind::<networking::NetworkPolicy>()
            .short(&["netpol"])
            .generation()
            .update_needs_version(),
        kind::<networking::ServiceCIDR>().status().generation(),
        kind::<node::RuntimeClass>().update_needs_version(),
        kind::<rbac::ClusterRole>().creates_on_update(),
        kind::<rbac::ClusterRoleBinding>().creates_on_update(),
        kind::<rbac::Role>().creates_on_update(),
        kind::<rbac::RoleBinding>().creates_on_update(),
        kind::<resource::DeviceClass>().generation(),
        kind::<resource::ResourceClaim>().status(),
        kind::<resource::ResourceClaimTemplate>(),
        kind::<resource::ResourceSlice>().generation(),
        kind::<scheduling::PriorityClass>()
            .short(&["pc"])
            .generation(),
        kind::<storage::CSIDriver>()
            .generation()
            .update_needs_version()
            .delete_returns_object(),
        kind::<storage::CSINode>()
            .update_needs_version()
            .delete_returns_object(),
        kind::<storage::CSIStorageCapacity>().update_needs_version(),
        kind::<storage::StorageClass>()
            .short(&["sc"])
            .delete_returns_object(),
        kind::<storage::VolumeAttachment>()
            .status()
            .delete_returns_object(),
        kind::<storage::VolumeAttributesClass>()
            .short(&["vac"])
            .delete_returns_object(),
    ]
}

/// Kinds that are only asked, never stored.
fn questions() -> Vec<Entry> {
    vec![
        kind::<authentication::SelfSubjectReview>().create_only(),
        kind::<authentication::TokenReview>().create_only(),
        kind::<authorization::LocalSubjectAccessReview>().create_only(),
        kind::<authorization::SelfSubjectAccessReview>().create_only(),
        kind::<authorization::SelfSubjectRulesReview>().create_only(),
        kind::<authorization::SubjectAccessReview>().create_only(),
    ]
}

/// An entry of the table while it is being described.
struct Entry(Kind);

fn kind<T>() -> Entry
where
    T: k8s_openapi::Resource + JsonSchema,
    T::Scope: 'static,
{
    Entry(Kind {
        group: T::GROUP.to_owned(),
        version: T::VERSION.to_owned(),
        kind: T::KIND.to_owned(),
        list_kind: format!("{}List", T::KIND),
        plural: T::URL_PATH_SEGMENT.to_owned(),
        singular: T::KIND.to_lowercase(),
        short_names: Vec::new(),
        categories: Vec::new(),
        namespaced: TypeId::of::<T::Scope>() == TypeId::of::<NamespaceResourceScope>(),
        verbs: Verbs::All,
        subresources: Vec::new(),
        behaviour: Behaviour::default(),
        source: Source::BuiltIn(Type::of::<T>()),
    })
}

impl Entry {
    fn short(mut self, names: &[&str]) -> Self {
        self.0.short_names = names.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    fn category(mut self, category: &str) -> Self {
        self.0.categories.push(category.to_owned());
        self
    }

    fn status(self) -> Self {
        self.sub("status", None, None, READ_WRITE)
    }

    fn scale(self) -> Self {
        self.sub(
            "scale",
            Some("Scale"),
            Some(("autoscaling", "v1")),
            READ_WRITE,
        )
    }

    fn sub(
        mut self,
        name: &'static str,
        kind: Option<&'static str>,
        group_version: Option<(&'static str, &'static str)>,
        verbs: &'static [&'static str],
    ) -> Self {
        self.0.subresources.push(Subresource {
            name,
            kind,
            group_version,
            verbs,
        });
        self.0
            .subresources
            .sort_by_key(|subresource| subresource.name);
        self
    }

    fn no_delete_collection(mut self) -> Self {
        self.0.verbs = Verbs::NoDeleteCollection;
        self
    }

    fn read_only(mut self) -> Self {
        self.0.verbs = Verbs::ReadOnly;
        self
    }

    fn create_only(mut self) -> Self {
        self.0.verbs = Verbs::CreateOnly;
        self
    }

    fn generation(mut self) -> Self {
        self.0.behaviour.generation = true;
        self
    }

    fn creates_on_update(mut self) -> Self {
        self.0.behaviour.creates_on_update = true;
        self
    }

    fn update_needs_version(mut self) -> Self {
        self.0.behaviour.update_needs_version = true;
        self
    }

    fn delete_returns_object(mut self) -> Self {
        self.0.behaviour.delete_returns_object = true;
        self
    }

    fn orphans_dependents(mut self) -> Self {
        self.0.behaviour.orphans_dependents = true;
        self
    }

    fn keeps_status_on_create(mut self) -> Self {
        self.0.behaviour.keeps_status_on_create = true;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_those_of_kubernetes() {
        let namespaced = |plural: &str| {
            all()
                .iter()
                .find(|k| k.plural == plural)
                .unwrap()
                .namespaced
        };
        assert!(namespaced("pods") && namespaced("leases") && namespaced("roles"));
        assert!(!namespaced("nodes") && !namespaced("namespaces"));
        assert!(!namespaced("customresourcedefinitions"));
    }
}
