//! `nat`, `rdr` and `binat` rules as FreeBSD had them before 15 and still takes: `natrule` and `binatrule`.

use super::expand::Expansion;
use super::host::Host;
use super::lex::Token;
use super::redirect::Redirect;
use super::{Outcome, Parser, Section};
use crate::pf::rule::{Action, Address, Af, Log, Pool, PoolAddress, Rule};

impl Parser<'_> {
    /// A whole rule; `no` was read already.
    pub(super) fn translation_rule(&mut self, no: bool) -> Outcome<()> {
        let Token::Key(key) = *self.peek() else {
            return self.syntax();
        };
        let (yes_action, no_action) = match key {
            "nat" => (Action::Nat, Action::NoNat),
            "rdr" => (Action::Rdr, Action::NoRdr),
            "binat" => (Action::Binat, Action::NoBinat),
            _ => return self.syntax(),
        };
        self.bump();
        let pass = self.key("pass");
        let log = self.log()?;
        let mut rule = Rule::new(if no { no_action } else { yes_action });
        (rule.nat_pass, rule.log) = (pass, log);
        if key == "binat" {
            self.binat(rule, no)
        } else {
            self.nat_or_rdr(rule, no)
        }
    }

    /// `tag`, `tagged` and `rtable`.
    fn naming(&mut self, rule: &mut Rule) -> Outcome<()> {
        if self.key("tag") {
            rule.tag = self.word()?;
        }
        rule.tagged_negated = self.char('!');
        if rule.tagged_negated || self.at_key("tagged") {
            self.expect_key("tagged")?;
            rule.tagged = self.words()?;
        }
        if self.key("rtable") {
            rule.rtable = Some(self.routing_table()?);
        }
        Ok(())
    }

    fn arrow(&mut self) -> bool {
        let found = *self.peek() == Token::Sign("->");
        if found {
            self.bump();
        }
        found
    }

    fn nat_or_rdr(&mut self, mut rule: Rule, no: bool) -> Outcome<()> {
        if no && rule.nat_pass {
            return self.fail("\"pass\" not valid with \"no\"");
        }
        let interfaces = self.interfaces()?;
        rule.af = self.family();
        let protocols = self.protocols()?;
        let ends = self.both_ends()?;
        self.naming(&mut rule)?;
        let mut redirect = if self.arrow() {
            Some(self.redirect()?)
        } else {
            None
        };
        self.enter(Section::Translation)?;
        if rule.af.is_none() {
            let family = |hosts: &[Host]| {
                hosts
                    .first()
                    .filter(|host| host.scope == 0)
                    .and_then(|host| host.af)
            };
            rule.af = family(&ends.source.hosts).or_else(|| family(&ends.destination.hosts));
        }
        self.check_tags(&rule)?;
        if no {
            if redirect.is_some() {
                return self.fail("translation rule with 'no' does not need '->'");
            }
        } else {
            let Some(redirect) = redirect
                .as_mut()
                .filter(|redirect| !redirect.hosts.is_empty())
            else {
                return self.fail("translation rule requires '-> address'");
            };
            if redirect.options.ipv6_nexthop {
                return self
                    .fail("The prefer-ipv6-nexthop option can't be used for nat/rdr/binat pools");
            }
            let mut af = rule.af;
            self.settle_redirect(redirect, &mut af)?;
            rule.af = af;
        }
        let pflow = super::state::StateOption::Pflow;
        rule.state.pflow = self
            .state_defaults
            .as_ref()
            .is_some_and(|defaults| defaults.contains(&pflow));
        let expansion = Expansion {
            interfaces,
            rdr: redirect,
            protocols,
            ends,
            ..Expansion::default()
        };
        self.expand(rule, &expansion);
        Ok(())
    }

    fn binat(&mut self, mut rule: Rule, no: bool) -> Outcome<()> {
        let interfaces = self.interfaces()?;
        rule.af = self.family();
        let protocols = self.protocols()?;
        self.expect_key("from")?;
        let source = self.hosts()?;
        let destination = if self.key("to") {
            self.hosts()?
        } else {
            Vec::new()
        };
        self.naming(&mut rule)?;
        let redirect = if self.arrow() {
            Some(self.binat_redirect()?)
        } else {
            None
        };
        self.enter(Section::Translation)?;
        self.refuse_urpf(
            &destination,
            "\"urpf-failed\" is not permitted as a binat destination",
        )?;
        if no && rule.nat_pass {
            return self.fail("\"pass\" not valid with \"no\"");
        }
        let target = redirect
            .as_ref()
            .map(|redirect| redirect.hosts.as_slice())
            .unwrap_or_default();
        let family = |hosts: &[Host]| hosts.first().and_then(|host| host.af);
        rule.af = rule
            .af
            .or(family(&source))
            .or(family(&destination))
            .or(family(target));
        if rule.af.is_none() {
            return self.fail("address family (inet/inet6) undefined");
        }
        if let Some(interface) = interfaces.first() {
            rule.interface.clone_from(&interface.name);
            rule.interface_negated = interface.negated;
        }
        self.check_tags(&rule)?;
        rule.protocol = protocols.first().copied().unwrap_or(0);
        self.refuse_several(&source, "source")?;
        self.refuse_several(target, "redirect")?;
        self.binat_ends(&mut rule, &source, &destination)?;
        if no {
            if redirect.is_some() {
                return self.fail("'no binat' rule does not need '->'");
            }
        } else {
            let Some(redirect) = redirect.filter(|redirect| !redirect.hosts.is_empty()) else {
                return self.fail("'binat' rule requires '-> address'");
            };
            self.binat_target(&mut rule, redirect)?;
        }
        self.append(rule);
        Ok(())
    }

    /// `disallow_table` and `disallow_alias`.
    fn refuse_several(&mut self, hosts: &[Host], what: &str) -> Outcome<()> {
        for host in hosts {
            if let Address::Table(name) = &host.address {
                return self.fail(&format!(
                    "invalid use of table <{name}> as the {what} address of a binat rule"
                ));
            }
            if let Address::Interface { name, .. } = &host.address
                && host.is_several()
            {
                return self.fail(&format!(
                    "invalid use of interface ({name}) as the {what} address of a binat rule"
                ));
            }
        }
        Ok(())
    }

    fn binat_ends(
        &mut self,
        rule: &mut Rule,
        source: &[Host],
        destination: &[Host],
    ) -> Outcome<()> {
        for (hosts, is_source) in [(source, true), (destination, false)] {
            let Some(first) = hosts.first() else { continue };
            if hosts.len() > 1 {
                return self.fail("multiple binat ip addresses");
            }
            let agrees =
                first.af == rule.af || first.is_interface() || (!is_source && first.af.is_none());
            if !agrees {
                return self.fail("binat ip versions must match");
            }
            let first = first.fitted(rule.af);
            if !self.netmask_fits(std::slice::from_ref(&first), rule.af) {
                return Err(super::Abandon);
            }
            let end = if is_source {
                &mut rule.source
            } else {
                &mut rule.destination
            };
            end.negated = first.negated && !is_source;
            end.address = first.address;
        }
        Ok(())
    }

    fn binat_target(&mut self, rule: &mut Rule, mut redirect: Redirect) -> Outcome<()> {
        let mut af = rule.af;
        Self::keep_family(&mut redirect.hosts, &mut af);
        self.check_redirect(&redirect.hosts, af)?;
        if redirect.hosts.len() > 1 {
            return self.fail("binat rule must redirect to a single address");
        }
        let target = redirect.hosts[0].fitted(af);
        if !self.netmask_fits(std::slice::from_ref(&target), af) {
            return Err(super::Abandon);
        }
        let (source, own) = (
            mask_bits(&rule.source.address, af),
            mask_bits(&target.address, af),
        );
        if source != 0 && source != own {
            return self.fail("'binat' source mask and redirect mask must be the same");
        }
        let interface = String::new();
        rule.rdr = Pool {
            addresses: vec![PoolAddress {
                address: target.address,
                af: target.af,
                interface,
            }],
            ..Pool::default()
        };
        Ok(())
    }

    /// A rule that nothing but its anchor distinguishes.
    pub(super) fn anchor_rule_of(action: Action, af: Option<Af>) -> Rule {
        let mut rule = Rule::new(action);
        rule.af = af;
        rule.log = Log::default();
        rule
    }
}

/// The mask of an address as `unmask` would count it.
pub(super) fn mask_bits(address: &Address, af: Option<Af>) -> u8 {
    match address {
        Address::Net { bits, .. } => *bits,
        Address::Interface { bits, .. } => (*bits).min(af.map_or(128, Af::bits)),
        Address::Any
        | Address::Range { .. }
        | Address::Table(_)
        | Address::NoRoute
        | Address::UrpfFailed => 0,
    }
}
