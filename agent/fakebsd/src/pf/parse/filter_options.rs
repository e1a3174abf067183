//! What may stand behind `from … to …` of a filter rule or an anchor: `filter_opts` of parse.y.

use super::port::{IcmpItem, InterfaceItem};
use super::redirect::Redirect;
use super::state::StateOption;
use super::{Outcome, Parser};
use crate::pf::rule::{Af, IdMatch, KeepState, Rule, ScrubActions};

/// Labels a rule may carry (`PF_RULE_MAX_LABEL_COUNT`), and their length less one.
const LABELS_MAX: usize = 5;
const LABEL_BYTES_MAX: usize = 63;
/// The longest tag (`PF_TAG_NAME_SIZE` less one) and queue name.
const NAME_BYTES_MAX: usize = 63;
/// The highest 802.1p priority.
const PRIO_MAX: i64 = 7;

/// The options as written.
#[derive(Debug, Clone, Default)]
pub(super) struct FilterOptions {
    pub(super) users: Vec<IdMatch>,
    pub(super) groups: Vec<IdMatch>,
    pub(super) flags: Option<(u16, u16)>,
    pub(super) icmp: Option<Vec<IcmpItem>>,
    pub(super) keep: Option<(KeepState, Vec<StateOption>)>,
    pub(super) received_on: Option<InterfaceItem>,
    pub(super) nat: Option<Redirect>,
    pub(super) rdr: Option<Redirect>,
    pub(super) af_to: bool,
    pub(super) fragment: bool,
    prio: Option<u8>,
    tos: Option<u8>,
    pub(super) identifier: u32,
    allow_options: bool,
    pub(super) labels: Vec<String>,
    queue: Option<(String, String)>,
    dummynet: (u32, u32, bool),
    tag: Option<String>,
    tagged: Option<(bool, String)>,
    probability: u32,
    pub(super) rtable: Option<u32>,
    divert_port: u16,
    scrub: ScrubActions,
    packet_rate: (u32, u32),
    max_packet_size: u16,
}

impl Parser<'_> {
    /// `filter_opts`.
    pub(super) fn filter_options(&mut self) -> Outcome<FilterOptions> {
        let mut options = FilterOptions::default();
        loop {
            if self.char('!') {
                self.negated_option(&mut options)?;
                continue;
            }
            let key = self.peek_key();
            let known = self.matching_option(key, &mut options)?
                || self.naming_option(key, &mut options)?
                || self.changing_option(key, &mut options)?;
            if !known {
                return Ok(options);
            }
        }
    }

    fn negated_option(&mut self, options: &mut FilterOptions) -> Outcome<()> {
        if self.key("tagged") {
            options.tagged = Some((true, self.words()?));
            return Ok(());
        }
        self.expect_key("received-on")?;
        self.received_on(options, true)
    }

    fn received_on(&mut self, options: &mut FilterOptions, negated: bool) -> Outcome<()> {
        let item = self.interface_item()?;
        if options.received_on.is_some() {
            return self.fail("cannot respecify received-on");
        }
        options.received_on = Some(InterfaceItem { negated, ..item });
        Ok(())
    }

    fn redefined<T>(&mut self, place: &mut Option<T>, value: T, message: &str) -> Outcome<()> {
        if place.replace(value).is_some() {
            self.fail(message)
        } else {
            Ok(())
        }
    }

    /// Options that narrow what the rule matches, and how it keeps state.
    fn matching_option(&mut self, key: &'static str, options: &mut FilterOptions) -> Outcome<bool> {
        match key {
            "user" | "group" => {
                self.bump();
                let mut ids = self.ids(key == "group")?;
                let known = if key == "group" {
                    &mut options.groups
                } else {
                    &mut options.users
                };
                ids.append(known);
                *known = ids;
            }
            "flags" => {
                self.bump();
                let flags = self.flags()?;
                self.redefined(&mut options.flags, flags, "flags cannot be redefined")?;
            }
            "icmp-type" | "icmp6-type" => {
                self.bump();
                let types = self.icmp_types(if key == "icmp-type" {
                    Af::Inet
                } else {
                    Af::Inet6
                })?;
                self.redefined(&mut options.icmp, types, "icmp-type cannot be redefined")?;
            }
            "prio" => {
                self.bump();
                let prio = self.prio()?;
                self.redefined(&mut options.prio, prio, "prio cannot be redefined")?;
            }
            "tos" => {
                self.bump();
                let tos = self.tos()?;
                self.redefined(&mut options.tos, tos, "tos cannot be redefined")?;
            }
            "no" | "keep" | "modulate" | "synproxy" => {
                let Some(keep) = self.keep()? else {
                    return self.syntax();
                };
                self.redefined(
                    &mut options.keep,
                    keep,
                    "modulate or keep cannot be redefined",
                )?;
            }
            "fragment" => {
                self.bump();
                options.fragment = true;
            }
            "allow-opts" => {
                self.bump();
                options.allow_options = true;
            }
            "received-on" => {
                self.bump();
                self.received_on(options, false)?;
            }
            "probability" => {
                self.bump();
                options.probability = self.probability()?;
            }
            "max-pkt-rate" => {
                self.bump();
                let limit = self.positive()?;
                self.expect_char('/')?;
                let seconds = self.positive()?;
                if options.packet_rate.0 > 0 {
                    return self.fail("cannot respecify max-pkt-rate");
                }
                options.packet_rate = (limit, seconds);
            }
            "max-pkt-size" => {
                self.bump();
                let size = self.bounded(65_535, |_| "only positive values permitted".to_owned())?;
                options.max_packet_size = u16::try_from(size).expect("the number was bounded");
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn prio(&mut self) -> Outcome<u8> {
        let prio = self.bounded(PRIO_MAX, |_| format!("prio must be 0 - {PRIO_MAX}"))?;
        Ok(u8::try_from(prio).expect("the number was bounded"))
    }

    /// A probability as a share of 2³² less one, at least 1.
    fn probability(&mut self) -> Outcome<u32> {
        let share = if self.at_word() {
            let word = self.word()?;
            let (digits, scale) = word
                .strip_suffix('%')
                .map_or((word.as_str(), 1.0), |digits| (digits, 0.01));
            match digits.parse::<f64>() {
                Ok(number) => number * scale,
                Err(_) => return self.fail(&format!("invalid probability: {word}")),
            }
        } else {
            #[expect(
                clippy::cast_precision_loss,
                reason = "anything beyond 1 is refused below"
            )]
            let share = self.plain_number()? as f64;
            share
        };
        let scaled = (share * f64::from(u32::MAX) + 0.5).floor();
        if !(0.0..=f64::from(u32::MAX)).contains(&scaled) {
            return self.fail(&format!("invalid probability: {scaled:.6}"));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the range was checked"
        )]
        let scaled = scaled as u32;
        Ok(scaled.max(1))
    }

    /// Options that name the rule or what belongs to it.
    fn naming_option(&mut self, key: &'static str, options: &mut FilterOptions) -> Outcome<bool> {
        match key {
            "label" => {
                self.bump();
                let label = self.word()?;
                self.add_label(&mut options.labels, label)?;
            }
            "ridentifier" => {
                self.bump();
                options.identifier = self.identifier()?;
            }
            "queue" => {
                self.bump();
                let queue = if self.char('(') {
                    let first = self.word()?;
                    let second = if self.char(',') || self.at_word() {
                        self.word()?
                    } else {
                        String::new()
                    };
                    self.expect_char(')')?;
                    (first, second)
                } else {
                    (self.word()?, String::new())
                };
                self.redefined(&mut options.queue, queue, "queue cannot be redefined")?;
            }
            "dnpipe" | "dnqueue" => {
                self.bump();
                options.dummynet.2 = key == "dnpipe";
                if self.char('(') {
                    options.dummynet.0 = self.identifier()?;
                    if !self.char(')') {
                        self.char(',');
                        options.dummynet.1 = self.identifier()?;
                        self.expect_char(')')?;
                    }
                } else {
                    options.dummynet.0 = self.identifier()?;
                }
            }
            "tag" => {
                self.bump();
                options.tag = Some(self.words()?);
            }
            "tagged" => {
                self.bump();
                options.tagged = Some((false, self.words()?));
            }
            "rtable" => {
                self.bump();
                options.rtable = Some(self.routing_table()?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    pub(super) fn add_label(&mut self, labels: &mut Vec<String>, label: String) -> Outcome<()> {
        if labels.len() >= LABELS_MAX {
            return self.fail(&format!("label can only be used {LABELS_MAX} times"));
        }
        labels.push(label);
        Ok(())
    }

    /// `number`, kept in 32 bits.
    pub(super) fn identifier(&mut self) -> Outcome<u32> {
        let number = self.any_number()?;
        Ok(u32::try_from(number & 0xffff_ffff).expect("the number was cut to 32 bits"))
    }

    /// Options that change the packet or its way.
    fn changing_option(&mut self, key: &'static str, options: &mut FilterOptions) -> Outcome<bool> {
        match key {
            "divert-to" => {
                self.bump();
                if self.at_word() {
                    // An address is accepted and means nothing on FreeBSD.
                    let word = self.word()?;
                    if !self.key("port") {
                        return self.fail(&format!("unknown port {word}"));
                    }
                }
                options.divert_port = self.port_range(false, false)?.first;
                if options.divert_port == 0 {
                    return self.fail("invalid divert port: 0");
                }
            }
            "divert-reply" => {
                self.bump();
                return self.fail("divert-reply has no meaning in FreeBSD pf(4)");
            }
            "scrub" => {
                self.bump();
                self.expect_char('(')?;
                let scrub = self.scrub_options()?;
                self.expect_char(')')?;
                options.scrub.no_df = scrub.actions.no_df;
                options.scrub.min_ttl = scrub.actions.min_ttl;
                options.scrub.random_id = scrub.actions.random_id;
                options.scrub.max_mss = scrub.actions.max_mss;
                options.scrub.set_tos = scrub.actions.set_tos.or(options.scrub.set_tos);
                options.scrub.reassemble_tcp |= scrub.actions.reassemble_tcp;
            }
            "nat-to" | "binat-to" => {
                self.bump();
                let mut redirect = self.redirect()?;
                if key == "binat-to" {
                    redirect.binat = true;
                    redirect.options.static_port = true;
                }
                self.redefined(
                    &mut options.nat,
                    redirect,
                    "cannot respecify nat-to/binat-to",
                )?;
            }
            "rdr-to" => {
                self.bump();
                let redirect = self.redirect()?;
                self.redefined(&mut options.rdr, redirect, "cannot respecify rdr-to")?;
            }
            "af-to" => {
                self.bump();
                self.af_to(options)?;
            }
            "set" => {
                self.bump();
                self.set_in_packet(options)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn af_to(&mut self, options: &mut FilterOptions) -> Outcome<()> {
        let af = self.family();
        self.expect_key("from")?;
        let mut source = self.redirect()?;
        let mut target = if self.key("to") {
            Some(self.redirect()?)
        } else {
            None
        };
        if options.nat.is_some() {
            return self.fail("cannot respecify af-to");
        }
        let Some(af) = af else {
            return self.fail("no address family specified");
        };
        let mut empty = false;
        for redirect in [Some(&mut source), target.as_mut()].into_iter().flatten() {
            redirect.af = Some(af);
            Self::keep_family(&mut redirect.hosts, &mut Some(af));
            empty |= redirect.hosts.is_empty();
        }
        if empty {
            return self.fail("af-to addresses must be in the target address family");
        }
        options.nat = Some(source);
        options.rdr = target.or(options.rdr.take());
        options.af_to = true;
        Ok(())
    }

    /// `set prio …`, `set tos …`, `set (…)`.
    fn set_in_packet(&mut self, options: &mut FilterOptions) -> Outcome<()> {
        let several = self.char('(');
        loop {
            if self.key("tos") {
                let tos = self.tos()?;
                self.redefined(&mut options.scrub.set_tos, tos, "tos cannot be respecified")?;
            } else {
                self.expect_key("prio")?;
                let pair = if self.char('(') {
                    let first = self.prio()?;
                    self.char(',');
                    let second = self.prio()?;
                    self.expect_char(')')?;
                    (first, second)
                } else {
                    let prio = self.prio()?;
                    (prio, prio)
                };
                self.redefined(
                    &mut options.scrub.set_prio,
                    pair,
                    "prio cannot be redefined",
                )?;
            }
            if !several {
                return Ok(());
            }
            if self.char(')') {
                return Ok(());
            }
            self.char(',');
        }
    }

    /// `filteropts_to_rule`.
    pub(super) fn apply_options(
        &mut self,
        rule: &mut Rule,
        options: &FilterOptions,
    ) -> Outcome<()> {
        rule.keep_state = options
            .keep
            .as_ref()
            .map_or(KeepState::No, |(keep, _)| *keep);
        rule.packet_rate = options.packet_rate;
        rule.probability = options.probability;
        rule.rtable = options.rtable;
        rule.identifier = options.identifier;
        rule.max_packet_size = options.max_packet_size;
        rule.tos = options.tos.unwrap_or(0);
        rule.scrub = options.scrub.clone();
        rule.tag = options.tag.clone().unwrap_or_default();
        if let Some((negated, name)) = &options.tagged {
            rule.tagged.clone_from(name);
            rule.tagged_negated = *negated;
        }
        self.check_tags(rule)?;
        self.apply_labels(rule, &options.labels)?;
        rule.af_to = options.af_to;
        rule.prio = options.prio;
        (rule.flags, rule.flag_set) = options.flags.unwrap_or((0, 0));
        if rule.flags & rule.flag_set != rule.flags {
            return self.fail("flags always false");
        }
        rule.queue = options.queue.clone().unwrap_or_default();
        rule.fragment = options.fragment;
        rule.allow_options = options.allow_options;
        Ok(())
    }

    pub(super) fn check_tags(&mut self, rule: &Rule) -> Outcome<()> {
        if rule.tag.len() > NAME_BYTES_MAX || rule.tagged.len() > NAME_BYTES_MAX {
            return self.fail(&format!("tag too long, max {NAME_BYTES_MAX} chars"));
        }
        Ok(())
    }

    pub(super) fn apply_labels(&mut self, rule: &mut Rule, labels: &[String]) -> Outcome<()> {
        if labels.iter().any(|label| label.len() > LABEL_BYTES_MAX) {
            return self.fail(&format!(
                "rule label too long (max {LABEL_BYTES_MAX} chars)"
            ));
        }
        rule.labels = labels.to_vec();
        Ok(())
    }

    /// What only `pass`, `block` and `match` take over, not anchors.
    pub(super) fn apply_diversions(rule: &mut Rule, options: &FilterOptions) {
        rule.divert_port = options.divert_port;
        rule.dummynet = options.dummynet;
    }
}
