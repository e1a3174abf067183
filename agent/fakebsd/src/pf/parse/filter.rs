//! `pass`, `block` and `match` rules: `pfrule` of parse.y.

use super::expand::Expansion;
use super::lex::Token;
use super::port::FromTo;
use super::{Outcome, Parser, Section};
use crate::pf::address::parse_c_number;
use crate::pf::names;
use crate::pf::rule::{Action, Af, Direction, KeepState, Log, Return, RouteKind, Rule};

/// `icmp unreach, port-unr` and `icmp6 unreach, port-unr`, type in the upper byte.
const RETURN_ICMP: u16 = 0x0303;
const RETURN_ICMP6: u16 = 0x0104;
/// TCP's number.
const TCP: u8 = 6;

impl Parser<'_> {
    pub(super) fn direction(&mut self) -> Option<Direction> {
        if self.key("in") {
            Some(Direction::In)
        } else if self.key("out") {
            Some(Direction::Out)
        } else {
            None
        }
    }

    /// `logquick`: `log` and `quick` in either order.
    pub(super) fn log_and_quick(&mut self) -> Outcome<(Log, bool)> {
        let mut quick = self.key("quick");
        let log = self.log()?;
        quick |= !quick && self.key("quick");
        Ok((log, quick))
    }

    /// `log`, or nothing.
    pub(super) fn log(&mut self) -> Outcome<Log> {
        let mut log = Log::default();
        if !self.key("log") {
            return Ok(log);
        }
        log.on = true;
        if !self.char('(') {
            return Ok(log);
        }
        loop {
            if self.key("all") {
                log.all = true;
            } else if self.key("matches") {
                log.matches = true;
            } else if self.key("user") {
                log.user = true;
            } else {
                self.expect_key("to")?;
                let name = self.words()?;
                let Some(number) = name.strip_prefix("pflog") else {
                    return self.fail(&format!("{name}: should be a pflog interface"));
                };
                match crate::pf::address::parse_bounded(number, 255) {
                    Ok(number) => {
                        log.interface = u8::try_from(number).expect("the number was bounded")
                    }
                    Err(reason) => return self.fail(&format!("{name}: {reason}")),
                }
            }
            if self.char(')') {
                return Ok(log);
            }
            self.char(',');
        }
    }

    /// `action`: the rule as its first words leave it.
    fn action(&mut self) -> Outcome<Rule> {
        if self.key("match") {
            return Ok(Rule::new(Action::Match));
        }
        if self.key("pass") {
            let mut rule = Rule::new(Action::Pass);
            rule.block_return = self.fail_policy;
            (rule.return_icmp, rule.return_icmp6) = (RETURN_ICMP, RETURN_ICMP6);
            return Ok(rule);
        }
        self.expect_key("block")?;
        let mut rule = Rule::new(Action::Block);
        (rule.return_icmp, rule.return_icmp6) = (RETURN_ICMP, RETURN_ICMP6);
        rule.block_return = match self.peek_key() {
            "drop" => Return::Drop,
            "return" => Return::Return,
            "return-rst" => Return::Rst,
            "return-icmp" | "return-icmp6" => Return::Icmp,
            _ => {
                rule.block_return = self.block_policy;
                return Ok(rule);
            }
        };
        let Token::Key(key) = self.bump() else {
            return self.syntax();
        };
        match key {
            "return-rst" if self.char('(') => {
                self.expect_key("ttl")?;
                let ttl = self.bounded(255, |ttl| format!("illegal ttl value {ttl}"))?;
                rule.return_ttl = u8::try_from(ttl).expect("the number was bounded");
                self.expect_char(')')?;
            }
            "return-icmp" if self.char('(') => {
                rule.return_icmp = self.return_code(Af::Inet)?;
                // As in parse.y, where the default of the other family is the IPv4 one.
                rule.return_icmp6 = RETURN_ICMP;
                if !self.at_char(')') {
                    self.char(',');
                    rule.return_icmp6 = self.return_code(Af::Inet6)?;
                }
                self.expect_char(')')?;
            }
            "return-icmp6" if self.char('(') => {
                rule.return_icmp6 = self.return_code(Af::Inet6)?;
                self.expect_char(')')?;
            }
            _ => {}
        }
        Ok(rule)
    }

    fn return_code(&mut self, af: Af) -> Outcome<u16> {
        let default = if af == Af::Inet {
            RETURN_ICMP
        } else {
            RETURN_ICMP6
        };
        let icmp_type = default >> 8;
        let code = if self.at_word() {
            let word = self.word()?;
            let named = || {
                let icmp_type = u8::try_from(icmp_type).expect("the type is one byte");
                names::icmp_code(icmp_type, &word, af).map(u32::from)
            };
            match parse_c_number(&word).or_else(named) {
                Some(code) if code <= 255 => code,
                Some(code) => return self.fail(&format!("invalid icmp code {code}")),
                None => return self.fail(&format!("unknown icmp code {word}")),
            }
        } else {
            let code = self.bounded(255, |code| format!("invalid icmp code {code}"))?;
            u32::try_from(code).expect("the number was bounded")
        };
        Ok(icmp_type << 8 | u16::try_from(code).expect("the code is one byte"))
    }

    /// A whole rule.
    pub(super) fn filter_rule(&mut self) -> Outcome<()> {
        let mut rule = self.action()?;
        rule.direction = self.direction();
        (rule.log, rule.quick) = self.log_and_quick()?;
        let interfaces = self.interfaces()?;
        let mut route = None;
        let kind = match self.peek_key() {
            "route-to" => Some(RouteKind::RouteTo),
            "reply-to" => Some(RouteKind::ReplyTo),
            "dup-to" => Some(RouteKind::DupTo),
            "fastroute" => {
                self.bump();
                None
            }
            _ => None,
        };
        if kind.is_some() {
            self.bump();
            route = Some(self.route_redirect()?);
        }
        rule.af = self.family();
        let protocols = self.protocols()?;
        let ends = self.both_ends()?;
        let mut options = self.filter_options()?;
        self.enter(Section::Filter)?;
        self.apply_options(&mut rule, &options)?;
        self.check_tcp_only(
            &options.flags,
            &ends,
            &protocols,
            "OS fingerprinting only apply to tcp",
        )?;
        self.settle_state(&mut rule, &mut options)?;
        Self::decide_family(&ends, &mut rule.af);
        if let (Some(kind), Some(route)) = (kind, route.as_mut()) {
            self.settle_route(&mut rule, kind, route)?;
        }
        Self::apply_diversions(&mut rule, &options);
        let mut af = rule.af;
        if options.af_to {
            rule.new_af = options.nat.as_ref().and_then(|nat| nat.af);
        } else {
            for redirect in [options.nat.as_mut(), options.rdr.as_mut()]
                .into_iter()
                .flatten()
            {
                self.settle_redirect(redirect, &mut af)?;
            }
        }
        rule.af = af;
        let expansion = Expansion {
            interfaces,
            nat: options.nat,
            rdr: options.rdr,
            route,
            protocols,
            ends,
            users: options.users,
            groups: options.groups,
            received_on: options.received_on,
            icmp: options.icmp.unwrap_or_default(),
            anchor_call: String::new(),
            inline: None,
        };
        self.expand(rule, &expansion);
        Ok(())
    }

    /// Flags and operating systems belong to TCP.
    pub(super) fn check_tcp_only(
        &mut self,
        flags: &Option<(u16, u16)>,
        ends: &FromTo,
        protocols: &[u8],
        os_message: &str,
    ) -> Outcome<()> {
        let flagged = flags.is_some_and(|(set, looked_at)| set != 0 || looked_at != 0);
        if protocols.is_empty() || protocols.contains(&TCP) || (!flagged && ends.os.is_empty()) {
            return Ok(());
        }
        if flagged {
            self.complain("flags only apply to tcp");
        }
        if ends.os.is_empty() {
            Err(super::Abandon)
        } else {
            self.fail(os_message)
        }
    }

    /// `keep state` and `flags S/SA` by default, and the state options.
    fn settle_state(
        &mut self,
        rule: &mut Rule,
        options: &mut super::filter_options::FilterOptions,
    ) -> Outcome<()> {
        let state_options = match options.keep.take() {
            Some((_, state_options)) => state_options,
            None if rule.action == Action::Pass => {
                rule.keep_state = KeepState::Normal;
                self.state_defaults.clone().unwrap_or_default()
            }
            None => Vec::new(),
        };
        if rule.action == Action::Pass
            && options.flags.is_none()
            && !options.fragment
            && rule.keep_state != KeepState::No
        {
            (rule.flags, rule.flag_set) = (0x02, 0x12);
        }
        self.apply_state_options(rule, &state_options)
    }

    /// `decide_address_family`: the family that all hosts of an end share.
    pub(super) fn decide_family(ends: &FromTo, af: &mut Option<Af>) {
        for hosts in [&ends.source.hosts, &ends.destination.hosts] {
            if af.is_none()
                && let Some(first) = hosts.first()
                && hosts.iter().all(|host| host.af == first.af)
            {
                *af = first.af;
            }
        }
    }

    fn settle_route(
        &mut self,
        rule: &mut Rule,
        kind: RouteKind,
        route: &mut super::redirect::Redirect,
    ) -> Outcome<()> {
        if rule.direction.is_none() {
            return self.fail("direction must be explicit with rules that specify routing");
        }
        rule.route_kind = Some(kind);
        if route.options.ipv6_nexthop {
            return Ok(());
        }
        if rule.af.is_none()
            && let Some(first) = route.hosts.first()
            && route.hosts.iter().all(|host| host.af == first.af)
        {
            rule.af = first.af;
        }
        if !rule.af_to {
            Self::keep_family(&mut route.hosts, &mut rule.af);
        }
        if route.hosts.is_empty() {
            return self.fail("no routing address with matching address family found.");
        }
        Ok(())
    }
}
