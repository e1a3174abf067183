//! Rules of a jail's firewall that nothing on a packet's way could enforce, by the one table of `schemas`.

use cellblock_schemas::enforcement::{
    Feature, LOCAL_MEMBER_FILTER, MEMBER_FILTER, Refusal, enforcement, member_filters,
};
use cellblock_schemas::jail::{EnforcedBy, Firewall};
use cellblock_schemas::net::Family;
use cellblock_schemas::network::Network;
use cellblock_schemas::{Host, Jail};

use super::Problem;
use super::jail::is_dynamic;
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
        let refusal = refused(network, filtering(firewall))?;
        let is_concerned = firewall.concerns(&network.metadata.name);
        is_concerned.then(|| unfiltered(firewall, network, refusal))
    });
    problems.extend(refused);
    problems.extend(unknown_addresses(jail, firewall));
    if firewall.enforced_by == EnforcedBy::Host {
        socket_owners(index, jail, firewall, problems);
    }
}

fn filtering(firewall: &Firewall) -> Feature {
    match firewall.enforced_by {
        EnforcedBy::Host => Feature::Firewall,
        EnforcedBy::Jail => Feature::FirewallInside,
    }
}

/// An attachment whose addresses nobody knows beforehand. The rules are about what comes from and goes to the jail's addresses, and a jail does not start before they are in force.
fn unknown_addresses(jail: &Jail, firewall: &Firewall) -> Option<Problem> {
    let mut attachments = jail.spec.networks.iter().enumerate();
    let (place, attachment) = attachments
        .find(|(_, attachment)| is_dynamic(attachment) && firewall.concerns(&attachment.network))?;
    let message = format!(
        "the firewall is about the jail's addresses on network {}, and those that come by dhcp, slaac or jail are not known before it runs; no firewall has such addresses yet, in the host's pf or in the jail's own",
        attachment.network
    );
    let help = "use allocate or static, or let the rules name other networks";
    let field = format!("spec.networks[{place}].addressing");
    Some(Problem::new(REASON, field, message, help))
}

/// Jails on bridges whose firewalls would go out of force, because a Host no longer declares what they need.
pub(super) fn of_host(
    index: &Index,
    host: &Host,
    before: Option<&Host>,
    problems: &mut Vec<Problem>,
) {
    for oid in [MEMBER_FILTER, LOCAL_MEMBER_FILTER] {
        let had = before.is_some_and(|before| before.spec.declares_on(oid));
        if !had || host.spec.declares_on(oid) {
            continue;
        }
        let jails = index.jails_of_host(&host.metadata.name);
        let concerned: Vec<&str> = jails
            .filter(|jail| is_filtered_by(index, jail, oid))
            .map(|jail| jail.metadata.name.as_str())
            .collect();
        if !concerned.is_empty() {
            let message = format!(
                "{oid}: 1 goes, and with it the firewalls of jails on bridges of this host: {}",
                concerned.join(", ")
            );
            let help = "keep the line, or take the firewalls off these jails first";
            problems.push(Problem::new(REASON, "spec.sysctls", message, help));
        }
    }
}

/// Whether a jail's firewall on a bridge needs the sysctl.
fn is_filtered_by(index: &Index, jail: &Jail, oid: &str) -> bool {
    let Some(firewall) = jail.spec.firewall_of_host() else {
        return false;
    };
    let mut attachments = jail.spec.networks.iter();
    attachments.any(|attachment| {
        let network = index.network(&attachment.network);
        let network = network.filter(|network| firewall.concerns(&network.metadata.name));
        network.is_some_and(|network| member_filters(&network.spec).any(|needed| needed == oid))
    })
}

/// A network on which nothing filters, and where the firewall speaks of it.
fn unfiltered(firewall: &Firewall, network: &Network, refusal: Refusal) -> Problem {
    let name = &network.metadata.name;
    if firewall.enforced_by == EnforcedBy::Jail {
        let message = format!(
            "nothing could filter on network {name}: {}",
            refusal.message
        );
        return Problem::new(REASON, "spec.firewall.enforcedBy", message, refusal.help);
    }
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
