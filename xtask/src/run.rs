//! Starting programs: the only file of xtask that spawns a process.
//!
//! Every command line is shown before it runs, so that whoever reads a log can repeat the step by hand. What a program's
//! output means is the caller's business, except for the counts that test runners print, which [`tests`] adds up.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use anyhow::{Context, Result, bail};

use crate::printer;

#[cfg(test)]
mod tests;

/// How many tests a test runner ran, as its summary lines say.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Tests that passed.
    pub(crate) passed: u64,
    /// Tests that failed, timed out or could not be started.
    pub(crate) failed: u64,
    /// Tests that were not run.
    pub(crate) skipped: u64,
}

impl Counts {
    /// Adds another runner's counts.
    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    /// Adds what one line of output says, if it is a summary line of nextest or of libtest.
    fn add_line(&mut self, line: &str) {
        let plain = without_escapes(line);
        let Some(numbers) = plain
            .split_once("tests run: ")
            .or_else(|| plain.split_once("test run: "))
            .filter(|(before, _)| before.contains("Summary ["))
            .or_else(|| {
                plain
                    .strip_prefix("test result: ")
                    .and_then(|rest| rest.split_once(". "))
            })
            .map(|(_, numbers)| numbers)
        else {
            return;
        };
        for item in numbers.split([',', ';']) {
            let Some((count, word)) = item.trim().split_once(' ') else {
                continue;
            };
            let Ok(count) = count.parse::<u64>() else {
                continue;
            };
            if word.starts_with("passed") {
                self.passed += count;
            } else if word.starts_with("failed")
                || word.starts_with("timed out")
                || word.starts_with("exec failed")
            {
                self.failed += count;
            } else if word.starts_with("skipped") || word.starts_with("ignored") {
                self.skipped += count;
            }
        }
    }
}

/// The text without terminal colour sequences, which runners print when they are told to colour their output.
fn without_escapes(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            // `ESC [ … letter` is the only form that test runners print.
            chars.find(char::is_ascii_alphabetic);
        } else {
            plain.push(c);
        }
    }
    plain
}

/// The repository's root folder.
pub(crate) fn root() -> PathBuf {
    let manifest_dir = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest_dir
        .parent()
        .map_or_else(|| manifest_dir.clone(), Path::to_path_buf)
}

/// Cargo's target folder, which the environment may have moved.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// The cargo that started xtask, run in the root folder with the arguments given.
pub(crate) fn cargo<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Command {
    // The bare name goes through rustup's proxy, so that rust-toolchain.toml is obeyed; `CARGO` names the binary behind it.
    let mut command = Command::new("cargo");
    command.args(args).current_dir(root());
    command
}

/// Runs a command with xtask's own standard input and output.
///
/// # Errors
///
/// The command line and its exit status, when it cannot be started or fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    printer::progress(&format!("$ {}", shown(command)));
    let status = command
        .status()
        .with_context(|| format!("cannot start `{}`", shown(command)))?;
    if !status.success() {
        bail!("`{}` ended with {status}", shown(command));
    }
    Ok(())
}

/// Runs a command quietly and returns what it wrote to standard output.
///
/// # Errors
///
/// The command line, its exit status and its standard error, when it cannot be started or fails.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start `{}`", shown(command)))?;
    if !output.status.success() {
        bail!(
            "`{}` ended with {}\n{}",
            shown(command),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a test runner, passes its output on line by line, and adds up the counts in its summary lines.
///
/// The counts come back beside the verdict, because a failing run has them too.
pub(crate) fn tests(command: &mut Command) -> (Counts, Result<()>) {
    let counts = Mutex::new(Counts::default());
    let verdict = tee(command, &counts);
    let counts = *counts
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    (counts, verdict)
}

fn tee(command: &mut Command, counts: &Mutex<Counts>) -> Result<()> {
    printer::progress(&format!("$ {}", shown(command)));
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{}`", shown(command)))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    std::thread::scope(|scope| {
        scope.spawn(|| stdout.map(|pipe| copy_lines(pipe, counts, printer::result)));
        scope.spawn(|| stderr.map(|pipe| copy_lines(pipe, counts, printer::progress)));
    });
    let status = child
        .wait()
        .with_context(|| format!("lost `{}`", shown(command)))?;
    if !status.success() {
        bail!("`{}` ended with {status}", shown(command));
    }
    Ok(())
}

fn copy_lines(pipe: impl Read, counts: &Mutex<Counts>, print: fn(&str)) {
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    // A pipe that cannot be read any more is a child that is gone; its exit status tells the rest.
    while reader
        .read_until(b'\n', &mut line)
        .is_ok_and(|length| length > 0)
    {
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end_matches(['\n', '\r']);
        print(text);
        counts
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .add_line(text);
        line.clear();
    }
}

/// Replaces xtask by the command, so that signals, the terminal and the exit status are the command's own.
///
/// # Errors
///
/// When the command cannot be started, or, where a process cannot be replaced, when it fails.
pub(crate) fn replace(command: &mut Command) -> Result<()> {
    printer::progress(&format!("$ {}", shown(command)));
    #[cfg(unix)]
    {
        use std::os::unix::process::CommandExt as _;
        let error = command.exec();
        Err(error).with_context(|| format!("cannot start `{}`", shown(command)))
    }
    #[cfg(not(unix))]
    {
        let status = command
            .status()
            .with_context(|| format!("cannot start `{}`", shown(command)))?;
        std::process::exit(status.code().unwrap_or(1))
    }
}

/// The path of a program, if a folder of `PATH` has it.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| is_executable(file))
}

#[cfg(unix)]
fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(file: &Path) -> bool {
    file.is_file()
}

/// A command as a person would type it; arguments that need quoting are quoted.
fn shown(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| {
            let word = word.to_string_lossy();
            if word.is_empty()
                || word.contains(|c: char| c.is_whitespace() || "'\"$&|;<>*?()".contains(c))
            {
                format!("'{}'", word.replace('\'', r"'\''"))
            } else {
                word.into_owned()
            }
        })
        .collect::<Vec<_>>()
        .join(" ")
}
