//! What jails lean on: loopbacks, bridges, their uplinks and the gateways that the host owns.

use std::net::IpAddr;

use super::desired::uplink::lives_by;
use super::phase::Phase;
use super::{Planner, reason};
use crate::ledger::Owned;
use crate::mark::Written;
use crate::observed::Interface;
use crate::op::{MemberFlag, Op, Record, Subject};

/// What stands under a name that we want.
pub(super) enum Standing<'a> {
    /// Nothing.
    Nothing,
    /// Ours.
    Ours(&'a Interface),
    /// Not ours, or not surely ours; a block was noted.
    Taken,
}

impl<'a> Planner<'a> {
    /// What stands under `name`, which shall carry `description`'s mark.
    pub(super) fn standing(
        &mut self,
        subject: &Subject,
        name: &str,
        description: &str,
    ) -> Standing<'a> {
        let Some(interface) = self.index.interfaces_named(name).next() else {
            let Some(renamed) = self.index.renamed(description) else {
                return Standing::Nothing;
            };
            let message = format!(
                "somebody renamed `{name}` to `{to}`; name it back (ifconfig {to} name {name}), or destroy it",
                to = renamed.name
            );
            self.block(subject, reason::INTERFACE_RENAMED, message);
            return Standing::Taken;
        };
        if self.index.is_ambiguous(name) {
            let message =
                format!("two interfaces are called `{name}`, one of them came back from a jail");
            self.block(subject, reason::AMBIGUOUS_INTERFACE, message);
            return Standing::Taken;
        }
        if interface.description.as_deref().and_then(Written::read) == Written::read(description) {
            return Standing::Ours(interface);
        }
        let message = format!(
            "an interface called `{name}` exists and does not carry our mark; rename or destroy it"
        );
        self.block(subject, reason::NAME_TAKEN, message);
        Standing::Taken
    }

    pub(super) fn plan_networks(&mut self) {
        let loopbacks: Vec<_> = self
            .desired
            .loopbacks
            .iter()
            .map(|(name, loopback)| {
                (
                    name.clone(),
                    loopback.description.clone(),
                    loopback.network.uid.clone(),
                )
            })
            .collect();
        for (name, description, network) in loopbacks {
            let subject = Subject::Network(network);
            match self.standing(&subject, &name, &description) {
                Standing::Nothing => {
                    self.step(
                        Phase::CreateInterface,
                        &subject,
                        Op::CreateLoopback { name, description },
                    );
                }
                Standing::Ours(interface) if !interface.is_up() => {
                    self.step(
                        Phase::ShapeInterface,
                        &subject,
                        Op::SetUp {
                            interface: name,
                            up: true,
                        },
                    );
                }
                Standing::Ours(_) | Standing::Taken => {}
            }
        }
        let bridges: Vec<String> = self.desired.bridges.keys().cloned().collect();
        if !bridges.is_empty() {
            self.plan_module("if_bridge");
            self.plan_module("if_epair");
        }
        for name in bridges {
            self.plan_bridge(&name);
        }
        self.plan_netgraph();
    }

    /// A module that is not there yet, once, however many things need it.
    pub(super) fn plan_module(&mut self, module: &str) {
        let subject = Subject::HostPart(format!("module {module}"));
        let planned = self.steps.iter().any(|(_, step)| step.subject == subject);
        if !planned && !self.observed.modules.contains(module) {
            let op = Op::LoadModule {
                module: module.to_owned(),
            };
            self.step(Phase::Module, &subject, op);
        }
    }

    fn plan_bridge(&mut self, name: &str) {
        let bridge = &self.desired.bridges[name];
        let subject = Subject::Network(bridge.network.uid.clone());
        let (description, uplink) = (bridge.description.clone(), bridge.uplink.clone());
        let mac = bridge
            .network
            .bridge_mac
            .expect("resolve blocks a bridge without MAC address");
        let (gateways, mtu, stp) = (bridge.addresses.clone(), bridge.mtu, bridge.stp);
        let present = match self.standing(&subject, name, &description) {
            Standing::Taken => return,
            Standing::Nothing => {
                let op = Op::CreateBridge {
                    name: name.to_owned(),
                    description,
                    mac,
                };
                self.step(Phase::CreateInterface, &subject, op);
                None
            }
            Standing::Ours(interface) => {
                // One that rc.conf made is the host's as well as ours: it is used as it is, or not at all.
                if uplink.is_some()
                    && (interface.mac != Some(mac) || interface.mtu != mtu)
                    && let Some(life) = lives_by(interface, self.observed, self.ledger)
                {
                    let message = format!(
                        "{life}, and it shall have MAC address {mac} and MTU {mtu}; changing that could cut the host off: set it in rc.conf (ifconfig_{name}=\"ether {mac} …\"), and start the machine anew"
                    );
                    return self.block(&subject, reason::UPLINK_HAS_ADDRESSES, message);
                }
                if interface.mac != Some(mac) {
                    self.step(
                        Phase::ShapeInterface,
                        &subject,
                        Op::SetMac {
                            interface: name.to_owned(),
                            mac,
                        },
                    );
                }
                // Its members take it from the bridge (`bridge_ioctl`, sys/net/if_bridge.c).
                if interface.mtu != mtu {
                    self.step(
                        Phase::ShapeInterface,
                        &subject,
                        Op::SetMtu {
                            interface: name.to_owned(),
                            mtu,
                        },
                    );
                }
                if !interface.is_up() {
                    self.step(
                        Phase::ShapeInterface,
                        &subject,
                        Op::SetUp {
                            interface: name.to_owned(),
                            up: true,
                        },
                    );
                }
                Some(interface)
            }
        };
        if let Some(uplink) = uplink {
            self.plan_uplink(&subject, name, &uplink, stp, present);
        }
        self.plan_old_members(&subject, name, present);
        self.plan_gateways(&subject, name, &gateways, present);
    }

    /// The gateways that the host owns, on an interface of our own.
    pub(super) fn plan_gateways(
        &mut self,
        subject: &Subject,
        name: &str,
        gateways: &[(IpAddr, u8)],
        present: Option<&Interface>,
    ) {
        for (address, prefix_length) in gateways.iter().copied() {
            let standing = present.and_then(|interface| interface.address(address));
            if standing.is_some_and(|entry| entry.prefix_length == prefix_length) {
                continue;
            }
            if let Some(other) = standing {
                if !self.is_owned_address(name, address) {
                    let message = format!(
                        "{address}/{} is on `{name}` and was not put there by us; it shall be /{prefix_length}: take it off",
                        other.prefix_length
                    );
                    self.block(subject, reason::ADDRESS_TAKEN, message);
                    continue;
                }
                // An IPv4 address is replaced by adding it again; an IPv6 address goes first.
                if address.is_ipv6() {
                    let op = Op::RemoveAddress {
                        interface: name.to_owned(),
                        address,
                        prefix_length: other.prefix_length,
                    };
                    self.step(Phase::RemoveAddress, subject, op);
                }
            }
            if standing.is_none()
                && let Some(message) = self.host_needs(name, address)
            {
                self.block(subject, reason::ADDRESS_TAKEN, message);
                continue;
            }
            let owned = Owned::Alias {
                interface: name.to_owned(),
                address,
            };
            let op = Op::AddAddress {
                interface: name.to_owned(),
                address,
                prefix_length,
                no_dad: address.is_ipv6(),
            };
            self.step(Phase::AddGateway, subject, op)
                .record
                .push(Record::Owned(owned));
        }
    }

    /// Why `address` must not become one of the host's, on `interface`: it is on another interface that is not ours, or the host sends to it what it cannot deliver itself.
    fn host_needs(&self, interface: &str, address: IpAddr) -> Option<String> {
        let mut holders = self.index.holders(&address);
        let stranger = holders.find(|(found, _)| {
            found.name != interface && !self.is_owned_address(&found.name, address)
        });
        if let Some((stranger, _)) = stranger {
            return Some(format!(
                "{address} is on `{}` already and was not put there by us; take it off (and out of rc.conf), or choose another",
                stranger.name
            ));
        }
        self.router(address)
    }

    /// Why `address` must not become one of the host's: it is the next hop of a route of the host, which would end at the host itself.
    pub(super) fn router(&self, address: IpAddr) -> Option<String> {
        let route = self.index.routes_by(&address).next()?;
        Some(format!(
            "{address} is the next hop of the host's route to {} by `{}`, and as an address of the host itself it would cut the host off; keep it out of what is given to jails (subnets[].reserve), or choose another",
            route.destination, route.interface
        ))
    }

    fn plan_uplink(
        &mut self,
        subject: &Subject,
        bridge: &str,
        uplink: &str,
        stp: bool,
        present: Option<&Interface>,
    ) {
        self.plan_uplink_up(subject, uplink);
        let member = present.and_then(|interface| interface.members.get(uplink));
        if member.is_none() {
            let owned = Owned::Member {
                bridge: bridge.to_owned(),
                member: uplink.to_owned(),
            };
            let op = Op::AddMember {
                bridge: bridge.to_owned(),
                member: uplink.to_owned(),
            };
            self.step(Phase::AddUplink, subject, op)
                .record
                .push(Record::Owned(owned));
        }
        if member.is_some_and(|member| MemberFlag::Stp.is_of(member)) != stp {
            let op = Op::SetMemberFlag {
                bridge: bridge.to_owned(),
                member: uplink.to_owned(),
                flag: MemberFlag::Stp,
                on: stp,
            };
            self.step(Phase::AddUplink, subject, op);
        }
    }

    /// The host's own NIC is up while it is an uplink.
    pub(super) fn plan_uplink_up(&mut self, subject: &Subject, uplink: &str) {
        // A lagg or vlan of ours is up because it is.
        if self.desired.uplinks.of(uplink).is_some() {
            return;
        }
        // Of two with that name one came back from a jail: whether ours is up cannot be told then.
        let found = self.index.interface(uplink);
        if let Some(down) = found.filter(|interface| !interface.is_up()) {
            let op = Op::SetUp {
                interface: uplink.to_owned(),
                up: true,
            };
            let step = self.step(Phase::AddUplink, subject, op);
            step.record.push(Record::Owned(Owned::BroughtUp {
                interface: uplink.to_owned(),
            }));
            if !down.nd6.contains("IFDISABLED") && down.link_local().is_none() {
                step.record.push(Record::Owned(Owned::LinkLocal {
                    interface: uplink.to_owned(),
                }));
            }
        }
    }

    /// Members that we added as an uplink and that are no longer the uplink.
    fn plan_old_members(&mut self, subject: &Subject, bridge: &str, present: Option<&Interface>) {
        let Some(present) = present else { return };
        let ledger = self.ledger;
        let wanted = self.desired.bridges[bridge].uplink.clone();
        for owned in &ledger.owned {
            if let Owned::Member {
                bridge: ours,
                member,
            } = owned
                && ours == bridge
                && Some(member) != wanted.as_ref()
                && present.members.contains_key(member)
            {
                let op = Op::RemoveMember {
                    bridge: bridge.to_owned(),
                    member: member.clone(),
                };
                self.step(Phase::RemoveMember, subject, op)
                    .forget
                    .push(Record::Owned(owned.clone()));
                self.plan_bring_down(subject, member);
            }
        }
    }

    /// Whether an interface with the mark of a jail's end stands on the host under its own name.
    pub(super) fn jail_end_on_host(&self, name: &str, description: &str) -> Option<&'a Interface> {
        let wanted = Written::read(description)?;
        self.index.interface(name).filter(|interface| {
            interface
                .description
                .as_deref()
                .and_then(Written::read)
                .is_some_and(|mark| mark == wanted && mark.is_jail_end())
        })
    }
}
