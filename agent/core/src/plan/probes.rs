//! Jails that are started again because their probes say that they are not alive; and what probes have come to, for the ledger.
//!
//! Such a restart is begun once: the ledger has the jid that is being stopped before anything is done, so that an agent that dies over it neither counts it twice nor leaves it half done.

use cellblock_schemas::ids::Uid;
use cellblock_schemas::jail::RestartPolicy;
use cellblock_schemas::view::HostView;

use super::desired::DesiredJail;
use super::held::Held;
use super::{Planner, reason};
use crate::ledger::OwnedJail;
use crate::observed::{Observed, ObservedJail};
use crate::op::Record;
use crate::probe::{self, Revived, Suspicion, Verdicts, suspicion, unready};

/// How many jails are stopped at a time to be started again because they are not alive. Those that are down do not count: one that cannot start would keep a place for ever.
const REVIVALS_MAX: usize = 4;

impl<'a> Planner<'a> {
    /// Why a running jail is to be started again, if it is not alive.
    pub(super) fn revival(
        &self,
        uid: &Uid,
        jail: &DesiredJail<'a>,
        running: &ObservedJail,
    ) -> Option<String> {
        let ours = self.ledger.jails.get(uid)?;
        if ours.revived.jid == running.jid {
            return Some(ours.restart.clone());
        }
        let spec = &jail.view.spec;
        let probes = spec.probes.as_ref()?;
        match spec.restart_policy {
            RestartPolicy::Never => return None,
            RestartPolicy::Always | RestartPolicy::OnFailure => {}
        }
        if self.suspicion().is_some() {
            return None;
        }
        let health = self.observed.health.get(uid)?;
        let is_due = health.is_restart_due && health.verdicts.jid == running.jid;
        let (failed, verdict) = health.verdicts.failed().filter(|_| is_due)?;
        let mut asked = probes.named();
        asked.find(|(name, _)| *name == failed)?;
        Some(format!("probe `{failed}` fails: {}", verdict.message))
    }

    /// Whether most jails of the host fail. It stands as long as they do, so that a host on which nothing gets on is not given the work of starting all of them as well.
    fn suspicion(&self) -> Option<Suspicion> {
        let jails = self.ledger.jails.iter();
        suspicion(jails.filter_map(|(uid, ours)| {
            let health = self.observed.health.get(uid);
            let known = health.map(|health| &health.verdicts);
            let known = known.filter(|known| known.jid == ours.jid);
            known.or_else(|| probe::verdicts(ours, ours.jid))
        }))
    }

    /// Holds those of the jails to be started again because they are not alive for which there is no place yet: so many at a time, those counted that are being stopped for it.
    pub(super) fn bound_revivals(&self, revived: Vec<(&Uid, String)>, held: &mut Held) {
        let has_begun = |uid: &Uid| {
            let ours = self.ledger.jails.get(uid);
            ours.is_some_and(|ours| ours.revived.jid != 0)
        };
        let (begun, mut begins): (Vec<_>, Vec<_>) =
            revived.into_iter().partition(|(uid, _)| has_begun(uid));
        begins.retain(|(uid, _)| !held.contains_key(uid));
        let places = REVIVALS_MAX.saturating_sub(begun.len());
        let waiting = begins.into_iter().skip(places);
        for (uid, cause) in waiting {
            let message = format!(
                "{cause}; it is restarted after others of this host, at most {REVIVALS_MAX} of which are stopped for that at a time"
            );
            held.insert(uid.clone(), (reason::PROBE_FAILED, message));
        }
    }

    pub(super) fn plan_revival(&mut self, uid: &Uid, running: &ObservedJail, cause: String) {
        let ours = self.ledger.jails.get(uid);
        let ours = ours.filter(|ours| ours.revived.jid != running.jid);
        let record = ours.map(|ours| {
            let remembered = OwnedJail {
                restart: cause.clone(),
                revived: Revived {
                    count: ours.revived.count.saturating_add(1),
                    jid: running.jid,
                },
                ..ours.clone()
            };
            Record::Jail(uid.clone(), remembered)
        });
        self.plan_stop(uid, running, Some(cause));
        if let Some(record) = record
            && let Some((_, step)) = self.steps.last_mut()
        {
            step.record
                .retain(|record| !matches!(record, Record::Jail(..)));
            step.record.push(record);
        }
    }

    /// Whether a jail that runs is as its probes want it.
    pub(super) fn is_well(&self, uid: &Uid, running: &ObservedJail) -> bool {
        let jail = self.view.jails.get(uid);
        let ours = self.ledger.jails.get(uid);
        jail.is_none_or(|jail| unready(jail, ours, running.jid).is_none())
    }
}

/// What the ledger has to say of a running jail by what its probes have come to; none: what it says.
pub(super) fn learned(
    view: &HostView,
    observed: &Observed,
    uid: &Uid,
    jid: u32,
    ours: &OwnedJail,
) -> Option<OwnedJail> {
    let has_probes = || {
        let jail = view.jails.get(uid);
        jail.is_some_and(|jail| jail.spec.probes.is_some())
    };
    let health = observed.health.get(uid);
    let health = health.filter(|health| health.verdicts.jid == jid);
    let mut learned = ours.clone();
    match health {
        Some(health) => {
            let nothing = Verdicts {
                jid,
                ..Verdicts::default()
            };
            if health.verdicts != nothing {
                learned.verdicts = Some(Box::new(health.verdicts.clone()));
            }
            if health.is_settled && ours.revived.jid != jid {
                learned.revived = Revived::default();
            }
        }
        None if learned.verdicts.is_some() && !has_probes() => learned.verdicts = None,
        None => {}
    }
    (learned != *ours).then_some(learned)
}
