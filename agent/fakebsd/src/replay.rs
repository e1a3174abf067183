//! Holds the emulator to the recordings of a real kernel: runs every recorded command and compares what it prints.
//!
//! A transcript's grammar, and what may differ from run to run, stand in `transcripts/README.md`. Only that is masked
//! ([`compare`]); commands that the emulator does not model are listed, each with its reason, in `unemulated.txt`; commands
//! that the recorder ran without writing them down stand in `unrecorded.txt`, each with what proves it.
//! `cargo xtask replay` prints [`table`].

pub mod compare;
pub mod transcript;

#[cfg(test)]
mod tests;

use crate::emulator::Emulator;
use crate::hardware::HardwareProfile;
use crate::output::Output;
use crate::release::Release;
use compare::Comparison;
use std::time::Duration;
use transcript::{Entry, Recorded};

/// Floors: `file N` a line. Raise a number when the emulator has become better; never lower one.
const FLOORS: &str = include_str!("../replay-floor.txt");

/// The recordings by file name, as they stand in the repository.
pub const TRANSCRIPTS: &[(&str, &str)] = &[
    (
        "01-observe.txt",
        include_str!("../transcripts/01-observe.txt"),
    ),
    (
        "02-epair-bridge-vnet.txt",
        include_str!("../transcripts/02-epair-bridge-vnet.txt"),
    ),
    (
        "03-shared-ip.txt",
        include_str!("../transcripts/03-shared-ip.txt"),
    ),
    (
        "04-routed-p2p-fib.txt",
        include_str!("../transcripts/04-routed-p2p-fib.txt"),
    ),
    ("05-pf.txt", include_str!("../transcripts/05-pf.txt")),
    (
        "06-netgraph.txt",
        include_str!("../transcripts/06-netgraph.txt"),
    ),
    (
        "07-lagg-vlan-passthrough.txt",
        include_str!("../transcripts/07-lagg-vlan-passthrough.txt"),
    ),
    (
        "08-mounts-rctl-jailconf.txt",
        include_str!("../transcripts/08-mounts-rctl-jailconf.txt"),
    ),
    (
        "09-traffic.txt",
        include_str!("../transcripts/09-traffic.txt"),
    ),
    ("10-zfs.txt", include_str!("../transcripts/10-zfs.txt")),
    (
        "11-lifecycle.txt",
        include_str!("../transcripts/11-lifecycle.txt"),
    ),
    (
        "12-followups.txt",
        include_str!("../transcripts/12-followups.txt"),
    ),
    (
        "13-zfs-move.txt",
        include_str!("../transcripts/13-zfs-move.txt"),
    ),
    (
        "14-switches.txt",
        include_str!("../transcripts/14-switches.txt"),
    ),
    ("15-agent.txt", include_str!("../transcripts/15-agent.txt")),
    (
        "16-labels-and-prefixes.txt",
        include_str!("../transcripts/16-labels-and-prefixes.txt"),
    ),
    (
        "17-netgraph-agent.txt",
        include_str!("../transcripts/17-netgraph-agent.txt"),
    ),
    (
        "18-isolation.txt",
        include_str!("../transcripts/18-isolation.txt"),
    ),
];

/// Commands that are run but not judged: `file | command | reason` a line.
const UNEMULATED: &str = include_str!("../unemulated.txt");

/// Commands the recorder ran without writing them down: `file | line before which | command | proof` a line.
const UNRECORDED: &str = include_str!("../unrecorded.txt");

/// How long each command took on the recording host, which was itself emulated and slow.
const COMMAND_TIME: Duration = Duration::from_millis(200);

/// The programs that are judged.
const FAMILIES: &[&str] = &[
    "ifconfig",
    "jail",
    "jls",
    "jexec",
    "route",
    "netstat",
    "pfctl",
    "ngctl",
    "sysctl",
    "kldload",
    "kldstat",
    "kldunload",
    "mount",
    "umount",
    "zfs",
    "zpool",
    "rctl",
    "cpuset",
    "devfs",
    "setfib",
];

/// One command that did not come out as recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Line of the transcript on which the command stands, from 1.
    pub line: usize,
    /// The command as it stands there.
    pub command: String,
    /// What was recorded.
    pub expected: Output,
    /// What the emulator answered.
    pub actual: Output,
}

/// How one file came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileReport {
    /// The file's name.
    pub file: String,
    /// Commands that came out as recorded.
    pub passed: usize,
    /// Commands of the judged families, those passed over included.
    pub total: usize,
    /// Commands on the list of what is not emulated, with the reason.
    pub passed_over: Vec<(String, String)>,
    /// Everything else.
    pub mismatches: Vec<Mismatch>,
}

/// The fields of a `|`-separated list for one file, comments and blank lines left out.
fn listed<'a>(text: &'a str, file: &str) -> Vec<Vec<&'a str>> {
    let lines = text
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    let fields = lines.map(|line| line.split(" | ").map(str::trim).collect::<Vec<_>>());
    fields
        .filter(|fields| fields.first() == Some(&file))
        .map(|fields| fields[1..].to_vec())
        .collect()
}

/// The host a recording began on: `08`, `10` and `11` booted with `kern.racct.enable=1`.
fn recorded_host(file: &str) -> Emulator {
    let racct = ["08", "10", "11"]
        .iter()
        .any(|number| file.starts_with(number));
    let mut host = Emulator::new(
        Release::V15_1,
        HardwareProfile {
            racct,
            ..HardwareProfile::recorded()
        },
    );
    host.command_time = COMMAND_TIME;
    host
}

/// Replays one transcript from its first line.
///
/// # Errors
/// The text is not a transcript; the message names the line.
pub fn replay(file: &str, text: &str) -> Result<FileReport, String> {
    run(file, &transcript::parse(text)?)
}

fn run(file: &str, entries: &[Entry]) -> Result<FileReport, String> {
    let unemulated = listed(UNEMULATED, file);
    let unrecorded = listed(UNRECORDED, file);
    let mut host = recorded_host(file);
    let mut comparison = Comparison::new();
    let mut report = FileReport {
        file: file.to_owned(),
        passed: 0,
        total: 0,
        passed_over: Vec::new(),
        mismatches: Vec::new(),
    };
    for (place, entry) in entries.iter().enumerate() {
        match entry {
            Entry::Remark(_) => {}
            Entry::File { path, text } => {
                let directory = path.rfind('/').map_or("/", |at| &path[..at]);
                host.files
                    .create_directories(directory)
                    .and_then(|()| host.files.write(path, text))
                    .map_err(|error| format!("{path}: {error}"))?;
            }
            Entry::Command(recorded) => {
                for fields in unrecorded
                    .iter()
                    .filter(|fields| fields[0].parse() == Ok(recorded.line))
                {
                    let argv = transcript::words(fields[1])?;
                    host.run(&argv, "");
                }
                let prepared = unrecorded
                    .iter()
                    .any(|fields| fields[0].parse() == Ok(recorded.line));
                if let Some((jail, port)) = entries
                    .get(place + 1)
                    .and_then(listener)
                    .filter(|_| !prepared)
                {
                    host.listen(&jail, port, &format!("hello from {jail}\n"));
                }
                let actual = host.run(&recorded.argv, &recorded.stdin);
                judge(&mut report, &mut comparison, recorded, actual, &unemulated);
            }
        }
    }
    Ok(report)
}

/// `# JAIL port P saw: …` behind a command tells which listener stood ready for it.
fn listener(entry: &Entry) -> Option<(String, u16)> {
    let Entry::Remark(text) = entry else {
        return None;
    };
    let (head, _) = text.split_once(" saw:")?;
    let (jail, port) = head.split_once(" port ")?;
    Some((jail.to_owned(), port.parse().ok()?))
}

fn judge(
    report: &mut FileReport,
    comparison: &mut Comparison,
    recorded: &Recorded,
    actual: Output,
    unemulated: &[Vec<&str>],
) {
    comparison.note_argv(&recorded.argv);
    let judged = recorded
        .argv
        .first()
        .is_some_and(|program| FAMILIES.contains(&program.as_str()));
    let same = comparison.same(recorded, &actual);
    if !judged {
        return;
    }
    report.total += 1;
    if let Some(fields) = unemulated.iter().find(|fields| fields[0] == recorded.text) {
        report.passed_over.push((
            recorded.text.clone(),
            fields.get(1).copied().unwrap_or_default().to_owned(),
        ));
    } else if same {
        report.passed += 1;
    } else {
        report.mismatches.push(Mismatch {
            line: recorded.line,
            command: recorded.text.clone(),
            expected: recorded.output.clone(),
            actual,
        });
    }
}

/// Files that came out worse than their floor, in words; empty when none did.
///
/// # Panics
/// A line of `replay-floor.txt` is not a recording and a number.
pub fn below_floor(reports: &[FileReport]) -> Vec<String> {
    let floors = FLOORS
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    let mut below = Vec::new();
    for line in floors {
        let (file, floor) = line
            .rsplit_once(' ')
            .expect("a floor is a file and a number");
        let floor: usize = floor.parse().expect("a floor is a number");
        let report = reports
            .iter()
            .find(|report| report.file == file)
            .expect("a floor is of a recording");
        if report.passed < floor {
            below.push(format!(
                "{file}: {} of {}, floor {floor}",
                report.passed, report.total
            ));
        }
    }
    below
}

/// What was expected and what came, for each mismatch of the reports; empty when there is none.
pub fn differences(reports: &[FileReport]) -> String {
    let mut text = String::new();
    for report in reports {
        for mismatch in &report.mismatches {
            text.push_str(&format!(
                "{} line {}: {}\n",
                report.file, mismatch.line, mismatch.command
            ));
            for (title, output) in [
                ("recorded", &mismatch.expected),
                ("emulated", &mismatch.actual),
            ] {
                text.push_str(&format!(
                    "{title}, exit status {}:\n{}{}",
                    output.status, output.stdout, output.stderr
                ));
            }
            text.push('\n');
        }
    }
    text
}

/// Replays every recording.
///
/// # Panics
/// A recording in the repository is not a transcript.
pub fn report() -> Vec<FileReport> {
    TRANSCRIPTS
        .iter()
        .map(|(file, text)| {
            replay(file, text).expect("the recordings in the repository follow the grammar")
        })
        .collect()
}

/// The reports as lines for a person: `N of M`, what was passed over and why, what differs.
pub fn table(reports: &[FileReport]) -> String {
    let mut text = String::new();
    for report in reports {
        let share = if report.total == 0 {
            100.0
        } else {
            100.0 * report.passed as f64 / report.total as f64
        };
        text.push_str(&format!(
            "{:<30} {:>3} of {:>3}  {share:>5.1} %\n",
            report.file, report.passed, report.total
        ));
        for (command, reason) in &report.passed_over {
            text.push_str(&format!("    passed over: {command}: {reason}\n"));
        }
        for mismatch in &report.mismatches {
            text.push_str(&format!(
                "    line {}: {}\n",
                mismatch.line, mismatch.command
            ));
        }
    }
    let (passed, total) = reports.iter().fold((0, 0), |(passed, total), report| {
        (passed + report.passed, total + report.total)
    });
    text.push_str(&format!("{:<30} {passed:>3} of {total:>3}\n", "all"));
    text
}
