//! One pf rule as the kernel keeps it (`struct pf_krule`), and its parts.
//!
//! Plain data: parsing lives in `parse`, text in `print`, meaning in `filter`.

use std::collections::BTreeMap;
use std::net::IpAddr;

pub use parts::{
    Address, IdMatch, InterfaceModifiers, Op, Pool, PoolAddress, PoolKind, PortMatch, RuleAddress,
    UNKNOWN_ID,
};

mod parts;

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Af {
    /// IPv4.
    Inet,
    /// IPv6.
    Inet6,
}

impl Af {
    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Af::Inet,
            IpAddr::V6(_) => Af::Inet6,
        }
    }

    /// The width of its addresses.
    pub fn bits(self) -> u8 {
        match self {
            Af::Inet => 32,
            Af::Inet6 => 128,
        }
    }

    /// Its keyword.
    pub fn word(self) -> &'static str {
        match self {
            Af::Inet => "inet",
            Af::Inet6 => "inet6",
        }
    }
}

/// The way of a packet through an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Into the stack.
    In,
    /// Out of the stack.
    Out,
}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// `pass`.
    Pass,
    /// `block`.
    Block,
    /// `match`.
    Match,
    /// `scrub`.
    Scrub,
    /// `no scrub`.
    NoScrub,
    /// `nat`.
    Nat,
    /// `no nat`.
    NoNat,
    /// `binat`.
    Binat,
    /// `no binat`.
    NoBinat,
    /// `rdr`.
    Rdr,
    /// `no rdr`.
    NoRdr,
}

/// One of the five rulesets that an anchor has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RulesetKind {
    /// `scrub` rules.
    Scrub,
    /// `pass`, `block`, `match` and `anchor` rules.
    Filter,
    /// `nat` and `nat-anchor`.
    Nat,
    /// `binat` and `binat-anchor`.
    Binat,
    /// `rdr` and `rdr-anchor`.
    Rdr,
}

impl RulesetKind {
    /// All of them, in the order of the kernel's `PF_RULESET_*`.
    pub const ALL: [RulesetKind; 5] = [
        RulesetKind::Scrub,
        RulesetKind::Filter,
        RulesetKind::Nat,
        RulesetKind::Binat,
        RulesetKind::Rdr,
    ];
}

impl Action {
    /// The ruleset that rules of this action belong to (`pf_get_ruleset_number`).
    pub fn ruleset(self) -> RulesetKind {
        match self {
            Action::Pass | Action::Block | Action::Match => RulesetKind::Filter,
            Action::Scrub | Action::NoScrub => RulesetKind::Scrub,
            Action::Nat | Action::NoNat => RulesetKind::Nat,
            Action::Binat | Action::NoBinat => RulesetKind::Binat,
            Action::Rdr | Action::NoRdr => RulesetKind::Rdr,
        }
    }
}

/// How a pass rule keeps state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum KeepState {
    /// `no state`.
    #[default]
    No,
    /// `keep state`.
    Normal,
    /// `modulate state`.
    Modulate,
    /// `synproxy state`.
    Synproxy,
}

/// `route-to`, `reply-to` and `dup-to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RouteKind {
    /// `route-to`.
    RouteTo,
    /// `reply-to`.
    ReplyTo,
    /// `dup-to`.
    DupTo,
}

/// How a block rule answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Return {
    /// `drop`.
    #[default]
    Drop,
    /// `return`.
    Return,
    /// `return-rst`.
    Rst,
    /// `return-icmp`.
    Icmp,
}

/// `log` and its options.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Log {
    /// `log` itself.
    pub on: bool,
    /// `all`.
    pub all: bool,
    /// `matches`.
    pub matches: bool,
    /// `user`.
    pub user: bool,
    /// `to pflogN`.
    pub interface: u8,
}

/// Options of `keep state (…)`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct StateOptions {
    /// `max`.
    pub max: u32,
    /// `no-sync`.
    pub no_sync: bool,
    /// `source-track` in some form.
    pub source_track: bool,
    /// `source-track rule`.
    pub source_track_rule: bool,
    /// `max-src-states`.
    pub max_src_states: u32,
    /// `max-src-nodes`.
    pub max_src_nodes: u32,
    /// `max-src-conn`.
    pub max_src_conn: u32,
    /// `max-src-conn-rate limit/seconds`.
    pub max_src_conn_rate: (u32, u32),
    /// `overload <table>`.
    pub overload: String,
    /// `flush`.
    pub flush: bool,
    /// `flush global`.
    pub flush_global: bool,
    /// `if-bound`.
    pub if_bound: bool,
    /// `sloppy`.
    pub sloppy: bool,
    /// `pflow`.
    pub pflow: bool,
    /// `allow-related`.
    pub allow_related: bool,
    /// Timeouts by their place in `super::names::TIMEOUTS`, in seconds.
    pub timeouts: BTreeMap<u8, u32>,
}

/// What a rule changes in a packet beside its addresses.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ScrubActions {
    /// `no-df`.
    pub no_df: bool,
    /// `random-id`.
    pub random_id: bool,
    /// `min-ttl`.
    pub min_ttl: u8,
    /// `max-mss`.
    pub max_mss: u16,
    /// `set-tos`, or `set tos`.
    pub set_tos: Option<u8>,
    /// `reassemble tcp`.
    pub reassemble_tcp: bool,
    /// `fragment no reassemble`.
    pub fragment_no_reassemble: bool,
    /// `set prio`.
    pub set_prio: Option<(u8, u8)>,
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// What it does.
    pub action: Action,
    /// `in` or `out`.
    pub direction: Option<Direction>,
    /// `quick`.
    pub quick: bool,
    /// `log`.
    pub log: Log,
    /// `pass` of a translation rule.
    pub nat_pass: bool,
    /// `inet` or `inet6`.
    pub af: Option<Af>,
    /// The family after `af-to`.
    pub new_af: Option<Af>,
    /// `on`: interface or group; empty if none.
    pub interface: String,
    /// `on !`.
    pub interface_negated: bool,
    /// Protocol number, 0 if any.
    pub protocol: u8,
    /// `from`.
    pub source: RuleAddress,
    /// `to`.
    pub destination: RuleAddress,
    /// `received-on`; empty if none.
    pub received_on: String,
    /// `! received-on`.
    pub received_on_negated: bool,
    /// `os`.
    pub os: Option<String>,
    /// `user`.
    pub user: Option<IdMatch>,
    /// `group`.
    pub group: Option<IdMatch>,
    /// Flags that must be set.
    pub flags: u16,
    /// Flags that are looked at.
    pub flag_set: u16,
    /// ICMP type plus one, 0 if any.
    pub icmp_type: u16,
    /// ICMP code plus one, 0 if any.
    pub icmp_code: u16,
    /// `tos`.
    pub tos: u8,
    /// `prio`.
    pub prio: Option<u8>,
    /// `max-pkt-rate`.
    pub packet_rate: (u32, u32),
    /// `max-pkt-size`.
    pub max_packet_size: u16,
    /// `keep state` and its kin.
    pub keep_state: KeepState,
    /// Its options.
    pub state: StateOptions,
    /// `probability`, as a fraction of 2³².
    pub probability: u32,
    /// `allow-opts`.
    pub allow_options: bool,
    /// `fragment`.
    pub fragment: bool,
    /// `scrub (…)` and `set (…)`.
    pub scrub: ScrubActions,
    /// `label`, up to five.
    pub labels: Vec<String>,
    /// `ridentifier`.
    pub identifier: u32,
    /// `dnpipe`, `dnqueue`: first and second number, and whether it is a pipe.
    pub dummynet: (u32, u32, bool),
    /// `queue`.
    pub queue: (String, String),
    /// `tag`.
    pub tag: String,
    /// `tagged`.
    pub tagged: String,
    /// `! tagged`.
    pub tagged_negated: bool,
    /// `rtable`.
    pub rtable: Option<u32>,
    /// `divert-to` port.
    pub divert_port: u16,
    /// How a block answers; a pass rule carries the fail policy here.
    pub block_return: Return,
    /// `return-rst (ttl N)`.
    pub return_ttl: u8,
    /// Type and code of `return-icmp`.
    pub return_icmp: u16,
    /// Type and code of `return-icmp6`.
    pub return_icmp6: u16,
    /// `route-to` and its kin.
    pub route_kind: Option<RouteKind>,
    /// Where it routes to.
    pub route: Pool,
    /// `nat-to`, or the source pool of `af-to`.
    pub nat: Pool,
    /// `rdr-to`, or the pool of an old-style translation rule.
    pub rdr: Pool,
    /// `af-to`.
    pub af_to: bool,
    /// The anchor that the rule calls, as it was written; empty if none.
    pub anchor_call: String,
    /// The rules between braces, if the anchor was written inline.
    pub inline: Option<Box<Ruleset>>,
    /// Number given by pfctl while parsing.
    pub number: u32,
}

impl Rule {
    /// A rule that says nothing but what it does (`pfctl_init_rule`).
    pub fn new(action: Action) -> Self {
        Rule {
            action,
            direction: None,
            quick: false,
            log: Log::default(),
            nat_pass: false,
            af: None,
            new_af: None,
            interface: String::new(),
            interface_negated: false,
            protocol: 0,
            source: RuleAddress::default(),
            destination: RuleAddress::default(),
            received_on: String::new(),
            received_on_negated: false,
            os: None,
            user: None,
            group: None,
            flags: 0,
            flag_set: 0,
            icmp_type: 0,
            icmp_code: 0,
            tos: 0,
            prio: None,
            packet_rate: (0, 0),
            max_packet_size: 0,
            keep_state: KeepState::No,
            state: StateOptions::default(),
            probability: 0,
            allow_options: false,
            fragment: false,
            scrub: ScrubActions::default(),
            labels: Vec::new(),
            identifier: 0,
            dummynet: (0, 0, false),
            queue: (String::new(), String::new()),
            tag: String::new(),
            tagged: String::new(),
            tagged_negated: false,
            rtable: None,
            divert_port: 0,
            block_return: Return::Drop,
            return_ttl: 0,
            return_icmp: 0,
            return_icmp6: 0,
            route_kind: None,
            route: Pool::default(),
            nat: Pool::default(),
            rdr: Pool::default(),
            af_to: false,
            anchor_call: String::new(),
            inline: None,
            number: 0,
        }
    }

    /// Names of the tables that the rule refers to.
    pub fn tables(&self) -> impl Iterator<Item = &str> {
        let pools = [&self.route, &self.nat, &self.rdr];
        [&self.source.address, &self.destination.address]
            .into_iter()
            .chain(
                pools
                    .into_iter()
                    .flat_map(|pool| pool.addresses.iter().map(|entry| &entry.address)),
            )
            .filter_map(|address| {
                if let Address::Table(name) = address {
                    Some(name.as_str())
                } else {
                    None
                }
            })
            .chain(Some(self.state.overload.as_str()).filter(|name| !name.is_empty()))
    }
}

/// The five rule lists of one anchor.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ruleset {
    /// The lists, in the order of [`RulesetKind::ALL`].
    lists: [Vec<Rule>; 5],
}

impl Ruleset {
    /// The rules of one list.
    pub fn rules(&self, kind: RulesetKind) -> &Vec<Rule> {
        &self.lists[kind as usize]
    }

    /// The rules of one list, to change.
    pub fn rules_mut(&mut self, kind: RulesetKind) -> &mut Vec<Rule> {
        &mut self.lists[kind as usize]
    }

    /// Whether there is no rule at all.
    pub fn is_empty(&self) -> bool {
        self.lists.iter().all(Vec::is_empty)
    }
}
