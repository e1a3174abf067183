//! Warnings: what works as written, and what a careful operator would want to know, with the reason and the better way.
//!
//! Most are seen in one object. Whether a jail's first address is exposed depends on its network, which the caller may be
//! able to look up ([`warnings_with`]); without it the warning is put conditionally.

use std::net::{IpAddr, Ipv6Addr};

use crate::jail::{Addressing, JailSpec, ParameterValue};
use crate::net::{Family, HostAddress};
use crate::network::{Isolation, Mode, NetworkSpec};
use crate::object::Object;
use crate::path::FieldPath;
use crate::suggest;
use crate::validate::parameters;
use crate::violation::Warning;

#[cfg(test)]
mod tests;

/// What a routing table does not do.
const STEERS: &str = "a routing table steers what a jail's processes send and does not contain them: setfib(2) needs no privilege, so that any of them can take another table";

/// The warnings that one object gives by itself.
#[must_use]
pub fn warnings(object: &Object) -> Vec<Warning> {
    warnings_with(object, &|_| None)
}

/// The warnings of one object, with the networks that can be looked up.
#[must_use]
pub fn warnings_with<'a>(
    object: &Object,
    network: &dyn Fn(&str) -> Option<&'a NetworkSpec>,
) -> Vec<Warning> {
    let mut found = Vec::new();
    match object {
        Object::Host(_) | Object::Image(_) => {}
        Object::Network(network) => {
            if network.spec.fib.is_some() {
                let field = FieldPath::new("spec").field("fib");
                warn(&mut found, &field, STEERS);
            }
            apart_on_a_wire(&network.spec, &mut found);
        }
        Object::Jail(jail) => of_jail(&jail.spec, network, &mut found),
        Object::JailSet(set) => {
            of_jail(&set.spec.template.spec, network, &mut found);
            for warning in &mut found {
                warning.field = set_field(&warning.field);
            }
        }
    }
    found
}

/// Where in a JailSet a field of its jails stands.
#[must_use]
pub fn set_field(field: &str) -> String {
    match field.strip_prefix("spec") {
        Some(rest) if rest.is_empty() || rest.starts_with(['.', '[']) => {
            format!("spec.template.spec{rest}")
        }
        Some(_) | None => field.to_owned(),
    }
}

fn of_jail<'a>(
    spec: &JailSpec,
    network: &dyn Fn(&str) -> Option<&'a NetworkSpec>,
    found: &mut Vec<Warning>,
) {
    public_first_address(spec, network, found);
    for check in [
        ipc, devfs, statfs, mounting, sources, fib, user_ids, inherited, unknown,
    ] {
        check(spec, found);
    }
}

/// Whether an address can be reached from anywhere, so that what listens on it is exposed. Prefixes for documentation count:
/// in an example they stand for public ones.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => {
            let shared = ip.octets()[0] == 100 && ip.octets()[1] & 0b1100_0000 == 64;
            !(ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_unspecified()
                || ip.is_multicast()
                || ip.is_broadcast()
                || shared)
        }
        IpAddr::V6(ip) => {
            let local = ip.is_unique_local()
                || ip.is_unicast_link_local()
                || ip == Ipv6Addr::UNSPECIFIED
                || ip.is_loopback();
            !(local || ip.is_multicast())
        }
    }
}

fn warn(found: &mut Vec<Warning>, field: &FieldPath, message: impl Into<String>) {
    found.push(Warning {
        field: field.as_str().to_owned(),
        message: message.into(),
    });
}

/// What this host keeps apart may still meet outside of it.
fn apart_on_a_wire(spec: &NetworkSpec, found: &mut Vec<Warning>) {
    let uplink = spec.mode().and_then(|mode| mode.uplink());
    if let (Isolation::Jails, Some(uplink)) = (spec.isolation, uplink) {
        let message = format!(
            "keeps the jails of each host apart; by the wire of `{uplink}` they reach those of other hosts, and what a router or switch there sends back: have its ports kept apart too"
        );
        let field = FieldPath::new("spec").field("isolation");
        warn(found, &field, message);
    }
}

fn parameter(name: &str) -> FieldPath {
    FieldPath::new("spec").field("parameters").key(name)
}

/// A shared-IP jail's 127.0.0.1 is its first IPv4 address, its ::1 its first IPv6 address (recording `09`).
fn public_first_address<'a>(
    spec: &JailSpec,
    network: &dyn Fn(&str) -> Option<&'a NetworkSpec>,
    found: &mut Vec<Warning>,
) {
    for (family, own) in [(Family::Ipv4, "127.0.0.1"), (Family::Ipv6, "::1")] {
        let Some(first) = first_address(spec, family, network) else {
            continue;
        };
        if first.on_loopback || !is_public(first.address) {
            continue;
        }
        let name = &spec.networks[first.attachment].network;
        let condition = if first.known {
            String::new()
        } else {
            format!("if `{name}` is a sharedIP network: ")
        };
        let message = format!(
            "{condition}{} is public and the jail's first address, so that whatever listens on {own} inside is reachable from outside; attach it to a loopback network first",
            first.what
        );
        let at = FieldPath::new("spec")
            .field("networks")
            .index(first.attachment);
        let at = match first.position {
            Some(position) => at.field("addresses").index(position),
            None => at.field("network"),
        };
        warn(found, &at, message);
    }
}

/// The first address of a jail in one family, as far as it can be seen.
struct First {
    attachment: usize,
    /// The index in `addresses`; none for one that will be allocated.
    position: Option<usize>,
    address: IpAddr,
    what: String,
    /// Whether the network could be looked up.
    known: bool,
    on_loopback: bool,
}

fn first_address<'a>(
    spec: &JailSpec,
    family: Family,
    network: &dyn Fn(&str) -> Option<&'a NetworkSpec>,
) -> Option<First> {
    for (index, attachment) in spec.networks.iter().enumerate() {
        let known = network(&attachment.network);
        let mode = known.and_then(NetworkSpec::mode);
        if mode.is_some_and(|mode| mode.is_vnet()) {
            continue;
        }
        let first = |position, address: IpAddr, what| First {
            attachment: index,
            position,
            address,
            what,
            known: known.is_some(),
            on_loopback: matches!(mode, Some(Mode::SharedIp(shared)) if shared.loopback.is_some()),
        };
        let of_family = |address: &HostAddress| Family::of(address.address) == family;
        if let Some(position) = attachment.addresses.iter().position(of_family) {
            let address = attachment.addresses[position].address;
            return Some(first(Some(position), address, address.to_string()));
        }
        if attachment.effective_addressing() != Addressing::Allocate {
            continue;
        }
        // An address will be allocated here. From where is only known with the network.
        let subnet = known?
            .subnets
            .iter()
            .map(|subnet| subnet.cidr)
            .find(|cidr| cidr.family() == family);
        if let Some(cidr) = subnet {
            return Some(first(
                None,
                cidr.net().addr(),
                format!("the address from {}", cidr.net()),
            ));
        }
    }
    None
}

fn ipc(spec: &JailSpec, found: &mut Vec<Warning>) {
    if parameters::is_on(spec, "allow.sysvipc") {
        let message = "allow.sysvipc is deprecated and shares System V IPC with the host and with every other jail that has it; write sysvmsg, sysvsem and sysvshm: new";
        warn(found, &parameter("allow.sysvipc"), message);
    }
    for name in ["sysvmsg", "sysvsem", "sysvshm"] {
        if is_text(spec, name, "inherit") {
            let message = format!(
                "{name}: inherit lets the jail see the IPC objects of the host and of other jails; new gives it a key namespace of its own"
            );
            warn(found, &parameter(name), message);
        }
    }
}

fn devfs(spec: &JailSpec, found: &mut Vec<Warning>) {
    let mounts_devfs = parameters::is_on(spec, "mount.devfs")
        || spec.mounts.iter().any(|mount| mount.fs_type == "devfs");
    if mounts_devfs && parameters::number(spec, "devfs_ruleset") == Some(0) {
        let message = "with devfs_ruleset 0 nothing is hidden in the jail's /dev: its root reaches the host's disks and memory; leave it out for ruleset 4, or 5 with a network stack of its own";
        warn(found, &parameter("devfs_ruleset"), message);
    }
}

fn statfs(spec: &JailSpec, found: &mut Vec<Warning>) {
    if parameters::number(spec, "enforce_statfs") == Some(0) {
        let message = "with enforce_statfs 0 the jail sees every mount point of the host; 1 shows those below its root, 2 only its root";
        warn(found, &parameter("enforce_statfs"), message);
    }
}

/// Permissions to mount take effect only together (jail(8)).
fn mounting(spec: &JailSpec, found: &mut Vec<Warning>) {
    let asked = spec
        .parameters
        .keys()
        .find(|name| name.starts_with("allow.mount.") && parameters::is_on(spec, name));
    if let Some(name) = asked
        && !parameters::is_on(spec, "allow.mount")
    {
        warn(
            found,
            &parameter(name),
            format!("{name} is effective only together with allow.mount"),
        );
    }
    let low = matches!(parameters::number(spec, "enforce_statfs"), Some(0 | 1));
    if parameters::is_on(spec, "allow.mount") && !low {
        let message = "allow.mount is effective only with an enforce_statfs lower than 2, which is the default; add `enforce_statfs: 1`";
        warn(found, &parameter("allow.mount"), message);
    }
}

fn sources(spec: &JailSpec, found: &mut Vec<Warning>) {
    for name in ["ip4.saddrsel", "ip6.saddrsel"] {
        if spec.parameters.contains_key(name) {
            let message = format!(
                "{name} acts on this jail alone; the global sysctls of the same purpose that old articles name exist on no supported release"
            );
            warn(found, &parameter(name), message);
        }
    }
}

fn fib(spec: &JailSpec, found: &mut Vec<Warning>) {
    if spec.parameters.contains_key("exec.fib") {
        warn(found, &parameter("exec.fib"), STEERS);
    }
}

fn user_ids(spec: &JailSpec, found: &mut Vec<Warning>) {
    if spec.user_ids.is_some() {
        let field = FieldPath::new("spec").field("userIds");
        warn(
            found,
            &field,
            "the range binds only those who keep to it: user ids are the host's, and root in any jail can take whichever it wants; make the jail's users with ids of status.binding.userIds",
        );
    }
}

fn inherited(spec: &JailSpec, found: &mut Vec<Warning>) {
    for name in ["ip4", "ip6"] {
        if is_text(spec, name, "inherit") {
            let message = format!(
                "{name}: inherit gives the jail every address of the host, so that it can take any port there"
            );
            warn(found, &parameter(name), message);
        }
    }
}

/// The host's kernel has the last word on names; here a slip of the pen is noticed.
fn unknown(spec: &JailSpec, found: &mut Vec<Warning>) {
    for name in spec
        .parameters
        .keys()
        .filter(|name| parameters::is_unknown(name))
    {
        let near = suggest::nearest(name, parameters::TABLE.iter().map(|(known, _)| *known));
        let hint = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        let message = format!(
            "{name} is not a parameter of FreeBSD 15.1's jail(8): the jail is blocked on a host whose kernel does not know it{hint}"
        );
        warn(found, &parameter(name), message);
    }
}

fn is_text(spec: &JailSpec, name: &str, word: &str) -> bool {
    matches!(spec.parameters.get(name), Some(ParameterValue::Text(text)) if text == word)
}
