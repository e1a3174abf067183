//! The parts of a rule that match a packet or say where it goes: addresses, ports, ids, pools.

use std::net::IpAddr;

use super::Af;

/// Modifiers of `(interface:modifier)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct InterfaceModifiers {
    /// `:network`.
    pub network: bool,
    /// `:broadcast`.
    pub broadcast: bool,
    /// `:peer`.
    pub peer: bool,
    /// `:0`, without aliases.
    pub no_alias: bool,
}

/// An address in a rule (`struct pf_addr_wrap`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Address {
    /// Everything: address and mask are zero.
    #[default]
    Any,
    /// A network, or a host when the mask is full.
    Net {
        /// The address, already masked.
        address: IpAddr,
        /// Prefix length in bits; more than 32 for an IPv4 address is refused when the rule is made.
        bits: u8,
    },
    /// `a - b`.
    Range {
        /// First address.
        first: IpAddr,
        /// Last address.
        last: IpAddr,
    },
    /// `(interface)`: its addresses at the moment of the packet.
    Interface {
        /// Interface, group, or `self`.
        name: String,
        /// `:0`, `:network` and so on.
        modifiers: InterfaceModifiers,
        /// Mask given behind it, 128 if none.
        bits: u8,
    },
    /// `<table>`.
    Table(String),
    /// `no-route`.
    NoRoute,
    /// `urpf-failed`.
    UrpfFailed,
}

/// A comparison of a port or an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    /// `a >< b`, between, without the ends.
    Inside,
    /// `= a`.
    Equal,
    /// `!= a`.
    NotEqual,
    /// `< a`.
    Less,
    /// `<= a`.
    LessEqual,
    /// `> a`.
    Greater,
    /// `>= a`.
    GreaterEqual,
    /// `a <> b`, outside.
    Outside,
    /// `a:b`, with the ends.
    Range,
}

impl Op {
    /// Whether `value` compares as wanted (`pf_match`).
    pub fn holds(self, a: u32, b: u32, value: u32) -> bool {
        match self {
            Op::Inside => value > a && value < b,
            Op::Outside => value < a || value > b,
            Op::Range => value >= a && value <= b,
            Op::Equal => value == a,
            Op::NotEqual => value != a,
            Op::Less => value < a,
            Op::LessEqual => value <= a,
            Op::Greater => value > a,
            Op::GreaterEqual => value >= a,
        }
    }
}

/// A port condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortMatch {
    /// The comparison.
    pub op: Op,
    /// First port.
    pub first: u16,
    /// Second port, where the comparison has two.
    pub last: u16,
}

/// The id of `user unknown` and `group unknown`: no socket.
pub const UNKNOWN_ID: u32 = u32::MAX;

/// A `user` or `group` condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdMatch {
    /// The comparison.
    pub op: Op,
    /// First id.
    pub first: u32,
    /// Second id, where the comparison has two.
    pub last: u32,
}

/// One end of a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RuleAddress {
    /// The address.
    pub address: Address,
    /// `!` before it.
    pub negated: bool,
    /// `port …` behind it.
    pub port: Option<PortMatch>,
}

/// How a pool chooses among its addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum PoolKind {
    /// The first one.
    #[default]
    Single,
    /// `bitmask`.
    Bitmask,
    /// `random`.
    Random,
    /// `source-hash` with its 128-bit key.
    SourceHash([u32; 4]),
    /// `round-robin`.
    RoundRobin,
}

/// One address of a pool.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolAddress {
    /// The address.
    pub address: Address,
    /// Its family, if it has one.
    pub af: Option<Af>,
    /// The interface of `route-to (interface address)`.
    pub interface: String,
}

/// Where a translation or a `route-to` leads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Pool {
    /// Its addresses.
    pub addresses: Vec<PoolAddress>,
    /// How one is chosen.
    pub kind: PoolKind,
    /// `sticky-address`.
    pub sticky: bool,
    /// `endpoint-independent`.
    pub endpoint_independent: bool,
    /// `prefer-ipv6-nexthop`.
    pub ipv6_nexthop: bool,
    /// First and last port (`proxy_port`).
    pub ports: [u16; 2],
    /// `map-e-portset offset/length/id`.
    pub map_e: Option<(u8, u8, u16)>,
}
