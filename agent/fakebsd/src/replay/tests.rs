//! Tests of the replay itself: it must notice every difference that is not masked.

use super::transcript::{Entry, words};
use super::{TRANSCRIPTS, replay, transcript};

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
