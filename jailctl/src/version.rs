//! `jailctl version`.

use crate::context::Connection;
use crate::printer::Printer;

/// Runs `version`.
///
/// # Errors
/// No controller answers; this program's version was printed already.
pub async fn run(connection: &Connection, printer: &Printer) -> anyhow::Result<()> {
    printer.line(&format!("jailctl     {}", env!("CARGO_PKG_VERSION")));
    let answer = connection.client()?.version().await?;
    printer.line(&format!(
        "cellblockd  {} (cluster {}, store {})",
        answer.version, answer.cluster, answer.store
    ));
    Ok(())
}
