//! The rules for fields and versions: what an API server would refuse.

use crate::build::Object;
use crate::finding::{Finding, Severity};
use crate::graph::{Graph, HELM_GROUP, KUSTOMIZE_GROUP, SOURCE_GROUP};
use crate::rules::helm::values;
use crate::rules::{Context, Rule};
use crate::schema::{Schemas, validate};
use crate::settings::Settings;
use crate::yaml::Node;

/// A field that an API server refuses.
pub static FLX024: Rule = Rule {
    id: "FLX024",
    title: "an object has the fields of its kind, with the right types",
    severity: Severity::Error,
    consequence: "the API server refuses the object, and the Kustomization is never ready",
    fix: "correct the field",
    page: include_str!("pages/FLX024.md"),
};

/// A version that is not served.
pub static FLX025: Rule = Rule {
    id: "FLX025",
    title: "the version of an object is served by the Flux and the Kubernetes in use",
    severity: Severity::Error,
    consequence: "the API server has no such kind, and the Kustomization is never ready",
    fix: "write a version that is served",
    page: include_str!("pages/FLX025.md"),
};

/// What breaks the rules of this module.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    check_objects(
        context.graph.checked_objects(),
        context.graph,
        context.settings,
    )
}

/// What breaks the rules of this module in what a chart makes. All of it is reported where the chart is
/// named, so each message names the object.
pub fn check_rendered(objects: &[Object], graph: &Graph, settings: &Settings) -> Vec<Finding> {
    let mut findings = check_objects(objects.iter(), graph, settings);
    for finding in &mut findings {
        if let Some(object) = &finding.object {
            finding.message = format!("the chart makes {object}: {}", finding.message);
        }
        "correct the chart, or the values".clone_into(&mut finding.fix);
    }
    findings
}

fn check_objects<'a>(
    objects: impl Iterator<Item = &'a Object>,
    graph: &Graph,
    settings: &Settings,
) -> Vec<Finding> {
    let schemas = Schemas::new(graph, settings);
    let flux = settings.flux.or_else(|| installed_flux(graph));
    let mut findings = Vec::new();
    for object in objects {
        if let Some(finding) = version(object, flux, settings.kubernetes) {
            findings.push(finding);
            continue;
        }
        let problems = schemas
            .of(object)
            .map(|schema| validate::object(object, &schema));
        let problems = problems.into_iter().flatten();
        findings.extend(
            problems
                .map(|problem| Finding::new(&FLX024, problem.at, problem.message).about(object)),
        );
    }
    findings
}

/// The minor number of the Flux that the repository installs, if it says so.
fn installed_flux(graph: &Graph) -> Option<u32> {
    let minor = |text: &str| {
        let mut parts = text.trim_start_matches('v').split('.');
        let major = parts.next()?;
        parts.next().filter(|_| major == "2")?.parse().ok()
    };
    let instance = graph
        .of_kind("fluxcd.controlplane.io", "FluxInstance")
        .next();
    if let Some(version) = instance.and_then(|instance| instance.spec(&["distribution", "version"]))
    {
        return minor(version.text()?);
    }
    graph.helm_releases().find_map(|release| {
        let parts = values::values(graph, release).parts;
        let version = parts
            .iter()
            .find_map(|part| part.path(&["instance", "distribution", "version"]));
        minor(version?.scalar_text()?)
    })
}

/// Versions of Kubernetes' own kinds that are gone, and the release that dropped them.
const GONE: [(&str, &str, &str, u32); 20] = [
    ("admissionregistration.k8s.io", "v1beta1", "", 22),
    ("apiextensions.k8s.io", "v1beta1", "", 22),
    ("apps", "v1beta1", "", 16),
    ("apps", "v1beta2", "", 16),
    ("autoscaling", "v2beta1", "", 25),
    ("autoscaling", "v2beta2", "", 26),
    ("batch", "v1beta1", "", 25),
    ("certificates.k8s.io", "v1beta1", "", 22),
    ("coordination.k8s.io", "v1beta1", "", 22),
    ("discovery.k8s.io", "v1beta1", "", 25),
    ("extensions", "v1beta1", "", 22),
    ("flowcontrol.apiserver.k8s.io", "v1beta1", "", 26),
    ("flowcontrol.apiserver.k8s.io", "v1beta2", "", 29),
    ("flowcontrol.apiserver.k8s.io", "v1beta3", "", 32),
    ("networking.k8s.io", "v1beta1", "Ingress", 22),
    ("networking.k8s.io", "v1beta1", "IngressClass", 22),
    ("policy", "v1beta1", "", 25),
    ("rbac.authorization.k8s.io", "v1beta1", "", 22),
    ("scheduling.k8s.io", "v1beta1", "", 22),
    ("storage.k8s.io", "v1beta1", "", 27),
];

fn version(object: &Object, flux: Option<u32>, kubernetes: Option<u32>) -> Option<Finding> {
    let node = object.node.get("apiVersion")?;
    let gone = GONE.iter().find(|(group, version, kind, _)| {
        object.group() == *group
            && object.version() == *version
            && (kind.is_empty() || object.kind() == *kind)
    });
    if let Some((.., since)) = gone {
        // Without a version, what no supported release has counts as gone.
        let is_gone = kubernetes.is_none_or(|minor| minor >= *since);
        let message = format!(
            "Kubernetes dropped {} {} in 1.{since}",
            object.api_version(),
            object.kind()
        );
        let finding = Finding::new(&FLX025, node.at, message).about(object);
        return Some(if is_gone {
            finding
        } else {
            deprecated(finding)
        });
    }
    flux_version(object, node, flux)
}

fn flux_version(object: &Object, node: &Node, flux: Option<u32>) -> Option<Finding> {
    let (group, version, kind) = (object.group(), object.version(), object.kind());
    if ![HELM_GROUP, KUSTOMIZE_GROUP, SOURCE_GROUP].contains(&group) {
        return None;
    }
    let report = |message: String| Some(Finding::new(&FLX025, node.at, message).about(object));
    let is_oci = kind == "OCIRepository";
    if is_oci && version == "v1" && flux.is_some_and(|minor| minor < 6) {
        let minor = flux.unwrap_or_default();
        return report(format!(
            "Flux 2.{minor} has OCIRepository as v1beta2; v1 comes with 2.6"
        ));
    }
    if !Schemas::flux_has(object) {
        let is_kind = Schemas::flux_has_kind(object);
        return is_kind
            .then(|| report(format!("Flux has no {} {kind}", object.api_version())))
            .flatten();
    }
    // With the Flux before 2.6 this is the newest one.
    let is_newest = !version.contains("beta") || is_oci && flux.is_some_and(|minor| minor < 6);
    let message = format!("{} {kind} is deprecated", object.api_version());
    if is_newest {
        None
    } else {
        report(message).map(deprecated)
    }
}

fn deprecated(finding: Finding) -> Finding {
    finding
        .severity(Severity::Warning)
        .consequence("a later version refuses the object")
        .fix("write the newest version of the kind")
}
