//! Running the product's own programs: the sandbox, the replay of the recordings, the benchmarks.
//!
//! What they do is written where they live; here stands only how they are built and started.

use std::ffi::OsString;

use anyhow::Result;

use crate::run;

/// Jails of the sandbox that is measured, on three hosts.
const SANDBOX_JAILS: &str = "300";

/// Jails of the host whose agent is weighed.
const AGENT_JAILS: &str = "1000";

/// Allocations that there are when the time of one more is measured.
pub(crate) const ALLOCATIONS: &str = "100000";

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

/// Runs every benchmark of the workspace, and what is measured on the product's own programs in release: the time of one
/// allocation more beside 100,000, a sandbox of 300 jails, an agent of a thousand. With arguments, which are criterion's, only the benchmarks.
///
/// # Errors
///
/// When one cannot be built, or a gate in it is missed.
pub(crate) fn bench(args: &[OsString]) -> Result<()> {
    // `--bench '*'` takes the bench targets alone: `--benches` would also start the libraries' own test harnesses, which
    // do not understand criterion's arguments.
    run::run(run::cargo(["bench", "--workspace", "--bench", "*", "--"]).args(args))?;
    if !args.is_empty() {
        return Ok(());
    }
    let allocations = [
        "test",
        "--release",
        "--package",
        "cellblock-sim",
        "--test",
        "allocations",
        "--",
        "--nocapture",
    ];
    run::run(run::cargo(allocations).env("CELLBLOCK_ALLOCATIONS", ALLOCATIONS))?;
    let mut build = run::cargo(["build", "--release", "--bins"]);
    for package in ["cellblock-controller", "cellblock-agent", "jailctl"] {
        build.args(["--package", package]);
    }
    run::run(&mut build)?;
    for (test, filter) in [("sandbox", "a_large_sandbox"), ("memory", "an_agent")] {
        let arguments = [
            "test",
            "--package",
            "cellblock-e2e",
            "--test",
            test,
            "--",
            "--nocapture",
            filter,
        ];
        run::run(
            run::cargo(arguments)
                .env("CELLBLOCK_PROGRAMS", run::target().join("release"))
                .env("CELLBLOCK_SANDBOX_JAILS", SANDBOX_JAILS)
                .env("CELLBLOCK_JAILS", AGENT_JAILS),
        )?;
    }
    Ok(())
}
