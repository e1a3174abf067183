//! `jailctl restart`: the operator's word that jails be started again, whatever their restart policy says.
//!
//! It is a field of the Jail, so that it is kept, told, and done once, whoever dies in between.

use anyhow::bail;
use cellblock_schemas::Kind;
use jiff::Timestamp;

use crate::args::Restart;
use crate::client::Client;
use crate::host::write;
use crate::printer::Printer;
use crate::target::{Targets, Usage, label};

/// Whose the field is that this sets: not `apply`'s own, so that applying the manifest again leaves it.
const FIELD_MANAGER: &str = "jailctl-restart";

/// Runs `restart`.
///
/// # Errors
/// There is no such jail, or the controller did not answer.
pub async fn run(
    client: &mut Client,
    arguments: &Restart,
    printer: &Printer,
) -> anyhow::Result<()> {
    let Targets::Objects(jails) = Targets::read(&arguments.words)? else {
        bail!(Usage("which jails? give their names".to_owned()));
    };
    if let Some((kind, name)) = jails.iter().find(|(kind, _)| *kind != Kind::Jail) {
        bail!(Usage(format!(
            "{} cannot be restarted, only jails can",
            label(*kind, name)
        )));
    }
    let now = Timestamp::now().to_string();
    for (kind, name) in jails {
        let fields = [("restart", now.as_str().into())];
        write(client, kind, &name, &fields, FIELD_MANAGER).await?;
        printer.note(&format!("{} restarts once, if it runs", label(kind, &name)));
    }
    Ok(())
}
