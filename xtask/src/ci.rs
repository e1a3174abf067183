//! `cargo xtask ci` and `cargo xtask nightly`: the checks, in order, with their times and a closing line.
//!
//! Every check runs even when an earlier one failed, so that one run tells everything there is to mend. What a check does
//! is written in its own module; here stand the order, the verdicts and the table.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::ValueEnum;

use crate::freebsd::Goal;
use crate::prerequisites::{self, FOR_TESTS, Prerequisite};
use crate::run::Counts;
use crate::{freebsd, kubectl, printer, product, purity, run, schemas};

#[cfg(test)]
mod tests;

/// How many cases each property test runs in the nightly mode; in CI it is proptest's own default of 256.
const NIGHTLY_CASES: &str = "10000";

/// What CI's property tests draw their cases from: the same for every run, so that a change is judged by what it changed. The nightly mode draws new ones each time.
const CI_SEED: &str = "20261122";

/// How many processes the kill storm against real processes kills in the nightly mode.
const NIGHTLY_KILLS: &str = "200";

/// The release of cargo-deny that is installed where there is none.
const DENY_VERSION: &str = "0.20.2";

/// One check of CI, in the order in which they run: what is quick and likely to fail comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Check {
    /// The code is formatted
    Fmt,
    /// The pure crates depend on nothing that does I/O
    Purity,
    /// Clippy has nothing to say
    Clippy,
    /// The committed JSON Schemas are what the types say
    Schemas,
    /// Every test passes
    Tests,
    /// Every example in the documentation passes
    DocTests,
    /// The documentation builds without a warning
    Rustdoc,
    /// The emulator prints what a real FreeBSD printed
    Replay,
    /// Licences, sources and duplicate versions of the dependencies are as deny.toml says
    Deny,
    /// Everything type-checks for FreeBSD
    Freebsd,
}

/// How one check ended.
#[derive(Debug)]
enum Verdict {
    /// It ran and found nothing.
    Passed,
    /// It ran and found something, or could not run.
    Failed(anyhow::Error),
    /// It was not run, with the reason.
    NotRun(&'static str),
}

/// One row of the closing table.
#[derive(Debug)]
struct Row {
    name: String,
    verdict: Verdict,
    counts: Counts,
    wall: Duration,
    cpu: Option<Duration>,
}

impl Check {
    fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }

    fn needs(self) -> &'static [Prerequisite] {
        match self {
            Self::Fmt | Self::Purity | Self::Deny => &[],
            Self::Tests => FOR_TESTS,
            Self::Clippy
            | Self::Schemas
            | Self::DocTests
            | Self::Rustdoc
            | Self::Replay
            | Self::Freebsd => &[Prerequisite::Protoc],
        }
    }

    fn perform(self, counts: &mut Counts) -> Result<Verdict> {
        prerequisites::ensure(self.needs())?;
        match self {
            Self::Fmt => run::run(&mut run::cargo(["fmt", "--all", "--check"]))?,
            Self::Purity => purity::check()?,
            Self::Clippy => run::run(&mut run::cargo([
                "clippy",
                "--workspace",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ]))?,
            Self::Schemas => schemas::check()?,
            Self::Tests => {
                kubectl::ensure()?;
                tests(counts)?;
            }
            Self::DocTests => counted(&["test", "--workspace", "--doc"], counts)?,
            Self::Rustdoc => {
                let arguments = [
                    "doc",
                    "--workspace",
                    "--no-deps",
                    "--document-private-items",
                ];
                run::run(run::cargo(arguments).env("RUSTDOCFLAGS", "-D warnings"))?;
            }
            Self::Replay => product::replay(&[])?,
            Self::Deny => return deny(),
            Self::Freebsd => freebsd::build(Goal::Check)?,
        }
        Ok(Verdict::Passed)
    }
}

/// Runs the checks given, or all of them.
///
/// # Errors
///
/// When any check fails; which ones, and why, stands in the table above.
pub(crate) fn ci(checks: &[Check]) -> Result<()> {
    let checks = if checks.is_empty() {
        Check::value_variants()
    } else {
        checks
    };
    let rows: Vec<Row> = checks
        .iter()
        .map(|check| timed(&check.name(), |counts| check.perform(counts)))
        .collect();
    close(&rows)
}

/// Runs what takes too long for every change.
///
/// # Errors
///
/// When any part fails.
pub(crate) fn nightly() -> Result<()> {
    let rows = [
        timed("tests", |counts| {
            prerequisites::ensure_for_tests()?;
            let (found, verdict) = run::tests(
                runner("nightly")
                    .env("PROPTEST_CASES", NIGHTLY_CASES)
                    .env("CELLBLOCK_KILLS", NIGHTLY_KILLS)
                    .env("CELLBLOCK_ALLOCATIONS", product::ALLOCATIONS),
            );
            counts.add(found);
            verdict.map(|()| Verdict::Passed)
        }),
        timed("benches", |_| product::bench(&[]).map(|()| Verdict::Passed)),
        timed("deny", |_| {
            ensure_deny()?;
            run::run(&mut run::cargo(["deny", "check"]))?;
            Ok(Verdict::Passed)
        }),
        timed("freebsd-link", |_| {
            freebsd::build(Goal::Release).map(|()| Verdict::Passed)
        }),
    ];
    close(&rows)
}

/// The test runner: nextest where it is installed, because it runs each test in a process of its own. `profile` is one of Cargo's: the nightly one is optimised, which thousands of cases
/// pay for and a few hundred do not.
fn runner(profile: &str) -> std::process::Command {
    if run::find_program("cargo-nextest").is_some() {
        run::cargo([
            "nextest",
            "run",
            "--workspace",
            "--profile",
            "ci",
            "--cargo-profile",
            profile,
        ])
    } else {
        printer::progress(
            "cargo-nextest is not installed: the tests run under `cargo test`, one process per test binary",
        );
        run::cargo([
            "test",
            "--workspace",
            "--profile",
            profile,
            "--no-fail-fast",
            "--lib",
            "--bins",
            "--tests",
            "--examples",
        ])
    }
}

fn tests(counts: &mut Counts) -> Result<()> {
    let (found, verdict) = run::tests(runner("test").env("PROPTEST_RNG_SEED", CI_SEED));
    counts.add(found);
    verdict?;
    if found.passed == 0 {
        bail!("the test runner ran no test");
    }
    Ok(())
}

fn counted(arguments: &[&str], counts: &mut Counts) -> Result<()> {
    let (found, verdict) = run::tests(&mut run::cargo(arguments));
    counts.add(found);
    verdict
}

/// cargo-deny, where it is installed. CI's own machines install it; a person is not made to wait the minutes that building
/// it takes.
fn deny() -> Result<Verdict> {
    if std::env::var_os("CI").is_some_and(|value| !value.is_empty()) {
        ensure_deny()?;
    } else if run::find_program("cargo-deny").is_none() {
        return Ok(Verdict::NotRun(
            "cargo-deny is not installed: `cargo install --locked cargo-deny`",
        ));
    }
    // Without the advisories: those come from a git repository, which not every machine reaches. The nightly mode asks
    // for them.
    run::run(&mut run::cargo([
        "deny", "check", "bans", "licenses", "sources",
    ]))?;
    Ok(Verdict::Passed)
}

fn ensure_deny() -> Result<()> {
    if run::find_program("cargo-deny").is_some() {
        return Ok(());
    }
    printer::progress(&format!(
        "missing: cargo-deny; building {DENY_VERSION} with cargo install, which takes some minutes"
    ));
    run::run(&mut run::cargo([
        "install",
        "--quiet",
        "--locked",
        "--version",
        DENY_VERSION,
        "cargo-deny",
    ]))
}

/// Runs one check under a heading and measures it.
fn timed(name: &str, perform: impl FnOnce(&mut Counts) -> Result<Verdict>) -> Row {
    printer::progress(&format!("\n── {name} ──"));
    let (start, cpu_before) = (Instant::now(), cpu_of_children());
    let mut counts = Counts::default();
    let verdict = perform(&mut counts).unwrap_or_else(Verdict::Failed);
    match &verdict {
        Verdict::Passed => {}
        Verdict::NotRun(reason) => printer::progress(&format!("not run: {reason}")),
        Verdict::Failed(error) => printer::progress(&format!("{name} failed: {error:#}")),
    }
    Row {
        name: name.to_owned(),
        verdict,
        counts,
        wall: start.elapsed(),
        cpu: cpu_of_children()
            .zip(cpu_before)
            .map(|(after, before)| after.saturating_sub(before)),
    }
}

/// Prints the table and the closing line, and turns the rows into one verdict.
fn close(rows: &[Row]) -> Result<()> {
    printer::result(&table(rows));
    let mut counts = Counts::default();
    for row in rows {
        counts.add(row.counts);
    }
    // This form, alone on the last line of standard output, is what CI reads.
    printer::result(&format!(
        "{} passed, {} failed",
        counts.passed, counts.failed
    ));
    let failed: Vec<&str> = rows
        .iter()
        .filter(|row| matches!(row.verdict, Verdict::Failed(_)))
        .map(|row| row.name.as_str())
        .collect();
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "\n{:<14}{:>10}{:>10}{:>8}  verdict",
        "check", "wall s", "cpu s", "tests"
    );
    let seconds = |time: Duration| format!("{:.1}", time.as_secs_f64());
    for row in rows {
        let verdict = match &row.verdict {
            Verdict::Passed => "ok".to_owned(),
            Verdict::Failed(error) => {
                let error = error.to_string();
                format!("FAILED: {}", error.lines().next().unwrap_or_default())
            }
            Verdict::NotRun(reason) => format!("not run: {reason}"),
        };
        let ran = row.counts.passed + row.counts.failed;
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\n{:<14}{:>10}{:>10}{:>8}  {verdict}",
            row.name,
            seconds(row.wall),
            row.cpu.map_or_else(|| "-".to_owned(), seconds),
            if ran == 0 {
                "-".to_owned()
            } else {
                ran.to_string()
            },
        );
    }
    let total: Duration = rows.iter().map(|row| row.wall).sum();
    let _ = write!(text, "\n{:<14}{:>10}", "all", seconds(total));
    text
}

/// The processor time of all children that have ended, where the system tells it without a system call of our own:
/// Linux, in fields 16 and 17 of /proc/self/stat, in hundredths of a second (proc(5)).
fn cpu_of_children() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field, the program's name, is in parentheses and may hold spaces; counting starts behind it.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |index: usize| {
        fields
            .get(index)
            .and_then(|field| field.parse::<u64>().ok())
    };
    Some(Duration::from_millis((ticks(13)? + ticks(14)?) * 10))
}
