//! Bridges and their uplinks: an interface is a member of one bridge at most (`ifconfig BRIDGE addm` refuses a second one with
//! EBUSY, sys/net/if_bridge.c), so two bridge networks cannot have one NIC of one host.

use cellblock_schemas::network::{Mode, Network, NetworkSpec};
use cellblock_schemas::{Host, Jail};

use super::Problem;
use crate::index::Index;

const REASON: &str = "UplinkTaken";

const HELP: &str = "attach the jails to one network, give one of the two another uplink, or keep them on different hosts with hostSelectors that cannot both match";

/// The uplink that is a member of a network's bridge.
pub(super) fn bridged(spec: &NetworkSpec) -> Option<&str> {
    match spec.mode()? {
        Mode::Bridge(bridge) => bridge.uplink.as_deref(),
        Mode::SharedIp(_) | Mode::Routed(_) | Mode::Netgraph(_) | Mode::Passthrough(_) => None,
    }
}

/// The interface that is a member of a network's bridge on a host.
fn member<'a>(host: &'a Host, network: &Network) -> Option<&'a str> {
    let uplink = host.spec.uplinks.get(bridged(&network.spec)?)?;
    uplink.interface.as_deref()
}

/// Another network whose bridge has the same interface on a host that it has jails on.
fn rival<'a>(index: &'a Index, host: &Host, network: &Network) -> Option<&'a Network> {
    let wanted = member(host, network)?;
    index.networks().find(|other| {
        let name = &other.metadata.name;
        *name != network.metadata.name
            && member(host, other) == Some(wanted)
            && index.has_network(&host.metadata.name, name)
    })
}

/// Whether a jail would be the first on a host of a network whose bridge has an uplink.
pub(crate) fn brings_a_bridge(index: &Index, jail: &Jail, host: &str) -> bool {
    newcomers(index, jail, host).next().is_some()
}

/// The networks with a bridge and an uplink that a jail would bring to a host, and where the jail names them.
fn newcomers<'a>(
    index: &'a Index,
    jail: &'a Jail,
    host: &'a str,
) -> impl Iterator<Item = (usize, &'a Network)> {
    let attachments = jail.spec.networks.iter().enumerate();
    attachments.filter_map(move |(place, attachment)| {
        let network = index.network(&attachment.network)?;
        bridged(&network.spec)?;
        (!index.has_network(host, &attachment.network)).then_some((place, network))
    })
}

/// Bridges that a jail would bring to a host where another one has their interface.
pub(super) fn of_jail(index: &Index, jail: &Jail, host: &Host, problems: &mut Vec<Problem>) {
    let name = &host.metadata.name;
    for (place, network) in newcomers(index, jail, name) {
        if let Some(other) = rival(index, host, network) {
            let message = format!(
                "the bridge of network {} needs {} of host {name}, which is a member of the bridge of network {}, and an interface can be a member of one only",
                network.metadata.name,
                member(host, network).unwrap_or_default(),
                other.metadata.name
            );
            let field = format!("spec.networks[{place}].network");
            problems.push(Problem::new(REASON, field, message, HELP));
        }
    }
}

/// What a network would share with another one: an uplink by name on any host, or an interface on a host that has jails of both.
pub(super) fn of_network(index: &Index, network: &Network, problems: &mut Vec<Problem>) {
    let Some(uplink) = bridged(&network.spec) else {
        return;
    };
    let name = &network.metadata.name;
    let named = index.networks().find(|other| {
        other.metadata.name != *name
            && bridged(&other.spec) == Some(uplink)
            && super::network::may_share_a_host(&network.spec, &other.spec)
    });
    let message = match named {
        Some(other) => Some(format!(
            "uplink `{uplink}` is a member of the bridge of network {} wherever both stand on one host, and an interface can be a member of one only",
            other.metadata.name
        )),
        None => index.hosts_of_network(name).find_map(|host| {
            let host = index.host(host)?;
            let other = rival(index, host, network)?;
            Some(format!(
                "{} of host {} is a member of the bridge of network {}, and an interface can be a member of one only",
                member(host, network)?,
                host.metadata.name,
                other.metadata.name
            ))
        }),
    };
    let field = "spec.bridge.uplink";
    problems.extend(message.map(|message| Problem::new(REASON, field, message, HELP)));
}

/// Bridges on a host that its new spec would give one interface.
pub(super) fn of_host(index: &Index, host: &Host, problems: &mut Vec<Problem>) {
    let present =
        |network: &&Network| index.has_network(&host.metadata.name, &network.metadata.name);
    let pair = index
        .networks()
        .filter(present)
        .find_map(|network| Some((network, rival(index, host, network)?)));
    if let Some((one, other)) = pair {
        let message = format!(
            "the bridges of networks {} and {} would both need {}, and an interface can be a member of one only",
            one.metadata.name,
            other.metadata.name,
            member(host, one).unwrap_or_default()
        );
        let help = "give the two uplinks different interfaces";
        problems.push(Problem::new(REASON, "spec.uplinks", message, help));
    }
}
