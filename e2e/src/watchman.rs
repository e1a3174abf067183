//! The watchman: looks at machines and controller all the time, and remembers every address that stood twice: on two interfaces,
//! with two jails that share their host's stack, or in the bindings of two jails.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use cellblock_agent::emulated::{Remote, Request, Response};
use cellblock_schemas::Kind;
use cellblock_schemas::net::Cidr;
use jailctl::client::Stored;
use serde_json::Value;

use crate::fleet::Fleet;
use crate::machine::Machine;

/// How often to look.
const LOOK_EVERY: Duration = Duration::from_millis(40);

/// A subnet of a network.
#[derive(Clone, Debug)]
struct Subnet {
    cidr: Cidr,
    fleet: bool,
}

/// Looks until it is asked what it saw.
#[derive(Debug)]
pub struct Watchman {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Seen {
    looks: usize,
    addresses_max: usize,
    violations: Vec<String>,
}

/// Where an address stands: machine, stack (the host's, or a jail's by name), interface. Or who has it of the host's: machine, `jail`, name.
type Place = (String, String, String);

/// Addresses on interfaces, and those that jails have of the host's: each is to be in one place, and one of the latter is on an
/// interface too.
type Places = [BTreeMap<IpAddr, Vec<Place>>; 2];

impl Watchman {
    /// Begins to look at the machines of `fleet`. `fleet_subnets` are those in which an address is unique over all machines,
    /// `host_subnets` those in which it is on each.
    ///
    /// # Errors
    /// A subnet cannot be read.
    pub fn begin(
        fleet: &Fleet,
        fleet_subnets: &[&str],
        host_subnets: &[&str],
    ) -> anyhow::Result<Self> {
        let mut subnets = Vec::new();
        for (list, fleet) in [(fleet_subnets, true), (host_subnets, false)] {
            for text in list {
                let cidr: Cidr = text
                    .parse()
                    .map_err(|_| anyhow::anyhow!("`{text}` is no subnet"))?;
                subnets.push(Subnet { cidr, fleet });
            }
        }
        let machines: Vec<(String, PathBuf)> = fleet.machines.iter().map(Machine::door).collect();
        let (client, runtime) = (fleet.client()?, fleet.handle());
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(Mutex::new(Seen::default()));
        let thread = std::thread::spawn({
            let (stop, seen) = (stop.clone(), seen.clone());
            move || {
                let doors: Vec<(String, Remote)> = machines
                    .into_iter()
                    .map(|(name, socket)| (name, Remote::new(socket)))
                    .collect();
                while !stop.load(Ordering::Relaxed) {
                    look(&|| lines_of(&doors), &subnets, &seen);
                    // A controller that is dead binds nothing.
                    if let Ok((jails, _)) = runtime.block_on(client.clone().list(Kind::Jail, "")) {
                        look_at_bindings(&jails, &subnets, &seen);
                    }
                    std::thread::sleep(LOOK_EVERY);
                }
            }
        });
        Ok(Self {
            stop,
            seen,
            thread: Some(thread),
        })
    }

    /// Ends the watch: how often it looked.
    ///
    /// # Errors
    /// An address stood twice, or nothing could be seen at all.
    pub fn end(mut self) -> anyhow::Result<usize> {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            anyhow::ensure!(thread.join().is_ok(), "the watchman panicked");
        }
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        anyhow::ensure!(
            seen.violations.is_empty(),
            "addresses stood twice:\n{}",
            seen.violations.join("\n")
        );
        anyhow::ensure!(
            seen.looks > 0 && seen.addresses_max > 0,
            "the watchman saw no address at all in {} looks",
            seen.looks
        );
        Ok(seen.looks)
    }
}

impl Drop for Watchman {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// One look at all machines. Looks are not simultaneous, so an address that moved from one machine to another between two of them
/// seems to stand on both: whatever stands twice is looked at again, and counts only if the first machine still has it.
fn look(machines: &dyn Fn() -> Vec<(String, Vec<String>)>, subnets: &[Subnet], seen: &Mutex<Seen>) {
    let first = places(machines());
    let twice = first.each_ref().map(|places| -> Vec<(IpAddr, Vec<Place>)> {
        places
            .iter()
            .filter(|(address, places)| collides(**address, places, subnets))
            .map(|(address, places)| (*address, places.clone()))
            .collect()
    });
    let again = if twice.iter().all(Vec::is_empty) {
        Places::default()
    } else {
        places(machines())
    };
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    seen.looks += 1;
    let ours = first[0]
        .keys()
        .filter(|address| subnet_of(**address, subnets).is_some());
    seen.addresses_max = seen.addresses_max.max(ours.count());
    for (twice, again) in twice.into_iter().zip(again) {
        for (address, places) in twice {
            let still = again
                .get(&address)
                .is_some_and(|now| places.iter().filter(|place| now.contains(place)).count() > 1);
            if still {
                seen.violations.push(format!("{address}: {places:?}"));
            }
        }
    }
}

/// One list is one state of the store: what stands twice in it is twice.
fn look_at_bindings(jails: &[Stored], subnets: &[Subnet], seen: &Mutex<Seen>) {
    let mut owners: BTreeMap<(Option<String>, IpAddr), &str> = BTreeMap::new();
    for jail in jails {
        let binding = jail.value.pointer("/status/binding");
        let host = binding
            .and_then(|binding| binding.get("host"))
            .and_then(Value::as_str);
        // Of whatever network.
        for (_, address) in addresses_of(binding) {
            let fleet = subnet_of(address, subnets).is_some_and(|subnet| subnet.fleet);
            let scope = host.filter(|_| !fleet).map(str::to_owned);
            let key = (scope, address);
            if let Some(other) = owners.insert(key.clone(), &jail.name) {
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.violations
                    .push(format!("{key:?} is bound to {other} and {}", jail.name));
            }
        }
    }
}

/// The networks and addresses of a jail's binding.
pub(crate) fn addresses_of(binding: Option<&Value>) -> Vec<(String, IpAddr)> {
    let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    let mut found = Vec::new();
    for attachment in list(binding.and_then(|binding| binding.get("attachments"))) {
        let network = attachment["network"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        for bound in list(attachment.get("addresses")) {
            let text = bound["address"].as_str().unwrap_or_default();
            let text = text.split('/').next().unwrap_or_default();
            if let Ok(address) = text.parse() {
                found.push((network.clone(), address));
            }
        }
    }
    found
}

/// What the machines' kernels show, by machine.
fn lines_of(doors: &[(String, Remote)]) -> Vec<(String, Vec<String>)> {
    let shown = doors.iter().map(|(machine, door)| {
        let answer = door.ask(&Request::Fingerprint);
        // A machine that is being switched off shows nothing.
        let lines = if let Ok(Response::Lines { lines: Some(lines) }) = answer {
            lines
        } else {
            Vec::new()
        };
        (machine.clone(), lines)
    });
    shown.collect()
}

fn places(machines: Vec<(String, Vec<String>)>) -> Places {
    let mut found = Places::default();
    for (machine, lines) in machines {
        for line in lines {
            if let Some((address, stack, interface)) = address_in(&line) {
                let place = (machine.clone(), stack, interface);
                found[0].entry(address).or_default().push(place);
            }
            for (address, jail) in lent_in(&line) {
                let place = (machine.clone(), "jail".to_owned(), jail);
                found[1].entry(address).or_default().push(place);
            }
        }
    }
    found
}

/// `STACK if NAME inet ADDRESS MASK` and `STACK if NAME inet6 ADDRESS/PREFIX …`.
fn address_in(line: &str) -> Option<(IpAddr, String, String)> {
    let words: Vec<&str> = line.split(' ').collect();
    let [stack, "if", interface, "inet" | "inet6", address, ..] = words.as_slice() else {
        return None;
    };
    let address = address.split('/').next()?.parse().ok()?;
    Some((address, (*stack).to_owned(), (*interface).to_owned()))
}

/// `jail NAME (…, Restricted([ADDRESS, …]), Restricted([ADDRESS, …]), …)`: the addresses of the host that a jail has, IPv4 before IPv6. A
/// dying jail, which is told as `jail NAME dying (…`, is none that lives.
fn lent_in(line: &str) -> Vec<(IpAddr, String)> {
    let Some((name, rest)) = line
        .strip_prefix("jail ")
        .and_then(|rest| rest.split_once(" ("))
        .filter(|(name, _)| !name.contains(' '))
    else {
        return Vec::new();
    };
    let lists = rest.split("Restricted([").skip(1);
    let lists = lists.filter_map(|list| Some(list.split_once("])")?.0));
    let addresses = lists.flat_map(|list| list.split(", "));
    addresses
        .filter_map(|address| Some((address.parse().ok()?, name.to_owned())))
        .collect()
}

fn subnet_of(address: IpAddr, subnets: &[Subnet]) -> Option<&Subnet> {
    subnets
        .iter()
        .find(|subnet| subnet.cidr.0.contains(&address))
}

fn collides(address: IpAddr, places: &[Place], subnets: &[Subnet]) -> bool {
    let Some(subnet) = subnet_of(address, subnets) else {
        return false;
    };
    if subnet.fleet {
        return places.len() > 1;
    }
    places
        .iter()
        .enumerate()
        .any(|(at, (machine, ..))| places[at + 1..].iter().any(|(other, ..)| other == machine))
}

#[cfg(test)]
mod tests;
