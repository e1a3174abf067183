//! Reads what pfctl(8) prints. Rules are never compared as text, because pfctl prints them in another form than they were written (recording `05`); what is loaded is told by a label.

use std::collections::BTreeSet;
use std::net::IpAddr;

use cellblock_agent_core::firewall::Flow;
use cellblock_agent_core::names::ANCHOR_ROOT;
use cellblock_agent_core::observed::{AnchorReference, QuickRule};
use cellblock_agent_core::pf_conf;
use cellblock_agent_core::render::pf::HASH_LABEL;
use ipnet::IpNet;

use crate::command::Command;

/// What pfctl says when the module is not loaded (recording `05`).
const NO_DEVICE: &str = "/dev/pf: No such file or directory";

/// Whether pfctl's complaint says that pf is not loaded, which is a state and no error.
#[must_use]
pub fn is_not_loaded(stderr: &str) -> bool {
    stderr.contains(NO_DEVICE)
}

/// Whether pfctl's complaint says that an anchor does not exist: `Anchor does not exist.` (15, `pf_strerror`), `Anchor 'x' not found.` (14), `DIOCGETRULES: Invalid argument` (recording `05`).
#[must_use]
pub fn is_no_anchor(stderr: &str) -> bool {
    stderr.contains("Anchor does not exist")
        || (stderr.contains("Anchor '") && stderr.contains("' not found"))
        || stderr.contains("Invalid argument")
}

/// Whether pfctl was kept from reading by the securelevel of whoever asks (EPERM; strerror(3)).
#[must_use]
pub fn is_not_permitted(stderr: &str) -> bool {
    stderr.contains("Operation not permitted")
}

/// Reads rules, and loads nothing.
pub(crate) fn check(inside: Option<&str>, anchor: &str, rules: &str) -> Command {
    Command::pfctl(inside, ["-o", "none", "-a", anchor, "-n", "-f", "-"]).stdin(rules)
}

/// Reads `pfctl -s info`: whether pf is enabled; none if the text has no status.
#[must_use]
pub fn parse_enabled(text: &str) -> Option<bool> {
    let status = text
        .lines()
        .find_map(|line| line.strip_prefix("Status: "))?;
    Some(status.starts_with("Enabled"))
}

/// Reads `pfctl -sr` or `-sn` of the main ruleset: which lines refer to all anchors of ours, unconditionally.
#[must_use]
pub fn parse_references(text: &str) -> BTreeSet<AnchorReference> {
    pf_conf::references(text)
}

/// Reads `pfctl -sr` of the main ruleset: the `quick` rules before our `anchor` that ask for nothing but a direction, an interface and a family (`print_rule`, sbin/pfctl/pfctl_parser.c). None where the
/// anchor is not there at all.
#[must_use]
pub fn parse_before_us(text: &str) -> Vec<QuickRule> {
    let anchor = format!("anchor \"{ANCHOR_ROOT}/*\"");
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let Some(place) = lines.iter().position(|line| line.starts_with(&anchor)) else {
        return Vec::new();
    };
    lines[..place]
        .iter()
        .filter_map(|line| quick_rule(line))
        .collect()
}

fn quick_rule(line: &str) -> Option<QuickRule> {
    let mut words = line.split_whitespace().peekable();
    let passes = match words.next()? {
        "pass" => true,
        "block" => false,
        _ => return None,
    };
    if !passes {
        // `drop`, `return`, `return-rst(ttl 5)`, `return-icmp(port-unr, port-unr)` …
        while words
            .next_if(|word| !matches!(*word, "in" | "out" | "quick" | "log" | "on" | "all"))
            .is_some()
        {}
    }
    let inward = words
        .next_if(|word| matches!(*word, "in" | "out"))
        .map(|word| word == "in");
    if words.next_if_eq(&"log").is_some() && words.peek().is_some_and(|word| word.starts_with('('))
    {
        // `(all, to pflog1)`
        while !words.next()?.ends_with(')') {}
    }
    words.next_if_eq(&"quick")?;
    let mut interface = None;
    if words.next_if_eq(&"on").is_some() {
        interface = Some(words.next().filter(|word| *word != "!")?.to_owned());
    }
    words.next_if(|word| matches!(*word, "inet" | "inet6"));
    words.next_if_eq(&"all")?;
    // What is behind narrows the rule, or says what else is done with what it matches.
    let narrows = [
        "flags",
        "user",
        "group",
        "icmp-type",
        "icmp6-type",
        "tos",
        "tagged",
        "!",
        "fragment",
        "os",
        "received-on",
        "probability",
        "prio",
    ];
    let rest: Vec<&str> = words.collect();
    let is_narrow = rest.iter().enumerate().any(|(place, word)| {
        let is_any_flags =
            *word == "flags" && matches!(rest.get(place + 1), Some(&("any" | "S/SA")));
        narrows.contains(word) && !is_any_flags
    });
    (!is_narrow).then(|| QuickRule {
        text: line.to_owned(),
        passes,
        inward,
        interface,
    })
}

/// Reads `pfctl -vsI`: the interfaces and groups on which pf does nothing.
#[must_use]
pub fn parse_skipped(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter_map(|line| line.trim().strip_suffix(" (skip)"))
        .map(str::to_owned)
        .collect()
}

/// Reads `pfctl -a cellblock -sA`: the anchors below ours.
#[must_use]
pub fn parse_anchors(text: &str) -> BTreeSet<String> {
    text.lines()
        .map(str::trim)
        .filter(|name| {
            name.strip_prefix(ANCHOR_ROOT)
                .is_some_and(|rest| rest.starts_with('/'))
        })
        .map(str::to_owned)
        .collect()
}

/// Reads `pfctl -vvss`: the states that have `address` at either end, before or after translation, as `ID/CREATORID`.
///
/// A state is a line such as `all tcp 203.0.113.1:65255 (172.16.1.2:43986) -> 203.0.113.254:9999 FIN_WAIT_2:FIN_WAIT_2`, with a port behind `:` (IPv4) or in brackets (IPv6) where the
/// protocol has ports; indented lines below it have `id: … creatorid: …` (recording `15`).
#[must_use]
pub fn parse_states_of(text: &str, address: IpAddr) -> Vec<String> {
    parse_states(text, |line| {
        line.split_whitespace()
            .any(|word| state_address(word) == Some(address))
    })
}

/// Reads `pfctl -vvss`: the states of connections out of `from` that were translated, to `to` if it is given, as `ID/CREATORID`. Not those of the pairs of an inner and an outer address in `except`.
#[must_use]
pub fn parse_translated(
    text: &str,
    from: IpNet,
    to: Option<IpAddr>,
    except: &BTreeSet<(IpAddr, IpAddr)>,
) -> Vec<String> {
    parse_states(text, |line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, _, outer, inner, "->", ..] = words.as_slice() else {
            return false;
        };
        let (Some(outer), true, Some(inner)) = (
            state_address(outer),
            inner.starts_with('('),
            state_address(inner),
        ) else {
            return false;
        };
        from.contains(&inner)
            && to.is_none_or(|to| outer == to)
            && !except.contains(&(inner, outer))
    })
}

/// Reads `pfctl -vvss`: the states of connections that are not permitted, as `ID/CREATORID`.
///
/// Of a state that began with a packet out (`->`) the source stands first, in brackets as it was before it was translated; of one that began with a packet in (`<-`) the destination as it is after
/// that, in brackets as it was before (`print_state`, sbin/pfctl/pf_print_state.c). `origif`, some lines below, is the interface of that packet.
#[must_use]
pub fn parse_unpermitted(text: &str, permits: impl Fn(&Flow) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    let mut flow = None;
    let mut id = None;
    let mut settle = |flow: &mut Option<Flow>, id: &mut Option<String>| {
        if let (Some(flow), Some(id)) = (flow.take(), id.take())
            && !permits(&flow)
        {
            found.push(id);
        }
    };
    for line in text.lines() {
        if !line.starts_with([' ', '\t']) {
            settle(&mut flow, &mut id);
            flow = parse_flow(line);
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["id:", number, "creatorid:", creator, ..] => id = Some(format!("{number}/{creator}")),
            ["origif:", interface, ..] => {
                if let Some(flow) = &mut flow {
                    (*interface).clone_into(&mut flow.interface);
                }
            }
            _ => {}
        }
    }
    settle(&mut flow, &mut id);
    found
}

/// The first line of a state.
fn parse_flow(line: &str) -> Option<Flow> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [interface, protocol, ends @ ..] = words.as_slice() else {
        return None;
    };
    let arrow = ends.iter().position(|word| matches!(*word, "->" | "<-"))?;
    let (left, right) = (&ends[..arrow], &ends[arrow + 1..]);
    let inward = ends[arrow] == "<-";
    let is_before = |word: &&&str| word.starts_with('(');
    // The end that is the host's side of a translation: in brackets where the packet went out, before them where it came in.
    let (near, far) = if inward {
        (left.first()?, right.first()?)
    } else {
        let near = left.iter().find(is_before).or(left.first())?;
        (near, right.first()?)
    };
    let (from, to) = if inward { (far, near) } else { (near, far) };
    Some(Flow {
        interface: (*interface).to_owned(),
        inward,
        protocol: (*protocol).to_owned(),
        from: state_end(from)?,
        to: state_end(to)?,
    })
}

/// Address and port of one end of a state; port 0 where there is none.
fn state_end(word: &str) -> Option<(IpAddr, u16)> {
    let address = state_address(word)?;
    let word = word.trim_matches(['(', ')']);
    let port = match word.split_once('[') {
        Some((_, port)) => port.trim_end_matches(']').parse().ok(),
        None if word.contains('.') => word.split_once(':').and_then(|(_, port)| port.parse().ok()),
        None => None,
    };
    Some((address, port.unwrap_or(0)))
}

/// The states whose first line is `wanted`, as `ID/CREATORID`.
fn parse_states(text: &str, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    let mut concerned = false;
    for line in text.lines() {
        if !line.starts_with([' ', '\t']) {
            concerned = wanted(line);
            continue;
        }
        let mut words = line.split_whitespace();
        if let (true, Some("id:"), Some(id), Some("creatorid:"), Some(creator)) = (
            concerned,
            words.next(),
            words.next(),
            words.next(),
            words.next(),
        ) {
            found.push(format!("{id}/{creator}"));
        }
    }
    found
}

/// The address of one end of a state: `192.0.2.3:80`, `(192.0.2.3:80)`, `fd00::3[80]`, or without a port.
fn state_address(word: &str) -> Option<IpAddr> {
    let word = word.trim_matches(['(', ')']);
    let address = match word.split_once('[') {
        Some((address, _)) => address,
        None if word.contains('.') => word.split(':').next()?,
        None => word,
    };
    let address = address.split('%').next()?;
    address.parse().ok()
}

/// Reads `pfctl -a ANCHOR -sl`: the hash that its label states.
#[must_use]
pub fn parse_hash(text: &str) -> Option<String> {
    text.split_whitespace()
        .find_map(|word| word.strip_prefix(HASH_LABEL))
        .map(str::to_owned)
}

/// Whether an anchor that states `hash` has as many translations as `hash` ends with, by `pfctl -a ANCHOR -sn`. They are a ruleset of their own, and `pfctl -a ANCHOR -F nat` takes
/// them away and leaves the rules with the label (recording `15`).
#[must_use]
pub fn has_translations(hash: &str, text: &str) -> bool {
    let stated = hash
        .rsplit_once('-')
        .and_then(|(_, count)| count.parse().ok());
    let shown = text.lines().filter(|line| !line.trim().is_empty()).count();
    stated.is_none_or(|stated: usize| stated == shown)
}

/// How many addresses the tables of an anchor that states `hash` must have; none where it has no table. `pfctl -a ANCHOR -F Tables` takes them away and leaves the rules with the label, which then
/// match nothing.
#[must_use]
pub fn table_addresses(hash: &str) -> Option<usize> {
    let (_, numbers) = hash.split_once('+')?;
    let (count, _) = numbers.split_once('-')?;
    count.parse().ok()
}

/// The tables that rules name: `from <pwcxg4…> to any`.
#[must_use]
pub fn tables_of(rules: &str) -> BTreeSet<&str> {
    let words = rules.split_whitespace();
    let names = words.filter_map(|word| word.strip_prefix('<')?.strip_suffix('>'));
    names.collect()
}

/// Reads `pfctl -a ANCHOR -sT`: the tables.
#[must_use]
pub fn parse_tables(text: &str) -> Vec<&str> {
    text.lines()
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect()
}

#[cfg(test)]
mod tests;
