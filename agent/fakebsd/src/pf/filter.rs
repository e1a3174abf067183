//! What pf does to one packet crossing one interface (`pf_test` of sys/netpfil/pf/pf.c).
//!
//! `set skip`, then states, then translation through the anchors that the main ruleset refers to, then filter rules:
//! the last one that matches decides, `quick` ends the walk. The caller is the packet tracer, once per crossing.

use std::net::IpAddr;

use super::facts::NetFacts;
use super::kernel::{Pf, RuleId, SourceNode, State, StateId, StateKey};
use super::rule::{Action, Direction, Return, RouteKind, Rule};

mod matching;
mod pool;
mod scrub;
mod track;
mod walk;

use walk::{Findings, Found, Walk};

/// TCP's flag SYN, by the bit that pf's `S` stands for.
pub const SYN: u16 = 0x02;
/// ACK.
pub const ACK: u16 = 0x10;
/// FIN.
pub const FIN: u16 = 0x01;
/// RST.
pub const RST: u16 = 0x04;

/// ICMP's and ICMPv6's own fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Icmp {
    /// Type on the wire.
    pub icmp_type: u8,
    /// Code on the wire.
    pub code: u8,
    /// Identifier of an echo request or reply.
    pub id: u16,
}

/// A packet at an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Into the stack or out of it.
    pub direction: Direction,
    /// The interface.
    pub interface: String,
    /// Protocol number.
    pub protocol: u8,
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Source port; 0 without ports.
    pub source_port: u16,
    /// Destination port; 0 without ports.
    pub destination_port: u16,
    /// TCP flags, see [`SYN`] and its kin.
    pub flags: u16,
    /// ICMP, if it is that.
    pub icmp: Option<Icmp>,
    /// A part of a packet that nobody has put together (`PF_VPROTO_FRAGMENT`): pf sees addresses and protocol of it, makes no state of it and knows none.
    pub fragment: bool,
    /// Uid of the local socket that sends or would receive it, if there is one.
    pub user: Option<u32>,
    /// Its gid.
    pub group: Option<u32>,
    /// Bytes, header included.
    pub length: u32,
    /// The interface a forwarded packet came in through.
    pub received_on: Option<String>,
    /// The tag a rule gave it at an earlier crossing.
    pub tag: Option<String>,
    /// Whether the routing table has no way to its source (`no-route`, `urpf-failed`).
    pub unroutable_source: bool,
}

/// Whether the packet goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VerdictAction {
    /// It does.
    Pass,
    /// It does not.
    Block {
        /// The anchor of the rule that blocked it; empty for the main ruleset.
        anchor: String,
        /// The rule's number there; `None` if no rule did (no address to translate to, too many states).
        rule: Option<u32>,
        /// How the sender is told.
        answer: Return,
    },
}

/// What became of the packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it goes on.
    pub action: VerdictAction,
    /// The packet, translated; as it came if it was blocked.
    pub packet: Packet,
    /// The state it made or belongs to.
    pub state: Option<StateId>,
    /// Next hop and interface of `route-to`.
    pub route: Option<(Option<IpAddr>, String)>,
    /// Why, in words: one line per rule that had a say.
    pub explanation: Vec<String>,
}

impl Verdict {
    /// Whether the packet goes on.
    pub fn passes(&self) -> bool {
        self.action == VerdictAction::Pass
    }
}

/// Where source and destination of a packet stand in a state key.
pub(super) fn key_of(packet: &Packet) -> StateKey {
    let (source_port, destination_port) = ports_of(packet);
    let (source, destination) = (
        (packet.source, source_port),
        (packet.destination, destination_port),
    );
    let ends = match packet.direction {
        Direction::In => [source, destination],
        Direction::Out => [destination, source],
    };
    StateKey {
        protocol: packet.protocol,
        ends,
    }
}

/// Ports as rules and states see them: for an echo the identifier is the requester's port, the type the other's
/// (`pf_icmp_mapping`).
pub(super) fn ports_of(packet: &Packet) -> (u16, u16) {
    match packet.icmp {
        Some(icmp) => match track::echo(packet.protocol, icmp.icmp_type) {
            Some((request, true)) => (icmp.id, u16::from(request)),
            Some((request, false)) => (u16::from(request), icmp.id),
            None => (0, 0),
        },
        None => (packet.source_port, packet.destination_port),
    }
}

/// Puts addresses and ports into a packet.
pub(super) fn rewrite(packet: &mut Packet, source: (IpAddr, u16), destination: (IpAddr, u16)) {
    packet.source = source.0;
    packet.destination = destination.0;
    match &mut packet.icmp {
        Some(icmp) => match track::echo(packet.protocol, icmp.icmp_type) {
            Some((_, true)) => icmp.id = source.1,
            Some((_, false)) => icmp.id = destination.1,
            None => {}
        },
        None => (packet.source_port, packet.destination_port) = (source.1, destination.1),
    }
}

/// `rule 3 of anchor cellblock/net1`, or of the main ruleset.
pub(super) fn place(anchor: &str, number: u32) -> String {
    if anchor.is_empty() {
        format!("rule {number}")
    } else {
        format!("rule {number} of anchor {anchor}")
    }
}

/// The verdict on a packet that goes no further.
fn refused(
    packet: &Packet,
    anchor: String,
    rule: Option<u32>,
    answer: Return,
    explanation: Vec<String>,
) -> Verdict {
    let action = VerdictAction::Block {
        anchor,
        rule,
        answer,
    };
    Verdict {
        action,
        packet: packet.clone(),
        state: None,
        route: None,
        explanation,
    }
}

impl Pf {
    /// Decides on a packet, moves counters, makes and advances states.
    pub fn filter(&mut self, facts: &dyn NetFacts, packet: &Packet) -> Verdict {
        self.purge(facts.now());
        let pass = |reason: String| Verdict {
            action: VerdictAction::Pass,
            packet: packet.clone(),
            state: None,
            route: None,
            explanation: vec![reason],
        };
        if !self.enabled {
            return pass("pf is disabled".to_owned());
        }
        if self.skip.contains(&packet.interface) {
            return pass(format!("pf skips {}", packet.interface));
        }
        self.statistics.searches += 1;
        if !packet.fragment
            && let Some(id) = self
                .states
                .find(&key_of(packet), packet.direction, &packet.interface)
        {
            return self.follow(facts, packet, id);
        }
        self.judge(facts, packet)
    }

    /// Decides on a packet without a state.
    fn judge(&mut self, facts: &dyn NetFacts, packet: &Packet) -> Verdict {
        let (outcome, mut findings) = self.walk_rules(facts, packet);
        if let Err(failed) = outcome {
            *self.statistics.reasons.entry(walk::MAP_FAILED).or_default() += 1;
            findings.trail.push(failed);
            return refused(packet, String::new(), None, Return::Drop, findings.trail);
        }
        *self.statistics.reasons.entry(0).or_default() += 1;
        self.count_packet(packet, &findings);
        let deciding = findings.deciding().cloned();
        if let Some(one) = deciding
            .as_ref()
            .filter(|one| one.rule.action == Action::Block)
        {
            let (anchor, number) = (one.id.anchor.clone(), one.number);
            findings
                .trail
                .push(format!("blocked by {}", place(&anchor, number)));
            let answer = one.rule.block_return;
            return refused(packet, anchor, Some(number), answer, findings.trail);
        }
        findings.trail.push(match &deciding {
            None => "no filter rule matched: passed by default".to_owned(),
            Some(one) if one.rule.nat_pass => "passed by the translation rule".to_owned(),
            Some(one) => format!("passed by {}", place(&one.id.anchor, one.number)),
        });
        let mut changed = packet.clone();
        rewrite(&mut changed, findings.current.0, findings.current.1);
        if findings.tag.is_some() {
            changed.tag = findings.tag.take();
        }
        let route = deciding
            .as_ref()
            .and_then(|one| self.route(facts, packet, one));
        let mut state = None;
        if findings.is_stateful() && track::makes_state(packet) {
            let hop = route.as_ref().and_then(|(hop, _)| *hop);
            match self.make_state(facts, packet, &changed, &findings, hop) {
                Ok(id) => state = Some(id),
                Err(reason) => {
                    findings.trail.push(reason);
                    return refused(packet, String::new(), None, Return::Drop, findings.trail);
                }
            }
        }
        let scrubbed = findings.scrub.words(packet);
        findings.trail.extend(scrubbed);
        let forward = |one: &Found| one.rule.route_kind == Some(RouteKind::RouteTo);
        let route = route.filter(|_| deciding.as_ref().is_some_and(forward));
        Verdict {
            action: VerdictAction::Pass,
            packet: changed,
            state,
            route,
            explanation: findings.trail,
        }
    }

    /// Walks translation and filter rules, and keeps their evaluations and pools.
    fn walk_rules(
        &mut self,
        facts: &dyn NetFacts,
        packet: &Packet,
    ) -> (Result<(), String>, Findings) {
        let mut walk = Walk::new(self, facts, packet);
        let outcome = walk.translate().and_then(|()| walk.filter());
        let (evaluated, advanced, findings) = walk.finish();
        for (anchor, kind, places) in evaluated {
            if let Some(anchor) = self.anchor_mut(&anchor) {
                let rules = anchor.rules_mut(kind);
                for place in places {
                    rules[place].evaluations += 1;
                }
            }
        }
        for id in advanced {
            if let Some(rule) = self.rule_mut(&id) {
                rule.next_address = rule.next_address.wrapping_add(1);
            }
        }
        self.picks += 1;
        (outcome, findings)
    }

    /// Packets and bytes of the rules that decided.
    fn count_packet(&mut self, packet: &Packet, findings: &Findings) {
        let way = usize::from(packet.direction == Direction::Out);
        let deciding = findings.deciding();
        let translated = findings.translated.as_ref();
        let ids = deciding
            .map(|one| &one.id)
            .into_iter()
            .chain(deciding.iter().flat_map(|one| one.callers.iter()))
            .chain(
                translated
                    .filter(|one| !one.rule.nat_pass)
                    .map(|one| &one.found.id),
            )
            .chain(findings.matches.iter().map(|one| &one.id));
        let ids: Vec<RuleId> = ids.cloned().collect();
        for id in ids {
            if let Some(rule) = self.rule_mut(&id) {
                rule.packets[way] += 1;
                rule.bytes[way] += u64::from(packet.length);
            }
        }
    }

    fn route(
        &self,
        facts: &dyn NetFacts,
        packet: &Packet,
        one: &Found,
    ) -> Option<(Option<IpAddr>, String)> {
        one.rule.route_kind?;
        let entry = one.rule.route.addresses.first()?;
        let hop = pool::networks_of(self, facts, &one.id.anchor, &entry.address, packet.source);
        Some((
            hop.first().map(|(address, _)| *address),
            entry.interface.clone(),
        ))
    }

    fn make_state(
        &mut self,
        facts: &dyn NetFacts,
        packet: &Packet,
        changed: &Packet,
        findings: &Findings,
        hop: Option<IpAddr>,
    ) -> Result<StateId, String> {
        let deciding = findings.deciding();
        let translated = findings.translated.as_ref();
        let default = Rule::new(Action::Pass);
        let rule = deciding.map_or(&default, |one| &one.rule);
        let used = deciding
            .and_then(|one| self.rule_mut(&one.id))
            .map_or(0, |rule| rule.states_now);
        if rule.state.max > 0 && used >= u64::from(rule.state.max) {
            return Err("the rule has as many states as it may".to_owned());
        }
        let limit = usize::try_from(self.limits[0]).unwrap_or(usize::MAX);
        if limit > 0 && self.states.len() >= limit {
            return Err("the state table is full".to_owned());
        }
        let (before, after) = (key_of(packet), key_of(changed));
        let (wire, stack) = if packet.direction == Direction::In {
            (before, after)
        } else {
            (after, before)
        };
        let now = facts.now();
        let id = self.states.next_id();
        let mut labels = rule.labels.clone();
        labels.dedup();
        let mut state = State {
            id,
            direction: packet.direction,
            interface: rule.state.if_bound.then(|| packet.interface.clone()),
            original_interface: packet.interface.clone(),
            wire,
            stack,
            progress: track::first_progress(packet.protocol),
            rule: deciding.map(|one| one.id.clone()),
            rule_number: deciding.map_or(0, |one| one.number),
            translation: translated
                .filter(|one| !one.rule.nat_pass)
                .map(|one| one.found.id.clone()),
            source_node: translated
                .filter(|one| one.rule.rdr.sticky)
                .map(|one| SourceNode {
                    source: packet.source,
                    address: if one.rule.action == Action::Rdr {
                        changed.destination
                    } else {
                        changed.source
                    },
                }),
            matches: findings.matches.iter().map(|one| one.id.clone()).collect(),
            labels,
            scrub: findings.scrub.clone(),
            route: hop,
            flags: [
                rule.state.no_sync,
                rule.state.sloppy,
                rule.state.pflow,
                rule.allow_options,
            ],
            created: now,
            expires: now,
            packets: [1, 0],
            bytes: [u64::from(packet.length), 0],
        };
        state.expires = now + track::lifetime(&state, &self.timeouts, &rule.state.timeouts, true);
        for id in state.rules() {
            if let Some(rule) = self.rule_mut(&id) {
                rule.states_now += 1;
                rule.states_total += 1;
            }
        }
        self.statistics.inserts += 1;
        self.states.insert(state);
        Ok(id)
    }

    /// A packet of a known connection: passed, and translated the way its state says.
    fn follow(&mut self, facts: &dyn NetFacts, packet: &Packet, id: StateId) -> Verdict {
        let mut changed = packet.clone();
        let now = facts.now();
        let state = self.states.get_mut(id).expect("the state was just found");
        let forward = state.direction == packet.direction;
        let (source, destination) = match packet.direction {
            Direction::In => (state.stack.ends[0], state.stack.ends[1]),
            Direction::Out => (state.wire.ends[1], state.wire.ends[0]),
        };
        rewrite(&mut changed, source, destination);
        track::advance(state, packet, forward);
        let way = usize::from(!forward);
        state.packets[way] += 1;
        state.bytes[way] += u64::from(packet.length);
        let snapshot = state.clone();
        let own = snapshot.rule.as_ref().and_then(|rule| self.rule_mut(rule));
        let own = own
            .map(|rule| rule.rule.state.timeouts.clone())
            .unwrap_or_default();
        let lifetime = track::lifetime(&snapshot, &self.timeouts, &own, false);
        if let Some(state) = self.states.get_mut(id) {
            state.expires = now + lifetime;
        }
        let way = usize::from(packet.direction == Direction::Out);
        for rule in snapshot.rules() {
            if let Some(rule) = self.rule_mut(&rule) {
                rule.packets[way] += 1;
                rule.bytes[way] += u64::from(packet.length);
            }
        }
        let how = if forward {
            "of a known connection"
        } else {
            "answers a known connection"
        };
        let scrubbed = snapshot.scrub.words(packet);
        let explanation = [format!("{how} (state {id:016x})")].into_iter();
        Verdict {
            action: VerdictAction::Pass,
            packet: changed,
            state: Some(id),
            route: None,
            explanation: explanation.chain(scrubbed).collect(),
        }
    }
}
