//! `jailctl`: the command line. Typed arguments become typed requests; one file prints.
//!
//! ```text
//! args ──► apply | get | describe | delete | wait | host | version | sandbox ──► client (gRPC) ──► controller
//!                 │                                                            │
//!                 └── manifests (schemas::manifest)                            └──► printer ──► terminal or script
//! ```

pub mod apply;
pub mod args;
pub mod client;
pub mod context;
pub mod delete;
pub mod describe;
pub mod get;
pub mod host;
pub mod input;
pub mod output;
pub mod printer;
pub mod sandbox;
pub mod table;
pub mod version;
pub mod wait;

use args::{Cli, Command};
use printer::Printer;

/// Runs one command.
///
/// # Errors
/// It failed, and what it has to say beyond the error was printed already.
pub async fn run(cli: Cli, printer: &Printer) -> anyhow::Result<()> {
    let connection = cli.connection;
    match cli.command {
        Command::Apply(arguments) => {
            apply::run(&mut connection.client()?, &arguments, printer).await
        }
        Command::Get(arguments) => get::run(&mut connection.client()?, &arguments, printer).await,
        Command::Describe(arguments) => {
            describe::run(&mut connection.client()?, &arguments, printer).await
        }
        Command::Delete(arguments) => {
            delete::run(&mut connection.client()?, &arguments, printer).await
        }
        Command::Wait(arguments) => wait::run(&mut connection.client()?, &arguments, printer).await,
        Command::Host(arguments) => host::run(&connection, &arguments, printer).await,
        Command::Version => version::run(&connection, printer).await,
        Command::Sandbox(arguments) => sandbox::run(&arguments, printer).await,
    }
}
