//! What pfctl does to filter rules before it loads them: `pfctl_optimize_ruleset` (sbin/pfctl/pfctl_optimize.c), on by
//! default.
//!
//! Neighbouring rules that act alike form a block; within one, rules that others contain are dropped, six or more that
//! differ in one address become a table, and the rest are put in an order that lets the kernel skip.

use super::address;
use super::facts::NetFacts;
use super::parse::{Parsed, TableDefinition, TableEntry};
use super::rule::{Address, Rule, RuleAddress, Ruleset, RulesetKind};

/// Rules that differ in one address only, before a table is cheaper (`TABLE_THRESHOLD`).
const TABLE_THRESHOLD: usize = 6;

/// Optimises the filter rules of a text and of the anchors inside it. `seed` stands in for arc4random(3) in the names
/// of the tables it makes.
pub(super) fn optimize(parsed: &mut Parsed, facts: &dyn NetFacts, seed: u32) {
    let mut tables = Vec::new();
    let mut rules = std::mem::take(&mut parsed.rules);
    optimize_ruleset(&mut rules, facts, seed, &mut tables);
    parsed.rules = rules;
    parsed.tables.append(&mut tables);
}

fn optimize_ruleset(
    ruleset: &mut Ruleset,
    facts: &dyn NetFacts,
    seed: u32,
    tables: &mut Vec<TableDefinition>,
) {
    let mut blocks: Vec<Vec<Rule>> = Vec::new();
    for mut rule in std::mem::take(ruleset.rules_mut(RulesetKind::Filter)) {
        if let Some(inline) = rule.inline.as_mut() {
            optimize_ruleset(inline, facts, seed, tables);
        }
        match blocks
            .last_mut()
            .filter(|block| belongs(block, &rule, facts))
        {
            Some(block) => block.push(rule),
            None => blocks.push(vec![rule]),
        }
    }
    let mut rules = Vec::new();
    for mut block in blocks {
        if block.len() > 1 {
            remove_contained(&mut block);
            combine(&mut block, seed, tables);
            block = reorder(block);
        }
        rules.append(&mut block);
    }
    for (number, rule) in (0_u32..).zip(&mut rules) {
        rule.number = number;
    }
    *ruleset.rules_mut(RulesetKind::Filter) = rules;
}

/// Whether a rule may join a block (`superblock_inclusive`).
fn belongs(block: &[Rule], rule: &Rule, facts: &dyn NetFacts) -> bool {
    let Some(first) = block.first() else {
        return false;
    };
    let state = &rule.state;
    let barrier = !rule.labels.is_empty()
        || rule.probability != 0
        || state.max != 0
        || state.max_src_nodes != 0
        || state.max_src_states != 0
        || state.max_src_conn != 0
        || state.max_src_conn_rate != (0, 0)
        || !rule.anchor_call.is_empty()
        || state.source_track_rule;
    if barrier {
        return false;
    }
    // A group may hold the other rule's interface, so that their order counts.
    let group = |name: &str| !name.is_empty() && !facts.group_members(name).is_empty();
    if (group(&first.interface) || group(&rule.interface))
        && !first.interface.eq_ignore_ascii_case(&rule.interface)
    {
        return false;
    }
    without_mergeable(first) == without_mergeable(rule)
}

/// The rule without what may differ within a block (`NOMERGE` and weaker).
fn without_mergeable(rule: &Rule) -> Rule {
    let mut bare = without_addresses(rule);
    let plain = Rule::new(rule.action);
    (bare.af, bare.direction, bare.protocol) = (None, None, 0);
    (bare.interface, bare.interface_negated) = (String::new(), false);
    (bare.tagged, bare.tagged_negated, bare.os) = (String::new(), false, None);
    bare.state.timeouts = plain.state.timeouts;
    (bare.return_icmp, bare.return_icmp6) = (0, 0);
    (bare.user, bare.group) = (None, None);
    (bare.icmp_type, bare.icmp_code) = (0, 0);
    (bare.flags, bare.flag_set, bare.tos) = (0, 0, 0);
    (bare.source, bare.destination) = (RuleAddress::default(), RuleAddress::default());
    bare
}

/// The rule without its addresses and its number (`COMBINED` and weaker).
fn without_addresses(rule: &Rule) -> Rule {
    let mut bare = Rule {
        number: 0,
        ..rule.clone()
    };
    bare.source.address = Address::Any;
    bare.destination.address = Address::Any;
    (bare.scrub.max_mss, bare.scrub.min_ttl) = (0, 0);
    bare
}

/// Pass 1: drops rules that another of the block contains (`remove_identical_rules`).
fn remove_contained(block: &mut Vec<Rule>) {
    let mut first = 0;
    while first < block.len() {
        let mut second = first + 1;
        let mut removed_first = false;
        while second < block.len() {
            let (one, two) = (comparable(&block[first]), comparable(&block[second]));
            if contains(&one, &two) {
                block.remove(second);
            } else if contains(&two, &one) {
                block.remove(first);
                removed_first = true;
                break;
            } else {
                second += 1;
            }
        }
        if !removed_first {
            first += 1;
        }
    }
}

fn comparable(rule: &Rule) -> Rule {
    let mut rule = Rule {
        number: 0,
        ..rule.clone()
    };
    (rule.scrub.max_mss, rule.scrub.min_ttl) = (0, 0);
    rule
}

/// Whether `sub` is `sup` once what `sup` leaves open is taken from it (`exclude_supersets`).
fn contains(sup: &Rule, sub: &Rule) -> bool {
    let mut sub = sub.clone();
    if sup.interface.is_empty() {
        sub.interface.clear();
    }
    if sup.direction.is_none() {
        sub.direction = None;
    }
    let open = sup.protocol == 0 || sup.protocol == sub.protocol;
    if open && (sup.flags, sup.flag_set) == (0, 0) {
        (sub.flags, sub.flag_set) = (0, 0);
    }
    if sup.protocol == 0 {
        sub.protocol = 0;
    }
    for (sup_end, sub_end) in [
        (&sup.source, &mut sub.source),
        (&sup.destination, &mut sub.destination),
    ] {
        if sup_end.port.is_none() {
            sub_end.port = None;
        }
        let (sup_bits, sub_bits) = (bits_of(&sup_end.address), bits_of(&sub_end.address));
        if sup_end.address == Address::Any && !sup_end.negated && !sub_end.negated {
            sub_end.address = Address::Any;
        } else if let (Some((network, wide)), Some((host, narrow))) = (sup_bits, sub_bits)
            && sup_end.negated == sub_end.negated
            && sup.af == sub.af
            && wide < narrow
            && address::contains(network, wide, host)
        {
            sub_end.address = sup_end.address.clone();
        }
    }
    if sup.af.is_none() {
        sub.af = None;
    }
    *sup == sub
}

fn bits_of(address: &Address) -> Option<(std::net::IpAddr, u8)> {
    match address {
        Address::Net { address, bits } => Some((*address, *bits)),
        Address::Any
        | Address::Range { .. }
        | Address::Interface { .. }
        | Address::Table(_)
        | Address::NoRoute
        | Address::UrpfFailed => None,
    }
}

/// Pass 2: rules that differ in one address become one with a table (`combine_rules`).
fn combine(block: &mut Vec<Rule>, seed: u32, tables: &mut Vec<TableDefinition>) {
    for is_source in [false, true] {
        let mut place = 0;
        while place < block.len() {
            let like: Vec<usize> = (place..block.len())
                .filter(|other| combineable(&block[place], &block[*other], is_source))
                .collect();
            if like.len() >= TABLE_THRESHOLD {
                let name = format!("__automatic_{seed:x}_{}", tables.len());
                let entries = like
                    .iter()
                    .filter_map(|place| entry(end(&block[*place], is_source)))
                    .collect();
                tables.push(TableDefinition {
                    name: name.clone(),
                    constant: true,
                    entries: Some(entries),
                    ..TableDefinition::default()
                });
                end_mut(&mut block[place], is_source).address = Address::Table(name);
                for other in like[1..].iter().rev() {
                    block.remove(*other);
                }
            }
            place += 1;
        }
    }
}

fn end(rule: &Rule, is_source: bool) -> &RuleAddress {
    if is_source {
        &rule.source
    } else {
        &rule.destination
    }
}

fn end_mut(rule: &mut Rule, is_source: bool) -> &mut RuleAddress {
    if is_source {
        &mut rule.source
    } else {
        &mut rule.destination
    }
}

fn entry(end: &RuleAddress) -> Option<TableEntry> {
    bits_of(&end.address).map(|(address, bits)| TableEntry {
        address,
        bits,
        negated: false,
    })
}

/// Whether two rules are alike but for a network at this end.
fn combineable(one: &Rule, two: &Rule, is_source: bool) -> bool {
    let (this, other) = (end(one, is_source), end(two, is_source));
    bits_of(&this.address).is_some()
        && bits_of(&other.address).is_some()
        && this.negated == other.negated
        && this.port == other.port
        && end(one, !is_source) == end(two, !is_source)
        && without_addresses(one) == without_addresses(two)
}

/// The eight attributes that the kernel can skip by, in its order (`PF_SKIP_*`).
const STEPS: usize = 8;

/// Whether two rules share an attribute in a way that lets the kernel skip.
fn shares(step: usize, one: &Rule, two: &Rule) -> bool {
    let address = |one: &RuleAddress, two: &RuleAddress| {
        one.negated == two.negated && one.address == two.address && one.address != Address::Any
    };
    let port = |one: &RuleAddress, two: &RuleAddress| one.port.is_some() && one.port == two.port;
    match step {
        0 => {
            !one.interface.is_empty()
                && (&one.interface, one.interface_negated)
                    == (&two.interface, two.interface_negated)
        }
        1 => one.direction.is_some() && one.direction == two.direction,
        2 => one.af.is_some() && one.af == two.af,
        3 => one.protocol != 0 && one.protocol == two.protocol,
        4 => address(&one.source, &two.source),
        5 => port(&one.source, &two.source),
        6 => address(&one.destination, &two.destination),
        _ => port(&one.destination, &two.destination),
    }
}

/// Pass 3: puts rules next to each other that share most (`reorder_rules`).
fn reorder(rules: Vec<Rule>) -> Vec<Rule> {
    // For each attribute, groups of places, the largest first as they grow (`skip_append`).
    let mut lists: Vec<Vec<Vec<usize>>> = vec![Vec::new(); STEPS];
    for (step, groups) in lists.iter_mut().enumerate() {
        for (place, rule) in rules.iter().enumerate() {
            let found = groups
                .iter()
                .position(|group| shares(step, &rules[group[0]], rule));
            let mut at = found.unwrap_or_else(|| {
                groups.push(Vec::new());
                groups.len() - 1
            });
            groups[at].push(place);
            while at > 0 && groups[at - 1].len() < groups[at].len() {
                groups.swap(at - 1, at);
                at -= 1;
            }
        }
    }
    // An attribute that all rules share, or none do, is of no use.
    let useful: Vec<bool> = lists
        .iter()
        .map(|groups| (2..rules.len()).contains(&groups[0].len()))
        .collect();
    if !useful.contains(&true) {
        return rules;
    }
    let mut left: Vec<Option<Rule>> = rules.into_iter().map(Some).collect();
    let mut ordered = Vec::new();
    let mut idle: Vec<bool> = useful.iter().map(|useful| !useful).collect();
    loop {
        let mut best: Option<(usize, usize)> = None;
        for (step, groups) in lists.iter().enumerate() {
            let size = if idle[step] {
                0
            } else {
                groups.first().map_or(0, Vec::len)
            };
            if size > best.map_or(1, |(_, size)| size) {
                best = Some((step, size));
            }
        }
        let Some((step, _)) = best else { break };
        let group = lists[step].remove(0);
        let mut taken: Vec<Rule> = group
            .iter()
            .filter_map(|place| left[*place].take())
            .collect();
        for (other, groups) in lists.iter_mut().enumerate() {
            remove_places(groups, &group, other == step);
        }
        if lists[step].is_empty() {
            idle[step] = true;
        }
        if taken.len() > 2 {
            taken = reorder(taken);
        }
        ordered.append(&mut taken);
    }
    ordered.extend(left.into_iter().flatten());
    ordered
}

/// Takes rules that found their place out of the other groups, keeping the largest first.
fn remove_places(groups: &mut [Vec<usize>], gone: &[usize], own: bool) {
    if own {
        return;
    }
    for place in gone {
        let Some(mut at) = groups.iter().position(|group| group.contains(place)) else {
            continue;
        };
        groups[at].retain(|known| known != place);
        while at + 1 < groups.len() && groups[at + 1].len() > groups[at].len() {
            groups.swap(at, at + 1);
            at += 1;
        }
    }
}
