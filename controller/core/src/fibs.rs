//! Routing tables that are one network's own: which number each has, and that nobody else names it.
//!
//! A number is claimed in the transaction of the network, and stands in its status. One that a manifest names is nobody's own: networks and jails share it on purpose, so it is not claimed. That
//! none is both is what the table's guard says: who claims a number and who comes to name it compare and write it.

use cellblock_schemas::network::{Fib, Network};
use cellblock_schemas::{Generation, Jail, JailSet, Kind, NetworkStatus, Uid};

use crate::claim::{Claim, Owner, Resource};
use crate::index::Index;
use crate::rules::Problem;
use crate::write::{Guard, Write};

/// The routing table of a network, by its manifest or by what it was given.
pub(crate) fn of(network: &Network) -> Option<u16> {
    match network.spec.fib? {
        Fib::Number(number) => Some(number),
        Fib::Auto => network.status.as_ref()?.fib,
    }
}

/// Gives a network the routing table that it asks for, and takes back what it does not want any more. `before` is what is stored.
pub(crate) fn assign(
    index: &Index,
    network: &mut Network,
    before: Option<&Network>,
    write: &mut Write,
) -> Option<Problem> {
    let uid = network.metadata.uid.clone();
    let own = index.claims().fib(&uid);
    if network.spec.fib == Some(Fib::Auto) {
        let Some(number) = own.or_else(|| free(index, network)) else {
            return Some(exhausted());
        };
        if own.is_none() {
            let owner = Owner::Network {
                network: network.metadata.name.clone(),
                uid: uid.clone(),
            };
            let resource = Resource::Fib(number);
            let key = index.keys().claim(&resource);
            let value = Claim::held_by(owner).encode();
            match index.claims().get(&resource) {
                None => write.create(key, value),
                // Its own, given up: the network's document is compared by whoever takes it away.
                Some(_) => write.put(key, value),
            }
            index.expect_guard(write, &Guard::Fib(number), &uid);
        }
        let status = network.status.get_or_insert_with(NetworkStatus::default);
        status.fib = Some(number);
        return None;
    }
    if let Some(status) = &mut network.status {
        status.fib = None;
    }
    if let Some(number) = own {
        let resource = Resource::Fib(number);
        let key = index.keys().claim(&resource);
        if is_used(index, &network.metadata.name) {
            let claim = index.claims().get(&resource)?;
            // What its jails still run by is nobody else's.
            let retired = Claim {
                retired: Some(Generation(network.metadata.generation.0 + 1)),
                ..claim.clone()
            };
            write.put(key, retired.encode());
        } else {
            write.delete(key);
        }
    }
    let named = network.spec.fib.and_then(Fib::number)?;
    if let Some(problem) = taken(index, named, "spec.fib", Some(&network.metadata.name)) {
        return Some(problem);
    }
    if before.is_none_or(|before| before.spec.fib != network.spec.fib) {
        index.expect_guard(write, &Guard::Fib(named), &uid);
    }
    None
}

/// The lowest number that nobody has or names, or the one that the network gave up.
fn free(index: &Index, network: &Network) -> Option<u16> {
    let claims = index.claims();
    let former = claims
        .fibs_of(&network.metadata.uid)
        .map(|(number, _)| number);
    let free = Fib::NUMBERS.filter(|number| claims.get(&Resource::Fib(*number)).is_none());
    former
        .chain(free)
        .find(|number| !index.is_fib_named(*number, &network.metadata.name))
}

fn exhausted() -> Problem {
    Problem::new(
        "FibsExhausted",
        "spec.fib",
        format!(
            "each of the routing tables {} to {} is another network's own, or named in a manifest",
            Fib::NUMBERS.start(),
            Fib::NUMBERS.end()
        ),
        "name one that may be shared, or let another network do without: `jailctl get allocations --kind fib`",
    )
}

/// A number that a manifest names although it is a network's own.
fn taken(index: &Index, number: u16, field: &str, except: Option<&str>) -> Option<Problem> {
    let claim = index.claims().get(&Resource::Fib(number))?;
    let Owner::Network { network, .. } = &claim.owner else {
        return None;
    };
    if except == Some(network) {
        return None;
    }
    let since = match claim.retired {
        None => "",
        Some(_) => ", which gave it up and has jails still",
    };
    Some(Problem::new(
        "FibTaken",
        field,
        format!("routing table {number} is network {network}'s own (fib: auto){since}"),
        "name another, or say fib: auto for one that nobody else has; jails on that network have its table unless they say otherwise",
    ))
}

/// The routing table that a jail names although it is a network's own.
pub(crate) fn of_jail(index: &Index, jail: &Jail) -> Option<Problem> {
    let number = jail.spec.own_fib()?;
    taken(index, number, "spec.parameters[exec.fib]", None)
}

/// Makes the write of a jail, or a set of jails, that comes to name a routing table depend on nobody having claimed it.
pub(crate) fn guard_named(
    index: &Index,
    named: Option<u16>,
    before: Option<u16>,
    uid: &Uid,
    write: &mut Write,
) {
    let new = named.filter(|number| before != Some(*number) && Fib::NUMBERS.contains(number));
    if let Some(number) = new {
        index.expect_guard(write, &Guard::Fib(number), uid);
    }
}

/// The number that the jails of a set name.
pub(crate) fn of_set(set: &JailSet) -> Option<u16> {
    set.spec.template.spec.own_fib()
}

/// Whether somebody is on a network, or a host may still have an address of it for somebody who was.
fn is_used(index: &Index, network: &str) -> bool {
    index.attached(network) > 0 || index.claims().addresses(network).next().is_some()
}

/// The routing tables that networks gave up and that nobody runs by any more.
pub(crate) fn needless(index: &Index) -> impl Iterator<Item = u16> {
    let fibs = index.claims().fibs();
    let needless = fibs.filter(|(_, claim)| is_needless(index, claim));
    needless.map(|(number, _)| number)
}

fn is_needless(index: &Index, claim: &Claim) -> bool {
    let Owner::Network { network, uid } = &claim.owner else {
        return false;
    };
    let found = index.network(network);
    claim.retired.is_some()
        && found.is_some_and(|found| found.metadata.uid == *uid)
        && !is_used(index, network)
}

/// Gives it back.
pub(crate) fn release(index: &Index, number: u16) -> Option<Write> {
    let resource = Resource::Fib(number);
    let claim = index.claims().get(&resource)?;
    let Owner::Network { network, .. } = &claim.owner else {
        return None;
    };
    if !is_needless(index, claim) {
        return None;
    }
    let mut write = Write::default();
    // Who comes to be on it compares it; and it may want the table again.
    index.expect_object(&mut write, Kind::Network, network);
    write.delete(index.keys().claim(&resource));
    let guard = Guard::Addresses(network.clone());
    index.expect_guard(&mut write, &guard, claim.owner.uid());
    Some(write)
}

#[cfg(test)]
mod tests;
