use std::sync::Arc;
use std::time::Duration;

use cellblock_agent_core::guard::{Armed, Back, Lifeline as _, State};
use cellblock_freebsd::command::OUTPUT_BYTES_MAX;
use cellblock_freebsd::emulated::Emulated;
use cellblock_freebsd::{Command, FreeBsd, System as _};
use tempfile::TempDir;

use super::{ARMED, Guardian, Line, UNDOING};
use crate::emulated::prepared;
use crate::reach::reach;

/// A host whose vtnet1 has an MTU that it had not, and that a guard would give back.
struct Bench {
    folder: TempDir,
    host: Emulated,
}

impl Bench {
    fn new() -> Self {
        let host = Emulated::new(prepared("fbsd-01", 1).expect("a host"));
        let bench = Self {
            folder: tempfile::tempdir().expect("a folder"),
            host,
        };
        bench.run("ifconfig vtnet1 mtu 1400");
        bench
    }

    fn run(&self, line: &str) -> String {
        let command = Command {
            argv: line.split_whitespace().map(str::to_owned).collect(),
            stdin: None,
            timeout: Duration::MAX,
            bytes_max: OUTPUT_BYTES_MAX,
            discards_stdout: false,
            stdout_file: None,
            stderr_file: None,
        };
        self.host.run(&command).expect("it runs").stdout
    }

    fn is_back(&self) -> bool {
        self.run("ifconfig vtnet1").contains("mtu 1500")
    }

    fn line(&self) -> Line {
        let adapter = FreeBsd::new(Arc::new(self.host.clone()), "/var/db/cellblock");
        Line::new(
            self.folder.path(),
            Guardian::Thread(Arc::new(adapter)),
            reach().0,
        )
    }
}

fn armed(deadline_ms: u64) -> Armed {
    Armed {
        part: "interface vtnet1".to_owned(),
        target: "00ff".to_owned(),
        what: "set MTU of vtnet1 to 1400".to_owned(),
        boot_id: "1".to_owned(),
        deadline_ms,
        back: vec![Back::Mtu {
            interface: "vtnet1".to_owned(),
            mtu: 1_500,
        }],
        disown: Vec::new(),
    }
}

/// A deadline that no test waits for.
const LONG_MS: u64 = 3_600_000;

#[test]
fn what_is_confirmed_stays() {
    let bench = Bench::new();
    let line = bench.line();
    assert_eq!(line.found(), Ok(None));
    line.arm(&armed(LONG_MS)).expect("it is guarded");
    let found = line.found().expect("it can be read").expect("there is one");
    assert_eq!((found.state, found.armed), (State::Guarded, armed(LONG_MS)));
    assert_eq!(line.confirm(), Ok(true));
    assert!(!bench.is_back());
    let found = line.found().expect("it can be read").expect("there is one");
    assert_eq!(found.state, State::Confirmed);
    line.forget().expect("it is forgotten");
    assert_eq!(line.found(), Ok(None));
    let left = std::fs::read_dir(bench.folder.path()).expect("a folder");
    assert_eq!(left.count(), 0);
}

#[test]
fn what_is_given_up_is_taken_back_and_cannot_be_confirmed() {
    let bench = Bench::new();
    let line = bench.line();
    line.arm(&armed(LONG_MS)).expect("it is guarded");
    line.abandon();
    assert!(bench.is_back());
    assert_eq!(line.confirm(), Ok(false));
    let found = line.found().expect("it can be read").expect("there is one");
    let State::TakenBack(taken_back) = found.state else {
        panic!("{found:?}");
    };
    assert!(taken_back.why.contains("gave it up"), "{taken_back:?}");
    assert!(taken_back.at.ends_with('Z'), "{taken_back:?}");
}

#[test]
fn what_nobody_confirms_in_time_is_taken_back() {
    let bench = Bench::new();
    let line = bench.line();
    line.arm(&armed(1)).expect("it is guarded");
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !bench.is_back() {
        assert!(std::time::Instant::now() < deadline, "it is not taken back");
        std::thread::yield_now();
    }
    line.abandon();
    let found = line.found().expect("it can be read").expect("there is one");
    let State::TakenBack(taken_back) = found.state else {
        panic!("{found:?}");
    };
    assert!(taken_back.why.contains("in time"), "{taken_back:?}");
}

#[test]
fn what_cannot_be_noted_is_taken_back_all_the_same() {
    let bench = Bench::new();
    let line = bench.line();
    // Nothing can be renamed to what is a folder.
    let in_the_way = bench.folder.path().join(UNDOING);
    std::fs::create_dir(&in_the_way).expect("a folder");
    line.arm(&armed(1)).expect("it is guarded");
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !bench.is_back() {
        assert!(std::time::Instant::now() < deadline, "it is not taken back");
        std::thread::yield_now();
    }
    std::fs::remove_dir(&in_the_way).expect("it goes");
    line.abandon();
    let found = line.found().expect("it can be read").expect("there is one");
    assert!(matches!(found.state, State::TakenBack(_)), "{found:?}");
}

#[test]
fn what_ends_late_is_taken_back_too() {
    let bench = Bench::new();
    let line = bench.line();
    line.arm(&armed(1)).expect("it is guarded");
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !bench.is_back() {
        assert!(std::time::Instant::now() < deadline, "it is not taken back");
        std::thread::yield_now();
    }
    bench.run("ifconfig vtnet1 mtu 1400");
    line.abandon();
    assert!(bench.is_back());
}

#[test]
fn one_without_a_guard_is_told_and_taken_over() {
    let bench = Bench::new();
    let line = bench.line();
    line.record
        .write(ARMED, &armed(LONG_MS))
        .expect("it is written");
    let found = line.found().expect("it can be read").expect("there is one");
    assert_eq!(found.state, State::Orphaned);
    line.take_over().expect("it is taken over");
    assert_eq!(line.confirm(), Ok(false));
    let found = line.found().expect("it can be read").expect("there is one");
    assert_eq!(found.state, State::Orphaned);
}

#[test]
fn a_damaged_record_is_told_with_what_to_do() {
    let bench = Bench::new();
    let path = bench.folder.path().join(ARMED);
    std::fs::write(path, "{").expect("it is written");
    let error = bench.line().found().expect_err("it is damaged");
    assert!(error.message.contains("remove it"), "{error}");
}
