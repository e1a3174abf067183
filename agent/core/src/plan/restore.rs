//! What the host's own interfaces were before us: the aliases of jails that are gone, IPv6 that our addresses enabled, links that we brought up. Nothing of this carries a mark:
//! only what the ledger names is looked at, and what somebody else has come to use stays.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::Planner;
use super::desired::DesiredJail;
use super::phase::Phase;
use crate::ledger::Owned;
use crate::op::{Op, Record, Subject};

impl Planner<'_> {
    pub(super) fn plan_leftover_aliases(&mut self) {
        let ledger = self.ledger;
        let jails = std::mem::take(&mut self.desired.jails);
        let wanted = wanted_aliases(jails.values());
        let mut staying = self.staying_ports();
        staying.extend(self.held_interfaces());
        let mut kept6 = BTreeSet::new();
        for owned in &ledger.owned {
            let Owned::Alias { interface, address } = owned else {
                continue;
            };
            if self.goes_with_its_jail(interface) {
                continue;
            }
            let entry = self
                .index
                .holders(address)
                .find(|(found, _)| found.name == *interface)
                .map(|(_, entry)| entry);
            if staying.contains(interface) {
                if address.is_ipv6() && entry.is_some() {
                    kept6.insert(interface.clone());
                }
                continue;
            }
            let in_use = self.index.tenants(address).next().is_some();
            let on = wanted.get(address).map_or(&[][..], Vec::as_slice);
            if on.contains(&interface.as_str())
                || self.is_gateway(interface, *address)
                || in_use && on.is_empty()
            {
                if address.is_ipv6() {
                    kept6.insert(interface.clone());
                }
                continue;
            }
            if let Some(entry) = entry {
                let op = Op::RemoveAddress {
                    interface: interface.clone(),
                    address: *address,
                    prefix_length: entry.prefix_length,
                };
                let subject = Subject::address(interface, *address);
                self.step(Phase::RemoveAddress, &subject, op)
                    .forget
                    .push(Record::Owned(owned.clone()));
            }
        }
        let mut needed6 = kept6;
        for (_, on) in wanted.iter().filter(|(address, _)| address.is_ipv6()) {
            needed6.extend(on.iter().map(|interface| (*interface).to_owned()));
        }
        self.desired.jails = jails;
        self.plan_leftover_inet6(&needed6);
    }

    /// IPv6 goes from an interface of the host after our last IPv6 address, and the link-local address that it brought goes once nothing of ours brings it back.
    /// While somebody else has an IPv6 address there, both stay.
    fn plan_leftover_inet6(&mut self, needed: &BTreeSet<String>) {
        let ledger = self.ledger;
        for owned in &ledger.owned {
            if let Owned::Inet6Enabled { interface } = owned
                && !needed.contains(interface)
                && !self.has_inet6_of_others(interface)
            {
                let op = Op::DisableInet6 {
                    interface: interface.clone(),
                };
                let going = ledger.owned.iter().filter_map(|other| {
                    let Owned::Alias {
                        interface: on,
                        address,
                    } = other
                    else {
                        return None;
                    };
                    (on == interface).then(|| Subject::address(on, *address))
                });
                let subject = Subject::HostPart(format!("IPv6 on {interface}"));
                let step = self.step(Phase::Restore, &subject, op);
                step.needs.extend(going);
                step.forget.push(Record::Owned(owned.clone()));
            }
            let Owned::LinkLocal { interface } = owned else {
                continue;
            };
            if needed.contains(interface) || self.has_inet6_of_others(interface) {
                continue;
            }
            let causes = [
                Owned::BroughtUp {
                    interface: interface.clone(),
                },
                Owned::Inet6Enabled {
                    interface: interface.clone(),
                },
            ];
            let comes_back = causes.iter().any(|cause| ledger.owned.contains(cause));
            let standing = self.index.interfaces_named(interface).find_map(|found| {
                found
                    .link_local()
                    .filter(|_| !comes_back || found.nd6.contains("IFDISABLED"))
                    .map(|entry| (entry.address, entry.prefix_length))
            });
            let Some((address, prefix_length)) = standing else {
                continue;
            };
            let subject = Subject::address(interface, address);
            let op = Op::RemoveAddress {
                interface: interface.clone(),
                address,
                prefix_length,
            };
            self.step(Phase::Restore, &subject, op)
                .forget
                .push(Record::Owned(owned.clone()));
        }
    }

    /// Whether an interface has IPv6 addresses, link-local ones aside, that we did not put there.
    fn has_inet6_of_others(&self, interface: &str) -> bool {
        self.index.interfaces_named(interface).any(|found| {
            found.addresses.iter().any(|entry| {
                entry.scope.is_none()
                    && entry.address.is_ipv6()
                    && !self.is_owned_address(interface, entry.address)
            })
        })
    }

    /// Whether the address is a gateway that a bridge of ours, or our interface at a switch, shall have.
    fn is_gateway(&self, interface: &str, address: IpAddr) -> bool {
        let bridge = self.desired.bridges.get(interface);
        let switch = self.desired.switches.values().find(|switch| {
            let port = switch.port.as_ref();
            port.is_some_and(|port| port.interface == interface)
        });
        let bridge = bridge.map(|bridge| &bridge.addresses);
        let gateways = bridge.or(switch.map(|switch| &switch.addresses));
        let mut gateways = gateways.into_iter().flatten();
        gateways.any(|(gateway, _)| *gateway == address)
    }

    pub(super) fn is_owned_address(&self, interface: &str, address: IpAddr) -> bool {
        self.ledger.owned.contains(&Owned::Alias {
            interface: interface.to_owned(),
            address,
        })
    }

    /// NICs that we brought up for a bridge that has let go of them, or with an address that is gone from them: between the two steps the agent may have died.
    pub(super) fn plan_leftover_uplinks(&mut self) {
        let ledger = self.ledger;
        for owned in &ledger.owned {
            let Owned::BroughtUp { interface } = owned else {
                continue;
            };
            let mut bridges = self.desired.bridges.values();
            let mut aliases = self.desired.jails.values().flat_map(|jail| &jail.aliases);
            let wanted = bridges.any(|bridge| bridge.uplink.as_ref() == Some(interface))
                || self.desired.uplinks.is_below(interface)
                || aliases.any(|alias| alias.interface == *interface);
            // One that was renamed at its switch is remembered, see `still_there`.
            if !wanted
                && self.index.interfaces_named(interface).next().is_some()
                && self.index.bridge_of(interface).is_none()
                && !self.is_switch_uplink(interface)
            {
                let subject = Subject::HostPart(format!("interface {interface}"));
                self.plan_bring_down(&subject, interface);
            }
        }
    }

    /// Puts a NIC down that we brought up, unless somebody needs it up.
    pub(super) fn plan_bring_down(&mut self, subject: &Subject, interface: &str) {
        let owned = Owned::BroughtUp {
            interface: interface.to_owned(),
        };
        // Somebody has come to use it, itself or below a vlan or a lagg, or addresses of ours are still on it.
        let has_addresses = self.index.interfaces_named(interface).any(|found| {
            let mut addresses = found.addresses.iter();
            addresses.any(|entry| entry.scope.is_none())
        });
        let mut interfaces = self.observed.interfaces.iter();
        if has_addresses || interfaces.any(|above| above.below.contains(interface)) {
            return;
        }
        if self.ledger.owned.contains(&owned) {
            let op = Op::SetUp {
                interface: interface.to_owned(),
                up: false,
            };
            self.step(Phase::Restore, subject, op)
                .forget
                .push(Record::Owned(owned));
        }
    }
}

/// The aliases that jails shall have: on which interfaces, by address.
fn wanted_aliases<'j>(
    jails: impl Iterator<Item = &'j DesiredJail<'j>>,
) -> BTreeMap<IpAddr, Vec<&'j str>> {
    let mut wanted: BTreeMap<IpAddr, Vec<&str>> = BTreeMap::new();
    for alias in jails.flat_map(|jail| &jail.aliases) {
        wanted
            .entry(alias.address)
            .or_default()
            .push(&alias.interface);
    }
    wanted
}
