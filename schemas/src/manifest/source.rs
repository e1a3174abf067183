//! The text of one file and places in it.

use std::sync::Arc;

use crate::manifest::diagnostic::{self, Diagnostic};

/// A place in a file: a stretch of one line. Lines and columns count from 1, columns and length in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// The line, 0 if the whole file is meant.
    pub line: usize,
    /// The column of the first character.
    pub column: usize,
    /// How many characters, at least 1.
    pub length: usize,
}

/// One file's name and text.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) text: String,
    /// Where each line begins, in octets.
    starts: Vec<usize>,
}

impl Source {
    /// Takes a file's octets as text.
    ///
    /// # Errors
    /// It is too large, or not UTF-8.
    pub(super) fn new(name: &str, bytes: &[u8]) -> Result<Arc<Self>, Box<Diagnostic>> {
        if bytes.len() > super::MANIFEST_BYTES_MAX {
            return Err(Box::new(diagnostic::too_large(name, bytes.len() as u64)));
        }
        let text = std::str::from_utf8(bytes)
            .map_err(|error| Box::new(diagnostic::not_utf8(name, bytes, error.valid_up_to())))?;
        let mut starts = vec![0];
        let mut previous = '\0';
        for (at, c) in text.char_indices() {
            // YAML's line breaks: LF, CR, and the two together (YAML 1.2.2, 5.4).
            if previous == '\n' || (previous == '\r' && c != '\n') {
                starts.push(at);
            }
            previous = c;
        }
        if matches!(previous, '\n' | '\r') {
            starts.push(text.len());
        }
        Ok(Arc::new(Self {
            name: name.to_owned(),
            text: text.to_owned(),
            starts,
        }))
    }

    /// A line without its line break, counted from 1.
    pub(super) fn line(&self, number: usize) -> &str {
        let Some(start) = number
            .checked_sub(1)
            .and_then(|index| self.starts.get(index))
        else {
            return "";
        };
        let end = self.starts.get(number).copied().unwrap_or(self.text.len());
        self.text[*start..end].trim_end_matches(['\n', '\r'])
    }

    /// How many lines there are.
    pub(super) fn lines(&self) -> usize {
        self.starts.len()
    }

    /// Where a line begins, in octets; the end of the text behind the last.
    pub(super) fn start(&self, number: usize) -> usize {
        number
            .checked_sub(1)
            .and_then(|index| self.starts.get(index))
            .copied()
            .unwrap_or(self.text.len())
    }

    /// The first line behind `line` that begins a document.
    pub(super) fn next_document(&self, line: usize) -> Option<usize> {
        (line + 1..=self.lines()).find(|number| {
            let rest = self.line(*number).strip_prefix("---");
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']))
        })
    }
}
