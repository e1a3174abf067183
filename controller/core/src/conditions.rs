//! The conditions that the controller itself sets, and how conditions are kept: one per type, with a transition time that
//! moves only when the status does.

use cellblock_schemas::{Condition, ConditionStatus, Generation};
use jiff::Timestamp;

/// Of a Jail: it has a host and everything that is given out once per fleet or host.
pub const SCHEDULED: &str = "Scheduled";

/// Of a Host: its agent is connected to some controller of this cluster.
pub const HEARD: &str = "Heard";

/// Of a Network or Host whose deletion was asked for: somebody still uses it.
pub const IN_USE: &str = "InUse";

/// Of a JailSet: as many of its jails are available as shall be at any time.
pub const AVAILABLE: &str = "Available";

/// Of a JailSet: its jails are of the template's revision, or come nearer to it.
pub const PROGRESSING: &str = "Progressing";

/// The types that agents do not report, because the controller sets them.
pub const OWN: [&str; 3] = [SCHEDULED, HEARD, IN_USE];

/// Of a Host or Jail: everything about it is as its spec says. Of a Network: on every host that has jails of it.
pub const READY: &str = "Ready";

/// Jails have host and addresses.
pub const REASON_BOUND: &str = "Bound";

/// Jails have host and addresses, and a selector would choose another host now: a jail is never moved.
pub const REASON_MISMATCH: &str = "SelectorMismatch";

/// Nothing is heard of a host any more.
pub const REASON_LOST: &str = "SessionLost";

/// The condition of a type.
#[must_use]
pub fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.kind == kind)
}

/// A condition without a transition time, which [`set`] adds.
#[must_use]
pub fn new(
    kind: &str,
    status: ConditionStatus,
    reason: &str,
    message: impl Into<String>,
    generation: Generation,
) -> Condition {
    Condition {
        kind: kind.to_owned(),
        status,
        reason: reason.to_owned(),
        message: message.into(),
        observed_generation: generation,
        last_transition_time: None,
    }
}

/// Puts `condition` in the place of the one of its type, or at the end. The transition time stays when the status does.
pub fn set(conditions: &mut Vec<Condition>, mut condition: Condition, now: Timestamp) {
    let present = conditions
        .iter_mut()
        .find(|present| present.kind == condition.kind);
    match present {
        Some(present) => {
            condition.last_transition_time = if present.status == condition.status {
                present.last_transition_time.or(Some(now))
            } else {
                Some(now)
            };
            *present = condition;
        }
        None => {
            condition.last_transition_time = Some(now);
            conditions.push(condition);
        }
    }
}
