//! `cargo xtask replay`: replays the recordings of a real FreeBSD against the emulator and prints how much of each comes out the same.
//!
//! With the names of recordings as arguments it prints their differences too. It fails when one comes out worse than its floor.

use std::io::Write as _;
use std::process::ExitCode;

use cellblock_fakebsd::replay;

fn main() -> std::io::Result<ExitCode> {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let mut reports = replay::report();
    let below = replay::below_floor(&reports);
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", replay::table(&reports).trim_end())?;
    for name in &wanted {
        if !reports
            .iter()
            .any(|report| report.file.starts_with(name.as_str()))
        {
            writeln!(out, "there is no recording `{name}`")?;
            return Ok(ExitCode::FAILURE);
        }
    }
    if !wanted.is_empty() {
        reports.retain(|report| {
            wanted
                .iter()
                .any(|name| report.file.starts_with(name.as_str()))
        });
        writeln!(out, "{}", replay::differences(&reports).trim_end())?;
    }
    for line in &below {
        writeln!(out, "worse than its floor: {line}")?;
    }
    Ok(if below.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
