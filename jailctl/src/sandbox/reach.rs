//! Who reaches whom on an emulated host, and through what: by packet trace, for each pair of jails, for each published port and for each public address of a jail's own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cellblock_agent::emulated::Live;
use cellblock_agent_core::names;
use cellblock_fakebsd::trace::{Origin, Place, Probe, Protocol, Verdict};
use cellblock_schemas::Kind;
use cellblock_schemas::host::Host;
use cellblock_schemas::jail::{Jail, PublicAddress, Publish, RunPolicy};
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

/// What was found on one host.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// For the operator; none where the host has no jails.
    pub(super) lines: Vec<String>,
    /// Published ports that do not lead to their jail, as sentences.
    pub(super) astray: Vec<String>,
}

/// Traces one host.
pub(super) fn report(name: &str, machine: &Live, objects: &[Stored]) -> Report {
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
        return Report::default();
    }
    let mut report = Report::default();
    let lines = &mut report.lines;
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
    // One that is stopped has no ports.
    let running = jails
        .iter()
        .filter(|jail| jail.spec.run_policy == RunPolicy::Running);
    for jail in running {
        let Some(host) = &host else { continue };
        for publish in &jail.spec.publish {
            published(host, jail, &jails, publish, machine, &mut report);
        }
        for public in &jail.spec.public_addresses {
            published(host, jail, &jails, &sample(public), machine, &mut report);
        }
    }
    report
}

/// A public address of a jail's own as the ports that it is traced by: those that are its, or one where all of them are.
fn sample(public: &PublicAddress) -> Publish {
    let one = net::PortRange {
        first: PORT,
        last: PORT,
    };
    Publish {
        name: public.name.clone(),
        protocol: public.protocol.unwrap_or_default(),
        ports: if public.is_whole() {
            vec![one]
        } else {
            public.ports.clone()
        },
        to: None,
        uplink: public.uplink.clone(),
        address: Some(public.address.clone()),
        network: public.network.clone(),
        shared: None,
        sticky: false,
    }
}

/// The interface that an uplink is: by name, or the lagg or vlan that the host's agent makes for it.
pub(super) fn interface(host: &Host, name: &str) -> Option<String> {
    let uplink = host.spec.uplinks.get(name)?;
    let uid = &host.metadata.uid;
    if uplink.lagg.is_some() {
        Some(names::lagg(uid, name))
    } else if uplink.vlan.is_some() {
        Some(names::vlan(uid, name))
    } else {
        uplink.interface.clone()
    }
}

/// Whether a jail is behind a shared port.
fn shares(jail: &Jail, of: &Publish) -> bool {
    let mut published = jail.spec.publish.iter();
    of.shared.is_some()
        && published.any(|publish| {
            publish.shared == of.shared
                && publish.protocol == of.protocol
                && publish.ports == of.ports
                && publish.to == of.to
        })
}

/// The trace of the first port of each range of one publication, from outside.
fn published(
    host: &Host,
    jail: &Jail,
    jails: &[Jail],
    publish: &Publish,
    machine: &Live,
    report: &mut Report,
) {
    let (jail_name, host_name) = (&jail.metadata.name, &host.metadata.name);
    let uplink = host.spec.uplinks.get(&publish.uplink);
    let interface = interface(host, &publish.uplink);
    let (Some(uplink), Some(interface)) = (uplink, interface) else {
        report.astray.push(format!(
            "`{}` of jail {jail_name} is published nowhere: host {host_name} has no uplink `{}` with an interface",
            publish.name, publish.uplink
        ));
        return;
    };
    let has = |family| {
        let bound = jail.binding().map(|binding| &binding.attachments);
        let bound = bound.into_iter().flatten();
        let mut addresses = bound.flat_map(|attachment| &attachment.addresses);
        addresses.any(|address| net::Family::of(address.address) == family)
    };
    // Where the manifest names no address, the ones of the jail's families are meant.
    let addresses: Vec<IpAddr> = uplink
        .public_addresses
        .iter()
        .filter(|(name, address)| match &publish.address {
            Some(wanted) => wanted == *name,
            None => has(net::Family::of(**address)),
        })
        .map(|(_, address)| *address)
        .collect();
    if addresses.is_empty() {
        report.astray.push(format!(
            "`{}` of jail {jail_name} is published nowhere: no public address of uplink `{}` on host {host_name} is meant",
            publish.name, publish.uplink
        ));
    }
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
            let (protocol, port) = (publish.protocol.as_str(), range.first);
            report.lines.push(format!(
                "From outside to {address} {protocol} port {port} ({host_name}, published by {jail_name}):"
            ));
            let lines = trace.to_string();
            let lines = lines.lines().map(|line| format!("  {line}"));
            report.lines.extend(lines);
            let own = Place::Jail(jail.jail_name().to_owned());
            let is_meant = |place: &Place| {
                let mut others = jails.iter().filter(|other| shares(other, publish));
                *place == own
                    || others.any(|other| *place == Place::Jail(other.jail_name().to_owned()))
            };
            if !matches!(&trace.verdict, Verdict::Reached { by, .. } if is_meant(&by.place)) {
                report.astray.push(format!(
                    "{address} {protocol} port {port} of host {host_name} does not lead to jail {jail_name}: {}",
                    trace.verdict
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests;
