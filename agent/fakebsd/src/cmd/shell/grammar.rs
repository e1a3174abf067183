//! The shell's grammar.

use super::lexer::{Token, tokens};

/// A piece of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Text; quoted text is never split into fields.
    Text(String, bool),
    /// `$name`, `${name%suffix}`, `${name#prefix}`; quoted or not.
    Variable {
        name: String,
        operator: Option<(char, String)>,
        quoted: bool,
    },
    /// `$(script)` or `` `script` ``.
    Substitution(String, bool),
    /// `$((expression))`.
    Arithmetic(String),
}

/// A word before expansion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Word(pub(super) Vec<Piece>);

/// Where a redirection leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Write(Word),
    Append(Word),
    Read(Word),
    Duplicate(u8),
}

/// One redirection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Redirect {
    pub(super) descriptor: u8,
    pub(super) target: Target,
}

/// Commands one after the other; `true` for those in the background.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct List(pub(super) Vec<(Vec<(bool, Pipeline)>, bool)>);

/// Stages connected by `|`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pipeline {
    pub(super) negated: bool,
    pub(super) stages: Vec<Command>,
}

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Simple {
        assignments: Vec<(String, Word)>,
        words: Vec<Word>,
        redirects: Vec<Redirect>,
    },
    Group(List, Vec<Redirect>),
    Subshell(List, Vec<Redirect>),
    If {
        branches: Vec<(List, List)>,
        otherwise: Option<List>,
    },
    While {
        condition: List,
        body: List,
        until: bool,
    },
    For {
        name: String,
        words: Vec<Word>,
        body: List,
    },
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

/// Words that open or close a compound where a command may begin.
const CLOSERS: &[&str] = &["then", "elif", "else", "fi", "do", "done", "}"];

/// Parses a script.
pub(super) fn parse(text: &str) -> Result<List, String> {
    let mut parser = Parser {
        tokens: tokens(text)?,
        at: 0,
    };
    let list = parser.list()?;
    match parser.tokens.get(parser.at) {
        None => Ok(list),
        Some(token) => Err(format!("{} unexpected", describe(token))),
    }
}

fn describe(token: &Token) -> String {
    match token {
        Token::Word(word) => format!("word {:?}", plain(word).unwrap_or_default()),
        Token::Operator(operator) | Token::Redirect(_, operator) => format!("{operator:?}"),
    }
}

/// The word's text if it is one unquoted piece: reserved words are.
fn plain(word: &Word) -> Option<&str> {
    match word.0.as_slice() {
        [Piece::Text(text, false)] => Some(text),
        _ => None,
    }
}

impl Parser {
    fn operator(&mut self, wanted: &str) -> bool {
        let found = matches!(self.tokens.get(self.at), Some(Token::Operator(operator)) if *operator == wanted);
        self.at += usize::from(found);
        found
    }

    fn reserved(&self) -> Option<&str> {
        match self.tokens.get(self.at) {
            Some(Token::Word(word)) => plain(word),
            Some(Token::Operator(_) | Token::Redirect(..)) | None => None,
        }
    }

    fn expect(&mut self, word: &str) -> Result<(), String> {
        if self.reserved() == Some(word) {
            self.at += 1;
            return Ok(());
        }
        Err(match self.tokens.get(self.at) {
            Some(token) => format!("{} unexpected (expecting {word:?})", describe(token)),
            None => format!("end of file unexpected (expecting {word:?})"),
        })
    }

    fn list(&mut self) -> Result<List, String> {
        let mut list = List::default();
        loop {
            while self.operator("\n") || self.operator(";") {}
            if self.at >= self.tokens.len()
                || matches!(self.tokens[self.at], Token::Operator(")"))
                || self.reserved().is_some_and(|word| CLOSERS.contains(&word))
            {
                return Ok(list);
            }
            let chain = self.chain()?;
            let background = self.operator("&");
            list.0.push((chain, background));
            if !background && !self.operator(";") && !self.operator("\n") {
                return Ok(list);
            }
        }
    }

    fn chain(&mut self) -> Result<Vec<(bool, Pipeline)>, String> {
        let mut chain = vec![(true, self.pipeline()?)];
        loop {
            let wants_success = if self.operator("&&") {
                true
            } else if self.operator("||") {
                false
            } else {
                return Ok(chain);
            };
            while self.operator("\n") {}
            chain.push((wants_success, self.pipeline()?));
        }
    }

    fn pipeline(&mut self) -> Result<Pipeline, String> {
        let negated = self.reserved() == Some("!");
        self.at += usize::from(negated);
        let mut stages = vec![self.command()?];
        while self.operator("|") {
            while self.operator("\n") {}
            stages.push(self.command()?);
        }
        Ok(Pipeline { negated, stages })
    }

    fn command(&mut self) -> Result<Command, String> {
        if self.operator("(") {
            let list = self.list()?;
            if !self.operator(")") {
                return Err("end of file unexpected (expecting \")\")".into());
            }
            return Ok(Command::Subshell(list, self.redirects()?));
        }
        match self.reserved() {
            Some("{") => {
                self.at += 1;
                let list = self.list()?;
                self.expect("}")?;
                Ok(Command::Group(list, self.redirects()?))
            }
            Some("if") => self.conditional(),
            Some(word @ ("while" | "until")) => {
                let until = word == "until";
                self.at += 1;
                let condition = self.list()?;
                Ok(Command::While {
                    condition,
                    body: self.body()?,
                    until,
                })
            }
            Some("for") => self.each(),
            _ => self.simple(),
        }
    }

    fn body(&mut self) -> Result<List, String> {
        self.expect("do")?;
        let list = self.list()?;
        self.expect("done")?;
        Ok(list)
    }

    fn conditional(&mut self) -> Result<Command, String> {
        let mut branches = Vec::new();
        let mut otherwise = None;
        loop {
            self.at += 1;
            let condition = self.list()?;
            self.expect("then")?;
            branches.push((condition, self.list()?));
            match self.reserved() {
                Some("elif") => continue,
                Some("else") => {
                    self.at += 1;
                    otherwise = Some(self.list()?);
                }
                _ => {}
            }
            self.expect("fi")?;
            return Ok(Command::If {
                branches,
                otherwise,
            });
        }
    }

    fn each(&mut self) -> Result<Command, String> {
        self.at += 1;
        let name = self.reserved().ok_or("Bad for loop variable")?.to_owned();
        self.at += 1;
        self.expect("in")?;
        let mut words = Vec::new();
        while let Some(Token::Word(word)) = self.tokens.get(self.at) {
            words.push(word.clone());
            self.at += 1;
        }
        while self.operator(";") || self.operator("\n") {}
        Ok(Command::For {
            name,
            words,
            body: self.body()?,
        })
    }

    fn redirects(&mut self) -> Result<Vec<Redirect>, String> {
        let mut redirects = Vec::new();
        while let Some(Token::Redirect(descriptor, operator)) = self.tokens.get(self.at).cloned() {
            self.at += 1;
            redirects.push(self.redirect(descriptor, operator)?);
        }
        Ok(redirects)
    }

    fn redirect(&mut self, descriptor: u8, operator: &str) -> Result<Redirect, String> {
        let Some(Token::Word(word)) = self.tokens.get(self.at).cloned() else {
            return Err("Missing redirection target".into());
        };
        self.at += 1;
        let target = match operator {
            ">" => Target::Write(word),
            ">>" => Target::Append(word),
            "<" => Target::Read(word),
            _ => Target::Duplicate(plain(&word).and_then(|text| text.parse().ok()).unwrap_or(1)),
        };
        Ok(Redirect { descriptor, target })
    }

    fn simple(&mut self) -> Result<Command, String> {
        let (mut assignments, mut words, mut redirects) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            match self.tokens.get(self.at).cloned() {
                Some(Token::Word(word)) => {
                    self.at += 1;
                    match assignment(&word).filter(|_| words.is_empty()) {
                        Some(pair) => assignments.push(pair),
                        None => words.push(word),
                    }
                }
                Some(Token::Redirect(descriptor, operator)) => {
                    self.at += 1;
                    redirects.push(self.redirect(descriptor, operator)?);
                }
                Some(Token::Operator(_)) | None => break,
            }
        }
        if assignments.is_empty() && words.is_empty() && redirects.is_empty() {
            return Err(match self.tokens.get(self.at) {
                Some(token) => format!("{} unexpected", describe(token)),
                None => "end of file unexpected".into(),
            });
        }
        Ok(Command::Simple {
            assignments,
            words,
            redirects,
        })
    }
}

/// `name=value` at the head of a command.
fn assignment(word: &Word) -> Option<(String, Word)> {
    let Some(Piece::Text(first, false)) = word.0.first() else {
        return None;
    };
    let (name, value) = first.split_once('=')?;
    let named = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !named {
        return None;
    }
    let mut pieces = vec![Piece::Text(value.to_owned(), true)];
    pieces.extend(word.0[1..].iter().cloned());
    Some((name.to_owned(), Word(pieces)))
}
