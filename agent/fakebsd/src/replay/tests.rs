//! Tests of the replay itself: it must notice every difference that is not masked.

use super::transcript::{Entry, Recorded, words};
use super::{FLOORS, TRANSCRIPTS, below_floor, differences, replay, report, run, transcript};

#[test]
fn no_recording_comes_out_worse_than_its_floor() {
    let reports = report();
    let below = below_floor(&reports);
    assert!(
        below.is_empty(),
        "{}\n{}",
        below.join("\n"),
        differences(&reports)
    );
}

#[test]
fn every_recording_has_a_floor_and_one_that_comes_out_worse_is_told() {
    for (file, _) in TRANSCRIPTS {
        let mut lines = FLOORS.lines();
        assert!(
            lines.any(|line| line.starts_with(&format!("{file} "))),
            "{file} has no floor"
        );
    }
    let mut reports = report();
    reports[1].passed -= 1;
    assert_eq!(below_floor(&reports).len(), 1);
}

#[test]
fn words_are_cut_as_the_shell_cuts_them() {
    assert_eq!(
        words("jail -R '*'").expect("closed quotes"),
        ["jail", "-R", "*"]
    );
    assert_eq!(
        words("sh -c 'sed '\\''s/x/y/'\\'''").expect("closed quotes"),
        ["sh", "-c", "sed 's/x/y/'"]
    );
    assert!(words("sh -c 'open").is_err());
}

#[test]
fn every_recording_parses() {
    for (file, text) in TRANSCRIPTS {
        let entries = transcript::parse(text).unwrap_or_else(|reason| panic!("{file}: {reason}"));
        assert!(
            entries
                .iter()
                .any(|entry| matches!(entry, Entry::Command(_))),
            "{file} has no command"
        );
    }
}

#[test]
fn one_changed_byte_is_reported() {
    let (file, text) = TRANSCRIPTS[1];
    let before = replay(file, text).expect("the recording parses");
    let changed = text.replacen("> \tmaxage 20 holdcnt 6", "> \tmaxage 20 holdcnt 7", 1);
    assert_ne!(
        text, changed,
        "the recording no longer has the line this test changes"
    );
    let after = replay(file, &changed).expect("the changed recording parses");
    assert_eq!(after.passed + 1, before.passed);
    assert_eq!(after.mismatches.len(), before.mismatches.len() + 1);
}

/// How every answer of a recording is changed.
type Change = fn(&mut Recorded);

#[test]
fn a_change_in_any_answer_is_reported() {
    let changes: [Change; 3] = [
        |recorded| recorded.output.stdout.push('~'),
        |recorded| recorded.output.stderr.push('~'),
        |recorded| recorded.output.status ^= 1,
    ];
    for (file, text) in TRANSCRIPTS {
        for change in changes {
            let mut entries = transcript::parse(text).expect("the recording parses");
            for entry in &mut entries {
                if let Entry::Command(recorded) = entry {
                    change(recorded);
                }
            }
            let after = run(file, &entries).expect("the changed recording runs");
            assert_eq!(after.passed, 0, "{file}: a changed answer was passed");
        }
    }
}
