//! `cargo xtask …`: everything that a person or CI runs in this repository.
//!
//! This crate starts programs (cargo, protoc's package, cross compilers) and judges how they end. It holds no knowledge
//! of Cellblock itself and depends on no crate of the workspace, because it has to build on a machine that still lacks
//! `protoc`, which it then finds or installs. Called by people, and by CI through `.ci/run`.
//!
//! ```text
//! main ──► ci ───────► every check below, with times and a closing line
//!      ├─► purity      what a pure crate may depend on
//!      ├─► schemas     the committed JSON Schemas against the types
//!      ├─► freebsd ──► freebsd/toolchain: a compiler and linker for FreeBSD on any Linux
//!      ├─► live ─────► the examples on a real FreeBSD host, with a verdict each
//!      ├─► product     sandbox, replay, bench: the product's own binaries
//!      └─► prerequisites, kubectl: protoc, etcd and others, found or installed
//!          run: the only place that starts a process      printer: the only place that prints
//! ```

mod ci;
mod freebsd;
mod kubectl;
mod live;
mod prerequisites;
mod printer;
mod product;
mod purity;
mod run;
mod schemas;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::ci::Check;
use crate::freebsd::Goal;
use crate::prerequisites::{FOR_TESTS, Prerequisite};

/// The development tasks of this repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

/// One task; its doc comment is its line in `--help`.
#[derive(Debug, Subcommand)]
enum Task {
    /// Run every check that a change must pass, or only the named ones
    Ci {
        /// The checks to run, in the order in which CI runs them; none: all of them
        checks: Vec<Check>,
    },
    /// Run what takes too long for every change: 10,000 cases per property, kill storms, benchmarks, a FreeBSD link
    Nightly,
    /// Build jailctl in release and run `jailctl sandbox` with the arguments given
    Sandbox {
        /// Arguments for `jailctl sandbox`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Replay the recordings of a real FreeBSD against the emulator and print how many commands agree
    Replay {
        /// Arguments for the replay
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Write the JSON Schemas to schemas/json
    Schemas {
        /// Write nothing; fail if the committed schemas differ from what the types say
        #[arg(long)]
        check: bool,
    },
    /// Run the benchmarks
    Bench {
        /// Arguments for the benchmarks (criterion's filters and options)
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Build and link every program for FreeBSD, on FreeBSD or from Linux
    Freebsd {
        /// Only type-check, which needs no linking and is a good deal faster
        #[arg(long)]
        check: bool,
        /// Build without optimisation
        #[arg(long, conflicts_with = "check")]
        debug: bool,
    },
    /// Run the examples of networking on a real FreeBSD host, reached by the command in CELLBLOCK_LIVE
    Live(live::Options),
    /// Check that the pure crates depend on nothing that does I/O
    Purity,
    /// Find or install the programs that building and testing need
    Prerequisites,
}

fn main() -> ExitCode {
    match perform(Args::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            printer::progress(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn perform(task: Task) -> Result<()> {
    match task {
        Task::Ci { checks } => ci::ci(&checks),
        Task::Nightly => ci::nightly(),
        Task::Sandbox { args } => {
            prerequisites::ensure(&[Prerequisite::Protoc])?;
            product::sandbox(&args)
        }
        Task::Replay { args } => {
            prerequisites::ensure(&[Prerequisite::Protoc])?;
            product::replay(&args)
        }
        Task::Schemas { check: true } => schemas::check(),
        Task::Schemas { check: false } => schemas::write(),
        Task::Bench { args } => {
            prerequisites::ensure(FOR_TESTS)?;
            product::bench(&args)
        }
        Task::Freebsd { check, debug } => {
            prerequisites::ensure(&[Prerequisite::Protoc])?;
            freebsd::build(match (check, debug) {
                (true, _) => Goal::Check,
                (false, true) => Goal::Debug,
                (false, false) => Goal::Release,
            })
        }
        Task::Live(options) => live::live(&options),
        Task::Purity => purity::check(),
        Task::Prerequisites => prerequisites::ensure_for_tests(),
    }
}
