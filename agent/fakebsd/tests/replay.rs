//! The emulator against the recordings: no file may come out worse than `replay-floor.txt` says.

use cellblock_fakebsd::replay;

/// Floors: `file N` a line. Raise a number when the emulator has become better; never lower one.
const FLOORS: &str = include_str!("../replay-floor.txt");

#[test]
fn no_recording_comes_out_worse_than_its_floor() {
    let reports = replay::report();
    let mut below = Vec::new();
    for line in FLOORS
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
    {
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
    assert!(
        below.is_empty(),
        "{}\n{}",
        below.join("\n"),
        replay::differences(&reports)
    );
}

#[test]
fn every_recording_has_a_floor() {
    for (file, _) in replay::TRANSCRIPTS {
        assert!(
            FLOORS
                .lines()
                .any(|line| line.starts_with(&format!("{file} "))),
            "{file} has no floor"
        );
    }
}
