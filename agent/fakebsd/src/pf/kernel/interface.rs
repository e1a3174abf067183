//! Interfaces as pf sees them: the addresses of `(interface)`, and whom `set skip` means.

use std::net::IpAddr;

use crate::pf::address;
use crate::pf::facts::{Interface, NetFacts};
use crate::pf::rule::{Af, InterfaceModifiers};

/// The networks that `(name:modifiers)/bits` stands for now (`pfi_instance_add`).
pub fn addresses_of(
    facts: &dyn NetFacts,
    name: &str,
    modifiers: InterfaceModifiers,
    bits: u8,
    af: Option<Af>,
) -> Vec<(IpAddr, u8)> {
    let names = match facts.interface(name) {
        Some(_) => vec![name.to_owned()],
        None if name == "self" || name == "all" => facts.interface_names(),
        None => facts.group_members(name),
    };
    let mut networks = Vec::new();
    for interface in names.iter().filter_map(|name| facts.interface(name)) {
        add(&interface, modifiers, bits, af, &mut networks);
    }
    networks
}

fn add(
    interface: &Interface,
    modifiers: InterfaceModifiers,
    bits: u8,
    wanted: Option<Af>,
    networks: &mut Vec<(IpAddr, u8)>,
) {
    let mut seen: Vec<Af> = Vec::new();
    for entry in &interface.addresses {
        let af = Af::of(entry.address);
        let local = address::is_link_local(entry.address);
        if (modifiers.broadcast && (af == Af::Inet6 || !interface.broadcast))
            || (modifiers.peer && !interface.point_to_point)
            || ((modifiers.network || modifiers.no_alias) && local)
            || (modifiers.no_alias && seen.contains(&af))
        {
            continue;
        }
        seen.push(af);
        let own = if modifiers.network {
            entry.prefix
        } else {
            af.bits()
        };
        let bits = own.min(bits);
        let chosen = if modifiers.broadcast {
            entry.broadcast
        } else if modifiers.peer {
            entry.peer
        } else {
            Some(entry.address)
        };
        let network = (address::masked(chosen.unwrap_or(entry.address), bits), bits);
        if wanted.is_none_or(|wanted| wanted == af) && !networks.contains(&network) {
            networks.push(network);
        }
    }
}

/// The interfaces that `set skip on` names, groups resolved (`pfctl_set_interface_flags`).
pub(super) fn skipped(names: &[String], facts: &dyn NetFacts) -> Vec<String> {
    let mut skipped = Vec::new();
    for name in names {
        skipped.extend(facts.group_members(name));
        skipped.push(name.clone());
    }
    skipped.sort();
    skipped.dedup();
    skipped
}
