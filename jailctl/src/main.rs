//! `jailctl`'s entry: parse, run, exit.

use std::process::ExitCode;

use clap::Parser as _;
use jailctl::args::Cli;
use jailctl::printer::Printer;

fn main() -> ExitCode {
    let printer = Printer::new();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(said) => return jailctl::parsed_otherwise(&said, &printer),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            printer.error(&format!("the runtime could not be started: {error}"));
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(jailctl::run(cli, &printer))
}
