//! Renders the pf rules of our anchors, in the syntax that 14 and 15 both accept: translation rules before filter rules.
//!
//! Each anchor carries one rule that matches nothing and whose label states the hash of the text: what is loaded is told by that label, never by a diff of pfctl's print.

mod crossing;
mod firewall;
mod isolation;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;

use cellblock_schemas::ids::Uid;
use cellblock_schemas::net::{Family, PortRange, Protocol};
use ipnet::IpNet;
use sha2::{Digest, Sha256};

use crate::firewall::JailFirewall;
use crate::isolation::Isolation;
use crossing::Tables;

/// The label's prefix, before the hash.
pub const HASH_LABEL: &str = "cellblock:cfg:";

/// An interface that never exists: a rule on it is loaded (recording `05`) and never evaluated to a match.
const NO_INTERFACE: &str = "cbnone0";

/// A rendered anchor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnchorText {
    /// What `pfctl -a ANCHOR -f -` reads.
    pub rules: String,
    /// What the label states: a hash of the text, where there are tables `+` and how many addresses they have, `-`, and how many translations pf makes of it. Rules, translations and tables are kept
    /// apart, and the label stands among the rules only: without the numbers, nobody would notice that `pfctl -a ANCHOR -F nat` (recording `15`) or `-F Tables` took the others away.
    pub hash: String,
}

/// The tag of what a network's NAT has translated and filter rules see.
const NAT_TAG: &str = "cellblock:nat";

/// Everything that shall stand in one anchor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnchorRules {
    /// The subnets of a network that spans hosts: what its jails send to each other is not translated.
    pub within: Vec<IpNet>,
    /// Outbound NAT.
    pub nats: Vec<NatRule>,
    /// Published ports.
    pub redirects: Vec<RedirectRule>,
    /// Ports that several jails share, in the anchor of their pool.
    pub pools: Vec<PoolRule>,
    /// Public addresses of jails, in their anchor.
    pub publics: Vec<PublicRule>,
    /// The ways out of jails that have some ports of a public address, in the anchor of their network: before its own NAT, which would take them otherwise. Of translations in two anchors 14 takes
    /// the first and 15.1 the last (`pf_match_translation_rule`, sys/netpfil/pf/pf_lb.c); within one anchor both take the first.
    pub backs: Vec<PublicRule>,
    /// Jails that must not reach each other.
    pub isolation: Option<Isolation>,
    /// Ports of public addresses that are closed.
    pub blocks: Vec<BlockRule>,
    /// Public addresses to which nothing comes, because the jail whose they are is closed.
    pub shut: Vec<PublicRule>,
    /// What is changed in packets that come in and leave.
    pub scrubs: Vec<ScrubRule>,
    /// The ways out of jails whose firewall has a say about them, in the anchor of their network: before its own NAT, which would let everything pass.
    pub marked: Vec<MarkedNat>,
    /// Firewalls of jails: what they may not send.
    pub egress: Vec<JailFirewall>,
    /// Firewalls of jails: what comes to them.
    pub ingress: Vec<JailFirewall>,
}

/// One line of outbound NAT for one address, whose packets are filtered by their tag.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MarkedNat {
    /// The jail's address.
    pub inside: IpAddr,
    /// The NAT of its network.
    pub nat: NatRule,
    /// The tag.
    pub tag: String,
    /// Whether it is not translated at all, because the jail is closed: filter rules see what leaves under its own source.
    pub is_shut: bool,
}

impl MarkedNat {
    /// The way of a jail's address out by its network's NAT.
    #[must_use]
    pub fn new(jail: &Uid, inside: IpAddr, nat: &NatRule) -> Self {
        let to = nat.to.map(|to| to.to_string()).unwrap_or_default();
        let parts = ["nat", &nat.interface, &inside.to_string(), &to];
        Self {
            inside,
            nat: nat.clone(),
            tag: label(jail, &parts),
            is_shut: false,
        }
    }
}

/// Ports of a public address of the host that are closed for what comes in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlockRule {
    /// The interface that traffic comes in by.
    pub interface: String,
    /// The public address.
    pub public: IpAddr,
    /// The protocol.
    pub protocol: Protocol,
    /// The ports.
    pub ports: Vec<PortRange>,
}

/// What is changed in every packet that comes in or leaves by an uplink, the host's own among them.
///
/// A `match` rule: `scrub` rules have an effect in the main ruleset alone (`pf_normalize_ip`, sys/netpfil/pf/pf_norm.c), which is the operator's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ScrubRule {
    /// The interface.
    pub interface: String,
    /// `max-mss`
    pub max_mss: Option<u16>,
    /// `no-df`
    pub no_df: bool,
    /// `random-id`
    pub random_id: bool,
}

/// One line of outbound NAT.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NatRule {
    /// The interface that traffic leaves by.
    pub interface: String,
    /// The jails' prefix.
    pub from: IpNet,
    /// The source address outside; none: the interface's first of that family.
    pub to: Option<IpAddr>,
    /// `static-port`
    pub static_port: bool,
    /// Whether the filter rules see what is translated, because one of them changes it: what `nat pass` lets through is looked at by none (`pf_test_rule`, sys/netpfil/pf/pf.c).
    pub filtered: bool,
}

/// One published set of ports.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RedirectRule {
    /// The jail, for the label.
    pub jail: Uid,
    /// The interface that traffic comes in by.
    pub interface: String,
    /// The public address.
    pub public: IpAddr,
    /// The protocol.
    pub protocol: Protocol,
    /// The ports outside.
    pub ports: Vec<PortRange>,
    /// The jail's address.
    pub target: IpAddr,
    /// The port inside; none: the same.
    pub target_port: Option<u16>,
    /// The interface that the host forwards to the jail by; none where the address is the host's own (shared IP).
    pub forwarded_by: Option<String>,
    /// The pool, where other jails are behind the ports too: the redirect is then the pool's.
    pub pool: Option<Pool>,
}

/// What jails that share ports say of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// `sticky-address`
    pub sticky: bool,
}

/// One set of ports that leads to several jails in turn.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PoolRule {
    /// Whom it leads to, as far as they are behind it; they differ in jail, address and way only.
    pub members: Vec<PoolMember>,
}

/// A jail that shared ports lead to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PoolMember {
    /// Its part.
    pub redirect: RedirectRule,
    /// Whether its own anchor passes what is led to it, because the jail has a firewall.
    pub is_guarded: bool,
    /// Whether it is led to now.
    pub is_behind: bool,
}

/// A public address that is one jail's (1:1 NAT).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublicRule {
    /// The jail, for the label.
    pub jail: Uid,
    /// The interface that traffic comes in and leaves by.
    pub interface: String,
    /// The public address.
    pub public: IpAddr,
    /// The jail's address.
    pub inside: IpAddr,
    /// Whether everything comes in, by `binat`; else what comes in is a matter of [`RedirectRule`]s.
    pub whole: bool,
    /// The interface that the host forwards to the jail by; none where the address is the host's own (shared IP).
    pub forwarded_by: Option<String>,
    /// The subnets of the jail's network where that spans hosts: what it sends there keeps its source.
    pub within: Vec<IpNet>,
}

impl PoolRule {
    /// Whom it leads to now.
    pub fn behind(&self) -> impl Iterator<Item = &PoolMember> {
        self.members.iter().filter(|member| member.is_behind)
    }
}

impl PublicRule {
    /// The label of the rules that pass what comes in.
    #[must_use]
    pub fn label_in(&self) -> String {
        let way = self.forwarded_by.clone().unwrap_or_default();
        label(
            &self.jail,
            &[
                "in",
                &self.interface,
                &self.public.to_string(),
                &self.inside.to_string(),
                &way,
            ],
        )
    }

    /// The label of the rule that passes what goes out, and the tag of all packets that were translated: the same whether all of the address is the jail's or some ports, so that what the jail
    /// began lives through such a change.
    #[must_use]
    pub fn label_out(&self) -> String {
        label(
            &self.jail,
            &[
                "out",
                &self.interface,
                &self.public.to_string(),
                &self.inside.to_string(),
            ],
        )
    }
}

/// A label of a jail's rules, out of everything that they mean.
fn label(jail: &Uid, parts: &[&str]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part.as_bytes());
    }
    let mut short = data_encoding::BASE32_NOPAD
        .encode(&digest.finalize())
        .to_ascii_lowercase();
    short.truncate(LABEL_CHARS);
    format!("cellblock:{jail}:{short}")
}

/// How many base32 characters of a digest stand in a label, which has at most 63 bytes (PF_RULE_LABEL_SIZE, sys/netpfil/pf/pf.h): 10 of `cellblock:`, 36 of a uid, and these.
const LABEL_CHARS: usize = 10;

impl RedirectRule {
    /// The label of the filter rules of one range of its ports: states are killed by it, so it is another one wherever the rule is another one,
    /// and the same as long as the rule means the same, whatever stands beside it and however it is rendered.
    #[must_use]
    pub fn label(&self, ports: &PortRange) -> String {
        let target = self.target.to_string();
        let way = self.forwarded_by.as_deref().unwrap_or_default();
        let mut parts = self.outside(ports);
        parts.insert(4, target);
        parts.push(way.to_owned());
        parts.extend(self.pool.as_ref().map(|pool| pool.name.clone()));
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        label(&self.jail, &parts)
    }

    /// The tag of the packets that were redirected: of shared ports one for all jails behind them.
    #[must_use]
    pub fn tag(&self, ports: &PortRange) -> String {
        let Some(pool) = &self.pool else {
            return self.label(ports);
        };
        let parts = self.outside(ports);
        let parts = parts.iter().chain([&pool.name]).map(String::as_str);
        label(&Uid("pool".to_owned()), &parts.collect::<Vec<_>>())
    }

    /// What of a rule is seen from outside, and the port inside.
    fn outside(&self, ports: &PortRange) -> Vec<String> {
        let target_port = self.target_port.map(|port| port.to_string());
        vec![
            self.interface.clone(),
            self.public.to_string(),
            self.protocol.as_str().to_owned(),
            format!("{}:{}", ports.first, ports.last),
            target_port.unwrap_or_default(),
        ]
    }
}

/// Whose published port or public address a label is about ([`RedirectRule::label`], [`PublicRule::label_in`], [`PublicRule::label_out`]).
pub(crate) fn jail_of_label(label: &str) -> Option<&str> {
    let (jail, _) = label.strip_prefix("cellblock:")?.rsplit_once(':')?;
    Some(jail)
}

/// Renders an anchor. None where there is nothing to load.
#[must_use]
pub fn render(anchor: &AnchorRules) -> Option<AnchorText> {
    let AnchorRules {
        within: _,
        nats,
        redirects,
        pools,
        publics,
        backs,
        isolation,
        blocks,
        shut,
        scrubs,
        marked,
        egress,
        ingress,
    } = anchor;
    if *anchor == AnchorRules::default() {
        return None;
    }
    let mut tables = Tables::default();
    let mut lines = Vec::new();
    let isolation = isolation
        .as_ref()
        .map(|isolation| isolation::lines(isolation, &mut tables));
    if let Some(isolation) = &isolation {
        lines.extend(isolation.tables.iter().cloned());
    }
    // Before those that translate: within one anchor the first decides.
    let mut translations = within_lines(anchor);
    translations.extend(backs.iter().map(back_line));
    translations.extend(marked.iter().map(marked_line));
    translations.extend(nats.iter().map(nat_line));
    let alone = redirects.iter().filter(|redirect| redirect.pool.is_none());
    translations.extend(alone.flat_map(redirect_lines));
    for pool in pools {
        translations.extend(pool_lines(pool, &mut tables));
    }
    let whole = publics.iter().filter(|public| public.whole);
    translations.extend(whole.flat_map(binat_lines));
    let translated = translations.len();
    let filters = lines.len() + translated;
    lines.extend(translations);
    for jail in egress {
        lines.extend(firewall::egress_lines(jail, &mut tables));
    }
    // Before the ports, which pass by themselves where there is no firewall.
    for jail in ingress {
        lines.extend(firewall::ingress_lines(
            jail,
            redirects,
            publics,
            &mut tables,
        ));
    }
    for redirect in redirects {
        pass_lines(&mut lines, redirect);
    }
    let members = pools.iter().flat_map(PoolRule::behind);
    for member in members.filter(|member| !member.is_guarded) {
        pass_lines(&mut lines, &member.redirect);
    }
    lines.extend(publics.iter().flat_map(public_lines));
    lines.extend(blocks.iter().flat_map(block_lines));
    lines.extend(shut.iter().flat_map(shut_lines));
    lines.extend(scrubs.iter().map(scrub_line));
    let filtered = nats.iter().filter(|nat| nat.filtered);
    lines.extend(filtered.map(nat_pass_line));
    if let Some(isolation) = &isolation {
        lines.extend(isolation.rules.iter().cloned());
    }
    // The kernel takes no rule twice, and pfctl says so each time: the second could decide nothing.
    let mut seen = BTreeSet::new();
    let mut place = 0;
    lines.retain(|line| {
        place += 1;
        place <= filters || seen.insert(line.clone())
    });
    let isolated = isolation.map_or(0, |isolation| isolation.addresses);
    let addresses = isolated + tables.addresses();
    // pf.conf(5) wants tables before the rules that name them.
    let lines: Vec<String> = tables.lines().chain(lines).collect();
    let mut rules = lines.join("\n");
    rules.push('\n');
    let mut hash = data_encoding::HEXLOWER.encode(&Sha256::digest(rules.as_bytes()));
    hash.truncate(16);
    if addresses > 0 {
        write!(hash, "+{addresses}").expect("writing to a String cannot fail");
    }
    write!(hash, "-{translated}").expect("writing to a String cannot fail");
    writeln!(
        rules,
        "pass in quick on {NO_INTERFACE} all no state label \"{HASH_LABEL}{hash}\""
    )
    .expect("writing to a String cannot fail");
    Some(AnchorText { rules, hash })
}

/// Renders a jail's firewall for the pf of its own stack.
#[must_use]
pub fn render_inside(firewall: &JailFirewall) -> AnchorText {
    let rules = AnchorRules {
        egress: vec![firewall.clone()],
        ingress: vec![firewall.clone()],
        ..AnchorRules::default()
    };
    render(&rules).expect("an anchor with a firewall has rules")
}

/// What a main ruleset without rules of its own gets, so that pf looks into our anchors.
#[must_use]
pub fn main_inside() -> String {
    format!("anchor \"{}/*\"\n", crate::names::ANCHOR_ROOT)
}

/// A jail's firewall as text, to tell whether it has changed; its ports and public addresses are left out.
#[must_use]
pub fn firewall_text(firewall: &JailFirewall) -> String {
    let mut tables = Tables::default();
    let mut lines = firewall::egress_lines(firewall, &mut tables);
    lines.extend(firewall::ingress_lines(firewall, &[], &[], &mut tables));
    lines.extend(tables.lines());
    lines.join("\n")
}

fn target(nat: &NatRule) -> String {
    match nat.to {
        Some(address) => address.to_string(),
        None => format!("({}:0)", nat.interface),
    }
}

/// What is not translated by the rules of an anchor, on each interface that one of them is about.
fn within_lines(anchor: &AnchorRules) -> Vec<String> {
    let nats = anchor.nats.iter().map(|nat| &nat.interface);
    let backs = anchor.backs.iter().map(|back| &back.interface);
    let marked = anchor.marked.iter().map(|marked| &marked.nat.interface);
    let interfaces: BTreeSet<&String> = nats.chain(backs).chain(marked).collect();
    let mut lines = Vec::new();
    for interface in interfaces {
        for from in &anchor.within {
            let family = Family::of(from.addr());
            let to = anchor.within.iter();
            let to = to.filter(|to| Family::of(to.addr()) == family);
            lines.extend(to.map(|to| {
                let family = family.keyword();
                format!("no nat on {interface} {family} from {from} to {to}")
            }));
        }
    }
    lines
}

fn nat_line(nat: &NatRule) -> String {
    let family = Family::of(nat.from.addr()).keyword();
    let to = target(nat);
    let static_port = if nat.static_port { " static-port" } else { "" };
    let (pass, tag) = if nat.filtered {
        ("", format!(" tag \"{NAT_TAG}\""))
    } else {
        (" pass", String::new())
    };
    format!(
        "nat{pass} on {} {family} from {} to any{tag} -> {to}{static_port}",
        nat.interface, nat.from
    )
}

/// Passes what its NAT has translated. `flags any`, as `nat pass` does: a connection that lost its state goes on.
fn nat_pass_line(nat: &NatRule) -> String {
    let family = Family::of(nat.from.addr()).keyword();
    format!(
        "pass out quick on {} {family} all flags any tagged \"{NAT_TAG}\" keep state",
        nat.interface
    )
}

fn scrub_line(scrub: &ScrubRule) -> String {
    let max_mss = scrub.max_mss.map(|size| format!("max-mss {size}"));
    let options: Vec<String> = [
        scrub.no_df.then(|| "no-df".to_owned()),
        scrub.random_id.then(|| "random-id".to_owned()),
        max_mss,
    ]
    .into_iter()
    .flatten()
    .collect();
    format!(
        "match on {} all scrub ({})",
        scrub.interface,
        options.join(" ")
    )
}

/// The way out of one address, without `pass`: filter rules see what leaves by it, under its new source, and know it by its tag.
fn marked_line(marked: &MarkedNat) -> String {
    let nat = &marked.nat;
    if marked.is_shut {
        let family = Family::of(marked.inside).keyword();
        return format!(
            "no nat on {} {family} from {} to any",
            nat.interface, marked.inside
        );
    }
    let static_port = if nat.static_port { " static-port" } else { "" };
    format!(
        "nat on {} {} from {} to any tag \"{}\" -> {}{static_port}",
        nat.interface,
        Family::of(marked.inside).keyword(),
        marked.inside,
        marked.tag,
        target(nat)
    )
}

fn redirect_lines(redirect: &RedirectRule) -> impl Iterator<Item = String> {
    let to = redirect
        .target_port
        .map(|port| format!(" port {port}"))
        .unwrap_or_default();
    redirect.ports.iter().map(move |ports| {
        format!(
            "rdr on {} {} proto {} from any to {} port {} tag \"{}\" -> {}{to}",
            redirect.interface,
            Family::of(redirect.public).keyword(),
            redirect.protocol.as_str(),
            redirect.public,
            range(ports),
            redirect.label(ports),
            redirect.target,
        )
    })
}

/// To a table whose addresses take turns. In one transaction with what passes, so that nobody is led to where nothing passes. A client with `sticky-address` is dealt anew
/// after each load, and for each line apart: pf remembers clients by the rule (`pf_find_src_node`, sys/netpfil/pf/pf.c; seen on 15.1).
fn pool_lines(pool: &PoolRule, tables: &mut Tables) -> Vec<String> {
    let Some(PoolMember { redirect, .. }) = pool.behind().next() else {
        return Vec::new();
    };
    let members = pool
        .behind()
        .map(|member| IpNet::from(member.redirect.target));
    let table = tables.table(members.collect());
    let to = redirect
        .target_port
        .map(|port| format!(" port {port}"))
        .unwrap_or_default();
    let is_sticky = redirect.pool.as_ref().is_some_and(|pool| pool.sticky);
    let sticky = if is_sticky { " sticky-address" } else { "" };
    let ports = redirect.ports.iter();
    let lines = ports.map(|ports| {
        format!(
            "rdr on {} {} proto {} from any to {} port {} tag \"{}\" -> {table}{to} round-robin{sticky}",
            redirect.interface,
            Family::of(redirect.public).keyword(),
            redirect.protocol.as_str(),
            redirect.public,
            range(ports),
            redirect.tag(ports),
        )
    });
    lines.collect()
}

/// The way out of a jail that has some ports of a public address.
fn back_line(back: &PublicRule) -> String {
    format!(
        "nat on {} {} from {} to any tag \"{}\" -> {}",
        back.interface,
        Family::of(back.public).keyword(),
        back.inside,
        back.label_out(),
        back.public
    )
}

/// A whole public address, both ways. Redirects come first on the way in (`pf_get_translation`, sys/netpfil/pf/pf_lb.c), so a published port of the address goes where it is published to.
///
/// Neighbour discovery is ICMPv6 to the address itself, and pf translates it like all else (`pf_test_rule`, sys/netpfil/pf/pf.c): what answers the host's own solicitations would go to the jail, and so
/// nothing that a VNET jail sends would get further than the host (seen on 15.1). So ICMPv6 that no state knows stays the host's. `binat` cannot tell its types apart.
fn binat_lines(public: &PublicRule) -> impl Iterator<Item = String> {
    let PublicRule {
        interface,
        public: address,
        inside,
        within,
        ..
    } = public;
    let family = Family::of(*address);
    let neighbours = match family {
        Family::Ipv4 => None,
        Family::Ipv6 => Some(format!(
            "no binat on {interface} inet6 proto ipv6-icmp from any to {address}"
        )),
    };
    let binat = format!(
        "binat on {interface} {} from {inside} to any tag \"{}\" -> {address}",
        family.keyword(),
        public.label_out()
    );
    let within = within
        .iter()
        .filter(move |net| Family::of(net.addr()) == family);
    let within = within.map(move |net| {
        let family = family.keyword();
        format!("no binat on {interface} {family} from {inside} to {net}")
    });
    neighbours.into_iter().chain(within).chain([binat])
}

/// The filter rules of a public address: the translation has come first, so that what comes in is for the jail's address already and what goes out has the public one.
fn public_lines(public: &PublicRule) -> Vec<String> {
    let PublicRule {
        interface,
        public: address,
        inside,
        ..
    } = public;
    let family = Family::of(*address).keyword();
    let (label_in, tag) = (public.label_in(), public.label_out());
    let mut lines = Vec::new();
    if public.whole {
        let ways = [
            ("in", Some(interface)),
            ("out", public.forwarded_by.as_ref()),
        ];
        let ways = ways
            .into_iter()
            .filter_map(|(way, interface)| Some((way, interface?)));
        lines.extend(ways.map(|(direction, interface)| format!(
            "pass {direction} quick on {interface} {family} from any to {inside} tagged \"{tag}\" keep state label \"{label_in}\""
        )));
    }
    lines.push(format!(
        "pass out quick on {interface} {family} from {address} to any tagged \"{tag}\" keep state label \"{tag}\""
    ));
    lines
}

fn block_lines(block: &BlockRule) -> impl Iterator<Item = String> {
    block.ports.iter().map(|ports| {
        format!(
            "block drop in quick on {} {} proto {} from any to {} port {}",
            block.interface,
            Family::of(block.public).keyword(),
            block.protocol.as_str(),
            block.public,
            self::range(ports),
        )
    })
}

/// What would come for a jail, and without its `binat` to the host. ICMPv6 to the address is the host's in either case, see [`binat_lines`].
fn shut_lines(public: &PublicRule) -> Vec<String> {
    let PublicRule {
        interface,
        public: address,
        ..
    } = public;
    let family = Family::of(*address);
    let protocols: &[&str] = match family {
        Family::Ipv4 => &[""],
        Family::Ipv6 => &[" proto tcp", " proto udp", " proto sctp"],
    };
    let family = family.keyword();
    let lines = protocols.iter().map(|protocol| {
        format!("block drop in quick on {interface} {family}{protocol} from any to {address}")
    });
    lines.collect()
}

/// The filter rules of a redirect, for each range of its ports. The tag tells ports apart that lead to one port inside: without it, the first rule would make the states of all of them.
fn pass_lines(lines: &mut Vec<String>, redirect: &RedirectRule) {
    for ports in &redirect.ports {
        let inside = match redirect.target_port {
            Some(port) => port.to_string(),
            None => range(ports),
        };
        // A forwarded packet is filtered twice, and the state of the way in does not pass it on the way out.
        let ways = [
            ("in", Some(&redirect.interface)),
            ("out", redirect.forwarded_by.as_ref()),
        ];
        let (label, tag) = (redirect.label(ports), redirect.tag(ports));
        for (direction, interface) in ways
            .into_iter()
            .filter_map(|(way, interface)| Some((way, interface?)))
        {
            lines.push(format!(
                "pass {direction} quick on {interface} {} proto {} from any to {} port {inside} tagged \"{tag}\" keep state label \"{label}\"",
                Family::of(redirect.target).keyword(),
                redirect.protocol.as_str(),
                redirect.target,
            ));
        }
    }
}

/// `80` or `8000:8099`.
fn range(ports: &PortRange) -> String {
    if ports.first == ports.last {
        ports.first.to_string()
    } else {
        format!("{}:{}", ports.first, ports.last)
    }
}

#[cfg(test)]
mod tests;
