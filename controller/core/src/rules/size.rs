//! Whether what a jail is to be given fits into one transaction at all: what never can is refused, or waits where it was stored before
//! that could be seen. What depends on the host (ports, bridges) is counted by [`crate::bind`].

use std::collections::BTreeSet;

use cellblock_schemas::Jail;

use super::Problem;
use crate::allocate::with_partner;
use crate::bind::{self, CLAIMS_MAX, ROOM, TOO_MANY};
use crate::index::{Index, root_of};
use crate::write::OPS_MAX;

/// What is compared beside claims and networks: the host and the guard of the order of jails.
const BESIDE: usize = 2;

/// The least that a jail takes, on whichever host, of what it does not have yet.
pub(super) fn of_jail(index: &Index, jail: &Jail) -> Option<Problem> {
    let binding = jail.binding().filter(|_| !bind::is_forgotten(index, jail));
    let mut networks = BTreeSet::new();
    let mut claims = 0;
    for attachment in &jail.spec.networks {
        let is_bound = binding.is_some_and(|binding| {
            binding.attachments.iter().any(|bound| {
                bound.network == attachment.network && bound.interface == attachment.interface
            })
        });
        let Some(network) = index.network(&attachment.network).filter(|_| !is_bound) else {
            continue;
        };
        networks.insert(&attachment.network);
        let spec = &network.spec;
        let given = attachment.addresses.iter().map(|given| given.address);
        claims += given
            .flat_map(|address| with_partner(spec, address))
            .count();
        if attachment.addresses.is_empty() {
            let subnets = spec.subnets.iter();
            let allocated = subnets.filter(|subnet| !attachment.is_dynamic(subnet.cidr.family()));
            let addresses = allocated.map(|subnet| subnet.cidr.net().addr());
            claims += addresses
                .flat_map(|address| with_partner(spec, address))
                .count();
        }
        // Its MAC address's number, or its NIC.
        claims += usize::from(spec.mode().is_some_and(|mode| mode.is_vnet()));
    }
    if networks.is_empty() {
        return None;
    }
    if binding.is_none() {
        claims += 1 + usize::from(root_of(jail, "").is_some());
    }
    let uplink = |name: &&String| {
        let network = index.network(name);
        network.is_some_and(|network| {
            network
                .spec
                .mode()
                .is_some_and(|mode| mode.uplink().is_some())
        })
    };
    // The guard of the host's uplinks, and the image.
    let guards = usize::from(networks.iter().any(uplink));
    let image = usize::from(jail.spec.image.is_some());
    let ops = claims + networks.len() + guards + image + BESIDE + ROOM;
    let message = if ops > OPS_MAX {
        bind::beyond(ops)
    } else if claims > CLAIMS_MAX {
        format!(
            "{claims} addresses, MAC addresses and names are asked for, at most {CLAIMS_MAX} can be held by one jail"
        )
    } else {
        return None;
    };
    Some(Problem::new(
        TOO_MANY,
        "spec.networks",
        message,
        "attach it to fewer networks, or spread it over several jails (docs/reference/limits.md, sizes)",
    ))
}

#[cfg(test)]
mod tests;
