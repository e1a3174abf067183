//! Hosts, networks, interfaces as addresses: `host()` and its kin of sbin/pfctl/pfctl_parser.c.

use super::lex::Token;
use super::{Outcome, Parser};
use crate::pf::address::{self, parse_bounded};
use crate::pf::facts::{Interface, NetFacts};
use crate::pf::rule::{Address, Af, InterfaceModifiers};

/// The longest interface name (`IFNAMSIZ` less one).
pub(super) const INTERFACE_NAME_MAX: usize = 15;
/// The longest table name (`PF_TABLE_NAME_SIZE` less one).
pub(super) const TABLE_NAME_MAX: usize = 31;

/// One address of a list before it stands in a rule (`struct node_host`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Host {
    pub(super) address: Address,
    pub(super) af: Option<Af>,
    pub(super) negated: bool,
    /// Index of the interface that a link-local address belongs to.
    pub(super) scope: u32,
    /// The interface of a `route-to` pair.
    pub(super) interface: String,
}

impl Host {
    fn new(address: Address, af: Option<Af>) -> Self {
        Host {
            address,
            af,
            ..Host::default()
        }
    }

    fn net(address: std::net::IpAddr, bits: Option<u8>) -> Self {
        let af = Af::of(address);
        let bits = bits.unwrap_or(af.bits());
        let address = address::masked(address, bits.min(af.bits()));
        let wrapped = if bits == 0 {
            Address::Any
        } else {
            Address::Net { address, bits }
        };
        Host::new(wrapped, Some(af))
    }

    /// Sets the mask, and cuts the address to it (`set_ipmask`).
    fn set_mask(&mut self, bits: u8) {
        match &mut self.address {
            Address::Net {
                address,
                bits: known,
            } => {
                *address = address::masked(*address, bits);
                *known = bits;
                if bits == 0 {
                    self.address = Address::Any;
                }
            }
            Address::Interface { bits: known, .. } => *known = bits,
            Address::Any
            | Address::Range { .. }
            | Address::Table(_)
            | Address::NoRoute
            | Address::UrpfFailed => {}
        }
    }

    /// `gen_dynnode`: a mask that no IPv4 address can have becomes a full one.
    pub(super) fn fitted(&self, af: Option<Af>) -> Host {
        let mut host = self.clone();
        if let Address::Interface { bits, .. } = &mut host.address
            && af == Some(Af::Inet)
            && *bits > 32
        {
            *bits = 32;
        }
        host
    }

    pub(super) fn is_interface(&self) -> bool {
        matches!(self.address, Address::Interface { .. })
    }

    /// `DYNIF_MULTIADDR`: may stand for several addresses.
    pub(super) fn is_several(&self) -> bool {
        match &self.address {
            Address::Interface {
                name, modifiers, ..
            } => !modifiers.no_alias || !name.ends_with(|last: char| last.is_ascii_digit()),
            Address::Any
            | Address::Net { .. }
            | Address::Range { .. }
            | Address::Table(_)
            | Address::NoRoute
            | Address::UrpfFailed => false,
        }
    }
}

/// Modifiers behind an interface's name; `Err` for an unknown one, and whether two exclude each other.
fn split_modifiers(text: &str) -> Result<(String, InterfaceModifiers, bool), ()> {
    let mut name = text;
    let mut modifiers = InterfaceModifiers::default();
    while let Some((rest, modifier)) = name.rsplit_once(':') {
        match modifier {
            "network" => modifiers.network = true,
            "broadcast" => modifiers.broadcast = true,
            "peer" => modifiers.peer = true,
            "0" => modifiers.no_alias = true,
            _ => return Err(()),
        }
        name = rest;
    }
    // `flags & (flags - 1) & PFI_AFLAG_MODEMASK`, with network 1, broadcast 2, peer 4 and `0` 8.
    let clash = [modifiers.network, modifiers.broadcast, modifiers.peer]
        .iter()
        .filter(|set| **set)
        .count()
        > 1;
    Ok((name.to_owned(), modifiers, clash))
}

/// The addresses of an interface, a group, or everything for `self` (`ifa_lookup`).
pub(super) fn interface_hosts(
    facts: &dyn NetFacts,
    name: &str,
    modifiers: InterfaceModifiers,
) -> Vec<Host> {
    let members = facts.group_members(name);
    let names = if !members.is_empty() {
        members
    } else if name == "self" {
        facts.interface_names()
    } else if facts.interface(name).is_some() {
        vec![name.to_owned()]
    } else {
        // A driver's name stands for all its interfaces (`ifa_skip_if`).
        let numbered = |known: &String| {
            known
                .strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
        };
        let exact = name.ends_with(|last: char| last.is_ascii_digit());
        facts
            .interface_names()
            .into_iter()
            .filter(|known| !exact && numbered(known))
            .collect()
    };
    names
        .iter()
        .filter_map(|name| facts.interface(name))
        .flat_map(|interface| hosts_of(&interface, modifiers))
        .collect()
}

fn hosts_of(interface: &Interface, modifiers: InterfaceModifiers) -> Vec<Host> {
    let mut hosts: Vec<Host> = Vec::new();
    for entry in &interface.addresses {
        let af = Af::of(entry.address);
        let local = address::is_link_local(entry.address);
        let skip = (modifiers.broadcast
            && (af == Af::Inet6 || !interface.broadcast || entry.broadcast.is_none()))
            || (modifiers.peer && !interface.point_to_point)
            || (modifiers.network && local)
            || (modifiers.no_alias && (local || hosts.iter().any(|host| host.af == Some(af))));
        if skip {
            continue;
        }
        let address = if modifiers.broadcast {
            entry.broadcast
        } else if modifiers.peer {
            entry.peer
        } else {
            Some(entry.address)
        };
        let bits = if modifiers.network {
            entry.prefix
        } else {
            af.bits()
        };
        let mut host = Host::net(address.unwrap_or(entry.address), Some(bits));
        host.scope = if local { interface.index } else { 0 };
        host.interface.clone_from(&interface.name);
        hosts.push(host);
    }
    hosts
}

/// Whether an interface or a group of that name exists (`ifa_exists`).
fn exists(facts: &dyn NetFacts, name: &str) -> bool {
    !facts.group_members(name).is_empty() || facts.interface(name).is_some()
}

/// `host()`: the addresses of a word, or the message that goes to standard error.
pub(crate) fn lookup(
    facts: &dyn NetFacts,
    text: &str,
) -> Result<Vec<(Address, Option<Af>)>, String> {
    let hosts = lookup_hosts(facts, text)?;
    Ok(hosts
        .into_iter()
        .map(|host| (host.address, host.af))
        .collect())
}

pub(super) fn lookup_hosts(facts: &dyn NetFacts, text: &str) -> Result<Vec<Host>, String> {
    let (name, bits) = match text.split_once('/') {
        None => (text, None),
        Some((name, mask)) => match parse_bounded(mask, 128) {
            Ok(bits) => (name, u8::try_from(bits).ok()),
            Err(reason) => return Err(format!("netmask is {reason}: /{mask}")),
        },
    };
    let missing = || format!("no IP address found for {text}");
    if bits.is_some()
        && let Some(address) = address::parse_net(name)
    {
        return Ok(vec![Host::net(address, bits)]);
    }
    let (plain, zone) = name.split_once('%').unwrap_or((name, ""));
    if let Some(address) = address::parse_host(plain) {
        let mut host = Host::net(address, bits);
        host.scope = match facts.interface(zone) {
            Some(interface) => interface.index,
            None => zone.parse().unwrap_or(0),
        };
        return Ok(vec![host]);
    }
    if let Ok((interface, modifiers, clash)) = split_modifiers(name) {
        if clash {
            return Err(format!(
                "illegal combination of interface modifiers\n{}",
                missing()
            ));
        }
        if (modifiers.network || modifiers.broadcast) && bits.is_some() {
            return Err(format!(
                "network or broadcast lookup, but extra netmask given\n{}",
                missing()
            ));
        }
        if exists(facts, &interface) || interface == "self" {
            let mut hosts = interface_hosts(facts, &interface, modifiers);
            for host in &mut hosts {
                if let Some(bits) = bits {
                    host.set_mask(bits);
                }
                host.interface.clear();
            }
            if !hosts.is_empty() {
                return Ok(hosts);
            }
        }
    }
    let resolved = facts.resolve(name);
    if resolved.is_empty() {
        return Err(missing());
    }
    Ok(resolved
        .into_iter()
        .map(|address| Host::net(address, bits))
        .collect())
}

impl Parser<'_> {
    /// `ipspec`: `any` is the empty list.
    pub(super) fn hosts(&mut self) -> Outcome<Vec<Host>> {
        if self.key("any") {
            return Ok(Vec::new());
        }
        if !self.at_char('{') {
            return self.negatable_host();
        }
        let items = self.braced(|parser| {
            if parser.at_char('{') || parser.at_key("any") {
                parser.hosts()
            } else {
                parser.negatable_host()
            }
        })?;
        // `any` within a list swallows it.
        if items.iter().any(Vec::is_empty) {
            return Ok(Vec::new());
        }
        Ok(items.into_iter().flatten().collect())
    }

    fn negatable_host(&mut self) -> Outcome<Vec<Host>> {
        let negated = self.char('!');
        let mut hosts = if self.key("no-route") {
            vec![Host::new(Address::NoRoute, None)]
        } else if self.key("urpf-failed") {
            vec![Host::new(Address::UrpfFailed, None)]
        } else {
            self.host()?
        };
        for host in &mut hosts {
            host.negated = negated;
        }
        Ok(hosts)
    }

    /// `host`: everything but `any`, `no-route` and lists.
    pub(super) fn host(&mut self) -> Outcome<Vec<Host>> {
        match self.peek() {
            Token::Char('(') => self.interface_host(),
            Token::Char('<') => {
                self.bump();
                let name = self.word()?;
                self.expect_char('>')?;
                if name.len() > TABLE_NAME_MAX {
                    return self.fail(&format!("table name '{name}' too long"));
                }
                Ok(vec![Host::new(Address::Table(name), None)])
            }
            Token::Number(number) => {
                let number = *number;
                self.bump();
                self.expect_char('/')?;
                let bits = self.plain_number()?;
                self.looked_up(&format!("{number}/{bits}"))
            }
            Token::Word(_) => {
                let word = self.word()?;
                if self.char('/') {
                    let bits = self.plain_number()?;
                    return self.looked_up(&format!("{word}/{bits}"));
                }
                if self.char('-') {
                    let last = self.word()?;
                    return self.range(&word, &last);
                }
                self.looked_up(&word)
            }
            Token::Key(_)
            | Token::Binary(_)
            | Token::Sign(_)
            | Token::Char(_)
            | Token::Error
            | Token::End => self.syntax(),
        }
    }

    fn looked_up(&mut self, text: &str) -> Outcome<Vec<Host>> {
        match lookup_hosts(self.facts, text) {
            Ok(hosts) => Ok(hosts),
            Err(message) => {
                self.warn(&message);
                self.fail("could not parse host specification")
            }
        }
    }

    fn range(&mut self, first: &str, last: &str) -> Outcome<Vec<Host>> {
        let (first, last) = (self.looked_up(first)?, self.looked_up(last)?);
        let whole = |host: &Host| match host.address {
            Address::Net { address, bits } if bits == Af::of(address).bits() => Some(address),
            Address::Any
            | Address::Net { .. }
            | Address::Range { .. }
            | Address::Interface { .. }
            | Address::Table(_)
            | Address::NoRoute
            | Address::UrpfFailed => None,
        };
        if let ([first_host], [last_host]) = (first.as_slice(), last.as_slice())
            && let (Some(first), Some(last)) = (whole(first_host), whole(last_host))
            && Af::of(first) == Af::of(last)
        {
            return Ok(vec![Host {
                address: Address::Range { first, last },
                ..first_host.clone()
            }]);
        }
        self.fail("invalid address range")
    }

    /// `dynaddr`, with a mask behind it or not.
    fn interface_host(&mut self) -> Outcome<Vec<Host>> {
        self.expect_char('(')?;
        let text = self.word()?;
        self.expect_char(')')?;
        if !text.starts_with(|first: char| first.is_ascii_alphabetic()) {
            return self.fail(&format!("invalid interface name '{text}'"));
        }
        let Ok((name, modifiers, clash)) = split_modifiers(&text) else {
            return self.fail(&format!("interface {text} has bad modifier"));
        };
        if clash {
            return self.fail("illegal combination of interface modifiers");
        }
        if name.len() > INTERFACE_NAME_MAX {
            return self.fail("interface name too long");
        }
        let mut host = Host::new(
            Address::Interface {
                name,
                modifiers,
                bits: 128,
            },
            None,
        );
        if self.char('/') {
            let bits = self.bounded(128, |_| "bit number too big".to_owned())?;
            host.set_mask(u8::try_from(bits).expect("the number was bounded"));
        }
        Ok(vec![host])
    }
}
