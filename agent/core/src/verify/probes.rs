//! What the probes of a jail have come to, as its conditions say it.

use cellblock_schemas::condition::{Condition, ConditionStatus};
use cellblock_schemas::jail::RestartPolicy;
use cellblock_schemas::view::JailView;

use super::{Evidence, Problem, condition};
use crate::observed::ObservedJail;
use crate::plan::reason;
use crate::probe::{self, Suspicion, Verdict, Verdicts, Why, pause_ms, suspicion, unready};

/// What keeps a jail that runs from being ready.
pub(super) fn problem(
    evidence: Evidence<'_>,
    jail: &JailView,
    running: &ObservedJail,
) -> Option<Problem> {
    let ours = evidence.ledger.jails.get(&jail.uid);
    let unready = unready(jail, ours, running.jid)?;
    let reason = match unready.why {
        Why::Pending => reason::PROBE_PENDING,
        Why::NotMade => reason::PROBE_NOT_MADE,
        Why::Failed => reason::PROBE_FAILED,
    };
    Some(Problem {
        reason: reason.to_owned(),
        message: unready.message,
        blocked: unready.why != Why::Pending,
    })
}

/// Whether the jail is alive; there only while it runs, if something asks that.
pub(super) fn live(
    evidence: Evidence<'_>,
    jail: &JailView,
    running: Option<&ObservedJail>,
) -> Option<Condition> {
    let probes = jail.spec.probes.as_ref().filter(|_| !jail.deleting)?;
    let running = running?;
    if probes.started.is_none() && probes.live.is_none() {
        return None;
    }
    let ours = evidence.ledger.jails.get(&jail.uid);
    let known = ours.and_then(|ours| probe::verdicts(ours, running.jid));
    let restarts = ours.map_or(0, |ours| ours.revived.count);
    let failed = known.and_then(probe::Verdicts::failed);
    let failed = failed.filter(|(name, _)| probes.named().any(|(asked, _)| asked == *name));
    let started = known.and_then(|known| known.started.as_ref());
    let live = known.and_then(|known| known.live.as_ref());
    let is_open = |verdict: Option<&Verdict>| verdict.is_none_or(|known| known.is_unknown);
    let open = if probes.started.is_some() && is_open(started) {
        Some(("started", started))
    } else {
        (probes.live.is_some() && is_open(live)).then_some(("live", live))
    };
    let (status, reason, message) = match failed {
        Some((name, verdict)) => (
            ConditionStatus::False,
            reason::PROBE_FAILED,
            format!(
                "probe `{name}` fails: {}; {}",
                verdict.message,
                consequence(jail, restarts, suspicion(known_to(evidence)))
            ),
        ),
        None => match open {
            Some((name, Some(verdict))) => (
                ConditionStatus::Unknown,
                reason::PROBE_NOT_MADE,
                probe::not_made(name, verdict),
            ),
            Some((name, None)) => (
                ConditionStatus::Unknown,
                reason::PROBE_PENDING,
                format!("probe `{name}` has not answered yet"),
            ),
            None => (ConditionStatus::True, "Alive", times(restarts)),
        },
    };
    Some(condition("Live", status, reason, message, jail.generation))
}

/// What the ledger knows of the host's jails.
fn known_to(evidence: Evidence<'_>) -> impl Iterator<Item = &Verdicts> {
    let jails = evidence.ledger.jails.values();
    jails.filter_map(|ours| probe::verdicts(ours, ours.jid))
}

/// What follows from a failure.
fn consequence(jail: &JailView, restarts: u32, suspicion: Option<Suspicion>) -> String {
    match jail.spec.restart_policy {
        RestartPolicy::Never => format!(
            "spec.restartPolicy is Never, so it runs on: `jailctl restart jail {}` restarts it",
            jail.name
        ),
        RestartPolicy::Always | RestartPolicy::OnFailure => match suspicion {
            Some(suspicion) => format!(
                "{suspicion}: look at the host, or `jailctl restart jail {}`",
                jail.name
            ),
            None if restarts == 0 => "it is restarted".to_owned(),
            None => format!(
                "{}, and is restarted once it has run for {} s",
                times(restarts),
                pause_ms(restarts) / 1_000
            ),
        },
    }
}

fn times(restarts: u32) -> String {
    match restarts {
        0 => String::new(),
        1 => "it was restarted for that once".to_owned(),
        _ => format!("it was restarted for that {restarts} times in a row"),
    }
}
