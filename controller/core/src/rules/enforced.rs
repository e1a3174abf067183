//! Ports that nothing on a packet's way could bring to their jail, by the one table of `schemas`.
//!
//! A port that could be had in no family is refused wherever the jail may run. Which families it is published in follows from the public addresses of a host, so the rest is
//! found there.

use std::collections::BTreeSet;

use cellblock_schemas::enforcement::{Enforcement, Feature, Refusal, enforcement};
use cellblock_schemas::jail::{Attachment, Publish};
use cellblock_schemas::net::Family;
use cellblock_schemas::network::Network;
use cellblock_schemas::{Host, Jail};

use super::Problem;
use crate::index::{Index, public_addresses};

#[cfg(test)]
mod tests;

const REASON: &str = "NotEnforceable";

/// Where a jail's networks are found by their names.
trait Networks<'a>: Fn(&str) -> Option<&'a Network> {}

impl<'a, F: Fn(&str) -> Option<&'a Network>> Networks<'a> for F {}

/// The network that a published port leads to in a family, and why it is not brought there; none of the latter where it is.
struct Way<'a> {
    family: Family,
    network: &'a Network,
    refusal: Option<Refusal>,
}

/// The ways of a published port: one for each family that the jail has an address of, on the network that the port names, else on the first one.
fn ways<'a>(jail: &'a Jail, publish: &Publish, networks: impl Networks<'a>) -> Vec<Way<'a>> {
    let way = |family| {
        let attachments = jail.spec.networks.iter();
        let mut meant = attachments.filter(|attachment| {
            let named = publish.network.as_ref();
            named.is_none_or(|named| *named == attachment.network)
        });
        let network = meant.find_map(|attachment| {
            let network = networks(&attachment.network)?;
            has_address(attachment, network, family).then_some(network)
        })?;
        let refusal = match enforcement(&network.spec, Feature::Publish, family) {
            Enforcement::HostPf => None,
            Enforcement::Refused(refusal) => Some(refusal),
        };
        Some(Way {
            family,
            network,
            refusal,
        })
    };
    let families = [Family::Ipv4, Family::Ipv6];
    families.into_iter().filter_map(way).collect()
}

fn has_address(attachment: &Attachment, network: &Network, family: Family) -> bool {
    let given = &attachment.addresses;
    if given.is_empty() {
        let mut subnets = network.spec.subnets.iter();
        return subnets.any(|subnet| subnet.cidr.family() == family);
    }
    given
        .iter()
        .any(|given| Family::of(given.address) == family)
}

/// The families that a published port has on a host.
fn families(host: &Host, publish: &Publish) -> BTreeSet<Family> {
    let addresses = public_addresses(host, &publish.uplink, publish.address.as_deref());
    // An address that the host does not have is told of where it is claimed.
    let addresses = addresses.unwrap_or_default().into_iter();
    addresses.map(Family::of).collect()
}

/// A published port that would lead nowhere.
struct Nowhere<'a> {
    place: usize,
    publish: &'a Publish,
    network: &'a Network,
    refusal: Refusal,
}

impl Nowhere<'_> {
    fn problem(&self) -> Problem {
        let place = self.place;
        let field = match self.publish.network {
            Some(_) => format!("spec.publish[{place}].network"),
            None => format!("spec.publish[{place}]"),
        };
        let name = &self.network.metadata.name;
        let message = format!(
            "no port can lead to network {name}: {}",
            self.refusal.message
        );
        Problem::new(REASON, field, message, self.refusal.help)
    }
}

/// Ports that lead nowhere on any host.
fn everywhere<'a>(jail: &'a Jail, networks: impl Networks<'a>) -> Vec<Nowhere<'a>> {
    let published = jail.spec.publish.iter().enumerate();
    let nowhere = published.filter_map(|(place, publish)| {
        let ways = ways(jail, publish, &networks);
        if ways.iter().any(|way| way.refusal.is_none()) {
            return None;
        }
        let first = ways.into_iter().next()?;
        Some(Nowhere {
            place,
            publish,
            network: first.network,
            refusal: first.refusal?,
        })
    });
    nowhere.collect()
}

/// Ports that lead nowhere in a family that they have on this host.
fn on<'a>(host: &Host, jail: &'a Jail, networks: impl Networks<'a>) -> Vec<Nowhere<'a>> {
    let published = jail.spec.publish.iter().enumerate();
    let nowhere = published.filter_map(|(place, publish)| {
        let families = families(host, publish);
        let ways = ways(jail, publish, &networks).into_iter();
        let mut of_host = ways.filter(|way| families.contains(&way.family));
        of_host.find_map(|way| {
            Some(Nowhere {
                place,
                publish,
                network: way.network,
                refusal: way.refusal?,
            })
        })
    });
    nowhere.collect()
}

/// Ports that nobody could publish wherever the jail may run.
pub(super) fn of_jail(index: &Index, jail: &Jail, problems: &mut Vec<Problem>) {
    let found = everywhere(jail, |name: &str| index.network(name));
    problems.extend(found.iter().map(Nowhere::problem));
}

/// Ports that nobody could publish on one host, without those that nobody could anywhere.
pub(super) fn of_jail_on(index: &Index, jail: &Jail, host: &Host, problems: &mut Vec<Problem>) {
    let networks = |name: &str| index.network(name);
    let anywhere: Vec<usize> = everywhere(jail, networks)
        .iter()
        .map(|found| found.place)
        .collect();
    let found = on(host, jail, networks);
    let here = found
        .iter()
        .filter(|found| !anywhere.contains(&found.place));
    problems.extend(here.map(Nowhere::problem));
}

/// Ports of jails on a network that its new spec would lead nowhere.
pub(super) fn of_network(index: &Index, network: &Network, problems: &mut Vec<Problem>) {
    let name = &network.metadata.name;
    let networks = |wanted: &str| {
        if wanted == name {
            Some(network)
        } else {
            index.network(wanted)
        }
    };
    for jail in index.jails_of_network(name) {
        let host = jail.binding().and_then(|binding| index.host(&binding.host));
        let Some(host) = host else { continue };
        let found = on(host, jail, networks);
        let found = found
            .iter()
            .find(|found| found.network.metadata.name == *name);
        if let Some(Nowhere {
            publish, refusal, ..
        }) = found
        {
            let (jail, publish) = (&jail.metadata.name, &publish.name);
            let message = format!(
                "jail {jail} publishes `{publish}` here: {}",
                refusal.message
            );
            problems.push(Problem::new(REASON, "spec.subnets", message, refusal.help));
        }
    }
}
