//! Public addresses that belong to one jail (1:1 NAT): that each leads to an address of its family, and that what the jail sends has one source.

use std::net::IpAddr;

use cellblock_schemas::net::Family;
use cellblock_schemas::{Host, Jail};

use super::Problem;
use super::enforced::meant;
use crate::index::{Index, public_addresses};

#[cfg(test)]
mod tests;

/// A public address and where it leads.
struct Led<'a> {
    place: usize,
    uplink: &'a str,
    network: &'a str,
    address: IpAddr,
}

/// What is wrong with the public addresses of `jail` on `host`. Those that the host does not have are told of where they are claimed.
pub(super) fn of_jail(index: &Index, jail: &Jail, host: &Host, problems: &mut Vec<Problem>) {
    let mut networks = jail.spec.networks.iter();
    if networks.any(|attachment| index.network(&attachment.network).is_none()) {
        // The jail waits for the network, and is looked at again.
        return;
    }
    let mut earlier: Vec<Led<'_>> = Vec::new();
    for (place, public) in jail.spec.public_addresses.iter().enumerate() {
        let found = public_addresses(host, &public.uplink, Some(&public.address));
        let Some(address) = found.ok().and_then(|found| found.first().copied()) else {
            continue;
        };
        let (family, uplink) = (Family::of(address), public.uplink.as_str());
        let named = public.network.as_deref();
        let Some(network) = meant(jail, named, family, |name: &str| index.network(name)) else {
            let message = format!(
                "the jail has no address of the family of {address}{}",
                named.map_or_else(String::new, |named| format!(" on network {named}"))
            );
            problems.push(Problem::new(
                "FamilyMismatch",
                format!("spec.publicAddresses[{place}].address"),
                message,
                "give it one, or name another public address",
            ));
            continue;
        };
        let network = network.metadata.name.as_str();
        let led = Led {
            place,
            uplink,
            network,
            address,
        };
        let second = earlier.iter().find(|other| {
            (other.uplink, other.network) == (uplink, network)
                && Family::of(other.address) == family
                && other.address != address
        });
        if let Some(first) = second {
            problems.push(Problem::new(
                "TwoPublicAddresses",
                format!("spec.publicAddresses[{place}].address"),
                format!(
                    "what the jail sends from network {network} by uplink `{uplink}` has the public address of spec.publicAddresses[{}] already ({})",
                    first.place, first.address
                ),
                "publish the ports of the second address (`publish`), or attach the jail to another network and name that",
            ));
        }
        earlier.push(led);
    }
}
