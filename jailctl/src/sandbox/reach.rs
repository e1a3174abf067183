//! Who reaches whom on an emulated host, and through what: by packet trace, for each pair of jails and for each published port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cellblock_agent::emulated::Live;
use cellblock_fakebsd::trace::{Origin, Probe, Protocol};
use cellblock_schemas::Kind;
use cellblock_schemas::host::Host;
use cellblock_schemas::jail::{Jail, Publish};
use cellblock_schemas::net;

use crate::client::Stored;

/// The port that pairs of jails are traced with.
pub(super) const PORT: u16 = 80;

/// How many jails of a host are traced among each other: more make a table that nobody reads, and it grows with the square.
pub(super) const TRACED_MAX: usize = 24;

/// The machine on the wire that asks for published ports: the router of the emulated hosts' network.
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

/// The same for IPv6: the emulated hosts have no IPv6 outside, so a documentation address.
const OUTSIDE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);

/// The report of one host, in lines; none where it has no jails.
pub(super) fn report(name: &str, machine: &Live, objects: &[Stored]) -> Vec<String> {
    let jails: Vec<Jail> = objects
        .iter()
        .filter(|object| object.kind == Kind::Jail)
        .filter_map(|object| serde_json::from_value(object.value.clone()).ok())
        .filter(|jail: &Jail| jail.binding().is_some_and(|binding| binding.host == name))
        .collect();
    let host: Option<Host> = objects
        .iter()
        .find(|object| object.kind == Kind::Host && object.name == name)
        .and_then(|object| serde_json::from_value(object.value.clone()).ok());
    if jails.is_empty() {
        return Vec::new();
    }
    let mut lines = Vec::new();
    let names: Vec<&str> = jails.iter().map(Jail::jail_name).collect();
    if names.len() > 1 {
        lines.push(format!("On {name}, who reaches whom (tcp port {PORT}):"));
        let traced = &names[..names.len().min(TRACED_MAX)];
        let table = machine.emulator().reachability(traced, PORT).to_string();
        lines.extend(table.lines().map(|line| format!("  {line}")));
        if names.len() > traced.len() {
            lines.push(format!(
                "  … and {} more jails, which are not traced",
                names.len() - traced.len()
            ));
        }
    }
    for jail in &jails {
        for publish in &jail.spec.publish {
            lines.extend(
                host.iter()
                    .flat_map(|host| published(host, jail, publish, machine)),
            );
        }
    }
    lines
}

/// The trace of each port of one publication, from outside.
fn published(host: &Host, jail: &Jail, publish: &Publish, machine: &Live) -> Vec<String> {
    let Some(uplink) = host.spec.uplinks.get(&publish.uplink) else {
        return Vec::new();
    };
    let Some(interface) = &uplink.interface else {
        return Vec::new();
    };
    let addresses = uplink
        .public_addresses
        .iter()
        .filter(|(name, _)| {
            publish
                .address
                .as_ref()
                .is_none_or(|wanted| wanted == *name)
        })
        .map(|(_, address)| *address);
    let mut lines = Vec::new();
    for address in addresses {
        let source = if address.is_ipv4() {
            IpAddr::V4(OUTSIDE)
        } else {
            IpAddr::V6(OUTSIDE6)
        };
        for range in &publish.ports {
            let origin = Origin::Outside {
                interface: interface.clone(),
                source,
            };
            let protocol = match publish.protocol {
                net::Protocol::Tcp => Protocol::Tcp,
                net::Protocol::Udp => Protocol::Udp,
            };
            let trace =
                machine
                    .emulator()
                    .trace(&Probe::new(origin, address, protocol, range.first));
            lines.push(format!(
                "From outside to {address} {} port {} ({}, published by {}):",
                publish.protocol.as_str(),
                range.first,
                host.metadata.name,
                jail.metadata.name
            ));
            lines.extend(trace.to_string().lines().map(|line| format!("  {line}")));
        }
    }
    lines
}
