//! The operator's pf.conf as text: where our block stands in it, and what it is without it. It is never understood further than that; pfctl(8) says what it means.
//!
//! One block has all the lines that the operator's own text lacks. It stands before the first rule that filters: behind whatever translates, queues and normalizes, because pfctl wants that order
//! (`check_rulestate`, sbin/pfctl/parse.y), and before every rule that is `quick`. Taken out again, the text is what it was, byte for byte.

use std::collections::BTreeSet;

use crate::names::ANCHOR_ROOT;
use crate::observed::AnchorReference;

/// How large a pf.conf may be that is managed, in octets: it stands in the record of a guarded change. The largest seen have some thousand lines; addresses belong into files of tables.
pub const BYTES_MAX: usize = 256 << 10;

/// Where pf.conf is unless rc.conf says otherwise (`pf_rules`, libexec/rc/rc.conf).
pub const DEFAULT: &str = "/etc/pf.conf";

mod main_ruleset;

pub use main_ruleset::{MainRuleset, loaded, references};

const BEGIN: &str = "# cellblock begin: written by cellblock-agent (spec.pf.anchors: manage), and replaced by it; write outside";

/// Where the text before it did not end with a line end: the one before this line is ours.
const BEGIN_JOINED: &str = "# cellblock begin, line end before it: written by cellblock-agent (spec.pf.anchors: manage), and replaced by it; write outside";

const END: &str = "# cellblock end";

/// First words of statements that filter (`pfrule`, `anchorrule`, `antispoof`, sbin/pfctl/parse.y).
const FILTERS: [&str; 5] = ["pass", "block", "match", "anchor", "antispoof"];

/// The lines at which the block begins and ends are not there as they were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the lines `# cellblock begin…` and `# cellblock end` are not there once each, in this order; take out what is left of the block"
)]
pub struct Damaged;

/// The text without our block.
///
/// # Errors
/// Its marks are not as they were written.
pub fn own(text: &str) -> Result<String, Damaged> {
    let Some(block) = find(text)? else {
        return Ok(text.to_owned());
    };
    Ok(format!("{}{}", &text[..block.start], &text[block.end..]))
}

/// Whether our block stands in it.
#[must_use]
pub fn has_block(text: &str) -> bool {
    matches!(find(text), Ok(Some(_)))
}

/// An operator's own text with a block that has these lines; as it is where there are none.
#[must_use]
pub fn with_block(own: &str, lines: &BTreeSet<AnchorReference>) -> String {
    if lines.is_empty() {
        return own.to_owned();
    }
    let (before, behind) = own.split_at(first_filter(own));
    let mut text = before.to_owned();
    let is_joined = !before.is_empty() && !before.ends_with('\n');
    text.push_str(if is_joined { "\n" } else { "" });
    text.push_str(if is_joined { BEGIN_JOINED } else { BEGIN });
    for line in AnchorReference::ALL {
        if lines.contains(&line) {
            text.push('\n');
            text.push_str(&reference(line));
        }
    }
    text.push('\n');
    text.push_str(END);
    text.push('\n');
    text.push_str(behind);
    text
}

/// The line of pf.conf(5) that refers to our anchors.
#[must_use]
pub fn reference(of: AnchorReference) -> String {
    format!("{} \"{ANCHOR_ROOT}/*\"", of.keyword())
}

fn find(text: &str) -> Result<Option<std::ops::Range<usize>>, Damaged> {
    let (mut begin, mut end) = (None, None);
    let (mut place, mut joined) = (0, 0);
    for line in text.split_inclusive('\n') {
        let content = line.strip_suffix('\n').unwrap_or(line);
        let is_begin = content == BEGIN || content == BEGIN_JOINED;
        if is_begin && begin.is_none() {
            joined = usize::from(content == BEGIN_JOINED && place > 0);
            begin = Some(place);
        } else if content == END && begin.is_some() && end.is_none() {
            end = Some(place + line.len());
        } else if content.starts_with("# cellblock begin")
            || content
                .strip_prefix(END)
                .is_some_and(|rest| rest.trim().is_empty())
        {
            return Err(Damaged);
        }
        place += line.len();
    }
    match (begin, end) {
        (None, None) => Ok(None),
        // Behind which somebody has gone on writing since: his line begins where he began it.
        (Some(begin), Some(end)) if end < text.len() => Ok(Some(begin..end)),
        (Some(begin), Some(end)) => Ok(Some(begin - joined..end)),
        (Some(_), None) | (None, Some(_)) => Err(Damaged),
    }
}

/// Where the first statement that filters begins; the end of the text if there is none.
///
/// A statement ends with its line, unless a backslash stands before the line end (in a comment too), or it is within quotes or braces (`lgetc`, `yylex`, sbin/pfctl/parse.y).
fn first_filter(text: &str) -> usize {
    let mut scanner = Scanner {
        rest: text,
        place: 0,
    };
    loop {
        let start = scanner.place;
        let Some(word) = scanner.statement() else {
            return text.len();
        };
        // What a macro stands for may filter; nothing that filters may come before us.
        if FILTERS.contains(&word.as_str()) || word.starts_with('$') {
            return start;
        }
    }
}

struct Scanner<'a> {
    rest: &'a str,
    place: usize,
}

impl Scanner<'_> {
    /// The next character; a line that goes on in the next is one. Two backslashes before a line end are none that joins (`lgetc`, sbin/pfctl/parse.y).
    fn peek(&mut self) -> Option<char> {
        while let Some(behind) = self.rest.strip_prefix("\\\n") {
            self.place += 2;
            self.rest = behind;
        }
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let character = self.peek()?;
        let width = character.len_utf8();
        let width = if self.rest.starts_with("\\\\") {
            2
        } else {
            width
        };
        self.place += width;
        self.rest = &self.rest[width..];
        Some(character)
    }

    /// The first word of the statement that begins here, and goes behind it; empty for a line without one, none at the end.
    fn statement(&mut self) -> Option<String> {
        let mut word = String::new();
        let (mut depth, mut is_word, mut is_any) = (0_u32, true, false);
        while let Some(character) = self.next() {
            is_any = true;
            match character {
                '\n' if depth == 0 => return Some(word),
                '#' => {
                    while self.peek().is_some_and(|character| character != '\n') {
                        self.next();
                    }
                    is_word = false;
                }
                '"' | '\'' => {
                    self.quoted(character);
                    is_word = false;
                }
                '{' => depth += 1,
                '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            let is_part = character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '$');
            if is_word && is_part {
                word.push(character);
            } else if is_word && !(word.is_empty() && character.is_ascii_whitespace()) {
                is_word = false;
            }
        }
        is_any.then_some(word)
    }

    fn quoted(&mut self, quote: char) {
        while let Some(character) = self.next() {
            if character == quote {
                return;
            }
            if character == '\\' && self.rest.starts_with(quote) {
                self.next();
            }
        }
    }
}

#[cfg(test)]
mod tests;
