//! Ports and public addresses that nothing on a packet's way could bring to their jail, by the one table of `schemas`.
//!
//! One that could be had in no family is refused wherever the jail may run. Which families it has follows from the public addresses of a host, so the rest is found there.

use std::collections::BTreeSet;

use cellblock_schemas::enforcement::{Feature, Refusal, enforcement};
use cellblock_schemas::jail::Attachment;
use cellblock_schemas::net::{Family, is_link_local};
use cellblock_schemas::network::Network;
use cellblock_schemas::{Host, Jail};

use super::Problem;
use crate::index::{Index, public_addresses};

#[cfg(test)]
mod tests;

const REASON: &str = "NotEnforceable";

/// Where a jail's networks are found by their names.
pub(super) trait Networks<'a>: Fn(&str) -> Option<&'a Network> {}

impl<'a, F: Fn(&str) -> Option<&'a Network>> Networks<'a> for F {}

/// A published port or a public address of a jail: what shall be led to it.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    feature: Feature,
    place: usize,
    name: &'a str,
    uplink: &'a str,
    address: Option<&'a str>,
    network: Option<&'a str>,
}

impl<'a> Wanted<'a> {
    /// Everything that shall be led to a jail.
    fn of(jail: &'a Jail) -> impl Iterator<Item = Self> {
        let published = jail.spec.publish.iter().enumerate();
        let published = published.map(|(place, publish)| Self {
            feature: Feature::Publish,
            place,
            name: &publish.name,
            uplink: &publish.uplink,
            address: publish.address.as_deref(),
            network: publish.network.as_deref(),
        });
        let public = jail.spec.public_addresses.iter().enumerate();
        published.chain(public.map(|(place, public)| Self {
            feature: Feature::OneToOne,
            place,
            name: &public.name,
            uplink: &public.uplink,
            address: Some(&public.address),
            network: public.network.as_deref(),
        }))
    }

    /// The list that it stands in, what it is, and what a jail does with it.
    fn words(&self) -> (&'static str, &'static str, &'static str) {
        match self.feature {
            Feature::EgressNat
            | Feature::Publish
            | Feature::Firewall
            | Feature::SocketOwner
            | Feature::FirewallInside
            | Feature::Isolation => ("publish", "port", "publishes"),
            Feature::OneToOne => ("publicAddresses", "public address", "has public address"),
        }
    }

    /// The families that it has on a host.
    fn families(&self, host: &Host) -> BTreeSet<Family> {
        let addresses = public_addresses(host, self.uplink, self.address);
        // An address that the host does not have is told of where it is claimed.
        let addresses = addresses.unwrap_or_default().into_iter();
        addresses.map(Family::of).collect()
    }
}

/// The network that something leads to in a family, and why it is not brought there; none of the latter where it is.
struct Way<'a> {
    family: Family,
    network: &'a Network,
    refusal: Option<Refusal>,
}

/// The network of a jail that is meant in a family: the one that is named, else the first on which the jail has an address of it.
pub(super) fn meant<'a>(
    jail: &Jail,
    named: Option<&str>,
    family: Family,
    networks: impl Networks<'a>,
) -> Option<&'a Network> {
    let attachments = jail.spec.networks.iter();
    let mut meant =
        attachments.filter(|attachment| named.is_none_or(|named| *named == attachment.network));
    meant.find_map(|attachment| {
        let network = networks(&attachment.network)?;
        has_address(attachment, network, family).then_some(network)
    })
}

/// The ways of something: one for each family that the jail has an address of.
fn ways<'a>(jail: &Jail, wanted: &Wanted<'_>, networks: impl Networks<'a>) -> Vec<Way<'a>> {
    let way = |family| {
        let network = meant(jail, wanted.network, family, &networks)?;
        let refusal = enforcement(&network.spec, wanted.feature, family).refusal();
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
    if attachment.is_dynamic(family) {
        return false;
    }
    if given.is_empty() {
        let mut subnets = network.spec.subnets.iter();
        return subnets.any(|subnet| subnet.cidr.family() == family && !subnet.is_link_local());
    }
    // Nothing can be led to a link-local one.
    given
        .iter()
        .any(|given| Family::of(given.address) == family && !is_link_local(given.address))
}

/// Something that would lead nowhere.
struct Nowhere<'a> {
    wanted: Wanted<'a>,
    network: &'a Network,
    refusal: Refusal,
}

impl Nowhere<'_> {
    fn problem(&self) -> Problem {
        let place = self.wanted.place;
        let (list, what, _) = self.wanted.words();
        let field = match self.wanted.network {
            Some(_) => format!("spec.{list}[{place}].network"),
            None => format!("spec.{list}[{place}]"),
        };
        let name = &self.network.metadata.name;
        let message = format!(
            "no {what} can lead to network {name}: {}",
            self.refusal.message
        );
        Problem::new(REASON, field, message, self.refusal.help)
    }
}

/// What leads nowhere on any host.
fn everywhere<'a>(jail: &'a Jail, networks: impl Networks<'a>) -> Vec<Nowhere<'a>> {
    let nowhere = Wanted::of(jail).filter_map(|wanted| {
        let ways = ways(jail, &wanted, &networks);
        if ways.iter().any(|way| way.refusal.is_none()) {
            return None;
        }
        let first = ways.into_iter().next()?;
        Some(Nowhere {
            wanted,
            network: first.network,
            refusal: first.refusal?,
        })
    });
    nowhere.collect()
}

/// What leads nowhere in a family that it has on this host.
fn on<'a>(host: &Host, jail: &'a Jail, networks: impl Networks<'a>) -> Vec<Nowhere<'a>> {
    let nowhere = Wanted::of(jail).filter_map(|wanted| {
        let families = wanted.families(host);
        let ways = ways(jail, &wanted, &networks).into_iter();
        let mut of_host = ways.filter(|way| families.contains(&way.family));
        of_host.find_map(|way| {
            Some(Nowhere {
                wanted,
                network: way.network,
                refusal: way.refusal?,
            })
        })
    });
    nowhere.collect()
}

/// What nobody could lead to the jail wherever it may run.
pub(super) fn of_jail(index: &Index, jail: &Jail, problems: &mut Vec<Problem>) {
    let found = everywhere(jail, |name: &str| index.network(name));
    problems.extend(found.iter().map(Nowhere::problem));
}

/// What nobody could lead to the jail on one host, without what nobody could anywhere.
pub(super) fn of_jail_on(index: &Index, jail: &Jail, host: &Host, problems: &mut Vec<Problem>) {
    let networks = |name: &str| index.network(name);
    let same = |left: &Wanted<'_>, right: &Wanted<'_>| {
        (left.feature, left.place) == (right.feature, right.place)
    };
    let anywhere = everywhere(jail, networks);
    let found = on(host, jail, networks);
    let here = found.iter().filter(|found| {
        !anywhere
            .iter()
            .any(|other| same(&other.wanted, &found.wanted))
    });
    problems.extend(here.map(Nowhere::problem));
}

/// What leads to jails on a network, and with its new spec would lead nowhere.
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
            wanted, refusal, ..
        }) = found
        {
            let (jail, name) = (&jail.metadata.name, wanted.name);
            let (_, _, does) = wanted.words();
            let message = format!("jail {jail} {does} `{name}` here: {}", refusal.message);
            problems.push(Problem::new(REASON, "spec.subnets", message, refusal.help));
        }
    }
}
