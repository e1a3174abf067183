//! Routed links: an epair whose host end is no member of anything, but has addresses of the host and routes to the jail's.
//!
//! ```text
//!   host  cb…a  10.40.0.1/32  fe80::1/64 ──── lan0  10.40.0.10/32  fe80::2/64  fd00:40::10/128  jail      unnumbered
//!   host  cb…a  10.40.0.2/31             ──── lan0  10.40.0.3/31                                jail      point to point
//! ```
//!
//! Every unnumbered link has the same gateway, so that it costs a jail one address. IPv4 gateways stand on each host end as a /32 of the host: an ARP request is answered only for addresses of the
//! interface that it comes in by (`in_arpinput`, sys/netinet/if_ether.c), and the kernel lets several interfaces have one /32, passing its own route on when one goes
//! (`in_localip_more`, `in_scrubprefix`, sys/netinet/in.c). The IPv6 gateway is link-local, and its solicitations come from the address that the jail sends by
//! (`nd6_ns_output_fib`, sys/netinet6/nd6_nbr.c): the host hears only those of neighbours, which that address is by a route without a gateway (`nd6_is_new_addr_neighbor`,
//! sys/netinet6/nd6.c). Over a route by the jail's link-local address, as in recording `04`, a jail that speaks first is not answered.

use std::net::{IpAddr, Ipv6Addr};

use cellblock_schemas::ids::Uid;
use cellblock_schemas::jail::BoundAttachment;
use cellblock_schemas::net::{Family, is_link_local};
use cellblock_schemas::network::{HOST_LINK_LOCAL, Mode, NetworkSpec};

use super::desired::{Attach, DesiredLink};
use super::phase::Phase;
use super::{Planner, reason};
use crate::ledger::Owned;
use crate::observed::Interface;
use crate::op::{Epair, Op, Record, Subject};

/// The jail's link-local address there, by whose prefix it reaches that gateway.
pub(super) const JAIL_LINK_LOCAL: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2));

/// The prefix length of both.
const LINK_LOCAL_PREFIX_LENGTH: u8 = 64;

/// What stands on the host's side of a routed link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostEnd {
    /// The host end's addresses with prefix lengths.
    pub addresses: Vec<(IpAddr, u8)>,
    /// The jail's addresses that no prefix of the host end covers, to each of which the host has a route.
    pub routes: Vec<IpAddr>,
}

/// Both sides of a routed link.
#[derive(Default)]
pub(super) struct Sides {
    pub(super) host: HostEnd,
    /// Addresses of the jail's end beside the bound ones.
    pub(super) jail: Vec<(IpAddr, u8)>,
    /// Addresses that the jail reaches on the link though no prefix covers them.
    pub(super) on_link: Vec<IpAddr>,
}

/// The sides of the link of `attachment` to a network; none unless the network is routed.
pub(super) fn sides(spec: &NetworkSpec, attachment: &BoundAttachment) -> Option<Sides> {
    let Some(Mode::Routed(_)) = spec.mode() else {
        return None;
    };
    let mut sides = Sides::default();
    for address in attachment.addresses.iter().map(|bound| bound.address) {
        let single = Family::of(address).host_prefix_length();
        if let Some(partner) = spec.partner(address) {
            sides.host.addresses.push((partner, single - 1));
            continue;
        }
        let (host, jail) = match address {
            IpAddr::V4(_) => {
                let gateway = spec.jail_gateway(address);
                let host = gateway.map(|gateway| (gateway, single));
                if let Some(gateway) = gateway
                    && !sides.on_link.contains(&gateway)
                {
                    sides.on_link.push(gateway);
                }
                (host, None)
            }
            IpAddr::V6(_) => (
                Some((HOST_LINK_LOCAL, LINK_LOCAL_PREFIX_LENGTH)),
                Some((JAIL_LINK_LOCAL, LINK_LOCAL_PREFIX_LENGTH)),
            ),
        };
        sides
            .host
            .addresses
            .extend(host.filter(|host| !sides.host.addresses.contains(host)));
        sides
            .jail
            .extend(jail.filter(|jail| !sides.jail.contains(jail)));
        sides.host.routes.push(address);
    }
    Some(sides)
}

impl Planner<'_> {
    /// Addresses and routes of the host's end. `present`: the end as it stands; none where it is about to be made.
    pub(super) fn plan_host_end(
        &mut self,
        subject: &Subject,
        epair: &Epair,
        end: &HostEnd,
        present: Option<&Interface>,
    ) {
        let name = &epair.host_end;
        // Where somebody put it, or the jail's former network had it.
        if let Some(bridge) = present.and_then(|_| self.index.bridge_of(name)) {
            let op = Op::RemoveMember {
                bridge: bridge.name.clone(),
                member: name.clone(),
            };
            self.step(Phase::RemoveMember, subject, op);
        }
        for (address, prefix_length) in &end.addresses {
            if present.is_none_or(|present| present.address(*address).is_none()) {
                self.plan_end_address(subject, name, *address, *prefix_length);
            }
        }
        if present.is_some_and(|present| present.mtu != epair.mtu) {
            let op = Op::SetMtu {
                interface: name.clone(),
                mtu: epair.mtu,
            };
            self.step(Phase::AddAddress, subject, op);
        }
        if present.is_some_and(|present| !present.is_up()) {
            let op = Op::SetUp {
                interface: name.clone(),
                up: true,
            };
            self.step(Phase::AddAddress, subject, op);
        }
        for destination in &end.routes {
            self.plan_route(subject, name, *destination, present.is_some());
        }
    }

    fn plan_end_address(
        &mut self,
        subject: &Subject,
        interface: &str,
        address: IpAddr,
        prefix_length: u8,
    ) {
        let stranger = self
            .index
            .holders(&address)
            .filter(|_| !is_link_local(address))
            .find(|(found, _)| {
                !self.is_owned_address(&found.name, address) && self.host_end(found).is_none()
            });
        if let Some((stranger, _)) = stranger {
            let message = format!(
                "{address} shall be the host's on every link of this network, and is on `{}` already, where it was not put by us; take it off, or choose another gateway",
                stranger.name
            );
            return self.block(subject, reason::ADDRESS_TAKEN, message);
        }
        if let Some(message) = self.router(address).filter(|_| !is_link_local(address)) {
            return self.block(subject, reason::ADDRESS_TAKEN, message);
        }
        let op = Op::AddAddress {
            interface: interface.to_owned(),
            address,
            prefix_length,
            no_dad: address.is_ipv6(),
        };
        let owned = Owned::Alias {
            interface: interface.to_owned(),
            address,
        };
        self.step(Phase::AddAddress, subject, op)
            .record
            .push(Record::Owned(owned));
    }

    fn plan_route(&mut self, subject: &Subject, interface: &str, destination: IpAddr, there: bool) {
        let present = self
            .index
            .routes_to(&destination)
            .map(|found| (found.interface.clone(), found.next_hop().is_none()))
            .next();
        match present {
            Some((over, true)) if over == interface && there => return,
            Some((over, _)) if over == interface => {
                let op = Op::RemoveRoute {
                    destination,
                    interface: interface.to_owned(),
                };
                // With its interface it goes by itself.
                if there {
                    self.step(Phase::RemoveAddress, subject, op);
                }
            }
            // One of ours goes in this very plan.
            Some((over, _)) if self.is_owned_route(&over, destination) => {}
            Some((over, _)) => {
                let message = format!(
                    "the host has a route to {destination} over `{over}` that is not ours; take it away, or give the jail another address"
                );
                return self.block(subject, reason::ADDRESS_TAKEN, message);
            }
            None => {}
        }
        let op = Op::AddRoute {
            destination,
            interface: interface.to_owned(),
        };
        let owned = Owned::Route {
            destination,
            interface: interface.to_owned(),
        };
        self.step(Phase::AddRoute, subject, op)
            .record
            .push(Record::Owned(owned));
    }

    fn is_owned_route(&self, interface: &str, destination: IpAddr) -> bool {
        self.ledger.owned.contains(&Owned::Route {
            destination,
            interface: interface.to_owned(),
        })
    }

    /// Whether what is on that interface of the host goes with it, when the jail of its epair goes: a host end.
    pub(super) fn goes_with_its_jail(&self, interface: &str) -> bool {
        let mut named = self.index.interfaces_named(interface);
        named.any(|found| self.host_end(found).is_some())
    }

    /// What we put on host ends of jails that go on, and that their links no longer need.
    pub(super) fn plan_leftover_host_ends(&mut self) {
        let ledger = self.ledger;
        for owned in &ledger.owned {
            let (interface, op, host_part) = match owned {
                Owned::Alias { interface, address } => {
                    let mut holders = self.index.holders(address);
                    let Some((_, entry)) = holders.find(|(found, _)| found.name == *interface)
                    else {
                        continue;
                    };
                    let op = Op::RemoveAddress {
                        interface: interface.clone(),
                        address: *address,
                        prefix_length: entry.prefix_length,
                    };
                    (interface, op, Subject::address(interface, *address))
                }
                Owned::Route {
                    destination,
                    interface,
                } => {
                    let op = Op::RemoveRoute {
                        destination: *destination,
                        interface: interface.clone(),
                    };
                    let words = format!("route to {destination} over {interface}");
                    (interface, op, Subject::HostPart(words))
                }
                Owned::BroughtUp { .. }
                | Owned::Inet6Enabled { .. }
                | Owned::LinkLocal { .. }
                | Owned::Member { .. }
                | Owned::Redirect { .. }
                | Owned::PfConf { .. }
                | Owned::Firewall { .. }
                | Owned::Rejected { .. }
                | Owned::Unchecked { .. }
                | Owned::UncheckedNetwork { .. }
                | Owned::Translation { .. }
                | Owned::NgUplink { .. }
                | Owned::NgEther { .. }
                | Owned::LaggPort { .. }
                | Owned::Storage { .. }
                | Owned::Dataset { .. }
                | Owned::Nic(_)
                | Owned::TableRoute(_)
                | Owned::Limit { .. }
                | Owned::Sysctl { .. } => continue,
            };
            let Some(uid) = self.goes_on(interface) else {
                continue;
            };
            if self.is_wanted_on_host_end(&uid, owned) {
                continue;
            }
            let step = self.step(Phase::RemoveAddress, &host_part, op);
            step.needs.push(Subject::Jail(uid));
            step.forget.push(Record::Owned(owned.clone()));
        }
    }

    /// The jail whose host end that interface is, if the jail goes on and the interface stays.
    fn goes_on(&self, interface: &str) -> Option<Uid> {
        let mut named = self.index.interfaces_named(interface);
        let (uid, _) = named.find_map(|found| self.host_end(found))?;
        let stays = !self.going.contains(interface) && self.desired.jails.contains_key(&uid);
        stays.then_some(uid)
    }

    fn is_wanted_on_host_end(&self, uid: &Uid, owned: &Owned) -> bool {
        let Some(jail) = self.desired.jails.get(uid) else {
            return true;
        };
        jail.links().iter().any(|link| link.wants(owned))
    }
}

impl DesiredLink {
    /// Whether the link's host end shall have it.
    fn wants(&self, owned: &Owned) -> bool {
        let Attach::Routed { epair, end } = &self.attach else {
            return false;
        };
        match owned {
            Owned::Alias { interface, address } => {
                *interface == epair.host_end
                    && end.addresses.iter().any(|(wanted, _)| wanted == address)
            }
            Owned::Route {
                interface,
                destination,
            } => *interface == epair.host_end && end.routes.contains(destination),
            Owned::BroughtUp { .. }
            | Owned::Inet6Enabled { .. }
            | Owned::LinkLocal { .. }
            | Owned::Member { .. }
            | Owned::Redirect { .. }
            | Owned::Firewall { .. }
            | Owned::Rejected { .. }
            | Owned::Unchecked { .. }
            | Owned::UncheckedNetwork { .. }
            | Owned::Translation { .. }
            | Owned::NgUplink { .. }
            | Owned::NgEther { .. }
            | Owned::LaggPort { .. }
            | Owned::Storage { .. }
            | Owned::Dataset { .. }
            | Owned::Nic(_)
            | Owned::TableRoute(_)
            | Owned::Limit { .. }
            | Owned::PfConf { .. }
            | Owned::Sysctl { .. } => false,
        }
    }
}
