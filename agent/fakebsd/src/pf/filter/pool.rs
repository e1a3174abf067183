//! Which address and port a translation takes: `pf_map_addr` and `pf_get_sport` of sys/netpfil/pf/pf_lb.c.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Packet;
use crate::pf::address;
use crate::pf::facts::NetFacts;
use crate::pf::kernel::{Pf, RuleId, StateKey, addresses_of};
use crate::pf::rule::{Address, Af, Direction, Pool, PoolKind, PortMatch};

/// How many clients pf remembers for `sticky-address`, all rules together (PFSNODE_HIWAT, sys/netpfil/pf/pf.h).
const SOURCE_NODES_MAX: usize = 10_000;

/// An address out of a pool, and whether the pool moves on to the next.
pub(super) struct Chosen {
    pub(super) address: IpAddr,
    pub(super) advanced: bool,
}

/// The networks an address stands for now, of the family of `like`.
pub(super) fn networks_of(
    pf: &Pf,
    facts: &dyn NetFacts,
    anchor: &str,
    wrapped: &Address,
    like: IpAddr,
) -> Vec<(IpAddr, u8)> {
    let af = Af::of(like);
    match wrapped {
        Address::Net { address, bits } if Af::of(*address) == af => vec![(*address, *bits)],
        Address::Interface {
            name,
            modifiers,
            bits,
        } => addresses_of(facts, name, *modifiers, *bits, Some(af)),
        Address::Table(name) => pf
            .table(anchor, name)
            .into_iter()
            .flat_map(|table| table.entries())
            .filter(|entry| !entry.negated && Af::of(entry.address) == af)
            .map(|entry| (entry.address, entry.bits))
            .collect(),
        Address::Net { .. }
        | Address::Any
        | Address::Range { .. }
        | Address::NoRoute
        | Address::UrpfFailed => Vec::new(),
    }
}

/// The network's part from `network`, the host's part from `host` (`pf_poolmask`).
pub(super) fn transplant((network, bits): (IpAddr, u8), host: IpAddr) -> IpAddr {
    let mask = address::mask(bits);
    address::from_bits(
        (address::to_bits(network) & mask) | (address::to_bits(host) & !mask),
        network,
    )
}

/// Chooses from a pool of the rule `id` for a packet from `source`, whose address `old` is replaced. A hashed pool takes
/// the same address for the same source; the random ones are spread by the source too, so that every run is alike.
///
/// A sticky pool takes the address that it took for the source while that has a state by the same rule: source nodes are
/// found by the rule itself, which a load replaces by another, and live as long as states use them (`pf_find_src_node`,
/// `pf_insert_src_node`, sys/netpfil/pf/pf.c).
pub(super) fn choose(
    pf: &Pf,
    facts: &dyn NetFacts,
    id: &RuleId,
    pool: &Pool,
    (source, old): (IpAddr, IpAddr),
    next: usize,
) -> Option<Chosen> {
    let networks: Vec<(IpAddr, u8)> = pool
        .addresses
        .iter()
        .flat_map(|entry| networks_of(pf, facts, &id.anchor, &entry.address, old))
        .collect();
    let first = *networks.first()?;
    match pool.kind {
        PoolKind::Single => Some(Chosen {
            address: first.0,
            advanced: false,
        }),
        PoolKind::Bitmask => Some(Chosen {
            address: transplant(first, old),
            advanced: false,
        }),
        PoolKind::RoundRobin => {
            if pool.sticky {
                let nodes = source_nodes(pf);
                if let Some(address) = nodes.get(&(id, source)) {
                    return Some(Chosen {
                        address: *address,
                        advanced: false,
                    });
                }
                if nodes.len() >= SOURCE_NODES_MAX {
                    return None;
                }
            }
            let next = u128::try_from(next).expect("a usize fits 128 bits");
            Some(Chosen {
                address: nth(&networks, next)?,
                advanced: true,
            })
        }
        PoolKind::Random | PoolKind::SourceHash(_) => {
            let hash =
                address::to_bits(source).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
            Some(Chosen {
                address: nth(&networks, hash >> 64)?,
                advanced: false,
            })
        }
    }
}

/// Which address each source has, by rule: those of rules that were replaced count until their states end.
fn source_nodes(pf: &Pf) -> BTreeMap<(&RuleId, IpAddr), IpAddr> {
    let nodes = pf.states.iter().filter_map(|state| {
        let (rule, node) = (state.translation.as_ref()?, state.source_node?);
        Some(((rule, node.source), node.address))
    });
    nodes.collect()
}

/// The n-th address of all networks in turn, beginning again at the end.
fn nth(networks: &[(IpAddr, u8)], number: u128) -> Option<IpAddr> {
    let size = |(network, bits): &(IpAddr, u8)| {
        let free = u32::from(Af::of(*network).bits().saturating_sub(*bits)).min(64);
        1_u128 << free
    };
    let total: u128 = networks.iter().map(size).sum();
    let mut rest = number.checked_rem(total)?;
    for network in networks {
        if rest < size(network) {
            let shift = if network.0.is_ipv4() { 96 } else { 0 };
            return Some(address::from_bits(
                address::to_bits(network.0) | rest << shift,
                network.0,
            ));
        }
        rest -= size(network);
    }
    None
}

/// The port that `rdr` puts in place of `old`.
pub(super) fn redirected_port(ports: [u16; 2], matched: Option<PortMatch>, old: u16) -> u16 {
    match ports {
        [0, 0] => old,
        [first, 0] => first,
        [first, last] => {
            let from = matched.map_or(0, |matched| matched.first);
            let span = u32::from(last).saturating_sub(u32::from(first)) + 1;
            let port = u32::from(old.wrapping_sub(from)) % span + u32::from(first);
            u16::try_from(if port > 65_535 { port - 65_535 } else { port }).unwrap_or(first)
        }
    }
}

/// The source port that `nat` takes: the same with `static-port`, else a free one of the range.
pub(super) fn source_port(
    pf: &Pf,
    packet: &Packet,
    ports: [u16; 2],
    address: IpAddr,
    (source, destination): ((IpAddr, u16), (IpAddr, u16)),
) -> Option<u16> {
    let taken = |port: u16| {
        let (own, other) = ((address, port), destination);
        let ends = if packet.direction == Direction::Out {
            [other, own]
        } else {
            [own, other]
        };
        pf.states.is_taken(&StateKey {
            protocol: packet.protocol,
            ends,
        })
    };
    let range = if packet.protocol == 1 {
        [1, u16::MAX]
    } else {
        ports
    };
    if !matches!(packet.protocol, 1 | 6 | 17) || range == [0, 0] {
        return (!taken(source.1)).then_some(source.1);
    }
    let [low, high] = [range[0].min(range[1]), range[0].max(range[1])];
    let span = u64::from(high - low) + 1;
    let start = pf.picks.wrapping_mul(7919) % span;
    (0..span).find_map(|step| {
        let offset = u16::try_from((start + step) % span).expect("the span is one of ports");
        let port = low + offset;
        (!taken(port)).then_some(port)
    })
}
