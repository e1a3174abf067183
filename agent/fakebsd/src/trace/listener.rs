//! Whose listener takes a packet that has arrived.

use std::net::IpAddr;

use super::journey::{Arrival, Journey, Stop};
use super::source::restricted;
use super::stack::{is_local, unscoped};
use super::{Cause, Listener, Listening, Place, Probe, Protocol};
use crate::kernel::jail::Jail;
use crate::kernel::vnet::{HOST, VnetId};
use crate::pf::filter::Packet;

impl<'a> Journey<'a> {
    /// Who takes what arrived, and what it says.
    pub(super) fn listener(
        &self,
        probe: &Probe,
        arrival: &Arrival,
    ) -> Result<(Listener, String), Stop> {
        let packet = arrival.packet();
        let (address, port) = (unscoped(packet.destination), packet.destination_port);
        let (stack, interface) = match arrival {
            Arrival::Stack {
                stack, interface, ..
            } => (*stack, *interface),
            Arrival::Wire { wire, .. } => {
                let place = Place::Outside(wire.name(self.kernel()));
                return self.outside_has(packet, &place).map(|()| {
                    (
                        Listener {
                            place,
                            address,
                            port,
                        },
                        String::new(),
                    )
                });
            }
        };
        let holder = self.holder(stack, packet.destination);
        let place = match holder.or_else(|| self.owning_jail(stack)) {
            Some(jail) => Place::Jail(jail.name.clone()),
            None => Place::Host,
        };
        let by = Listener {
            place,
            address,
            port,
        };
        let nobody = || Stop::Lost(Cause::NobodyListens, format!("nobody listens at {by}"));
        match (probe.protocol, probe.listening) {
            (Protocol::Icmp, _) | (_, Listening::Everywhere) => Ok((by, String::new())),
            (Protocol::Tcp | Protocol::Udp, Listening::Nobody) => Err(nobody()),
            (Protocol::Tcp | Protocol::Udp, Listening::Loopback) => {
                let first = holder.and_then(|jail| restricted(jail, address.is_ipv6()));
                let hears = match first {
                    Some(list) => list.first() == Some(&packet.destination),
                    None => self.kernel().ifnet(interface).is_loopback() && address.is_loopback(),
                };
                if hears {
                    Ok((by, String::new()))
                } else {
                    Err(nobody())
                }
            }
            (Protocol::Tcp | Protocol::Udp, Listening::Emulated) => self
                .emulated_listener(stack, packet)
                .map(|(place, banner)| {
                    (
                        Listener {
                            place,
                            address,
                            port,
                        },
                        banner,
                    )
                })
                .ok_or_else(nobody),
        }
    }

    /// The jail without a stack of its own whose address it is; of several the oldest.
    fn holder(&self, stack: VnetId, address: IpAddr) -> Option<&'a Jail> {
        let mut jails = self.kernel().jails.all.values();
        jails.find(|jail| {
            let list = restricted(jail, address.is_ipv6());
            !jail.dying
                && !jail.owns_stack
                && jail.stack == stack
                && list.is_some_and(|list| list.contains(&address))
        })
    }

    fn emulated_listener(&self, stack: VnetId, packet: &Packet) -> Option<(Place, String)> {
        let address = packet.destination;
        let found = self.host.listeners.iter().find(|((name, port), listener)| {
            let bound = listener.address.is_none_or(|bound| bound == address);
            let stands = listener
                .pid
                .is_none_or(|pid| self.kernel().has_process(pid));
            let hears = match self.kernel().find_jail(0, name) {
                Some(jail) if listener.jid.is_some_and(|jid| jid != jail.jid) => false,
                Some(jail) => {
                    let list = if jail.owns_stack {
                        None
                    } else {
                        restricted(jail, address.is_ipv6())
                    };
                    jail.stack == stack && list.is_none_or(|list| list.contains(&address))
                }
                None => name == "host" && stack == HOST,
            };
            *port == packet.destination_port && bound && stands && hears
        });
        found.map(|((name, _), listener)| {
            let place = if name == "host" {
                Place::Host
            } else {
                Place::Jail(name.clone())
            };
            (place, listener.banner.clone())
        })
    }

    /// A machine outside is believed to have any address, but for those that a stack of this host has.
    fn outside_has(&self, packet: &Packet, outside: &Place) -> Result<(), Stop> {
        let kernel = self.kernel();
        let to = packet.destination;
        match kernel
            .vnets
            .keys()
            .find(|stack| is_local(kernel, **stack, to))
        {
            Some(stack) => {
                let owner = self
                    .holder(*stack, to)
                    .map_or_else(|| self.owner(*stack), |jail| format!("jail {}", jail.name));
                let why = format!(
                    "it leaves to the {outside}, although {to} is {owner}'s: no route on the way leads there"
                );
                Err(Stop::Lost(Cause::NoRoute, why))
            }
            None => Ok(()),
        }
    }
}
