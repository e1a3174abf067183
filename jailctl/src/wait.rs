//! `jailctl wait`: until objects are in a state, with the reasons of those that are not.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use anyhow::bail;
use cellblock_schemas::meta::OWN_FINALIZERS;
use cellblock_schemas::{Kind, suggest};
use serde_json::Value;
use tokio::time::Instant;

use crate::args::Wait;
use crate::client::{Client, Refused, Stored};
use crate::input;
use crate::jsonpath::{self, Template};
use crate::printer::Printer;
use crate::target::{Targets, Usage, label};

#[cfg(test)]
mod tests;

/// How long to wait for the next event before everything is read again: what a cut-off watch hides is seen then.
const RELIST: Duration = Duration::from_secs(5);

/// How long the last look may take, which is made when the time is over.
const LAST_LOOK: Duration = Duration::from_secs(2);

/// How long to wait for a controller that does not answer before it is asked again.
pub(crate) const PAUSE: Duration = Duration::from_millis(200);

/// The condition that sums the others up.
const READY: &str = "Ready";

/// Objects by kind and name.
type Objects = BTreeMap<(Kind, String), Stored>;

/// What is waited for.
#[derive(Clone, Debug)]
pub enum Goal {
    /// A condition has a status, for the newest generation of the spec.
    Condition {
        /// The condition's type.
        kind: String,
        /// `True`, `False` or `Unknown`.
        status: String,
    },
    /// A field has a value, or any.
    JsonPath {
        /// Where the field is.
        path: Template,
        /// As the operator wrote it.
        text: String,
        /// The value; none: any.
        value: Option<String>,
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
        if let Some(expression) = text.strip_prefix("jsonpath=") {
            return json_path(expression);
        }
        let Some(condition) = text.strip_prefix("condition=") else {
            return Err(
                "there are condition=NAME[=STATUS], jsonpath=EXPRESSION[=VALUE], delete and create"
                    .to_owned(),
            );
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

/// `{.status.phase}=Running`, `{.status.jid}`, or without braces.
fn json_path(expression: &str) -> Result<Goal, String> {
    let (text, rest) = if expression.starts_with('{') {
        let close = jsonpath::closing(expression)
            .ok_or_else(|| format!("`{expression}`: a brace is not closed"))?;
        expression.split_at(close + 1)
    } else {
        expression.split_at(expression.rfind('=').unwrap_or(expression.len()))
    };
    let value = match rest.strip_prefix('=') {
        None if rest.is_empty() => None,
        Some(value) if !value.is_empty() => {
            let quoted = value
                .strip_prefix('"')
                .and_then(|rest| rest.strip_suffix('"'));
            Some(quoted.unwrap_or(value).to_owned())
        }
        Some(_) | None => {
            return Err(format!(
                "`{expression}`: after the expression comes =VALUE, or nothing"
            ));
        }
    };
    Ok(Goal::JsonPath {
        path: Template::relaxed(text)?,
        text: text.to_owned(),
        value,
    })
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
            (Self::Create | Self::Condition { .. } | Self::JsonPath { .. }, None) => {
                Err("does not exist".to_owned())
            }
            (Self::Condition { kind, status }, Some(object)) => {
                condition_reached(object, kind, status)
            }
            (Self::JsonPath { path, text, value }, Some(object)) => {
                // What cannot be had yet, such as the first entry of an empty list, may come.
                let found = path.render(&object.value).unwrap_or_default();
                match value {
                    None if !found.is_empty() => Ok(()),
                    Some(value) if found == *value => Ok(()),
                    None | Some(_) if found.is_empty() => {
                        Err(format!("{text} is not there{}", because(object, READY)))
                    }
                    None | Some(_) => Err(format!("{text} is `{found}`{}", because(object, READY))),
                }
            }
        }
    }

    /// What is said of an object that is there, in kubectl's words.
    fn said(&self) -> &'static str {
        match self {
            Self::Condition { .. } | Self::JsonPath { .. } => "condition met",
            Self::Delete => "deleted",
            Self::Create => "created",
        }
    }
}

fn condition_reached(object: &Stored, kind: &str, status: &str) -> Result<(), String> {
    // An image is ready by being there: what is made of it, its jails tell.
    if object.kind == Kind::Image && kind == READY && status == "True" {
        return Ok(());
    }
    let found = condition(object, kind);
    let number = |value: Option<&Value>| value.and_then(Value::as_u64);
    let newest = number(object.value.pointer("/metadata/generation"));
    let observed = number(found.and_then(|found| found.get("observedGeneration")));
    let current = found
        .and_then(|found| found.get("status"))
        .and_then(Value::as_str);
    match current {
        Some(current) if current == status && observed >= newest => Ok(()),
        Some(current) if observed < newest => Err(format!(
            "{kind} is {current} for an earlier generation of the spec; nothing was reported of the newest yet{}",
            unheard(object)
        )),
        Some(current) => Err(format!("{kind} is {current}{}", because(object, kind))),
        None => Err(format!(
            "{kind} is not reported{}{}",
            because(object, kind),
            known_conditions(object, kind)
        )),
    }
}

fn conditions(object: &Stored) -> impl Iterator<Item = &Value> {
    let list = object.value.pointer("/status/conditions");
    list.and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(condition: &'a Value, key: &str) -> &'a str {
    condition
        .get(key)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn condition<'a>(object: &'a Stored, kind: &str) -> Option<&'a Value> {
    conditions(object).find(|condition| text(condition, "type") == kind)
}

/// Why a condition is as it is: its own reason and message; where it is not reported, those of the condition that is in its way: one that
/// is False before one that is Unknown.
fn because(object: &Stored, kind: &str) -> String {
    let first = |status: &str| conditions(object).find(|one| text(one, "status") == status);
    let told = condition(object, kind)
        .or_else(|| first("False"))
        .or_else(|| first("Unknown"));
    let Some(told) = told else {
        return String::new();
    };
    match (text(told, "reason"), text(told, "message")) {
        ("", "") => String::new(),
        (reason, "") => format!(" ({reason})"),
        ("", message) => format!(" ({message})"),
        (reason, message) => format!(" ({reason}: {message})"),
    }
}

/// The conditions that there are, where a name that none of them has is waited for: it may be a slip.
fn known_conditions(object: &Stored, kind: &str) -> String {
    let known: Vec<&str> = conditions(object).map(|one| text(one, "type")).collect();
    if known.is_empty() || known.contains(&READY) && kind == READY {
        return String::new();
    }
    format!("; it has {}", known.join(", "))
}

/// Who has not reported.
fn unheard(object: &Stored) -> String {
    let host = object.value.pointer("/status/binding/host");
    host.and_then(Value::as_str)
        .map(|host| {
            format!(" (`jailctl describe host {host}` tells whether the agent of {host} is heard)")
        })
        .unwrap_or_default()
}

/// Why a deletion is not over: nobody asked for it; or else who still uses the object, whose finalizers it has, or what is not true of it; or
/// else who has not confirmed it.
fn held_by(object: &Stored) -> String {
    let metadata = object.value.get("metadata");
    let is_going = metadata.is_some_and(|metadata| metadata.get("deletionTimestamp").is_some());
    if !is_going {
        return ", and nobody has asked for its deletion".to_owned();
    }
    let users = condition(object, "InUse")
        .filter(|condition| text(condition, "status") == "True")
        .map(|condition| text(condition, "message"));
    if let Some(users) = users {
        return format!(" ({users})");
    }
    let finalizers = object.value.pointer("/metadata/finalizers");
    let finalizers = finalizers.and_then(Value::as_array).into_iter().flatten();
    let (own, foreign): (Vec<&str>, Vec<&str>) = finalizers
        .filter_map(Value::as_str)
        .partition(|name| name.starts_with(OWN_FINALIZERS));
    // What the host has done and others have not is told by their finalizers alone: its last word stays in the conditions.
    if own.is_empty() && !foreign.is_empty() {
        return format!(
            " (held by the finalizers of others: {})",
            foreign.join(", ")
        );
    }
    let ready = condition(object, READY).filter(|ready| text(ready, "status") != "True");
    let reason = match ready {
        Some(_) => because(object, READY),
        None => String::new(),
    };
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
    let targets = targets(client, arguments, printer).await?;
    if targets.is_empty() {
        // As kubectl: nothing matches, so all that matches is gone.
        if matches!(arguments.goal, Goal::Delete) {
            return Ok(());
        }
        bail!(
            "there is nothing to wait for: no object matches; name what shall come to be, as in `jailctl wait jail/www`"
        );
    }
    let goal = &arguments.goal;
    let all = targets.len();
    let mut is_told = false;
    let tell = |there: usize| {
        if !is_told && there < all {
            printer.note(&format!("waiting for {} of {all}", all - there));
            is_told = true;
        }
    };
    wait(client, &targets, goal, arguments.timeout, printer, tell).await?;
    for (kind, name) in &targets {
        printer.note(&format!("{} {}", label(*kind, name), goal.said()));
    }
    Ok(())
}

async fn targets(
    client: &mut Client,
    arguments: &Wait,
    printer: &Printer,
) -> anyhow::Result<Vec<(Kind, String)>> {
    let mut targets = Vec::new();
    if !arguments.words.is_empty() {
        match Targets::read(&arguments.words)? {
            Targets::Objects(objects) => targets.extend(objects),
            Targets::Kinds(_) if matches!(arguments.goal, Goal::Create) => {
                bail!(Usage(
                    "waiting until something is created needs its name, as in `jailctl wait jail/www --for create`"
                        .to_owned()
                ));
            }
            Targets::Kinds(kinds) => {
                let selector = arguments.selector.as_deref().unwrap_or_default();
                for kind in kinds {
                    let (listed, _) = client.list(kind, selector).await?;
                    targets.extend(listed.into_iter().map(|object| (kind, object.name)));
                }
            }
        }
    }
    if !arguments.files.filenames.is_empty() {
        let documents = input::read(&arguments.files.filenames, printer)?;
        let named = documents.iter().map(|document| {
            (
                document.object.kind(),
                document.object.metadata().name.clone(),
            )
        });
        targets.extend(named);
    }
    Ok(targets)
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
    let mut known: Option<Objects> = None;
    loop {
        let until = deadline.max(Instant::now() + LAST_LOOK);
        let read = tokio::time::timeout_at(until, read(client, targets)).await;
        let Ok(read) = read else {
            bail!("the controller did not answer within {}", shown(timeout));
        };
        let (objects, revision) = match read {
            Ok(read) => read,
            // A controller that is restarted meanwhile is waited for; one that never answered is not.
            Err(refused) if refused.is_unavailable() && known.is_some() => {
                if Instant::now() >= deadline {
                    bail!("{refused} (it did when this wait began)");
                }
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            Err(refused) => return Err(refused.into()),
        };
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
            return Err(too_late(
                &missing,
                &objects,
                targets.len(),
                timeout,
                printer,
            ));
        }
        let first = missing[0].0.0;
        let kind = missing
            .iter()
            .all(|((kind, _), _)| *kind == first)
            .then_some(first);
        next_change(client, kind, revision, deadline).await;
        known = Some(objects);
    }
}

/// Names what is missing, each with its reason, and where to look further.
fn too_late(
    missing: &[(&(Kind, String), String)],
    objects: &Objects,
    all: usize,
    timeout: Duration,
    printer: &Printer,
) -> anyhow::Error {
    for ((kind, name), reason) in missing {
        let near = match objects.contains_key(&(*kind, name.clone())) {
            true => None,
            false => {
                let names = objects.keys().filter(|(found, _)| found == kind);
                suggest::nearest(name, names.map(|(_, name)| name.as_str()))
            }
        };
        let help = near
            .map(|near| format!("; did you mean `{near}`?"))
            .unwrap_or_default();
        printer.error(&format!("{}: {reason}{help}", label(*kind, name)));
    }
    let ((kind, name), _) = &missing[0];
    anyhow::anyhow!(
        "{} of {all} not there after {}; `jailctl describe {}` tells all that is known, --timeout waits longer",
        missing.len(),
        shown(timeout),
        label(*kind, name)
    )
}

/// `500 ms`, `60 s`
pub(crate) fn shown(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        format!("{} ms", duration.as_millis())
    } else {
        format!("{} s", duration.as_secs())
    }
}

async fn read(client: &mut Client, targets: &[(Kind, String)]) -> Result<(Objects, u64), Refused> {
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

/// Returns with the next change of an object of that kind (none: of any), or after a while.
pub(crate) async fn next_change(
    client: &mut Client,
    kind: Option<Kind>,
    revision: u64,
    deadline: Instant,
) {
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
        tokio::time::sleep(PAUSE).await;
    };
    // Running out of time is no error here: everything is read again.
    let _ = tokio::time::timeout_at(until, watching).await;
}
