//! Rules as pfctl(8) prints them: `print_rule` and its kin of sbin/pfctl/pfctl_parser.c.
//!
//! What is printed parses to the same rule again; what was written may look different (`port 3306` becomes
//! `port = mysql`), so nobody should compare the text.

use super::names;
use super::rule::{
    Action, Address, Af, Direction, IdMatch, KeepState, Op, PoolKind, PortMatch, Return, RouteKind,
    Rule, UNKNOWN_ID,
};

mod options;
mod pool;

use pool::{PoolUse, pool_text};

/// How much is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Style {
    /// `-vv`: rule numbers, and how many addresses interfaces and tables have.
    pub numbered: bool,
    /// `-P`: ports as numbers.
    pub numeric: bool,
}

/// Looks up how many addresses a table or an interface has now, for `-vv`; `None` where it has none at all.
pub type Counter<'a> = &'a dyn Fn(&Address, Option<Af>) -> Option<usize>;

/// The text of an address (`print_addr`).
pub fn address_text(address: &Address, af: Option<Af>) -> String {
    counted_address_text(address, af, None)
}

fn counted_address_text(address: &Address, af: Option<Af>, counter: Option<Counter<'_>>) -> String {
    let count = |missing_at: usize| match counter {
        None => String::new(),
        Some(counter) => match counter(address, af) {
            Some(count) if count >= missing_at => format!(":{count}"),
            Some(_) | None => ":*".to_owned(),
        },
    };
    let suffix = |bits: u8| match af {
        Some(af) if bits < af.bits() => format!("/{bits}"),
        Some(_) | None => String::new(),
    };
    match address {
        Address::Any => "any".to_owned(),
        Address::NoRoute => "no-route".to_owned(),
        Address::UrpfFailed => "urpf-failed".to_owned(),
        Address::Net { address, bits } => {
            let bits = if *bits < Af::of(*address).bits() {
                format!("/{bits}")
            } else {
                String::new()
            };
            format!("{address}{bits}")
        }
        Address::Range { first, last } => format!("{first} - {last}"),
        Address::Table(name) => format!("<{name}{}>", count(0)),
        Address::Interface {
            name,
            modifiers,
            bits,
        } => {
            let flags = [
                (modifiers.network, ":network"),
                (modifiers.broadcast, ":broadcast"),
                (modifiers.peer, ":peer"),
                (modifiers.no_alias, ":0"),
            ];
            let flags: String = flags
                .iter()
                .filter(|(set, _)| *set)
                .map(|(_, text)| *text)
                .collect();
            format!("({name}{flags}{}){}", count(1), suffix(*bits))
        }
    }
}

/// A rule in one line, without a newline.
pub fn rule_text(rule: &Rule, style: Style, counter: Option<Counter<'_>>) -> String {
    let counter = counter.filter(|_| style.numbered);
    let mut text = String::new();
    if style.numbered {
        text.push_str(&format!("@{} ", rule.number));
    }
    action_text(rule, &mut text);
    match rule.direction {
        Some(Direction::In) => text.push_str(" in"),
        Some(Direction::Out) => text.push_str(" out"),
        None => {}
    }
    log_text(rule, &mut text);
    if rule.quick {
        text.push_str(" quick");
    }
    if !rule.interface.is_empty() {
        text.push_str(if rule.interface_negated {
            " on ! "
        } else {
            " on "
        });
        text.push_str(&rule.interface);
    }
    if let Some(kind) = rule.route_kind {
        text.push_str(match kind {
            RouteKind::RouteTo => " route-to ",
            RouteKind::ReplyTo => " reply-to ",
            RouteKind::DupTo => " dup-to ",
        });
        text.push_str(&pool_text(&rule.route, [0, 0], PoolUse::Route));
    }
    if let Some(af) = rule.af {
        text.push(' ');
        text.push_str(af.word());
    }
    if rule.protocol != 0 {
        match names::protocol_name(rule.protocol) {
            Some(name) => text.push_str(&format!(" proto {name}")),
            None => text.push_str(&format!(" proto {}", rule.protocol)),
        }
    }
    from_to_text(rule, style, counter, &mut text);
    matches_text(rule, &mut text);
    state_text(rule, &mut text);
    options::options_text(rule, &mut text);
    if rule.anchor_call.is_empty() {
        translation_text(rule, &mut text);
    }
    text
}

/// Whether an anchor's call names one made of braces (`_1`).
pub fn is_unnamed(anchor_call: &str) -> bool {
    anchor_call
        .rsplit('/')
        .next()
        .is_some_and(|last| last.starts_with('_'))
}

fn action_text(rule: &Rule, text: &mut String) {
    let (word, anchor) = match rule.action {
        Action::Pass => ("pass", "anchor"),
        Action::Block => ("block", "anchor"),
        Action::Match => ("match", "anchor"),
        Action::Scrub => ("scrub", "anchor"),
        Action::NoScrub => ("no scrub", "anchor"),
        Action::Nat => ("nat", "nat-anchor"),
        Action::NoNat => ("no nat", "nat-anchor"),
        Action::Binat => ("binat", "binat-anchor"),
        Action::NoBinat => ("no binat", "binat-anchor"),
        Action::Rdr => ("rdr", "rdr-anchor"),
        Action::NoRdr => ("no rdr", "rdr-anchor"),
    };
    if rule.anchor_call.is_empty() {
        text.push_str(word);
        if rule.nat_pass {
            text.push_str(" pass");
        }
    } else if is_unnamed(&rule.anchor_call) {
        text.push_str(anchor);
    } else {
        text.push_str(&format!("{anchor} \"{}\"", rule.anchor_call));
    }
    if rule.action == Action::Block {
        return_text(rule, text);
    }
}

fn return_text(rule: &Rule, text: &mut String) {
    match rule.block_return {
        Return::Drop => text.push_str(" drop"),
        Return::Return => text.push_str(" return"),
        Return::Rst if rule.return_ttl == 0 => text.push_str(" return-rst"),
        Return::Rst => text.push_str(&format!(" return-rst(ttl {})", rule.return_ttl)),
        Return::Icmp => {
            let code = |value: u16, af: Af| {
                let [icmp_type, code] = value.to_be_bytes();
                names::icmp_code_name(icmp_type, code, af)
                    .map_or_else(|| code.to_string(), str::to_owned)
            };
            let (four, six) = (
                code(rule.return_icmp, Af::Inet),
                code(rule.return_icmp6, Af::Inet6),
            );
            text.push_str(&match rule.af {
                Some(Af::Inet) => format!(" return-icmp({four})"),
                Some(Af::Inet6) => format!(" return-icmp6({six})"),
                None => format!(" return-icmp({four}, {six})"),
            });
        }
    }
}

fn log_text(rule: &Rule, text: &mut String) {
    if !rule.log.on {
        return;
    }
    text.push_str(" log");
    let mut words: Vec<String> = [
        (rule.log.all, "all"),
        (rule.log.matches, "matches"),
        (rule.log.user, "user"),
    ]
    .iter()
    .filter(|(set, _)| *set)
    .map(|(_, word)| (*word).to_owned())
    .collect();
    if rule.log.interface != 0 {
        words.push(format!("to pflog{}", rule.log.interface));
    }
    if !words.is_empty() {
        text.push_str(&format!(" ({})", words.join(", ")));
    }
}

fn from_to_text(rule: &Rule, style: Style, counter: Option<Counter<'_>>, text: &mut String) {
    let (source, destination) = (&rule.source, &rule.destination);
    let silent = |end: &super::rule::RuleAddress| {
        end.address == Address::Any && !end.negated && end.port.is_none()
    };
    if silent(source) && silent(destination) && rule.os.is_none() {
        text.push_str(" all");
        return;
    }
    for (word, end) in [(" from ", source), (" to ", destination)] {
        text.push_str(word);
        if end.negated {
            text.push_str("! ");
        }
        text.push_str(&counted_address_text(&end.address, rule.af, counter));
        if let Some(port) = end.port {
            text.push_str(&port_text(port, rule.protocol, style.numeric));
        }
        if word == " from "
            && let Some(os) = &rule.os
        {
            text.push_str(&format!(" os \"{os}\""));
        }
    }
}

fn op_text(op: Op, first: &str, last: &str) -> String {
    match op {
        Op::Inside => format!(" {first} >< {last}"),
        Op::Outside => format!(" {first} <> {last}"),
        Op::Equal => format!(" = {first}"),
        Op::NotEqual => format!(" != {first}"),
        Op::Less => format!(" < {first}"),
        Op::LessEqual => format!(" <= {first}"),
        Op::Greater => format!(" > {first}"),
        Op::GreaterEqual => format!(" >= {first}"),
        Op::Range => format!(" {first}:{last}"),
    }
}

fn port_text(port: PortMatch, protocol: u8, numeric: bool) -> String {
    let name = if numeric || !matches!(port.op, Op::Equal | Op::NotEqual) {
        None
    } else {
        names::service_name(port.first, protocol == 6)
    };
    let first = name.map_or_else(|| port.first.to_string(), str::to_owned);
    format!(" port{}", op_text(port.op, &first, &port.last.to_string()))
}

fn id_text(word: &str, id: IdMatch) -> String {
    let unknown = id.first == UNKNOWN_ID && matches!(id.op, Op::Equal | Op::NotEqual);
    let first = if unknown {
        "unknown".to_owned()
    } else {
        id.first.to_string()
    };
    format!(" {word}{}", op_text(id.op, &first, &id.last.to_string()))
}

fn flag_letters(flags: u16) -> String {
    "FSRPAUEWe"
        .chars()
        .enumerate()
        .filter(|(place, _)| flags & (1 << place) != 0)
        .map(|(_, letter)| letter)
        .collect()
}

fn matches_text(rule: &Rule, text: &mut String) {
    if !rule.received_on.is_empty() {
        let not = if rule.received_on_negated { "!" } else { "" };
        text.push_str(&format!(" {not}received-on {}", rule.received_on));
    }
    if let Some(user) = rule.user {
        text.push_str(&id_text("user", user));
    }
    if let Some(group) = rule.group {
        text.push_str(&id_text("group", group));
    }
    if rule.flags != 0 || rule.flag_set != 0 {
        text.push_str(&format!(
            " flags {}/{}",
            flag_letters(rule.flags),
            flag_letters(rule.flag_set)
        ));
    } else if matches!(rule.action, Action::Pass | Action::Match)
        && matches!(rule.protocol, 0 | 6)
        && !rule.fragment
        && rule.anchor_call.is_empty()
        && rule.keep_state != KeepState::No
    {
        text.push_str(" flags any");
    }
    if rule.icmp_type != 0 {
        icmp_text(rule, text);
    }
    if rule.tos != 0 {
        text.push_str(&format!(" tos 0x{:02x}", rule.tos));
    }
    if let Some(prio) = rule.prio {
        text.push_str(&format!(" prio {prio}"));
    }
    if rule.packet_rate.0 != 0 {
        text.push_str(&format!(
            " max-pkt-rate {}/{}",
            rule.packet_rate.0, rule.packet_rate.1
        ));
    }
    if rule.max_packet_size != 0 {
        text.push_str(&format!(" max-pkt-size {}", rule.max_packet_size));
    }
}

fn icmp_text(rule: &Rule, text: &mut String) {
    let af = rule.af.unwrap_or(Af::Inet);
    let number = rule.icmp_type - 1;
    let icmp_type = u8::try_from(number).unwrap_or(u8::MAX);
    let name =
        names::icmp_type_name(icmp_type, af).map_or_else(|| number.to_string(), str::to_owned);
    text.push_str(&format!(
        " {}-type {name}",
        if af == Af::Inet6 { "icmp6" } else { "icmp" }
    ));
    if rule.icmp_code != 0 {
        let number = rule.icmp_code - 1;
        let code = u8::try_from(number).unwrap_or(u8::MAX);
        let name = names::icmp_code_name(icmp_type, code, af)
            .map_or_else(|| number.to_string(), str::to_owned);
        text.push_str(&format!(" code {name}"));
    }
}

fn state_text(rule: &Rule, text: &mut String) {
    options::set_text(rule, text);
    match rule.keep_state {
        KeepState::No if rule.action == Action::Pass && rule.anchor_call.is_empty() => {
            text.push_str(" no state")
        }
        KeepState::No => {}
        KeepState::Normal => text.push_str(" keep state"),
        KeepState::Modulate => text.push_str(" modulate state"),
        KeepState::Synproxy => text.push_str(" synproxy state"),
    }
}

fn translation_text(rule: &Rule, text: &mut String) {
    let old = match rule.action {
        Action::Nat => Some(PoolUse::Nat),
        Action::Rdr => Some(PoolUse::Rdr),
        Action::Binat => Some(PoolUse::Binat),
        Action::Pass
        | Action::Block
        | Action::Match
        | Action::Scrub
        | Action::NoScrub
        | Action::NoNat
        | Action::NoBinat
        | Action::NoRdr => None,
    };
    if let Some(use_) = old {
        text.push_str(&format!(
            " -> {}",
            pool_text(&rule.rdr, rule.rdr.ports, use_)
        ));
        return;
    }
    if !rule.nat.addresses.is_empty() {
        match (rule.af_to, rule.new_af) {
            (true, Some(af)) => text.push_str(&format!(" af-to {} from ", af.word())),
            (true, None) => text.push_str(" af-to ?  from "),
            (false, _) => text.push_str(" nat-to "),
        }
        text.push_str(&pool_text(&rule.nat, rule.nat.ports, PoolUse::Nat));
    }
    if !rule.rdr.addresses.is_empty() {
        text.push_str(if rule.af_to { " to " } else { " rdr-to " });
        text.push_str(&pool_text(&rule.rdr, rule.rdr.ports, PoolUse::Rdr));
    }
}

/// The text of a pool's kind behind its addresses.
fn kind_text(kind: PoolKind) -> String {
    match kind {
        PoolKind::Single => String::new(),
        PoolKind::Bitmask => " bitmask".to_owned(),
        PoolKind::Random => " random".to_owned(),
        PoolKind::RoundRobin => " round-robin".to_owned(),
        PoolKind::SourceHash([a, b, c, d]) => {
            format!(" source-hash 0x{a:08x}{b:08x}{c:08x}{d:08x}")
        }
    }
}
