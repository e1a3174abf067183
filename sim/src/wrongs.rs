//! What must not be seen on a host at any moment, whatever crashes, fails or is done to it by hand: an address or a MAC address twice, and a host that its agent has cut off.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use cellblock_agent_core::observed::{Interface, Observed};

/// The NIC by which the operator reaches the recorded machine, and its address.
const OWN: (&str, [u8; 4]) = ("vtnet0", [10, 0, 2, 15]);

/// Everything of the kind on a host, in words.
#[must_use]
pub fn wrongs(observed: &Observed) -> Vec<String> {
    let mut found = twice("address", addresses(observed));
    found.extend(twice("MAC address", macs(observed)));
    found.extend(cut_off(observed));
    found
}

/// The addresses of living jails, each with the jail that has it.
fn addresses(observed: &Observed) -> Vec<(String, String)> {
    let mut held = Vec::new();
    for jail in observed.jails.iter().filter(|jail| !jail.dying) {
        let shared = jail.ip4.iter().chain(&jail.ip6);
        held.extend(shared.map(|address| (address.to_string(), jail.name.clone())));
        let inside = observed.vnets.get(&jail.jid).into_iter();
        let inside = inside.flat_map(|vnet| &vnet.interfaces);
        held.extend(
            inside
                .flat_map(|interface| &interface.addresses)
                .filter(|entry| entry.scope.is_none() && !entry.address.is_loopback())
                .map(|entry| (entry.address.to_string(), jail.name.clone())),
        );
    }
    held
}

fn macs(observed: &Observed) -> Vec<(String, String)> {
    let inside = observed.vnets.iter().flat_map(|(jid, vnet)| {
        let interfaces = vnet.interfaces.iter();
        interfaces.map(move |interface| (interface, format!("{} in {jid}", interface.name)))
    });
    // A lagg and its ports have one, and so has a vlan with what it stands upon.
    let laggs = observed
        .interfaces
        .iter()
        .filter_map(|one| one.lagg.as_ref());
    let ports: BTreeSet<&str> = laggs
        .flat_map(|lagg| lagg.ports.keys())
        .map(String::as_str)
        .collect();
    let outside = observed.interfaces.iter();
    outside
        .filter(|one| one.lagg.is_none() && one.vlan.is_none() && !ports.contains(&*one.name))
        .map(|interface| (interface, interface.name.clone()))
        .chain(inside)
        .filter_map(|(interface, place)| Some((interface.mac?.to_string(), place)))
        .collect()
}

fn twice(what: &str, held: Vec<(String, String)>) -> Vec<String> {
    let mut holders: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (thing, holder) in held {
        holders.entry(thing).or_default().push(holder);
    }
    holders
        .into_iter()
        .filter(|(_, holders)| holders.len() > 1)
        .map(|(thing, holders)| format!("{what} {thing} twice: {}", holders.join(", ")))
        .collect()
}

/// The host's own address and default route, by which its operator reaches it.
fn cut_off(observed: &Observed) -> Vec<String> {
    let (name, address) = OWN;
    let mut wrongs = Vec::new();
    let own = observed
        .interfaces_named(name)
        .find(|interface| interface.address(IpAddr::from(address)).is_some());
    if !own.is_some_and(Interface::is_up) {
        wrongs.push(format!(
            "{name} has lost the host's own address, or is down"
        ));
    }
    let mut bridges = observed.interfaces.iter();
    if bridges.any(|bridge| bridge.members.contains_key(name)) {
        wrongs.push(format!("{name} is in a bridge with the host's own address"));
    }
    let mut laggs = observed.interfaces.iter();
    if laggs.any(|one| {
        one.lagg
            .as_ref()
            .is_some_and(|lagg| lagg.ports.contains_key(name))
    }) {
        wrongs.push(format!("{name} is in a lagg with the host's own address"));
    }
    let routes = observed.routes.get(&0).into_iter().flatten();
    if !routes
        .into_iter()
        .any(|route| route.destination == "default")
    {
        wrongs.push("the default route is gone".to_owned());
    }
    wrongs
}
