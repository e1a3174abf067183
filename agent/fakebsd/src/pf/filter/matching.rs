//! Whether one rule matches the packet, and which rules the kernel's skip steps pass over if not
//! (`pf_calc_skip_steps`).

use std::net::IpAddr;

use super::walk::Walk;
use crate::pf::address;
use crate::pf::kernel::{KernelRule, addresses_of};
use crate::pf::rule::{
    Action, Address, Af, Direction, IdMatch, Op, PortMatch, Rule, RuleAddress, UNKNOWN_ID,
};

impl Walk<'_> {
    fn interface_mismatch(&self, rule: &Rule) -> bool {
        let name = rule.interface.as_str();
        let matches = name.is_empty()
            || name == self.packet.interface
            || self.groups.iter().any(|group| group == name)
            || name == "all"
            || (name == "any" && !self.loopback);
        matches == rule.interface_negated
    }

    fn common_mismatch(&self, rule: &Rule) -> Option<Skip> {
        if self.interface_mismatch(rule) {
            Some(Skip::Interface)
        } else if rule
            .direction
            .is_some_and(|direction| direction != self.packet.direction)
        {
            Some(Skip::Direction)
        } else if rule.af.is_some_and(|af| af != Af::of(self.packet.source)) {
            Some(Skip::Family)
        } else if rule.protocol != 0 && rule.protocol != self.packet.protocol {
            Some(Skip::Protocol)
        } else {
            None
        }
    }

    pub(super) fn translation_mismatch(&self, rule: &Rule) -> Option<Skip> {
        if let Some(skip) = self.common_mismatch(rule) {
            return Some(skip);
        }
        let (source, destination) = self.current;
        let inward = rule.action == Action::Binat && self.packet.direction == Direction::In;
        let (from, to) = if inward {
            (&rule.destination, None)
        } else {
            (&rule.source, Some(&rule.destination))
        };
        if !self.address_matches(from, source.0, true) {
            return Some(if inward {
                Skip::Destination
            } else {
                Skip::Source
            });
        }
        if !port_matches(from.port, source.1) {
            return Some(if inward {
                Skip::DestinationPort
            } else {
                Skip::SourcePort
            });
        }
        if let Some(to) = to
            && !self.address_matches(to, destination.0, false)
        {
            return Some(Skip::Destination);
        }
        if inward
            && rule.anchor_call.is_empty()
            && let Some(target) = rule.rdr.addresses.first()
        {
            let target = RuleAddress {
                address: target.address.clone(),
                ..RuleAddress::default()
            };
            if !self.address_matches(&target, destination.0, false) {
                return Some(Skip::Nothing);
            }
        }
        if let Some(to) = to
            && !port_matches(to.port, destination.1)
        {
            return Some(Skip::DestinationPort);
        }
        self.tag_mismatch(rule).then_some(Skip::Nothing)
    }

    pub(super) fn filter_mismatch(&self, rule: &Rule) -> Option<Skip> {
        if let Some(skip) = self.common_mismatch(rule) {
            return Some(skip);
        }
        let (source, destination) = self.current;
        if !self.address_matches(&rule.source, source.0, true) {
            return Some(Skip::Source);
        }
        if !self.address_matches(&rule.destination, destination.0, false) {
            return Some(Skip::Destination);
        }
        if self.packet.fragment {
            let asks_for_ports = rule.source.port.is_some() || rule.destination.port.is_some();
            let asks_for_flags = self.packet.protocol == 6 && rule.flag_set != 0;
            let asks_for_icmp = rule.icmp_type != 0 || rule.icmp_code != 0;
            let asks_for_owner = rule.user.is_some() || rule.group.is_some();
            if asks_for_ports || asks_for_flags || asks_for_icmp || asks_for_owner {
                return Some(Skip::Nothing);
            }
        } else if matches!(self.packet.protocol, 6 | 17 | 132) {
            if self.packet.protocol == 6 && rule.flag_set & self.packet.flags != rule.flags {
                return Some(Skip::Nothing);
            }
            if !port_matches(rule.source.port, source.1) {
                return Some(Skip::SourcePort);
            }
            if !port_matches(rule.destination.port, destination.1) {
                return Some(Skip::DestinationPort);
            }
            if !id_matches(rule.user, self.packet.user)
                || !id_matches(rule.group, self.packet.group)
            {
                return Some(Skip::Nothing);
            }
        }
        if rule.icmp_type != 0 || rule.icmp_code != 0 {
            let icmp = self.packet.icmp?;
            let differs = |wanted: u16, value: u8| wanted != 0 && wanted != u16::from(value) + 1;
            if differs(rule.icmp_type, icmp.icmp_type) || differs(rule.icmp_code, icmp.code) {
                return Some(Skip::Nothing);
            }
        }
        let size =
            rule.max_packet_size != 0 && self.packet.length > u32::from(rule.max_packet_size);
        let odds = rule.probability != 0 && rule.probability <= self.draw();
        let fragment = rule.fragment && !self.packet.fragment;
        let tos = rule.tos != 0 || rule.prio.is_some() || fragment || rule.os.is_some();
        let elsewhere = !rule.received_on.is_empty()
            && (self.packet.received_on.as_deref() == Some(rule.received_on.as_str()))
                == rule.received_on_negated;
        (size || odds || tos || elsewhere || self.tag_mismatch(rule)).then_some(Skip::Nothing)
    }

    /// Stands in for arc4random(3): evenly spread and the same in every run.
    fn draw(&self) -> u32 {
        let mixed = self.pf.picks.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        u32::try_from(mixed).expect("a value shifted by 32 bits fits 32")
    }

    fn tag_mismatch(&self, rule: &Rule) -> bool {
        !rule.tagged.is_empty()
            && (self.tag.as_deref() == Some(rule.tagged.as_str())) == rule.tagged_negated
    }

    fn address_matches(&self, end: &RuleAddress, address: IpAddr, is_source: bool) -> bool {
        let matches = match &end.address {
            Address::Any => return !end.negated,
            Address::Net {
                address: network,
                bits,
            } => address::contains(*network, *bits, address),
            Address::Range { first, last } => {
                let value = address::to_bits(address);
                Af::of(*first) == Af::of(address)
                    && (address::to_bits(*first)..=address::to_bits(*last)).contains(&value)
            }
            Address::Table(_) | Address::Interface { .. } => self.listed(&end.address, address),
            Address::NoRoute | Address::UrpfFailed => is_source && self.packet.unroutable_source,
        };
        matches != end.negated
    }

    /// Whether a table or an interface has the address.
    fn listed(&self, wrapped: &Address, address: IpAddr) -> bool {
        match wrapped {
            Address::Table(name) => self.pf.table_holds(&self.scope, name, address),
            Address::Interface {
                name,
                modifiers,
                bits,
            } => addresses_of(self.facts, name, *modifiers, *bits, Some(Af::of(address)))
                .iter()
                .any(|(network, bits)| address::contains(*network, *bits, address)),
            Address::Any
            | Address::Net { .. }
            | Address::Range { .. }
            | Address::NoRoute
            | Address::UrpfFailed => false,
        }
    }
}

fn port_matches(wanted: Option<PortMatch>, port: u16) -> bool {
    wanted.is_none_or(|wanted| {
        wanted.op.holds(
            u32::from(wanted.first),
            u32::from(wanted.last),
            u32::from(port),
        )
    })
}

/// `pf_match_uid`: a packet without a socket has the unknown id, which only `=` and `!=` may meet.
fn id_matches(wanted: Option<IdMatch>, id: Option<u32>) -> bool {
    let Some(wanted) = wanted else { return true };
    let id = id.unwrap_or(UNKNOWN_ID);
    if id == UNKNOWN_ID && !matches!(wanted.op, Op::Equal | Op::NotEqual) {
        return false;
    }
    wanted.op.holds(wanted.first, wanted.last, id)
}

/// The attribute in which a rule differs from the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Skip {
    Interface,
    Direction,
    Family,
    Protocol,
    Source,
    SourcePort,
    Destination,
    DestinationPort,
    /// No step: the next rule.
    Nothing,
}

/// The next rule that differs from this one in the attribute.
pub(super) fn skip_over(rules: &[KernelRule], place: usize, skip: Skip) -> usize {
    let this = &rules[place].rule;
    let same = |next: &Rule| match skip {
        Skip::Interface => {
            (&next.interface, next.interface_negated) == (&this.interface, this.interface_negated)
        }
        Skip::Direction => next.direction == this.direction,
        Skip::Family => next.af == this.af,
        Skip::Protocol => next.protocol == this.protocol,
        Skip::Source => {
            (&next.source.address, next.source.negated)
                == (&this.source.address, this.source.negated)
        }
        Skip::SourcePort => next.source.port == this.source.port,
        Skip::Destination => {
            (&next.destination.address, next.destination.negated)
                == (&this.destination.address, this.destination.negated)
        }
        Skip::DestinationPort => next.destination.port == this.destination.port,
        Skip::Nothing => false,
    };
    let rest = rules[place + 1..]
        .iter()
        .take_while(|next| same(&next.rule))
        .count();
    place + 1 + rest
}
