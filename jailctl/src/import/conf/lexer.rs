//! The words of jail.conf(5), as the rules of usr.sbin/jail/jaillex.l make them: the longest match wins, of two as long the first rule.
//!
//! It is read octet by octet, as jail(8) does. A word may consist of several tokens side by side: those after the first are *glued*.

use std::rc::Rc;

use cellblock_schemas::manifest::Diagnostic;

use super::{Place, Source};

/// What a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Text, quoted or not, its escapes undone.
    Text(Vec<u8>),
    /// The name of a variable.
    Variable(Vec<u8>),
    /// One of `,;={}`.
    Mark(u8),
    /// `+=`
    PlusEquals,
    /// What begins no token.
    Stray,
}

/// One token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// Whether it stands right behind another piece of the same word.
    pub(super) is_glued: bool,
    pub(super) place: Place,
}

/// The tokens of one file.
pub(super) struct Lexer {
    source: Rc<Source>,
    at: usize,
    /// Behind a variable in double quotes, until they end (`DQ`).
    in_quotes: bool,
    /// Whether the next piece would be glued (`instr`).
    glues: bool,
    line: usize,
    line_start: usize,
    /// Where the last quoted string began that goes over several lines, and the line where it ended: most often a quote is missing.
    pub(super) long_string: Option<(Place, usize)>,
    pub(super) mistakes: Vec<Diagnostic>,
}

impl Lexer {
    pub(super) fn new(source: Rc<Source>) -> Self {
        Self {
            source,
            at: 0,
            in_quotes: false,
            glues: false,
            line: 1,
            line_start: 0,
            long_string: None,
            mistakes: Vec::new(),
        }
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.source.bytes.get(at).copied()
    }

    /// Where the file ends.
    pub(super) fn end(&self) -> Place {
        self.place(self.at, self.at)
    }

    fn place(&self, from: usize, to: usize) -> Place {
        let count = |bytes: &[u8]| bytes.iter().filter(|byte| *byte & 0xc0 != 0x80).count();
        let bytes = &self.source.bytes;
        let line_end = bytes[from..to].iter().position(|byte| *byte == b'\n');
        let to = line_end.map_or(to, |end| from + end);
        Place {
            source: self.source.clone(),
            line: self.line,
            column: count(&bytes[self.line_start..from]) + 1,
            length: count(&bytes[from..to]).max(1),
        }
    }

    /// Goes on to an octet behind, counting lines.
    fn advance(&mut self, to: usize) {
        for at in self.at..to {
            if self.byte(at) == Some(b'\n') {
                self.line += 1;
                self.line_start = at + 1;
            }
        }
        self.at = to;
    }

    fn token(&mut self, to: usize, kind: Kind) -> Token {
        let place = self.place(self.at, to);
        let is_piece = matches!(kind, Kind::Text(_) | Kind::Variable(_));
        let is_glued = is_piece && self.glues;
        self.glues = is_piece;
        self.advance(to);
        Token {
            kind,
            is_glued,
            place,
        }
    }

    /// The next token; none at the end of the file.
    pub(super) fn next(&mut self) -> Option<Token> {
        loop {
            let first = self.byte(self.at)?;
            let found = if self.in_quotes {
                self.quoted_rest(first)
            } else {
                self.plain(first)
            };
            if found.is_some() {
                return found;
            }
        }
    }

    /// Outside of quotes; none where what was passed over is no token.
    fn plain(&mut self, first: u8) -> Option<Token> {
        match first {
            b' ' | b'\t' | b'\r' | b'\n' => {
                self.pass(self.at + 1);
                None
            }
            b'#' => {
                self.pass(self.line_end());
                None
            }
            b'/' => match self.byte(self.at + 1) {
                Some(b'/') => {
                    self.pass(self.line_end());
                    None
                }
                Some(b'*') => {
                    self.comment();
                    None
                }
                Some(_) | None => Some(self.atom()),
            },
            b'+' if self.byte(self.at + 1) == Some(b'=') => {
                Some(self.token(self.at + 2, Kind::PlusEquals))
            }
            b',' | b';' | b'=' | b'{' | b'}' => Some(self.token(self.at + 1, Kind::Mark(first))),
            b'\'' | b'"' => self.string(first),
            b'$' => self.variable(),
            _ if is_atom(first) || matches!(first, b'*' | b'+' | b'\\') => Some(self.atom()),
            _ => {
                let rest = &self.source.bytes[self.at + 1..];
                let tail = rest.iter().take_while(|byte| *byte & 0xc0 == 0x80).count();
                let tail = if first < 0x80 { 0 } else { tail };
                Some(self.token(self.at + 1 + tail, Kind::Stray))
            }
        }
    }

    /// Between double quotes, from the first variable on.
    fn quoted_rest(&mut self, first: u8) -> Option<Token> {
        match first {
            b'"' => {
                self.in_quotes = false;
                self.advance(self.at + 1);
                None
            }
            b'$' => self.variable(),
            b'\\' => Some(self.atom()),
            _ => match self.closing(self.at + 1, b'"') {
                Some(end) => Some(self.interpolated(self.at, end)),
                None if is_atom(first) || matches!(first, b'*' | b'+' | b'/') => Some(self.atom()),
                None => {
                    self.in_quotes = false;
                    None
                }
            },
        }
    }

    /// What separates words.
    fn pass(&mut self, to: usize) {
        self.glues = false;
        self.advance(to);
    }

    fn line_end(&self) -> usize {
        let rest = self.source.bytes[self.at..].iter();
        rest.clone()
            .position(|byte| *byte == b'\n')
            .map_or(self.source.bytes.len(), |end| self.at + end)
    }

    fn comment(&mut self) {
        let inside = self.at + 2;
        let end = self.source.bytes[inside..]
            .windows(2)
            .position(|two| two == b"*/");
        match end {
            Some(end) => self.pass(inside + end + 2),
            None => {
                self.mistake("a comment that begins here is not closed", "end it with */");
                self.advance(self.source.bytes.len());
            }
        }
    }

    fn mistake(&mut self, message: &str, help: &str) {
        let place = self.place(self.at, (self.at + 1).min(self.source.bytes.len()));
        self.mistakes.push(place.error("", message, help));
    }

    /// Unquoted text up to what could mean something.
    fn atom(&mut self) -> Token {
        let run = self.source.bytes[self.at..].iter();
        let run = run.take_while(|byte| is_atom(**byte)).count();
        let to = match self.byte(self.at) {
            Some(b'\\') => self.escape_end(self.at),
            _ => self.at + run.max(1),
        };
        let text = unescaped(&self.source.bytes[self.at..to]);
        self.token(to, Kind::Text(text))
    }

    /// Behind an escape that begins at a backslash.
    fn escape_end(&self, at: usize) -> usize {
        let digits = |from: usize, most: usize, is: fn(&u8) -> bool| {
            let bytes = self.source.bytes.get(from..).unwrap_or_default();
            bytes.iter().take(most).take_while(|byte| is(byte)).count()
        };
        match self.byte(at + 1) {
            None => at + 1,
            Some(b'0'..=b'7') => at + 1 + digits(at + 1, 3, |byte| (b'0'..=b'7').contains(byte)),
            Some(b'x') => at + 2 + digits(at + 2, 2, u8::is_ascii_hexdigit),
            Some(_) => at + 2,
        }
    }

    /// Behind the quote that closes a string from `from` on.
    fn closing(&self, from: usize, quote: u8) -> Option<usize> {
        let mut at = from;
        loop {
            match self.byte(at)? {
                byte if byte == quote => return Some(at + 1),
                b'\\' => at += 2,
                _ => at += 1,
            }
        }
    }

    fn string(&mut self, quote: u8) -> Option<Token> {
        let Some(end) = self.closing(self.at + 1, quote) else {
            let name = if quote == b'"' { "\"" } else { "'" };
            let help = match &self.long_string {
                Some((began, line)) if *line == self.line => format!(
                    "the string that begins at {began} ends on this line: is its closing quote missing?"
                ),
                Some(_) | None => format!("end it with {name}"),
            };
            self.mistake("a string that begins here is not closed", &help);
            let mut at = self.at + 1;
            loop {
                match (self.byte(at), self.byte(at + 1)) {
                    (None | Some(b'\n'), _) | (Some(b'\\'), None | Some(b'\n')) => break,
                    (Some(b'\\'), Some(_)) => at += 2,
                    (Some(_), _) => at += 1,
                }
            }
            self.advance(at);
            return None;
        };
        let (began, line) = (self.place(self.at, self.at + 1), self.line);
        let inside = &self.source.bytes[self.at..end];
        let breaks = inside.iter().filter(|byte| **byte == b'\n').count();
        let token = if quote == b'"' {
            self.interpolated(self.at + 1, end)
        } else {
            let text = unescaped(&self.source.bytes[self.at + 1..end - 1]);
            self.token(end, Kind::Text(text))
        };
        if breaks > 0 {
            self.long_string = Some((began, line + breaks));
        }
        Some(token)
    }

    /// The text from `from` to the closing quote before `end`, or to the first variable.
    fn interpolated(&mut self, from: usize, end: usize) -> Token {
        let mut at = from;
        while at < end - 1 {
            match self.source.bytes[at] {
                b'$' => {
                    let text = unescaped(&self.source.bytes[from..at]);
                    self.in_quotes = true;
                    return self.token(at, Kind::Text(text));
                }
                b'\\' => at += 2,
                _ => at += 1,
            }
        }
        self.in_quotes = false;
        let text = unescaped(&self.source.bytes[from..end - 1]);
        self.token(end, Kind::Text(text))
    }

    fn variable(&mut self) -> Option<Token> {
        let name = self.at + 1;
        match self.byte(name) {
            Some(b'{') => self.braced(),
            Some(first) if first.is_ascii_alphabetic() || first == b'_' => {
                let rest = self.source.bytes[name..].iter();
                let is_name = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'_';
                let end = name + rest.take_while(is_name).count();
                let text = self.source.bytes[name..end].to_vec();
                Some(self.token(end, Kind::Variable(text)))
            }
            Some(_) | None => Some(self.atom()),
        }
    }

    /// `${…}`. A backslash may be a character of the name or escape the next one, so both are followed.
    fn braced(&mut self) -> Option<Token> {
        let is_plain =
            |byte: u8| !(matches!(byte, b'\n' | b'{' | b'}') || self.in_quotes && byte == b'"');
        let (mut closed, mut open) = (None, self.at + 2);
        let (mut fresh, mut escaped) = (true, false);
        let mut at = self.at + 2;
        let mut is_one_line = true;
        while let Some(byte) = self.byte(at).filter(|_| fresh || escaped) {
            if fresh && byte == b'}' {
                closed = Some(at + 1);
            }
            let next = (fresh && is_plain(byte)) || escaped;
            is_one_line &= byte != b'\n';
            escaped = fresh && byte == b'\\';
            fresh = next;
            at += 1;
            if fresh && is_one_line {
                open = at;
            }
        }
        match closed {
            Some(end) if end >= open => {
                let text = unescaped(&self.source.bytes[self.at + 2..end - 1]);
                Some(self.token(end, Kind::Variable(text)))
            }
            Some(_) | None => {
                self.mistake("a variable that begins here is not closed", "end it with }");
                self.advance(open);
                None
            }
        }
    }
}

/// Octets that unquoted text may have in a row.
fn is_atom(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_!%&()-.:<>?@[]^`|~".contains(&byte)
}

/// `text2lval`: what stands for an octet becomes that octet. What follows a NUL is lost, because jail(8)'s strings end there.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.iter().copied().peekable();
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let Some(byte) = rest.next() else { break };
        match byte {
            b'0'..=b'7' => {
                let mut code = byte - b'0';
                for _ in 0..2 {
                    if let Some(next) = rest.next_if(|next| (b'0'..=b'7').contains(next)) {
                        code = code.wrapping_mul(8).wrapping_add(next - b'0');
                    } else {
                        break;
                    }
                }
                out.push(code);
            }
            b'x' => {
                let mut code = 0_u8;
                for _ in 0..2 {
                    let Some(next) = rest.next_if(u8::is_ascii_hexdigit) else {
                        break;
                    };
                    code = code
                        .wrapping_mul(16)
                        .wrapping_add(digit(next).unwrap_or_default());
                }
                out.push(code);
            }
            b'a' => out.push(7),
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'v' => out.push(11),
            b'\n' => {}
            other => out.push(other),
        }
    }
    let end = out.iter().position(|byte| *byte == 0);
    out.truncate(end.unwrap_or(out.len()));
    out
}
