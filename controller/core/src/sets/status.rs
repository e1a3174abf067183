//! What is said of a set: counts, revisions, conditions, and whether an update has failed.

use std::collections::BTreeSet;
use std::time::Duration;

use cellblock_schemas::{Condition, ConditionStatus, Jail, JailSet, JailSetStatus, Uid};
use jiff::{SignedDuration, Timestamp};

use super::plan::{Action, Member, Plan};
use super::{revision, state};
use crate::admit::Now;
use crate::conditions;
use crate::index::Index;

/// How many jails a message names before it only counts them.
const JAILS_SHOWN_MAX: usize = 3;

/// The status as it should be. `late` is the last step forward for which this process itself has waited in vain: what a clock
/// says that may have been set, or of a time when no controller ran, is not enough to undo an update.
pub(super) fn of(
    index: &Index,
    set: &JailSet,
    plan: &Plan<'_>,
    late: Option<Timestamp>,
    now: Timestamp,
) -> JailSetStatus {
    let known = set.status.clone().unwrap_or_default();
    let mut status = known.clone();
    let members = &plan.members;
    let of = |meant: &dyn Fn(&Member<'_>) -> bool| {
        count(members.iter().filter(|member| meant(member)).count())
    };
    status.observed_generation = set.metadata.generation;
    status.replicas = count(plan.count);
    status.ready = of(&|member| member.ready);
    status.available = of(&|member| member.available);
    status.updated = of(&|member| member.revision == plan.target);
    status.update_revision.clone_from(&plan.update);
    let used: BTreeSet<&str> = members.iter().map(|member| member.revision).collect();
    revision::record(&mut status, set, &used, now);
    if status.failed_revision != plan.update || !set.spec.undoes() {
        status.failed_revision.clear();
        status.failed_message.clear();
    }
    let all = set.spec.replicas();
    let is_whole = plan.actions.is_empty()
        && plan.obstacles.is_empty()
        && status.replicas == all
        && status.updated == all
        && status.available == all
        && known.observed_generation == set.metadata.generation
        && set.metadata.deletion_timestamp.is_none();
    if is_whole {
        status.current_revision.clone_from(&plan.target);
    }
    let reached = of(&|member| member.available && member.revision == plan.target);
    let was_whole = says(&known, conditions::READY, "Complete");
    let is_anew = known.observed_generation != set.metadata.generation
        || known.update_revision != status.update_revision
        || status.progressed.is_none()
        || (was_whole && !is_whole);
    // A jail that comes and goes is no progress.
    if is_anew || reached > known.furthest {
        status.progressed = Some(now);
        status.furthest = reached;
    }
    let is_late = !is_whole && !set.spec.paused && !is_anew && is_overdue(set, &status, late, now);
    let unwell = unwell(index, plan);
    let is_target_ill = plan
        .members
        .iter()
        .any(|one| one.heard && !one.available && one.revision == plan.target);
    let can_undo = set.spec.undoes()
        && status.failed_revision.is_empty()
        && plan.target == plan.update
        && !status.current_revision.is_empty()
        && status.current_revision != plan.update
        && is_target_ill
        && !plan.would_delete(set, &status.current_revision);
    if is_late && can_undo {
        status.failed_revision.clone_from(&plan.update);
        status.failed_message.clone_from(&unwell);
        status.progressed = Some(now);
        status.furthest = 0;
    }
    let refused = refused(index, set, plan, now);
    let progress = progress(
        set,
        &status,
        is_whole,
        is_late && !can_undo,
        &unwell,
        refused,
    );
    let ready = ready(&progress, &status, is_whole);
    let available = available(set, &status, &unwell);
    let generation = set.metadata.generation;
    for (kind, (condition, reason, message)) in [
        (conditions::AVAILABLE, available),
        (conditions::PROGRESSING, progress),
        (conditions::READY, ready),
    ] {
        let condition = conditions::new(kind, condition, reason, message, generation);
        conditions::set(&mut status.conditions, condition, now);
    }
    status
}

/// Whether a set may wait longer than it shall: it is not as it shall be, nor paused. Since when, and for how long it may.
pub(super) fn waits(set: &JailSet) -> Option<(Timestamp, Duration)> {
    let status = set.status.as_ref()?;
    let is_over = says(status, conditions::READY, "Complete")
        || says(status, conditions::PROGRESSING, "DeadlineExceeded")
        || !status.failed_revision.is_empty()
        || set.spec.paused;
    let since = status.progressed.filter(|_| !is_over)?;
    Some((
        since,
        Duration::from_secs(set.spec.progress_deadline_seconds()),
    ))
}

/// Whether the last step forward is too long ago, or was said to be.
fn is_overdue(
    set: &JailSet,
    status: &JailSetStatus,
    late: Option<Timestamp>,
    now: Timestamp,
) -> bool {
    let Some(since) = status.progressed else {
        return false;
    };
    if since != now && says(status, conditions::PROGRESSING, "DeadlineExceeded") {
        return true;
    }
    let deadline = i64::try_from(set.spec.progress_deadline_seconds()).unwrap_or(i64::MAX);
    late == Some(since)
        && (since > now || now.duration_since(since) >= SignedDuration::from_secs(deadline))
}

fn says(status: &JailSetStatus, kind: &str, reason: &str) -> bool {
    conditions::find(&status.conditions, kind).is_some_and(|said| said.reason == reason)
}

type Said = (ConditionStatus, &'static str, String);

fn progress(
    set: &JailSet,
    status: &JailSetStatus,
    is_whole: bool,
    is_late: bool,
    unwell: &str,
    refused: Option<String>,
) -> Said {
    let counts = format!(
        "{} of {} jails are of revision {}, {} are available",
        status.updated,
        set.spec.replicas(),
        if status.failed_revision.is_empty() {
            &status.update_revision
        } else {
            &status.current_revision
        },
        status.available
    );
    let and = |more: &str| {
        if more.is_empty() {
            counts.clone()
        } else {
            format!("{counts}; {more}")
        }
    };
    if set.metadata.deletion_timestamp.is_some() {
        let message = format!("goes when the last of {} jails is gone", status.replicas);
        return (ConditionStatus::False, "Deleting", message);
    }
    if !status.failed_revision.is_empty() {
        let message = format!(
            "the jails of revision {} did not become available within {}s ({}), so that they are brought back to revision {}: {counts}; change the template",
            status.failed_revision,
            set.spec.progress_deadline_seconds(),
            status.failed_message,
            status.current_revision,
        );
        return (ConditionStatus::False, "Undone", message);
    }
    if let Some(refused) = refused {
        return (ConditionStatus::False, "JailRefused", refused);
    }
    let is_behind = status.current_revision != status.update_revision;
    if set.spec.paused && is_behind {
        let message = and("no jail is brought to another revision until `jailctl rollout resume`");
        return (ConditionStatus::Unknown, "Paused", message);
    }
    if is_whole {
        return (ConditionStatus::True, "Complete", counts);
    }
    if is_late {
        return (ConditionStatus::False, "DeadlineExceeded", and(unwell));
    }
    (ConditionStatus::True, "Progressing", and(unwell))
}

fn ready(progress: &Said, status: &JailSetStatus, is_whole: bool) -> Said {
    let (_, reason, message) = progress;
    let is_ready = is_whole && status.failed_revision.is_empty() && *reason == "Complete";
    let status = if is_ready {
        ConditionStatus::True
    } else {
        ConditionStatus::False
    };
    (status, *reason, message.clone())
}

fn available(set: &JailSet, status: &JailSetStatus, unwell: &str) -> Said {
    let all = set.spec.replicas();
    let least = all.saturating_sub(set.spec.unavailable());
    let mut message = format!(
        "{} of {all} jails are available, at least {least} shall be",
        status.available
    );
    if status.available < least {
        if !unwell.is_empty() {
            message = format!("{message}; {unwell}");
        }
        return (ConditionStatus::False, "TooFew", message);
    }
    (ConditionStatus::True, "Enough", message)
}

/// Which jails are not available, and why; and what else is in the way.
fn unwell(index: &Index, plan: &Plan<'_>) -> String {
    let unwell: Vec<_> = plan.members.iter().filter(|one| !one.available).collect();
    let shown = unwell.iter().take(JAILS_SHOWN_MAX);
    let mut sentences: Vec<String> = shown
        .map(|member| format!("{}: {}", member.jail.metadata.name, why(index, member)))
        .collect();
    if let Some(more @ 1..) = unwell.len().checked_sub(JAILS_SHOWN_MAX) {
        sentences.push(format!("and {more} more"));
    }
    sentences.extend(plan.obstacles.iter().take(JAILS_SHOWN_MAX).cloned());
    sentences.join("; ")
}

fn why(index: &Index, member: &Member<'_>) -> String {
    if member.ready {
        return "is ready, but not yet for spec.minReady".to_owned();
    }
    let jail: &Jail = member.jail;
    let found = jail
        .status
        .as_ref()
        .map_or(&[][..], |status| &status.conditions);
    let is_bad = |condition: &&Condition| condition.status != ConditionStatus::True;
    let scheduled = conditions::find(found, conditions::SCHEDULED).filter(is_bad);
    let host = jail.binding().and_then(|binding| index.host(&binding.host));
    if let Some(lost) = host.and_then(crate::place::unheard) {
        return format!("its host {lost}");
    }
    let ready = conditions::find(found, conditions::READY).filter(is_bad);
    match scheduled.or(ready) {
        Some(said) if said.message.is_empty() => said.reason.clone(),
        Some(said) => format!("{}: {}", said.reason, said.message),
        None => "its host has not reported it yet".to_owned(),
    }
}

/// Why the next jail that should be made or changed cannot be.
fn refused(index: &Index, set: &JailSet, plan: &Plan<'_>, now: Timestamp) -> Option<String> {
    let next = plan.actions.iter().find_map(|(jail, action)| match action {
        Action::State(revision) => Some((jail, revision)),
        Action::Take => None,
    });
    let (jail, revision) = next?;
    let now = Now {
        timestamp: now,
        new_uid: Uid::default(),
    };
    let refusal = state(index, set, jail, revision, &now).err()?;
    Some(refusal.to_string())
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
