//! `spec.pf.anchors: manage`: one block of pf.conf that refers to our anchors, written and loaded under guard, and taken out again. Where it stands in the text is `crate::pf_conf`'s.
//!
//! Enabling pf (`pfctl -e`, `pf_enable` of rc.conf) stays the operator's.

use std::collections::BTreeSet;

use cellblock_schemas::host::PfAnchors;
use cellblock_schemas::view::HostView;

use super::phase::Phase;
use super::{Planner, reason, uplinks};
use crate::guard::{Back, Guard};
use crate::host::Wanted;
use crate::ledger::{Ledger, Owned};
use crate::observed::{AnchorReference, Observed, PfConf};
use crate::op::{Op, Record, Subject};
use crate::pf_conf;

/// The words under which a guard and the ledger know it.
pub(super) const PART: &str = "pf.conf";

/// How much root may do.
const SECURELEVEL: &str = "kern.securelevel";

/// From here on the kernel takes no rules (`PFNL_CMD_ADDRULE` has `cmd_securelevel` 2, sys/netpfil/pf/pf_nl.c; by ioctl from 3 on, `pfioctl`).
const SECURELEVEL_REFUSES: i64 = 2;

/// What is to be looked at: pf.conf, while it is managed and as long as the ledger has it.
pub(super) fn add_wanted(view: &HostView, ledger: &Ledger, wanted: &mut Wanted) {
    let anchors = view.host.pf.anchors;
    if anchors == PfAnchors::Manage || known(ledger).is_some() {
        wanted.pf_conf = Some(anchors);
        wanted.sysctls.insert(SECURELEVEL.to_owned());
    }
}

/// What the ledger has of it.
fn known(ledger: &Ledger) -> Option<&Owned> {
    let mut owned = ledger.owned.iter();
    owned.find(|owned| matches!(owned, Owned::PfConf { .. }))
}

/// What pf.conf shall say, and what of it is in force.
struct Due {
    own: String,
    /// As the file shall be; none: there shall be none.
    text: Option<String>,
    /// The references that it has then.
    given: BTreeSet<AnchorReference>,
}

impl Due {
    /// None where nothing is known: it cannot be read, or pf is not there to say what it means.
    fn of(found: &PfConf, anchors: PfAnchors, ledger: &Ledger) -> Option<Self> {
        if found.unusable.is_some() || found.refused.is_some() && anchors == PfAnchors::Manage {
            return None;
        }
        let own = pf_conf::own(found.text.as_deref().unwrap_or_default()).ok()?;
        let lines = match anchors {
            PfAnchors::Manage => {
                let all = AnchorReference::ALL.into_iter();
                all.filter(|line| !found.own.contains(line)).collect()
            }
            PfAnchors::Expect => BTreeSet::new(),
        };
        let text = pf_conf::with_block(&own, &lines);
        let is_ours = matches!(known(ledger), Some(Owned::PfConf { own: None, .. }));
        // A file that we made goes with what we wrote into it; an empty one of the operator's stays.
        let is_none = text.is_empty() && (found.text.is_none() || is_ours);
        Some(Self {
            own,
            text: (!is_none).then_some(text),
            given: found.own.union(&lines).copied().collect(),
        })
    }

    fn is_so(&self, found: &PfConf, observed: &Observed) -> bool {
        let is_loaded = !observed.pf.loaded || observed.pf.references == self.given;
        found.text == self.text && is_loaded && !found.litter
    }

    fn target(&self) -> String {
        uplinks::digest(&self.text)
    }
}

/// Whether the ledger need not have it any more: it is not managed, and nothing of ours is in it or in force.
pub(super) fn is_left(view: &HostView, observed: &Observed, ledger: &Ledger) -> bool {
    let Some(found) = &observed.pf_conf else {
        return false;
    };
    let anchors = view.host.pf.anchors;
    let has_block = found.text.as_deref().is_some_and(pf_conf::has_block);
    let due = Due::of(found, anchors, ledger);
    !has_block
        && due.is_some_and(|due| due.is_so(found, observed))
        && (found.refused.is_none() || !observed.pf.loaded)
}

/// Whether the ledger need not know any more that a change of it was taken back: the text that was tried is not wanted any more, or the operator has paused the host.
pub(super) fn is_acquitted(view: &HostView, observed: &Observed, ledger: &Ledger) -> bool {
    let judged = ledger.rolled_back.get(PART);
    let Some(found) = &observed.pf_conf else {
        return true;
    };
    // While it cannot be told what is wanted, what is known stays.
    let due = Due::of(found, view.host.pf.anchors, ledger);
    let is_other = due.is_some_and(|due| judged.is_none_or(|judged| judged.target != due.target()));
    view.host.paused || is_other
}

impl Planner<'_> {
    /// Our block is there while it is declared, and as long as anything of ours needs it.
    pub(super) fn plan_pf_conf(&mut self, is_needed: bool) {
        let (observed, ledger) = (self.observed, self.ledger);
        let anchors = self.view.host.pf.anchors;
        let Some(found) = &observed.pf_conf else {
            return;
        };
        let path = &found.path;
        if let Some(why) = &found.unusable {
            let message = format!(
                "spec.pf.anchors: {path} is not managed: {why}; put the lines that refer to our anchors into it by hand (`expect`), or mend that"
            );
            return self.block(&Subject::Host, reason::PF_CONF_UNUSABLE, message);
        }
        if anchors == PfAnchors::Manage && !observed.pf.loaded {
            return self.plan_module("pf");
        }
        if let Some(said) = &found.refused {
            let message = format!(
                "spec.pf.anchors: pfctl does not take {path} as it is, or with the lines that refer to our anchors before its first rule that filters, so nothing is written or loaded; mend it, or add the lines by hand: {said}"
            );
            return self.block(&Subject::Host, reason::PF_CONF_REFUSED, message);
        }
        let Some(due) = Due::of(found, anchors, ledger) else {
            return;
        };
        if due.is_so(found, observed) {
            return;
        }
        let covers = || {
            AnchorReference::ALL
                .iter()
                .all(|one| found.own.contains(one))
        };
        if anchors == PfAnchors::Expect && is_needed && !covers() {
            let message = format!(
                "spec.pf.anchors is `expect`, and the marked block in {path} stays while rules of ours need it; add its lines by hand outside of it, or say `manage`"
            );
            return self.block(&Subject::Host, reason::PF_CONF_NEEDED, message);
        }
        self.plan_load(found, due);
    }

    fn plan_load(&mut self, found: &PfConf, due: Due) {
        let (observed, ledger) = (self.observed, self.ledger);
        let path = &found.path;
        let securelevel = observed.sysctls.get(SECURELEVEL);
        let securelevel = securelevel.and_then(|value| value.as_ref()?.parse::<i64>().ok());
        if observed.pf.loaded && securelevel.is_some_and(|level| level >= SECURELEVEL_REFUSES) {
            let message = format!(
                "spec.pf.anchors: at {SECURELEVEL} {SECURELEVEL_REFUSES} the kernel takes no rules, so {path} is not changed; it can be before the level is raised"
            );
            return self.block(&Subject::Host, reason::NOT_CAPABLE, message);
        }
        if observed.pf.loaded && found.in_force.is_none() {
            return;
        }
        let unfit = found.in_force.as_ref();
        if let Some(said) = unfit.and_then(|in_force| in_force.refused.as_ref()) {
            let message = format!(
                "spec.pf.anchors: {path} is not loaded, because pf's main ruleset as it is now could not be put back if that cut the host off; run `service pf reload` once {path} is as you want it: {said}"
            );
            return self.block(&Subject::Host, reason::PF_CONF_REFUSED, message);
        }
        let target = due.target();
        if let Some(judged) = uplinks::verdict(ledger, PART, &target) {
            let message = format!("spec.pf.anchors: {judged}");
            return self.block(&Subject::Host, reason::ROLLED_BACK, message);
        }
        let has_block = due.text.as_deref().is_some_and(pf_conf::has_block);
        let record = Owned::PfConf {
            path: path.clone(),
            own: match known(ledger) {
                // Made by us, and nobody has written anything else into it.
                Some(Owned::PfConf { own: None, .. }) if due.own.is_empty() => None,
                _ => found.text.is_some().then(|| due.own.clone()),
            },
        };
        let before: Vec<Owned> = known(ledger).into_iter().cloned().collect();
        let is_new = has_block && before.is_empty();
        let rules = found.in_force.as_ref();
        let guard = rules.map(|in_force| Guard {
            part: PART.to_owned(),
            target,
            back: vec![Back::PfConf {
                path: path.clone(),
                from: due.text.clone(),
                to: found.text.clone(),
                rules: in_force.text.clone(),
            }],
            disown: is_new.then(|| record.clone()).into_iter().collect(),
        });
        let op = Op::SetPfConf {
            path: path.clone(),
            from: found.text.clone(),
            to: due.text,
            put_back: None,
        };
        let step = self.step(Phase::PfConf, &Subject::HostPart(PART.to_owned()), op);
        step.guard = guard.map(Box::new);
        if has_block && !before.contains(&record) {
            step.forget.extend(before.into_iter().map(Record::Owned));
            step.record.push(Record::Owned(record));
        }
    }
}
