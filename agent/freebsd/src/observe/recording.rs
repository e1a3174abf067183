//! The recordings of a real FreeBSD, for the tests of the parsers: what a recorded command printed.

use std::fs;
use std::path::Path;

/// Standard output of the `nth` occurrence (from 0) of the command `line` in the recording `file`.
pub(crate) fn stdout(file: &str, line: &str, nth: usize) -> String {
    stream(file, line, nth, "> ")
}

/// Standard error, likewise.
pub(crate) fn stderr(file: &str, line: &str, nth: usize) -> String {
    stream(file, line, nth, "! ")
}

fn stream(file: &str, line: &str, nth: usize, mark: &str) -> String {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../fakebsd/transcripts/{file}.txt"));
    let text = fs::read_to_string(&path).expect("the recording is part of the repository");
    let command = format!("$ {line}");
    let mut lines = text.lines();
    for _ in 0..=nth {
        lines
            .by_ref()
            .find(|candidate| *candidate == command)
            .expect("the recording has the command that often");
    }
    let mut printed = String::new();
    for candidate in lines.take_while(|candidate| !candidate.starts_with("= ")) {
        let bare = candidate
            .strip_prefix(mark)
            .or_else(|| (candidate == mark.trim_end()).then_some(""));
        if let Some(bare) = bare {
            printed.push_str(bare);
            printed.push('\n');
        }
    }
    printed
}
