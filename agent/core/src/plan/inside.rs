//! Firewalls in the pf of VNET jails' own stacks: whether a jail could have its rules in force, which files it starts with, and what its root has changed since.
//!
//! The rules are loaded by the jail's `exec.created` before any program of it runs (`jailconf`), and looked at from outside from then on. The main ruleset is the jail's root's: only one without
//! any rule gets the line that refers to ours.

use cellblock_schemas::ids::Uid;
use cellblock_schemas::jail::JailSpec;
use cellblock_schemas::validate::parameters;
use cellblock_schemas::view::{HostView, JailView};

use super::desired::{DesiredJail, devfs_ruleset};
use super::filter::checked::fresh;
use super::firewall::is_passed_by;
use super::phase::Phase;
use super::{Planner, reason};
use crate::firewall::{At, JailFirewall};
use crate::host::{Firewalled, Wanted};
use crate::ledger::{Ledger, Owned};
use crate::names;
use crate::observed::{AnchorReference, ObservedJail, VnetPf};
use crate::op::{Op, Record, Subject};
use crate::render::pf;

/// Adds the jails whose own pf must be looked at, and the devfs rulesets that must show it.
pub(super) fn add_wanted(view: &HostView, ledger: &Ledger, wanted: &mut Wanted) {
    let inside = view.jails.values();
    for jail in inside.filter(|jail| jail.spec.firewall_inside().is_some()) {
        let ours = ledger.jails.get(&jail.uid);
        let firewalled = Firewalled {
            cluster: view.cluster.as_str().to_owned(),
            uid: jail.uid.as_str().to_owned(),
            place: ours.map(|ours| (ours.jid, ours.path.clone())),
        };
        wanted
            .firewalled
            .insert(jail.jail_name().to_owned(), firewalled);
        wanted.rulesets_of_pf.extend(ruleset(&jail.spec));
    }
}

/// The devfs ruleset of a jail that has a devfs; none where nothing is hidden.
pub(super) fn ruleset(spec: &JailSpec) -> Option<u32> {
    let ruleset = parameters::is_on(spec, "mount.devfs").then(|| devfs_ruleset(spec))?;
    u32::try_from(ruleset).ok().filter(|ruleset| *ruleset > 0)
}

impl Planner<'_> {
    /// Whether the rules could be loaded; where they could not, the jail does not start, and one that runs is told.
    pub(super) fn check_inside(&mut self, jail: &JailView) {
        let subject = Subject::Jail(jail.uid.clone());
        if !self.observed.pf.loaded {
            let message = "spec.firewall would not be in force: pf is not loaded on this host, so no network stack has one; run `kldload pf` and put `pf_load=\"YES\"` into /boot/loader.conf (the host's own pf need not be enabled)".to_owned();
            return self.block(&subject, reason::FIREWALL_NOT_IN_FORCE, message);
        }
        if self.observed.pf.sealed {
            let message = "spec.firewall would not be in force: the host's kern.securelevel, which every jail has too, lets nobody change pf's rules; set kern_securelevel to 1 or less in rc.conf and boot the host".to_owned();
            return self.block(&subject, reason::FIREWALL_NOT_IN_FORCE, message);
        }
        if let Some(ruleset) = ruleset(&jail.spec)
            && self.observed.hides_pf.contains(&ruleset)
        {
            let message = format!(
                "spec.firewall.enforcedBy: devfs ruleset {ruleset} hides /dev/pf, by which the jail's own pf gets its rules; set spec.parameters.devfs_ruleset to one with `path pf unhide`, such as 5 (devfsrules_jail_vnet)"
            );
            self.block(&subject, reason::PF_HIDDEN, message);
        }
    }

    /// The files that `exec.created` loads.
    pub(super) fn plan_files_inside(&mut self, subject: &Subject, jail: &DesiredJail<'_>) {
        let Some(firewall) = self.inside.get(&jail.view.uid) else {
            return;
        };
        let (rules, main) = self.settings.pf_files(jail.view.jail_name());
        let files = [
            (rules, pf::render_inside(firewall).rules),
            (main, pf::main_inside()),
        ];
        for (path, content) in files {
            if self.observed.files.get(&path) != Some(&content) {
                self.step(Phase::WriteFile, subject, Op::WriteFile { path, content });
            }
        }
    }

    /// What the ledger is to say of the rules that a jail starts with.
    pub(super) fn started_inside(&self, uid: &Uid) -> Option<Record> {
        let firewall = self.inside.get(uid)?;
        Some(Record::Owned(self.loaded(firewall)))
    }

    /// The rules of a running jail as its root left them: loaded again where they are not what they shall be, told where they have no effect for a reason that is its root's own.
    pub(super) fn plan_own_pf(&mut self, uid: &Uid, running: &ObservedJail) {
        let observed = self.observed;
        let vnet = observed.vnets.get(&running.jid);
        let Some(found) = vnet.and_then(|vnet| vnet.pf.as_ref()) else {
            return;
        };
        let Some(firewall) = self.inside.get(uid).cloned() else {
            return;
        };
        let subject = Subject::Jail(uid.clone());
        if let Some(cause) = hindrance(found, &firewall) {
            let message = format!("spec.firewall is not in force in the jail's own pf: {cause}");
            self.block(&subject, reason::FIREWALL_NOT_IN_FORCE, message);
        }
        if !found.pf.loaded || found.unread.is_some() {
            return;
        }
        let loaded = self.loaded(&firewall);
        let unchecked = Owned::Unchecked { jail: uid.clone() };
        let jail = &running.name;
        let first = self.steps.len();
        let text = pf::render_inside(&firewall);
        let is_known = self.ledger.owned.contains(&loaded);
        if found.pf.anchors.get(names::ANCHOR_INSIDE) != Some(&text.hash) || !is_known {
            let op = Op::LoadAnchorInVnet {
                jail: jail.clone(),
                anchor: names::ANCHOR_INSIDE.to_owned(),
                rules: text.rules,
            };
            self.step(Phase::RepairVnet, &subject, op);
        }
        let refers = found.pf.references.contains(&AnchorReference::Filter);
        let (refer, enable) = (!refers && found.is_bare, !found.pf.enabled);
        if refer || enable && refers {
            let op = Op::RaiseInVnet {
                jail: jail.clone(),
                refer,
                enable,
            };
            self.step(Phase::RepairVnet, &subject, op);
        }
        // Whatever was loaded or came into force may find connections that it does not permit.
        if let Some((_, step)) = self.steps.get_mut(first) {
            let records = [loaded.clone(), unchecked.clone()];
            step.record.extend(records.map(Record::Owned));
        } else if !self.ledger.owned.contains(&unchecked) && self.former(&loaded).is_empty() {
            return;
        }
        let former = self.former(&loaded);
        let op = Op::KillUnpermitted {
            inside: Some(jail.clone()),
            firewall,
            fresh: fresh(&former, &loaded),
        };
        let forget = former.into_iter().chain([unchecked]).map(Record::Owned);
        let forget: Vec<Record> = forget.collect();
        self.step(Phase::RepairVnet, &subject, op)
            .forget
            .extend(forget);
    }

    /// What the ledger says of other rules of the same jail.
    fn former(&self, loaded: &Owned) -> Vec<Owned> {
        let of = |owned: &Owned| {
            if let Owned::Firewall { jail, .. } = owned {
                Some(jail.clone())
            } else {
                None
            }
        };
        let owned = self.ledger.owned.iter();
        let former = owned.filter(|owned| *owned != loaded && of(owned).is_some());
        former
            .filter(|owned| of(owned) == of(loaded))
            .cloned()
            .collect()
    }
}

/// Why rules in a jail's own pf have no effect, where nothing of ours can mend it; and what its root would have to do.
fn hindrance(found: &VnetPf, firewall: &JailFirewall) -> Option<String> {
    if let Some(unread) = &found.unread {
        return Some(format!("it could not be looked at: {unread}"));
    }
    let pf = &found.pf;
    if !pf.loaded {
        return Some(
            "the jail has no /dev/pf any more; mount its devfs again, or have the jail started anew"
                .to_owned(),
        );
    }
    let root = names::ANCHOR_ROOT;
    if !pf.references.contains(&AnchorReference::Filter) && !found.is_bare {
        return Some(format!(
            "the main ruleset that the jail's root has loaded has no `anchor \"{root}/*\"`; have him put the line before his filter rules in the jail's /etc/pf.conf and load it again"
        ));
    }
    let ends = firewall.links.iter().filter_map(|link| match &link.at {
        At::Inside(interface) => Some(interface),
        At::Stack | At::HostEnd(_) | At::Member { .. } => None,
    });
    let skipped: Vec<&str> = ends
        .filter(|interface| pf.skipped.contains(*interface))
        .map(String::as_str)
        .collect();
    if !skipped.is_empty() {
        return Some(format!(
            "the jail's root says `set skip on` {}; have him take it out",
            skipped.join(", ")
        ));
    }
    let mut before = pf.before_us.iter();
    let rule = before.find(|rule| is_passed_by(rule, firewall))?;
    Some(format!(
        "the main ruleset that the jail's root has loaded has `{}` before `anchor \"{root}/*\"`; have him put the anchor first",
        rule.text
    ))
}
