//! `jailctl`: the command line. Typed arguments become typed requests; one file prints.
//!
//! ```text
//! args ──► apply | diff | get | describe | delete | restart | rollout | wait | host | version | visit | import | render | sandbox ──► client (gRPC) ──► controller
//!                 │                                                            │
//!                 └── manifests (schemas::manifest)                            └──► printer ──► terminal or script
//! ```

pub mod apply;
pub mod applyset;
pub mod args;
pub mod client;
pub mod context;
pub mod delete;
pub mod describe;
pub mod diff;
mod end;
pub mod explain;
pub mod get;
pub mod host;
pub mod import;
pub mod input;
pub mod jsonpath;
pub mod lists;
pub mod output;
pub mod printer;
pub mod render;
pub mod restart;
pub mod rollout;
pub mod sandbox;
pub mod table;
pub mod target;
pub mod version;
pub mod visit;
pub mod wait;

use std::process::ExitCode;

use args::{Cli, Command};
use clap::CommandFactory as _;
use printer::{Printer, Unwritten};
use target::Usage;

/// The exit status of a command line that makes no sense, clap's own.
const EXIT_USAGE: u8 = 2;

/// Runs one command, says what went wrong, and tells the exit status: 0 done, 1 refused, not in time, not to be written out or (`diff`) different, 2 a mistake
/// in the command line or (`diff`) any error, 141 nobody reads the result any more. `exec` and `console` have the command's, and 255 for what is ours.
pub async fn run(cli: Cli, printer: &Printer) -> ExitCode {
    let differs = matches!(cli.command, Command::Diff(_));
    match perform(cli, printer).await {
        Ok(code) => code,
        Err(error) => {
            let gone = error.downcast_ref().and_then(Unwritten::silent);
            if let Some(status) = gone {
                return status;
            }
            printer.error(&format!("{error:#}"));
            if differs || error.is::<Usage>() {
                ExitCode::from(EXIT_USAGE)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

/// Says what clap has to say in place of a command: help and the version, which are results, or a mistake; tells the exit status.
pub fn parsed_otherwise(said: &clap::Error, printer: &Printer) -> ExitCode {
    let written = said.print();
    if said.use_stderr() {
        return ExitCode::from(EXIT_USAGE);
    }
    match written.map_err(Unwritten::from) {
        Ok(()) => ExitCode::SUCCESS,
        Err(unwritten) => unwritten.silent().unwrap_or_else(|| {
            printer.error(&unwritten.to_string());
            ExitCode::FAILURE
        }),
    }
}

/// Performs one command.
///
/// # Errors
/// It failed, and what it has to say beyond the error was printed already.
async fn perform(cli: Cli, printer: &Printer) -> anyhow::Result<ExitCode> {
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
        Command::Restart(arguments) => {
            restart::run(&mut connection.client()?, &arguments, printer).await
        }
        Command::Rollout(arguments) => {
            rollout::run(&mut connection.client()?, &arguments, printer).await
        }
        Command::Scale(arguments) => {
            rollout::scale(&mut connection.client()?, &arguments, printer).await
        }
        Command::Wait(arguments) => wait::run(&mut connection.client()?, &arguments, printer).await,
        Command::Host(arguments) => host::run(&connection, &arguments, printer).await,
        Command::Exec(arguments) => {
            return Ok(visit::exec(&connection, &arguments, printer).await);
        }
        Command::Console(arguments) => {
            return Ok(visit::console(&connection, &arguments, printer).await);
        }
        Command::Logs(arguments) => return visit::logs(&connection, &arguments, printer).await,
        Command::Version(arguments) => version::run(&connection, arguments, printer).await,
        Command::Sandbox(arguments) => sandbox::run(&connection, &arguments, printer).await,
        Command::Explain(arguments) => explain::run(&arguments, printer),
        Command::Completion(arguments) => {
            let mut script = Vec::new();
            clap_complete::generate(arguments.shell, &mut Cli::command(), "jailctl", &mut script);
            printer
                .raw(&String::from_utf8_lossy(&script))
                .map_err(anyhow::Error::from)
        }
        Command::Import(arguments) => {
            let is_whole = import::run(&arguments, printer)?;
            return Ok(if is_whole {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            });
        }
        Command::Render(arguments) => {
            let is_whole = render::run(&connection, &arguments, printer).await?;
            return Ok(if is_whole {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            });
        }
        Command::Diff(arguments) => {
            let differs = diff::run(&mut connection.client()?, &arguments, printer).await?;
            return Ok(if differs {
                ExitCode::FAILURE
            } else {
                ExitCode::SUCCESS
            });
        }
    }?;
    Ok(ExitCode::SUCCESS)
}
