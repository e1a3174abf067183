//! Rules of a jail's firewall that nothing on a packet's way could enforce, by the one table of `schemas`.

use cellblock_schemas::Jail;
use cellblock_schemas::enforcement::{Feature, Refusal, enforcement};
use cellblock_schemas::jail::Firewall;
use cellblock_schemas::net::Family;
use cellblock_schemas::network::Network;

use super::Problem;
use crate::index::Index;

#[cfg(test)]
mod tests;

const REASON: &str = "NotEnforceable";

/// What the firewall asks of networks that cannot have it. Networks that do not exist are passed over: the jail waits for them.
pub(super) fn of_jail(index: &Index, jail: &Jail, problems: &mut Vec<Problem>) {
    let Some(firewall) = &jail.spec.firewall else {
        return;
    };
    let mut attachments = jail.spec.networks.iter();
    let refused = attachments.find_map(|attachment| {
        let network = index.network(&attachment.network)?;
        let refusal = refused(network, Feature::Firewall)?;
        let is_concerned = firewall.concerns(&network.metadata.name);
        is_concerned.then(|| unfiltered(firewall, network, refusal))
    });
    problems.extend(refused);
    socket_owners(index, jail, firewall, problems);
}

/// A network on which nothing filters, and where the firewall speaks of it.
fn unfiltered(firewall: &Firewall, network: &Network, refusal: Refusal) -> Problem {
    let name = &network.metadata.name;
    let mut rules = firewall.rules();
    let named = rules.find(|(_, _, rule)| rule.network.as_ref() == Some(name));
    let mut rules = firewall.rules();
    let unnamed = rules.find(|(_, _, rule)| rule.network.is_none());
    let field = match (named, unnamed) {
        (Some((list, place, _)), _) => format!("spec.firewall.{list}[{place}].network"),
        (None, Some((list, place, _))) => format!("spec.firewall.{list}[{place}]"),
        (None, None) if firewall.default_ingress.is_some() => {
            "spec.firewall.defaultIngress".to_owned()
        }
        (None, None) => "spec.firewall.defaultEgress".to_owned(),
    };
    let message = format!(
        "nothing could filter on network {name}: {}",
        refusal.message
    );
    Problem::new(REASON, field, message, refusal.help)
}

/// `user` and `group` of rules about networks whose jails have sockets of their own.
fn socket_owners(index: &Index, jail: &Jail, firewall: &Firewall, problems: &mut Vec<Problem>) {
    for (list, place, rule) in firewall.rules() {
        let field = match (&rule.user, &rule.group) {
            (Some(_), _) => "user",
            (None, Some(_)) => "group",
            (None, None) => continue,
        };
        let mut attachments = jail.spec.networks.iter().filter(|attachment| {
            let named = rule.network.as_ref();
            named.is_none_or(|named| *named == attachment.network)
        });
        let refused = attachments.find_map(|attachment| {
            let network = index.network(&attachment.network)?;
            Some((network, refused(network, Feature::SocketOwner)?))
        });
        if let Some((network, refusal)) = refused {
            let name = &network.metadata.name;
            let field = format!("spec.firewall.{list}[{place}].{field}");
            let message = format!(
                "nothing could match it on network {name}: {}",
                refusal.message
            );
            problems.push(Problem::new(REASON, field, message, refusal.help));
        }
    }
}

/// Rules are about a network in both families.
fn refused(network: &Network, feature: Feature) -> Option<Refusal> {
    enforcement(&network.spec, feature, Family::Ipv4).refusal()
}
