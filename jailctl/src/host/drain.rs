//! `jailctl host drain`: the jails of a host's sets are made again elsewhere, as many at a time as their sets can do without.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::bail;
use cellblock_schemas::{Jail, Kind};
use serde_json::Value;
use tokio::time::Instant;

use super::{FIELD_MANAGER, bare, write};
use crate::args::Drain;
use crate::client::{Client, Refused, Stored};
use crate::printer::Printer;
use crate::target::label;
use crate::wait::Goal;

/// How long to wait before what is left is asked again.
const PAUSE: Duration = Duration::from_millis(500);

/// How many jails a message names.
const NAMED_MAX: usize = 10;

/// A jail that shall leave.
struct Leaving {
    name: String,
    uid: String,
    /// Why it is still there.
    why: String,
}

/// Runs `host drain`.
///
/// # Errors
/// A host does not exist, has jails that nobody would make again, or is not empty in time.
pub(super) async fn run(
    client: &mut Client,
    arguments: &Drain,
    printer: &Printer,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + arguments.timeout;
    for named in &arguments.names {
        drain(client, bare(named), arguments, deadline, printer).await?;
    }
    Ok(())
}

async fn drain(
    client: &mut Client,
    host: &str,
    arguments: &Drain,
    deadline: Instant,
    printer: &Printer,
) -> anyhow::Result<()> {
    client.get(Kind::Host, host).await?;
    let (leaving, others) = jails(client, host).await?;
    if !others.is_empty() && !arguments.leave_others {
        bail!(
            "host/{host} has jails that belong to no JailSet, so that nobody would make them again elsewhere: {}; delete them, stop them (`runPolicy: Stopped`), or give --leave-others to leave them as they are",
            listed(&others)
        );
    }
    if arguments.dry_run {
        for jail in leaving {
            printer.note(&format!(
                "{} would leave (dry run)",
                label(Kind::Jail, &jail.name)
            ));
        }
        return Ok(());
    }
    let fields = [("unschedulable", true.into())];
    write(client, Kind::Host, host, &fields, FIELD_MANAGER).await?;
    printer.note(&format!("host/{host} cordoned"));
    // A jail may have been placed until then.
    let mut left = jails(client, host).await?.0;
    let mut told = BTreeMap::new();
    loop {
        let mut still = Vec::new();
        for mut jail in left {
            if let Some(why) = ask(client, host, &jail).await? {
                jail.why = why;
                tell(&mut told, &jail, printer);
                still.push(jail);
            } else {
                printer.note(&format!(
                    "{} has left host/{host}",
                    label(Kind::Jail, &jail.name)
                ));
            }
        }
        left = still;
        if left.is_empty() {
            break;
        }
        if Instant::now() >= deadline {
            for jail in &left {
                printer.error(&format!("{}: {}", label(Kind::Jail, &jail.name), jail.why));
            }
            bail!(
                "{} of host/{host} did not leave in time; it stays cordoned: repeat the drain, or `jailctl host uncordon {host}`",
                left.len()
            );
        }
        tokio::time::sleep(PAUSE).await;
    }
    let end = match others.len() {
        0 => String::new(),
        _ => format!("; it keeps {}", listed(&others)),
    };
    printer.note(&format!("host/{host} drained{end}"));
    Ok(())
}

/// Asks a jail to leave. Why it is still there; none: it has left.
///
/// # Errors
/// It can never leave by being asked, or the controller did not decide.
async fn ask(client: &mut Client, host: &str, jail: &Leaving) -> Result<Option<String>, Refused> {
    let known = match client.get(Kind::Jail, &jail.name).await {
        Ok(known) => known,
        Err(refused) if refused.reason == "NotFound" => return Ok(None),
        Err(refused) => return Err(refused),
    };
    if text(&known, "/metadata/uid") != jail.uid || text(&known, "/status/binding/host") != host {
        return Ok(None);
    }
    if known.value.pointer("/metadata/deletionTimestamp").is_some() {
        return Ok(Goal::Delete.reached(Some(&known)).err());
    }
    match client.evict(&jail.name, &jail.uid).await {
        Ok(true) => Ok(None),
        Ok(false) => Ok(Some("is going".to_owned())),
        Err(refused) => match refused.reason.as_str() {
            // It is another one by now, or may leave later: seen with the next look.
            "NotFound" | "Conflict" | "TooManyRequests" => {
                let said = refused.violations.iter().map(|one| one.message.as_str());
                Ok(Some(said.collect::<Vec<_>>().join("; ")))
            }
            _ => Err(refused),
        },
    }
}

/// Says once why a jail is still there.
fn tell(told: &mut BTreeMap<String, String>, jail: &Leaving, printer: &Printer) {
    let before = told.insert(jail.name.clone(), jail.why.clone());
    if before.as_ref() != Some(&jail.why) {
        printer.note(&format!("{}: {}", label(Kind::Jail, &jail.name), jail.why));
    }
}

/// The jails of a host: those that a set makes again, and the names of the others that are to run.
async fn jails(client: &mut Client, host: &str) -> Result<(Vec<Leaving>, Vec<String>), Refused> {
    let (jails, _) = client.list(Kind::Jail, "").await?;
    let mut leaving = Vec::new();
    let mut others = Vec::new();
    for jail in jails {
        if text(&jail, "/status/binding/host") != host {
            continue;
        }
        if is_of_a_set(&jail) {
            let uid = text(&jail, "/metadata/uid").to_owned();
            leaving.push(Leaving {
                name: jail.name,
                uid,
                why: String::new(),
            });
        } else if text(&jail, "/spec/runPolicy") != "Stopped" {
            others.push(jail.name);
        }
    }
    Ok((leaving, others))
}

fn is_of_a_set(jail: &Stored) -> bool {
    let read = serde_json::from_value::<Jail>(jail.value.clone());
    read.is_ok_and(|jail| {
        let mut owners = jail.metadata.owner_references.iter();
        owners.any(|owner| owner.controller && owner.kind == Kind::JailSet.as_str())
    })
}

fn text<'a>(object: &'a Stored, pointer: &str) -> &'a str {
    let value = object.value.pointer(pointer);
    value.and_then(Value::as_str).unwrap_or_default()
}

fn listed(names: &[String]) -> String {
    let shown = names.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>();
    let more = match names.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", shown.join(", "))
}
