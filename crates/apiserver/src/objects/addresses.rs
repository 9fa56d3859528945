//! Which addresses and node ports Services get.
//!
//! The ranges are those that kubeadm sets up. Nothing answers at the addresses.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Value, json};

use crate::status::Cause;

use super::values::{items, items_mut, set_default, text};

/// The first and the last address, both included: 10.96.0.0/12 without network and broadcast.
const ADDRESSES: (u32, u32) = (0x0A60_0001, 0x0A6F_FFFE);
/// The first and the last port, both included.
const PORTS: (u32, u32) = (30000, 32767);

/// What other Services have.
#[derive(Debug, Default)]
pub struct Taken {
    addresses: BTreeSet<u32>,
    ports: BTreeSet<u32>,
}

/// Why a Service does not get what it needs.
#[derive(Debug, PartialEq, Eq)]
pub enum NotAssigned {
    /// It asks for something that it cannot have.
    Refused(Cause),
    /// Everything is taken; what is missing.
    Full(&'static str),
}

impl Taken {
    /// Notes what a Service has.
    pub fn add(&mut self, service: &Value) {
        let spec = &service["spec"];
        let addresses = items(&spec["clusterIPs"]).filter_map(|address| text(address).parse().ok());
        self.addresses
            .extend(addresses.map(|address: Ipv4Addr| address.to_bits()));
        self.ports.extend(node_ports(spec));
    }

    fn free(taken: &mut BTreeSet<u32>, (first, last): (u32, u32), seed: u32) -> Option<u32> {
        let count = last - first + 1;
        let number = (0..count)
            .map(|step| first + (seed % count + step) % count)
            .find(|number| !taken.contains(number))?;
        taken.insert(number);
        Some(number)
    }

    fn take_port(&mut self, port: u32, field: String) -> Result<(), NotAssigned> {
        let why = if !(PORTS.0..=PORTS.1).contains(&port) {
            format!(
                "provided port is not in the valid range. The range of valid ports is {}-{}",
                PORTS.0, PORTS.1
            )
        } else if self.ports.insert(port) {
            return Ok(());
        } else {
            "provided port is already allocated".to_owned()
        };
        Err(refused(field, &port.into(), why))
    }

    fn free_port(&mut self, seed: u32) -> Result<u32, NotAssigned> {
        Self::free(&mut self.ports, PORTS, seed)
            .ok_or(NotAssigned::Full("failed to allocate a nodePort"))
    }
}

/// Whether Services of this type have ports on nodes.
pub fn uses_node_ports(spec: &Value) -> bool {
    matches!(text(&spec["type"]), "NodePort" | "LoadBalancer")
}

/// Whether nodes tell on a port of their own whether they have Pods of the Service.
pub fn needs_health_check(spec: &Value) -> bool {
    spec["type"] == "LoadBalancer" && spec["externalTrafficPolicy"] == "Local"
}

fn node_ports(spec: &Value) -> impl Iterator<Item = u32> {
    items(&spec["ports"])
        .map(|port| &port["nodePort"])
        .chain(std::iter::once(&spec["healthCheckNodePort"]))
        .filter_map(number)
}

fn number(value: &Value) -> Option<u32> {
    let number = value.as_u64().and_then(|number| number.try_into().ok());
    number.filter(|number| *number != 0)
}

fn refused(field: impl Into<String>, value: &Value, why: impl std::fmt::Display) -> NotAssigned {
    NotAssigned::Refused(Cause::invalid(field, value, why))
}

/// Gives a Service the addresses and ports that its type needs and that it does not have: those
/// that it asks for, else free ones. `old` is what it was before an update. The search for a
/// free one begins at `seed`.
///
/// # Errors
/// If it asks for what it cannot have, or nothing is free.
pub fn assign(
    service: &mut Value,
    old: Option<&Value>,
    taken: &mut Taken,
    seed: u32,
) -> Result<(), NotAssigned> {
    let spec = &mut service["spec"];
    if spec["type"] == "ExternalName" {
        return Ok(());
    }
    let was = old.map_or(&Value::Null, |old| &old["spec"]);
    check_families(spec)?;
    if old.is_none() || was["type"] == "ExternalName" {
        assign_address(spec, taken, seed)?;
    }
    if uses_node_ports(spec) {
        let had: Vec<u32> = node_ports(was).collect();
        assign_ports(spec, &had, taken, seed)?;
    }
    Ok(())
}

/// Only IPv4 is configured, so only Services that nobody balances may want more.
fn check_families(spec: &mut Value) -> Result<(), NotAssigned> {
    let headless = spec["clusterIP"] == "None";
    let bare = headless && super::values::fields(&spec["selector"]).next().is_none();
    if bare {
        set_default(spec, "ipFamilyPolicy", "RequireDualStack".into());
        let families = match text(&spec["ipFamilyPolicy"]) {
            "SingleStack" => json!(["IPv4"]),
            _ => json!(["IPv4", "IPv6"]),
        };
        set_default(spec, "ipFamilies", families);
        return Ok(());
    }
    set_default(spec, "ipFamilyPolicy", "SingleStack".into());
    if spec["ipFamilyPolicy"] == "RequireDualStack" {
        let why = "this cluster is not configured for dual-stack services";
        let policy = &spec["ipFamilyPolicy"];
        return Err(refused("spec.ipFamilyPolicy", policy, why));
    }
    for (index, family) in items(&spec["ipFamilies"]).enumerate() {
        if family != "IPv4" {
            let field = format!("spec.ipFamilies[{index}]");
            return Err(refused(field, family, "not configured on this cluster"));
        }
    }
    set_default(spec, "ipFamilies", json!(["IPv4"]));
    Ok(())
}

fn assign_address(spec: &mut Value, taken: &mut Taken, seed: u32) -> Result<(), NotAssigned> {
    let wanted = text(&spec["clusterIP"]).to_owned();
    if wanted == "None" {
        return Ok(());
    }
    if wanted.is_empty() {
        let free = Taken::free(&mut taken.addresses, ADDRESSES, seed)
            .ok_or(NotAssigned::Full("failed to allocate a serviceIP"))?;
        let address = Ipv4Addr::from_bits(free).to_string();
        spec["clusterIPs"] = json!([address]);
        spec["clusterIP"] = address.into();
        return Ok(());
    }
    let addresses = &spec["clusterIPs"];
    let why = match wanted.parse() {
        // Validation says what is wrong with it.
        Err(_) => return Ok(()),
        Ok(IpAddr::V6(_)) => {
            let why = "IPv6 is not configured on this cluster";
            return Err(refused("spec.clusterIPs[0]", addresses, why));
        }
        Ok(IpAddr::V4(address)) if !(ADDRESSES.0..=ADDRESSES.1).contains(&address.to_bits()) => {
            "the provided network does not match the current range"
        }
        Ok(IpAddr::V4(address)) if taken.addresses.insert(address.to_bits()) => return Ok(()),
        Ok(IpAddr::V4(_)) => "provided IP is already allocated",
    };
    let why = format!("failed to allocate IP {wanted}: {why}");
    Err(refused("spec.clusterIPs", addresses, why))
}

fn assign_ports(
    spec: &mut Value,
    had: &[u32],
    taken: &mut Taken,
    seed: u32,
) -> Result<(), NotAssigned> {
    // The same number with two protocols is one node port.
    let mut asked: Vec<u32> = Vec::new();
    for (index, port) in items(&spec["ports"]).enumerate() {
        let Some(number) = number(&port["nodePort"]) else {
            continue;
        };
        if !asked.contains(&number) && !had.contains(&number) {
            taken.take_port(number, format!("spec.ports[{index}].nodePort"))?;
        }
        asked.push(number);
    }
    if spec["allocateLoadBalancerNodePorts"] != false {
        let mut given: Vec<(Value, Value)> = items(&spec["ports"])
            .filter(|port| number(&port["nodePort"]).is_some())
            .map(|port| (port["port"].clone(), port["nodePort"].clone()))
            .collect();
        for port in items_mut(spec.get_mut("ports")) {
            if number(&port["nodePort"]).is_some() {
                continue;
            }
            let same = given.iter().find(|(number, _)| *number == port["port"]);
            port["nodePort"] = match same {
                Some((_, same)) => same.clone(),
                None => taken.free_port(seed)?.into(),
            };
            given.push((port["port"].clone(), port["nodePort"].clone()));
        }
    }
    if !needs_health_check(spec) {
        return Ok(());
    }
    match number(&spec["healthCheckNodePort"]) {
        None => spec["healthCheckNodePort"] = taken.free_port(seed)?.into(),
        Some(number) if had.contains(&number) => {}
        Some(number) => taken.take_port(number, "spec.healthCheckNodePort".to_owned())?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(mut spec: Value, others: &[Value]) -> Result<Value, NotAssigned> {
        if spec["clusterIP"].is_string() {
            spec["clusterIPs"] = json!([spec["clusterIP"]]);
        }
        let mut taken = Taken::default();
        for other in others {
            taken.add(&json!({"spec": other}));
        }
        let mut service = json!({"spec": spec});
        assign(&mut service, None, &mut taken, 7)?;
        Ok(service["spec"].take())
    }

    fn refusal(spec: Value, others: &[Value]) -> String {
        match given(spec, others) {
            Err(NotAssigned::Refused(cause)) => format!("{}: {}", cause.field, cause.message),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn no_two_services_get_the_same() {
        let spec = json!({"type": "NodePort", "ports": [{"port": 1}, {"port": 2}]});
        let mut others: Vec<Value> = Vec::new();
        let (mut addresses, mut ports) = (BTreeSet::new(), BTreeSet::new());
        for _ in 0..20 {
            let spec = given(spec.clone(), &others).unwrap();
            assert!(addresses.insert(spec["clusterIP"].to_string()));
            assert_eq!(spec["clusterIPs"], json!([spec["clusterIP"]]));
            ports.extend(node_ports(&spec));
            others.push(spec);
        }
        assert_eq!(ports.len(), 40);
    }

    #[test]
    fn what_another_has_or_lies_outside_is_refused() {
        let other = json!({"clusterIPs": ["10.96.0.10"], "ports": [{"nodePort": 30080}]});
        let others = [other];
        assert_eq!(
            refusal(
                json!({"type": "ClusterIP", "clusterIP": "10.96.0.10"}),
                &others
            ),
            "spec.clusterIPs: Invalid value: [\"10.96.0.10\"]: failed to allocate IP 10.96.0.10: \
             provided IP is already allocated"
        );
        assert_eq!(
            refusal(
                json!({"type": "ClusterIP", "clusterIP": "192.0.2.1"}),
                &others
            ),
            "spec.clusterIPs: Invalid value: [\"192.0.2.1\"]: failed to allocate IP 192.0.2.1: \
             the provided network does not match the current range"
        );
        let ports = |number: u32| json!([{"port": 80, "nodePort": number}]);
        assert_eq!(
            refusal(json!({"type": "NodePort", "ports": ports(30080)}), &others),
            "spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated"
        );
        assert_eq!(
            refusal(json!({"type": "NodePort", "ports": ports(80)}), &others),
            "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. \
             The range of valid ports is 30000-32767"
        );
    }

    #[test]
    fn a_port_with_two_protocols_has_one_node_port() {
        let ports = json!([{"port": 53, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]);
        let spec = given(json!({"type": "NodePort", "ports": ports}), &[]).unwrap();
        assert_eq!(spec["ports"][0]["nodePort"], spec["ports"][1]["nodePort"]);
    }

    #[test]
    fn an_update_may_keep_its_ports_but_not_take_those_of_others() {
        let mut taken = Taken::default();
        taken.add(&json!({"spec": {"ports": [{"nodePort": 30001}]}}));
        let spec = |port: u32| {
            json!({"spec": {"type": "NodePort", "clusterIP": "10.96.0.1", "ports": [
                {"port": 80, "nodePort": port}]}})
        };
        let old = spec(30000);
        assert_eq!(assign(&mut spec(30000), Some(&old), &mut taken, 0), Ok(()));
        let refused = assign(&mut spec(30001), Some(&old), &mut taken, 0);
        assert!(matches!(refused, Err(NotAssigned::Refused(_))));
    }

    #[test]
    fn a_full_range_is_said() {
        let ports: Vec<Value> = (PORTS.0..=PORTS.1)
            .map(|n| json!({"nodePort": n}))
            .collect();
        let spec = json!({"type": "NodePort", "ports": [{"port": 80}]});
        let full = given(spec, &[json!({"ports": ports})]);
        assert_eq!(
            full,
            Err(NotAssigned::Full("failed to allocate a nodePort"))
        );
    }

    #[test]
    fn only_what_nobody_balances_may_want_ipv6() {
        let bare = given(json!({"type": "ClusterIP", "clusterIP": "None"}), &[]).unwrap();
        assert_eq!(bare["ipFamilies"], json!(["IPv4", "IPv6"]));
        assert_eq!(bare["ipFamilyPolicy"], "RequireDualStack");
        let spec = json!({"type": "ClusterIP", "ipFamilies": ["IPv6"]});
        assert_eq!(
            refusal(spec, &[]),
            "spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster"
        );
    }

    #[test]
    fn a_balancer_that_keeps_traffic_local_has_a_port_for_health_checks() {
        let spec = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local",
            "ports": [{"port": 80}]});
        let spec = given(spec, &[]).unwrap();
        assert_eq!(node_ports(&spec).collect::<BTreeSet<_>>().len(), 2);
    }
}
