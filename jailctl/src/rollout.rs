//! `jailctl rollout` and `jailctl scale`: how far the update of a JailSet is, what it can go back to, and the fields that steer it.

use anyhow::{anyhow, bail};
use cellblock_schemas::jail_set::{JailSet, JailSetStatus, Revision};
use cellblock_schemas::{Condition, Kind};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::args::{Rollout, Scale};
use crate::client::Client;
use crate::host::until_unchanged;
use crate::printer::{Printer, visible};
use crate::table;
use crate::target::{Targets, Usage, label};

mod follow;

/// Whose the fields are that these words set: not `apply`'s own, so that a manifest that says otherwise is told who did.
const FIELD_MANAGER: &str = "jailctl-rollout";

/// Runs `scale`.
///
/// # Errors
/// There is no such set, or the controller did not answer.
pub async fn scale(
    client: &mut Client,
    arguments: &Scale,
    printer: &Printer,
) -> anyhow::Result<()> {
    for name in sets(&arguments.words)? {
        let replicas = arguments.replicas;
        edit(client, &name, |spec| {
            spec["replicas"] = json!(replicas);
        })
        .await?;
        printer.note(&format!(
            "{} has {replicas} jails now, or will",
            label(Kind::JailSet, &name)
        ));
    }
    Ok(())
}

/// Runs `rollout …`.
///
/// # Errors
/// There is no such set or revision, or the controller did not answer.
pub async fn run(
    client: &mut Client,
    arguments: &Rollout,
    printer: &Printer,
) -> anyhow::Result<()> {
    match arguments {
        Rollout::Status {
            named,
            no_wait: true,
            ..
        } => {
            for name in sets(&named.words)? {
                let set = read(client, &name).await?;
                for line in status(&set) {
                    printer.line(&line)?;
                }
            }
            Ok(())
        }
        Rollout::Status { named, timeout, .. } => {
            follow::run(client, &sets(&named.words)?, *timeout, printer).await
        }
        Rollout::History(named) => {
            for (place, name) in sets(&named.words)?.iter().enumerate() {
                let set = read(client, name).await?;
                if named.words.len() > 1 {
                    let blank = if place == 0 { "" } else { "\n" };
                    printer.line(&format!("{blank}{}", label(Kind::JailSet, name)))?;
                }
                let rows = history(&set.status.unwrap_or_default());
                let heading = ["NUMBER", "REVISION", "SINCE", "NOTE"];
                let text = table::plain(&heading, &[0, 1, 2], rows, printer.room());
                printer.raw(&text)?;
            }
            Ok(())
        }
        Rollout::Pause(named) => set_paused(client, &named.words, true, "is paused", printer).await,
        Rollout::Resume(named) => set_paused(client, &named.words, false, "goes on", printer).await,
        Rollout::Restart(named) => {
            let now = Timestamp::now().to_string();
            for name in sets(&named.words)? {
                edit(client, &name, |spec| {
                    spec["template"]["spec"]["restart"] = json!(now);
                })
                .await?;
                let label = label(Kind::JailSet, &name);
                printer.note(&format!(
                    "{label} restarts its jails as it would update them"
                ));
            }
            Ok(())
        }
        Rollout::Undo { named, to_revision } => {
            for name in sets(&named.words)? {
                let back = undo(client, &name, *to_revision).await?;
                printer.note(&format!(
                    "{} goes back to revision {} ({})",
                    label(Kind::JailSet, &name),
                    back.number,
                    back.name
                ));
            }
            Ok(())
        }
    }
}

/// Chooses the revision from the set that is written: what was the last complete one a moment ago may have failed since.
async fn undo(client: &mut Client, name: &str, number: Option<u64>) -> anyhow::Result<Revision> {
    let once = async || {
        let mut object = client.get(Kind::JailSet, name).await?;
        let read = serde_json::from_value::<JailSet>(object.value.clone());
        let status = read.map(|set| set.status.unwrap_or_default());
        let status = match status {
            Ok(status) => status,
            Err(error) => return Ok(Err(anyhow!(error))),
        };
        let Some(back) = earlier(&status, number).cloned() else {
            return Ok(Err(anyhow!("{}", nothing_earlier(name, &status, number))));
        };
        if let Some(spec) = object.value.get_mut("spec") {
            spec["template"] = json!(back.template);
        }
        let value = &object.value;
        client
            .update(Kind::JailSet, name, value, FIELD_MANAGER)
            .await?;
        Ok(Ok(back))
    };
    until_unchanged(once).await?
}

fn sets(words: &[String]) -> anyhow::Result<Vec<String>> {
    let Targets::Objects(objects) = Targets::read(words)? else {
        bail!(Usage("which jailsets? give their names".to_owned()));
    };
    if let Some((kind, name)) = objects.iter().find(|(kind, _)| *kind != Kind::JailSet) {
        bail!(Usage(format!("{} is no jailset", label(*kind, name))));
    }
    Ok(objects.into_iter().map(|(_, name)| name).collect())
}

async fn read(client: &mut Client, name: &str) -> anyhow::Result<JailSet> {
    let object = client.get(Kind::JailSet, name).await?;
    Ok(serde_json::from_value(object.value)?)
}

async fn set_paused(
    client: &mut Client,
    words: &[String],
    paused: bool,
    word: &str,
    printer: &Printer,
) -> anyhow::Result<()> {
    for name in sets(words)? {
        edit(client, &name, |spec| {
            spec["paused"] = json!(paused);
        })
        .await?;
        printer.note(&format!("{} {word}", label(Kind::JailSet, &name)));
    }
    Ok(())
}

/// Reads a set and writes it with its spec changed, until nobody else writes in between.
async fn edit(client: &mut Client, name: &str, change: impl Fn(&mut Value)) -> anyhow::Result<()> {
    let once = async || {
        let mut object = client.get(Kind::JailSet, name).await?;
        if let Some(spec) = object.value.get_mut("spec") {
            change(spec);
        }
        let value = &object.value;
        client
            .update(Kind::JailSet, name, value, FIELD_MANAGER)
            .await?;
        Ok(())
    };
    Ok(until_unchanged(once).await?)
}

/// The revision that is gone back to: the one that was asked for; or the last complete one, unless the set's own is that; or the
/// newest but the set's own that did not fail.
fn earlier(status: &JailSetStatus, number: Option<u64>) -> Option<&Revision> {
    let newest = |wanted: &dyn Fn(&Revision) -> bool| {
        let mut history = status.history.iter().rev();
        history.find(|revision| wanted(revision))
    };
    if number.is_some() {
        return newest(&|revision| Some(revision.number) == number);
    }
    let is_other = |revision: &Revision| revision.name != status.update_revision;
    newest(&|revision| is_other(revision) && revision.name == status.current_revision).or_else(
        || newest(&|revision| is_other(revision) && revision.name != status.failed_revision),
    )
}

fn nothing_earlier(name: &str, status: &JailSetStatus, number: Option<u64>) -> String {
    let label = label(Kind::JailSet, name);
    let known: Vec<String> = status
        .history
        .iter()
        .map(|one| one.number.to_string())
        .collect();
    match number {
        Some(number) => format!(
            "{label} has no revision {number}; there are {}",
            known.join(", ")
        ),
        None => format!("{label} has no earlier revision"),
    }
}

/// How far a set is, in a line.
fn counts(set: &JailSet) -> String {
    let none = JailSetStatus::default();
    let status = set.status.as_ref().unwrap_or(&none);
    format!(
        "{}: {} of {} jails updated, {} ready, {} available",
        label(Kind::JailSet, &set.metadata.name),
        status.updated,
        set.spec.replicas(),
        status.ready,
        status.available
    )
}

fn status(set: &JailSet) -> Vec<String> {
    let mut lines = vec![counts(set)];
    let said = |one: &Condition| {
        format!(
            "  {} {}: {}",
            one.kind,
            visible(&one.reason),
            visible(&one.message)
        )
    };
    let conditions = set.status.iter().flat_map(|status| &status.conditions);
    lines.extend(conditions.map(said));
    lines
}

fn history(status: &JailSetStatus) -> Vec<Vec<String>> {
    let rows = status.history.iter().map(|revision| {
        let mut marks = Vec::new();
        if revision.name == status.update_revision {
            marks.push("the template's");
        }
        if revision.name == status.current_revision {
            marks.push("last complete");
        }
        if revision.name == status.failed_revision {
            marks.push("undone");
        }
        let since = revision.since.map(|since| since.to_string());
        vec![
            revision.number.to_string(),
            revision.name.clone(),
            since.unwrap_or_default(),
            marks.join(", "),
        ]
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_undo_goes_back_to_what_was_last_complete() {
        let revision = |name: &str, number| Revision {
            name: name.to_owned(),
            number,
            ..Revision::default()
        };
        let mut status = JailSetStatus {
            history: vec![revision("good", 1), revision("bad", 2), revision("new", 3)],
            current_revision: "good".to_owned(),
            update_revision: "new".to_owned(),
            ..JailSetStatus::default()
        };
        let name =
            |status: &JailSetStatus, number| earlier(status, number).map(|one| one.name.clone());
        assert_eq!(name(&status, None), Some("good".to_owned()));
        assert_eq!(name(&status, Some(2)), Some("bad".to_owned()));
        assert_eq!(name(&status, Some(9)), None);
        status.current_revision = "new".to_owned();
        assert_eq!(name(&status, None), Some("bad".to_owned()));
    }
}
