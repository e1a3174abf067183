//! What became of the rows.

use std::fmt;
use std::fmt::Write as _;

use anyhow::Result;
use serde_json::json;

use super::host::Ran;
use super::row::Row;

/// How the last line of a row's output begins.
const MARK: &str = "verdict: ";

/// What is said of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Everything was as the row says.
    Passed,
    /// Something was not.
    Failed(String),
    /// The host lacks something: nothing was tried, and nothing is known.
    NotRun(String),
}

impl Verdict {
    /// The verdict that a script gave; one that gave none failed.
    pub(super) fn of(ran: &Ran) -> Self {
        let mut lines = ran.output.lines().rev();
        let Some(line) = lines.find_map(|line| line.strip_prefix(MARK)) else {
            return Self::Failed(format!("the command ended without a verdict: {}", ran.end));
        };
        if line == "passed" {
            Self::Passed
        } else if let Some(what) = line.strip_prefix("not run: ") {
            Self::NotRun(what.to_owned())
        } else {
            Self::Failed(line.strip_prefix("failed: ").unwrap_or(line).to_owned())
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed(_) => "failed",
            Self::NotRun(_) => "not run",
        }
    }

    fn why(&self) -> &str {
        match self {
            Self::Passed => "",
            Self::Failed(why) | Self::NotRun(why) => why,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => f.write_str(self.word()),
            Self::Failed(why) | Self::NotRun(why) => write!(f, "{}: {why}", self.word()),
        }
    }
}

/// A row that is over.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) row: String,
    pub(super) title: String,
    pub(super) verdict: Verdict,
    pub(super) seconds: u64,
    pub(super) output: String,
}

impl Ended {
    /// A row that was not begun.
    pub(super) fn not_run(row: &Row, what: String) -> Self {
        Self {
            row: row.name.clone(),
            title: row.title.clone(),
            verdict: Verdict::NotRun(format!("needs {what}")),
            seconds: 0,
            output: String::new(),
        }
    }
}

/// A line for each, for people.
pub(super) fn table(ended: &[Ended]) -> String {
    let mut text = format!("{:<14}{:<9}{:>5}  WHAT", "ROW", "VERDICT", "SEC");
    for one in ended {
        let why = one.verdict.why();
        let more = if why.is_empty() {
            String::new()
        } else {
            format!(": {why}")
        };
        let _ = write!(
            text,
            "\n{:<14}{:<9}{:>5}  {}{more}",
            one.row,
            one.verdict.word(),
            one.seconds,
            one.title
        );
    }
    text
}

/// An array, for programs; the whole output of those that failed.
pub(super) fn json(ended: &[Ended]) -> Result<String> {
    let rows: Vec<serde_json::Value> = ended
        .iter()
        .map(|one| {
            let mut row = json!({
                "row": one.row,
                "title": one.title,
                "verdict": one.verdict.word(),
                "seconds": one.seconds,
            });
            if one.verdict != Verdict::Passed {
                row["reason"] = one.verdict.why().into();
            }
            if matches!(one.verdict, Verdict::Failed(_)) {
                row["output"] = one.output.as_str().into();
            }
            row
        })
        .collect();
    Ok(serde_json::to_string_pretty(&rows)?)
}
