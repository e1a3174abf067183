//! Addresses that the wire or the jail itself gives: what was observed of them, and what has not come.

use cellblock_schemas::jail::{Addressing, ObservedInterface};
use cellblock_schemas::net::{Family, HostAddress, is_link_local};
use cellblock_schemas::view::JailView;

use crate::observed::{Observed, ObservedJail};

/// The interfaces of a running jail that have such addresses, with those that it can use.
pub(super) fn observed(
    observed: &Observed,
    jail: &JailView,
    running: &ObservedJail,
) -> Vec<ObservedInterface> {
    let attachments = jail.binding.attachments.iter().enumerate();
    let dynamic = attachments.filter(|(place, _)| match jail.addressing(*place) {
        Addressing::Allocate | Addressing::Static => false,
        Addressing::Dhcp | Addressing::Slaac | Addressing::Jail => true,
    });
    let seen = |name: &str| -> Vec<HostAddress> {
        let vnet = observed.vnets.get(&running.jid);
        let mut interfaces = vnet.into_iter().flat_map(|vnet| &vnet.interfaces);
        let found = interfaces.find(|found| found.name == name);
        let entries = found.into_iter().flat_map(|found| &found.addresses);
        entries
            .filter(|entry| !is_link_local(entry.address) && !entry.tentative && !entry.duplicated)
            .map(|entry| HostAddress {
                address: entry.address,
                prefix_length: Some(entry.prefix_length),
            })
            .collect()
    };
    dynamic
        .map(|(_, bound)| {
            let mut addresses = seen(&bound.interface);
            let is_bound = |seen: &HostAddress| {
                let mut bound = bound.addresses.iter();
                bound.any(|bound| bound.address == seen.address)
            };
            addresses.retain(|seen| !is_bound(seen));
            ObservedInterface {
                name: bound.interface.clone(),
                addresses,
            }
        })
        .collect()
}

/// What has not come yet, in words. What a jail gives itself is its own matter.
pub(super) fn missing(observed: &Observed, jail: &JailView, running: &ObservedJail) -> Vec<String> {
    let interfaces = self::observed(observed, jail, running);
    let attachments = jail.binding.attachments.iter().enumerate();
    attachments
        .filter_map(|(place, bound)| {
            let (family, source) = match jail.addressing(place) {
                Addressing::Dhcp => (Family::Ipv4, "an IPv4 address by DHCP: no server answered, or dhclient(8) does not run in the jail (its console says why)"),
                Addressing::Slaac => (Family::Ipv6, "an IPv6 address by router advertisement: no router has advertised a prefix of 64 bits"),
                Addressing::Allocate | Addressing::Static | Addressing::Jail => return None,
            };
            let mut found = interfaces.iter().filter(|found| found.name == bound.interface);
            let has = found.any(|found| {
                let mut addresses = found.addresses.iter();
                addresses.any(|seen| Family::of(seen.address) == family)
            });
            (!has).then(|| format!("{}: {source}", bound.interface))
        })
        .collect()
}
