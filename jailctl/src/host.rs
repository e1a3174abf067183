//! `jailctl host`: pause, resume, cordon, drain, approve, forget, accept a key, and what stays behind.

mod drain;

use cellblock_agent_core::residue::RESIDUE;
use cellblock_schemas::Kind;
use serde_json::{Value, json};

use crate::args::{Host, HostNames, Output};
use crate::client::{Client, Refused};
use crate::context::Connection;
use crate::output;
use crate::printer::Printer;

/// The controller's word for a write to an object that was changed after it was read.
const CONFLICT: &str = "Conflict";

/// Whose the fields are that these words set: not `apply`'s own, so that a manifest that says otherwise is told who did.
const FIELD_MANAGER: &str = "jailctl-host";

/// How often a Host is read and written until nobody else writes it in between. Its agent's reports do, every time that its status changes, which is often while jails start.
const TRIES_MAX: u32 = 20;

/// Runs `host …`.
///
/// # Errors
/// There is no such host, or the controller did not answer.
pub async fn run(
    connection: &Connection,
    arguments: &Host,
    printer: &Printer,
) -> anyhow::Result<()> {
    match arguments {
        Host::Pause(names) => {
            set(
                connection,
                names,
                &[("paused", true.into())],
                "paused: its agent observes and changes nothing",
                printer,
            )
            .await
        }
        Host::Resume(names) => {
            let fields = [("paused", false.into())];
            set(connection, names, &fields, "resumed", printer).await
        },
        Host::Cordon(names) => {
            let fields = [("unschedulable", true.into())];
            let word = "cordoned: no new jail is placed there unless it names the host";
            set(connection, names, &fields, word, printer).await
        }
        Host::Uncordon(names) => {
            let fields = [("unschedulable", false.into())];
            set(connection, names, &fields, "uncordoned", printer).await
        }
        Host::Drain(arguments) => drain::run(&mut connection.client()?, arguments, printer).await,
        Host::Approve(names) => {
            set(
                connection,
                names,
                &[("approved", true.into()), ("forgotten", false.into())],
                "approved: its agent may act",
                printer,
            )
            .await
        }
        Host::Forget(names) => {
            set(
                connection,
                names,
                &[("forgotten", true.into())],
                "forgotten: its jails go to other hosts, those that name it wait; should its agent come back, it observes until `jailctl host approve`",
                printer,
            )
            .await
        }
        Host::AcceptKey { name, key } => {
            let names = HostNames {
                names: vec![name.clone()],
            };
            let fields = [("keyFingerprint", key.as_str().into())];
            set(connection, &names, &fields, "has a new key", printer).await
        }
        Host::Residue(Output {
            output: Some(encoding),
        }) => {
            let list: Vec<Value> = RESIDUE
                .iter()
                .map(|(what, why)| json!({"what": what.to_string(), "why": why}))
                .collect();
            output::document(&Value::Array(list), *encoding, printer)
        }
        Host::Residue(Output { output: None }) => {
            for (what, why) in RESIDUE {
                printer.line(&format!("{what}: {why}"))?;
            }
            Ok(())
        }
    }
}

async fn set(
    connection: &Connection,
    names: &HostNames,
    fields: &[(&str, Value)],
    word: &str,
    printer: &Printer,
) -> anyhow::Result<()> {
    let mut client = connection.client()?;
    for named in &names.names {
        let name = bare(named);
        write(&mut client, Kind::Host, name, fields, FIELD_MANAGER).await?;
        printer.note(&format!("host/{name} {word}"));
    }
    Ok(())
}

/// A host's name; the form that `-o name` prints is as good.
fn bare(named: &str) -> &str {
    named.strip_prefix("host/").unwrap_or(named)
}

/// Repeats a read and write until nobody else writes in between.
pub(crate) async fn until_unchanged<T>(
    mut once: impl AsyncFnMut() -> Result<T, Refused>,
) -> Result<T, Refused> {
    let mut tries = 1;
    loop {
        match once().await {
            Err(refused) if refused.reason == CONFLICT && tries < TRIES_MAX => tries += 1,
            result => return result,
        }
    }
}

/// Reads an object and writes it with `fields` of its spec changed, until nobody else writes in between.
pub(crate) async fn write(
    client: &mut Client,
    kind: Kind,
    name: &str,
    fields: &[(&str, Value)],
    manager: &str,
) -> Result<(), Refused> {
    until_unchanged(async || set_once(client, kind, name, fields, manager).await).await
}

async fn set_once(
    client: &mut Client,
    kind: Kind,
    name: &str,
    fields: &[(&str, Value)],
    manager: &str,
) -> Result<(), Refused> {
    let mut object = client.get(kind, name).await?;
    let spec = object
        .value
        .as_object_mut()
        .map(|object| object.entry("spec").or_insert_with(|| json!({})));
    if let Some(Value::Object(spec)) = spec {
        for (field, value) in fields {
            spec.insert((*field).to_owned(), value.clone());
        }
    }
    client.update(kind, name, &object.value, manager).await?;
    Ok(())
}

#[cfg(test)]
mod tests;
