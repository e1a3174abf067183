//! Uplinks that two networks cannot have at once.
//!
//! What takes an interface whole keeps it from others: it is a member of one bridge at most (`ifconfig BRIDGE addm` refuses a second one with EBUSY, sys/net/if_bridge.c), and its
//! ng_ether(4) node has one `lower` hook (a second peer gets EISCONN, sys/netgraph/ng_ether.c). With both, a frame that comes in goes to ng_ether(4) alone and one that goes out to
//! if_bridge(4) first (`ether_input_internal`, `ether_output`, sys/net/if_ethersubr.c): each would see one half of a conversation. And a member has no addresses of the host
//! (`net.link.bridge.member_ifaddrs`, sys/netinet/in.c), so those of shared-IP jails cannot stand on it.

use cellblock_schemas::network::{Mode, Network, NetworkSpec};
use cellblock_schemas::{Host, Jail};

use super::Problem;
use crate::index::Index;

#[cfg(test)]
mod tests;

const REASON: &str = "UplinkTaken";

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

/// The same with the interface that it is on a host.
fn held_on<'a>(host: &'a Host, network: &Network) -> Option<(Hold, &'a str)> {
    let (hold, uplink) = held(&network.spec)?;
    let uplink = host.spec.uplinks.get(uplink)?;
    Some((hold, uplink.interface.as_deref()?))
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
        if let Some(Rival { words, why, .. }) = Rival::on_host(index, host, network) {
            let message = format!(
                "network {} needs {interface} of host {name}, which {words}: {why}",
                network.metadata.name
            );
            let field = format!("spec.networks[{place}].network");
            problems.push(Problem::new(REASON, field, message, HELP));
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
    problems.extend(message.map(|message| Problem::new(REASON, field, message, HELP)));
}

/// Networks on a host that its new spec would give one interface.
pub(super) fn of_host(index: &Index, host: &Host, problems: &mut Vec<Problem>) {
    let present =
        |network: &&Network| index.has_network(&host.metadata.name, &network.metadata.name);
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
