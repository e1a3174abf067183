//! Binding: gives a jail its host and everything that exists only once, and records it in the jail's status and in claims.
//! Used by admission, and by the reconciler for jails that had to wait.

use std::collections::BTreeSet;

use cellblock_schemas::jail::{Binding, JailStatus};
use cellblock_schemas::network::Network;
use cellblock_schemas::{ConditionStatus, Host, Jail, Kind, Uid};
use ipnet::IpNet;
use jiff::Timestamp;

use crate::allocate::allocate;
use crate::claim::{Claim, Owner, Resource};
use crate::conditions;
use crate::index::{self, Index, wanted_ports};
use crate::kept;
use crate::place::{self, Rejected};
use crate::rules::{self, Problem, Together};
use crate::slices;
use crate::waiting::Waiting;
use crate::write::{Change, Guard, OPS_MAX, Write};

/// On a Jail that is bound: its host has to take it away before the object may go.
pub const FINALIZER: &str = "cellblock.dev/host";

/// How many claims one jail may hold, given up ones that its host has not confirmed yet included. All of them go in the one
/// transaction that removes the jail, and a store takes at most 128 writes in one.
pub(crate) const CLAIMS_MAX: usize = 110;

/// How many comparisons, and how many changes, are added to what binds a jail: its own object, the JailSet that it belongs to and
/// the guard of that, and one for who comes next.
pub(crate) const ROOM: usize = 4;

/// The reason of a jail whose claims do not fit into one transaction.
pub(crate) const TOO_MANY: &str = "TooManyClaims";

/// The phase of a jail that no agent has reported yet.
const PENDING: &str = "Pending";

/// What was decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// Host and addresses.
    pub binding: Binding,
    /// Everything that must be claimed for the jail.
    pub resources: BTreeSet<Resource>,
    /// Bridges that do not have a MAC number yet: the network's name, its uid, the number.
    pub bridges: Vec<(String, Uid, u32)>,
    /// Slices that the host does not have yet, with the network's name.
    pub slices: BTreeSet<(String, IpNet)>,
}

/// Whether a jail is bound to a host that the operator has given up.
pub(crate) fn is_forgotten(index: &Index, jail: &Jail) -> bool {
    let host = jail.binding().and_then(|binding| index.host(&binding.host));
    host.is_some_and(|host| host.spec.forgotten)
}

/// Decides host and addresses of a jail. What it has already it keeps while that is still right; a bound jail is never moved,
/// unless its host was given up.
///
/// # Errors
/// Something is missing: the jail waits.
pub fn decide(index: &Index, jail: &Jail) -> Result<Decision, Waiting> {
    let networks = networks(index, jail)?;
    if let Some(image) = &jail.spec.image
        && index.image(&image.name).is_none()
    {
        return Err(Waiting::image_missing(&image.name));
    }
    if let Some(waiting) = because(&rules::host_independent(index, jail, &Together::default())) {
        return Err(waiting);
    }
    if let Some(binding) = jail.binding()
        && !is_forgotten(index, jail)
    {
        return decide_on(index, jail, &binding.host, &networks);
    }
    if let Some(dependency) = rules::unplaced(index, jail) {
        return Err(Waiting::dependency_unplaced(
            dependency,
            index.jail(dependency).is_some(),
        ));
    }
    let mut rejected = Vec::new();
    for candidate in place::candidates(index, jail, &networks)? {
        let host = match candidate {
            Ok(host) => host,
            Err(reason) => {
                rejected.push(reason);
                continue;
            }
        };
        match decide_on(index, jail, &host.metadata.name, &networks) {
            Ok(decision) => return Ok(decision),
            Err(waiting) if jail.spec.host.is_some() => return Err(waiting),
            Err(waiting) => rejected.push(Rejected {
                host: host.metadata.name.clone(),
                reason: waiting.message,
            }),
        }
    }
    Err(place::nowhere(&rejected))
}

/// Binds a jail, or says in its status what it waits for. Adds the claims, and what they depend on, to `write`.
///
/// The jail's generation must be the new one already.
pub fn bind(index: &Index, jail: &mut Jail, write: &mut Write, now: Timestamp) {
    let generation = jail.metadata.generation;
    let leaves = is_forgotten(index, jail);
    let mut decided = decide(index, jail);
    if let Ok(decision) = &decided {
        let whole = whole(index, jail, decision, write.clone());
        if whole.has_room_for(ROOM) {
            *write = whole;
        } else {
            decided = Err(in_parts(index, jail, decision, &whole, write));
        }
    }
    let condition = match &decided {
        Ok(decision) => {
            let (reason, message) = index.bound(jail, &decision.binding.host);
            let status = ConditionStatus::True;
            conditions::new(conditions::SCHEDULED, status, reason, message, generation)
        }
        Err(waiting) => conditions::new(
            conditions::SCHEDULED,
            ConditionStatus::False,
            &waiting.reason,
            &*waiting.message,
            generation,
        ),
    };
    let finalizers = &mut jail.metadata.finalizers;
    if decided.is_ok() && !finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
        finalizers.push(FINALIZER.to_owned());
    }
    if decided.is_ok() {
        kept::end(index, &jail.metadata.name, write);
    }
    if leaves {
        if decided.is_err() {
            kept::keep(index, jail, write, now);
        }
        leave(index, jail, decided.is_err(), write);
    }
    let status = jail.status.get_or_insert_with(JailStatus::default);
    if let Ok(decision) = decided {
        status.binding = Some(decision.binding);
    }
    if status.phase.is_empty() {
        PENDING.clone_into(&mut status.phase);
    }
    conditions::set(&mut status.conditions, condition, now);
}

/// What is to be written so that a decision holds, beside the jail itself.
fn whole(index: &Index, jail: &Jail, decision: &Decision, mut write: Write) -> Write {
    let claimed = claim(index, jail, decision, &mut write);
    if claimed || jail.binding() != Some(&decision.binding) {
        depend(index, jail, &decision.binding.host, &mut write);
    }
    let host = jail.binding().map(|binding| &binding.host);
    if is_forgotten(index, jail) || host != Some(&decision.binding.host) {
        place_in_order(index, jail, &mut write);
    }
    write
}

/// What is done for a jail whose decision fits into no transaction: the numbers of the bridges go first, which are the networks' and stay, and the
/// jail comes next. Otherwise it waits.
fn in_parts(
    index: &Index,
    jail: &Jail,
    decision: &Decision,
    whole: &Write,
    write: &mut Write,
) -> Waiting {
    let host = &decision.binding.host;
    if !decision.bridges.is_empty() && !is_forgotten(index, jail) {
        index.expect_object(write, Kind::Host, host);
        for bridge in &decision.bridges {
            if !write.has_room_for(ROOM) {
                break;
            }
            let network = Guard::Addresses(bridge.0.clone());
            index.compare_guard(write, &network);
            claim_bridge(index, bridge, host, write);
        }
        return Waiting::new(
            "BridgesFirst",
            format!(
                "the MAC addresses of its networks' bridges on host {host} are given out first: with the jail's own they are too many for one transaction"
            ),
        );
    }
    let ops = whole.compares.len().max(whole.changes.len()) + ROOM;
    Waiting::new(TOO_MANY, beyond(ops))
}

/// What is said of a jail that needs that many operations in one transaction.
pub(crate) fn beyond(ops: usize) -> String {
    format!(
        "its networks, addresses, MAC addresses, ports and dependencies take {ops} comparisons or changes in one transaction, at most {OPS_MAX} fit; spread it over several jails, or change it in several steps"
    )
}

/// Takes a jail off a host that was given up: nobody there will confirm anything, and what was observed there is over. `alone`: it
/// has no other host yet.
pub(crate) fn leave(index: &Index, jail: &mut Jail, alone: bool, write: &mut Write) {
    if alone {
        release(index, jail, write);
        let own = |finalizer: &String| finalizer != FINALIZER;
        jail.metadata.finalizers.retain(own);
    }
    if let Some(status) = &mut jail.status {
        status.binding = None;
        status.jid = None;
        status.ready_since = None;
        status.interfaces.clear();
        status.phase.clear();
        let own = |kind: &str| conditions::OWN.contains(&kind);
        status.conditions.retain(|condition| own(&condition.kind));
    }
}

/// Gives back everything that a jail holds; for the transaction that removes it, or in which its host says that nothing is
/// left of it.
pub fn release(index: &Index, jail: &Jail, write: &mut Write) {
    for (resource, _) in index.claims().of(&jail.metadata.uid) {
        write.delete(index.keys().claim(resource));
    }
}

fn networks<'a>(index: &'a Index, jail: &Jail) -> Result<Vec<&'a Network>, Waiting> {
    let attachments = jail.spec.networks.iter();
    attachments
        .map(|attachment| {
            let name = &attachment.network;
            let network = index
                .network(name)
                .ok_or_else(|| Waiting::network_missing(name))?;
            let was_attached = jail.binding().is_some_and(|binding| {
                binding
                    .attachments
                    .iter()
                    .any(|bound| bound.network == *name)
            });
            if network.metadata.deletion_timestamp.is_some() && !was_attached {
                return Err(Waiting::network_deleting(name));
            }
            Ok(network)
        })
        .collect()
}

fn decide_on(
    index: &Index,
    jail: &Jail,
    host: &str,
    networks: &[&Network],
) -> Result<Decision, Waiting> {
    if let Some(waiting) = because(&rules::on_host(index, jail, host, &Together::default())) {
        return Err(waiting);
    }
    let object = index.host(host);
    if jail.binding().is_none_or(|binding| binding.host != host)
        && let Some(object) = object
    {
        let missing = rules::publish_problems(object, jail);
        if !missing.is_empty() {
            return Err(Waiting::new("UplinkMissing", missing.join("; ")));
        }
    }
    let allocation = allocate(index, jail, host, networks, jail.binding())?;
    let mut resources = allocation.resources;
    resources.insert(Resource::JailName {
        host: host.to_owned(),
        name: jail.jail_name().to_owned(),
    });
    resources.extend(index::root_of(jail, host));
    resources.extend(
        object
            .map(|object: &Host| wanted_ports(object, jail).0)
            .unwrap_or_default(),
    );
    let held = index.claims().of(&jail.metadata.uid);
    let kept = held
        .filter(|(resource, _)| !resources.contains(resource))
        .count();
    if kept + resources.len() + allocation.slices.len() > CLAIMS_MAX {
        return Err(Waiting::new(
            TOO_MANY,
            format!(
                "{} addresses and ports are asked for and {kept} given up ones are not yet confirmed by host {host}; together at most {CLAIMS_MAX}",
                resources.len()
            ),
        ));
    }
    Ok(Decision {
        binding: Binding {
            host: host.to_owned(),
            attachments: allocation.attachments,
            user_ids: allocation.user_ids,
        },
        resources,
        bridges: allocation.bridges,
        slices: allocation.slices,
    })
}

/// Brings the claims to what was decided. What is no longer wanted is retired, not given back: the host may still use it.
/// Returns whether anything was newly claimed.
fn claim(index: &Index, jail: &Jail, decision: &Decision, write: &mut Write) -> bool {
    let owner = Owner::Jail {
        name: jail.metadata.name.clone(),
        uid: jail.metadata.uid.clone(),
    };
    let mut claimed = false;
    let mut ports = false;
    let mut networks = BTreeSet::new();
    let leaves = is_forgotten(index, jail);
    for resource in &decision.resources {
        let key = index.keys().claim(resource);
        let value = Claim::held_by(owner.clone()).encode();
        match index.claims().get(resource) {
            None => write.create(key, value),
            // Whoever else held it would have been in the way; a claim of our own is in force again.
            Some(held) if held.retired.is_some() => write.put(key, value),
            Some(_) => continue,
        }
        claimed = true;
        match resource {
            Resource::Port { .. } | Resource::PublicAddress { .. } => ports = true,
            Resource::Address { network, .. } => {
                networks.insert(network);
            }
            Resource::MacNumber(_)
            | Resource::JailName { .. }
            | Resource::Nic { .. }
            | Resource::Root { .. }
            | Resource::Slice { .. }
            | Resource::UserIds(_)
            | Resource::Fib(_) => {}
        }
    }
    for (resource, held) in index.claims().of(&jail.metadata.uid) {
        if decision.resources.contains(resource) {
            continue;
        }
        if leaves {
            write.delete(index.keys().claim(resource));
        } else if held.retired.is_none() {
            let retired = Claim {
                retired: Some(jail.metadata.generation),
                ..held.clone()
            };
            write.put(index.keys().claim(resource), retired.encode());
        }
    }
    for bridge in &decision.bridges {
        claim_bridge(index, bridge, &decision.binding.host, write);
        claimed = true;
    }
    let host = &decision.binding.host;
    for (network, net) in &decision.slices {
        if let Some(network) = index.network(network) {
            slices::claim(index, network, host, *net, write);
            claimed = true;
        }
    }
    let guards = [
        (ports, Guard::Ports(host.clone())),
        (
            rules::takes_an_uplink(index, jail, host),
            Guard::Uplinks(host.clone()),
        ),
    ];
    let guards = guards.into_iter().filter(|(relied, _)| *relied);
    let guards = guards.map(|(_, guard)| guard);
    let networks = networks.into_iter().cloned().map(Guard::Addresses);
    for guard in guards.chain(networks) {
        index.expect_guard(write, &guard, &jail.metadata.uid);
    }
    claimed
}

fn claim_bridge(
    index: &Index,
    (network, uid, number): &(String, Uid, u32),
    host: &str,
    write: &mut Write,
) {
    let owner = Owner::Bridge {
        network: network.clone(),
        uid: uid.clone(),
        host: host.to_owned(),
    };
    let key = index.keys().claim(&Resource::MacNumber(*number));
    write.create(key, Claim::held_by(owner).encode());
}

/// Makes the write depend on the host, the networks and the image being what was decided from. A network is by its guard, which is
/// compared for its addresses already: one comparison less for each, and none that its status makes void.
fn depend(index: &Index, jail: &Jail, host: &str, write: &mut Write) {
    index.expect_object(write, Kind::Host, host);
    for attachment in &jail.spec.networks {
        index.compare_guard(write, &Guard::Addresses(attachment.network.clone()));
    }
    if let Some(image) = &jail.spec.image {
        index.expect_object(write, Kind::Image, &image.name);
    }
}

/// Makes the write that gives a jail its host depend on where those are that it depends on, and on nobody coming to depend on it elsewhere meanwhile. Who depends on somebody writes the
/// guard; the others only compare it, and are not in each other's way.
fn place_in_order(index: &Index, jail: &Jail, write: &mut Write) {
    let guard = Guard::Dependencies;
    if jail.spec.depends_on.is_empty() {
        return index.compare_guard(write, &guard);
    }
    expect_unplaced(index, jail, write);
    let key = index.keys().guard(&guard.name());
    let is_put = |change: &Change| matches!(change, Change::Put(put, _) if *put == key);
    if !write.changes.iter().any(is_put) {
        index.expect_guard(write, &guard, &jail.metadata.uid);
    }
}

/// Makes the write depend on nobody giving a host to a jail that this one depends on; one that has a host keeps it.
pub(crate) fn expect_unplaced(index: &Index, jail: &Jail, write: &mut Write) {
    let stays = |name: &&String| {
        let found = index.jail(name);
        found.is_some_and(|found| found.binding().is_some() && !is_forgotten(index, found))
    };
    for dependency in jail.spec.depends_on.iter().filter(|name| !stays(name)) {
        index.expect_object(write, Kind::Jail, dependency);
    }
}

fn because(problems: &[Problem]) -> Option<Waiting> {
    let first = problems.first()?;
    let sentences: Vec<_> = problems.iter().map(Problem::to_string).collect();
    Some(Waiting::new(first.reason, sentences.join("; ")))
}
