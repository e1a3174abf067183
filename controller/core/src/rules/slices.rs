//! Networks that span hosts: a host with jails of one has a node address that the others send to, and jails have addresses of their host's slices.

use std::net::IpAddr;

use cellblock_schemas::host::node_field;
use cellblock_schemas::net::Family;
use cellblock_schemas::network::{Network, NetworkSpec};
use cellblock_schemas::{Host, Jail};

use super::Problem;
use crate::index::Index;
use crate::slices::{self, Holder};

#[cfg(test)]
mod tests;

const FAMILIES: [Family; 2] = [Family::Ipv4, Family::Ipv6];

/// The families of a network that spans hosts.
fn families(spec: &NetworkSpec) -> impl Iterator<Item = Family> + '_ {
    let sliced = FAMILIES.into_iter();
    let sliced = sliced.filter(|family| spec.slice_length(*family).is_some());
    sliced.filter(|family| {
        let mut subnets = spec.subnets.iter();
        subnets.any(|subnet| subnet.cidr.family() == *family)
    })
}

/// The first family for which a host has no address that the others could send to.
fn nodeless(spec: &NetworkSpec, host: &Host) -> Option<Family> {
    families(spec).find(|family| host.spec.node(*family).is_none())
}

/// A jail on a host that the others could not reach, and addresses that are another host's to give.
pub(super) fn of_jail(index: &Index, jail: &Jail, host: &Host, problems: &mut Vec<Problem>) {
    let name = &host.metadata.name;
    for (place, attachment) in jail.spec.networks.iter().enumerate() {
        let Some(network) = index.network(&attachment.network) else {
            continue;
        };
        if let Some(family) = nodeless(&network.spec, host) {
            let entry = node_field(family);
            problems.push(Problem::new(
                "NodeAddressMissing",
                format!("spec.networks[{place}].network"),
                format!(
                    "network {} spans hosts, and host {name} has no spec.addresses.{entry} by which the others would reach its jails",
                    network.metadata.name
                ),
                &format!("give Host {name} its address on the link that it shares with the other hosts as spec.addresses.{entry}"),
            ));
        }
        for (position, given) in attachment.addresses.iter().enumerate() {
            let Some(slice) = network.spec.slice_of(given.address) else {
                continue;
            };
            let Holder::Other(other) = slices::holder(index, network, name, slice) else {
                continue;
            };
            problems.push(Problem::new(
                "SliceTaken",
                format!("spec.networks[{place}].addresses[{position}]"),
                format!(
                    "{} is of slice {slice} of network {}, which host {other} has, and the jail is for host {name}",
                    given.address, network.metadata.name
                ),
                "leave it out to have one allocated, choose one of this host's slices or of one that no host has, or put the jail on that host",
            ));
        }
    }
}

/// A network whose new subnets or slices do not fit the hosts and jails that it has.
pub(super) fn of_network(
    index: &Index,
    network: &Network,
    before: Option<&Network>,
    problems: &mut Vec<Problem>,
) {
    let name = &network.metadata.name;
    if !network.spec.spans_hosts() {
        return;
    }
    for host in index.hosts_by_load() {
        within(host, network, "spec.subnets", problems);
    }
    let hosts = index.hosts_of_network(name);
    let hosts = hosts.filter_map(|host| index.host(host));
    let nodeless = hosts.filter_map(|host| Some((host, nodeless(&network.spec, host)?)));
    for (host, family) in nodeless {
        let (host, entry) = (&host.metadata.name, node_field(family));
        problems.push(Problem::new(
            "NodeAddressMissing",
            "spec.subnets",
            format!("host {host} has jails of this network and no spec.addresses.{entry} by which the others would reach them"),
            &format!("give Host {host} its address on the link that it shares with the other hosts first"),
        ));
    }
    let Some(before) = before else {
        return;
    };
    for (family, field) in [(Family::Ipv4, "ipv4"), (Family::Ipv6, "ipv6")] {
        let (was, is) = (
            before.spec.slice_length(family),
            network.spec.slice_length(family),
        );
        if was == is {
            continue;
        }
        let mut held = index.claims().slices(name);
        let held = held.find_map(|(net, claim)| {
            let is_used = Family::of(net.addr()) == family && !slices::is_idle(index, name, net);
            is_used.then(|| (net, claim.owner.slice_host().unwrap_or_default()))
        });
        if let Some((net, host)) = held {
            problems.push(Problem::new(
                "SliceInUse",
                format!("spec.routed.hostPrefixLength.{field}"),
                format!("cannot change: jails on host {host} have addresses of its slice {net}"),
                "make a new Network and attach the jails to it, or delete its jails first",
            ));
        }
    }
}

/// A host that would share its node address, or have none any more though jails of its are reached by it.
pub(super) fn of_host(
    index: &Index,
    host: &Host,
    before: Option<&Host>,
    problems: &mut Vec<Problem>,
) {
    let name = &host.metadata.name;
    for family in FAMILIES {
        let entry = node_field(family);
        let field = format!("spec.addresses[{entry}]");
        let Some(address) = host.spec.node(family) else {
            let had = before.is_some_and(|before| before.spec.node(family).is_some());
            let mut networks = index.networks();
            let used = networks.find(|network| {
                let is_of = families(&network.spec).any(|of| of == family);
                had && is_of && index.has_network(name, &network.metadata.name)
            });
            if let Some(network) = used {
                problems.push(Problem::new(
                    "NodeAddressInUse",
                    field,
                    format!(
                        "other hosts reach this host's jails of network {} by it",
                        network.metadata.name
                    ),
                    "keep it, give another in its place, or delete these jails first",
                ));
            }
            continue;
        };
        let mut others = index.hosts_by_load();
        let other = others
            .find(|other| other.metadata.name != *name && other.spec.node(family) == Some(address));
        if let Some(other) = other {
            problems.push(Problem::new(
                "NodeAddressTaken",
                field,
                format!("{address} is that of host {} already", other.metadata.name),
                "give each host its own address on the link that they share",
            ));
        }
    }
    for network in index.networks() {
        within(host, network, "spec.addresses", problems);
    }
}

/// A node address among those of jails: the route to a slice would lead into a slice.
fn within(host: &Host, network: &Network, field: &str, problems: &mut Vec<Problem>) {
    if !network.spec.spans_hosts() {
        return;
    }
    for family in FAMILIES {
        let Some(address) = host.spec.node(family) else {
            continue;
        };
        if let Some(subnet) = network.spec.subnet_of(address) {
            problems.push(Problem::new(
                "NodeAddressTaken",
                field,
                inside(host, network, address, &subnet.cidr.to_string()),
                "the hosts' own link and the network's subnets are different prefixes: change one of the two",
            ));
        }
    }
}

fn inside(host: &Host, network: &Network, address: IpAddr, subnet: &str) -> String {
    format!(
        "{address}, by which the others reach host {}, lies in {subnet} of network {}, whose addresses are those of jails",
        host.metadata.name, network.metadata.name
    )
}
