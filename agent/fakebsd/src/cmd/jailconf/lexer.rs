//! The tokens of jail.conf(5): the rules of usr.sbin/jail/jaillex.l as a table. Of the rules that match, the longest match counts, of those the first rule.

/// What a rule makes of its match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    Blank,
    PlusEquals,
    Mark,
    Atom,
    Single,
    Double,
    Rest,
    EndQuote,
    Word,
    Braces,
    BadComment,
    BadString,
    BadVariable,
}

/// Start conditions `_` and `DQ`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Plain,
    Quoted,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// STR, and STR1 where it is glued to what stands before it.
    Text {
        text: String,
        glued: bool,
    },
    /// VAR and VAR1.
    Variable {
        name: String,
        glued: bool,
    },
    PlusEquals,
    /// Any other character, for itself.
    Mark(char),
}

impl Token {
    /// Whether a word begins with it.
    pub(super) fn is_start(&self) -> bool {
        matches!(
            self,
            Self::Text { glued: false, .. } | Self::Variable { glued: false, .. }
        )
    }
}

pub(super) struct Lexer<'a> {
    text: &'a str,
    state: State,
    instr: bool,
    pub(super) line: usize,
    /// `yytext`
    pub(super) matched: String,
    /// Complaints of the rules at the end of the table.
    pub(super) complaints: Vec<String>,
    file: &'a str,
}

type Matcher = fn(&str) -> Option<usize>;

const RULES: &[(&[State], Matcher, Rule)] = &[
    (&[State::Plain], blank, Rule::Blank),
    (&[State::Plain], plus_equals, Rule::PlusEquals),
    (&[State::Plain], mark, Rule::Mark),
    (&[State::Plain, State::Quoted], atom, Rule::Atom),
    (&[State::Plain], |text| quoted(text, '\''), Rule::Single),
    (&[State::Plain], |text| quoted(text, '"'), Rule::Double),
    (&[State::Quoted], rest, Rule::Rest),
    (
        &[State::Quoted],
        |text| text.starts_with('"').then_some(1),
        Rule::EndQuote,
    ),
    (&[State::Plain, State::Quoted], word, Rule::Word),
    (&[State::Plain], |text| braces(text, false), Rule::Braces),
    (&[State::Quoted], |text| braces(text, true), Rule::Braces),
    (&[State::Plain], bad_comment, Rule::BadComment),
    (&[State::Plain], bad_string, Rule::BadString),
    (
        &[State::Plain],
        |text| bad_braces(text, false),
        Rule::BadVariable,
    ),
    (
        &[State::Quoted],
        |text| bad_braces(text, true),
        Rule::BadVariable,
    ),
];

fn run(text: &str, is: impl Fn(char) -> bool) -> usize {
    text.find(|c| !is(c)).unwrap_or(text.len())
}

fn some(length: usize) -> Option<usize> {
    (length > 0).then_some(length)
}

fn blank(text: &str) -> Option<usize> {
    let line = || text.find('\n').unwrap_or(text.len());
    if text.starts_with('#') || text.starts_with("//") {
        return Some(line());
    }
    if let Some(inside) = text.strip_prefix("/*") {
        return inside.find("*/").map(|end| end + 4);
    }
    some(run(text, |c| matches!(c, ' ' | '\t' | '\r' | '\n')))
}

fn plus_equals(text: &str) -> Option<usize> {
    text.starts_with("+=").then_some(2)
}

fn mark(text: &str) -> Option<usize> {
    text.starts_with([',', ';', '=', '{', '}']).then_some(1)
}

fn atom(text: &str) -> Option<usize> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_!%&()-.:<>?@[]^`|~".contains(c);
    if let Some(escaped) = text.strip_prefix('\\') {
        let octal = run(escaped, |c| ('0'..='7').contains(&c)).min(3);
        let hex = escaped.strip_prefix('x').map_or(0, |digits| {
            match run(digits, |c| c.is_ascii_hexdigit()).min(2) {
                0 => 0,
                digits => digits + 1,
            }
        });
        let one = escaped.chars().next().map_or(0, char::len_utf8);
        return Some(1 + octal.max(hex).max(one));
    }
    some(run(text, plain)).or_else(|| text.starts_with(['$', '*', '+', '/']).then_some(1))
}

/// Behind the first quote that no backslash stands before.
fn closed(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

fn quoted(text: &str, quote: char) -> Option<usize> {
    closed(text.strip_prefix(quote)?, quote).map(|end| end + 1)
}

fn rest(text: &str) -> Option<usize> {
    if text.starts_with(['"', '$', '\\']) {
        return None;
    }
    closed(text, '"')
}

fn word(text: &str) -> Option<usize> {
    let name = text.strip_prefix('$')?;
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(first)
        .then(|| 1 + run(name, |c| c.is_ascii_alphanumeric() || c == '_'))
}

/// The positions that `([^\n{}]|\\X)*` reaches behind `${`, and whether each may be followed by another repetition.
fn inside(text: &str, is_quoted: bool, escapes_newline: bool) -> Option<Vec<usize>> {
    let body = text.strip_prefix("${")?;
    let mut reached = vec![2];
    let (mut fresh, mut escaped) = (true, false);
    for (at, c) in body.char_indices() {
        let plain = !(matches!(c, '\n' | '{' | '}') || is_quoted && c == '"');
        let next = fresh && plain || escaped && (escapes_newline || c != '\n');
        escaped = fresh && c == '\\';
        fresh = next;
        if fresh {
            reached.push(2 + at + c.len_utf8());
        }
        if !fresh && !escaped {
            break;
        }
    }
    Some(reached)
}

fn braces(text: &str, is_quoted: bool) -> Option<usize> {
    let reached = inside(text, is_quoted, true)?;
    let closed = reached
        .into_iter()
        .rev()
        .find(|at| text[*at..].starts_with('}'));
    closed.map(|at| at + 1)
}

fn bad_braces(text: &str, is_quoted: bool) -> Option<usize> {
    inside(text, is_quoted, false)?.pop()
}

fn bad_comment(text: &str) -> Option<usize> {
    let inside = text.strip_prefix("/*")?;
    (!inside.contains("*/")).then_some(text.len())
}

fn bad_string(text: &str) -> Option<usize> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let mut end = 1;
    let mut characters = text[1..].chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\n' => break,
            c if c == quote => break,
            '\\' => match characters.next_if(|next| *next != '\n') {
                Some(next) => end += 1 + next.len_utf8(),
                None => break,
            },
            c => end += c.len_utf8(),
        }
    }
    Some(end)
}

impl<'a> Lexer<'a> {
    pub(super) fn new(file: &'a str, text: &'a str) -> Self {
        Self {
            text,
            state: State::Plain,
            instr: false,
            line: 1,
            matched: String::new(),
            complaints: Vec::new(),
            file,
        }
    }

    fn consume(&mut self, length: usize) -> &'a str {
        let (matched, text) = self.text.split_at(length);
        self.text = text;
        self.line += matched.matches('\n').count();
        matched
    }

    fn piece(&mut self, text: &str) -> Option<Token> {
        let glued = std::mem::replace(&mut self.instr, true);
        let text = unescaped(text);
        Some(Token::Text { text, glued })
    }

    /// A double-quoted text up to its first variable, from which on it is read in pieces.
    fn interpolated(&mut self, matched: &'a str, skip: usize) -> Option<Token> {
        let body = &matched[skip..matched.len() - 1];
        let mut escaped = false;
        let variable = body.char_indices().find(|(_, c)| {
            let is_variable = *c == '$' && !escaped;
            escaped = *c == '\\' && !escaped;
            is_variable
        });
        match variable {
            None => {
                self.state = State::Plain;
                self.consume(matched.len());
                self.piece(body)
            }
            Some((at, _)) => {
                self.state = State::Quoted;
                self.consume(skip + at);
                self.piece(&body[..at])
            }
        }
    }

    pub(super) fn token(&mut self) -> Option<Token> {
        loop {
            if self.text.is_empty() {
                self.matched.clear();
                return None;
            }
            let (text, state) = (self.text, self.state);
            let mut best: Option<(usize, Rule)> = None;
            for (states, matcher, rule) in RULES {
                if let Some(length) = matcher(text).filter(|_| states.contains(&state))
                    && best.is_none_or(|(longest, _)| length > longest)
                {
                    best = Some((length, *rule));
                }
            }
            let Some((length, rule)) = best else {
                if self.state == State::Quoted {
                    self.state = State::Plain;
                    continue;
                }
                let c = text.chars().next()?;
                if !c.is_ascii() {
                    // `yytext[0]` is negative, which the parser takes for the end of the file.
                    self.matched.clear();
                    self.text = "";
                    return None;
                }
                self.matched = c.to_string();
                self.consume(c.len_utf8());
                return Some(Token::Mark(c));
            };
            let matched = &text[..length];
            self.matched = matched.to_owned();
            let complaint = match rule {
                Rule::Double => return self.interpolated(matched, 1),
                Rule::Rest => return self.interpolated(matched, 0),
                Rule::BadComment => "unterminated comment",
                Rule::BadString => "unterminated string",
                Rule::BadVariable => "unterminated variable",
                Rule::Blank
                | Rule::PlusEquals
                | Rule::Mark
                | Rule::Atom
                | Rule::Single
                | Rule::EndQuote
                | Rule::Word
                | Rule::Braces => "",
            };
            self.consume(length);
            match rule {
                Rule::Blank => self.instr = false,
                Rule::PlusEquals => {
                    self.instr = false;
                    return Some(Token::PlusEquals);
                }
                Rule::Mark => {
                    self.instr = false;
                    return matched.chars().next().map(Token::Mark);
                }
                Rule::Atom => return self.piece(matched),
                Rule::Single => return self.piece(&matched[1..length - 1]),
                Rule::EndQuote => self.state = State::Plain,
                Rule::Word => return self.name(&matched[1..]),
                Rule::Braces => return self.name(&matched[2..length - 1]),
                Rule::Double | Rule::Rest => {}
                Rule::BadComment | Rule::BadString | Rule::BadVariable => {
                    let (file, line) = (self.file, self.line);
                    self.complaints
                        .push(format!("jail: {file} line {line}: {complaint}"));
                }
            }
        }
    }

    fn name(&mut self, name: &str) -> Option<Token> {
        let glued = std::mem::replace(&mut self.instr, true);
        let name = unescaped(name);
        Some(Token::Variable { name, glued })
    }
}

/// `text2lval`. Octets from 0x80 on are taken for characters of Latin 1: the emulator has texts, not octets.
fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c != '\\' {
            out.push(c);
            continue;
        }
        let Some(c) = rest.chars().next() else { break };
        let number = |digits: &str, radix| u32::from_str_radix(digits, radix).unwrap_or(0) & 0xff;
        let (length, code) = match c {
            '0'..='7' => {
                let length = run(rest, |c| ('0'..='7').contains(&c)).min(3);
                (length, Some(number(&rest[..length], 8)))
            }
            'x' => {
                let length = run(&rest[1..], |c| c.is_ascii_hexdigit()).min(2);
                (1 + length, Some(number(&rest[1..=length], 16)))
            }
            'a' => (1, Some(7)),
            'b' => (1, Some(8)),
            'f' => (1, Some(12)),
            'n' => (1, Some(10)),
            'r' => (1, Some(13)),
            't' => (1, Some(9)),
            'v' => (1, Some(11)),
            '\n' => (1, None),
            c => (c.len_utf8(), Some(u32::from(c))),
        };
        out.extend(code.and_then(char::from_u32));
        rest = &rest[length..];
    }
    match out.split_once('\0') {
        Some((before, _)) => before.to_owned(),
        None => out,
    }
}
