//! What the tables of `jailctl get` and of `kubectl get` say alike: how ready something is, and how old. No table is laid out in here.

use jiff::Timestamp;

use crate::condition::{Condition, ConditionStatus};

/// The `Ready` condition's status and, unless it is true, its reason.
#[must_use]
pub fn ready(conditions: &[Condition]) -> (String, String) {
    let found = |kinds: &[&str]| {
        let mut each = conditions.iter();
        each.find(|condition| kinds.contains(&condition.kind.as_str()))
    };
    match found(&["Ready"]) {
        Some(ready) if ready.status == ConditionStatus::True => ("True".to_owned(), String::new()),
        Some(ready) => (ready.status.as_str().to_owned(), ready.reason.clone()),
        // A jail that no host has yet, and a host that was never heard of.
        None => {
            let before = found(&["Scheduled", "Heard"]);
            let reason = before.map(|condition| condition.reason.clone());
            ("Unknown".to_owned(), reason.unwrap_or_default())
        }
    }
}

/// How long ago, in the largest whole unit: `42s`, `7m`, `3h`, `12d`; of no time nothing.
#[must_use]
pub fn age(since: Option<Timestamp>, now: Timestamp) -> String {
    let Some(since) = since else {
        return String::new();
    };
    let seconds = now.as_second().saturating_sub(since.as_second()).max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests;
