//! pf(4): anchors below our own, each loaded as one transaction; states.
//!
//! `pf -e` on the host and everything outside `cellblock/` are the operator's and are never written, but for the block of pf.conf that he has asked for. In the stack of a VNET jail they are its root's: pf is enabled there, and a main ruleset
//! without any rule gets the line that refers to ours.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use cellblock_agent_core::firewall::{Flow, JailFirewall};
use cellblock_agent_core::isolation::{FIRST_LOOPBACK, Isolation};
use cellblock_agent_core::names::{self, ANCHOR_ROOT};
use cellblock_agent_core::observed::{AnchorReference, VnetPf};
use cellblock_agent_core::render::pf::main_inside;
use cellblock_schemas::ids::Uid;
use cellblock_schemas::net::is_link_local;
use ipnet::IpNet;

use super::{Performer, effect, jail_word, word};
use crate::command::{Command, Output, Program, words};
use crate::error::{Failure, excerpt};
use crate::observe::{self, pf};
use crate::system::succeed;

/// How often a load is tried that meets another pfctl's transaction.
const LOAD_TRIES: u32 = 5;

/// The pause before the second try; each further one doubles it.
const LOAD_PAUSE: Duration = Duration::from_millis(20);

/// How many states of one address are killed one by one, each by a command of a few milliseconds; the others expire within the timeouts of pf.
const STATES_MAX: usize = 1000;

/// Likewise in the stack of a jail, whose root makes as many as he likes and can have each command take as long as it may.
const STATES_INSIDE_MAX: usize = 100;

/// How many jails are asked for, one by one, whose rules pf does not take; an anchor has a 64th part of a host's jails.
const PARTS_MAX: usize = 256;

/// Bytes of a label of a rule (PF_RULE_LABEL_SIZE is 64 with its NUL, sys/netpfil/pf/pf.h).
const LABEL_BYTES_MAX: usize = 63;

/// Bytes of an anchor's path (MAXPATHLEN; one component has 64 with its NUL).
const ANCHOR_BYTES_MAX: usize = 127;

impl Performer<'_> {
    /// Checks with `-n`, loads, and reads the label back.
    ///
    /// In the host's pf, or in that of the stack of the VNET jail `inside`.
    pub(super) fn load_anchor(
        &self,
        inside: Option<&str>,
        anchor: &str,
        rules: &str,
        parts: &BTreeMap<Uid, String>,
    ) -> Result<(), Failure> {
        let inside = inside.map(jail_word).transpose()?;
        let anchor = anchor_word(anchor)?;
        let _one_at_a_time = inside.is_none().then(|| self.lock());
        let check = pf::check(inside, anchor, rules);
        let output = self.system.run(&check)?;
        if !output.is_success() {
            return Err(self.whose(rejected(anchor, &check, &output), parts));
        }
        self.load(inside, anchor, rules)?;
        let wanted = pf::parse_hash(&rules.replace('"', " "));
        let loaded = pf::parse_hash(&observe::show_anchor(self.system, inside, anchor, "-sl")?);
        effect(loaded == wanted, || {
            format!("anchor {anchor} does not hold the rules that were loaded")
        })
    }

    /// Asks whose rules it is that pf does not take.
    fn whose(&self, failure: Failure, parts: &BTreeMap<Uid, String>) -> Failure {
        let Failure::RuleRejected { anchor, stderr, .. } = failure else {
            return failure;
        };
        let mut jails = BTreeMap::new();
        for (jail, rules) in parts.iter().take(PARTS_MAX) {
            let check = pf::check(None, &anchor, rules);
            match self.system.run(&check) {
                Ok(output) if !output.is_success() && is_about_rules(&output) => {
                    jails.insert(jail.clone(), told(&output.stderr, rules));
                }
                Ok(_) => {}
                Err(error) => return error.into(),
            }
        }
        Failure::RuleRejected {
            anchor,
            stderr,
            jails,
        }
    }

    /// Loads nothing, which empties the anchor in one transaction and removes its name; `-F all` leaves the name listed, and fails where the anchor is absent (recording `05`).
    /// Tables that are kept though no rule needs them (`persist`) go in a second step; until the kernel has purged the rules that used them, the empty anchor's name stays.
    pub(super) fn clear_anchor(&self, anchor: &str) -> Result<(), Failure> {
        let anchor = anchor_word(anchor)?;
        let _one_at_a_time = self.lock();
        if !self.is_listed(anchor)? {
            return Ok(());
        }
        self.load(None, anchor, "")?;
        let tables = observe::show_anchor(self.system, None, anchor, "-sT")?;
        if !pf::parse_tables(&tables).is_empty() {
            self.change(&Command::new(
                Program::Pfctl,
                ["-a", anchor, "-F", "Tables"],
            ))?;
        }
        let empty = observe::holds_nothing(self.system, None, anchor)?;
        effect(empty, || format!("anchor {anchor} still holds something"))
    }

    /// As it is written (`-o none`): pfctl(8) would leave out rules that others cover, whose tables then are none, and make tables of its own (`optimize_superblock`, sbin/pfctl/pfctl_optimize.c).
    ///
    /// One transaction. Meeting somebody else's, pfctl loses its ticket and says `DIOCXCOMMIT: Device busy`; a moment later it gets another.
    fn load(&self, inside: Option<&str>, anchor: &str, rules: &str) -> Result<(), Failure> {
        let command = Command::pfctl(inside, ["-o", "none", "-a", anchor, "-f", "-"]).stdin(rules);
        let output = self.try_load(&command)?;
        if output.is_success() {
            return Ok(());
        }
        Err(rejected(anchor, &command, &output))
    }

    /// Loads, again where somebody else was at it: an anchor of ours, which is nobody else's.
    fn try_load(&self, command: &Command) -> Result<Output, Failure> {
        self.try_load_while(command, || Ok(()))
    }

    /// The same, as long as `may` has nothing against it, which is asked before each try.
    pub(super) fn try_load_while(
        &self,
        command: &Command,
        may: impl Fn() -> Result<(), Failure>,
    ) -> Result<Output, Failure> {
        let mut pause = LOAD_PAUSE;
        let mut left = LOAD_TRIES;
        loop {
            may()?;
            let output = self.run(command)?;
            let busy = ["DIOCXCOMMIT", "DIOCXBEGIN", "busy"]
                .iter()
                .any(|words| output.stderr.contains(words));
            left -= 1;
            if output.is_success() || !busy || left == 0 {
                return Ok(output);
            }
            thread::sleep(pause);
            pause *= 2;
        }
    }

    /// Has the pf of a jail's own stack look into our anchors. The main ruleset is its root's: it gets our line only while it has no rule at all.
    pub(super) fn raise_in_vnet(
        &self,
        jail: &str,
        refer: bool,
        enable: bool,
    ) -> Result<(), Failure> {
        let jail = jail_word(jail)?;
        let found = observe::packet_filter(self.system, Some(jail))?;
        let refers = |found: &VnetPf| found.pf.references.contains(&AnchorReference::Filter);
        if refer && !refers(&found) {
            if !found.is_bare {
                return Err(Failure::Changed(format!(
                    "pf in jail {jail} has a main ruleset of its root's by now"
                )));
            }
            let load = Command::pfctl(Some(jail), ["-R", "-f", "-"]).stdin(main_inside());
            self.change(&load)?;
        }
        if enable && !found.pf.enabled {
            // It says `pf already enabled` and exits 1 where somebody was quicker (`pfctl_enable`, sbin/pfctl/pfctl.c).
            self.run(&Command::pfctl(Some(jail), ["-e"]))?;
        }
        let now = observe::packet_filter(self.system, Some(jail))?;
        effect(
            (!refer || refers(&now)) && (!enable || now.pf.enabled),
            || format!("pf in jail {jail} is not enabled, or does not refer to our anchors"),
        )
    }

    /// The host's pf, that nobody else changes it meanwhile. A jail's stack has rulesets and tickets of its own (`V_pf_anchors`, sys/netpfil/pf/pf_ruleset.c), and nobody waits for those.
    pub(super) fn lock(&self) -> MutexGuard<'_, ()> {
        self.pf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the anchor's name is there. Without pf there is none.
    fn is_listed(&self, anchor: &str) -> Result<bool, Failure> {
        if !self.is_pf_loaded(None)? {
            return Ok(false);
        }
        Ok(observe::anchors(self.system, None)?.contains(anchor))
    }

    pub(super) fn is_pf_loaded(&self, inside: Option<&str>) -> Result<bool, Failure> {
        let command = Command::pfctl(inside, ["-s", "info"]);
        let output = self.system.run(&command)?;
        if output.is_success() {
            return Ok(true);
        }
        if pf::is_not_loaded(&output.stderr) {
            return Ok(false);
        }
        Err(Failure::refused(&command, &output))
    }

    /// What `pfctl -vvss` shows; none where pf is not loaded, and there are no states.
    fn states(&self, inside: Option<&str>) -> Result<Option<String>, Failure> {
        if !self.is_pf_loaded(inside)? {
            return Ok(None);
        }
        let shown = succeed(self.system, &Command::pfctl(inside, ["-vvss"]))?;
        Ok(Some(shown.stdout))
    }

    /// `pfctl -k ADDRESS`: states whose source it is. With a second `-k` pfctl puts the destination where the source belongs (`pfctl_net_kill_states`, sbin/pfctl/pfctl.c), so it kills
    /// nothing (recording `09`), and a translated source is not seen (recording `15`): what is left of the address goes by its number.
    ///
    /// Of a link-local one only those on a loopback are meant: on another link it is somebody else's.
    pub(super) fn kill_states(&self, address: IpAddr) -> Result<(), Failure> {
        if !is_link_local(address) {
            self.kill(None, words!["-k", address.to_string()])?;
        }
        let Some(states) = self.states(None)? else {
            return Ok(());
        };
        if is_link_local(address) {
            let is_kept = |flow: &Flow| {
                !(is_loopback(&flow.interface) && [flow.from.0, flow.to.0].contains(&address))
            };
            let left = pf::parse_unpermitted(&states, is_kept);
            return self.kill_all(None, left, || format!("of {address}"));
        }
        self.kill_numbered(pf::parse_states_of(&states, address))
    }

    /// States between jails that must not reach each other, whoever's rule made them. Two `-k` would not find them, see [`Self::kill_states`].
    pub(super) fn kill_between(&self, isolation: &Isolation) -> Result<(), Failure> {
        let Some(states) = self.states(None)? else {
            return Ok(());
        };
        let left = pf::parse_unpermitted(&states, |flow| isolation.permits(flow));
        self.kill_all(None, left, || "between isolated jails".to_owned())
    }

    fn kill_numbered(&self, ids: Vec<String>) -> Result<(), Failure> {
        if ids.len() > STATES_MAX {
            tracing::warn!(
                left = ids.len(),
                "so many states are left to expire by themselves"
            );
        }
        for id in ids.into_iter().take(STATES_MAX) {
            self.kill(None, words!["-k", "id", "-k", id])?;
        }
        Ok(())
    }

    /// States of a NAT, told by their inner source, which stands in brackets: `203.0.113.1:65255 (172.16.1.2:43986) -> …` (recording `15`). The labels of filter rules do not reach them, because
    /// `nat pass` makes states without a filter rule (`pf_test_rule`, sys/netpfil/pf/pf.c).
    pub(super) fn kill_translated(
        &self,
        from: IpNet,
        to: Option<IpAddr>,
        except: &BTreeSet<(IpAddr, IpAddr)>,
    ) -> Result<(), Failure> {
        let Some(states) = self.states(None)? else {
            return Ok(());
        };
        let left = pf::parse_translated(&states, from, to, except);
        self.kill_all(None, left, || format!("translated from {from}"))
    }

    /// States that a jail's firewall does not permit, whoever's rule made them: also those of the operator's own rules.
    pub(super) fn kill_unpermitted(
        &self,
        inside: Option<&str>,
        firewall: &JailFirewall,
        fresh: bool,
    ) -> Result<(), Failure> {
        let inside = inside.map(jail_word).transpose()?;
        let Some(states) = self.states(inside)? else {
            return Ok(());
        };
        let left = pf::parse_unpermitted(&states, |flow| firewall.permits(flow, fresh));
        let jail = &firewall.jail;
        self.kill_all(inside, left, || {
            format!("that the firewall of {jail} does not permit")
        })
    }

    /// Kills states by their numbers; an error if there are more than one operation may kill.
    fn kill_all(
        &self,
        inside: Option<&str>,
        ids: Vec<String>,
        which: impl Fn() -> String,
    ) -> Result<(), Failure> {
        let count = ids.len();
        let max = if inside.is_some() {
            STATES_INSIDE_MAX
        } else {
            STATES_MAX
        };
        for id in ids.into_iter().take(max) {
            self.kill(inside, words!["-k", "id", "-k", id])?;
        }
        effect(count <= max, || {
            let left = count - max;
            format!("{left} states {} are left for the next try", which())
        })
    }

    /// `pfctl -k label -k LABEL` (recording `12`).
    pub(super) fn kill_labelled(&self, label: &str) -> Result<(), Failure> {
        let plain = |c: char| c.is_ascii_graphic();
        let label = word("the label", label, LABEL_BYTES_MAX, plain)?;
        self.kill(None, words!["-k", "label", "-k", label])
    }

    fn kill(&self, inside: Option<&str>, arguments: Vec<String>) -> Result<(), Failure> {
        let command = Command::pfctl(inside, arguments);
        let output = self.run(&command)?;
        if output.is_success() || pf::is_not_loaded(&output.stderr) {
            Ok(())
        } else {
            Err(Failure::refused(&command, &output))
        }
    }
}

/// Whether an interface of a state is a loopback: the host's first, by which IPv6 between its addresses goes (recording `18`), or one of ours.
fn is_loopback(interface: &str) -> bool {
    interface == FIRST_LOOPBACK || names::is_loopback(interface)
}

/// An anchor below ours, and no pattern: `*` at its end would mean all of them.
fn anchor_word(anchor: &str) -> Result<&str, Failure> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.');
    let anchor = word("the anchor", anchor, ANCHOR_BYTES_MAX, plain)?;
    let below = anchor
        .strip_prefix(ANCHOR_ROOT)
        .and_then(|rest| rest.strip_prefix('/'));
    if below.is_some_and(|rest| !rest.is_empty() && !rest.ends_with('/')) {
        Ok(anchor)
    } else {
        Err(Failure::Word {
            what: "the anchor",
            word: anchor.to_owned(),
        })
    }
}

/// Rules that pfctl cannot read are told from everything else that may go wrong: trying them again is no use.
fn rejected(anchor: &str, command: &Command, output: &crate::command::Output) -> Failure {
    if is_about_rules(output) {
        Failure::RuleRejected {
            anchor: anchor.to_owned(),
            stderr: excerpt(&output.stderr),
            jails: BTreeMap::new(),
        }
    } else {
        Failure::refused(command, output)
    }
}

/// `stdin:3: syntax error` (`yyerror`, sbin/pfctl/parse.y).
fn is_about_rules(output: &crate::command::Output) -> bool {
    output.stderr.contains("stdin:")
}

/// What pfctl said, with the first line of the rules that it is about.
fn told(stderr: &str, rules: &str) -> String {
    let mut said = excerpt(stderr).trim_end().replace('\n', "; ");
    let number = stderr.split("stdin:").nth(1);
    let number = number.and_then(|rest| rest.split(':').next()?.parse::<usize>().ok());
    let line = number.and_then(|number| rules.lines().nth(number.checked_sub(1)?));
    if let Some(line) = line {
        said.push_str(&format!(" (`{line}`)"));
    }
    said
}
