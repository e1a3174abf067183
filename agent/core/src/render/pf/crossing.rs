//! Where a jail's traffic passes pf, and a rule about it there in the words of pf.conf(5), with the tables that it needs. What shall be done with it is `firewall`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use cellblock_schemas::net::Family;
use cellblock_schemas::owner::{IdMatch, Relation};
use ipnet::IpNet;
use sha2::{Digest, Sha256};

use super::range;
use crate::firewall::{At, ICMP, ICMP6, Link, Rule, TCP, UDP};

/// How many base32 characters of a digest stand in the name of a table, of at most 31 (PF_TABLE_NAME_SIZE, sys/netpfil/pf/pf.h).
const TABLE_CHARS: usize = 16;

/// Tables by name: the name says the content, so that rules about the same addresses share one.
#[derive(Default)]
pub(super) struct Tables(BTreeMap<String, BTreeSet<IpNet>>);

impl Tables {
    /// The lines that define them, members and all, so that they come with the rules in one transaction.
    pub(super) fn lines(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(name, members)| {
            let members: Vec<String> = members.iter().map(member).collect();
            format!("table <{name}> const {{ {} }}", members.join(", "))
        })
    }

    /// How many addresses they have.
    pub(super) fn addresses(&self) -> usize {
        self.0.values().map(BTreeSet::len).sum()
    }

    /// A way to write these addresses in a rule.
    fn set(&mut self, members: BTreeSet<IpNet>) -> String {
        if members.len() == 1 {
            let mut members = members.iter();
            return members.next().map(member).unwrap_or_default();
        }
        self.table(members)
    }

    /// A table of these addresses, be it of one alone.
    pub(super) fn table(&mut self, members: BTreeSet<IpNet>) -> String {
        let mut digest = Sha256::new();
        for member in &members {
            digest.update(member.to_string().as_bytes());
            digest.update([0]);
        }
        let mut name = data_encoding::BASE32_NOPAD
            .encode(&digest.finalize())
            .to_ascii_lowercase();
        name.truncate(TABLE_CHARS);
        // A name of digits alone would be read as a number.
        let name = format!("p{name}");
        let text = format!("<{name}>");
        self.0.insert(name, members);
        text
    }
}

/// An address without its prefix length where that says nothing.
fn member(net: &IpNet) -> String {
    if net.prefix_len() == net.max_prefix_len() {
        net.addr().to_string()
    } else {
        net.to_string()
    }
}

/// One way of a jail's traffic past pf: direction and interface, and the jail's addresses where only these tell it.
pub(super) struct Crossing<'l> {
    /// `in` or `out`.
    pub(super) direction: &'static str,
    /// The interface; none: any.
    pub(super) interface: Option<&'l str>,
    /// The jail's addresses; none: all that passes there is the jail's.
    pub(super) own: Option<&'l BTreeSet<IpAddr>>,
    /// Whether the jail is where packets go.
    pub(super) inward: bool,
    /// Only what is of this family.
    pub(super) family: Option<Family>,
    /// Whether pfctl(8) reads it inside a jail, whose protocols(5) is its root's.
    pub(super) by_number: bool,
}

pub(super) fn outward(link: &Link) -> Crossing<'_> {
    match &link.at {
        At::Stack => Crossing {
            direction: "out",
            interface: None,
            own: Some(&link.addresses),
            inward: false,
            family: None,
            by_number: false,
        },
        At::Inside(interface) => Crossing {
            direction: "out",
            interface: Some(interface),
            own: None,
            inward: false,
            family: None,
            by_number: true,
        },
        At::HostEnd(host_end) | At::Member { host_end, .. } => Crossing {
            direction: "in",
            interface: Some(host_end),
            own: None,
            inward: false,
            family: None,
            by_number: false,
        },
    }
}

pub(super) fn inward(link: &Link) -> Vec<Crossing<'_>> {
    let crossing = |direction, interface, own| Crossing {
        direction,
        interface,
        own,
        inward: true,
        family: None,
        by_number: false,
    };
    match &link.at {
        At::Stack => vec![crossing("in", None, Some(&link.addresses))],
        At::HostEnd(host_end) => vec![crossing("out", Some(host_end.as_str()), None)],
        At::Inside(interface) => vec![Crossing {
            by_number: true,
            ..crossing("in", Some(interface.as_str()), None)
        }],
        At::Member { host_end, bridge } => {
            let member = crossing("out", Some(host_end.as_str()), None);
            let from_host = bridge
                .as_deref()
                .map(|bridge| crossing("out", Some(bridge), Some(&link.addresses)));
            std::iter::once(member).chain(from_host).collect()
        }
    }
}

impl Crossing<'_> {
    /// `out on igb0`
    pub(super) fn at(&self) -> String {
        match self.interface {
            Some(interface) => format!("{} on {}", self.direction, self.word(interface)),
            None => self.direction.to_owned(),
        }
    }

    /// The name of an interface in a jail may be a word of pf.conf(5), such as `nat` or `global`.
    fn word(&self, interface: &str) -> String {
        if self.by_number {
            format!("\"{interface}\"")
        } else {
            interface.to_owned()
        }
    }

    pub(super) fn quick(&self) -> String {
        match self.interface {
            Some(interface) => format!("{} quick on {}", self.direction, self.word(interface)),
            None => format!("{} quick", self.direction),
        }
    }

    /// What a rule is about here, as pf.conf(5) says it behind the interface: once, or once for each family.
    pub(super) fn matches(&self, rule: Option<&Rule>, tables: &mut Tables) -> Vec<String> {
        let peers = rule.and_then(|rule| rule.peers.as_ref());
        let protocol = rule.and_then(|rule| rule.protocol);
        let only = match protocol {
            Some(ICMP) => Some(Family::Ipv4),
            Some(ICMP6) => Some(Family::Ipv6),
            Some(_) | None => None,
        };
        if self.own.is_none() && peers.is_none() && only.or(self.family).is_none() {
            return self.words(None, rule, "any", "any");
        }
        let families = [Family::Ipv4, Family::Ipv6].into_iter();
        let families = families.filter(|family| {
            let is_meant = |only: Option<Family>| only.is_none_or(|only| only == *family);
            is_meant(only) && is_meant(self.family)
        });
        let mut lines = Vec::new();
        for family in families {
            let own = self
                .own
                .map(|own| of_family(own.iter().map(|own| IpNet::from(*own)), family));
            let peers = peers.map(|peers| of_family(peers.iter().copied(), family));
            // It has no address of the family, or nobody is meant in it. Then there is no table either: pf keeps none that no rule names.
            let is_empty =
                |set: &Option<BTreeSet<IpNet>>| set.as_ref().is_some_and(BTreeSet::is_empty);
            if is_empty(&own) || is_empty(&peers) {
                continue;
            }
            let mut written = |set: Option<BTreeSet<IpNet>>| {
                set.map_or_else(|| "any".to_owned(), |members| tables.set(members))
            };
            let (own, peers) = (written(own), written(peers));
            let (from, to) = if self.inward {
                (&peers, &own)
            } else {
                (&own, &peers)
            };
            lines.extend(self.words(Some(family), rule, from, to));
        }
        lines
    }

    /// The same for a rule that drops. Of a fragment pf sees neither ports nor a socket, and a rule that asks for these is not about it (PF_VPROTO_FRAGMENT, sys/netpfil/pf/pf.c): whoever fragments
    /// would pass. Nothing puts IPv4 fragments together before that unless pf.conf says `set reassemble yes`.
    pub(super) fn matches_of_drop(&self, rule: Option<&Rule>, tables: &mut Tables) -> Vec<String> {
        let mut lines = self.matches(rule, tables);
        let narrow = rule.filter(|rule| !rule.ports.is_empty() || rule.has_owner());
        let whole = narrow.map(|rule| Rule {
            ports: Vec::new(),
            user: None,
            group: None,
            ..rule.clone()
        });
        if whole.is_some() {
            let whole = self.matches(whole.as_ref(), tables).into_iter();
            lines.extend(whole.map(|line| format!("{line} fragment")));
        }
        lines
    }

    /// `inet proto tcp from any to 192.0.2.3 port 80 user > 1000`, once for each of the ports: pfctl(8) would make as many rules of a list, of which the kernel leaves out those that it has already.
    fn words(
        &self,
        family: Option<Family>,
        rule: Option<&Rule>,
        from: &str,
        to: &str,
    ) -> Vec<String> {
        let mut words = Vec::new();
        words.extend(family.map(|family| family.keyword().to_owned()));
        let protocol = rule.and_then(|rule| rule.protocol);
        words.extend(protocol.map(|protocol| format!("proto {}", self.protocol(protocol))));
        words.push(format!("from {from} to {to}"));
        let words = words.join(" ");
        let owners: String = rule.map(owners).unwrap_or_default();
        match rule.map(|rule| rule.ports.as_slice()).unwrap_or_default() {
            [] => vec![format!("{words}{owners}")],
            ports => {
                let ports = ports.iter().map(range);
                ports
                    .map(|ports| format!("{words} port {ports}{owners}"))
                    .collect()
            }
        }
    }

    fn protocol(&self, protocol: u8) -> String {
        if self.by_number {
            protocol.to_string()
        } else {
            protocol_word(protocol)
        }
    }
}

/// Those of a family; none if there are none.
pub(super) fn set_of(
    members: impl Iterator<Item = IpNet>,
    family: Family,
    tables: &mut Tables,
) -> Option<String> {
    let members = of_family(members, family);
    (!members.is_empty()).then(|| tables.set(members))
}

fn of_family(members: impl Iterator<Item = IpNet>, family: Family) -> BTreeSet<IpNet> {
    members
        .filter(|net| Family::of(net.addr()) == family)
        .collect()
}

/// The few that everybody knows by name, and that pfctl(8) must not look up.
fn protocol_word(protocol: u8) -> String {
    match protocol {
        ICMP => "icmp".to_owned(),
        TCP => "tcp".to_owned(),
        UDP => "udp".to_owned(),
        ICMP6 => "ipv6-icmp".to_owned(),
        other => other.to_string(),
    }
}

fn owners(rule: &Rule) -> String {
    let user = rule.user.map(|user| format!(" user {}", ids(user)));
    let group = rule.group.map(|group| format!(" group {}", ids(group)));
    user.into_iter().chain(group).collect()
}

/// An inclusive range has no form of its own behind `user`: the grammar takes `><` and `<>` there (`PORTBINARY`, sbin/pfctl/parse.y), and reads `1000:1999` as a name.
fn ids(ids: IdMatch<u32>) -> String {
    let one = |relation: Relation, id: u32| format!("{} {id}", relation.operator());
    match ids {
        IdMatch::One(relation, id) => one(relation, id),
        IdMatch::Within(0, last) => one(Relation::LessOrEqual, last),
        // One more would be the number of sockets that are not found.
        IdMatch::Within(first, last) if last >= u32::MAX - 1 => one(Relation::MoreOrEqual, first),
        IdMatch::Within(first, last) => format!("{} >< {}", first - 1, last + 1),
        IdMatch::Between(first, last) => format!("{first} >< {last}"),
        IdMatch::Outside(first, last) => format!("{first} <> {last}"),
    }
}
