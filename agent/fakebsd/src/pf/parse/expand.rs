//! One line with lists becomes many rules: `expand_rule` of parse.y, in its order of loops.

use super::Parser;
use super::host::Host;
use super::port::{FromTo, IcmpItem, InterfaceItem, Peer, PortRange};
use super::redirect::Redirect;
use crate::pf::rule::{
    Action, Address, Af, Direction, IdMatch, KeepState, Op, Pool, PoolAddress, PoolKind, PortMatch,
    Rule, Ruleset,
};

/// TCP's number.
const TCP: u8 = 6;
/// The ports that NAT picks from unless told (`PF_NAT_PROXY_PORT_LOW`, `_HIGH`).
pub(crate) const NAT_PORTS: [u16; 2] = [50_001, 65_535];

/// The lists of a line. An empty one stands for one item that says nothing.
#[derive(Debug, Clone, Default)]
pub(super) struct Expansion {
    pub(super) interfaces: Vec<InterfaceItem>,
    pub(super) nat: Option<Redirect>,
    /// Also the target of an old-style translation rule.
    pub(super) rdr: Option<Redirect>,
    pub(super) route: Option<Redirect>,
    pub(super) protocols: Vec<u8>,
    pub(super) ends: FromTo,
    pub(super) users: Vec<IdMatch>,
    pub(super) groups: Vec<IdMatch>,
    pub(super) received_on: Option<InterfaceItem>,
    pub(super) icmp: Vec<IcmpItem>,
    pub(super) anchor_call: String,
    pub(super) inline: Option<Box<Ruleset>>,
}

/// One combination of items.
#[derive(Clone, Copy)]
struct Combination<'a> {
    interface: &'a InterfaceItem,
    protocol: u8,
    icmp: IcmpItem,
    source: &'a Host,
    destination: &'a Host,
    source_port: Option<PortMatch>,
    destination_port: Option<PortMatch>,
    os: Option<&'a String>,
    user: Option<IdMatch>,
    group: Option<IdMatch>,
}

fn or_nothing<T: Clone + Default>(items: &[T]) -> Vec<T> {
    if items.is_empty() {
        vec![T::default()]
    } else {
        items.to_vec()
    }
}

fn options<T: Clone>(items: &[T]) -> Vec<Option<T>> {
    if items.is_empty() {
        vec![None]
    } else {
        items.iter().cloned().map(Some).collect()
    }
}

impl Parser<'_> {
    /// Appends a rule for each combination that agrees with itself.
    pub(super) fn expand(&mut self, rule: Rule, lists: &Expansion) {
        let (interfaces, icmp) = (or_nothing(&lists.interfaces), or_nothing(&lists.icmp));
        let protocols = or_nothing(&lists.protocols);
        let sources = or_nothing(&lists.ends.source.hosts);
        let destinations = or_nothing(&lists.ends.destination.hosts);
        let source_ports = options(&lists.ends.source.ports);
        let destination_ports = options(&lists.ends.destination.ports);
        let (users, groups) = (options(&lists.users), options(&lists.groups));
        let oses: Vec<Option<&String>> = if lists.ends.os.is_empty() {
            vec![None]
        } else {
            lists.ends.os.iter().map(Some).collect()
        };
        let mut combinations = Vec::new();
        for interface in &interfaces {
            for protocol in &protocols {
                for icmp in &icmp {
                    for source in &sources {
                        for destination in &destinations {
                            let base = Combination {
                                interface,
                                protocol: *protocol,
                                icmp: *icmp,
                                source,
                                destination,
                                source_port: None,
                                destination_port: None,
                                os: None,
                                user: None,
                                group: None,
                            };
                            if !self.agrees(&rule, &base) {
                                continue;
                            }
                            for source_port in &source_ports {
                                for destination_port in &destination_ports {
                                    for os in &oses {
                                        for user in &users {
                                            for group in &groups {
                                                combinations.push(Combination {
                                                    source_port: *source_port,
                                                    destination_port: *destination_port,
                                                    os: *os,
                                                    user: *user,
                                                    group: *group,
                                                    ..base
                                                });
                                            }
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
        // An error stays with the rest of the line: every later combination is skipped too.
        let mut failed = false;
        let mut added = false;
        for combination in &combinations {
            added |= self.expand_one(&rule, lists, combination, &mut failed);
        }
        if !added {
            self.complain("rule expands to no valid combination");
        }
    }

    /// Families must agree, and a link-local address must belong to the rule's interface.
    fn agrees(&self, rule: &Rule, combination: &Combination<'_>) -> bool {
        let (source, destination) = (combination.source, combination.destination);
        let differ = |a: Option<Af>, b: Option<Af>| a.is_some() && b.is_some() && a != b;
        let name = &combination.interface.name;
        let index = self
            .facts
            .interface(name)
            .map_or(0, |interface| interface.index);
        let elsewhere = |scope: u32| scope != 0 && !name.is_empty() && scope != index;
        !differ(rule.af, source.af)
            && !differ(rule.af, destination.af)
            && !differ(source.af, destination.af)
            && (source.scope == 0 || destination.scope == 0 || source.scope == destination.scope)
            && !elsewhere(source.scope)
            && !elsewhere(destination.scope)
    }

    fn scope_name(&self, scope: u32) -> Option<String> {
        let of = |name: &String| {
            self.facts
                .interface(name)
                .is_some_and(|found| found.index == scope)
        };
        if scope == 0 {
            None
        } else {
            self.facts.interface_names().into_iter().find(of)
        }
    }

    fn expand_one(
        &mut self,
        base: &Rule,
        lists: &Expansion,
        one: &Combination<'_>,
        failed: &mut bool,
    ) -> bool {
        let mut rule = base.clone();
        rule.new_af = if rule.af_to {
            lists.nat.as_ref().and_then(|nat| nat.af)
        } else {
            rule.new_af
        };
        rule.af = rule.af.or(one.source.af).or(one.destination.af);
        rule.interface = if one.interface.name.is_empty() {
            self.scope_name(one.source.scope)
                .or_else(|| self.scope_name(one.destination.scope))
                .unwrap_or_default()
        } else {
            one.interface.name.clone()
        };
        rule.interface_negated = one.interface.negated;
        let (source, destination) = (one.source.fitted(rule.af), one.destination.fitted(rule.af));
        *failed |= !self.netmask_fits(std::slice::from_ref(&source), rule.af);
        *failed |= !self.netmask_fits(std::slice::from_ref(&destination), rule.af);
        rule.protocol = one.protocol;
        rule.source.address = source.address.clone();
        (rule.source.negated, rule.source.port) = (source.negated, one.source_port);
        rule.destination.address = destination.address.clone();
        (rule.destination.negated, rule.destination.port) =
            (destination.negated, one.destination_port);
        (rule.user, rule.group) = (one.user, one.group);
        if let Some(received_on) = &lists.received_on {
            rule.received_on.clone_from(&received_on.name);
            rule.received_on_negated = received_on.negated;
        }
        (rule.icmp_type, rule.icmp_code) = (one.icmp.icmp_type, one.icmp.code);
        let not_tcp = rule.protocol != 0 && rule.protocol != TCP;
        if not_tcp {
            (rule.flags, rule.flag_set) = (0, 0);
            if matches!(rule.keep_state, KeepState::Modulate | KeepState::Synproxy) {
                rule.keep_state = KeepState::Normal;
            }
        }
        if one.icmp.protocol != 0 && rule.protocol != one.icmp.protocol {
            self.complain("icmp-type mismatch");
            *failed = true;
        }
        rule.os = one.os.cloned();
        *failed |= self.apply_redirects(&mut rule, lists).is_err();
        let binat = lists.nat.as_ref().filter(|nat| nat.binat);
        if binat.is_some() {
            *failed |= self.check_binat(&mut rule, &lists.ends.source.hosts, one.source);
        }
        let consistent = self.is_consistent(&rule);
        let added = consistent && !*failed;
        if added {
            rule.number = self.next_number();
            rule.anchor_call.clone_from(&lists.anchor_call);
            rule.inline.clone_from(&lists.inline);
            self.append(rule.clone());
        } else {
            self.complain("skipping rule due to errors");
        }
        if let Some(nat) = binat
            && !*failed
        {
            self.expand_binat_return(&rule, lists, one, nat);
        }
        added
    }

    fn apply_redirects(&mut self, rule: &mut Rule, lists: &Expansion) -> Result<(), ()> {
        let ports = rule
            .destination
            .port
            .map_or((0, 0), |port| (port.first, port.last));
        let mut outcome = Ok(());
        let mut merge = |done: Result<(), ()>| {
            if done.is_err() {
                outcome = Err(());
            }
        };
        match rule.action {
            Action::Nat => {
                merge(self.apply_nat_ports(&mut rule.rdr, lists.rdr.as_ref()));
                merge(self.apply_pool(&mut rule.rdr, lists.rdr.as_ref()));
            }
            Action::Rdr
            | Action::Pass
            | Action::Block
            | Action::Match
            | Action::Scrub
            | Action::NoScrub
            | Action::NoNat
            | Action::Binat
            | Action::NoBinat
            | Action::NoRdr => {
                merge(self.apply_pool(&mut rule.route, lists.route.as_ref()));
                merge(self.apply_nat_ports(&mut rule.nat, lists.nat.as_ref()));
                merge(self.apply_pool(&mut rule.nat, lists.nat.as_ref()));
                if let Some(rdr) = &lists.rdr {
                    let found = self.rdr_ports(rdr, ports);
                    rule.rdr.ports = found.unwrap_or(rule.rdr.ports);
                    merge(found.map(|_| ()));
                }
                merge(self.apply_pool(&mut rule.rdr, lists.rdr.as_ref()));
            }
        }
        outcome
    }

    fn apply_nat_ports(&mut self, pool: &mut Pool, redirect: Option<&Redirect>) -> Result<(), ()> {
        let Some(redirect) = redirect else {
            return Ok(());
        };
        let PortRange { first, last, .. } = redirect.port;
        pool.ports = match (first, last) {
            (0, 0) => NAT_PORTS,
            (first, 0) => [first, first],
            (first, last) => [first, last],
        };
        let chosen = pool.ports[0] != NAT_PORTS[0] && pool.ports[1] != NAT_PORTS[1];
        if redirect.options.static_port {
            if chosen {
                self.complain(
                    "the 'static-port' option can't be used when specifying a port range",
                );
                return Err(());
            }
            pool.ports = [0, 0];
        }
        if redirect.options.map_e.is_some() {
            if redirect.options.static_port {
                self.complain("the 'map-e-portset' option can't be used 'static-port'");
                return Err(());
            }
            if chosen {
                self.complain(
                    "the 'map-e-portset' option can't be used when specifying a port range",
                );
                return Err(());
            }
            pool.map_e = redirect.options.map_e;
        }
        Ok(())
    }

    /// `apply_redirspec`.
    fn apply_pool(&mut self, pool: &mut Pool, redirect: Option<&Redirect>) -> Result<(), ()> {
        let Some(redirect) = redirect else {
            return Ok(());
        };
        let Some(first) = redirect.hosts.first() else {
            return Ok(());
        };
        let several = redirect.hosts.len() > 1;
        let table = matches!(first.address, Address::Table(_));
        pool.kind = match redirect.options.kind {
            None if several || table || first.is_several() => PoolKind::RoundRobin,
            None => PoolKind::Single,
            Some(kind) => kind,
        };
        if !matches!(
            pool.kind,
            PoolKind::RoundRobin | PoolKind::Random | PoolKind::SourceHash(_)
        ) {
            for host in &redirect.hosts {
                if let Address::Table(_) = host.address {
                    self.complain("tables are not supported by pool type");
                    return Err(());
                }
                if let Address::Interface { name, .. } = &host.address
                    && host.is_several()
                {
                    self.complain(&format!("interface ({name}) is not supported by pool type"));
                    return Err(());
                }
            }
        }
        if several && pool.kind != PoolKind::RoundRobin {
            self.complain("r.route.opts must be PF_POOL_ROUNDROBIN");
            return Err(());
        }
        pool.sticky = redirect.options.sticky;
        pool.endpoint_independent = redirect.options.endpoint_independent;
        pool.ipv6_nexthop = redirect.options.ipv6_nexthop;
        pool.addresses = redirect
            .hosts
            .iter()
            .map(|host| PoolAddress {
                address: host.address.clone(),
                af: host.af,
                interface: host.interface.clone(),
            })
            .collect();
        Ok(())
    }

    /// The inbound rule that belongs to `binat-to` (`add_binat_rdr_rule`).
    fn expand_binat_return(
        &mut self,
        rule: &Rule,
        lists: &Expansion,
        one: &Combination<'_>,
        nat: &Redirect,
    ) {
        let mut inbound = rule.clone();
        inbound.direction = Some(Direction::In);
        (inbound.nat, inbound.rdr) = (Pool::default(), Pool::default());
        let mut target = nat.clone();
        target.binat = false;
        target.options.static_port = false;
        target.hosts = vec![Host {
            interface: String::new(),
            ..one.source.clone()
        }];
        let public = nat.hosts.first().cloned().unwrap_or_default();
        let public = Host {
            address: public.address,
            ..Host::default()
        };
        let peer = |host: &Host, port: Option<PortMatch>| Peer {
            hosts: vec![host.clone()],
            ports: port.into_iter().collect(),
        };
        let expansion = Expansion {
            interfaces: vec![one.interface.clone()],
            rdr: Some(target),
            protocols: vec![one.protocol],
            ends: FromTo {
                source: peer(one.destination, one.destination_port),
                os: one.os.into_iter().cloned().collect(),
                destination: peer(&public, one.source_port),
            },
            users: one.user.into_iter().collect(),
            groups: one.group.into_iter().collect(),
            received_on: lists.received_on.clone(),
            icmp: vec![one.icmp],
            ..Expansion::default()
        };
        self.expand(inbound, &expansion);
    }
}

/// Whether an operator of a port is fit for `rdr`.
pub(super) fn fit_for_rdr(port: Option<PortMatch>) -> bool {
    port.is_none_or(|port| matches!(port.op, Op::Equal | Op::Range))
}
