//! A template's text, read: client-go, `util/jsonpath/parser.go`, without what is passed over there in silence.

use serde_json::Value;

use super::{Comparison, Filter, Operand, Path, Piece, Step};

/// What else filters and computes, where kubectl's form ends.
const FURTHER: &str = "kubectl's form has none of it; -o json and jq(1) have";

/// Reads a template.
///
/// # Errors
/// What of it makes no sense, or is not kubectl's form.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece>, String> {
    Reader::of(text).pieces(false)
}

/// Where the brace that opens `text` is closed, quoted text passed over.
#[must_use]
pub fn closing(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut is_escaped = false;
    for (index, character) in text.char_indices() {
        match (quote, character) {
            (_, _) if is_escaped => is_escaped = false,
            (_, '\\') => is_escaped = true,
            (None, '}') => return Some(index),
            (None, '"' | '\'') => quote = Some(character),
            (Some(open), _) if open == character => quote = None,
            (None | Some(_), _) => {}
        }
    }
    None
}

struct Reader<'a> {
    rest: &'a str,
    /// Between `[?(` and its end, where a comparison ends a name.
    in_filter: bool,
}

impl<'a> Reader<'a> {
    fn of(text: &'a str) -> Self {
        Self {
            rest: text,
            in_filter: false,
        }
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let mut characters = self.rest.chars();
        let next = characters.next();
        self.rest = characters.as_str();
        next
    }

    fn eat(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|character| !wanted(character));
        let (taken, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        taken
    }

    fn blanks(&mut self) {
        self.take_while(char::is_whitespace);
    }

    /// Pieces up to the end of the template, or of the range.
    fn pieces(&mut self, in_range: bool) -> Result<Vec<Piece>, String> {
        let mut pieces = Vec::new();
        loop {
            let text = self.take_while(|character| character != '{');
            if !text.is_empty() {
                pieces.push(Piece::Text(text.to_owned()));
            }
            if !self.eat("{") {
                return if in_range {
                    Err("`{range …}` has no end; write {end} after what is repeated".to_owned())
                } else {
                    Ok(pieces)
                };
            }
            self.blanks();
            match self.peek() {
                Some(quote @ ('"' | '\'')) => pieces.push(Piece::Text(self.quoted(quote)?)),
                Some('$' | '@' | '.' | '[') => pieces.push(Piece::Found(self.path()?)),
                Some('}') => return Err("between the braces stands nothing; {@} is all".to_owned()),
                Some(_) | None => match self.word() {
                    "range" => {
                        self.blanks();
                        let over = self.path()?;
                        self.close()?;
                        let body = self.pieces(true)?;
                        pieces.push(Piece::Range { over, body });
                        continue;
                    }
                    "end" if in_range => {
                        self.close()?;
                        return Ok(pieces);
                    }
                    "end" => return Err("there is no {range …} before this {end}".to_owned()),
                    "" => return Err(self.odd()),
                    word => {
                        return Err(format!(
                            "`{word}` is no word of a template, which are range and end; a field begins with a dot: {{.{word}}}"
                        ));
                    }
                },
            }
            self.close()?;
        }
    }

    fn word(&mut self) -> &'a str {
        self.take_while(|character| character.is_alphanumeric() || character == '_')
    }

    /// The end of an expression.
    fn close(&mut self) -> Result<(), String> {
        self.blanks();
        if self.eat("}") {
            return Ok(());
        }
        match self.peek() {
            Some('$' | '@' | '.' | '"' | '\'') => Err(format!(
                "one pair of braces holds one expression; a second one begins at `{}`",
                self.near()
            )),
            Some(_) | None => Err(self.odd()),
        }
    }

    /// Steps, up to what is none.
    fn path(&mut self) -> Result<Path, String> {
        let mut path = Vec::new();
        let is_rooted = self.eat("$") || self.eat("@");
        loop {
            if self.eat("..") {
                if path.last() == Some(&Step::Descend) {
                    return Err("`..` twice says no more than once".to_owned());
                }
                path.push(Step::Descend);
                let first = self.peek();
                if first.is_some_and(|first| first == '_' || first.is_alphanumeric()) {
                    path.push(self.field()?);
                }
            } else if self.eat(".") {
                path.push(self.field()?);
            } else if self.eat("[?") {
                path.push(Step::Filter(self.filter()?));
            } else if self.eat("[") {
                path.push(self.bracket()?);
            } else if path.is_empty() && !is_rooted {
                return Err(self.odd());
            } else {
                return Ok(path);
            }
        }
    }

    /// A name, with what would end it behind a backslash.
    fn field(&mut self) -> Result<Step, String> {
        let mut name = String::new();
        let mut is_plain = true;
        while let Some(next) = self.peek() {
            let ends = next.is_whitespace()
                || matches!(next, '.' | ',' | '[' | ']' | '$' | '@' | '{' | '}')
                || self.in_filter
                    && matches!(next, '!' | '<' | '>' | '=' | '(' | ')' | '&' | '|' | '~');
            if ends {
                break;
            }
            self.next();
            match next {
                '\\' => {
                    is_plain = false;
                    name.extend(self.next());
                }
                _ => name.push(next),
            }
        }
        match name.as_str() {
            "" => Err(format!(
                "a name is missing before `{}`; {{@}} is all",
                self.near()
            )),
            "*" if is_plain => Ok(Step::Each),
            _ => Ok(Step::Field(name)),
        }
    }

    /// What stands between brackets, the opening one taken already.
    fn bracket(&mut self) -> Result<Step, String> {
        let mut paths: Vec<Path> = Vec::new();
        loop {
            self.blanks();
            paths.push(self.entry()?);
            self.blanks();
            if self.eat(",") {
                continue;
            }
            if !self.eat("]") {
                return Err(format!("`[` is not closed before `{}`", self.near()));
            }
            return Ok(match paths.as_mut_slice() {
                [one] if one.len() == 1 => one.remove(0),
                _ => Step::Union(paths),
            });
        }
    }

    /// One of the things that brackets hold.
    fn entry(&mut self) -> Result<Path, String> {
        match self.peek() {
            Some('\'') => {
                self.next();
                let name = self.take_while(|character| character != '\'');
                if !self.eat("'") {
                    return Err("a quote is not closed".to_owned());
                }
                let dotted = format!(".{name}");
                let mut inner = Reader::of(&dotted);
                let path = inner.path()?;
                if inner.rest.is_empty() {
                    Ok(path)
                } else {
                    Err(format!("`{name}` is no path"))
                }
            }
            Some('"') => Err(
                "names in brackets stand in single quotes: ['kind'], ['metadata.name','kind']"
                    .to_owned(),
            ),
            Some('*') => {
                self.next();
                Ok(vec![Step::Slice {
                    from: None,
                    to: None,
                    step: None,
                }])
            }
            Some(_) | None => self.places().map(|step| vec![step]),
        }
    }

    /// `3`, `1:3`, `::2`
    fn places(&mut self) -> Result<Step, String> {
        let text = self.take_while(|character| !matches!(character, ',' | ']' | '}'));
        let unknown = || {
            format!(
                "`{text}` is no index; brackets hold a number, START:END:STEP, *, 'NAME', several of these with commas, or ?(FILTER)"
            )
        };
        let parts: Vec<&str> = text.trim().split(':').collect();
        let mut numbers = Vec::new();
        for part in &parts {
            numbers.push(match *part {
                "" => None,
                digits if digits.starts_with('+') => return Err(unknown()),
                digits => Some(digits.parse::<i64>().map_err(|_| unknown())?),
            });
        }
        match numbers.as_slice() {
            [Some(index)] => Ok(Step::Index(*index)),
            [from, to] => Ok(Step::Slice {
                from: *from,
                to: *to,
                step: None,
            }),
            [from, to, step] => Ok(Step::Slice {
                from: *from,
                to: *to,
                step: *step,
            }),
            _ => Err(unknown()),
        }
    }

    /// A filter, whose `[?` is taken already.
    fn filter(&mut self) -> Result<Filter, String> {
        let outer = std::mem::replace(&mut self.in_filter, true);
        let is_enclosed = self.eat("(");
        let left = self.operand()?;
        self.blanks();
        let comparison =
            self.take_while(|character| matches!(character, '!' | '<' | '>' | '=' | '~'));
        let right = match comparison {
            "" => None,
            _ => Some((compared(comparison)?, self.operand()?)),
        };
        self.blanks();
        if matches!(self.peek(), Some('&' | '|')) {
            return Err(format!(
                "a filter makes one comparison, without && and ||: {FURTHER}"
            ));
        }
        let is_closed = (!is_enclosed || self.eat(")")) && self.eat("]");
        if !is_closed {
            return Err(format!("the filter is not closed before `{}`", self.near()));
        }
        self.in_filter = outer;
        Ok(Filter { left, right })
    }

    fn operand(&mut self) -> Result<Operand, String> {
        self.blanks();
        match self.peek() {
            Some(quote @ ('"' | '\'')) => self.quoted(quote).map(Value::String).map(Operand::Said),
            Some('$' | '@' | '.' | '[') => self.path().map(Operand::Found),
            Some('+' | '-' | '0'..='9') => {
                let number = self.take_while(|character| {
                    character.is_ascii_digit() || matches!(character, '+' | '-' | '.')
                });
                let value = serde_json::from_str(number.trim_start_matches('+'));
                value
                    .map(Operand::Said)
                    .map_err(|_| format!("`{number}` is no number"))
            }
            Some('!') => Err(format!("a filter does not turn around by `!`: {FURTHER}")),
            Some(_) | None => match self.word() {
                "true" => Ok(Operand::Said(Value::Bool(true))),
                "false" => Ok(Operand::Said(Value::Bool(false))),
                "" => Err(self.odd()),
                word => Err(format!(
                    "`{word}` is nothing that a filter compares: there are @.PATH, \"text\", numbers, true and false"
                )),
            },
        }
    }

    /// Text in quotes, with Go's escapes (`strconv.UnquoteChar`).
    fn quoted(&mut self, quote: char) -> Result<String, String> {
        self.next();
        let mut text = String::new();
        loop {
            match self.next() {
                None => return Err("a quote is not closed".to_owned()),
                Some(end) if end == quote => return Ok(text),
                Some('\\') => text.push(self.escape(quote)?),
                Some(other) => text.push(other),
            }
        }
    }

    fn escape(&mut self, quote: char) -> Result<char, String> {
        let digits = match self.next() {
            Some('n') => return Ok('\n'),
            Some('t') => return Ok('\t'),
            Some('r') => return Ok('\r'),
            Some('a') => return Ok('\x07'),
            Some('b') => return Ok('\x08'),
            Some('f') => return Ok('\x0c'),
            Some('v') => return Ok('\x0b'),
            Some('\\') => return Ok('\\'),
            Some(other) if other == quote => return Ok(quote),
            Some('x') => 2,
            Some('u') => 4,
            Some('U') => 8,
            other => {
                let other = other.map(String::from).unwrap_or_default();
                return Err(format!(
                    "`\\{other}` is nothing that quoted text has; a backslash itself is `\\\\`"
                ));
            }
        };
        let code = self.rest.get(..digits).unwrap_or_default();
        self.rest = self.rest.get(digits..).unwrap_or_default();
        let found = u32::from_str_radix(code, 16).ok().and_then(char::from_u32);
        found.ok_or_else(|| format!("`{code}` is no character's number"))
    }

    /// What makes no sense where it stands.
    fn odd(&self) -> String {
        match self.rest {
            "" => "a brace is not closed".to_owned(),
            _ => format!("`{}` makes no sense there", self.near()),
        }
    }

    /// The next few characters.
    fn near(&self) -> String {
        match self.rest {
            "" => "the end".to_owned(),
            rest => rest.chars().take(12).collect(),
        }
    }
}

fn compared(operator: &str) -> Result<Comparison, String> {
    Ok(match operator {
        "==" => Comparison::Equal,
        "!=" => Comparison::Unequal,
        "<" => Comparison::Less,
        "<=" => Comparison::AtMost,
        ">" => Comparison::Greater,
        ">=" => Comparison::AtLeast,
        "=~" => return Err(format!("a filter has no regular expressions: {FURTHER}")),
        _ => {
            return Err(format!(
                "`{operator}` is no comparison; there are ==, !=, <, <=, > and >="
            ));
        }
    })
}
