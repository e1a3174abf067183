//! `jailctl get`: objects, once or for as long as they change.

use cellblock_proto::v1::watch_event::Type;

use crate::args::Get;
use crate::client::{Client, Stored};
use crate::output::{self, Format};
use crate::printer::Printer;
use crate::table;

/// Runs `get`.
///
/// # Errors
/// An object that was named does not exist, or the controller did not answer.
pub async fn run(client: &mut Client, arguments: &Get, printer: &Printer) -> anyhow::Result<()> {
    let selector = arguments.selector.as_deref().unwrap_or_default();
    let mut objects = Vec::new();
    let mut revision = 0;
    for kind in &arguments.kinds.0 {
        if arguments.names.is_empty() {
            let (listed, at) = client.list(*kind, selector).await?;
            revision = at;
            objects.extend(listed);
        } else {
            for name in &arguments.names {
                let object = client.get(*kind, name).await?;
                revision = revision.max(object.revision);
                objects.push(object);
            }
        }
    }
    if objects.is_empty() && matches!(arguments.output, Format::Table | Format::Wide) {
        printer.note("nothing found");
    }
    output::show(
        &objects,
        &arguments.output,
        arguments.names.len() == 1 && arguments.kinds.0.len() == 1,
        printer,
    )?;
    if arguments.watch {
        watch(client, arguments, revision, printer).await
    } else {
        Ok(())
    }
}

async fn watch(
    client: &mut Client,
    arguments: &Get,
    revision: u64,
    printer: &Printer,
) -> anyhow::Result<()> {
    let [kind] = arguments.kinds.0.as_slice() else {
        anyhow::bail!("-w shows one kind at a time");
    };
    let selector = arguments.selector.as_deref().unwrap_or_default();
    let mut events = client.watch(*kind, selector, revision).await?;
    while let Some(event) = events
        .message()
        .await
        .map_err(|status| client.refused(&status))?
    {
        let Some(object) = &event.object else {
            continue;
        };
        if event.r#type() == Type::Bookmark
            || !(arguments.names.is_empty() || arguments.names.contains(&object.name))
        {
            continue;
        }
        let object: Stored = client.stored(object)?;
        let deleted = event.r#type() == Type::Deleted;
        match &arguments.output {
            Format::Table | Format::Wide => {
                let wide = matches!(arguments.output, Format::Wide);
                let row = table::render(std::slice::from_ref(&object), wide, false);
                printer.line(&format!(
                    "{}{}",
                    row.trim_end(),
                    if deleted { "   (deleted)" } else { "" }
                ));
            }
            Format::Yaml | Format::Json | Format::Name | Format::JsonPath(_) => {
                output::show(
                    std::slice::from_ref(&object),
                    &arguments.output,
                    true,
                    printer,
                )?;
            }
        }
    }
    Ok(())
}
