//! What the controller does without being asked: binds jails that had to wait, finishes deletions, notes which hosts are
//! heard, and gives back what nobody owns.
//!
//! Level-triggered: [`due`] says where to look, from the index alone; [`step`] decides from the index as it is when the step
//! is taken, so that steps may be taken one after the other, in any order, more than once, and by several controllers.

use cellblock_schemas::jail::JailStatus;
use cellblock_schemas::{ConditionStatus, Host, HostStatus, Kind, Object, Uid};
use ipnet::IpNet;
use jiff::Timestamp;

use crate::admit::draft::Draft;
use crate::admit::{Now, finish};
use crate::bind;
use crate::conditions;
use crate::fibs;
use crate::index::Index;
use crate::kept;
use crate::sets;
use crate::slices;
use crate::write::Write;

pub(crate) mod dependents;
mod realise;

/// How many claims of nobody go in one transaction, well within the store's limit of 128 writes.
const RELEASED_MAX: usize = 100;

/// Something to look at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Item {
    /// An object whose owners are gone, or want it to go with them or to stay without them.
    Dependent(Kind, String),
    /// A JailSet whose status does not say what there is to say.
    Set(String),
    /// A JailSet that has waited too long since its last step forward, by [`crate::sets::Waiting`].
    Late(String, Timestamp),
    /// A jail that a JailSet lacks, or that is not as its set wants it: the set's name and the jail's.
    Member(String, String),
    /// An object whose deletion was asked for.
    Deleting(Kind, String),
    /// Claims of an object that is gone.
    Orphan(Uid),
    /// A jail that is not bound, or whose claims are not what it asks for.
    Unsettled(String),
    /// A host whose `Heard` condition is not what its session says.
    Heard(String),
    /// A slice of a network's subnets, by the network's name, that its host does not need any more.
    Slice(String, IpNet),
    /// A routing table that a network gave up.
    Fib(u16),
    /// What is kept for names that nobody asked for any more.
    Kept,
    /// An image whose status does not say that it is there to be used.
    Image(String),
    /// A network whose status does not say how many jails are attached, or where it is realised.
    Network(String),
}

/// Everything to look at. What frees something comes before what waits for it.
#[must_use]
pub fn due(index: &Index, now: Timestamp) -> Vec<Item> {
    let deleting = index
        .deleting()
        .map(|(kind, name)| Item::Deleting(kind, name.to_owned()));
    let orphans = index.orphans().cloned().map(Item::Orphan);
    let unsettled = index
        .unsettled()
        .map(|name| Item::Unsettled(name.to_owned()));
    let hosts = index
        .list(Kind::Host, None)
        .filter_map(|entry| entry.host());
    let heard = hosts.filter(|host| !says_heard(host, is_heard(index, host)));
    let heard = heard.map(|host| Item::Heard(host.metadata.name.clone()));
    let networks = index
        .networks()
        .filter(|network| !realise::says(index, network));
    let networks = networks.map(|network| Item::Network(network.metadata.name.clone()));
    let images = index
        .list(Kind::Image, None)
        .filter_map(|entry| entry.image())
        .filter(|image| !realise::says_of_image(image));
    let images = images.map(|image| Item::Image(image.metadata.name.clone()));
    let slices = slices::needless(index);
    let slices = slices.map(|(network, net)| Item::Slice(network.to_owned(), net));
    let kept = kept::due(index, now).next().map(|_| Item::Kept);
    deleting
        .chain(orphans)
        .chain(slices)
        .chain(fibs::needless(index).map(Item::Fib))
        .chain(unsettled)
        .chain(heard)
        .chain(networks)
        .chain(images)
        .chain(dependents::due(index))
        .chain(sets::due(index, now))
        .chain(kept)
        .collect()
}

/// Whether something becomes due by time alone.
#[must_use]
pub fn waits_for_time(index: &Index) -> bool {
    sets::waits_for_time(index)
}

/// What to write for one of the items; none if there is nothing to do.
#[must_use]
pub fn step(index: &Index, item: &Item, at: &Now) -> Option<Write> {
    let now = at.timestamp;
    match item {
        Item::Dependent(kind, name) => dependents::step(index, *kind, name, now),
        Item::Set(name) => sets::say(index, name, None, at),
        Item::Late(name, since) => sets::say(index, name, Some(*since), at),
        Item::Member(set, jail) => sets::member(index, set, jail, at),
        Item::Deleting(kind, name) => finish(index, *kind, name, now),
        Item::Orphan(uid) => orphan(index, uid),
        Item::Slice(network, net) => slices::release(index, network, *net),
        Item::Fib(number) => fibs::release(index, *number),
        Item::Kept => kept::step(index, now),
        Item::Unsettled(name) => unsettled(index, name, now),
        Item::Heard(name) => heard(index, name, now),
        Item::Network(name) => realise::network(index, name, now),
        Item::Image(name) => realise::image(index, name, now),
    }
}

/// What to say in an object about an item that the store refuses, and why; none where no condition is about it.
#[must_use]
pub fn refused(index: &Index, item: &Item, why: &str, at: &Now) -> Option<Write> {
    let Item::Unsettled(name) = item else {
        return None;
    };
    let entry = index.get(Kind::Jail, name)?;
    let mut draft = Draft::of(index, entry);
    if let Object::Jail(jail) = &mut draft.object {
        let condition = conditions::new(
            conditions::SCHEDULED,
            ConditionStatus::False,
            "NotStored",
            format!("the store does not take what the jail needs: {why}"),
            jail.metadata.generation,
        );
        let status = jail.status.get_or_insert_with(JailStatus::default);
        conditions::set(&mut status.conditions, condition, at.timestamp);
    }
    draft.finish(Vec::new()).ok()?.write
}

fn unsettled(index: &Index, name: &str, now: Timestamp) -> Option<Write> {
    let entry = index.get(Kind::Jail, name)?;
    if entry.object.metadata().deletion_timestamp.is_some() {
        return None;
    }
    let mut draft = Draft::of(index, entry);
    if let Object::Jail(jail) = &mut draft.object {
        bind::bind(index, jail, &mut draft.write, now);
    }
    // The document was admitted before and grows by its binding only, so its size cannot be refused now; if it is, the jail
    // waits as it is.
    draft.finish(Vec::new()).ok()?.write
}

fn orphan(index: &Index, uid: &Uid) -> Option<Write> {
    if index.by_uid(uid).is_some() {
        return None;
    }
    let mut write = Write::default();
    for (resource, _) in index.claims().of(uid).take(RELEASED_MAX) {
        write.delete(index.keys().claim(resource));
    }
    (!write.changes.is_empty()).then_some(write)
}

fn heard(index: &Index, name: &str, now: Timestamp) -> Option<Write> {
    let entry = index.get(Kind::Host, name)?;
    let mut draft = Draft::of(index, entry);
    if let Object::Host(host) = &mut draft.object {
        let heard = is_heard(index, host);
        if says_heard(host, heard) {
            return None;
        }
        let known = host
            .status
            .as_ref()
            .is_some_and(|status| status.facts.is_some());
        let (status, reason, message) = match (heard, known) {
            (true, _) => (
                ConditionStatus::True,
                "SessionOpen",
                "the agent is connected",
            ),
            (false, true) => (
                ConditionStatus::False,
                conditions::REASON_LOST,
                "nothing was heard of the agent; what is reported of the host and its jails is as it was then",
            ),
            (false, false) => (
                ConditionStatus::False,
                "NeverHeard",
                "no agent of this host has connected yet",
            ),
        };
        let condition = conditions::new(
            conditions::HEARD,
            status,
            reason,
            message,
            host.metadata.generation,
        );
        let status = host.status.get_or_insert_with(HostStatus::default);
        if !heard {
            // Whoever waits for the host must not take its last word for how it is now.
            let ready = cellblock_schemas::Condition {
                kind: conditions::READY.to_owned(),
                status: ConditionStatus::Unknown,
                ..condition.clone()
            };
            conditions::set(&mut status.conditions, ready, now);
        }
        conditions::set(&mut status.conditions, condition, now);
    }
    draft.finish(Vec::new()).ok()?.write
}

fn is_heard(index: &Index, host: &Host) -> bool {
    index.session(&host.metadata.name).is_some()
}

fn says_heard(host: &Host, heard: bool) -> bool {
    let conditions = host
        .status
        .as_ref()
        .map_or(&[][..], |status| &status.conditions);
    let wanted = if heard {
        ConditionStatus::True
    } else {
        ConditionStatus::False
    };
    conditions::find(conditions, conditions::HEARD).is_some_and(|condition| {
        condition.status == wanted && condition.observed_generation == host.metadata.generation
    })
}

#[cfg(test)]
mod tests;
