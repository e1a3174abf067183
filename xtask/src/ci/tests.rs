//! Tests of the closing table and of the verdict.

use std::time::Duration;

use anyhow::anyhow;

use super::{Row, Verdict, close, table};
use crate::run::Counts;

fn row(name: &str, verdict: Verdict) -> Row {
    Row {
        name: name.to_owned(),
        verdict,
        counts: Counts {
            passed: 3,
            failed: 0,
            skipped: 0,
        },
        wall: Duration::from_millis(1_500),
        cpu: Some(Duration::from_millis(2_000)),
    }
}

#[test]
fn the_table_has_a_line_for_each_check() {
    let text = table(&[
        row("fmt", Verdict::Passed),
        row("clippy", Verdict::Failed(anyhow!("two lines\nof error"))),
        row("deny", Verdict::NotRun("it is not installed")),
    ]);
    let lines: Vec<&str> = text.trim_start().lines().collect();
    assert_eq!(
        lines,
        [
            "check             wall s     cpu s   tests  verdict",
            "fmt                  1.5       2.0       3  ok",
            "clippy               1.5       2.0       3  FAILED: two lines",
            "deny                 1.5       2.0       3  not run: it is not installed",
            "all                  4.5",
        ]
    );
}

#[test]
fn one_failed_check_fails_the_run_and_is_named() {
    let error = close(&[
        row("fmt", Verdict::Passed),
        row("purity", Verdict::Failed(anyhow!("no"))),
    ])
    .expect_err("one check failed");
    assert_eq!(error.to_string(), "failed: purity");
}

#[test]
fn a_check_that_was_not_run_does_not_fail_the_run() {
    close(&[row("deny", Verdict::NotRun("it is not installed"))]).expect("nothing failed");
}
