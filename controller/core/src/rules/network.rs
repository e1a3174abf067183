//! What a network may say given the other networks and the jails on it, and a host given the jails on it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use cellblock_schemas::network::{Network, NetworkSpec, Scope, Subnet};
use cellblock_schemas::selector::{LabelSelector, SelectorOperator};
use cellblock_schemas::{Host, Jail};

use super::Problem;
use crate::claim::{Owner, Resource};
use crate::fibs;
use crate::index::{Index, wanted_ports};

#[cfg(test)]
mod tests;

/// How many jails a message names before it only counts them.
const JAILS_SHOWN_MAX: usize = 3;

/// What is wrong with a network; `before` is what is stored.
pub(crate) fn network(index: &Index, network: &Network, before: Option<&Network>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (place, subnet) in network.spec.subnets.iter().enumerate() {
        overlaps(
            index,
            network,
            subnet,
            &format!("spec.subnets[{place}].cidr"),
            &mut problems,
        );
    }
    super::uplink::of_network(index, network, &mut problems);
    super::tables::of_network(index, network, &mut problems);
    super::slices::of_network(index, network, before, &mut problems);
    let Some(before) = before else {
        return problems;
    };
    if before.spec.host_selector != network.spec.host_selector {
        left_behind(index, network, &mut problems);
    }
    for (address, claim) in index.claims().addresses(&network.metadata.name) {
        problems.extend(left_outside(network, address, &claim.owner));
    }
    super::enforced::of_network(index, network, &mut problems);
    if fibs::of(before) != fibs::of(network) {
        problems.extend(fibs_mixed(index, network));
    }
    problems
}

/// A jail whose other networks are of another routing table.
fn fibs_mixed(index: &Index, network: &Network) -> Option<Problem> {
    let mut jails = index.jails_of_network(&network.metadata.name);
    jails.find_map(|jail| {
        let found = super::jail::fibs_mixed(index, &jail.spec, Some(network))?;
        Some(Problem::new(
            found.reason,
            "spec.fib",
            format!("jail {}: {}", jail.metadata.name, found.message),
            &found.help,
        ))
    })
}

/// Hosts with jails of a network that its new selector would leave out: the jails would stay there all the same.
fn left_behind(index: &Index, network: &Network, problems: &mut Vec<Problem>) {
    let Some(selector) = &network.spec.host_selector else {
        return;
    };
    let jails: Vec<_> = index
        .jails_of_network(&network.metadata.name)
        .filter(|jail| {
            let host = jail.binding().and_then(|binding| index.host(&binding.host));
            host.is_some_and(|host| !selector.matches(&host.metadata.labels))
        })
        .collect();
    if !jails.is_empty() {
        problems.push(Problem::new(
            "HostsExcluded",
            "spec.hostSelector",
            format!(
                "would leave out hosts that have jails of this network: {}",
                named(&jails)
            ),
            "a jail that has a host stays there: delete these jails first, or keep their hosts in",
        ));
    }
}

/// Routing tables that a Host no longer declares and that networks with jails there have: they would be gone with the next boot.
fn fewer_tables(index: &Index, host: &Host, before: Option<&Host>, problems: &mut Vec<Problem>) {
    let name = &host.metadata.name;
    let used = index.networks().filter_map(|network| {
        let fib = fibs::of(network)?;
        let name_of = &network.metadata.name;
        index.has_network(name, name_of).then_some((fib, name_of))
    });
    let Some((fib, network)) = used.max() else {
        return;
    };
    let has = |host: &Host| host.spec.fibs.is_some_and(|fibs| fibs > fib);
    if before.is_some_and(has) && !has(host) {
        let message = format!("network {network} has jails on this host and needs table {fib}");
        let help = format!("{} or more, or delete these jails first", fib + 1);
        problems.push(Problem::new("FibMissing", "spec.fibs", message, &help));
    }
}

/// What is wrong with a host's new spec; `before` is what is stored.
pub(crate) fn host_update(index: &Index, host: &Host, before: Option<&Host>) -> Vec<Problem> {
    let mut problems = Vec::new();
    super::uplink::of_host(index, host, before, &mut problems);
    super::firewall::of_host(index, host, before, &mut problems);
    super::slices::of_host(index, host, before, &mut problems);
    fewer_tables(index, host, before, &mut problems);
    problems.extend(super::image::of_host(index, host, before));
    let was_forgotten = before.is_some_and(|before| before.spec.forgotten);
    if let Some((session, _)) = index.session(&host.metadata.name)
        && host.spec.forgotten
        && !was_forgotten
    {
        problems.push(Problem::new(
            "HostHeard",
            "spec.forgotten",
            format!(
                "the host is not gone: its agent is connected from {}",
                session.address
            ),
            "stop the agent first, or delete the jails, which it then takes away",
        ));
    }
    let mut taken: BTreeMap<Resource, &str> = BTreeMap::new();
    let name = &host.metadata.name;
    let jails = index
        .jails_of_host(name)
        .filter(|jail| jail.binding().is_some());
    for jail in jails {
        let own = jail.metadata.name.as_str();
        problems.extend(super::blocked::of_jail(host, jail, Some("spec.uplinks")));
        for wanted in wanted_ports(host, jail).0 {
            let other = taken
                .iter()
                .find(|(resource, owner)| **owner != own && collide(resource, &wanted));
            if let Some((_, other)) = other {
                problems.push(Problem::new(
                    "PortTaken",
                    "spec.uplinks",
                    format!("jails {other} and {own} would both have {wanted}"),
                    "give the two public addresses different values",
                ));
            }
            taken.insert(wanted, own);
        }
    }
    problems
}

fn collide(left: &Resource, right: &Resource) -> bool {
    match (left, right) {
        (
            Resource::Port {
                address,
                protocol,
                ports,
                share,
                ..
            },
            Resource::Port {
                address: other,
                protocol: other_protocol,
                ports: other_ports,
                share: other_share,
                ..
            },
        ) => {
            let shares = share.as_ref().zip(other_share.as_ref());
            let are_shared = shares.is_some_and(|(share, other)| share.goes_with(other));
            address == other
                && protocol == other_protocol
                && ports.overlaps(other_ports)
                && !(are_shared && ports == other_ports)
        }
        (Resource::Port { address, .. } | Resource::PublicAddress { address, .. }, other) => {
            matches!(other, Resource::PublicAddress { address: whole, .. } | Resource::Port { address: whole, .. } if whole == address)
        }
        _ => false,
    }
}

/// Subnets that another network on one host, or on one wire, has too.
fn overlaps(
    index: &Index,
    network: &Network,
    subnet: &Subnet,
    field: &str,
    problems: &mut Vec<Problem>,
) {
    let net = subnet.cidr.net();
    let others = index
        .networks()
        .filter(|other| other.metadata.name != network.metadata.name);
    for other in others {
        let wire = same_wire(&network.spec, &other.spec);
        if wire.is_none() && !may_share_a_host(&network.spec, &other.spec) {
            continue;
        }
        let common = other
            .spec
            .subnets
            .iter()
            .map(|subnet| subnet.cidr.net())
            .find(|other| other.contains(&net) || net.contains(other));
        let Some(common) = common else {
            continue;
        };
        let name = &other.metadata.name;
        let (why, help) = match wire {
            Some(uplink) => (
                format!(
                    " on the same uplink `{uplink}`: each would give out the other's addresses"
                ),
                "attach the jails to one of the two networks, or divide the prefix between them; two wires that are not connected may both have it if their uplinks have different names and the networks' hostSelectors cannot both match",
            ),
            None => (
                String::new(),
                "choose another prefix, or keep the two networks on different hosts with hostSelectors that cannot both match",
            ),
        };
        let message = format!("{net} overlaps {common} of network {name}{why}");
        problems.push(Problem::new("SubnetOverlap", field, message, help));
    }
}

/// The uplink of two networks that are one wire. Uplinks of one name are taken for one wire on whatever hosts they are: an address
/// is claimed by the network's name, so only prefixes that do not overlap keep two networks from giving out the same one. Where the
/// addresses of both repeat on every host, the operator has said that each host has a wire of its own.
fn same_wire<'a>(left: &'a NetworkSpec, right: &NetworkSpec) -> Option<&'a str> {
    let scopes = [left, right].map(NetworkSpec::effective_scope);
    let uplink = left.mode()?.uplink()?;
    let same = Some(uplink) == right.mode()?.uplink() && scopes != [Scope::Host; 2];
    same.then_some(uplink)
}

/// Whether one host can have both networks: true unless the selectors contradict each other.
pub(super) fn may_share_a_host(left: &NetworkSpec, right: &NetworkSpec) -> bool {
    match (&left.host_selector, &right.host_selector) {
        (Some(left), Some(right)) => !contradict(left, right) && !contradict(right, left),
        (None, _) | (_, None) => true,
    }
}

fn contradict(left: &LabelSelector, right: &LabelSelector) -> bool {
    left.match_labels.iter().any(|(key, value)| {
        let other = right.match_labels.get(key);
        let refused = right
            .match_expressions
            .iter()
            .filter(|requirement| requirement.key == *key)
            .any(|requirement| match requirement.operator {
                SelectorOperator::In => !requirement.values.contains(value),
                SelectorOperator::NotIn => requirement.values.contains(value),
                SelectorOperator::Exists => false,
                SelectorOperator::DoesNotExist => true,
            });
        other.is_some_and(|other| other != value) || refused
    })
}

/// What is wrong where a network's new subnets or gateways leave no room for an address that somebody holds: a jail that has it, or one
/// that has given it up and whose host may still have it.
fn left_outside(network: &Network, address: IpAddr, owner: &Owner) -> Option<Problem> {
    let spec = &network.spec;
    let Some(subnet) = spec.subnet_of(address) else {
        return (!spec.subnets.is_empty()).then(|| {
            Problem::new(
                "AddressOutside",
                "spec.subnets",
                format!("{address} of {owner} would lie outside every subnet"),
                "keep the subnet until the jail has another address or is gone, and its host has said so",
            )
        });
    };
    let gateway = subnet.gateway.as_ref()?;
    (gateway.address == address).then(|| {
        Problem::new(
            "AddressTaken",
            "spec.subnets",
            format!("{address} cannot become the gateway: {owner} has it"),
            "choose another gateway, or give the jail another address first",
        )
    })
}

/// The first few jails by name, the rest counted.
pub(crate) fn named(jails: &[&Jail]) -> String {
    let shown: Vec<_> = jails
        .iter()
        .take(JAILS_SHOWN_MAX)
        .map(|jail| jail.metadata.name.as_str())
        .collect();
    match jails.len().checked_sub(JAILS_SHOWN_MAX) {
        None | Some(0) => shown.join(", "),
        Some(more) => format!("{} and {more} more", shown.join(", ")),
    }
}
