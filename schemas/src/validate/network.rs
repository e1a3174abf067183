//! Rules for a Network: one mode, subnets that make sense, gateways and ranges inside them.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipnet::IpNet;

use crate::enforcement::{Feature, enforcement};
use crate::net::{AddressRange, Family};
use crate::network::{
    Bridge, Fib, Gateway, GatewayOwner, Isolation, Mode, Nat, NetworkSpec, Routed, RoutedLink,
    Scope, Subnet,
};
use crate::path::FieldPath;
use crate::validate::{exactly_one, names, reserved, selector};
use crate::violation::{Cause, Findings};

/// The least MTU an interface takes (IF_MINMTU, sys/net/if_var.h).
const MTU_MIN: u32 = 72;
/// The most (IF_MAXMTU, sys/net/if_var.h).
const MTU_MAX: u32 = 65535;
/// The largest on an ng_eiface(4) (`NG_EIFACE_MTU_MAX`, sys/netgraph/ng_eiface.h).
const MTU_MAX_NETGRAPH: u32 = 9018;
/// The least that a link must carry to have IPv6 at all (RFC 8200, section 5).
const MTU_MIN_IPV6: u32 = 1280;

pub(super) fn validate(spec: &NetworkSpec, path: &FieldPath, findings: &mut Findings) {
    exactly_one(
        path,
        &[
            ("sharedIP", spec.shared_ip.is_some()),
            ("bridge", spec.bridge.is_some()),
            ("routed", spec.routed.is_some()),
            ("netgraph", spec.netgraph.is_some()),
            ("passthrough", spec.passthrough.is_some()),
        ],
        findings,
    );
    modes(spec, path, findings);
    for (index, subnet) in spec.subnets.iter().enumerate() {
        validate_subnet(spec, subnet, &path.field("subnets").index(index), findings);
    }
    overlaps(&spec.subnets, &path.field("subnets"), findings);
    if let Some(nat) = spec.egress.as_ref().and_then(|egress| egress.nat.as_ref()) {
        validate_nat(spec, nat, &path.field("egress").field("nat"), findings);
    }
    isolation(spec, &path.field("isolation"), findings);
    mtu(spec, &path.field("mtu"), findings);
    fib(spec, &path.field("fib"), findings);
    if let Some(hosts) = &spec.host_selector {
        selector(hosts, &path.field("hostSelector"), findings);
    }
}

fn modes(spec: &NetworkSpec, path: &FieldPath, findings: &mut Findings) {
    if let Some(shared) = &spec.shared_ip {
        let at = path.field("sharedIP");
        exactly_one(
            &at,
            &[
                ("loopback", shared.loopback.is_some()),
                ("uplink", shared.uplink.is_some()),
            ],
            findings,
        );
        uplink(shared.uplink.as_deref(), &at, findings);
    }
    if let Some(bridge) = &spec.bridge {
        validate_bridge(bridge, &path.field("bridge"), findings);
    }
    if let Some(routed) = &spec.routed {
        validate_routed(spec, routed, path, findings);
    }
    if let Some(netgraph) = &spec.netgraph {
        let at = path.field("netgraph");
        uplink(netgraph.uplink.as_deref(), &at, findings);
        if netgraph.uplink.is_none() {
            for (name, given) in [
                ("promiscuous", netgraph.promiscuous.is_some()),
                ("autosrc", netgraph.autosrc.is_some()),
            ] {
                if given {
                    findings.add_as(
                        Cause::Forbidden,
                        &at.field(name),
                        "is a setting of the uplink, but there is none",
                        "remove it, or name an uplink",
                    );
                }
            }
        }
    }
    if let Some(passthrough) = &spec.passthrough {
        let at = path.field("passthrough").field("uplinks");
        if passthrough.uplinks.is_empty() {
            findings.add_as(
                Cause::Required,
                &at,
                "no uplink is named, so that there is no NIC to give",
                "name at least one uplink",
            );
        }
        for (index, name) in passthrough.uplinks.iter().enumerate() {
            findings.check(&at.index(index), names::entry(name));
        }
    }
}

fn uplink(name: Option<&str>, path: &FieldPath, findings: &mut Findings) {
    if let Some(name) = name {
        findings.check(&path.field("uplink"), names::entry(name));
    }
}

fn validate_bridge(bridge: &Bridge, path: &FieldPath, findings: &mut Findings) {
    uplink(bridge.uplink.as_deref(), path, findings);
    if bridge.stp && bridge.uplink.is_none() {
        findings.add_as(
            Cause::Forbidden,
            &path.field("stp"),
            "runs on the uplink's member, but there is no uplink",
            "remove it, or name an uplink",
        );
    }
    if let Some(id) = bridge.untagged
        && !(1..=4094).contains(&id)
    {
        findings.add(
            &path.field("untagged"),
            format!("{id} is not a VLAN id"),
            "1 to 4094",
        );
    }
}

fn validate_routed(spec: &NetworkSpec, routed: &Routed, path: &FieldPath, findings: &mut Findings) {
    if spec.subnets.is_empty() && spec.mode().is_some() {
        findings.add_as(
            Cause::Required,
            &path.field("subnets"),
            "a routed network's links have their addresses from a subnet, but there is none",
            "add a subnet",
        );
    }
    for (index, subnet) in spec.subnets.iter().enumerate() {
        routed_gateway(
            routed,
            subnet,
            &path.field("subnets").index(index).field("gateway"),
            findings,
        );
    }
    let at = path.field("routed").field("hostPrefixLength");
    match spec.effective_scope() {
        Scope::Fleet => {
            for family in [Family::Ipv4, Family::Ipv6] {
                slices(spec, routed, family, &at, findings);
            }
        }
        Scope::Host if routed.host_prefix_length.is_some() => findings.add(
            &at,
            "divides the subnets among hosts, but each host has them for itself",
            "remove it, or write `scope: fleet`",
        ),
        Scope::Host => {}
    }
}

/// The slices that hosts get of the subnets of one family.
fn slices(
    spec: &NetworkSpec,
    routed: &Routed,
    family: Family,
    path: &FieldPath,
    findings: &mut Findings,
) {
    let lengths = routed.host_prefix_length.clone().unwrap_or_default();
    let (name, length) = match family {
        Family::Ipv4 => ("ipv4", lengths.ipv4),
        Family::Ipv6 => ("ipv6", lengths.ipv6),
    };
    let at = path.field(name);
    let nets = spec.subnets.iter().map(|subnet| subnet.cidr.net());
    let mut nets = nets.filter(|net| Family::of(net.addr()) == family);
    let Some(length) = length else {
        if let Some(net) = nets.next() {
            let message = format!(
                "a network that spans hosts is divided among them, and nothing says into how large slices of {net}"
            );
            let help = "give the prefix length of a host's slice, or write `scope: host`: each host then has these subnets for itself";
            findings.add(&at, message, help);
        }
        return;
    };
    // A link with numbered ends is within one slice.
    let most = match routed.link {
        RoutedLink::Unnumbered => family.host_prefix_length(),
        RoutedLink::PointToPoint => family.host_prefix_length() - 1,
    };
    if !(1..=most).contains(&length) {
        let message = "is not a prefix length of slices of that family with this kind of link";
        return findings.add(&at, message, format!("1 to {most}"));
    }
    let nets: Vec<IpNet> = nets.collect();
    if nets.is_empty() {
        let message = format!("there is no {name} subnet to divide");
        findings.add(&at, message, "remove it, or add a subnet");
    }
    if let Some(net) = nets.iter().find(|net| net.prefix_len() > length) {
        findings.add(
            &at,
            format!("a /{length} is larger than {net}, of which it shall be a slice"),
            format!("{} to {most}", net.prefix_len()),
        );
    }
}

/// Where the gateway of a routed link is not the operator's to choose.
fn routed_gateway(routed: &Routed, subnet: &Subnet, path: &FieldPath, findings: &mut Findings) {
    let given = subnet.gateway.is_some();
    match (routed.link, subnet.cidr.family()) {
        (RoutedLink::PointToPoint, _) if given => findings.add(
            path,
            "the gateway of a point-to-point link is the host's end of it",
            "remove it",
        ),
        (RoutedLink::Unnumbered, Family::Ipv6) if given => findings.add(
            path,
            "the gateway of an unnumbered IPv6 link is fe80::1 on the host's end of it",
            "remove it",
        ),
        (RoutedLink::PointToPoint | RoutedLink::Unnumbered, _) => {}
    }
    let room = subnet.cidr.family().host_prefix_length() - subnet.cidr.net().prefix_len();
    if room == 0 {
        findings.add(
            path,
            format!(
                "{} has one address, and a link and its gateway need two",
                subnet.cidr
            ),
            "give a larger subnet",
        );
    }
}

fn validate_subnet(spec: &NetworkSpec, subnet: &Subnet, path: &FieldPath, findings: &mut Findings) {
    let net = subnet.cidr.net();
    if subnet.cidr.has_host_bits() {
        let message = format!("{} has bits set behind its prefix", subnet.cidr);
        findings.add(
            &path.field("cidr"),
            message,
            format!("the network is {net}"),
        );
    }
    let own_stack = !matches!(spec.mode(), Some(Mode::SharedIp(_)) | None);
    let is_loopback =
        matches!(spec.mode(), Some(Mode::SharedIp(shared)) if shared.uplink.is_none());
    let is_loopback_local = is_loopback && IpNet::V6(reserved::LOOPBACK_LOCAL).contains(&net);
    if is_loopback_local {
        loopback_local(spec, path, findings);
    } else if let Some((prefix, why)) = reserved::of_net(net, own_stack) {
        findings.add(
            &path.field("cidr"),
            format!("jails cannot have {net}: {prefix} {why}"),
            "give another prefix, as in 10.0.0.0/24 or fd00:10::/64",
        );
    }
    for (name, ranges) in [("allocate", &subnet.allocate), ("reserve", &subnet.reserve)] {
        for (index, range) in ranges.iter().enumerate() {
            if !(net.contains(&range.first) && net.contains(&range.last)) {
                let message = format!("{range} is not inside {net}");
                findings.add(
                    &path.field(name).index(index),
                    message,
                    "give addresses of this subnet",
                );
            }
            if let Some(earlier) = ranges[..index]
                .iter()
                .position(|other| other.overlaps(range))
            {
                let message = format!("{range} overlaps {}", path.field(name).index(earlier));
                findings.add(
                    &path.field(name).index(index),
                    message,
                    "make the ranges disjoint",
                );
            }
        }
    }
    if let Some(gateway) = &subnet.gateway {
        validate_gateway(spec, subnet, gateway, &path.field("gateway"), findings);
    }
}

/// A link-local subnet on a loopback: the jails' own ::1, and nothing more.
fn loopback_local(spec: &NetworkSpec, path: &FieldPath, findings: &mut Findings) {
    if spec.fib.is_some() {
        findings.add(
            &path.field("cidr"),
            "link-local addresses are reached by the first routing table only",
            "leave fib out, or give another prefix",
        );
    }
}

fn validate_gateway(
    spec: &NetworkSpec,
    subnet: &Subnet,
    gateway: &Gateway,
    path: &FieldPath,
    findings: &mut Findings,
) {
    let net = subnet.cidr.net();
    let address = gateway.address;
    let at = path.field("address");
    let link_local = is_link_local(address);
    if Family::of(address) != subnet.cidr.family() {
        findings.add(
            &at,
            format!("{address} is not of the family of {net}"),
            "give each family's gateway in its own subnet",
        );
    } else if !net.contains(&address) && !link_local {
        findings.add(
            &at,
            format!("{address} is not inside {net}"),
            "give an address of the subnet, or a link-local one",
        );
    } else if address.is_ipv4() && subnet.edges().any(|edge| edge == address) {
        findings.add(
            &at,
            format!("{address} is the network's or broadcast address of {net}"),
            "give another address of the subnet",
        );
    }
    for (index, range) in subnet.allocate.iter().enumerate() {
        if range.contains(address) {
            let message = format!(
                "{address} would be given to a jail: it lies inside allocate[{index}] ({range})"
            );
            findings.add(
                &at,
                message,
                format!("leave it out of the range: {}", without(range, address)),
            );
        }
    }
    match spec.mode() {
        Some(Mode::SharedIp(shared)) if shared.uplink.is_none() || spec.fib.is_none() => {
            let message = "jails of a sharedIP network use the host's routes, so that a gateway would be without effect";
            let help = if shared.uplink.is_some() {
                "remove it, or give the network a routing table (fib), whose default route it is then"
            } else {
                "remove it"
            };
            findings.add(path, message, help);
        }
        Some(mode)
            if mode.is_on_the_wire() && spec.gateway_owner(gateway) == GatewayOwner::Host =>
        {
            let message = "with an uplink every host would claim the same address on one segment";
            findings.add(
                &path.field("owner"),
                message,
                "write `owner: external` and let a router have it",
            );
        }
        Some(mode)
            if !mode.is_on_the_wire() && spec.gateway_owner(gateway) == GatewayOwner::External =>
        {
            let message = "without an uplink no router outside can be reached";
            findings.add(&path.field("owner"), message, "write `owner: host`");
        }
        Some(_) | None => {}
    }
}

/// The range without one address, as a suggestion.
fn without(range: &AddressRange, address: IpAddr) -> String {
    let next = |address: IpAddr, up: bool| match address {
        IpAddr::V4(address) => {
            let bits = address.to_bits();
            let bits = if up {
                bits.checked_add(1)
            } else {
                bits.checked_sub(1)
            };
            bits.map(|bits| IpAddr::V4(bits.into()))
        }
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            let bits = if up {
                bits.checked_add(1)
            } else {
                bits.checked_sub(1)
            };
            bits.map(|bits| IpAddr::V6(bits.into()))
        }
    };
    let below = next(address, false)
        .filter(|last| *last >= range.first)
        .map(|last| AddressRange {
            first: range.first,
            last,
        });
    let above = next(address, true)
        .filter(|first| *first <= range.last)
        .map(|first| AddressRange {
            first,
            last: range.last,
        });
    let parts: Vec<String> = [below, above]
        .into_iter()
        .flatten()
        .map(|part| part.to_string())
        .collect();
    if parts.is_empty() {
        "remove the range".to_owned()
    } else {
        parts.join(", ")
    }
}

/// Two subnets of one network must not share an address.
fn overlaps(subnets: &[Subnet], path: &FieldPath, findings: &mut Findings) {
    for (index, subnet) in subnets.iter().enumerate() {
        let net = subnet.cidr.net();
        let shares = |other: &Subnet| {
            let other = other.cidr.net();
            other.contains(&net) || net.contains(&other)
        };
        if let Some(earlier) = subnets[..index].iter().position(shares) {
            let message = format!(
                "{net} overlaps {} ({})",
                path.index(earlier),
                subnets[earlier].cidr.net()
            );
            findings.add(
                &path.index(index).field("cidr"),
                message,
                "make the subnets disjoint",
            );
        }
    }
}

fn validate_nat(spec: &NetworkSpec, nat: &Nat, path: &FieldPath, findings: &mut Findings) {
    findings.check(&path.field("uplink"), names::entry(&nat.uplink));
    for (field, name) in [("address", &nat.address), ("address6", &nat.address6)] {
        if let Some(name) = name {
            findings.check(&path.field(field), names::entry(name));
        }
    }
    let has_ipv6 = spec
        .subnets
        .iter()
        .any(|subnet| subnet.cidr.family() == Family::Ipv6 && !subnet.is_link_local());
    if nat.address6.is_some() && !has_ipv6 {
        findings.add(
            &path.field("address6"),
            "the network has no IPv6 subnet to translate from",
            "add a subnet, or remove it",
        );
    }
    if spec.subnets.is_empty() {
        findings.add(
            path,
            "the network has no subnet to translate from",
            "add a subnet, or remove egress.nat",
        );
        return;
    }
    let has_ipv4 = spec
        .subnets
        .iter()
        .any(|subnet| subnet.cidr.family() == Family::Ipv4);
    let translated = [
        (has_ipv4, Family::Ipv4),
        (nat.address6.is_some(), Family::Ipv6),
    ];
    let refusal = translated
        .into_iter()
        .filter(|(is_translated, _)| *is_translated)
        .find_map(|(_, family)| {
            let refusal = enforcement(spec, Feature::EgressNat, family).refusal()?;
            Some((family, refusal))
        });
    if let Some((family, refusal)) = refusal {
        let message = format!(
            "nothing could translate {} addresses: {}",
            family.keyword(),
            refusal.message
        );
        findings.add(path, message, refusal.help);
    }
}

/// Jails that nobody could keep apart.
fn isolation(spec: &NetworkSpec, path: &FieldPath, findings: &mut Findings) {
    match spec.isolation {
        Isolation::Jails => {}
        // What is not realised is refused elsewhere.
        Isolation::None | Isolation::Spoof => return,
    }
    let families = [Family::Ipv4, Family::Ipv6].into_iter();
    let mut refusals =
        families.filter_map(|family| enforcement(spec, Feature::Isolation, family).refusal());
    if let Some(refusal) = refusals.next() {
        let message = format!("nothing could keep the jails apart: {}", refusal.message);
        findings.add(path, message, refusal.help);
    }
}

fn fib(spec: &NetworkSpec, path: &FieldPath, findings: &mut Findings) {
    const FIBS: RangeInclusive<u16> = Fib::NUMBERS;
    let number = spec.fib.and_then(Fib::number);
    if number.is_some_and(|fib| !FIBS.contains(&fib)) {
        let message = format!(
            "the number of a routing table of a network is {} to {}",
            FIBS.start(),
            FIBS.end()
        );
        let help = "leave it out for 0, which every process has that nobody gave another, or write auto for one of its own";
        findings.add(path, message, help);
    }
}

fn mtu(spec: &NetworkSpec, path: &FieldPath, findings: &mut Findings) {
    let Some(mtu) = spec.mtu else { return };
    let max = if spec.netgraph.is_some() {
        MTU_MAX_NETGRAPH
    } else {
        MTU_MAX
    };
    if !(MTU_MIN..=max).contains(&mtu) {
        findings.add(
            path,
            format!("{mtu} is out of range"),
            format!("{MTU_MIN} to {max}"),
        );
    } else if mtu < MTU_MIN_IPV6
        && spec
            .subnets
            .iter()
            .any(|subnet| subnet.cidr.family() == Family::Ipv6)
    {
        let message = format!("{mtu} is too little for the network's IPv6 subnet");
        findings.add(path, message, format!("IPv6 needs at least {MTU_MIN_IPV6}"));
    }
    if spec
        .shared_ip
        .as_ref()
        .is_some_and(|shared| shared.uplink.is_some())
    {
        findings.add(
            path,
            "a sharedIP network on an uplink has no interface of its own to set it on",
            "remove it",
        );
    }
}

pub(super) fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}
