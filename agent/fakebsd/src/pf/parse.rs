//! The pf.conf language: text in, rules, tables and settings out, with pfctl's own messages.
//!
//! A recursive-descent reading of the grammar in sbin/pfctl/parse.y (15.1). After an error the parser skips to the end
//! of the line and stays silent about further syntax errors until three tokens were accepted, as yacc does. Lists are
//! expanded into rules here (`expand`); optimising and loading them is the caller's work.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::NetFacts;
use super::rule::{Return, Rule, Ruleset};

use lex::{Lexer, Token};

mod anchor;
mod consistency;
mod expand;
mod filter;
mod filter_options;
mod host;
mod lex;
mod option;
mod port;
mod redirect;
mod scrub;
mod state;
mod table;
mod tokens;
mod translation;

pub use option::Settings;
pub use table::{TableDefinition, TableEntry};

/// What to parse, and how.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The stack that names interfaces, addresses and users.
    pub facts: &'a dyn NetFacts,
    /// The name that messages begin with: a file, or `stdin`.
    pub name: &'a str,
    /// The text.
    pub text: &'a str,
    /// Macros of `-D`.
    pub macros: &'a BTreeMap<String, String>,
    /// The anchor that is loaded; empty for the main ruleset.
    pub anchor: &'a str,
    /// `-v` once or more: settings and tables are printed as they are read.
    pub verbose: bool,
    /// Settings take effect (`-O`, and never in an anchor).
    pub with_settings: bool,
    /// Tables take effect.
    pub with_tables: bool,
}

/// What a text said.
#[derive(Debug, Clone, Default)]
pub struct Parsed {
    /// The rules, inline anchors inside.
    pub rules: Ruleset,
    /// The tables in order.
    pub tables: Vec<TableDefinition>,
    /// What `set` said.
    pub settings: Settings,
    /// `load anchor`: full anchor name and file.
    pub load_anchors: Vec<(String, String)>,
    /// Whether there was any error: nothing may be loaded then.
    pub failed: bool,
    /// What goes to standard output.
    pub stdout: String,
    /// What goes to standard error.
    pub stderr: String,
}

/// Reads a text.
pub fn parse(request: &Request<'_>) -> Parsed {
    let mut parser = Parser::new(request);
    parser.ruleset();
    let failed = parser.errors > 0;
    let bottom = parser.levels.swap_remove(0);
    Parsed {
        rules: bottom.rules,
        tables: parser.tables,
        settings: parser.settings,
        load_anchors: parser.load_anchors,
        failed,
        stdout: parser.stdout,
        stderr: parser.stderr,
    }
}

/// An error that was already reported; the line is given up (`YYERROR`).
#[derive(Debug)]
struct Abandon;

type Outcome<T> = Result<T, Abandon>;

/// The order that `set require-order` enforces (`PFCTL_STATE_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Section {
    Nothing,
    Option,
    Scrub,
    Translation,
    Filter,
}

/// The rules of one pair of braces; the bottom level is the text itself.
#[derive(Debug, Default)]
struct Level {
    rules: Ruleset,
    /// Rules made so far, for their numbers.
    count: u32,
    /// Names of inline anchors made so far.
    inline_names: BTreeSet<String>,
}

struct Parser<'a> {
    facts: &'a dyn NetFacts,
    request: &'a Request<'a>,
    lexer: Lexer,
    look: Option<Token>,
    /// Tokens to be accepted before a syntax error is reported again (`yyerrflag`).
    silence: u8,
    errors: u32,
    stdout: String,
    stderr: String,
    section: Section,
    require_order: bool,
    block_policy: Return,
    fail_policy: Return,
    if_bound: bool,
    state_defaults: Option<Vec<state::StateOption>>,
    levels: Vec<Level>,
    braces: u32,
    hash_keys: u32,
    tables: Vec<TableDefinition>,
    settings: Settings,
    load_anchors: Vec<(String, String)>,
}

impl<'a> Parser<'a> {
    fn new(request: &'a Request<'a>) -> Self {
        Parser {
            facts: request.facts,
            request,
            lexer: Lexer::new(request.name, request.text, request.macros.clone()),
            look: None,
            silence: 0,
            errors: 0,
            stdout: String::new(),
            stderr: String::new(),
            section: Section::Nothing,
            require_order: true,
            block_policy: Return::Drop,
            fail_policy: Return::Drop,
            if_bound: false,
            state_defaults: None,
            levels: vec![Level::default()],
            braces: 0,
            hash_keys: 0,
            tables: Vec::new(),
            settings: Settings::default(),
            load_anchors: Vec::new(),
        }
    }

    // Messages.

    /// `yyerror`: file, line and message.
    fn complain(&mut self, message: &str) {
        self.errors += 1;
        self.stderr.push_str(&format!(
            "{}:{}: {message}\n",
            self.lexer.name(),
            self.lexer.line
        ));
    }

    /// Reports, and gives the line up.
    fn fail<T>(&mut self, message: &str) -> Outcome<T> {
        self.complain(message);
        Err(Abandon)
    }

    /// A token that the grammar has no place for.
    fn syntax<T>(&mut self) -> Outcome<T> {
        self.peek();
        if self.silence == 0 {
            self.complain("syntax error");
        }
        Err(Abandon)
    }

    /// A message of pfctl itself, without file and line.
    fn warn(&mut self, message: &str) {
        self.stderr.push_str(message);
        self.stderr.push('\n');
    }

    fn say(&mut self, message: &str) {
        if self.request.verbose {
            self.stdout.push_str(message);
            self.stdout.push('\n');
        }
    }

    // Lines.

    fn ruleset(&mut self) {
        loop {
            if *self.peek() == Token::End {
                return;
            }
            if self.char('\n') {
                continue;
            }
            let done = if self.at_char('{') {
                self.fake_anchor()
            } else {
                self.line()
            };
            if !self.end_of_line(done) {
                return;
            }
        }
    }

    /// Expects the newline; after an error, looks for it. False at the end of the text.
    fn end_of_line(&mut self, done: Outcome<()>) -> bool {
        let done = done.and_then(|()| {
            if self.at_char('\n') {
                Ok(())
            } else {
                self.syntax()
            }
        });
        if done.is_err() {
            self.silence = 3;
            while !self.at_char('\n') {
                if *self.peek() == Token::End {
                    self.errors += 1;
                    return false;
                }
                self.look = None;
            }
            self.errors += 1;
        }
        self.bump();
        true
    }

    fn line(&mut self) -> Outcome<()> {
        if self.at_word() {
            return self.macro_definition();
        }
        match self.peek_key() {
            "include" => self.include(),
            "set" => self.option(),
            "scrub" => self.scrub_rule(false),
            "table" => self.table(),
            "antispoof" => self.antispoof(),
            "load" => self.load_anchor(),
            "no" => {
                self.bump();
                if self.at_key("scrub") {
                    self.scrub_rule(true)
                } else {
                    self.translation_rule(true)
                }
            }
            "nat" | "rdr" | "binat" => self.translation_rule(false),
            "pass" | "block" | "match" => self.filter_rule(),
            "anchor" | "nat-anchor" | "rdr-anchor" | "binat-anchor" => self.anchor_rule(),
            _ => self.syntax(),
        }
    }

    /// `'{' fakeanchor '}'`: a list of rules without an anchor around it.
    fn fake_anchor(&mut self) -> Outcome<()> {
        self.expect_char('{')?;
        loop {
            if self.char('}') {
                return Ok(());
            }
            if self.char('\n') {
                continue;
            }
            self.line()?;
            self.expect_char('\n')?;
        }
    }

    fn macro_definition(&mut self) -> Outcome<()> {
        let name = self.word()?;
        self.expect_char('=')?;
        let mut parts = Vec::new();
        while matches!(self.peek(), Token::Word(_) | Token::Number(_)) {
            match self.bump() {
                Token::Word(word) => parts.push(word),
                Token::Number(number) => parts.push(number.to_string()),
                Token::Key(_)
                | Token::Binary(_)
                | Token::Sign(_)
                | Token::Char(_)
                | Token::Error
                | Token::End => {}
            }
        }
        if parts.is_empty() {
            return self.syntax();
        }
        let value = parts.join(" ");
        self.say(&format!("{name} = \"{value}\""));
        if name.chars().skip(1).any(char::is_whitespace) {
            return self.fail("macro name cannot contain whitespace");
        }
        if !self.request.macros.contains_key(&name) {
            self.lexer.define(&name, &value);
        }
        Ok(())
    }

    fn include(&mut self) -> Outcome<()> {
        self.bump();
        let name = self.word()?;
        let Some(text) = self.facts.read_file(&name) else {
            self.warn(&format!(
                "pfctl: pushfile: {name}: No such file or directory"
            ));
            return self.fail(&format!("failed to include file {name}"));
        };
        self.lexer.include(&name, &text);
        Ok(())
    }

    /// `check_rulestate`.
    fn enter(&mut self, section: Section) -> Outcome<()> {
        self.peek();
        if self.require_order && self.section > section {
            return self.fail(
                "Rules must be in order: options, ethernet, normalization, queueing, translation, filtering",
            );
        }
        self.section = section;
        Ok(())
    }

    fn level(&mut self) -> &mut Level {
        self.levels
            .last_mut()
            .expect("the bottom level is never popped")
    }

    /// `pfctl_append_rule`.
    fn append(&mut self, rule: Rule) {
        self.level()
            .rules
            .rules_mut(rule.action.ruleset())
            .push(rule);
    }

    /// The number of the next rule.
    fn next_number(&mut self) -> u32 {
        let level = self.level();
        level.count += 1;
        level.count - 1
    }
}

pub(super) use option::{DEBUG_LEVELS, timeouts_with as parse_timeouts};
pub(super) use table::{entries_of_file, entries_of_word};
