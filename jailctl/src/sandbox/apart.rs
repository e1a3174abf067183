//! Who reaches whom among jails on different emulated hosts. The wire between the hosts is not emulated, so of such a pair two ends are traced:
//! out of the one host onto its wire, and in from the other host's.
//!
//! Pairs on one host are `reach`'s.

use std::collections::BTreeMap;
use std::net::IpAddr;

use cellblock_agent::emulated::Live;
use cellblock_fakebsd::trace::{Origin, Place, Probe, Trace, Verdict};
use cellblock_schemas::Kind;
use cellblock_schemas::host::Host;
use cellblock_schemas::jail::Jail;

use super::reach::{PORT, TRACED_MAX};
use crate::client::Stored;

#[cfg(test)]
mod tests;

/// The machines by name.
type Machines<'a> = BTreeMap<&'a str, &'a Live>;

/// One end of a pair.
struct End<'a> {
    jail: &'a Jail,
    host: &'a str,
    machine: &'a Live,
    addresses: Vec<IpAddr>,
}

/// The report of all hosts together, in lines; none where all jails are on one host.
pub(super) fn report(machines: &Machines<'_>, objects: &[Stored]) -> Vec<String> {
    let jails: Vec<Jail> = of_kind(objects, Kind::Jail);
    let hosts: Vec<Host> = of_kind(objects, Kind::Host);
    let ends: Vec<End<'_>> = jails
        .iter()
        .filter_map(|jail| end(jail, machines))
        .collect();
    let traced = &ends[..ends.len().min(TRACED_MAX)];
    let mut lines = Vec::new();
    for from in traced {
        // Those of one host that are answered alike share a line.
        let mut answers: BTreeMap<(&str, String), Vec<&str>> = BTreeMap::new();
        for to in traced.iter().filter(|to| to.host != from.host) {
            let cards = cards(&hosts, to.host);
            let told = answers.entry((to.host, between(from, to, &cards)));
            told.or_default().push(&to.jail.metadata.name);
        }
        let name = &from.jail.metadata.name;
        lines.extend(answers.iter().map(|((host, answer), names)| {
            format!(
                "  {name} on {} to {} on {host}: {answer}",
                from.host,
                names.join(", ")
            )
        }));
    }
    if lines.is_empty() {
        return lines;
    }
    lines.insert(
        0,
        format!("Between hosts, who reaches whom (tcp port {PORT}). The wire is not emulated: traced are the ways out to it and in from it."),
    );
    if ends.len() > traced.len() {
        lines.push(format!(
            "  … and {} more jails, which are not traced",
            ends.len() - traced.len()
        ));
    }
    lines
}

fn of_kind<T: serde::de::DeserializeOwned>(objects: &[Stored], kind: Kind) -> Vec<T> {
    let of_kind = objects.iter().filter(|object| object.kind == kind);
    of_kind
        .filter_map(|object| serde_json::from_value(object.value.clone()).ok())
        .collect()
}

/// A jail with where it is; none if it is nowhere yet.
fn end<'a>(jail: &'a Jail, machines: &Machines<'a>) -> Option<End<'a>> {
    let binding = jail.binding()?;
    let (host, machine) = machines.get_key_value(binding.host.as_str())?;
    let bound = binding.attachments.iter();
    Some(End {
        jail,
        host,
        machine,
        addresses: bound
            .flat_map(|attachment| &attachment.addresses)
            .map(|bound| bound.address)
            .filter(|address| !address.is_loopback())
            .collect(),
    })
}

/// The cards, laggs and vlans that a host's uplinks are.
fn cards(hosts: &[Host], name: &str) -> Vec<String> {
    let host = hosts.iter().find(|host| host.metadata.name == name);
    let mut cards: Vec<String> = host
        .into_iter()
        .flat_map(|host| {
            let names = host.spec.uplinks.keys();
            names.filter_map(|name| super::reach::interface(host, name))
        })
        .collect();
    cards.sort();
    cards.dedup();
    cards
}

/// What comes of one jail asking another, over both families. Of several addresses the first that is reached counts.
fn between(from: &End<'_>, to: &End<'_>, cards: &[String]) -> String {
    let asked = |six: bool| {
        let addresses = to
            .addresses
            .iter()
            .filter(|address| address.is_ipv6() == six);
        let answers: Vec<Result<String, String>> = addresses
            .map(|address| ask(from, to, *address, cards))
            .collect();
        let reached = answers.iter().find_map(|answer| answer.as_ref().ok());
        let family = if six { "IPv6" } else { "IPv4" };
        match (reached, answers.first()) {
            (Some(way), _) => Some(format!(
                "{family} yes, if what is between leads there: {way}"
            )),
            (None, Some(Ok(why) | Err(why))) => Some(format!("{family} {why}")),
            (None, None) => None,
        }
    };
    let families: Vec<String> = [false, true].into_iter().filter_map(asked).collect();
    if families.is_empty() {
        "no: it has no address that others could ask for".to_owned()
    } else {
        families.join("; ")
    }
}

/// One address: the way out and in; or that it is not reached and why, or that it is not known.
fn ask(from: &End<'_>, to: &End<'_>, address: IpAddr, cards: &[String]) -> Result<String, String> {
    let origin = Origin::Jail(from.jail.jail_name().to_owned());
    let out = traced(from.machine, origin, address);
    let Verdict::Reached { by, source } = &out.verdict else {
        return Err(format!("no: {}", out.summary()));
    };
    match &by.place {
        Place::Outside(_) => {}
        Place::Host => return Err(format!("no: {} itself has {address} too", from.host)),
        Place::Jail(own) => {
            return Err(format!("no: jail {own} on {} has {address} too", from.host));
        }
    }
    let out = format!("out by {}", out.summary());
    if !from.addresses.contains(source) {
        return Err(format!(
            "not known: {out} as {source}, and all emulated hosts have the same addresses on their cards"
        ));
    }
    let mut first = None;
    for card in cards {
        let origin = Origin::Outside {
            interface: card.clone(),
            source: *source,
        };
        let into = traced(to.machine, origin, address);
        let own = Place::Jail(to.jail.jail_name().to_owned());
        if matches!(&into.verdict, Verdict::Reached { by, .. } if by.place == own) {
            return Ok(format!("{out}; in by {}", into.summary()));
        }
        first.get_or_insert_with(|| format!("no: {out}; in from wire {card}: {}", into.summary()));
    }
    Err(first.unwrap_or_else(|| format!("no: {out}; {} has no uplink to come in by", to.host)))
}

fn traced(machine: &Live, from: Origin, to: IpAddr) -> Trace {
    machine.emulator().trace(&Probe::tcp(from, to, PORT))
}
