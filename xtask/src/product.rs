//! Running the product's own programs: the sandbox, the replay of the recordings, the benchmarks.
//!
//! What they do is written where they live; here stands only how they are built and started.

use std::ffi::OsString;

use anyhow::Result;

use crate::run;

/// Builds `jailctl` in release and becomes `jailctl sandbox` with the arguments given.
///
/// # Errors
///
/// When it cannot be built or started; after that the exit status is the sandbox's own.
pub(crate) fn sandbox(args: &[OsString]) -> Result<()> {
    run::run(&mut run::cargo([
        "build",
        "--release",
        "--package",
        "jailctl",
    ]))?;
    run::replace(
        run::cargo([
            "run",
            "--quiet",
            "--release",
            "--package",
            "jailctl",
            "--",
            "sandbox",
        ])
        .args(args),
    )
}

/// Replays the recordings of a real FreeBSD against the emulator.
///
/// # Errors
///
/// When a recorded command that used to agree no longer does.
pub(crate) fn replay(args: &[OsString]) -> Result<()> {
    run::run(
        run::cargo([
            "run",
            "--quiet",
            "--package",
            "cellblock-fakebsd",
            "--example",
            "replay",
            "--",
        ])
        .args(args),
    )
}

/// Runs every benchmark of the workspace.
///
/// # Errors
///
/// When one cannot be built, or a gate in it is missed.
pub(crate) fn bench(args: &[OsString]) -> Result<()> {
    // `--bench '*'` takes the bench targets alone: `--benches` would also start the libraries' own test harnesses, which
    // do not understand criterion's arguments.
    run::run(run::cargo(["bench", "--workspace", "--bench", "*", "--"]).args(args))
}
