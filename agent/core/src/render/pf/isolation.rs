//! What keeps the jails of a network apart, as lines of pf.conf(5). They only drop, so that they may stand before what lets through.

use std::collections::BTreeSet;
use std::net::IpAddr;

use cellblock_schemas::net::{Family, is_link_local};
use ipnet::IpNet;

use super::crossing::{Tables, set_of};
use crate::isolation::{Crossing, Isolation, LOOPBACKS};

/// What the others must not reach: a table, local to its network's anchor.
const ISOLATED: &str = "isolated";

/// The addresses that jails with addresses of the host send from.
const MEMBERS: &str = "members";

/// The one of [`ISOLATED`] for link-local addresses, which mean the same on loopbacks only.
const ISOLATED_LOCAL: &str = "isolatedlocal";

/// The tag of what a jail with addresses of the host says to itself.
const OWN: &str = "cellblock:own";

/// The lines, and how many addresses their tables have.
pub(super) struct Lines {
    /// Tables: pf.conf(5) wants them before the rules that name them.
    pub(super) tables: Vec<String>,
    /// The rules.
    pub(super) rules: Vec<String>,
    /// The entries of the tables.
    pub(super) addresses: usize,
}

impl Lines {
    fn table(&mut self, name: &str, members: &[String]) {
        let listed = members.join(", ");
        self.tables
            .push(format!("table <{name}> const {{ {listed} }}"));
        self.addresses += members.len();
    }
}

/// The lines of a network.
pub(super) fn lines(isolation: &Isolation, sets: &mut Tables) -> Lines {
    let mut lines = Lines {
        tables: Vec::new(),
        rules: Vec::new(),
        addresses: 0,
    };
    match &isolation.at {
        Crossing::Stack { .. } => stack_lines(isolation, sets, &mut lines),
        Crossing::Links(interfaces) => {
            let addresses = isolation.addresses();
            let members: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
            link_lines(interfaces, &members, &mut lines);
            beside_lines(isolation, &members, sets, &mut lines);
        }
        Crossing::Routed {
            interfaces,
            subnets,
            gateways,
            spanning,
        } => {
            // Of entries that hold an address the longest decides (pf.conf(5), TABLES).
            let gateways = gateways.iter().map(|gateway| format!("!{gateway}"));
            let members: Vec<String> = subnets
                .iter()
                .map(ToString::to_string)
                .chain(gateways)
                .collect();
            link_lines(interfaces, &members, &mut lines);
            if *spanning {
                across_lines(interfaces, &mut lines);
            }
            beside_lines(isolation, &members, sets, &mut lines);
        }
    }
    lines
}

/// What another host has let through: it may not have these rules yet, and what it begins meanwhile would have a state here for as long as it lasts.
fn across_lines(interfaces: &BTreeSet<String>, lines: &mut Lines) {
    let rules = interfaces.iter().map(|interface| {
        format!("block drop out quick on {interface} from <{ISOLATED}> to <{ISOLATED}>")
    });
    lines.rules.extend(rules);
}

/// What they send by a switch that others are at, too.
fn beside_lines(isolation: &Isolation, isolated: &[String], sets: &mut Tables, lines: &mut Lines) {
    if isolated.is_empty() {
        return;
    }
    for (interface, addresses) in &isolation.beside {
        for family in [Family::Ipv4, Family::Ipv6] {
            let nets = addresses.iter().copied().map(IpNet::from);
            if let Some(own) = set_of(nets, family, sets) {
                lines.rules.push(format!(
                    "block drop in quick on {interface} {} from {own} to <{ISOLATED}>",
                    family.keyword()
                ));
            }
        }
    }
}

/// Whatever source a jail's root takes: what comes from its link is not let through to another jail of the network.
fn link_lines(interfaces: &BTreeSet<String>, isolated: &[String], lines: &mut Lines) {
    if isolated.is_empty() {
        return;
    }
    lines.table(ISOLATED, isolated);
    let rules = interfaces
        .iter()
        .map(|interface| format!("block drop in quick on {interface} from any to <{ISOLATED}>"));
    lines.rules.extend(rules);
}

/// Jails with addresses of the host: what one says to itself gets a tag, and what any of them says to an address of the network without that tag is dropped.
///
/// A packet from address to address of the host goes by a loopback, out and in: by the cloned one that both IPv4 addresses are on, else by the first (recordings `09`, `12`, `18`). pf sees link-local
/// addresses without their scope (recording `18`), so a rule about them is for loopbacks alone; one about others needs no interface, and holds also where somebody took a loopback out of its group.
fn stack_lines(isolation: &Isolation, sets: &mut Tables, lines: &mut Lines) {
    let jails = isolation.jails.values();
    let own: BTreeSet<IpAddr> = jails.clone().flat_map(|jail| &jail.own).copied().collect();
    let texts = |addresses: &mut dyn Iterator<Item = IpAddr>| -> Vec<String> {
        addresses.map(|address| address.to_string()).collect()
    };
    let here = isolation.addresses();
    let (local, wide): (Vec<IpAddr>, Vec<IpAddr>) = here
        .iter()
        .copied()
        .partition(|address| is_link_local(*address));
    if here.is_empty() {
        return;
    }
    lines.table(MEMBERS, &texts(&mut own.into_iter()));
    if !wide.is_empty() {
        lines.table(ISOLATED, &texts(&mut wide.iter().copied()));
    }
    if !local.is_empty() {
        lines.table(ISOLATED_LOCAL, &texts(&mut local.iter().copied()));
    }
    for jail in jails {
        for family in [Family::Ipv4, Family::Ipv6] {
            let mut set = |addresses: &BTreeSet<IpAddr>| {
                set_of(addresses.iter().copied().map(IpNet::from), family, sets)
            };
            // In this order: there is no table that no rule names.
            if let Some(here) = set(&jail.here)
                && let Some(own) = set(&jail.own)
            {
                lines.rules.push(format!(
                    "match on {LOOPBACKS} {} from {own} to {here} tag \"{OWN}\"",
                    family.keyword()
                ));
            }
        }
    }
    for family in [Family::Ipv4, Family::Ipv6] {
        if wide.iter().any(|address| Family::of(*address) == family) {
            let rule = format!(
                "block drop quick {} from <{MEMBERS}> to <{ISOLATED}> ! tagged \"{OWN}\"",
                family.keyword()
            );
            lines.rules.push(rule);
        }
    }
    if !local.is_empty() {
        let rule = format!(
            "block drop quick on {LOOPBACKS} inet6 from <{MEMBERS}> to <{ISOLATED_LOCAL}> ! tagged \"{OWN}\""
        );
        lines.rules.push(rule);
    }
}
