//! `jailctl version`.

use serde_json::json;

use crate::args::Output;
use crate::context::Connection;
use crate::output;
use crate::printer::Printer;

/// Runs `version`.
///
/// # Errors
/// No controller answers; this program's version was printed already.
pub async fn run(
    connection: &Connection,
    arguments: Output,
    printer: &Printer,
) -> anyhow::Result<()> {
    if let Some(encoding) = arguments.output {
        let answer = connection.client()?.version().await?;
        let document = json!({
            "jailctl": env!("CARGO_PKG_VERSION"),
            "cellblockd": {"version": answer.version, "cluster": answer.cluster, "store": answer.store},
        });
        return output::document(&document, encoding, printer);
    }
    printer.line(&format!("jailctl     {}", env!("CARGO_PKG_VERSION")))?;
    let answer = connection.client()?.version().await?;
    printer.line(&format!(
        "cellblockd  {} (cluster {}, store {})",
        answer.version, answer.cluster, answer.store
    ))?;
    Ok(())
}
