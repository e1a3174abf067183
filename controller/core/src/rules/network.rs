//! What a network may say given the other networks and the jails on it, and a host given the jails on it.

use std::collections::BTreeMap;

use cellblock_schemas::network::{Network, NetworkSpec, Subnet};
use cellblock_schemas::selector::{LabelSelector, SelectorOperator};
use cellblock_schemas::{Host, Jail};

use super::Problem;
use crate::claim::Resource;
use crate::index::{Index, wanted_ports};

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
    let Some(before) = before else {
        return problems;
    };
    if before.spec.host_selector != network.spec.host_selector {
        left_behind(index, network, &mut problems);
    }
    let attached: Vec<_> = index
        .jails_of_network(&network.metadata.name)
        .filter(|jail| addresses_in(jail, &network.metadata.name).next().is_some())
        .collect();
    for jail in &attached {
        left_outside(network, jail, &mut problems);
    }
    super::enforced::of_network(index, network, &mut problems);
    problems
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

/// What is wrong with a host's new spec; `before` is what is stored.
pub(crate) fn host_update(index: &Index, host: &Host, before: Option<&Host>) -> Vec<Problem> {
    let mut problems = Vec::new();
    super::uplink::of_host(index, host, &mut problems);
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
        problems.extend(super::blocked::of_jail(host, jail, "spec.uplinks"));
        for wanted in wanted_ports(host, jail).0 {
            let other = taken
                .iter()
                .find(|(resource, owner)| **owner != own && collide(resource, &wanted));
            if let Some((_, other)) = other {
                problems.push(Problem::new(
                    "PortTaken",
                    "spec.uplinks",
                    format!("jails {other} and {own} would both publish {wanted}"),
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
                ..
            },
            Resource::Port {
                address: other,
                protocol: other_protocol,
                ports: other_ports,
                ..
            },
        ) => address == other && protocol == other_protocol && ports.overlaps(other_ports),
        (Resource::Port { address, .. } | Resource::PublicAddress { address, .. }, other) => {
            matches!(other, Resource::PublicAddress { address: whole, .. } | Resource::Port { address: whole, .. } if whole == address)
        }
        _ => false,
    }
}

/// Subnets that two networks on one host would share.
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
        .filter(|other| other.metadata.name != network.metadata.name)
        .filter(|other| may_share_a_host(&network.spec, &other.spec))
        .filter(|other| !same_wire(&network.spec, &other.spec));
    for other in others {
        let common = other
            .spec
            .subnets
            .iter()
            .map(|subnet| subnet.cidr.net())
            .find(|other| other.contains(&net) || net.contains(other));
        if let Some(common) = common {
            problems.push(Problem::new(
                "SubnetOverlap",
                field,
                format!("{net} overlaps {common} of network {}", other.metadata.name),
                "choose another prefix, or keep the two networks on different hosts with hostSelectors that cannot both match",
            ));
        }
    }
}

/// Two networks on one uplink are the same wire, so they may share its prefix.
fn same_wire(left: &NetworkSpec, right: &NetworkSpec) -> bool {
    let (left, right) = (left.mode(), right.mode());
    let uplink = left.as_ref().and_then(|mode| mode.uplink());
    uplink.is_some() && uplink == right.as_ref().and_then(|mode| mode.uplink())
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

/// Addresses that jails have and that the network's new subnets or gateways leave no room for.
fn left_outside(network: &Network, jail: &Jail, problems: &mut Vec<Problem>) {
    let spec = &network.spec;
    for address in addresses_in(jail, &network.metadata.name) {
        let jail = &jail.metadata.name;
        match spec.subnet_of(address) {
            None if spec.subnets.is_empty() => {}
            None => problems.push(Problem::new(
                "AddressOutside",
                "spec.subnets",
                format!("{address} of jail {jail} would lie outside every subnet"),
                "keep the subnet until the jail has another address or is gone",
            )),
            Some(subnet) => {
                let gateway = subnet.gateway.as_ref();
                if gateway.is_some_and(|gateway| gateway.address == address) {
                    problems.push(Problem::new(
                        "AddressTaken",
                        "spec.subnets",
                        format!("{address} cannot become the gateway: jail {jail} has it"),
                        "choose another gateway, or give the jail another address first",
                    ));
                }
            }
        }
    }
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

/// The addresses that a jail has of a network.
fn addresses_in<'a>(
    jail: &'a Jail,
    network: &'a str,
) -> impl Iterator<Item = std::net::IpAddr> + 'a {
    let bound = jail
        .binding()
        .into_iter()
        .flat_map(|binding| &binding.attachments);
    bound
        .filter(move |bound| bound.network == network)
        .flat_map(|bound| bound.addresses.iter().map(|address| address.address))
}
