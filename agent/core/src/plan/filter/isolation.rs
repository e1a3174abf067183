//! Networks whose jails must not reach each other: who they are, and the states that end when the rules that say so are loaded.
//!
//! The ledger knows that states are to be looked at before the rules are loaded, and until they were: wherever the agent dies, they are.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use cellblock_schemas::ids::Uid;
use cellblock_schemas::jail::BoundAttachment;
use cellblock_schemas::network::{GatewayOwner, Mode};
use cellblock_schemas::view::{JailView, NetworkView};

use ipnet::IpNet;

use super::Rules;
use crate::isolation::{Apart, Crossing, Isolation, by_pf};
use crate::ledger::Owned;
use crate::names;
use crate::op::{Op, Record, Subject};
use crate::plan::Planner;
use crate::plan::phase::Phase;

impl Planner<'_> {
    /// Adds what keeps jails apart. One that stops is among them until it has ended: its programs run that long.
    pub(super) fn add_isolation(&self, rules: &mut Rules) {
        let networks = self.view.networks.values();
        for network in networks.filter(|network| by_pf(&network.spec)) {
            if let Some(isolation) = self.isolation(network) {
                let anchor = names::isolation_anchor(&network.uid);
                rules.entry(anchor).or_default().isolation = Some(isolation);
            }
        }
    }

    /// The jails of a network that must not reach each other; none where it has no jail here.
    fn isolation(&self, network: &NetworkView) -> Option<Isolation> {
        let mut jails: BTreeMap<Uid, Apart> = BTreeMap::new();
        let mut host_ends = BTreeSet::new();
        let mut beside = BTreeMap::new();
        for (uid, jail) in &self.view.jails {
            let attachments = jail.binding.attachments.iter();
            let mut attached = attachments
                .filter(|bound| bound.network == network.name)
                .peekable();
            if attached.peek().is_none() || !self.shall_run(uid) && self.is_over(uid) {
                continue;
            }
            let apart = jails.entry(uid.clone()).or_default();
            apart.own = addresses(jail);
            for bound in attached {
                let here = bound.addresses.iter().map(|bound| bound.address);
                apart.here.extend(here);
            }
            for bound in &jail.binding.attachments {
                self.add_ways(network, uid, bound, &mut host_ends, &mut beside);
            }
        }
        let at = match network.spec.mode()? {
            Mode::SharedIp(mode) => Crossing::Stack {
                loopback: mode.uplink.is_none().then(|| names::loopback(&network.uid)),
            },
            Mode::Routed(_) if network.spec.spans_hosts() => {
                spanning(network, host_ends, jails.values())
            }
            Mode::Routed(_) => Crossing::Links(host_ends),
            Mode::Bridge(_) => bridge(network, host_ends),
            Mode::Netgraph(_) | Mode::Passthrough(_) => return None,
        };
        (!jails.is_empty()).then(|| Isolation {
            network: network.uid.clone(),
            jails,
            at,
            beside,
        })
    }

    /// By which interfaces the host gets what a jail sends on one of its networks: ends of links are its own, and at the host's place at a switch others are, too.
    fn add_ways(
        &self,
        isolated: &NetworkView,
        uid: &Uid,
        bound: &BoundAttachment,
        host_ends: &mut BTreeSet<String>,
        beside: &mut BTreeMap<String, BTreeSet<IpAddr>>,
    ) {
        let Some(network) = self.view.networks.get(&bound.network) else {
            return;
        };
        let place = match network.spec.mode() {
            Some(Mode::Routed(_)) => None,
            Some(Mode::Bridge(_)) => Some(names::bridge(&network.uid)),
            Some(Mode::Netgraph(mode)) if mode.uplink.is_none() => {
                Some(names::switch_port(&network.uid))
            }
            // Addresses of the host, or the wire.
            Some(Mode::SharedIp(_) | Mode::Netgraph(_) | Mode::Passthrough(_)) | None => return,
        };
        if !matches!(network.spec.mode(), Some(Mode::Netgraph(_))) {
            host_ends.insert(names::epair_host_end(uid, &bound.interface));
        }
        if let Some(place) = place.filter(|_| network.uid != isolated.uid) {
            let addresses = bound.addresses.iter().map(|bound| bound.address);
            beside.entry(place).or_default().extend(addresses);
        }
    }

    /// Ends connections between jails that must not reach each other: a state outlives the rule that would not let it be made any more.
    pub(super) fn plan_apart(&mut self, anchor: &str, isolation: &Isolation, loaded: bool) {
        let unchecked = unchecked(isolation);
        if loaded && !self.ledger.owned.contains(&unchecked) {
            return;
        }
        let op = Op::KillBetween {
            isolation: isolation.clone(),
        };
        let step = self.step(Phase::KillStates, &Subject::anchor(anchor), op);
        step.forget.push(Record::Owned(unchecked));
    }

    /// The anchors that keep a jail from the others of its networks, without which it must not start.
    pub(in crate::plan) fn anchors_of_isolation(&self, uid: &Uid) -> Vec<Subject> {
        let jail = self.view.jails.get(uid);
        let attachments = jail.into_iter().flat_map(|jail| &jail.binding.attachments);
        let networks = attachments.filter_map(|bound| self.view.networks.get(&bound.network));
        networks
            .filter(|network| by_pf(&network.spec))
            .map(|network| Subject::anchor(&names::isolation_anchor(&network.uid)))
            .collect()
    }
}

/// What the ledger is to say before an anchor is loaded that keeps jails apart.
pub(super) fn unchecked(isolation: &Isolation) -> Owned {
    Owned::UncheckedNetwork {
        network: isolation.network.clone(),
    }
}

/// All addresses of a jail, on whatever network.
fn addresses(jail: &JailView) -> BTreeSet<IpAddr> {
    let attachments = jail.binding.attachments.iter();
    let bound = attachments.flat_map(|bound| &bound.addresses);
    bound.map(|bound| bound.address).collect()
}

/// Others are behind links of this host and of other hosts; what the host has itself in the subnets are ends of its links.
fn spanning<'j>(
    network: &NetworkView,
    host_ends: BTreeSet<String>,
    jails: impl Iterator<Item = &'j Apart>,
) -> Crossing {
    let subnets = network.spec.subnets.iter();
    let own = jails.flat_map(|jail| &jail.here);
    let gateways = own.filter_map(|address| network.spec.jail_gateway(*address));
    let subnets: BTreeSet<IpNet> = subnets.map(|subnet| subnet.cidr.net()).collect();
    let is_inside = |address: &IpAddr| subnets.iter().any(|net| net.contains(address));
    Crossing::Routed {
        interfaces: host_ends,
        gateways: gateways.filter(is_inside).collect(),
        subnets,
        spanning: true,
    }
}

/// The way around private members: by the host, where it routes to the bridge.
fn bridge(network: &NetworkView, host_ends: BTreeSet<String>) -> Crossing {
    let mut interfaces = host_ends;
    interfaces.insert(names::bridge(&network.uid));
    let (mut subnets, mut gateways) = (BTreeSet::new(), BTreeSet::new());
    for subnet in &network.spec.subnets {
        let Some(gateway) = &subnet.gateway else {
            continue;
        };
        if network.spec.gateway_owner(gateway) == GatewayOwner::Host {
            subnets.insert(subnet.cidr.net());
            gateways.insert(gateway.address);
        }
    }
    Crossing::Routed {
        interfaces,
        subnets,
        gateways,
        spanning: false,
    }
}
