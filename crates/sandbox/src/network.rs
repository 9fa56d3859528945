//! The network of a sandbox: a bridge in a namespace of its own, on which the hosts are, and
//! one interface of this machine that leads to it.
//!
//! The bridge has its own namespace because frames between two hosts would otherwise pass the
//! firewall of this machine, and container engines set that to drop what they do not know.
//! Hosts have no default route: they reach each other and this machine, nothing else.

use std::net::Ipv4Addr;

use crate::command::{CommandError, run, run_with_input};
use crate::state::{self, StateError};

/// Why the network of a sandbox cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// `ip` failed.
    #[error("cannot make the network of the sandbox")]
    Command(#[from] CommandError),
    /// The lock that sandboxes share cannot be taken.
    #[error(transparent)]
    State(#[from] StateError),
    /// Every subnet is taken.
    #[error("no free subnet in 10.77.0.0/16: every 10.77.N.0/24 is in an address or a route")]
    NoFreeSubnet,
}

/// The network of one sandbox. The last numbers 1 and 2 of its addresses are taken.
#[derive(Clone, Debug)]
pub struct Network {
    id: String,
    subnet: u8,
}

impl Network {
    /// Makes the network. It is removed with the sandbox.
    pub(crate) fn create(id: &str) -> Result<Self, NetworkError> {
        // Until the address is on the interface, another sandbox would choose the same.
        let _lock = state::lock()?;
        let used = run("ip", &["-4", "-oneline", "address", "show"])?
            + &run("ip", &["-4", "route", "show", "table", "all"])?;
        let subnet = free_subnet(&used).ok_or(NetworkError::NoFreeSubnet)?;
        let network = Self {
            id: id.to_owned(),
            subnet,
        };
        let namespace = state::namespace(id, None);
        let interface = state::interface(id);
        let gateway = network.gateway();
        ip(&format!(
            "netns add {namespace}\n\
             link add {interface} type veth peer name uplink netns {namespace}\n\
             address add {gateway}/24 dev {interface}\n\
             link set {interface} up\n"
        ))?;
        ip_in(
            &namespace,
            &format!(
                "link set lo up\n\
                 link add bridge type bridge\n\
                 address add {}/24 dev bridge\n\
                 link set bridge up\n\
                 link set uplink master bridge up\n",
                network.management()
            ),
        )?;
        Ok(network)
    }

    /// Makes the namespace of a host, with one interface that has the host's address.
    pub(crate) fn attach(&self, host: &str, number: u8) -> Result<(), NetworkError> {
        let namespace = state::namespace(&self.id, Some(host));
        let bridge = state::namespace(&self.id, None);
        let address = self.address(number);
        ip(&format!("netns add {namespace}\n"))?;
        ip_in(
            &bridge,
            &format!(
                "link add port{number} type veth peer name eth0 netns {namespace}\n\
                 link set port{number} master bridge up\n"
            ),
        )?;
        ip_in(
            &namespace,
            &format!("link set lo up\naddress add {address}/24 dev eth0\nlink set eth0 up\n"),
        )?;
        Ok(())
    }

    /// Plugs the cable of a host in or out.
    pub(crate) fn set_link(&self, number: u8, up: bool) -> Result<(), NetworkError> {
        let bridge = state::namespace(&self.id, None);
        let direction = if up { "up" } else { "down" };
        ip_in(&bridge, &format!("link set port{number} {direction}\n"))
    }

    /// The address with this last number.
    pub fn address(&self, number: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, self.subnet, number)
    }

    /// The address of the management cluster and of the operator, which run where the bridge
    /// is: there every port is free, and no firewall of this machine is between them and the
    /// hosts.
    pub fn management(&self) -> Ipv4Addr {
        self.address(2)
    }

    /// The address of this machine as the hosts see it.
    pub fn gateway(&self) -> Ipv4Addr {
        self.address(1)
    }
}

fn ip(commands: &str) -> Result<(), NetworkError> {
    run_with_input("ip", &["-batch", "-"], commands.as_bytes())?;
    Ok(())
}

fn ip_in(namespace: &str, commands: &str) -> Result<(), NetworkError> {
    run_with_input(
        "ip",
        &["-netns", namespace, "-batch", "-"],
        commands.as_bytes(),
    )?;
    Ok(())
}

/// The lowest N for which no address and no route names 10.77.N.
fn free_subnet(addresses_and_routes: &str) -> Option<u8> {
    (0..=u8::MAX).find(|subnet| {
        let prefix = format!("10.77.{subnet}.");
        !addresses_and_routes
            .split_whitespace()
            .any(|word| word.starts_with(&prefix))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_that_an_address_or_a_route_names_is_not_free() {
        let used = "2: eth0    inet 10.77.0.5/24 brd 10.77.0.255 scope global eth0\n\
                    10.77.1.0/24 dev wg0 scope link\n\
                    default via 10.77.2.1 dev eth1\n";
        assert_eq!(free_subnet(used), Some(3));
    }

    #[test]
    fn a_longer_number_does_not_take_the_shorter_one() {
        assert_eq!(
            free_subnet("1: x inet 10.77.10.1/24 scope global x"),
            Some(0)
        );
    }

    #[test]
    fn there_is_none_when_all_are_taken() {
        let used: String = (0..=255).map(|n| format!(" 10.77.{n}.0/24\n")).collect();
        assert_eq!(free_subnet(&used), None);
    }
}
