//! jail.conf(5): lexer, grammar, variables, wildcards (usr.sbin/jail/jaillex.l, jailparse.y, config.c).
//!
//! The result is one list of parameters per jail, in the order jail(8) keeps them.

use std::collections::BTreeMap;

/// A parameter with its values; none for a bare name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    pub(crate) values: Vec<String>,
}

/// One jail of the file, variables resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConfiguredJail {
    pub(crate) name: String,
    pub(crate) parameters: Vec<Parameter>,
}

/// A word of the file: literal parts and variables side by side.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Variable(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(Vec<Part>),
    PlusEquals,
    Mark(char),
}

struct Lexer<'a> {
    chars: std::iter::Peekable<std::str::Chars<'a>>,
    line: usize,
}

impl Lexer<'_> {
    fn next_char(&mut self) -> Option<char> {
        let c = self.chars.next()?;
        if c == '\n' {
            self.line += 1;
        }
        Some(c)
    }

    fn skip_blanks(&mut self) {
        while let Some(c) = self.chars.peek().copied() {
            match c {
                ' ' | '\t' | '\r' | '\n' => {
                    self.next_char();
                }
                '#' => self.skip_line(),
                '/' => {
                    let mut ahead = self.chars.clone();
                    ahead.next();
                    match ahead.next() {
                        Some('/') => self.skip_line(),
                        Some('*') => self.skip_comment(),
                        Some(_) | None => return,
                    }
                }
                _ => return,
            }
        }
    }

    fn skip_line(&mut self) {
        while self.chars.peek().is_some_and(|c| *c != '\n') {
            self.next_char();
        }
    }

    fn skip_comment(&mut self) {
        let mut last = ' ';
        self.next_char();
        self.next_char();
        while let Some(c) = self.next_char() {
            if last == '*' && c == '/' {
                return;
            }
            last = c;
        }
    }

    fn token(&mut self) -> Option<Token> {
        self.skip_blanks();
        let c = *self.chars.peek()?;
        if matches!(c, ',' | ';' | '=' | '{' | '}') {
            self.next_char();
            return Some(Token::Mark(c));
        }
        let mut ahead = self.chars.clone();
        if ahead.next() == Some('+') && ahead.next() == Some('=') {
            self.next_char();
            self.next_char();
            return Some(Token::PlusEquals);
        }
        Some(Token::Word(self.word()))
    }

    /// Adjacent quoted, unquoted and variable pieces make one word.
    fn word(&mut self) -> Vec<Part> {
        let mut parts = Vec::new();
        while let Some(c) = self.chars.peek().copied() {
            match c {
                ' ' | '\t' | '\r' | '\n' | ',' | ';' | '=' | '{' | '}' | '#' => break,
                '\'' => {
                    self.next_char();
                    let text = self.quoted('\'', &mut Vec::new());
                    push_text(&mut parts, &text);
                }
                '"' => {
                    self.next_char();
                    let text = self.quoted('"', &mut parts);
                    push_text(&mut parts, &text);
                }
                '$' => {
                    self.next_char();
                    match self.variable() {
                        Some(name) => parts.push(Part::Variable(name)),
                        None => push_text(&mut parts, "$"),
                    }
                }
                '\\' => {
                    self.next_char();
                    let c = self.escape();
                    push_text(&mut parts, &c);
                }
                '+' => {
                    let mut ahead = self.chars.clone();
                    ahead.next();
                    if ahead.next() == Some('=') {
                        break;
                    }
                    self.next_char();
                    push_text(&mut parts, "+");
                }
                c => {
                    self.next_char();
                    push_text(&mut parts, &c.to_string());
                }
            }
        }
        parts
    }

    /// The rest of a quoted string; in double quotes variables are pushed to `parts` with the text before them.
    fn quoted(&mut self, quote: char, parts: &mut Vec<Part>) -> String {
        let mut text = String::new();
        while let Some(c) = self.next_char() {
            match c {
                c if c == quote => break,
                '\\' => text.push_str(&self.escape()),
                '$' if quote == '"' => match self.variable() {
                    Some(name) => {
                        push_text(parts, &std::mem::take(&mut text));
                        parts.push(Part::Variable(name));
                    }
                    None => text.push('$'),
                },
                c => text.push(c),
            }
        }
        if text.is_empty() && parts.is_empty() {
            parts.push(Part::Text(String::new()));
        }
        text
    }

    /// text2lval's backslash escapes.
    fn escape(&mut self) -> String {
        let Some(c) = self.next_char() else {
            return String::new();
        };
        let control = |code: u32| char::from_u32(code).map(String::from).unwrap_or_default();
        match c {
            '0'..='7' => {
                let mut code = c.to_digit(8).unwrap_or(0);
                for _ in 0..2 {
                    let Some(digit) = self.chars.peek().and_then(|c| c.to_digit(8)) else {
                        break;
                    };
                    self.next_char();
                    code = code * 8 + digit;
                }
                control(code)
            }
            'a' => control(7),
            'b' => control(8),
            'f' => control(12),
            'n' => "\n".into(),
            'r' => "\r".into(),
            't' => "\t".into(),
            'v' => control(11),
            '\n' => String::new(),
            c => c.to_string(),
        }
    }

    /// The name after `$`, bare or in braces.
    fn variable(&mut self) -> Option<String> {
        let first = *self.chars.peek()?;
        let mut name = String::new();
        if first == '{' {
            self.next_char();
            while let Some(c) = self.next_char() {
                if c == '}' {
                    break;
                }
                name.push(c);
            }
            return Some(name);
        }
        if !first.is_ascii_alphabetic() && first != '_' {
            return None;
        }
        while let Some(c) = self
            .chars
            .peek()
            .copied()
            .filter(|c| c.is_ascii_alphanumeric() || *c == '_')
        {
            self.next_char();
            name.push(c);
        }
        Some(name)
    }
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    if text.is_empty() {
        return;
    }
    match parts.last_mut() {
        Some(Part::Text(last)) => last.push_str(text),
        Some(Part::Variable(_)) | None => parts.push(Part::Text(text.to_owned())),
    }
}

fn token_text(token: Option<&Token>) -> String {
    match token {
        None => String::new(),
        Some(Token::Mark(c)) => c.to_string(),
        Some(Token::PlusEquals) => "+=".into(),
        Some(Token::Word(parts)) => literal(parts),
    }
}

fn literal(parts: &[Part]) -> String {
    parts
        .iter()
        .map(|part| match part {
            Part::Text(text) => text.clone(),
            Part::Variable(name) => format!("${name}"),
        })
        .collect()
}

/// A parameter as written.
#[derive(Clone, Debug)]
struct Written {
    name: Vec<Part>,
    appends: bool,
    values: Vec<Vec<Part>>,
}

/// One block of the file; the global parameters are a block named `*`.
#[derive(Clone, Debug, Default)]
struct Block {
    name: String,
    parameters: Vec<Written>,
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    file: &'a str,
    ahead: Option<Token>,
}

impl Parser<'_> {
    fn peek(&mut self) -> Option<&Token> {
        if self.ahead.is_none() {
            self.ahead = self.lexer.token();
        }
        self.ahead.as_ref()
    }

    fn take(&mut self) -> Option<Token> {
        self.peek();
        self.ahead.take()
    }

    fn fail<T>(&mut self) -> Result<T, String> {
        let text = token_text(self.ahead.as_ref());
        Err(format!(
            "jail: {} line {}: {text}: syntax error",
            self.file, self.lexer.line
        ))
    }

    fn blocks(&mut self) -> Result<Vec<Block>, String> {
        let mut blocks: Vec<Block> = Vec::new();
        while self.peek().is_some() {
            if self.peek() == Some(&Token::Mark(';')) {
                self.take();
                continue;
            }
            let Some(Token::Word(name)) = self.peek().cloned() else {
                return self.fail();
            };
            self.take();
            if self.peek() == Some(&Token::Mark('{')) {
                self.take();
                let parameters = self.parameters()?;
                blocks.push(Block {
                    name: literal(&name),
                    parameters,
                });
                continue;
            }
            let parameter = self.parameter(name)?;
            if self.peek() != Some(&Token::Mark(';')) {
                return self.fail();
            }
            self.take();
            match blocks.iter_mut().find(|block| block.name == "*") {
                Some(block) => block.parameters.push(parameter),
                None => blocks.push(Block {
                    name: "*".into(),
                    parameters: vec![parameter],
                }),
            }
        }
        Ok(blocks)
    }

    fn parameters(&mut self) -> Result<Vec<Written>, String> {
        let mut parameters = Vec::new();
        loop {
            match self.peek().cloned() {
                Some(Token::Mark('}')) => {
                    self.take();
                    return Ok(parameters);
                }
                Some(Token::Mark(';')) => {
                    self.take();
                }
                Some(Token::Word(name)) => {
                    self.take();
                    parameters.push(self.parameter(name)?);
                    match self.peek() {
                        Some(Token::Mark(';' | '}')) => {}
                        Some(_) | None => return self.fail(),
                    }
                }
                Some(Token::Mark(_) | Token::PlusEquals) | None => return self.fail(),
            }
        }
    }

    /// `name`, `name = value, value`, `name += value`, or the old `name value`.
    fn parameter(&mut self, name: Vec<Part>) -> Result<Written, String> {
        let appends = match self.peek() {
            Some(Token::Mark('=')) => false,
            Some(Token::PlusEquals) => true,
            Some(Token::Word(_)) => {
                let values = self.values()?;
                return Ok(Written {
                    name,
                    appends: false,
                    values,
                });
            }
            Some(Token::Mark(_)) | None => {
                return Ok(Written {
                    name,
                    appends: false,
                    values: Vec::new(),
                });
            }
        };
        self.take();
        let values = self.values()?;
        Ok(Written {
            name,
            appends,
            values,
        })
    }

    fn values(&mut self) -> Result<Vec<Vec<Part>>, String> {
        let mut values = Vec::new();
        loop {
            let Some(Token::Word(value)) = self.peek().cloned() else {
                return self.fail();
            };
            self.take();
            values.push(value);
            if self.peek() != Some(&Token::Mark(',')) {
                return Ok(values);
            }
            self.take();
        }
    }
}

/// Whether a jail name holds a wildcard component.
pub(crate) fn is_wild(name: &str) -> bool {
    name.split('.').any(|part| part == "*")
}

/// wild_jail_match: `*` stands for one or more components at the end, for one elsewhere.
pub(crate) fn matches_wild(name: &str, pattern: &str) -> bool {
    if pattern == "*" {
        return true;
    }
    let (names, patterns): (Vec<&str>, Vec<&str>) =
        (name.split('.').collect(), pattern.split('.').collect());
    let open_ended = patterns.last() == Some(&"*");
    let length_fits = if open_ended {
        names.len() >= patterns.len()
    } else {
        names.len() == patterns.len()
    };
    length_fits
        && names
            .iter()
            .zip(&patterns)
            .all(|(name, pattern)| *pattern == "*" || name == pattern)
}

/// Parses the text of `file`. The error is jail(8)'s line, complete.
pub(crate) fn parse(file: &str, text: &str) -> Result<Vec<ConfiguredJail>, String> {
    let lexer = Lexer {
        chars: text.chars().peekable(),
        line: 1,
    };
    let blocks = Parser {
        lexer,
        file,
        ahead: None,
    }
    .blocks()?;
    let mut jails = Vec::new();
    for (place, block) in blocks
        .iter()
        .enumerate()
        .filter(|(_, block)| !is_wild(&block.name))
    {
        let mut raw: Vec<(String, Vec<Vec<Part>>)> = Vec::new();
        let key = if block.name.parse::<i64>().is_ok() {
            "jid"
        } else {
            "name"
        };
        raw.push((key.to_owned(), vec![vec![Part::Text(block.name.clone())]]));
        let mut did_self = false;
        for (at, wild) in blocks
            .iter()
            .enumerate()
            .filter(|(_, block)| is_wild(&block.name))
        {
            if place < at && !did_self {
                block
                    .parameters
                    .iter()
                    .for_each(|written| add(&mut raw, written));
                did_self = true;
            }
            if matches_wild(&block.name, &wild.name) {
                wild.parameters
                    .iter()
                    .for_each(|written| add(&mut raw, written));
            }
        }
        if !did_self {
            block
                .parameters
                .iter()
                .for_each(|written| add(&mut raw, written));
        }
        jails.push(resolve(&block.name, raw)?);
    }
    Ok(jails)
}

/// add_param: a name that is there is replaced in its place, or added to with `+=`.
fn add(raw: &mut Vec<(String, Vec<Vec<Part>>)>, written: &Written) {
    let name = match written.name.as_slice() {
        [Part::Variable(name)] => format!("${name}"),
        parts => literal(parts),
    };
    match raw.iter_mut().find(|(at, _)| *at == name) {
        Some((_, values)) if written.appends => values.extend(written.values.iter().cloned()),
        Some((_, values)) => values.clone_from(&written.values),
        None => raw.push((name, written.values.clone())),
    }
}

/// Replaces variables by the last value of the variable, or of the parameter of that name. A variable with several values in a
/// word of its own becomes several values.
fn resolve(jail: &str, raw: Vec<(String, Vec<Vec<Part>>)>) -> Result<ConfiguredJail, String> {
    let table: BTreeMap<String, Vec<Vec<Part>>> = raw.iter().cloned().collect();
    let mut parameters = Vec::new();
    for (name, values) in &raw {
        if name.starts_with('$') {
            continue;
        }
        let mut resolved = Vec::new();
        for value in values {
            resolved.extend(expand(jail, name, value, &table, 0)?);
        }
        parameters.push(Parameter {
            name: name.clone(),
            values: resolved,
        });
    }
    Ok(ConfiguredJail {
        name: jail.to_owned(),
        parameters,
    })
}

/// How deep variables may refer to variables before it is taken for a loop.
const VARIABLE_DEPTH_MAX: u32 = 16;

fn expand(
    jail: &str,
    parameter: &str,
    value: &[Part],
    table: &BTreeMap<String, Vec<Vec<Part>>>,
    depth: u32,
) -> Result<Vec<String>, String> {
    let mut texts = vec![String::new()];
    for part in value {
        match part {
            Part::Text(text) => texts.iter_mut().for_each(|at| at.push_str(text)),
            Part::Variable(name) => {
                let found = table.get(&format!("${name}")).or_else(|| table.get(name));
                let Some(found) = found.filter(|_| depth < VARIABLE_DEPTH_MAX) else {
                    return Err(format!(
                        "jail: {jail}: variable \"{name}\" is not defined, needed by parameter \"{parameter}\""
                    ));
                };
                let mut values = Vec::new();
                for value in found {
                    values.extend(expand(jail, parameter, value, table, depth + 1)?);
                }
                texts = texts
                    .iter()
                    .flat_map(|text| values.iter().map(move |value| format!("{text}{value}")))
                    .collect();
            }
        }
    }
    Ok(texts)
}
