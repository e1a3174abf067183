//! `spec.pf.anchors: manage`: one block of pf.conf that refers to our anchors, written and put in force under guard, and taken out again. Where it stands in the text, and in what is in force, is
//! `crate::pf_conf`'s. What else is in force stays: pf.conf is never loaded.
//!
//! Enabling pf (`pfctl -e`, `pf_enable` of rc.conf) stays the operator's.

use std::collections::BTreeSet;

use cellblock_schemas::host::PfAnchors;
use cellblock_schemas::view::HostView;

use super::phase::Phase;
use super::{Planner, reason, uplinks};
use crate::guard::{Back, Guard};
use crate::host::{PfConfWanted, Wanted};
use crate::ledger::{Ledger, Owned};
use crate::observed::{AnchorReference, Observed, PfConf};
use crate::op::{Op, PfMain, Record, Subject};
use crate::pf_conf;

/// The words under which a guard and the ledger know it.
pub(super) const PART: &str = "pf.conf";

/// What is to be looked at: pf.conf, while it is managed and as long as the ledger has it.
pub(super) fn add_wanted(view: &HostView, ledger: &Ledger, wanted: &mut Wanted) {
    let anchors = view.host.pf.anchors;
    if anchors == PfAnchors::Manage || known(ledger).is_some() {
        let former = known(ledger).map(|(path, _)| path.to_owned());
        wanted.pf_conf = Some(PfConfWanted { anchors, former });
    }
}

/// What the ledger has of it: where it is, and whether we made it.
fn known(ledger: &Ledger) -> Option<(&str, bool)> {
    ledger.owned.iter().find_map(|owned| {
        let Owned::PfConf { path, made } = owned else {
            return None;
        };
        Some((path.as_str(), *made))
    })
}

/// The file in which the block is, where rc.conf names another by now.
fn former<'a>(found: &PfConf, ledger: &'a Ledger) -> Option<&'a str> {
    let (path, _) = known(ledger)?;
    (!found.path.is_empty() && path != found.path).then_some(path)
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
        let is_ours = known(ledger) == Some((found.path.as_str(), true));
        // A file that we made goes with what we wrote into it; an empty one of the operator's stays.
        let is_none = text.is_empty() && (found.text.is_none() || is_ours);
        Some(Self {
            own,
            text: (!is_none).then_some(text),
            given: found.own.union(&lines).copied().collect(),
        })
    }

    fn is_in_force(&self, observed: &Observed) -> bool {
        !observed.pf.loaded || observed.pf.is_read() && observed.pf.references == self.given
    }

    fn is_so(&self, found: &PfConf, observed: &Observed) -> bool {
        found.text == self.text && self.is_in_force(observed) && !found.litter
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
    if former(found, ledger).is_some() {
        return found.unusable.is_none() && !found.former;
    }
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
            let path = if path.is_empty() { "pf.conf" } else { path };
            let advice = match anchors {
                PfAnchors::Manage => {
                    "put the lines that refer to our anchors into it by hand (`expect`), or mend that"
                }
                PfAnchors::Expect => "our block in it is not taken out before that is mended",
            };
            let message = format!("spec.pf.anchors: {path} is not managed: {why}; {advice}");
            return self.block(&Subject::Host, reason::PF_CONF_UNUSABLE, message);
        }
        if let Some(former) = former(found, ledger).filter(|_| found.former) {
            let message = format!(
                "spec.pf.anchors: rc.conf names {path} by now, and our block is in {former}; take it out of there, or have `pf_rules` name that file again"
            );
            return self.block(&Subject::Host, reason::PF_CONF_UNUSABLE, message);
        }
        if anchors == PfAnchors::Manage && !observed.pf.loaded {
            return self.plan_module("pf");
        }
        if let Some(unread) = &observed.pf.unread {
            let message = format!("spec.pf.anchors: {unread}");
            return self.block(&Subject::Host, reason::NOT_CAPABLE, message);
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
        if observed.pf.sealed {
            let message = format!(
                "spec.pf.anchors: at kern.securelevel 2 the kernel takes no rules, so {path} is not changed; set kern_securelevel to 1 or less in rc.conf and boot the host"
            );
            return self.block(&Subject::Host, reason::NOT_CAPABLE, message);
        }
        let is_loaded = due.is_in_force(observed);
        if !is_loaded && found.in_force.is_none() {
            return;
        }
        let in_force = found.in_force.as_ref().filter(|_| !is_loaded);
        if let Some(said) = in_force.and_then(|in_force| in_force.refused.as_ref()) {
            let message = format!(
                "spec.pf.anchors: what is loaded as pf's main ruleset is not what {path} says, or could not be loaded again as it is, so nothing is written or loaded; have {path} say what shall be loaded and run `service pf reload`, or add the lines by hand: {said}"
            );
            return self.block(&Subject::Host, reason::PF_CONF_REFUSED, message);
        }
        if found.fresh && found.text != due.text {
            let message = format!(
                "spec.pf.anchors: {path} was changed just now, and is left alone until nobody has written it for 30 s"
            );
            return self.block(&Subject::Host, reason::PF_CONF_UNUSABLE, message);
        }
        let target = due.target();
        if let Some(judged) = uplinks::verdict(ledger, PART, &target) {
            let message = format!("spec.pf.anchors: {judged}");
            return self.block(&Subject::Host, reason::ROLLED_BACK, message);
        }
        let has_block = due.text.as_deref().is_some_and(pf_conf::has_block);
        let is_ours = known(ledger) == Some((path.as_str(), true));
        let record = Owned::PfConf {
            path: path.clone(),
            // Made by us, and nobody has written anything else into it.
            made: due.own.is_empty() && (found.text.is_none() || is_ours),
        };
        let before = ledger.owned.iter();
        let before = before.filter(|owned| matches!(owned, Owned::PfConf { .. }));
        let before: Vec<Owned> = before.cloned().collect();
        let is_new = has_block && before.is_empty();
        let main = |references: &BTreeSet<AnchorReference>| {
            in_force.map(|in_force| PfMain {
                references: references.clone(),
                others: in_force.others.clone(),
            })
        };
        let guard =
            (observed.pf.loaded && (in_force.is_some() || found.text != due.text)).then(|| Guard {
                part: PART.to_owned(),
                target,
                back: vec![Back::PfConf {
                    path: path.clone(),
                    from: due.text.clone(),
                    to: found.text.clone(),
                    main: in_force.and_then(|now| main(&now.references)),
                }],
                disown: is_new.then(|| record.clone()).into_iter().collect(),
            });
        let op = Op::SetPfConf {
            path: path.clone(),
            from: found.text.clone(),
            to: due.text.clone(),
            main: main(&due.given),
            back: false,
        };
        let step = self.step(Phase::PfConf, &Subject::HostPart(PART.to_owned()), op);
        step.guard = guard.map(Box::new);
        if has_block && !before.contains(&record) {
            step.forget.extend(before.into_iter().map(Record::Owned));
            step.record.push(Record::Owned(record));
        }
    }
}
