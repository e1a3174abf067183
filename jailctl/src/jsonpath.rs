//! kubectl's JSONPath templates: text, and expressions in braces, as `-o jsonpath=` and `wait --for jsonpath=` take them.
//!
//! The form and its meaning are those of client-go's `util/jsonpath`, and not RFC 9535's: `['a.b']` is a path, a dot in a name is escaped, and
//! `{range …}` repeats what stands before `{end}`. What kubectl takes and passes over, such as a second expression in the same braces, is
//! refused by name here: a script that gets nothing for it would not know. One thing differs on purpose: a list without entries does not end the
//! look at its neighbours, as it does there (`evalArray`).
//!
//! What a template makes is found in `find`, its text is read in `parse`; where it is printed is `output`'s.

use std::str::FromStr;

use serde_json::Value;

mod find;
mod parse;
#[cfg(test)]
mod tests;

pub use parse::closing;

/// A template.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Text(String),
    Found(Path),
    Range { over: Path, body: Vec<Piece> },
}

/// What is found by going these steps, one after the other, from the object that is looked at.
type Path = Vec<Step>;

#[derive(Clone, Debug, PartialEq)]
enum Step {
    /// `.name`
    Field(String),
    /// `.*`: every value of an object or a list.
    Each,
    /// `[3]`, from the end if it is negative.
    Index(i64),
    /// `[1:3:2]`, and `[*]`, which is all.
    Slice {
        from: Option<i64>,
        to: Option<i64>,
        step: Option<i64>,
    },
    /// `..`: everything below.
    Descend,
    /// `['a.b','c']`: what each of them finds.
    Union(Vec<Path>),
    /// `[?(@.a=="b")]`
    Filter(Filter),
}

/// Which entries of a list are meant.
#[derive(Clone, Debug, PartialEq)]
struct Filter {
    left: Operand,
    /// None: those that have it.
    right: Option<(Comparison, Operand)>,
}

#[derive(Clone, Debug, PartialEq)]
enum Operand {
    Said(Value),
    Found(Path),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    Unequal,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.contains('{') {
            return Self::relaxed(text);
        }
        Ok(Self {
            text: text.to_owned(),
            pieces: parse::pieces(text).map_err(|error| format!("`{text}`: {error}"))?,
        })
    }
}

impl Template {
    /// One expression, with or without its braces and its first dot, as kubectl's `wait` takes it: `{.status.phase}`, `status.phase`.
    ///
    /// # Errors
    /// It makes no sense.
    pub fn relaxed(text: &str) -> Result<Self, String> {
        let inner = text
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'))
            .unwrap_or(text)
            .trim();
        let dot = match inner.chars().next() {
            Some(first) if first == '_' || first.is_alphanumeric() => ".",
            Some(_) | None => "",
        };
        format!("{{{dot}{inner}}}").parse()
    }

    /// What the template makes of a document.
    ///
    /// # Errors
    /// It asks for what the document cannot have, such as the third entry of a list of two.
    pub fn render(&self, document: &Value) -> Result<String, String> {
        let mut text = String::new();
        write(&self.pieces, document, &mut text)
            .map_err(|error| format!("`{}`: {error}", self.text))?;
        Ok(text)
    }
}

fn write(pieces: &[Piece], document: &Value, out: &mut String) -> Result<(), String> {
    for piece in pieces {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Found(path) => {
                let found = find::find(path, document)?;
                let texts: Vec<String> = found.into_iter().map(bare).collect();
                out.push_str(&texts.join(" "));
            }
            Piece::Range { over, body } => {
                for one in find::find(over, document)? {
                    write(body, one, out)?;
                }
            }
        }
    }
    Ok(())
}

/// A string without quotes, anything else as JSON.
fn bare(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}
