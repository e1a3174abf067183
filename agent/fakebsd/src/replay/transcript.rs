//! The grammar of a transcript, as `transcripts/README.md` states it.

use crate::output::Output;

/// One recorded command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The line it stands on, from 1.
    pub line: usize,
    /// The command as written.
    pub text: String,
    /// Its words.
    pub argv: Vec<String>,
    /// What it read.
    pub stdin: String,
    /// What it printed, and its exit status.
    pub output: Output,
}

/// One part of a transcript.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// `# text`.
    Remark(String),
    /// `# file PATH` and its lines.
    File {
        /// Where it was written.
        path: String,
        /// Its text.
        text: String,
    },
    /// `$ argv` and what followed.
    Command(Recorded),
}

/// The words of a command line quoted as sh(1) would need it: blanks, single and double quotes, backslashes.
///
/// # Errors
/// A quote that is not closed.
pub fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' => words.extend(word.take()),
            '\'' => {
                let at = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('\'') => break,
                        Some(c) => at.push(c),
                        None => return Err(format!("unterminated quote: {text}")),
                    }
                }
            }
            '\\' => word.get_or_insert_default().extend(chars.next()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

/// Parses a transcript.
///
/// # Errors
/// Names the line that does not follow the grammar.
pub fn parse(text: &str) -> Result<Vec<Entry>, String> {
    let mut entries: Vec<Entry> = Vec::new();
    for (number, line) in text
        .lines()
        .enumerate()
        .map(|(number, line)| (number + 1, line))
    {
        let (mark, rest) = match line.split_once(' ') {
            Some((mark, rest)) => (mark, rest),
            None => (line, ""),
        };
        let misplaced = || format!("line {number}: {line:?} belongs to nothing");
        match (mark, entries.last_mut()) {
            ("", _) if line.is_empty() => {}
            ("#", _) => match rest.strip_prefix("file ") {
                Some(path) => entries.push(Entry::File {
                    path: path.to_owned(),
                    text: String::new(),
                }),
                None => entries.push(Entry::Remark(rest.to_owned())),
            },
            ("|", Some(Entry::File { text, .. })) => push_line(text, rest),
            ("$", _) => {
                let argv = words(rest).map_err(|reason| format!("line {number}: {reason}"))?;
                entries.push(Entry::Command(Recorded {
                    line: number,
                    text: rest.to_owned(),
                    argv,
                    stdin: String::new(),
                    output: Output::default(),
                }));
            }
            ("<", Some(Entry::Command(recorded))) => push_line(&mut recorded.stdin, rest),
            (">", Some(Entry::Command(recorded))) => push_line(&mut recorded.output.stdout, rest),
            ("!", Some(Entry::Command(recorded))) => push_line(&mut recorded.output.stderr, rest),
            ("=", Some(Entry::Command(recorded))) => {
                recorded.output.status = rest.parse().map_err(|_| misplaced())?
            }
            _ => return Err(misplaced()),
        }
    }
    Ok(entries)
}

fn push_line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}
