//! The status of a network: how many jails are attached, and whether every host that has jails of it says that it is as it shall be.

use cellblock_schemas::network::{HostCount, Network};
use cellblock_schemas::{
    Condition, ConditionStatus, Image, ImageStatus, Kind, NetworkStatus, Object,
};
use jiff::Timestamp;

use crate::admit::draft::Draft;
use crate::conditions;
use crate::index::Index;
use crate::write::Write;

/// How many hosts a message names before it only counts them.
const HOSTS_SHOWN_MAX: usize = 5;

/// Whether the status says what there is to say.
pub(super) fn says(index: &Index, network: &Network) -> bool {
    let jails = index.attached(&network.metadata.name);
    let Some(status) = &network.status else {
        return false;
    };
    let wanted = ready(index, network);
    let found = conditions::find(&status.conditions, conditions::READY);
    status.jails as usize == jails
        && status.hosts == hosts(index, network)
        && found.is_some_and(|found| {
            let known = Condition {
                last_transition_time: None,
                ..found.clone()
            };
            known == wanted
        })
}

/// Says it.
pub(super) fn network(index: &Index, name: &str, now: Timestamp) -> Option<Write> {
    let entry = index.get(Kind::Network, name)?;
    let mut draft = Draft::of(index, entry);
    if let Object::Network(network) = &mut draft.object {
        let (hosts, ready) = (hosts(index, network), ready(index, network));
        let status = network.status.get_or_insert_with(NetworkStatus::default);
        status.jails = count(index.attached(name));
        status.hosts = hosts;
        status.observed_generation = network.metadata.generation;
        conditions::set(&mut status.conditions, ready, now);
    }
    draft.finish(Vec::new()).ok()?.write
}

/// Whether the status of an image says that it is there, of its newest spec. One that is going says who keeps it.
pub(super) fn says_of_image(image: &Image) -> bool {
    let ready = image
        .status
        .as_ref()
        .and_then(|status| conditions::find(&status.conditions, conditions::READY));
    image.metadata.deletion_timestamp.is_some()
        || ready.is_some_and(|ready| ready.observed_generation == image.metadata.generation)
}

/// Says it. An image is used by being there; what was made of it is a condition of each jail.
pub(super) fn image(index: &Index, name: &str, now: Timestamp) -> Option<Write> {
    let entry = index.get(Kind::Image, name)?;
    let mut draft = Draft::of(index, entry);
    if let Object::Image(image) = &mut draft.object {
        if says_of_image(image) {
            return None;
        }
        let generation = image.metadata.generation;
        let ready = conditions::new(
            conditions::READY,
            ConditionStatus::True,
            "Accepted",
            "jails' roots are made of it; what became of each is its jail's condition RootMade",
            generation,
        );
        let status = image.status.get_or_insert_with(ImageStatus::default);
        status.observed_generation = generation;
        conditions::set(&mut status.conditions, ready, now);
    }
    draft.finish(Vec::new()).ok()?.write
}

fn hosts(index: &Index, network: &Network) -> HostCount {
    let name = &network.metadata.name;
    let bound = index.hosts_of_network(name).len();
    HostCount {
        bound: count(bound),
        ready: count(bound - index.unready_hosts(name).len()),
    }
}

fn ready(index: &Index, network: &Network) -> Condition {
    let name = &network.metadata.name;
    let bound = index.hosts_of_network(name);
    let unready = index.unready_hosts(name);
    let (status, reason, message) = if bound.len() == 0 {
        let message = "no jail is attached, so there is nothing to realise";
        (ConditionStatus::True, "Unused", message.to_owned())
    } else if unready.len() == 0 {
        let count = bound.len();
        let message = format!(
            "as it shall be on {}",
            listed(bound.map(str::to_owned), count)
        );
        (ConditionStatus::True, "Realised", message)
    } else {
        let said = |host: &str| index.realised(host, name);
        let first = index.unready_hosts(name).find_map(said);
        let reason = first.map_or("Progressing", |said| said.reason.as_str());
        let count = unready.len();
        let sentences = unready.map(|host| match said(host) {
            Some(said) if said.message.is_empty() => format!("{host}: {}", said.reason),
            Some(said) => format!("{host}: {}: {}", said.reason, said.message),
            None => format!("{host} has not reported it yet"),
        });
        (ConditionStatus::False, reason, listed(sentences, count))
    };
    let generation = network.metadata.generation;
    conditions::new(conditions::READY, status, reason, message, generation)
}

fn listed(sentences: impl Iterator<Item = String>, count: usize) -> String {
    let shown: Vec<_> = sentences.take(HOSTS_SHOWN_MAX).collect();
    match count.checked_sub(HOSTS_SHOWN_MAX) {
        None | Some(0) => shown.join("; "),
        Some(more) => format!("{}; and {more} more hosts", shown.join("; ")),
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
