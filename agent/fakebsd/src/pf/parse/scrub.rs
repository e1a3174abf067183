//! `scrub` and `antispoof`.

use super::expand::Expansion;
use super::host::{self, Host};
use super::port::{FromTo, InterfaceItem, Peer};
use super::{Outcome, Parser, Section};
use crate::pf::rule::{Action, Address, InterfaceModifiers, Rule, ScrubActions};

/// `scrub_opts`.
#[derive(Debug, Clone, Default)]
pub(super) struct ScrubOptions {
    pub(super) actions: ScrubActions,
    min_ttl: bool,
    max_mss: bool,
    fragment: bool,
    rtable: Option<u32>,
    tagged: Option<(bool, String)>,
}

impl Parser<'_> {
    /// A `scrub` rule; `no` was read already.
    pub(super) fn scrub_rule(&mut self, no: bool) -> Outcome<()> {
        self.expect_key("scrub")?;
        let mut rule = Rule::new(if no { Action::NoScrub } else { Action::Scrub });
        rule.direction = self.direction();
        let (log, quick) = self.log_and_quick()?;
        rule.log = log;
        let interfaces = self.interfaces()?;
        rule.af = self.family();
        let protocols = self.protocols()?;
        let ends = self.both_ends()?;
        let options = self.scrub_options()?;
        self.enter(Section::Scrub)?;
        if quick {
            return self.fail("scrub rules do not support 'quick'");
        }
        if options.actions.reassemble_tcp && rule.direction.is_some() {
            return self.fail("reassemble tcp rules can not specify direction");
        }
        if let Some((negated, name)) = options.tagged {
            (rule.tagged, rule.tagged_negated) = (name, negated);
        }
        self.check_tags(&rule)?;
        rule.scrub = options.actions;
        rule.rtable = options.rtable;
        self.expand(
            rule,
            &Expansion {
                interfaces,
                protocols,
                ends,
                ..Expansion::default()
            },
        );
        Ok(())
    }

    /// `scrub_opts`, of rules and of `scrub (…)`.
    pub(super) fn scrub_options(&mut self) -> Outcome<ScrubOptions> {
        let mut options = ScrubOptions::default();
        let mut comma = false;
        loop {
            let key = if self.at_char('!') {
                "!"
            } else {
                self.peek_key()
            };
            let known = [
                "!",
                "no-df",
                "min-ttl",
                "max-mss",
                "set-tos",
                "fragment",
                "reassemble",
                "random-id",
                "rtable",
                "tagged",
            ];
            if !known.contains(&key) {
                return if comma { self.syntax() } else { Ok(options) };
            }
            self.bump();
            self.scrub_option(key, &mut options)?;
            comma = self.char(',');
        }
    }

    fn scrub_option(&mut self, key: &str, options: &mut ScrubOptions) -> Outcome<()> {
        let again = match key {
            "no-df" => std::mem::replace(&mut options.actions.no_df, true),
            "random-id" => std::mem::replace(&mut options.actions.random_id, true),
            "min-ttl" => {
                let ttl = self.plain_number()?;
                let again = std::mem::replace(&mut options.min_ttl, true);
                match u8::try_from(ttl) {
                    Ok(ttl) => options.actions.min_ttl = ttl,
                    Err(_) if !again => return self.fail(&format!("illegal min-ttl value {ttl}")),
                    Err(_) => {}
                }
                again
            }
            "max-mss" => {
                let mss = self.plain_number()?;
                let again = std::mem::replace(&mut options.max_mss, true);
                match u16::try_from(mss) {
                    Ok(mss) => options.actions.max_mss = mss,
                    Err(_) if !again => return self.fail(&format!("illegal max-mss value {mss}")),
                    Err(_) => {}
                }
                again
            }
            "set-tos" => {
                let tos = self.tos()?;
                options.actions.set_tos.replace(tos).is_some()
            }
            "fragment" => {
                options.actions.fragment_no_reassemble = self.key("no");
                self.expect_key("reassemble")?;
                std::mem::replace(&mut options.fragment, true)
            }
            "reassemble" => {
                let word = self.word()?;
                if !word.eq_ignore_ascii_case("tcp") {
                    return self.fail(&format!("scrub reassemble supports only tcp, not '{word}'"));
                }
                std::mem::replace(&mut options.actions.reassemble_tcp, true)
            }
            "rtable" => {
                options.rtable = Some(self.routing_table()?);
                false
            }
            _ => {
                if key == "!" {
                    self.expect_key("tagged")?;
                }
                options.tagged = Some((key == "!", self.words()?));
                false
            }
        };
        if again {
            let name = match key {
                "fragment" => "fragcache",
                "reassemble" => "reassemble tcp",
                other => other,
            };
            return self.fail(&format!("{name} cannot be respecified"));
        }
        Ok(())
    }

    /// `antispoof`: blocks what claims an interface's network elsewhere, and its own addresses anywhere.
    pub(super) fn antispoof(&mut self) -> Outcome<()> {
        self.bump();
        let (log, quick) = self.log_and_quick()?;
        self.expect_key("for")?;
        let interfaces = self.one_or_braced(|parser| {
            if !parser.char('(') {
                return parser.interface_item();
            }
            let item = InterfaceItem {
                dynamic: true,
                ..parser.interface_item()?
            };
            parser.expect_char(')')?;
            Ok(item)
        })?;
        let mut rule = Rule::new(Action::Block);
        rule.direction = Some(crate::pf::rule::Direction::In);
        (rule.log, rule.quick) = (log, quick);
        rule.af = self.family();
        let mut labels = Vec::new();
        loop {
            if self.key("label") {
                let label = self.word()?;
                self.add_label(&mut labels, label)?;
            } else if self.key("ridentifier") {
                rule.identifier = self.identifier()?;
            } else if self.key("rtable") {
                rule.rtable = Some(self.routing_table()?);
            } else {
                break;
            }
        }
        self.enter(Section::Filter)?;
        self.apply_labels(&mut rule, &labels)?;
        for interface in interfaces {
            self.antispoof_for(&rule, &interface);
        }
        Ok(())
    }

    fn antispoof_for(&mut self, rule: &Rule, interface: &InterfaceItem) {
        let network = InterfaceModifiers {
            network: true,
            ..InterfaceModifiers::default()
        };
        let hosts_with = |parser: &Self, modifiers: InterfaceModifiers| {
            if interface.dynamic {
                let address = Address::Interface {
                    name: interface.name.clone(),
                    modifiers,
                    bits: 128,
                };
                return vec![Host {
                    address,
                    ..Host::default()
                }];
            }
            host::interface_hosts(parser.facts, &interface.name, modifiers)
        };
        let expansion = |interfaces: Vec<InterfaceItem>, hosts: Vec<Host>| Expansion {
            interfaces,
            ends: FromTo {
                source: Peer {
                    hosts,
                    ports: Vec::new(),
                },
                ..FromTo::default()
            },
            ..Expansion::default()
        };
        let elsewhere = vec![InterfaceItem {
            negated: true,
            dynamic: false,
            ..interface.clone()
        }];
        let networks = hosts_with(self, network);
        if !networks.is_empty() {
            self.expand(rule.clone(), &expansion(elsewhere, networks));
        }
        let loopback = self
            .facts
            .interface(&interface.name)
            .is_some_and(|found| found.loopback);
        let own = hosts_with(self, InterfaceModifiers::default());
        if !loopback && !own.is_empty() {
            self.expand(rule.clone(), &expansion(Vec::new(), own));
        }
    }
}
