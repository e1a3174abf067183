//! `jailctl describe`: everything that is known of an object, in words: what was asked for, what was decided, what was observed, and why not more.

use cellblock_schemas::Kind;
use cellblock_schemas::condition::{Condition, ConditionStatus};
use serde_json::Value;

use crate::args::Describe;
use crate::client::{self, Client, Stored};
use crate::lists;
use crate::printer::{Printer, visible};
use crate::target::Targets;

#[cfg(test)]
mod tests;

/// An annotation that is as long as the object, and says what `kubectl get` shows: kubectl's `describe` leaves it out as well.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Runs `describe`.
///
/// # Errors
/// One of the objects does not exist (the others were shown), or the controller did not answer.
pub async fn run(
    client: &mut Client,
    arguments: &Describe,
    printer: &Printer,
) -> anyhow::Result<()> {
    let mut missing = Vec::new();
    let objects = match Targets::read(&arguments.words)? {
        Targets::Objects(named) => {
            let found = client.get_each(&named).await?;
            missing = found.missing;
            found.objects
        }
        Targets::Kinds(kinds) => {
            let mut objects = Vec::new();
            for kind in kinds {
                objects.extend(client.list(kind, "").await?.0);
            }
            if objects.is_empty() {
                printer.note("nothing found");
            }
            objects
        }
    };
    for (index, object) in objects.iter().enumerate() {
        if index > 0 {
            printer.line("")?;
        }
        for line in describe(object, printer) {
            printer.line(&line)?;
        }
        if matches!(object.kind, Kind::Network | Kind::Image) {
            tell_users(client, object, printer).await?;
        }
        let uid = object
            .value
            .pointer("/metadata/uid")
            .and_then(Value::as_str);
        let uid = uid.unwrap_or_default();
        let told = lists::of_object(client, object.kind.as_str(), &object.name, uid).await?;
        if !told.is_empty() {
            printer.line("Events:")?;
        }
        for line in told {
            printer.line(&line)?;
        }
    }
    Ok(client::all_there(missing, printer)?)
}

fn describe(object: &Stored, printer: &Printer) -> Vec<String> {
    let value = &object.value;
    let text = |pointer: &str| {
        value
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let mut lines = vec![
        field("Name", &object.name),
        field("Kind", object.kind.as_str()),
        field("Uid", &text("/metadata/uid")),
        field("Created", &text("/metadata/creationTimestamp")),
    ];
    let deletion = text("/metadata/deletionTimestamp");
    if !deletion.is_empty() {
        lines.push(field("Deleting since", &deletion));
    }
    for (name, pointer) in [
        ("Labels", "/metadata/labels"),
        ("Annotations", "/metadata/annotations"),
    ] {
        if let Some(map) = value.pointer(pointer).and_then(Value::as_object) {
            let pairs: Vec<String> = map
                .iter()
                .filter(|(key, _)| *key != LAST_APPLIED)
                .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
                .collect();
            if !pairs.is_empty() {
                lines.push(field(name, &pairs.join(", ")));
            }
        }
    }
    lines.push("Spec:".to_owned());
    tree(value.get("spec").unwrap_or(&Value::Null), 1, &mut lines);
    if let Some(status) = value.get("status").and_then(Value::as_object) {
        lines.push("Status:".to_owned());
        let rest: serde_json::Map<String, Value> = status
            .iter()
            .filter(|(key, _)| *key != "conditions")
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        tree(&Value::Object(rest), 1, &mut lines);
        let conditions: Vec<Condition> = status
            .get("conditions")
            .cloned()
            .and_then(|value| serde_json::from_value(value).ok())
            .unwrap_or_default();
        lines.push("Conditions:".to_owned());
        lines.extend(conditions.iter().map(|one| condition(one, printer)));
    }
    lines
}

fn field(name: &str, value: &str) -> String {
    format!("{:<16}{}", format!("{name}:"), visible(value))
}

fn condition(condition: &Condition, printer: &Printer) -> String {
    let color = match condition.status {
        ConditionStatus::True => "32",
        ConditionStatus::False => "31",
        ConditionStatus::Unknown => "33",
    };
    let since = condition
        .last_transition_time
        .map(|time| format!(" since {time}"))
        .unwrap_or_default();
    let status = printer.paint(color, &format!("{:<8}", condition.status.as_str()));
    // What a command said has lines; each stays below its condition.
    let message = condition.message.lines();
    let message: String = message
        .map(|line| format!("\n      {}", visible(line)))
        .collect();
    format!(
        "  {:<14}{status}{}{since}{message}",
        visible(&condition.kind),
        visible(&condition.reason)
    )
}

/// A document as indented words, each value in a line of its own.
fn tree(value: &Value, depth: usize, lines: &mut Vec<String>) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let key = visible(key);
                match value {
                    Value::Object(inner) if inner.is_empty() => {
                        lines.push(format!("{indent}{key}: {{}}"))
                    }
                    Value::Object(_) | Value::Array(_) => {
                        lines.push(format!("{indent}{key}:"));
                        tree(value, depth + 1, lines);
                    }
                    Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                        lines.push(format!("{indent}{key}: {}", scalar(value)));
                    }
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                let mut inner = Vec::new();
                tree(item, depth + 1, &mut inner);
                match inner.split_first() {
                    Some((first, rest)) => {
                        lines.push(format!("{indent}- {}", first.trim_start()));
                        lines.extend_from_slice(rest);
                    }
                    None => lines.push(format!("{indent}- {}", scalar(item))),
                }
            }
        }
        Value::Null => {}
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            lines.push(format!("{indent}{}", scalar(value)))
        }
    }
}

fn scalar(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), |text| visible(text).into_owned())
}

/// Whether jails use objects of the kind, by naming them.
pub(crate) fn is_used(kind: Kind) -> bool {
    matches!(kind, Kind::Host | Kind::Network | Kind::Image)
}

/// The jails among `jails` that are attached to a network, made of an image or on a host: who would lose what.
pub(crate) fn users<'a>(used: &Stored, jails: &'a [Stored]) -> Vec<&'a str> {
    let is_user = |jail: &&Stored| match used.kind {
        Kind::Image => {
            let image = jail.value.pointer("/spec/image/name");
            image.and_then(Value::as_str) == Some(&used.name)
        }
        Kind::Network => {
            let attachments = jail.value.pointer("/spec/networks");
            let mut attachments = attachments.and_then(Value::as_array).into_iter().flatten();
            attachments.any(|one| one.get("network").and_then(Value::as_str) == Some(&used.name))
        }
        Kind::Host => ["/spec/host", "/status/binding/host"]
            .iter()
            .any(|place| jail.value.pointer(place).and_then(Value::as_str) == Some(&used.name)),
        Kind::Jail | Kind::JailSet => false,
    };
    let names = jails.iter().filter(is_user).map(|jail| jail.name.as_str());
    names.collect()
}

async fn tell_users(client: &mut Client, used: &Stored, printer: &Printer) -> anyhow::Result<()> {
    let (jails, _) = client.list(Kind::Jail, "").await?;
    let users = match users(used, &jails).as_slice() {
        [] => "none".to_owned(),
        users => users.join(", "),
    };
    printer.line(&field("Jails", &users))?;
    Ok(())
}
