//! What a single rule may not say: `rule_consistent` and `check_binat_redirspec` of parse.y.

use super::Parser;
use super::expand::fit_for_rdr;
use super::host::Host;
use super::translation::mask_bits;
use crate::pf::rule::{Action, Address, Af, Direction, KeepState, Return, RouteKind, Rule};

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP6: u8 = 58;
const SCTP: u8 = 132;

impl Parser<'_> {
    /// `rule_consistent`.
    pub(super) fn is_consistent(&mut self, rule: &Rule) -> bool {
        let problems = match rule.action {
            Action::Pass | Action::Match | Action::Block | Action::Scrub | Action::NoScrub => {
                filter_problems(rule)
            }
            Action::Rdr | Action::NoRdr => rdr_problems(rule),
            Action::Nat | Action::NoNat | Action::Binat | Action::NoBinat => Vec::new(),
        };
        for problem in &problems {
            self.complain(problem);
        }
        if rule.keep_state == KeepState::Synproxy && rule.direction != Some(Direction::In) {
            let place = format!("{}:{}", self.lexer.name(), self.lexer.line);
            self.warn(&format!(
                "{place}: warning: synproxy used for inbound rules only, ignored for outbound"
            ));
        }
        problems.is_empty()
    }

    /// `check_binat_redirspec`; true if something is wrong.
    pub(super) fn check_binat(&mut self, rule: &mut Rule, sources: &[Host], source: &Host) -> bool {
        let mut problems: Vec<String> = Vec::new();
        let Some(target) = rule.nat.addresses.first().cloned() else {
            return true;
        };
        if sources.len() > 1 {
            problems
                .push("invalid use of table as the source address of a binat-to rule".to_owned());
        }
        if rule.nat.addresses.len() > 1 {
            problems.push(
                "tables cannot be used as the redirect address of a binat-to rule".to_owned(),
            );
        }
        let plain = |address: &Address| {
            matches!(
                address,
                Address::Any | Address::Net { .. } | Address::Interface { .. }
            )
        };
        if let Address::Table(name) = &source.address {
            problems.push(format!(
                "invalid use of table <{name}> as the source address of a binat-to rule"
            ));
        } else if source.is_several() {
            let Address::Interface { name, .. } = &source.address else {
                return true;
            };
            problems.push(format!(
                "invalid use of interface ({name}) as the source address of a binat-to rule"
            ));
        } else if !plain(&rule.source.address) || !plain(&target.address) {
            problems.push("binat-to requires a specified source and redirect address".to_owned());
        }
        let target_host = Host {
            address: target.address.clone(),
            ..Host::default()
        };
        if source.is_several() || target_host.is_several() {
            problems.push("dynamic interfaces must be used with:0 in a binat-to rule".to_owned());
        }
        if mask_bits(&rule.source.address, rule.af) == 0 || mask_bits(&target.address, rule.af) == 0
        {
            problems.push(
                "source and redir addresses must have a matching network mask in binat-rule"
                    .to_owned(),
            );
        }
        if matches!(target.address, Address::Table(_)) {
            problems.push(
                "tables cannot be used as the redirect address of a binat-to rule".to_owned(),
            );
        }
        if rule.direction.is_some() {
            problems.push("binat-to cannot be specified with a direction".to_owned());
        }
        for problem in &problems {
            self.complain(problem);
        }
        rule.direction = Some(Direction::Out);
        !problems.is_empty()
    }
}

fn has_ports(protocol: u8) -> bool {
    matches!(protocol, TCP | UDP | SCTP)
}

/// The problems whose condition holds, in order.
fn holding(checks: &[(bool, &str)]) -> Vec<String> {
    checks
        .iter()
        .filter(|(found, _)| *found)
        .map(|(_, problem)| (*problem).to_owned())
        .collect()
}

/// `filter_consistent`, in its order.
fn filter_problems(rule: &Rule) -> Vec<String> {
    let mut problems = match_problems(rule);
    problems.extend(action_problems(rule));
    problems
}

/// What a rule matches that no packet could, or that does not go together.
fn match_problems(rule: &Rule) -> Vec<String> {
    let ports = rule.source.port.is_some() || rule.destination.port.is_some();
    let icmp = rule.icmp_type > 0 || rule.icmp_code > 0;
    let state = &rule.state;
    let mismatch = (rule.protocol == ICMP && rule.af == Some(Af::Inet6))
        || (rule.protocol == ICMP6 && rule.af == Some(Af::Inet));
    let name = if rule.protocol == ICMP {
        "icmp"
    } else {
        "icmp6"
    };
    let family = rule.af.map_or("inet6", Af::word);
    let overload =
        !state.overload.is_empty() && state.max_src_conn == 0 && state.max_src_conn_rate.1 == 0;
    let passes = matches!(rule.action, Action::Pass | Action::Match);
    let family_problem = format!("proto {name} doesn't match address family {family}");
    holding(&[
        (
            !has_ports(rule.protocol) && ports,
            "port only applies to tcp/udp/sctp",
        ),
        (
            rule.protocol != ICMP && rule.protocol != ICMP6 && icmp,
            "icmp-type/code only applies to icmp",
        ),
        (
            rule.af.is_none() && icmp,
            "must indicate address family with icmp-type/code",
        ),
        (
            rule.af_to && rule.af == rule.new_af,
            "must indicate different address family with af-to",
        ),
        (
            overload,
            "'overload' requires 'max-src-conn' or 'max-src-conn-rate'",
        ),
        (mismatch, &family_problem),
        (
            rule.allow_options && !passes,
            "allow-opts can only be specified for pass or match rules",
        ),
        (
            rule.fragment && (ports || rule.flag_set != 0 || icmp),
            "fragments can be filtered only on IP header fields",
        ),
        (
            rule.action == Action::Block
                && rule.block_return == Return::Rst
                && rule.protocol != TCP,
            "return-rst can only be applied to TCP rules",
        ),
    ])
}

/// What a rule may not do: keep state, route or translate.
fn action_problems(rule: &Rule) -> Vec<String> {
    let state = &rule.state;
    let stateful = rule.keep_state != KeepState::No;
    let modulating = matches!(rule.keep_state, KeepState::Modulate | KeepState::Synproxy);
    let translates = !rule.nat.addresses.is_empty() || !rule.rdr.addresses.is_empty();
    let is_match = rule.action == Action::Match;
    holding(&[
        (
            state.max_src_nodes > 0 && !state.source_track_rule,
            "max-src-nodes requires 'source-track rule'",
        ),
        (
            rule.action != Action::Pass && stateful,
            "keep state is great, but only for pass rules",
        ),
        (
            state.sloppy && modulating,
            "sloppy state matching cannot be used with synproxy state or modulate state",
        ),
        (
            rule.af_to && rule.route_kind == Some(RouteKind::DupTo),
            "dup-to must not be used on af-to rules",
        ),
        (
            is_match && rule.divert_port != 0,
            "divert is not supported on match rules",
        ),
        (
            is_match && rule.route_kind.is_some(),
            "route-to, reply-to, dup-to and fastroute must not be used on match rules",
        ),
        (
            is_match && rule.af_to,
            "af-to is not supported on match rules",
        ),
        (
            rule.action == Action::Block && rule.route_kind.is_some(),
            "route-to, reply-to and dup-to are not supported on block rules",
        ),
        (
            translates && !is_match && !stateful,
            "nat-to and rdr-to require keep state",
        ),
        (
            translates && rule.direction.is_none(),
            "nat-to and rdr-to require a direction",
        ),
        (
            rule.route.sticky && !stateful,
            "'sticky-address' requires 'keep state'",
        ),
    ])
}

/// `rdr_consistent`.
fn rdr_problems(rule: &Rule) -> Vec<String> {
    let portless = !has_ports(rule.protocol);
    holding(&[
        (
            portless && rule.source.port.is_some(),
            "src port only applies to tcp/udp/sctp",
        ),
        (
            portless && rule.destination.port.is_some(),
            "dst port only applies to tcp/udp/sctp",
        ),
        (
            portless && rule.rdr.ports[0] != 0,
            "rdr port only applies to tcp/udp/sctp",
        ),
        (
            !fit_for_rdr(rule.destination.port),
            "invalid port operator for rdr destination port",
        ),
    ])
}
