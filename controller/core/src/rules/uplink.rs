//! Uplinks that two networks cannot have at once.
//!
//! What takes an interface whole keeps it from others: it is a member of one bridge at most (`ifconfig BRIDGE addm` refuses a second one with EBUSY, sys/net/if_bridge.c), and its
//! ng_ether(4) node has one `lower` hook (a second peer gets EISCONN, sys/netgraph/ng_ether.c). With both, a frame that comes in goes to ng_ether(4) alone and one that goes out to
//! if_bridge(4) first (`ether_input_internal`, `ether_output`, sys/net/if_ethersubr.c): each would see one half of a conversation. And a member has no addresses of the host
//! (`net.link.bridge.member_ifaddrs`, sys/netinet/in.c), so those of shared-IP jails cannot stand on it.

use std::fmt;

use cellblock_schemas::enforcement::MEMBER_FILTER;
use cellblock_schemas::network::{Mode, Network, NetworkSpec};
use cellblock_schemas::{Host, Jail};

use super::Problem;
use crate::index::Index;

#[cfg(test)]
mod tests;

const REASON: &str = "UplinkTaken";

const SCRUB_HELP: &str = "take `scrub` out of the Host's uplink, give the network another one, or declare net.link.bridge.pfil_member: 1 in the Host's sysctls";

const VLAN_HELP: &str = "give the netgraph network another uplink than the vlan's, or take the vlan out of the Host's uplinks";

const HELP: &str = "attach the jails to one network, give one of the two another uplink, or keep them on different hosts with hostSelectors that cannot both match";

/// What a network does with the interface of its uplink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    /// It is a member of the network's bridge.
    Member,
    /// Its ng_ether(4) hooks lead to the network's netgraph switch.
    Hooks,
    /// It has addresses of the network's shared-IP jails.
    Addresses,
}

impl Hold {
    /// Why the interface cannot be had in the other way beside; none: it can.
    fn excludes(self, other: Self) -> Option<&'static str> {
        match (self, other) {
            (Self::Member, Self::Member) => Some("an interface can be a member of one bridge only"),
            (Self::Hooks, Self::Hooks) => {
                Some("the ng_ether(4) hooks of an interface lead to one switch only")
            }
            (Self::Member, Self::Hooks) | (Self::Hooks, Self::Member) => {
                Some("a bridge and a netgraph switch would each see half of an interface's frames")
            }
            (Self::Member, Self::Addresses) | (Self::Addresses, Self::Member) => {
                Some("a member of a bridge cannot have addresses")
            }
            (Self::Hooks, Self::Addresses) | (Self::Addresses, Self::Hooks | Self::Addresses) => {
                None
            }
        }
    }

    /// How a network has the interface, in words that follow "which".
    fn words(self, network: &str) -> String {
        match self {
            Self::Member => format!("is a member of the bridge of network {network}"),
            Self::Hooks => format!("is hooked to the netgraph switch of network {network}"),
            Self::Addresses => format!("has the addresses of network {network}"),
        }
    }
}

/// The uplink whose interface a network's jails are attached by, and how; none where they are attached by no interface of the host.
fn held(spec: &NetworkSpec) -> Option<(Hold, &str)> {
    let (hold, uplink) = match spec.mode()? {
        Mode::Bridge(bridge) => (Hold::Member, &bridge.uplink),
        Mode::Netgraph(netgraph) => (Hold::Hooks, &netgraph.uplink),
        Mode::SharedIp(shared) => (Hold::Addresses, &shared.uplink),
        Mode::Routed(_) | Mode::Passthrough(_) => return None,
    };
    Some((hold, uplink.as_deref()?))
}

/// What an uplink is on a host: two that are the same stand in each other's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way<'a> {
    /// An interface by name, which two uplinks may share.
    Interface(&'a str),
    /// The lagg or vlan of an uplink by name, which is that uplink's alone.
    Made(&'a str),
}

impl<'a> Way<'a> {
    fn of(host: &'a Host, uplink: &'a str) -> Option<Self> {
        let spec = host.spec.uplinks.get(uplink)?;
        if spec.lagg.is_some() || spec.vlan.is_some() {
            return Some(Self::Made(uplink));
        }
        spec.interface.as_deref().map(Self::Interface)
    }
}

impl fmt::Display for Way<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interface(name) => f.write_str(name),
            Self::Made(uplink) => write!(f, "uplink `{uplink}`"),
        }
    }
}

/// The same with what the uplink is on a host.
fn held_on<'a>(host: &'a Host, network: &'a Network) -> Option<(Hold, Way<'a>)> {
    let (hold, uplink) = held(&network.spec)?;
    Some((hold, Way::of(host, uplink)?))
}

/// The uplink that is a vlan on what a network's netgraph switch would have all frames of: ng_ether(4) has them before any vlan (`ether_input_internal`, sys/net/if_ethersubr.c).
fn starved_vlan<'a>(host: &'a Host, network: &'a Network) -> Option<&'a str> {
    let (Hold::Hooks, way) = held_on(host, network)? else {
        return None;
    };
    let mut uplinks = host.spec.uplinks.iter();
    let vlan = uplinks.find(|(_, uplink)| {
        let carrier = uplink.vlan.as_ref().map(|vlan| vlan.uplink.as_str());
        carrier.and_then(|carrier| Way::of(host, carrier)) == Some(way)
    });
    vlan.map(|(name, _)| name.as_str())
}

/// Something that a Host says of its uplinks and that a network there would leave without effect.
struct Idle {
    reason: &'static str,
    message: String,
    help: &'static str,
}

impl Idle {
    fn of(host: &Host, network: &Network) -> Option<Self> {
        Self::vlan(host, network).or_else(|| Self::scrub(host, network))
    }

    /// A vlan whose carrier is at a netgraph switch.
    fn vlan(host: &Host, network: &Network) -> Option<Self> {
        let vlan = starved_vlan(host, network)?;
        let (host, network) = (&host.metadata.name, &network.metadata.name);
        let message = format!(
            "the netgraph switch of network {network} has all frames that come in by its uplink on host {host}, and uplink `{vlan}`, a vlan on it, would get none"
        );
        Some(Self {
            reason: REASON,
            message,
            help: VLAN_HELP,
        })
    }

    /// What pf is to change on a member of a bridge, where it is not asked about any frame (`bridge_pfil`, sys/net/if_bridge.c).
    fn scrub(host: &Host, network: &Network) -> Option<Self> {
        let (Hold::Member, way) = held_on(host, network)? else {
            return None;
        };
        if host.spec.declares_on(MEMBER_FILTER) {
            return None;
        }
        let mut uplinks = host.spec.uplinks.iter();
        let (uplink, _) = uplinks
            .find(|(name, uplink)| uplink.scrub.is_some() && Way::of(host, name) == Some(way))?;
        let (host, network) = (&host.metadata.name, &network.metadata.name);
        let message = format!(
            "uplink `{uplink}` of host {host} is a member of the bridge of network {network}, where pf changes no frame, and its scrub would have no effect"
        );
        Some(Self {
            reason: "NotEnforceable",
            message,
            help: SCRUB_HELP,
        })
    }

    fn problem(self, field: impl Into<String>) -> Problem {
        Problem::new(self.reason, field, self.message, self.help)
    }
}

/// Another network in the way of this one's uplink.
struct Rival<'a> {
    /// How the other one has the interface, in words that follow "which".
    words: String,
    /// Why not both.
    why: &'static str,
    network: &'a Network,
}

impl<'a> Rival<'a> {
    fn of(hold: Hold, network: &'a Network) -> Option<Self> {
        let (other, _) = held(&network.spec)?;
        let why = hold.excludes(other)?;
        let words = other.words(&network.metadata.name);
        Some(Self {
            words,
            why,
            network,
        })
    }

    /// Another network with the same interface of a host that it has jails on.
    fn on_host(index: &'a Index, host: &Host, network: &Network) -> Option<Self> {
        let (hold, wanted) = held_on(host, network)?;
        let mut others = index.networks().filter(|other| {
            let name = &other.metadata.name;
            *name != network.metadata.name
                && held_on(host, other).is_some_and(|(_, interface)| interface == wanted)
                && index.has_network(&host.metadata.name, name)
        });
        others.find_map(|other| Self::of(hold, other))
    }
}

/// Whether a jail would be the first on a host of a network that has an uplink.
pub(crate) fn takes_an_uplink(index: &Index, jail: &Jail, host: &str) -> bool {
    newcomers(index, jail, host).next().is_some()
}

/// The networks with an uplink that a jail would bring to a host, and where the jail names them.
fn newcomers<'a>(
    index: &'a Index,
    jail: &'a Jail,
    host: &'a str,
) -> impl Iterator<Item = (usize, &'a Network)> {
    let attachments = jail.spec.networks.iter().enumerate();
    attachments.filter_map(move |(place, attachment)| {
        let network = index.network(&attachment.network)?;
        held(&network.spec)?;
        (!index.has_network(host, &attachment.network)).then_some((place, network))
    })
}

/// Networks that a jail would bring to a host where another one has their interface.
pub(super) fn of_jail(index: &Index, jail: &Jail, host: &Host, problems: &mut Vec<Problem>) {
    let name = &host.metadata.name;
    for (place, network) in newcomers(index, jail, name) {
        let Some((_, interface)) = held_on(host, network) else {
            continue;
        };
        let field = format!("spec.networks[{place}].network");
        if let Some(Rival { words, why, .. }) = Rival::on_host(index, host, network) {
            let message = format!(
                "network {} needs {interface} of host {name}, which {words}: {why}",
                network.metadata.name
            );
            problems.push(Problem::new(REASON, field, message, HELP));
        } else if let Some(idle) = Idle::of(host, network) {
            problems.push(idle.problem(field));
        }
    }
}

/// What a network would share with another one: an uplink by name on any host, or an interface on a host that has jails of both.
pub(super) fn of_network(index: &Index, network: &Network, problems: &mut Vec<Problem>) {
    let (Some((hold, uplink)), Some(mode)) = (held(&network.spec), network.spec.mode()) else {
        return;
    };
    let name = &network.metadata.name;
    let mut others = index.networks().filter(|other| {
        other.metadata.name != *name
            && held(&other.spec).is_some_and(|(_, other)| other == uplink)
            && super::network::may_share_a_host(&network.spec, &other.spec)
    });
    let message = match others.find_map(|other| Rival::of(hold, other)) {
        Some(Rival { words, why, .. }) => Some(format!(
            "uplink `{uplink}` {words} wherever both stand on one host: {why}"
        )),
        None => index.hosts_of_network(name).find_map(|host| {
            let host = index.host(host)?;
            let (_, interface) = held_on(host, network)?;
            let Rival { words, why, .. } = Rival::on_host(index, host, network)?;
            let host = &host.metadata.name;
            Some(format!("{interface} of host {host} {words}: {why}"))
        }),
    };
    let field = format!("spec.{}.uplink", mode.name());
    if let Some(message) = message {
        return problems.push(Problem::new(REASON, field, message, HELP));
    }
    let mut hosts = index.hosts_of_network(name);
    let idle = hosts.find_map(|host| Idle::of(index.host(host)?, network));
    problems.extend(idle.map(|idle| idle.problem(field)));
}

/// Networks on a host that its new spec would give one interface, whose uplink it would take away, or whose way there would leave something that it says of the uplink without effect.
pub(super) fn of_host(
    index: &Index,
    host: &Host,
    before: Option<&Host>,
    problems: &mut Vec<Problem>,
) {
    let name = &host.metadata.name;
    let present = |network: &&Network| index.has_network(name, &network.metadata.name);
    for network in index.networks().filter(present) {
        let uplink = held(&network.spec).map(|(_, uplink)| uplink);
        let had = |uplink: &&str| {
            before.is_some_and(|before| before.spec.uplinks.contains_key(*uplink))
                && !host.spec.uplinks.contains_key(*uplink)
        };
        if let Some(uplink) = uplink.filter(had) {
            let message = format!(
                "network {} has jails on this host and needs uplink `{uplink}`",
                network.metadata.name
            );
            let help =
                "delete these jails first, give the network another uplink, or keep this one";
            problems.push(Problem::new("UplinkInUse", "spec.uplinks", message, help));
        }
        problems.extend(Idle::of(host, network).map(|idle| idle.problem("spec.uplinks")));
    }
    let found = index.networks().filter(present).find_map(|network| {
        let (_, interface) = held_on(host, network)?;
        Some((network, interface, Rival::on_host(index, host, network)?))
    });
    if let Some((one, interface, Rival { why, network, .. })) = found {
        let message = format!(
            "networks {} and {} would both need {interface}: {why}",
            one.metadata.name, network.metadata.name
        );
        let help = "give the two uplinks different interfaces";
        problems.push(Problem::new(REASON, "spec.uplinks", message, help));
    }
}
