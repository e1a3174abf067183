//! The three programs: built for the host that they are to run on, and brought there.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::host::Host;
use super::row::Facts;
use super::script::Place;
use crate::freebsd::{self, Goal};
use crate::prerequisites::{self, Prerequisite};
use crate::{printer, run};

/// What runs on the host.
const PROGRAMS: [&str; 3] = ["cellblockd", "cellblock-agent", "jailctl"];

/// How long an upload may take.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(1800);

/// Octets of a here-document, of which a shell keeps one in memory: a multiple of 3, so that each stands for itself in base64.
const CHUNK: usize = 3 * 256 * 1024;

/// A line of base64.
const LINE: usize = 76;

/// Characters of base64.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The programs for this machine, for an emulated host.
///
/// # Errors
///
/// When they cannot be built, or are not in the folder given.
pub(super) fn native(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(folder) = given {
        return checked(folder);
    }
    prerequisites::ensure(&[Prerequisite::Protoc])?;
    let mut command = run::cargo(["build", "--locked", "--bins"]);
    for package in ["cellblock-controller", "cellblock-agent", "jailctl"] {
        command.args(["--package", package]);
    }
    run::run(&mut command)?;
    checked(&run::target().join("debug"))
}

/// The programs for FreeBSD.
///
/// # Errors
///
/// As [`native`].
pub(super) fn freebsd(given: Option<&Path>, debug: bool) -> Result<PathBuf> {
    if let Some(folder) = given {
        return checked(folder);
    }
    prerequisites::ensure(&[Prerequisite::Protoc])?;
    let (goal, profile) = if debug {
        (Goal::Debug, "debug")
    } else {
        (Goal::Release, "release")
    };
    freebsd::build(goal)?;
    checked(&freebsd::programs(profile))
}

fn checked(folder: &Path) -> Result<PathBuf> {
    for program in PROGRAMS {
        ensure!(
            folder.join(program).is_file(),
            "there is no {program} in {}",
            folder.display()
        );
    }
    folder
        .canonicalize()
        .with_context(|| format!("{}", folder.display()))
}

/// Brings those programs to the host that it has not yet, through the command that runs scripts there.
///
/// # Errors
///
/// When one cannot be read, or is not what it was when it has arrived.
pub(super) fn upload(folder: &Path, place: &Place, facts: &Facts, host: &Host) -> Result<()> {
    for program in PROGRAMS {
        let bytes = stripped(&folder.join(program))?;
        let sum = cksum(&bytes);
        if facts.has(program, &sum) {
            continue;
        }
        let packed = gzip(&bytes)?;
        printer::progress(&format!(
            "{program} goes to the host: {} octets, packed",
            packed.len()
        ));
        let ran = host.run(&script(program, &packed, place), UPLOAD_TIMEOUT)?;
        if !ran.output.lines().any(|line| line.trim() == sum) {
            bail!("{program} did not arrive: {}\n{}", ran.end, ran.output);
        }
    }
    Ok(())
}

/// A script that writes a program, and tells its sum.
fn script(program: &str, packed: &[u8], place: &Place) -> String {
    let folder = place.programs();
    let file = format!("{folder}/{program}");
    let mut text = format!(
        "# cellblock live: upload {program}\nset -e\numask 022\nmkdir -p {folder}\n: >{file}.gz\n"
    );
    for chunk in packed.chunks(CHUNK) {
        let _ = write!(
            text,
            "b64decode -r >>{file}.gz <<'EOF'\n{}EOF\n",
            base64(chunk)
        );
    }
    let _ = write!(
        text,
        "gunzip -c {file}.gz >{file}.new\nrm {file}.gz\nchmod 755 {file}.new\nmv {file}.new {file}\ncksum <{file}\nexit 0\n"
    );
    text
}

/// The program without its symbols, where something can take them off.
fn stripped(file: &Path) -> Result<Vec<u8>> {
    let read = |file: &Path| {
        std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))
    };
    let beside = file.with_extension("stripped");
    for tool in ["llvm-strip", "strip"] {
        if run::find_program(tool).is_none() {
            continue;
        }
        let status = Command::new(tool)
            .arg("-o")
            .args([&beside, file])
            .stderr(Stdio::null())
            .status();
        if status.is_ok_and(|status| status.success()) {
            let bytes = read(&beside)?;
            std::fs::remove_file(&beside)
                .with_context(|| format!("{} cannot be removed", beside.display()))?;
            return Ok(bytes);
        }
    }
    read(file)
}

/// Packed by gzip(1).
fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    use std::io::Write as _;
    let mut child = Command::new("gzip")
        .arg("-c")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("gzip cannot be started")?;
    let mut stdin = child.stdin.take().context("gzip takes nothing")?;
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(bytes));
        child.wait_with_output()
    })
    .context("gzip was lost")?;
    ensure!(output.status.success(), "gzip ended with {}", output.status);
    Ok(output.stdout)
}

/// In lines, as b64decode(1) reads it.
pub(super) fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() / 3 * 4 + bytes.len() / 57 + 8);
    let mut column = 0;
    for three in bytes.chunks(3) {
        let number = three
            .iter()
            .chain(&[0, 0])
            .take(3)
            .fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte));
        for place in 0..4 {
            let character = if place <= three.len() {
                char::from(ALPHABET[number >> (18 - 6 * place) & 63])
            } else {
                '='
            };
            text.push(character);
        }
        column += 4;
        if column >= LINE {
            text.push('\n');
            column = 0;
        }
    }
    if column > 0 {
        text.push('\n');
    }
    text
}

/// What cksum(1) prints of its standard input: CRC and length, as POSIX has it.
pub(super) fn cksum(bytes: &[u8]) -> String {
    let mut table = [0_u32; 256];
    for (byte, entry) in (0_u32..).zip(&mut table) {
        *entry = (0..8).fold(byte << 24, |value, _| {
            if value & 0x8000_0000 == 0 {
                value << 1
            } else {
                value << 1 ^ 0x04c1_1db7
            }
        });
    }
    let step = |sum: u32, byte: u8| sum << 8 ^ table[usize::from((sum >> 24) as u8 ^ byte)];
    let mut sum = bytes.iter().fold(0, |sum, byte| step(sum, *byte));
    let mut length = bytes.len();
    while length > 0 {
        sum = step(sum, length as u8);
        length >>= 8;
    }
    format!("{} {}", !sum, bytes.len())
}
