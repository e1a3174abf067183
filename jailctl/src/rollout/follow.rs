//! `jailctl rollout status`: an update followed until it is over, or cannot get on. What it says is the controller's; nothing is judged here.

use std::time::Duration;

use anyhow::bail;
use cellblock_schemas::Kind;
use cellblock_schemas::condition::{Condition, ConditionStatus};
use cellblock_schemas::jail_set::JailSet;
use tokio::time::Instant;

use super::counts;
use crate::client::{Client, Refused};
use crate::printer::{Printer, visible};
use crate::target::label;
use crate::wait::{self, PAUSE};

/// How long one look may take where no time was given: a controller that is away is asked again.
const LOOK: Duration = Duration::from_secs(5);

/// Where an update stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Standing {
    /// All jails are of the template's revision and available.
    Over,
    /// It does not get on by itself, for this reason.
    Stuck(String),
    /// It goes on.
    UnderWay,
}

/// Follows the updates of sets, one after the other.
///
/// # Errors
/// One cannot get on or is not over in time (the others were followed all the same), there is no such set, or the controller did not answer.
pub(super) async fn run(
    client: &mut Client,
    names: &[String],
    timeout: Option<Duration>,
    printer: &Printer,
) -> anyhow::Result<()> {
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    let mut stuck = 0;
    for name in names {
        if let Err(why) = follow(client, name, deadline, printer).await? {
            printer.error(&format!("{}: {why}", label(Kind::JailSet, name)));
            stuck += 1;
        }
    }
    match (stuck, timeout) {
        (0, _) => Ok(()),
        (stuck, None) => bail!("{stuck} of {} did not come to an end", names.len()),
        (stuck, Some(timeout)) => bail!(
            "{stuck} of {} did not come to an end within {}",
            names.len(),
            wait::shown(timeout)
        ),
    }
}

/// Follows one; the inner error is why it did not come to its end.
async fn follow(
    client: &mut Client,
    name: &str,
    deadline: Option<Instant>,
    printer: &Printer,
) -> anyhow::Result<Result<(), String>> {
    let mut told = String::new();
    loop {
        let until = deadline.unwrap_or_else(|| Instant::now() + LOOK);
        let (set, revision) = match read(client, name).await {
            Ok(found) => found,
            // A controller that is restarted meanwhile is waited for; one that never answered is not.
            Err(refused) if refused.is_unavailable() && !told.is_empty() => {
                if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                    return Ok(Err(refused.to_string()));
                }
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            Err(refused) => return Err(refused.into()),
        };
        let set: JailSet = serde_json::from_value(set)?;
        let counted = counts(&set);
        if counted != told {
            printer.line(&counted)?;
            told = counted;
        }
        match standing(&set) {
            Standing::Over => {
                printer.line(&format!("{}: complete", label(Kind::JailSet, name)))?;
                return Ok(Ok(()));
            }
            Standing::Stuck(why) => return Ok(Err(why)),
            Standing::UnderWay => {}
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Ok(Err(said(&set, "Progressing").map_or_else(
                || "the controller has not looked at it yet".to_owned(),
                told_by,
            )));
        }
        wait::next_change(client, Some(Kind::JailSet), revision, until).await;
    }
}

/// The set, and the revision from which its changes are to be watched.
async fn read(client: &mut Client, name: &str) -> Result<(serde_json::Value, u64), Refused> {
    let (sets, revision) = client.list(Kind::JailSet, "").await?;
    match sets.into_iter().find(|set| set.name == name) {
        Some(set) => Ok((set.value, revision)),
        // Its refusal says that there is none.
        None => Ok((client.get(Kind::JailSet, name).await?.value, revision)),
    }
}

fn said<'a>(set: &'a JailSet, kind: &str) -> Option<&'a Condition> {
    let status = set.status.as_ref()?;
    status.conditions.iter().find(|one| one.kind == kind)
}

fn told_by(condition: &Condition) -> String {
    format!(
        "{}: {}",
        visible(&condition.reason),
        visible(&condition.message)
    )
}

fn standing(set: &JailSet) -> Standing {
    let observed = set.status.as_ref().map(|status| status.observed_generation);
    if observed.is_none_or(|observed| observed < set.metadata.generation) {
        return Standing::UnderWay;
    }
    if said(set, "Ready").is_some_and(|ready| ready.status == ConditionStatus::True) {
        return Standing::Over;
    }
    match said(set, "Progressing") {
        Some(progress) if progress.status == ConditionStatus::False => {
            Standing::Stuck(told_by(progress))
        }
        Some(progress) if progress.reason == "Paused" => Standing::Stuck(told_by(progress)),
        Some(_) | None => Standing::UnderWay,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(observed: u64, conditions: serde_json::Value) -> JailSet {
        let value = json!({"apiVersion": "cellblock.dev/v1alpha1", "kind": "JailSet",
            "metadata": {"name": "web", "generation": 2},
            "spec": {"template": {"spec": {}}},
            "status": {"observedGeneration": observed, "conditions": conditions}});
        serde_json::from_value(value).expect("a set")
    }

    #[test]
    fn an_update_is_followed_to_its_end_and_no_further() {
        let one = |kind: &str, status: &str, reason: &str| json!({"type": kind, "status": status, "reason": reason, "message": "m", "observedGeneration": 2});
        let progress = |status, reason| {
            json!([
                one("Progressing", status, reason),
                one("Ready", "False", reason)
            ])
        };
        let whole = || {
            json!([
                one("Progressing", "True", "Complete"),
                one("Ready", "True", "Complete")
            ])
        };
        let stuck = |reason: &str| Standing::Stuck(format!("{reason}: m"));
        for (observed, conditions, expected) in [
            (2, whole(), Standing::Over),
            (1, whole(), Standing::UnderWay),
            (0, json!([]), Standing::UnderWay),
            (2, progress("True", "Progressing"), Standing::UnderWay),
            (
                2,
                progress("False", "DeadlineExceeded"),
                stuck("DeadlineExceeded"),
            ),
            (1, progress("False", "DeadlineExceeded"), Standing::UnderWay),
            (2, progress("False", "Undone"), stuck("Undone")),
            (2, progress("False", "JailRefused"), stuck("JailRefused")),
            (2, progress("False", "Deleting"), stuck("Deleting")),
            (2, progress("Unknown", "Paused"), stuck("Paused")),
        ] {
            assert_eq!(
                standing(&set(observed, conditions.clone())),
                expected,
                "{conditions}"
            );
        }
    }
}
