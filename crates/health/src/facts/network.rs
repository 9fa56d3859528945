//! Services, what is behind them, and what calls them.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::meta::{Condition, Metadata, Nothing, Object, null_is_default};
use super::node::ServiceReference;

/// A Service.
pub type Service = Object<ServiceSpec, Nothing>;

/// An Ingress.
pub type Ingress = Object<IngressSpec, IngressStatus>;

/// A Gateway.
pub type Gateway = Object<Nothing, GatewayStatus>;

/// An HTTPRoute.
pub type HttpRoute = Object<RouteSpec, RouteStatus>;

/// What is behind a Service.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct EndpointSlice {
    /// Its metadata.
    pub metadata: Metadata,
    /// Where requests go.
    #[serde(deserialize_with = "null_is_default")]
    pub endpoints: Vec<Endpoint>,
}

/// A ValidatingWebhookConfiguration or MutatingWebhookConfiguration.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct WebhookConfiguration {
    /// Its kind, filled in by whoever read it.
    #[serde(skip)]
    pub kind: &'static str,
    /// Its metadata.
    pub metadata: Metadata,
    /// The webhooks.
    #[serde(deserialize_with = "null_is_default")]
    pub webhooks: Vec<Webhook>,
}

/// Who is asked before something is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Webhook {
    /// Its name.
    pub name: String,
    /// `Fail` (also when it is not said): without an answer nothing is written.
    pub failure_policy: Option<String>,
    /// Who is asked.
    pub client_config: ClientConfig,
}

/// Who is asked.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ClientConfig {
    /// A Service; else a URL that is not looked at.
    pub service: Option<ServiceReference>,
}

/// Where a request goes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Endpoint {
    /// Whether it takes requests.
    pub conditions: EndpointConditions,
}

/// How an endpoint is.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct EndpointConditions {
    /// Whether it takes requests; it does when this is not said.
    pub ready: Option<bool>,
}

/// What a Service is to be.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceSpec {
    /// `ExternalName` is only a name.
    #[serde(rename = "type")]
    pub kind: String,
    /// Which Pods are behind it; none when somebody else writes its endpoints.
    #[serde(deserialize_with = "null_is_default")]
    pub selector: BTreeMap<String, String>,
}

/// What an Ingress is to be.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IngressSpec {
    /// Whose it is.
    pub ingress_class_name: String,
}

/// How an Ingress is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IngressStatus {
    /// Where it can be reached.
    pub load_balancer: LoadBalancer,
}

/// Where something can be reached.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct LoadBalancer {
    /// The addresses.
    #[serde(deserialize_with = "null_is_default")]
    pub ingress: Vec<Nothing>,
}

/// How a Gateway is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct GatewayStatus {
    /// Its conditions.
    #[serde(deserialize_with = "null_is_default")]
    pub conditions: Vec<Condition>,
    /// Its listeners.
    #[serde(deserialize_with = "null_is_default")]
    pub listeners: Vec<Listener>,
}

/// How a listener of a Gateway is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Listener {
    /// Its name.
    pub name: String,
    /// Its conditions.
    #[serde(deserialize_with = "null_is_default")]
    pub conditions: Vec<Condition>,
}

/// What a route is to be.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteSpec {
    /// The Gateways that are to take it.
    #[serde(deserialize_with = "null_is_default")]
    pub parent_refs: Vec<ParentReference>,
}

/// How a route is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct RouteStatus {
    /// What each of its Gateways says.
    #[serde(deserialize_with = "null_is_default")]
    pub parents: Vec<RouteParent>,
}

/// What a Gateway says of a route.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteParent {
    /// The Gateway.
    pub parent_ref: ParentReference,
    /// What it says.
    #[serde(deserialize_with = "null_is_default")]
    pub conditions: Vec<Condition>,
}

/// A Gateway by its name.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ParentReference {
    /// Its name.
    pub name: String,
    /// Its namespace; that of the route when it is not said.
    pub namespace: Option<String>,
}

impl EndpointSlice {
    /// The Service that it is behind.
    pub fn service(&self) -> Option<&str> {
        self.metadata.label("kubernetes.io/service-name")
    }

    /// How many endpoints take requests.
    pub fn ready(&self) -> usize {
        let endpoints = self.endpoints.iter();
        endpoints
            .filter(|endpoint| endpoint.conditions.ready != Some(false))
            .count()
    }
}
