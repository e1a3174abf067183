//! Ports that a Host closes on its public addresses, and jails that would publish them: a redirect comes before the filter, so the block would be without effect.

use std::net::IpAddr;

use cellblock_schemas::net::{PortRange, Protocol};
use cellblock_schemas::{Host, Jail};

use super::Problem;
use crate::claim::Resource;
use crate::index::wanted_ports;

/// The block of a host that closes one of these ports: the uplink's and the block's name.
fn closes<'h>(
    host: &'h Host,
    public: IpAddr,
    protocol: Protocol,
    ports: &PortRange,
) -> Option<(&'h str, &'h str)> {
    host.spec.uplinks.iter().find_map(|(name, uplink)| {
        let block = uplink.block.iter().find(|block| {
            let mut addresses = uplink.public_addresses.iter();
            let is_meant = addresses.any(|(name, address)| {
                *address == public && block.address.as_ref().is_none_or(|wanted| wanted == name)
            });
            is_meant
                && block.protocol == protocol
                && block.ports.iter().any(|closed| closed.overlaps(ports))
        })?;
        Some((name.as_str(), block.name.as_str()))
    })
}

/// What is wrong with ports that `jail` would publish on `host`.
pub(super) fn of_jail(host: &Host, jail: &Jail, field: &str) -> Vec<Problem> {
    let wanted = wanted_ports(host, jail).0.into_iter();
    wanted
        .filter_map(|resource| {
            let Resource::Port {
                address,
                protocol,
                ports,
                ..
            } = &resource
            else {
                return None;
            };
            let (uplink, block) = closes(host, *address, *protocol, ports)?;
            let (name, own) = (&host.metadata.name, &jail.metadata.name);
            Some(Problem::new(
                "PortTaken",
                field,
                format!(
                    "{resource} of jail {own} is closed by spec.uplinks[{uplink}].block[{block}] of host {name}"
                ),
                "publish another port, or take it out of the block",
            ))
        })
        .collect()
}
