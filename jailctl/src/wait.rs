//! `jailctl wait`: until objects are in a state, with the reasons of those that are not.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use anyhow::bail;
use cellblock_schemas::Kind;
use serde_json::Value;
use tokio::time::Instant;

use crate::args::Wait;
use crate::client::{Client, Stored};
use crate::input;
use crate::printer::Printer;

#[cfg(test)]
mod tests;

/// How long to wait for the next event before everything is read again: what a cut-off watch hides is seen then.
const RELIST: Duration = Duration::from_secs(5);

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Goal {
    /// A condition has a status, for the newest generation of the spec.
    Condition {
        /// The condition's type.
        kind: String,
        /// `True`, `False` or `Unknown`.
        status: String,
    },
    /// The object is gone.
    Delete,
    /// The object exists.
    Create,
}

impl FromStr for Goal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "delete" => return Ok(Self::Delete),
            "create" => return Ok(Self::Create),
            _ => {}
        }
        let Some(condition) = text.strip_prefix("condition=") else {
            return Err("there are condition=NAME[=STATUS], delete and create".to_owned());
        };
        let (kind, status) = condition.split_once('=').unwrap_or((condition, "True"));
        let status = match status.to_ascii_lowercase().as_str() {
            "true" => "True",
            "false" => "False",
            "unknown" => "Unknown",
            _ => {
                return Err(format!(
                    "a condition is True, False or Unknown, not `{status}`"
                ));
            }
        };
        Ok(Self::Condition {
            kind: kind.to_owned(),
            status: status.to_owned(),
        })
    }
}

impl Goal {
    /// Whether `object` (none: absent) is there; if not, why not.
    ///
    /// # Errors
    /// Why it is not.
    pub fn reached(&self, object: Option<&Stored>) -> Result<(), String> {
        match (self, object) {
            (Self::Delete, None) | (Self::Create, Some(_)) => Ok(()),
            (Self::Delete, Some(object)) => Err(format!("still there{}", held_by(object))),
            (Self::Create | Self::Condition { .. }, None) => Err("does not exist".to_owned()),
            (Self::Condition { kind, status }, Some(object)) => {
                let found = condition(object, kind);
                let generation = object
                    .value
                    .pointer("/metadata/generation")
                    .and_then(Value::as_u64);
                let observed = found
                    .and_then(|found| found.get("observedGeneration"))
                    .and_then(Value::as_u64);
                let current = found
                    .and_then(|found| found.get("status"))
                    .and_then(Value::as_str);
                if current == Some(status) && observed >= generation {
                    Ok(())
                } else {
                    Err(format!(
                        "{kind} is {}{}",
                        current.unwrap_or("not reported"),
                        because(object)
                    ))
                }
            }
        }
    }
}

fn condition<'a>(object: &'a Stored, kind: &str) -> Option<&'a Value> {
    let conditions = object.value.pointer("/status/conditions")?.as_array()?;
    conditions
        .iter()
        .find(|condition| condition.get("type").and_then(Value::as_str) == Some(kind))
}

/// The reason and message of the first condition that is not true.
fn because(object: &Stored) -> String {
    let conditions = object
        .value
        .pointer("/status/conditions")
        .and_then(Value::as_array);
    let problem = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition.get("status").and_then(Value::as_str) != Some("True"));
    let text = |condition: &Value, key: &str| {
        condition
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    problem
        .map(|problem| {
            format!(
                " ({}: {})",
                text(problem, "reason"),
                text(problem, "message")
            )
        })
        .unwrap_or_default()
}

/// Why a deletion is not over: who still uses the object, or what is not true of it, or else who has not confirmed it.
fn held_by(object: &Stored) -> String {
    let users = condition(object, "InUse")
        .filter(|condition| condition.get("status").and_then(Value::as_str) == Some("True"))
        .and_then(|condition| condition.get("message"))
        .and_then(Value::as_str);
    if let Some(users) = users {
        return format!(" ({users})");
    }
    let reason = because(object);
    let host = object.value.pointer("/status/binding/host");
    match host.and_then(Value::as_str) {
        Some(host) if reason.is_empty() => format!(
            " (host {host} has not confirmed that it is gone; `jailctl describe host {host}` tells whether its agent is heard)"
        ),
        Some(_) | None => reason,
    }
}

/// Runs `wait`.
///
/// # Errors
/// Not everything was there in time; what is missing was printed.
pub async fn run(client: &mut Client, arguments: &Wait, printer: &Printer) -> anyhow::Result<()> {
    let mut targets: Vec<(Kind, String)> = Vec::new();
    if let Some(kind) = arguments.kind {
        targets.extend(arguments.names.iter().map(|name| (kind, name.clone())));
        if arguments.names.is_empty() {
            let selector = arguments.selector.as_deref().unwrap_or_default();
            let (listed, _) = client.list(kind, selector).await?;
            targets.extend(listed.into_iter().map(|object| (kind, object.name)));
        }
    }
    if !arguments.files.filenames.is_empty() {
        let documents = input::read(&arguments.files.filenames, printer)?;
        targets.extend(documents.iter().map(|document| {
            (
                document.object.kind(),
                document.object.metadata().name.clone(),
            )
        }));
    }
    // A Network reports no readiness of its own: it stands where a jail uses it.
    if matches!(arguments.goal, Goal::Condition { .. }) && !arguments.files.filenames.is_empty() {
        targets.retain(|(kind, _)| *kind == Kind::Jail);
    }
    if targets.is_empty() {
        bail!("there is nothing to wait for");
    }
    wait(
        client,
        &targets,
        &arguments.goal,
        arguments.timeout,
        printer,
        |_| {},
    )
    .await
}

/// Waits until all `targets` have reached `goal`; tells `progress` how many have.
///
/// # Errors
/// Not everything was there in time; what is missing was printed.
pub async fn wait(
    client: &mut Client,
    targets: &[(Kind, String)],
    goal: &Goal,
    timeout: Duration,
    printer: &Printer,
    mut progress: impl FnMut(usize),
) -> anyhow::Result<()> {
    let deadline = Instant::now() + timeout;
    loop {
        let (objects, revision) = read(client, targets).await?;
        let missing: Vec<(&(Kind, String), String)> = targets
            .iter()
            .filter_map(|target| {
                goal.reached(objects.get(target))
                    .err()
                    .map(|reason| (target, reason))
            })
            .collect();
        progress(targets.len() - missing.len());
        if missing.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            for ((kind, name), reason) in &missing {
                printer.error(&format!(
                    "{}/{name}: {reason}",
                    kind.as_str().to_ascii_lowercase()
                ));
            }
            bail!(
                "{} of {} not there after {} s",
                missing.len(),
                targets.len(),
                timeout.as_secs()
            );
        }
        next_change(client, missing[0].0.0, revision, deadline).await;
    }
}

async fn read(
    client: &mut Client,
    targets: &[(Kind, String)],
) -> anyhow::Result<(BTreeMap<(Kind, String), Stored>, u64)> {
    let mut objects = BTreeMap::new();
    let mut revision = 0;
    let mut kinds: Vec<Kind> = targets.iter().map(|(kind, _)| *kind).collect();
    kinds.sort();
    kinds.dedup();
    for kind in kinds {
        let (listed, at) = client.list(kind, "").await?;
        revision = if revision == 0 { at } else { revision.min(at) };
        objects.extend(
            listed
                .into_iter()
                .map(|object| ((kind, object.name.clone()), object)),
        );
    }
    Ok((objects, revision))
}

/// Returns with the next change of an object of that kind, or after a while.
async fn next_change(client: &mut Client, kind: Kind, revision: u64, deadline: Instant) {
    let until = deadline.min(Instant::now() + RELIST);
    let watching = async {
        if let Ok(mut events) = client.watch(kind, "", revision).await {
            while let Ok(Some(event)) = events.message().await {
                if event.r#type() != cellblock_proto::v1::watch_event::Type::Bookmark {
                    return;
                }
            }
        }
        // The watch could not be had or broke: the list tells, a little later.
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    // Running out of time is no error here: everything is read again.
    let _ = tokio::time::timeout_at(until, watching).await;
}
