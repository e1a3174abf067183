//! Whether the host and jails behind a netgraph switch at a failover lagg reach each other: an echo that comes back, or at least an answer to ARP or neighbour discovery, which no firewall of the
//! host's and hardly one of a jail's keeps away. Changes nothing, and no trouble of it is a look's.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use cellblock_agent_core::host::NeighboursWanted;
use cellblock_agent_core::observed::{Interface, Neighbour, ObservedJail};
use cellblock_schemas::ids::Uid;
use cellblock_schemas::net::{Family, Mac};
use ipnet::IpNet;

use crate::command::{Command, Program};
use crate::system::System;

#[cfg(test)]
mod tests;

/// How many jails of a network are tried before none is said to be reached: the root of one may have taken its interface down.
const TRIES_MAX: usize = 2;

/// How many tries without an answer, a second each, a look may have.
const UNANSWERED_MAX: usize = 4;

/// How long a command may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What prevails among protocols of a lagg; of the others nothing was ever found.
const FAILOVER: &str = "failover";

/// Takes a look.
pub(crate) fn look(
    system: &dyn System,
    wanted: &BTreeMap<Uid, NeighboursWanted>,
    interfaces: &[Interface],
    jails: &[ObservedJail],
) -> Vec<Neighbour> {
    let mut found = Vec::new();
    let mut left = UNANSWERED_MAX;
    for (network, wanted) in wanted {
        let mut interfaces = interfaces.iter();
        let Some(lagg) = interfaces.find(|found| is_failover(found, &wanted.interface)) else {
            continue;
        };
        for family in [Family::Ipv4, Family::Ipv6] {
            let pairs = pairs(network, wanted, lagg, jails);
            let pairs = pairs.filter(|pair| Family::of(pair.address) == family);
            let mut last = None;
            for mut pair in pairs.take(TRIES_MAX) {
                if left == 0 {
                    break;
                }
                let Some(reached) = is_reached(system, &pair) else {
                    continue;
                };
                pair.reached = reached;
                last = Some(pair);
                if reached {
                    break;
                }
                left -= 1;
            }
            found.extend(last);
        }
    }
    found
}

fn is_failover(interface: &Interface, name: &str) -> bool {
    let lagg = interface.lagg.as_ref();
    interface.name == name
        && interface.is_up()
        && lagg.is_some_and(|lagg| lagg.protocol == FAILOVER)
}

/// The jails that run, each with an address of the host from whose net it is.
fn pairs<'w>(
    network: &'w Uid,
    wanted: &'w NeighboursWanted,
    lagg: &'w Interface,
    jails: &'w [ObservedJail],
) -> impl Iterator<Item = Neighbour> + 'w {
    let runs = |name: &str| jails.iter().any(|jail| jail.name == name && !jail.dying);
    let own = |address: IpAddr| {
        let entries = lagg.addresses.iter();
        let mut usable = entries.filter(|entry| !entry.tentative && !entry.duplicated);
        let own = usable.find(|entry| {
            let net = IpNet::new(entry.address, entry.prefix_length);
            entry.scope.is_none() && net.is_ok_and(|net| net.contains(&address))
        });
        own.map(|entry| entry.address)
    };
    let running = wanted.jails.iter().filter(move |jail| runs(&jail.name));
    running.flat_map(move |jail| {
        jail.addresses.iter().filter_map(move |address| {
            Some(Neighbour {
                network: network.clone(),
                interface: lagg.name.clone(),
                own: own(*address).filter(|own| own != address)?,
                jail: jail.uid.clone(),
                address: *address,
                reached: false,
            })
        })
    })
}

/// None where the host could not ask.
fn is_reached(system: &dyn System, pair: &Neighbour) -> Option<bool> {
    let (own, address) = (pair.own.to_string(), pair.address.to_string());
    let run = |program, words: &[&str]| {
        let command = Command::new(program, words.iter().copied()).timeout(TIMEOUT);
        system.run(&command).ok()
    };
    let echo = ["-n", "-q", "-c", "1", "-t", "1", "-S", &own, &address];
    if run(Program::Ping, &echo)?.is_success() {
        return Some(true);
    }
    let program = match pair.address {
        IpAddr::V4(_) => Program::Arp,
        IpAddr::V6(_) => Program::Ndp,
    };
    let entry = run(program, &["-n", &address])?;
    Some(entry.is_success() && is_resolved(&entry.stdout, &pair.interface))
}

/// Reads what arp(8) or ndp(8) shows of one address: a MAC address instead of `(incomplete)`, on that interface (`print_entry`, usr.sbin/arp/arp.c, usr.sbin/ndp/ndp_netlink.c).
fn is_resolved(shown: &str, interface: &str) -> bool {
    shown.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (mac, on) = match words[..] {
            ["?", _, "at", mac, "on", on, ..] => (mac, on),
            [_, mac, on, ..] => (mac, on),
            _ => return false,
        };
        on == interface && mac.parse::<Mac>().is_ok()
    })
}
