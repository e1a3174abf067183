//! Whether an answer is the recorded one. Masked is what the recordings' README says varies from run to run, and nothing else.
//!
//! Generated MAC addresses must correspond: where the recording repeats one, the emulator must repeat its own.

use std::collections::{BTreeMap, BTreeSet};

use super::transcript::Recorded;
use crate::output::Output;

/// The state of the comparison over one transcript.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// MAC addresses that were given by somebody, so that they are compared as they are.
    given: BTreeSet<String>,
    /// Generated MAC addresses: the recorded one and ours.
    generated: BTreeMap<String, String>,
}

fn is_mac(word: &str) -> bool {
    word.len() == 17
        && word.split(':').count() == 6
        && word
            .split(':')
            .all(|part| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Prefix of the recording machine's own cards.
const CARD_PREFIX: &str = "52:54:00:";

/// Words between which text is cut for comparison: blanks, and what stands around names and numbers.
fn pieces(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        let blank = rest.find([' ', '\t']).unwrap_or(rest.len());
        let end = if blank == 0 { 1 } else { blank };
        found.push(&rest[..end]);
        rest = &rest[end..];
    }
    found
}

/// `ngctl149`: the socket of a running ngctl, named after its process.
fn is_ngctl_name(word: &str) -> bool {
    word.strip_prefix("ngctl").is_some_and(|number| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// Replaces numbers that tell how long something took.
fn mask_times(line: &str) -> String {
    for (before, after) in [
        ("Status: Enabled for ", "Debug:"),
        ("Status: Disabled for ", "Debug:"),
    ] {
        if line.starts_with(before) && line.contains(after) {
            return before.to_owned();
        }
    }
    if let Some((head, tail)) = line.split_once(" Vlan0 ") {
        // Seconds until a learned address is forgotten.
        let words: Vec<&str> = tail.split(' ').collect();
        if let [member, _, flags] = words[..] {
            return format!("{head} Vlan0 {member} SECONDS {flags}");
        }
    }
    if let Some((head, _)) = line.split_once(" time=").filter(|_| line.ends_with(" ms")) {
        return head.to_owned();
    }
    if line.starts_with("round-trip min/avg/max/stddev = ") {
        return "round-trip".to_owned();
    }
    line.to_owned()
}

impl Comparison {
    /// Nothing seen yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// MAC addresses on a command line are given, not generated.
    pub fn note_argv(&mut self, argv: &[String]) {
        self.given.extend(
            argv.iter()
                .flat_map(|word| word.split([' ', ';']))
                .filter(|word| is_mac(word))
                .map(str::to_owned),
        );
    }

    /// Whether `actual` is what was recorded.
    pub fn same(&mut self, recorded: &Recorded, actual: &Output) -> bool {
        let unordered = starts_all(&recorded.argv);
        let mut printed = actual.stdout.clone();
        if recorded.argv.iter().any(|word| word == "ping")
            && recorded.output.stdout.lines().count() == 1
        {
            // Recording `14` kept only ping's summary.
            printed = printed
                .lines()
                .filter(|line| line.contains(" packets transmitted, "))
                .map(|line| format!("{line}\n"))
                .collect();
        }
        let stdout = self.same_text(&recorded.output.stdout, &printed, unordered);
        let stderr = self.same_text(&recorded.output.stderr, &actual.stderr, unordered);
        stdout && stderr && recorded.output.status == actual.status
    }

    fn same_text(&mut self, expected: &str, actual: &str, unordered: bool) -> bool {
        let split = |text: &str| -> Vec<String> { text.split('\n').map(mask_times).collect() };
        let (mut expected, mut actual) = (split(expected), split(actual));
        if unordered {
            expected.sort();
            actual.sort();
        }
        expected.len() == actual.len()
            && expected
                .iter()
                .zip(&actual)
                .all(|(expected, actual)| self.same_line(expected, actual))
    }

    fn same_line(&mut self, expected: &str, actual: &str) -> bool {
        let (expected, actual) = (pieces(expected), pieces(actual));
        if expected.iter().any(|word| is_ngctl_name(word)) {
            let words = |pieces: &[&str]| -> Vec<String> {
                pieces
                    .iter()
                    .filter(|piece| !piece.trim().is_empty())
                    .map(|word| {
                        if is_ngctl_name(word) {
                            "ngctl".to_owned()
                        } else {
                            (*word).to_owned()
                        }
                    })
                    .collect()
            };
            return words(&expected) == words(&actual);
        }
        expected.len() == actual.len()
            && expected
                .iter()
                .zip(&actual)
                .all(|(expected, actual)| self.same_word(expected, actual))
    }

    fn same_word(&mut self, expected: &str, actual: &str) -> bool {
        if !is_mac(expected)
            || self.given.contains(expected)
            || expected.starts_with(CARD_PREFIX)
            || expected == "00:00:00:00:00:00"
        {
            return expected == actual;
        }
        if !is_mac(actual) {
            return false;
        }
        self.generated
            .entry(expected.to_owned())
            .or_insert_with(|| actual.to_owned())
            == actual
    }
}

/// `jail -c` without a name starts its jails in no certain order.
fn starts_all(argv: &[String]) -> bool {
    let [program, rest @ ..] = argv else {
        return false;
    };
    let file = rest.iter().position(|word| word == "-f").map(|at| at + 1);
    let operands = rest
        .iter()
        .enumerate()
        .filter(|(at, word)| !word.starts_with('-') && Some(*at) != file)
        .count();
    program == "jail" && rest.iter().any(|word| word == "-c") && operands == 0
}
