//! Diagnostics: what is wrong, where in which file, what to do, with the line and a caret under it.

use std::fmt::Write;

use crate::manifest::source::{Source, Span};

#[cfg(test)]
mod tests;

/// Characters of a source line that are shown; a longer line is cut around the place.
const EXCERPT_CHARS_MAX: usize = 120;

/// Diagnostics of one file that are kept until the first of them by line are chosen.
const KEPT_MAX: usize = 10_000;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing is applied.
    Error,
    /// It works as written.
    Warning,
}

/// One finding in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The file as it was named; `-` for standard input.
    pub file: String,
    /// The line from 1; 0 if the whole file is meant.
    pub line: usize,
    /// The column from 1, in characters.
    pub column: usize,
    /// How many characters are meant.
    pub length: usize,
    /// The field, as in `spec.networks[0].addresses[1]`; empty if there is none.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// What to do; empty where the message says it already.
    pub help: String,
    /// The line itself; of a very long line the part around the place.
    pub excerpt: String,
    /// The column at which the excerpt begins: 1, but for a very long line.
    pub excerpt_column: usize,
}

impl Diagnostic {
    /// An error at a place, still without its excerpt: only those that are shown get one ([`Diagnostic::with_excerpt`]).
    pub(super) fn error(
        source: &Source,
        span: Span,
        field: &str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self {
            severity: Severity::Error,
            file: source.name.clone(),
            line: span.line,
            column: span.column,
            length: span.length,
            field: field.to_owned(),
            message: message.into(),
            help: help.into(),
            excerpt: String::new(),
            excerpt_column: 1,
        }
    }

    /// The same with the line that it is about. A manifest may be one line of ten megabytes, so that only a part is copied.
    pub(super) fn with_excerpt(mut self, source: &Source) -> Self {
        let before = self
            .column
            .saturating_sub(1)
            .saturating_sub(EXCERPT_CHARS_MAX);
        self.excerpt_column = before + 1;
        self.excerpt = source
            .line(self.line)
            .chars()
            .skip(before)
            .take(3 * EXCERPT_CHARS_MAX)
            .collect();
        self
    }

    /// `file:line:column`, or the file alone.
    #[must_use]
    pub fn place(&self) -> String {
        if self.line == 0 {
            self.file.clone()
        } else {
            format!("{}:{}:{}", self.file, self.line, self.column)
        }
    }

    /// The whole as text of several lines, without a final line break. `color` puts it in colours by ANSI sequences.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        let paint = |code: &'static str, text: &str| {
            if color {
                format!("\u{1b}[{code}m{text}\u{1b}[0m")
            } else {
                text.to_owned()
            }
        };
        let (word, code) = match self.severity {
            Severity::Error => ("error", "1;31"),
            Severity::Warning => ("warning", "1;33"),
        };
        let subject = if self.field.is_empty() {
            String::new()
        } else {
            format!("{}: ", visible(&self.field))
        };
        let head = format!(": {subject}{}", visible(&self.message));
        let mut text = paint(code, word) + &paint("1", &head);
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        let bar = paint("34", "|");
        let _ = write!(
            text,
            "\n{margin}{} {}",
            paint("34", "-->"),
            visible(&self.place())
        );
        if self.line > 0 {
            let (shown, before, length) = self.window();
            let carets = paint(code, &"^".repeat(length));
            let pad = " ".repeat(before);
            let _ = write!(
                text,
                "\n{margin} {bar}\n{} {bar} {shown}\n{margin} {bar} {pad}{carets}",
                paint("34", &number)
            );
        }
        if !self.help.is_empty() {
            let _ = write!(
                text,
                "\n{margin} {} {}",
                paint("34", "="),
                paint("32", &format!("help: {}", visible(&self.help)))
            );
        }
        text
    }

    /// The part of the line that is shown, how many characters stand before the carets there, and how many carets.
    fn window(&self) -> (String, usize, usize) {
        let line: Vec<char> = visible(&self.excerpt).chars().collect();
        let column = self
            .column
            .saturating_sub(self.excerpt_column)
            .min(line.len());
        let (from, left) = if line.len() > EXCERPT_CHARS_MAX && column > EXCERPT_CHARS_MAX / 2 {
            (column - EXCERPT_CHARS_MAX / 2, "…")
        } else {
            (0, if self.excerpt_column > 1 { "…" } else { "" })
        };
        let to = line.len().min(from + EXCERPT_CHARS_MAX);
        let right = if to < line.len() { "…" } else { "" };
        let shown: String = line[from..to].iter().collect();
        let before = column - from + left.chars().count();
        let length = self.length.clamp(1, (to.max(column) - column).max(1));
        (format!("{left}{shown}{right}"), before, length)
    }
}

/// Text that a terminal shows as it stands: every control character, tabs included, becomes one space, so that columns hold.
fn visible(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// The diagnostic for a file that is not read at all because of its size. `jailctl` uses it before it reads.
#[must_use]
pub fn too_large(name: &str, bytes: u64) -> Diagnostic {
    let limit = super::MANIFEST_BYTES_MAX;
    whole_file(
        name,
        format!("the file has {bytes} octets, but a manifest has at most {limit}"),
        "split it into several files; a directory can be applied as a whole",
    )
}

/// The diagnostic for octets that are not text.
pub(super) fn not_utf8(name: &str, bytes: &[u8], valid: usize) -> Diagnostic {
    let line = bytes[..valid].iter().filter(|byte| **byte == b'\n').count() + 1;
    let at = bytes.get(valid).copied().unwrap_or_default();
    whole_file(
        name,
        format!("line {line} is not UTF-8 text (octet 0x{at:02x} at offset {valid})"),
        "save the file as UTF-8",
    )
}

fn whole_file(name: &str, message: String, help: &str) -> Diagnostic {
    Diagnostic {
        severity: Severity::Error,
        file: name.to_owned(),
        line: 0,
        column: 0,
        length: 0,
        field: String::new(),
        message,
        help: help.to_owned(),
        excerpt: String::new(),
        excerpt_column: 1,
    }
}

/// The diagnostics of one file while it is read.
#[derive(Debug, Default)]
pub(super) struct Found {
    list: Vec<Diagnostic>,
    /// How many more there were than are kept.
    dropped: usize,
}

impl Found {
    /// Adds one, or only counts it once there are far more than will be shown.
    pub(super) fn push(&mut self, diagnostic: Diagnostic) {
        if self.list.len() < KEPT_MAX {
            self.list.push(diagnostic);
        } else {
            self.dropped += 1;
        }
    }

    /// Whether there are more already than are shown, so that nobody needs to look for others.
    pub(super) fn is_enough(&self) -> bool {
        self.list.len() > super::DIAGNOSTICS_MAX
    }

    /// At most as many as a person can read, in the order of the lines, with their excerpts.
    pub(super) fn finish(mut self, source: &Source) -> Vec<Diagnostic> {
        self.list
            .sort_by_key(|diagnostic| (diagnostic.line, diagnostic.column));
        let more = self.list.len().saturating_sub(super::DIAGNOSTICS_MAX) + self.dropped;
        self.list.truncate(super::DIAGNOSTICS_MAX);
        let mut shown: Vec<Diagnostic> = self
            .list
            .into_iter()
            .map(|diagnostic| diagnostic.with_excerpt(source))
            .collect();
        if more > 0 {
            let message = format!("{more} more mistakes in this file are not shown");
            shown.push(whole_file(&source.name, message, "mend these first"));
        }
        shown
    }
}
