//! jail.conf(5): lexer, grammar, variables, wildcards (usr.sbin/jail/jaillex.l, jailparse.y, config.c).
//!
//! The result is one list of parameters per jail, in the order jail(8) keeps them.

mod lexer;

use std::collections::BTreeMap;

use lexer::{Lexer, Part, Token};

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
