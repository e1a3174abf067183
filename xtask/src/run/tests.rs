//! Tests of the counting of test runners' summary lines.

use std::process::Command;

use super::{Counts, shown, tests};

fn counts(lines: &[&str]) -> Counts {
    let mut counts = Counts::default();
    for line in lines {
        counts.add_line(line);
    }
    counts
}

#[test]
fn nextest_summaries_are_counted() {
    let line = "     Summary [   0.005s] 14 tests run: 11 passed (1 slow, 1 flaky), 1 failed, 1 timed out, 1 exec failed, 2 skipped";
    assert_eq!(
        counts(&[line]),
        Counts {
            passed: 11,
            failed: 3,
            skipped: 2
        }
    );
    assert_eq!(
        counts(&["     Summary [   0.005s] 1 test run: 1 passed, 0 skipped"]),
        Counts {
            passed: 1,
            failed: 0,
            skipped: 0
        }
    );
}

#[test]
fn coloured_summaries_are_counted() {
    let line = "\u{1b}[32;1m     Summary\u{1b}[0m [   0.005s] \u{1b}[1m3\u{1b}[0m tests run: \u{1b}[1m3\u{1b}[0m \u{1b}[32;1mpassed\u{1b}[0m, \u{1b}[1m0\u{1b}[0m \u{1b}[33;1mskipped\u{1b}[0m";
    assert_eq!(
        counts(&[line]),
        Counts {
            passed: 3,
            failed: 0,
            skipped: 0
        }
    );
}

#[test]
fn libtest_summaries_add_up() {
    assert_eq!(
        counts(&[
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 4 filtered out; finished in 0.00s",
        ]),
        Counts {
            passed: 5,
            failed: 1,
            skipped: 1
        }
    );
}

#[test]
fn other_lines_count_nothing() {
    assert_eq!(
        counts(&[
            "test foo::bar ... ok",
            "        PASS [   0.004s] xtask run::tests::other",
            "5 passed, 3 failed",
            "it says tests run: 7 passed",
        ]),
        Counts::default()
    );
}

#[test]
fn a_failing_runner_still_has_counts() {
    let script = "echo 'test result: FAILED. 2 passed; 1 failed; 0 ignored'; exit 101";
    let (counts, verdict) = tests(Command::new("sh").args(["-c", script]));
    assert_eq!(
        counts,
        Counts {
            passed: 2,
            failed: 1,
            skipped: 0
        }
    );
    let error = verdict.expect_err("the runner failed").to_string();
    assert!(error.contains("exit status: 101"), "{error}");
}

#[test]
fn a_command_is_shown_as_one_would_type_it() {
    let mut command = Command::new("sh");
    command.args(["-c", "echo it's", "plain", ""]);
    assert_eq!(shown(&command), r"sh -c 'echo it'\''s' plain ''");
}
