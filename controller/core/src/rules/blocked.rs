//! Ports that a Host closes on its public addresses, and jails that would publish them or have the address: a translation comes before the filter, so the block would be without effect.

use std::net::IpAddr;

use cellblock_schemas::net::{PortRange, Protocol};
use cellblock_schemas::{Host, Jail};

use super::Problem;
use crate::claim::Resource;
use crate::index::wanted_ports;

/// The block of a host that closes one of these ports, or any port where none are said: the uplink's and the block's name.
fn closes<'h>(
    host: &'h Host,
    public: IpAddr,
    ports: Option<(Protocol, &PortRange)>,
) -> Option<(&'h str, &'h str)> {
    host.spec.uplinks.iter().find_map(|(name, uplink)| {
        let block = uplink.block.iter().find(|block| {
            let mut addresses = uplink.public_addresses.iter();
            let is_meant = addresses.any(|(name, address)| {
                *address == public && block.address.as_ref().is_none_or(|wanted| wanted == name)
            });
            let closes = ports.is_none_or(|(protocol, ports)| {
                block.protocol == protocol
                    && block.ports.iter().any(|closed| closed.overlaps(ports))
            });
            is_meant && closes
        })?;
        Some((name.as_str(), block.name.as_str()))
    })
}

/// What is wrong with ports and public addresses that `jail` would have on `host`. The field is the jail's own unless one is given.
pub(super) fn of_jail(host: &Host, jail: &Jail, field: Option<&str>) -> Vec<Problem> {
    let wanted = wanted_ports(host, jail).0.into_iter();
    wanted
        .filter_map(|resource| {
            let (address, ports, own_field) = match &resource {
                Resource::Port {
                    address,
                    protocol,
                    ports,
                    ..
                } => (*address, Some((*protocol, ports)), "spec.publish"),
                Resource::PublicAddress { address, .. } => (*address, None, "spec.publicAddresses"),
                Resource::Address { .. }
                | Resource::MacNumber(_)
                | Resource::JailName { .. }
                | Resource::Nic { .. }
                | Resource::Root { .. }
                | Resource::Slice { .. }
                | Resource::UserIds(_)
                | Resource::Fib(_) => return None,
            };
            let (uplink, block) = closes(host, address, ports)?;
            let (name, own) = (&host.metadata.name, &jail.metadata.name);
            let (what, help) = match ports {
                Some(_) => (
                    "is closed by",
                    "publish another port, or take it out of the block",
                ),
                None => (
                    "would be open as a whole, and has a port closed by",
                    "name the `address` that the block is for, or give the jail only some ports",
                ),
            };
            Some(Problem::new(
                "PortTaken",
                field.unwrap_or(own_field),
                format!("{resource} of jail {own} {what} spec.uplinks[{uplink}].block[{block}] of host {name}"),
                help,
            ))
        })
        .collect()
}
