//! jail.conf(5) as it is written: words, the grammar, `.include`, and what jail(8) makes of it for each jail.
//!
//! ```text
//! text ──► lexer (words) ──► grammar (blocks of parameters; `include` reads more text) ──► resolve (wildcards, +=, variables) ──► jails
//! ```
//!
//! Made after usr.sbin/jail of FreeBSD 15.1: jaillex.l, jailparse.y and config.c. What jail(8) refuses is refused, with every mistake at once and its place; what it does with the
//! parameters afterwards is not looked at here. The emulator has a reader of its own, so that the one can be held against the other.

mod glob;
mod grammar;
mod include;
mod lexer;
mod resolve;

use std::rc::Rc;

use cellblock_schemas::manifest::{Diagnostic, Severity};

pub use include::{Files, Missing};
pub use resolve::{Configured, Parameter, Value};

/// A stretch of one line of a file that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    source: Rc<Source>,
    /// The line from 1.
    pub line: usize,
    /// The column from 1, in characters.
    pub column: usize,
    length: usize,
}

/// One file.
#[derive(Debug, PartialEq, Eq)]
struct Source {
    name: String,
    bytes: Vec<u8>,
}

impl Place {
    /// The file as it was named.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.source.name
    }

    /// An error there.
    #[must_use]
    pub fn error(
        &self,
        field: &str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Diagnostic {
        let mut lines = self.source.bytes.split(|byte| *byte == b'\n');
        let excerpt = lines.nth(self.line.saturating_sub(1)).unwrap_or_default();
        Diagnostic {
            severity: Severity::Error,
            file: self.source.name.clone(),
            line: self.line,
            column: self.column,
            length: self.length,
            field: field.to_owned(),
            message: message.into(),
            help: help.into(),
            excerpt: String::from_utf8_lossy(excerpt).into_owned(),
            excerpt_column: 1,
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.source.name, self.line)
    }
}

/// A piece of a value: text, or a variable that stands for some.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Variable(String),
}

/// A value as written: pieces side by side.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Written {
    pieces: Vec<Piece>,
    place: Place,
}

/// A parameter or variable as written.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Statement {
    name: String,
    is_variable: bool,
    /// `+=`
    appends: bool,
    values: Vec<Written>,
    place: Place,
}

/// One jail's block, or a wildcard's; what stands outside of all is a block named `*`, where the first of it stood.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Block {
    name: String,
    statements: Vec<Statement>,
    place: Place,
}

/// What was read: jails as jail(8) sees them, and everything that is wrong.
#[derive(Debug, Default)]
pub struct Read {
    /// The jails of the file, in its order, without wildcards. Those with a mistake of their own are among `mistakes` only.
    pub jails: Vec<Configured>,
    /// Mistakes, each with its place.
    pub mistakes: Vec<Diagnostic>,
    /// Whether jail(8) would do nothing at all: a mistake of the file, not of one jail.
    pub is_refused: bool,
}

/// Reads a file and all that it includes.
#[must_use]
pub fn read(name: &str, bytes: Vec<u8>, files: &dyn Files) -> Read {
    let mut reader = grammar::Reader::new(files);
    reader.file(name, bytes);
    let (blocks, mistakes) = reader.finish();
    if mistakes.is_empty() {
        resolve::resolve(blocks)
    } else {
        Read {
            jails: Vec::new(),
            mistakes,
            is_refused: true,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
