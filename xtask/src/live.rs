//! `cargo xtask live`: the rows of `examples/networking/` on a real FreeBSD host, or on an emulated one, with a verdict each.
//!
//! A row is a shell script in `xtask/live/rows/` over the words of `xtask/live/lib.sh`; the same script runs on both, because how a
//! command is run and what a connection is stand beside it, in `freebsd.sh` and `emulated.sh`. What the scripts do is written there
//! and in docs/operations/live.md; here stand how a host is reached, what a row needs, and what becomes of its verdict.
//!
//! ```text
//! row (header, needs) ─► script (one text) ─► host (a command that runs it) ─► verdict (its last line) ─► table
//!                          programs (built for FreeBSD, uploaded through the same command)
//! ```

mod host;
mod programs;
mod row;
mod script;
mod verdict;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};

use crate::printer;
use host::Host;
use row::{Facts, Row};
use script::Place;
use verdict::{Ended, Verdict};

#[cfg(test)]
mod tests;

/// The environment variable with the command that runs a shell script on the host.
const COMMAND: &str = "CELLBLOCK_LIVE";

/// The one with the root of a base system for jails to run from.
const BASE: &str = "CELLBLOCK_LIVE_BASE";

/// The one with the folder on the host that everything of ours is in.
const FOLDER: &str = "CELLBLOCK_LIVE_FOLDER";

/// How long a row may take, if nobody says otherwise: a slow machine under emulation needs minutes.
const SECONDS: u64 = 900;

/// How long the host may take to say what it is.
const FACTS_TIMEOUT: Duration = Duration::from_secs(120);

/// `live`
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The rows to run, such as n03; none: all of them
    rows: Vec<String>,
    /// On an emulated host on this machine, instead of a real one
    #[arg(long)]
    emulated: bool,
    /// What is printed
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,
    /// Say only which rows there are and what they need
    #[arg(long)]
    list: bool,
    /// Upload builds without optimisation, which are made faster
    #[arg(long)]
    debug: bool,
    /// Take the programs from this folder, instead of building them
    #[arg(long, value_name = "FOLDER")]
    programs: Option<PathBuf>,
    /// Take the rows from this folder, instead of those of the examples
    #[arg(long, value_name = "FOLDER")]
    from: Option<PathBuf>,
    /// How many seconds a row may take
    #[arg(long, value_name = "SECONDS", default_value_t = SECONDS)]
    seconds: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

/// Runs the rows and prints their verdicts.
///
/// # Errors
///
/// When a row failed, or the host cannot be reached.
pub(crate) fn live(options: &Options) -> Result<()> {
    let all = row::all(options.from.as_deref())?;
    let rows = selected(&all, &options.rows)?;
    if options.list {
        for row in rows {
            printer::result(&format!(
                "{:<14}{}; needs {}",
                row.name, row.title, row.needs
            ));
        }
        return Ok(());
    }
    let ended = if options.emulated {
        emulated(&rows, options)?
    } else {
        real(&rows, options)?
    };
    for one in ended
        .iter()
        .filter(|one| matches!(one.verdict, Verdict::Failed(_)))
    {
        printer::progress(&format!("--- {}, all of it:\n{}", one.row, one.output));
    }
    printer::result(&match options.output {
        Format::Table => verdict::table(&ended),
        Format::Json => verdict::json(&ended)?,
    });
    let failed = ended
        .iter()
        .filter(|one| matches!(one.verdict, Verdict::Failed(_)))
        .count();
    if failed > 0 {
        bail!("{failed} of {} rows failed", ended.len());
    }
    Ok(())
}

fn selected<'a>(all: &'a [Row], names: &[String]) -> Result<Vec<&'a Row>> {
    if names.is_empty() {
        return Ok(all.iter().collect());
    }
    names
        .iter()
        .map(|name| {
            all.iter()
                .find(|row| row.name == *name)
                .with_context(|| format!("there is no row `{name}`; `--list` names them"))
        })
        .collect()
}

fn emulated(rows: &[&Row], options: &Options) -> Result<Vec<Ended>> {
    let programs = programs::native(options.programs.as_deref())?;
    let host = Host::new("sh -s");
    rows.iter()
        .map(|row| {
            let folder = script::scratch(&row.name)?;
            let place = Place::emulated(&folder, &programs)?;
            let facts = facts(&host, &place)?;
            let ended = judged(row, &host, &place, &facts, options);
            std::fs::remove_dir_all(&folder)
                .with_context(|| format!("{} cannot be removed", folder.display()))?;
            ended
        })
        .collect()
}

fn real(rows: &[&Row], options: &Options) -> Result<Vec<Ended>> {
    let command = std::env::var(COMMAND).ok().filter(|text| !text.is_empty());
    let command = command.with_context(|| {
        format!("{COMMAND} is to hold a command that runs a shell script from its standard input on a FreeBSD host, such as `ssh root@host sh -s`")
    })?;
    let host = Host::new(&command);
    let place = Place::real(
        std::env::var(FOLDER).ok().as_deref(),
        std::env::var(BASE).ok().as_deref(),
    )?;
    let facts = facts(&host, &place).with_context(|| format!("`{command}` reaches no host"))?;
    printer::progress(&format!("the host: {facts}"));
    if rows.iter().any(|row| facts.lacks(&row.needs).is_none()) {
        let folder = programs::freebsd(options.programs.as_deref(), options.debug)?;
        programs::upload(&folder, &place, &facts, &host)?;
    }
    rows.iter()
        .map(|row| judged(row, &host, &place, &facts, options))
        .collect()
}

fn facts(host: &Host, place: &Place) -> Result<Facts> {
    let asked = host.run(&script::facts(place)?, FACTS_TIMEOUT)?;
    Facts::parse(&asked.output).with_context(|| format!("{}\n{}", asked.end, asked.output))
}

/// The verdict of a row, which is run if the host has what it needs.
fn judged(
    row: &Row,
    host: &Host,
    place: &Place,
    facts: &Facts,
    options: &Options,
) -> Result<Ended> {
    if let Some(what) = facts.lacks(&row.needs) {
        return Ok(Ended::not_run(row, what));
    }
    printer::progress(&format!("{}: {}", row.name, row.title));
    let begin = Instant::now();
    let ran = host.run(
        &script::row(row, place, &facts.nics)?,
        Duration::from_secs(options.seconds),
    )?;
    let ended = Ended {
        row: row.name.clone(),
        title: row.title.clone(),
        verdict: Verdict::of(&ran),
        seconds: begin.elapsed().as_secs(),
        output: ran.output,
    };
    printer::progress(&format!("{}: {}", row.name, ended.verdict));
    Ok(ended)
}
