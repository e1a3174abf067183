//! What a jail may say given the networks, the hosts and the other jails.

use std::collections::BTreeSet;

use cellblock_schemas::jail::{Addressing, Attachment, JailSpec, ParameterValue};
use cellblock_schemas::net::{Family, HostAddress, is_link_local};
use cellblock_schemas::network::{Network, NetworkSpec, Scope, Subnet};
use cellblock_schemas::{Host, Jail};

use super::{Problem, Together};
use crate::allocate::{HOST_END, address_claim, routed_prefix_length, with_partner};
use crate::claim::Resource;
use crate::fibs;
use crate::index::{Index, root_of, wanted_ports};

/// How many ranges of ports one jail may publish: each is a claim of its own per address family, and a jail's claims must fit
/// into one transaction (see `bind::CLAIMS_MAX`).
const PORT_RANGES_MAX: usize = 32;

/// What to do about a MAC address that cannot be had.
const OTHER_MAC: &str = "choose a MAC address that differs in its last four octets, which the host's end of the link has too, or leave it out to have one allocated";

/// The cluster, and the other objects of the same apply.
struct Others<'a> {
    index: &'a Index,
    together: &'a Together,
}

impl std::ops::Deref for Others<'_> {
    type Target = Index;

    fn deref(&self) -> &Index {
        self.index
    }
}

/// What is wrong wherever the jail may run. Networks that do not exist are passed over: the jail waits for them.
pub(crate) fn host_independent(index: &Index, jail: &Jail, together: &Together) -> Vec<Problem> {
    let index = &Others { index, together };
    let mut problems = Vec::new();
    modes_mixed(index, jail, &mut problems);
    stack_without_root(index, jail, &mut problems);
    for (place, attachment) in jail.spec.networks.iter().enumerate() {
        let field = format!("spec.networks[{place}]");
        let Some(network) = index.network(&attachment.network) else {
            continue;
        };
        let name = &network.metadata.name;
        let was_attached = jail.binding().is_some_and(|binding| {
            binding
                .attachments
                .iter()
                .any(|bound| bound.network == *name)
        });
        if network.metadata.deletion_timestamp.is_some() && !was_attached {
            problems.push(Problem::new(
                "NetworkDeleting",
                format!("{field}.network"),
                format!("network {name} is being deleted"),
                "wait until it is gone and apply it anew, or name another",
            ));
        }
        let is_vnet = network.spec.mode().is_some_and(|mode| mode.is_vnet());
        if !is_vnet {
            shared_ip(attachment, &field, name, &mut problems);
        }
        if network.spec.routed.is_some() && is_dynamic(attachment) {
            problems.push(Problem::new(
                "NotEnforceable",
                format!("{field}.addressing"),
                format!("the routes of routed network {name} lead to the addresses that its jails are given, and nobody would know those that come later"),
                "use allocate or static, or attach it to a bridge",
            ));
        }
        if network.spec.passthrough.is_some() && attachment.mac.is_some() {
            problems.push(Problem::new(
                "MacOfNic",
                format!("{field}.mac"),
                format!("a jail on the pass-through network {name} has a NIC, which keeps its own MAC address"),
                "remove it",
            ));
        }
        addresses(index, jail, attachment, network, &field, &mut problems);
    }
    problems.extend(fibs::of_jail(index, jail));
    problems.extend(fibs_mixed(index, &jail.spec, None));
    problems.extend(link_local_table(index, &jail.spec));
    problems.extend(super::image::of_jail(index, jail));
    problems.extend(super::order::of_jail(index, jail, together));
    problems.extend(super::size::of_jail(index, jail));
    macs(index, jail, &mut problems);
    super::enforced::of_jail(index, jail, &mut problems);
    super::firewall::of_jail(index, jail, &mut problems);
    let published = jail.spec.publish.iter().map(|publish| publish.ports.len());
    let public = jail.spec.public_addresses.iter();
    let ranges: usize = published
        .chain(public.map(|public| public.ports.len()))
        .sum();
    if ranges > PORT_RANGES_MAX {
        problems.push(Problem::new(
            "TooManyPorts",
            "spec.publish",
            format!(
                "{ranges} ports and ranges of ports are published, at most {PORT_RANGES_MAX} can be"
            ),
            "join neighbouring ports into ranges",
        ));
    }
    problems
}

/// MAC addresses that an operator gave: each brings that of the host's end of its link, with the same lower four octets.
fn macs(index: &Others<'_>, jail: &Jail, problems: &mut Vec<Problem>) {
    let mut seen = BTreeSet::new();
    for (place, attachment) in jail.spec.networks.iter().enumerate() {
        let Some(mac) = attachment.mac else {
            continue;
        };
        let field = format!("spec.networks[{place}].mac");
        let number = Resource::of_mac(mac);
        taken(index, jail, &number, &field, problems);
        let message = if mac.0[..2] == HOST_END {
            format!("{mac} is that of the host's end of the same link")
        } else if !seen.insert(number.clone()) {
            format!("{number} is that of another attachment of this jail")
        } else {
            continue;
        };
        problems.push(Problem::new("MacTaken", field, message, OTHER_MAC));
    }
}

/// The processes of a jail have one routing table. `changed` is a network as it shall be.
pub(super) fn fibs_mixed(
    index: &Index,
    jail: &JailSpec,
    changed: Option<&Network>,
) -> Option<Problem> {
    if jail.own_fib().is_some() {
        return None;
    }
    let mut first: Option<(&str, u16)> = None;
    for (place, attachment) in jail.networks.iter().enumerate() {
        let changed = changed.filter(|changed| changed.metadata.name == attachment.network);
        let Some(network) = changed.or_else(|| index.network(&attachment.network)) else {
            continue;
        };
        let (name, fib) = (
            network.metadata.name.as_str(),
            fibs::of(network).unwrap_or_default(),
        );
        match first {
            None => first = Some((name, fib)),
            Some((_, other)) if other == fib => {}
            Some((other_name, other)) => {
                return Some(Problem::new(
                    "FibsMixed",
                    format!("spec.networks[{place}].network"),
                    format!(
                        "the processes of a jail have one routing table, but network {other_name} is for table {other} and network {name} for table {fib}"
                    ),
                    "say which with the jail's parameter exec.fib, or attach it to networks of one fib",
                ));
            }
        }
    }
    None
}

/// Link-local addresses are reached by the first routing table only.
fn link_local_table(index: &Index, jail: &JailSpec) -> Option<Problem> {
    let fib = jail.own_fib().filter(|fib| *fib > 0)?;
    let mut attachments = jail.networks.iter().enumerate();
    attachments.find_map(|(place, attachment)| {
        let network = index.network(&attachment.network)?;
        let mut subnets = network.spec.subnets.iter();
        let given = attachment.addresses.is_empty() || attachment.addresses.iter().any(|given| is_link_local(given.address));
        (given && subnets.any(Subnet::is_link_local)).then(|| {
            Problem::new(
                "NotEnforceable",
                format!("spec.networks[{place}].network"),
                format!(
                    "the link-local addresses of network {} are reached by the first routing table only, and the jail's is {fib}",
                    network.metadata.name
                ),
                "leave exec.fib out, or attach it to another network",
            )
        })
    })
}

/// A jail has either a network stack of its own or the host's.
fn modes_mixed(index: &Index, jail: &Jail, problems: &mut Vec<Problem>) {
    let mut first: [Option<&str>; 2] = [None, None];
    for (place, attachment) in jail.spec.networks.iter().enumerate() {
        let Some(network) = index.network(&attachment.network) else {
            continue;
        };
        let is_vnet = network.spec.mode().is_some_and(|mode| mode.is_vnet());
        let name = network.metadata.name.as_str();
        first[usize::from(is_vnet)].get_or_insert(name);
        if let Some(other) = first[usize::from(!is_vnet)] {
            problems.push(Problem::new(
                "ModesMixed",
                format!("spec.networks[{place}].network"),
                format!("a jail has either a network stack of its own or addresses of the host, but networks {other} and {name} are of both sorts"),
                "attach it to networks of one sort",
            ));
        }
    }
}

/// A jail's own network stack is set up by programs of the host as root: as jail(8) runs them, and with the privileges of the jail that they attach to.
fn stack_without_root(index: &Index, jail: &Jail, problems: &mut Vec<Problem>) {
    let networks = jail.spec.networks.iter();
    let mut networks = networks.filter_map(|attachment| index.network(&attachment.network));
    let is_vnet = |network: &Network| network.spec.mode().is_some_and(|mode| mode.is_vnet());
    if !networks.any(is_vnet) {
        return;
    }
    let mut refuse = |parameter: &str, message: &str| {
        problems.push(Problem::new(
            "NotEnforceable",
            format!("spec.parameters[{parameter}]"),
            message,
            "remove it, or attach the jail to networks of shared addresses",
        ));
    };
    // `priv_check_cred`, sys/kern/kern_priv.c: `suser_enabled` asks the jail.
    if jail.spec.parameters.get("allow.suser") == Some(&ParameterValue::Flag(false)) {
        refuse(
            "allow.suser",
            "ifconfig(8) and route(8) give the jail its addresses and routes as root in it, who may do nothing then",
        );
    }
    // `run_command`, usr.sbin/jail/command.c.
    if jail.spec.parameters.contains_key("exec.system_user") {
        refuse(
            "exec.system_user",
            "the interfaces, addresses and routes of the jail are given to it by hooks on the host, which jail(8) would run as that user",
        );
    }
}

/// What is wrong on one host.
pub(crate) fn on_host(index: &Index, jail: &Jail, host: &str, together: &Together) -> Vec<Problem> {
    let index = &Others { index, together };
    let mut problems = Vec::new();
    let object = index.host(host);
    problems.extend(object.and_then(|host| super::image::of_jail_on(host, jail)));
    super::order::of_jail_on(index, jail, host, &mut problems);
    for (place, attachment) in jail.spec.networks.iter().enumerate() {
        let Some(network) = index.network(&attachment.network) else {
            continue;
        };
        if network.spec.effective_scope() == Scope::Host {
            let field = format!("spec.networks[{place}]");
            static_taken(
                index,
                jail,
                attachment,
                network,
                host,
                &field,
                &mut problems,
            );
        }
    }
    let name = Resource::JailName {
        host: host.to_owned(),
        name: jail.jail_name().to_owned(),
    };
    let field = if jail.spec.jail_name.is_some() {
        "spec.jailName"
    } else {
        "metadata.name"
    };
    taken(index, jail, &name, field, &mut problems);
    if let Some(root) = root_of(jail, host) {
        taken(index, jail, &root, "spec.root.path", &mut problems);
    }
    if let Some(host) = index.host(host) {
        published(index, jail, host, &mut problems);
        super::uplink::of_jail(index, jail, host, &mut problems);
        super::tables::of_jail(index, jail, host, &mut problems);
        super::slices::of_jail(index, jail, host, &mut problems);
        super::enforced::of_jail_on(index, jail, host, &mut problems);
        super::one_to_one::of_jail(index, jail, host, &mut problems);
        problems.extend(super::blocked::of_jail(host, jail, None));
    }
    problems
}

/// The published ports and public addresses that a host does not have, as sentences.
pub(crate) fn publish_problems(host: &Host, jail: &Jail) -> Vec<String> {
    let (_, problems) = wanted_ports(host, jail);
    let sentences = problems.into_iter();
    sentences
        .map(|problem| format!("{}: {}", problem.field, problem.message))
        .collect()
}

/// Whether addresses of either family come from the wire or from the jail itself.
pub(super) fn is_dynamic(attachment: &Attachment) -> bool {
    let families = [Family::Ipv4, Family::Ipv6];
    families
        .into_iter()
        .any(|family| attachment.is_dynamic(family))
}

/// A shared-IP jail has the host's stack: nothing of its own on the link.
fn shared_ip(attachment: &Attachment, field: &str, network: &str, problems: &mut Vec<Problem>) {
    if attachment.mac.is_some() {
        problems.push(Problem::new(
            "NoInterface",
            format!("{field}.mac"),
            format!("a jail on the shared-IP network {network} has no interface of its own, so no MAC address"),
            "remove it",
        ));
    }
    match attachment.effective_addressing() {
        Addressing::Allocate | Addressing::Static => {}
        Addressing::Dhcp | Addressing::Slaac | Addressing::Jail => problems.push(Problem::new(
            "NoInterface",
            format!("{field}.addressing"),
            format!("a jail on the shared-IP network {network} cannot configure addresses itself"),
            "use allocate or static",
        )),
    }
}

fn addresses(
    index: &Others<'_>,
    jail: &Jail,
    attachment: &Attachment,
    network: &Network,
    field: &str,
    problems: &mut Vec<Problem>,
) {
    let mut seen = BTreeSet::new();
    for (place, given) in attachment.addresses.iter().enumerate() {
        let field = format!("{field}.addresses[{place}]");
        if !seen.insert(given.address) {
            let message = format!("{} is given twice", given.address);
            problems.push(Problem::new("AddressTaken", &*field, message, "remove one"));
        }
        if let Some(partner) = network.spec.partner(given.address)
            && !seen.insert(partner)
        {
            let message = format!(
                "{partner} is the other end of the link of {}",
                given.address
            );
            problems.push(Problem::new(
                "AddressTaken",
                &*field,
                message,
                "give addresses of different pairs",
            ));
        }
        problems.extend(address(network, given, &field));
    }
    if network.spec.effective_scope() == Scope::Fleet {
        static_taken(index, jail, attachment, network, "", field, problems);
    }
}

/// What is wrong with one static address within its network.
fn address(network: &Network, given: &HostAddress, field: &str) -> Option<Problem> {
    let spec = &network.spec;
    let name = &network.metadata.name;
    let address = given.address;
    let is_vnet = spec.mode().is_some_and(|mode| mode.is_vnet());
    if spec.subnets.is_empty() && is_link_local(address) {
        return Some(Problem::new(
            "AddressOutside",
            field,
            format!("network {name} has no link-local subnet for {address}"),
            "give it fe80::/64, or a part of it, as a subnet; only sharedIP loopback networks can have one",
        ));
    }
    if spec.subnets.is_empty() {
        return (is_vnet && given.prefix_length.is_none()).then(|| {
            Problem::new(
                "NoPrefixLength",
                field,
                format!("network {name} has no subnets, so {address} needs a prefix length"),
                "write it as in 198.51.100.7/24, or give the network a subnet",
            )
        });
    }
    let Some(subnet) = spec.subnet_of(address) else {
        let subnets = spec.subnets.iter().map(|subnet| subnet.cidr.to_string());
        let subnets = subnets.collect::<Vec<_>>().join(", ");
        return Some(Problem::new(
            "AddressOutside",
            field,
            format!("{address} lies outside every subnet of network {name} ({subnets})"),
            "choose an address in one of them, or leave it out to have one allocated",
        ));
    };
    if let (Some(given), Some(length)) = (given.prefix_length, routed_prefix_length(spec, address))
        && given != length
    {
        return Some(Problem::new(
            "WrongPrefixLength",
            field,
            format!("the links of routed network {name} have /{length}, not /{given}"),
            &format!("write {address}"),
        ));
    }
    let gateway = subnet.gateway.as_ref();
    let message = if gateway.is_some_and(|gateway| gateway.address == address) {
        format!(
            "{address} is the gateway of {} in network {name}",
            subnet.cidr
        )
    } else if !is_on_loopback(spec) && subnet.edges().any(|edge| edge == address) {
        format!(
            "{address} is the network's own, the broadcast or the subnet-router anycast address of {}",
            subnet.cidr
        )
    } else {
        return None;
    };
    Some(Problem::new(
        "AddressTaken",
        field,
        message,
        "choose another address",
    ))
}

/// Static addresses that another jail holds.
fn static_taken(
    index: &Others<'_>,
    jail: &Jail,
    attachment: &Attachment,
    network: &Network,
    host: &str,
    field: &str,
    problems: &mut Vec<Problem>,
) {
    for (place, given) in attachment.addresses.iter().enumerate() {
        for address in with_partner(&network.spec, given.address) {
            let claim = address_claim(network, host, address);
            taken(
                index,
                jail,
                &claim,
                &format!("{field}.addresses[{place}]"),
                problems,
            );
        }
    }
}

fn published(index: &Others<'_>, jail: &Jail, host: &Host, problems: &mut Vec<Problem>) {
    for (place, publish) in jail.spec.publish.iter().enumerate() {
        let mut alone = jail.clone();
        alone.spec.publish = vec![publish.clone()];
        alone.spec.public_addresses.clear();
        for resource in wanted_ports(host, &alone).0 {
            taken(
                index,
                jail,
                &resource,
                &format!("spec.publish[{place}].ports"),
                problems,
            );
        }
    }
    for (place, public) in jail.spec.public_addresses.iter().enumerate() {
        let mut alone = jail.clone();
        alone.spec.publish.clear();
        alone.spec.public_addresses = vec![public.clone()];
        for resource in wanted_ports(host, &alone).0 {
            taken(
                index,
                jail,
                &resource,
                &format!("spec.publicAddresses[{place}]"),
                problems,
            );
        }
    }
}

/// Adds a problem if somebody else holds what `jail` wants.
fn taken(
    index: &Others<'_>,
    jail: &Jail,
    wanted: &Resource,
    field: &str,
    problems: &mut Vec<Problem>,
) {
    let Some((held, claim)) = index.claims().in_the_way(wanted, &jail.metadata.uid) else {
        return;
    };
    let reason = match wanted {
        Resource::Address { .. } => "AddressTaken",
        Resource::MacNumber(_) => "MacTaken",
        Resource::Port { .. } | Resource::PublicAddress { .. } => "PortTaken",
        Resource::JailName { .. } => "JailNameTaken",
        Resource::Root { .. } => "RootTaken",
        Resource::Nic { .. } => "NicTaken",
        Resource::Slice { .. } => "SliceTaken",
        Resource::UserIds(_) => "UserIdsExhausted",
        Resource::Fib(_) => "FibTaken",
    };
    let owner = &claim.owner;
    let (since, help) = match claim.retired {
        _ if index.together.gives_up(owner, held) => (
            ", which gives it up in this very apply; it is free only once its host has taken it away there",
            format!(
                "apply the change of {owner} alone (of two that swap, give one something else for the time being), wait until it is Ready, then apply this again"
            ),
        ),
        None if matches!(wanted, Resource::MacNumber(_)) => ("", OTHER_MAC.to_owned()),
        None => ("", "choose another, or change the other first".to_owned()),
        Some(_) => (
            ", which has given it up, but its host has not confirmed that yet",
            "wait until the host has reported".to_owned(),
        ),
    };
    let is_shared = |resource: &Resource| matches!(resource, Resource::Port { share: Some(_), .. });
    let (since, help) = if claim.retired.is_none() && is_shared(wanted) {
        let help = if is_shared(held) {
            "jails that share ports must name the same `shared`, `ports`, `to` and `sticky`"
        } else {
            "both must name the same pool in `shared`"
        };
        (since, help.to_owned())
    } else {
        (since, help)
    };
    let message = format!("{held} is taken by {owner}{since}");
    problems.push(Problem::new(reason, field, message, &help));
}

/// Whether a network's addresses stand on a loopback of ours, one by one: there is no wire that would take one for the broadcast address.
fn is_on_loopback(spec: &NetworkSpec) -> bool {
    let shared = spec.shared_ip.as_ref();
    shared.is_some_and(|shared| shared.loopback.is_some())
}
