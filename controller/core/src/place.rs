//! Placement: on which hosts a jail may run, the best first, and why not on the others. A pure function of the index, so
//! that the same cluster places the same jail on the same host.

use std::net::IpAddr;

use cellblock_schemas::ConditionStatus;
use cellblock_schemas::network::Network;
use cellblock_schemas::selector::TaintEffect;
use cellblock_schemas::{Host, Jail};

use crate::allocate::address_claim;
use crate::conditions;
use crate::index::Index;
use crate::slices::{self, Holder};
use crate::waiting::Waiting;

/// How many rejected hosts a message names before it only counts them: a condition is read by people.
const REJECTED_SHOWN_MAX: usize = 5;

/// Why a host was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The Host's name.
    pub host: String,
    /// The reason.
    pub reason: String,
}

/// The hosts that may take a jail, in order of preference.
///
/// A jail that names its host gets only that one, cordoned or tainted or not: naming it is the operator's word. Otherwise
/// the matching hosts come with the fewest jails first (pending ones counted, ties by name; before them the one of whose slices an address is kept for the jail's name), those with a
/// `PreferNoSchedule` taint that the jail does not tolerate after all others. A host that is not heard takes only jails that
/// name it: nobody knows whether anything would come of the others there, or of their deletion.
///
/// # Errors
/// The named host does not exist or cannot take the jail.
pub fn candidates<'a>(
    index: &'a Index,
    jail: &'a Jail,
    networks: &'a [&'a Network],
) -> Result<Box<dyn Iterator<Item = Result<&'a Host, Rejected>> + 'a>, Waiting> {
    if let Some(name) = &jail.spec.host {
        let host = index
            .host(name)
            .ok_or_else(|| Waiting::host_missing(name))?;
        if let Some(reason) = unusable(host, networks) {
            return Err(Waiting::host_unusable(name, &reason));
        }
        return Ok(Box::new(std::iter::once(Ok(host))));
    }
    let first =
        preferring(former(index, jail, networks), index.hosts_by_load()).map(
            |host| match rejection(host, jail, networks) {
                Some(reason) => Err(Rejected {
                    host: host.metadata.name.clone(),
                    reason,
                }),
                None => Ok(host),
            },
        );
    let preferred = first.filter(|host| host.as_ref().map_or(true, |host| !is_avoided(host, jail)));
    let avoided = index
        .hosts_by_load()
        .filter(|host| rejection(host, jail, networks).is_none() && is_avoided(host, jail))
        .map(Ok);
    Ok(Box::new(preferred.chain(avoided)))
}

/// One host before all others, which are looked at only when they are asked for: the first of them mostly takes the jail.
fn preferring<'a>(
    former: Option<&'a Host>,
    others: impl Iterator<Item = &'a Host>,
) -> impl Iterator<Item = &'a Host> {
    let name = former.map(|host| host.metadata.name.as_str());
    let others = others.filter(move |host| name != Some(host.metadata.name.as_str()));
    former.into_iter().chain(others)
}

/// The host that a former jail of the name had, where an address that is kept for it is of that host's slices: elsewhere it could not have it back.
fn former<'a>(index: &'a Index, jail: &Jail, networks: &[&Network]) -> Option<&'a Host> {
    let kept = index.kept(&jail.metadata.name)?;
    let host = index.host(&kept.binding.host)?;
    let is_there = |network: &Network, address: IpAddr| {
        let claim = address_claim(network, &host.metadata.name, address);
        let for_it = index.claims().kept_for(&claim);
        let slice = network.spec.slice_of(address);
        for_it.is_some_and(|(_, name)| name == jail.metadata.name)
            && slice.is_some_and(|slice| {
                slices::holder(index, network, &host.metadata.name, slice) == Holder::Own
            })
    };
    let wanted = jail.spec.networks.iter().zip(networks);
    // One that is given has its host by that.
    let mut wanted = wanted.filter(|(attachment, _)| attachment.addresses.is_empty());
    let is_wanted = wanted.any(|(attachment, network)| {
        let before = kept.binding.attachments.iter().find(|bound| {
            bound.interface == attachment.interface && bound.network == attachment.network
        });
        let mut addresses = before.into_iter().flat_map(|before| &before.addresses);
        addresses.any(|address| is_there(network, address.address))
    });
    is_wanted.then_some(host)
}

/// The condition of a jail that no host can take.
#[must_use]
pub fn nowhere(rejected: &[Rejected]) -> Waiting {
    if rejected.is_empty() {
        return Waiting::new(
            "NoHosts",
            "there is no host yet; a host joins when its agent first connects",
        );
    }
    let shown: Vec<_> = rejected
        .iter()
        .take(REJECTED_SHOWN_MAX)
        .map(|rejected| format!("{}: {}", rejected.host, rejected.reason))
        .collect();
    let more = match rejected.len().checked_sub(REJECTED_SHOWN_MAX) {
        None | Some(0) => String::new(),
        Some(more) => format!("; and {more} more"),
    };
    Waiting::new(
        "NoHostFits",
        format!(
            "none of {} hosts fits: {}{more}",
            rejected.len(),
            shown.join("; ")
        ),
    )
}

/// Why a host cannot take a jail that did not name it.
fn rejection(host: &Host, jail: &Jail, networks: &[&Network]) -> Option<String> {
    let labels = &host.metadata.labels;
    let selector = jail.spec.host_selector.as_ref();
    if selector.is_some_and(|selector| !selector.matches(labels)) {
        return Some("does not match the jail's hostSelector".to_owned());
    }
    if host.spec.unschedulable {
        return Some("is cordoned".to_owned());
    }
    let taint = host.spec.taints.iter().find(|taint| {
        taint.effect == TaintEffect::NoSchedule
            && !jail
                .spec
                .tolerations
                .iter()
                .any(|toleration| toleration.tolerates(taint))
    });
    if let Some(taint) = taint {
        return Some(format!("has the taint {}", taint.key));
    }
    if let Some(reason) = unusable(host, networks) {
        return Some(reason);
    }
    let uplinks = networks.iter().flat_map(|network| uplinks_of(network));
    let named = jail
        .spec
        .publish
        .iter()
        .map(|publish| publish.uplink.as_str());
    let public = jail
        .spec
        .public_addresses
        .iter()
        .map(|public| public.uplink.as_str());
    uplinks
        .chain(named)
        .chain(public)
        .find(|uplink| !host.spec.uplinks.contains_key(*uplink))
        .map(|uplink| format!("has no uplink `{uplink}`"))
        .or_else(|| unheard(host))
}

/// Why a host counts as not heard.
pub(crate) fn unheard(host: &Host) -> Option<String> {
    let status = host.status.as_ref();
    let conditions = status.map_or(&[][..], |status| &status.conditions);
    match conditions::find(conditions, conditions::HEARD) {
        Some(heard) if heard.status == ConditionStatus::True => None,
        Some(heard) if heard.reason == conditions::REASON_LOST => Some(format!(
            "has not been heard since {}",
            heard
                .last_transition_time
                .map_or_else(|| "long ago".to_owned(), |time| time.to_string())
        )),
        Some(_) | None => Some("was never heard".to_owned()),
    }
}

/// Why a host cannot take a jail even when it is named.
fn unusable(host: &Host, networks: &[&Network]) -> Option<String> {
    if host.metadata.deletion_timestamp.is_some() {
        return Some("is being deleted".to_owned());
    }
    if host.spec.forgotten {
        return Some(
            "was given up (`jailctl host forget`); `jailctl host approve` takes it back".to_owned(),
        );
    }
    let elsewhere = networks.iter().find(|network| {
        let selector = network.spec.host_selector.as_ref();
        selector.is_some_and(|selector| !selector.matches(&host.metadata.labels))
    });
    elsewhere.map(|network| {
        format!(
            "network {} does not exist there (hostSelector)",
            network.metadata.name
        )
    })
}

fn is_avoided(host: &Host, jail: &Jail) -> bool {
    host.spec.taints.iter().any(|taint| {
        taint.effect == TaintEffect::PreferNoSchedule
            && !jail
                .spec
                .tolerations
                .iter()
                .any(|toleration| toleration.tolerates(taint))
    })
}

fn uplinks_of(network: &Network) -> impl Iterator<Item = &str> {
    let spec = &network.spec;
    let nat = spec.egress.iter().filter_map(|egress| egress.nat.as_ref());
    let leaned = [
        spec.shared_ip
            .as_ref()
            .and_then(|mode| mode.uplink.as_deref()),
        spec.bridge.as_ref().and_then(|mode| mode.uplink.as_deref()),
        spec.netgraph
            .as_ref()
            .and_then(|mode| mode.uplink.as_deref()),
    ];
    let leaned = leaned.into_iter().flatten();
    leaned.chain(nat.map(|nat| nat.uplink.as_str()))
}

#[cfg(test)]
mod tests;
