//! jail.conf(5): lexer, grammar, `.include`, variables, wildcards (usr.sbin/jail/jaillex.l, jailparse.y, config.c).
//!
//! The result is one list of parameters per jail, in the order jail(8) keeps them.

mod lexer;

use super::jail::INTERNAL;
use crate::files::FileTree;
use lexer::{Lexer, Token};

/// `MAX_INCLUDE_DEPTH`
const INCLUDE_DEPTH_MAX: usize = 32;

/// `intparams` beside [`INTERNAL`]: parameters of the kernel that jail(8) looks at as well.
const LOOKED_AT: &[&str] = &[
    "allow.chflags",
    "allow.mount",
    "allow.raw_sockets",
    "allow.set_hostname",
    "allow.socket_af",
    "allow.sysvipc",
    "devfs_ruleset",
    "host.hostname",
    "ip4.addr",
    "ip6.addr",
    "jid",
    "name",
    "path",
    "persist",
    "securelevel",
    "vnet",
];

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

/// What a file comes to.
#[derive(Debug, Default)]
pub(crate) struct Configuration {
    pub(crate) jails: Vec<ConfiguredJail>,
    /// What is said of single jails, which fail; the others do not.
    pub(crate) warnings: Vec<String>,
    /// A list in a variable: jail(8) dies of it (`free_var` of `load_config` takes the variable from the last of the new strings, which has none).
    pub(crate) crashes: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Variable(String),
}

/// A parameter as written.
#[derive(Clone, Debug)]
struct Written {
    name: String,
    is_variable: bool,
    appends: bool,
    /// `name value`
    is_pair: bool,
    values: Vec<Vec<Part>>,
}

/// One block of the file; the global parameters are a block named `*`.
#[derive(Clone, Debug, Default)]
struct Block {
    name: String,
    parameters: Vec<Written>,
}

#[derive(Default)]
struct State {
    blocks: Vec<Block>,
    global: Option<usize>,
    current: Vec<usize>,
    depth: usize,
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    file: &'a str,
    files: &'a FileTree,
    ahead: Option<Option<Token>>,
    errors: Vec<String>,
    /// `yyerrflag`: nothing is said of an error less than three tokens behind another.
    quiet: u8,
}

/// The statement is wrong, and that was said.
struct Wrong;

impl Parser<'_> {
    fn peek(&mut self) -> Option<Token> {
        if self.ahead.is_none() {
            self.ahead = Some(self.lexer.token());
            self.errors.append(&mut self.lexer.complaints);
        }
        self.ahead.clone().flatten()
    }

    fn take(&mut self) -> Option<Token> {
        let token = self.peek();
        self.ahead = None;
        self.quiet = self.quiet.saturating_sub(1);
        token
    }

    fn is_mark(&mut self, mark: char) -> bool {
        self.peek() == Some(Token::Mark(mark))
    }

    /// yyerror. Reads on behind the next `;`.
    fn wrong(&mut self) -> Wrong {
        let (file, line) = (self.file, self.lexer.line);
        let error = match self.peek() {
            None => format!("jail: {file}: unexpected EOF"),
            Some(_) => format!(
                "jail: {file} line {line}: {}: syntax error",
                self.lexer.matched
            ),
        };
        if self.quiet == 0 {
            self.errors.push(error);
        }
        while self.peek().is_some_and(|token| token != Token::Mark(';')) {
            self.ahead = None;
        }
        self.quiet = 3;
        if self.peek().is_some() {
            self.take();
        }
        Wrong
    }

    fn conf(&mut self, state: &mut State, is_block: bool) {
        loop {
            match self.peek() {
                None => return,
                Some(Token::Mark('}')) if is_block => return,
                Some(Token::Mark(';')) => drop(self.take()),
                Some(token) if token.is_start() => {
                    if self.statement(state).is_err() && self.peek().is_none() {
                        return;
                    }
                }
                Some(_) => drop(self.wrong()),
            }
        }
    }

    fn statement(&mut self, state: &mut State) -> Result<(), Wrong> {
        let (name, is_variable) = match self.take() {
            Some(Token::Text { text, .. }) => (text, false),
            Some(Token::Variable { name, .. }) => (name, true),
            Some(Token::Mark(_) | Token::PlusEquals) | None => return Err(self.wrong()),
        };
        if !is_variable && self.is_mark('{') {
            self.take();
            let name = match state.current.last() {
                Some(parent) => format!("{}.{name}", state.blocks[*parent].name),
                None => name,
            };
            state.blocks.push(Block {
                name,
                parameters: Vec::new(),
            });
            state.current.push(state.blocks.len() - 1);
            self.conf(state, true);
            state.current.pop();
            if self.peek().is_none() {
                return Err(self.wrong());
            }
            self.take();
            return Ok(());
        }
        let mut written = Written {
            name,
            is_variable,
            appends: false,
            is_pair: false,
            values: Vec::new(),
        };
        match self.peek() {
            Some(Token::Mark('=')) => {
                self.take();
                written.values = self.values()?;
            }
            Some(Token::PlusEquals) => {
                self.take();
                written.appends = true;
                written.values = self.values()?;
            }
            Some(token) if token.is_start() => {
                written.is_pair = true;
                written.values = self.values()?;
            }
            Some(_) | None => {}
        }
        if !self.is_mark(';') {
            return Err(self.wrong());
        }
        self.take();
        if written.is_pair && !written.is_variable && written.name == ".include" {
            self.include(state, &written);
            return Ok(());
        }
        let block = match state.current.last() {
            Some(block) => *block,
            None => *state.global.get_or_insert_with(|| {
                state.blocks.push(Block {
                    name: "*".into(),
                    parameters: Vec::new(),
                });
                state.blocks.len() - 1
            }),
        };
        state.blocks[block].parameters.push(written);
        Ok(())
    }

    fn values(&mut self) -> Result<Vec<Vec<Part>>, Wrong> {
        let mut values = Vec::new();
        loop {
            if !self.peek().is_some_and(|token| token.is_start()) {
                return Err(self.wrong());
            }
            let mut value = Vec::new();
            loop {
                match self.take() {
                    Some(Token::Text { text, .. }) => value.push(Part::Text(text)),
                    Some(Token::Variable { name, .. }) => value.push(Part::Variable(name)),
                    Some(Token::Mark(_) | Token::PlusEquals) | None => {}
                }
                match self.peek() {
                    Some(Token::Text { glued: true, .. } | Token::Variable { glued: true, .. }) => {
                    }
                    Some(_) | None => break,
                }
            }
            values.push(value);
            if !self.is_mark(',') {
                return Ok(values);
            }
            self.take();
        }
    }

    fn include(&mut self, state: &mut State, written: &Written) {
        for value in &written.values {
            let mut name = String::new();
            for part in value {
                match part {
                    Part::Text(text) => name.push_str(text),
                    Part::Variable(_) => {
                        let (file, line) = (self.file, self.lexer.line);
                        self.errors.push(format!("jail: {file} line {line}: variables not permitted in '.include' filename"));
                        return;
                    }
                }
            }
            if state.depth >= INCLUDE_DEPTH_MAX {
                self.errors
                    .push("jail: maximum include depth exceeded".into());
                return;
            }
            let folder = self.file.rsplit_once('/').map(|(folder, _)| folder);
            let path = match folder {
                Some(folder) if !name.starts_with('/') => format!("{folder}/{name}"),
                Some(_) | None => name,
            };
            let paths = if path.contains(['*', '?', '[']) {
                globbed(self.files, &path)
            } else {
                vec![path]
            };
            for path in paths {
                match self.files.read_text(&path) {
                    Ok(text) => {
                        state.depth += 1;
                        self.errors
                            .extend(parse_file(self.files, &path, &text, state));
                        state.depth -= 1;
                    }
                    Err(error) => self.errors.push(format!("jail: {path}: {error}")),
                }
            }
        }
    }
}

/// glob(3) of the last component: `*`, `?` and sets of characters.
fn globbed(files: &FileTree, path: &str) -> Vec<String> {
    let (folder, pattern) = path.rsplit_once('/').unwrap_or((".", path));
    let names = files.list(folder).into_iter().flatten();
    let names = names.filter(|name| !name.starts_with('.') && fits(pattern, name));
    let mut paths: Vec<String> = names.map(|name| format!("{folder}/{name}")).collect();
    paths.sort();
    paths
}

fn fits(pattern: &str, name: &str) -> bool {
    let mut rest = pattern.chars();
    let Some(first) = rest.next() else {
        return name.is_empty();
    };
    let mut tail = name.chars();
    let next = tail.next();
    match first {
        '*' => fits(rest.as_str(), name) || next.is_some() && fits(pattern, tail.as_str()),
        '?' => next.is_some() && fits(rest.as_str(), tail.as_str()),
        '[' => match (rest.as_str().split_once(']'), next) {
            (Some((set, behind)), Some(next)) => set.contains(next) && fits(behind, tail.as_str()),
            (_, _) => false,
        },
        first => next == Some(first) && fits(rest.as_str(), tail.as_str()),
    }
}

/// Whether a jail name holds a wildcard component.
pub(crate) fn is_wild(name: &str) -> bool {
    name.split('.').any(|part| part == "*")
}

/// wild_jail_match: `*` stands for one or more components at the end, for one elsewhere.
pub(crate) fn matches_wild(name: &str, pattern: &str) -> bool {
    let names: Vec<&str> = name.split('.').collect();
    let patterns: Vec<&str> = pattern.split('.').collect();
    // As many components as both have before the last of either are held against each other; then the rests.
    let common = names.len().min(patterns.len()) - 1;
    let heads = names[..common].iter().zip(&patterns[..common]);
    let (name, pattern) = (names[common..].join("."), patterns[common..].join("."));
    let mut heads = heads.map(|(name, pattern)| name == pattern || *pattern == "*");
    heads.all(|fits| fits) && (pattern == "*" || name == pattern)
}

fn parse_file(files: &FileTree, file: &str, text: &str, state: &mut State) -> Vec<String> {
    let mut parser = Parser {
        lexer: Lexer::new(file, text),
        file,
        files,
        ahead: None,
        errors: Vec::new(),
        quiet: 0,
    };
    parser.conf(state, false);
    parser.errors
}

/// Parses the text of `file`. The error is jail(8)'s lines, complete.
pub(crate) fn parse(files: &FileTree, file: &str, text: &str) -> Result<Configuration, String> {
    let mut state = State::default();
    let shown = if file == "-" { "STDIN" } else { file };
    let errors = parse_file(files, shown, text, &mut state);
    if !errors.is_empty() {
        return Err(errors.join("\n"));
    }
    let blocks = state.blocks;
    let mut configuration = Configuration::default();
    for (place, block) in blocks.iter().enumerate() {
        if is_wild(&block.name) {
            continue;
        }
        let mut jail = Collected {
            name: &block.name,
            list: Vec::new(),
            configuration: &mut configuration,
        };
        let key = match block.name.parse::<i64>() {
            Ok(number) if number != 0 => "jid",
            Ok(_) | Err(_) => "name",
        };
        let own = |name: &str| Kept {
            name: name.to_owned(),
            values: vec![vec![Part::Text(block.name.clone())]],
            is_variable: false,
            is_immutable: true,
        };
        jail.list.push(own(key));
        let mut did_self = false;
        for (at, wild) in blocks.iter().enumerate() {
            if !is_wild(&wild.name) {
                continue;
            }
            if place < at && !did_self {
                block.parameters.iter().for_each(|one| jail.add(one));
                did_self = true;
            }
            if matches_wild(&block.name, &wild.name) {
                wild.parameters.iter().for_each(|one| jail.add(one));
            }
        }
        if !did_self {
            block.parameters.iter().for_each(|one| jail.add(one));
        }
        if !jail.list.iter().any(|kept| kept.name == "name") {
            jail.list.push(own("name"));
        }
        let jail = jail.resolved();
        configuration.jails.push(jail);
    }
    Ok(configuration)
}

#[derive(Clone, Debug)]
struct Kept {
    name: String,
    values: Vec<Vec<Part>>,
    is_variable: bool,
    is_immutable: bool,
}

/// The parameters of one jail while they are put together.
struct Collected<'a> {
    name: &'a str,
    list: Vec<Kept>,
    configuration: &'a mut Configuration,
}

impl Collected<'_> {
    fn warn(&mut self, text: &str) {
        let line = format!("jail: {}: {text}", self.name);
        self.configuration.warnings.push(line);
    }

    /// add_param: a name that is there, with or without its `no`, is replaced in its place, or added to with `+=`.
    fn add(&mut self, written: &Written) {
        let name = &written.name;
        let Some(at) = self
            .list
            .iter()
            .position(|kept| equalopts(&kept.name, name))
        else {
            let mut known = INTERNAL.iter().chain(LOOKED_AT);
            let is_known = known.any(|known| equalopts(name, known));
            if written.is_variable && is_known {
                self.warn(&format!(
                    "variable \"${name}\" cannot have the same name as a parameter."
                ));
            }
            self.list.push(Kept {
                name: name.clone(),
                values: written.values.clone(),
                is_variable: written.is_variable,
                is_immutable: !written.is_variable && matches!(name.as_str(), "jid" | "name"),
            });
            return;
        };
        if self.list[at].is_variable != written.is_variable {
            return self.warn(&format!(
                "variable \"${name}\" cannot have the same name as a parameter."
            ));
        }
        if self.list[at].is_immutable {
            let name = self.list[at].name.clone();
            return self.warn(&format!("cannot redefine parameter \"{name}\"."));
        }
        let kept = &mut self.list[at];
        kept.name.clone_from(name);
        if !written.appends || written.values.is_empty() {
            kept.values.clear();
        }
        kept.values.extend(written.values.iter().cloned());
    }

    /// Variables replaced. What has variables itself is resolved first, and stands before what needs it from then on.
    fn resolved(mut self) -> ConfiguredJail {
        let mut order: Vec<Kept> = Vec::new();
        let mut done: Vec<String> = Vec::new();
        let list = self.list.clone();
        for kept in &list {
            self.resolve(&list, kept, &mut Vec::new(), &mut done, &mut order);
        }
        let parameters = order.into_iter().filter(|kept| !kept.is_variable);
        ConfiguredJail {
            name: self.name.to_owned(),
            parameters: parameters
                .map(|kept| Parameter {
                    name: kept.name,
                    values: kept.values.iter().map(|parts| plain(parts)).collect(),
                })
                .collect(),
        }
    }

    fn resolve(
        &mut self,
        list: &[Kept],
        kept: &Kept,
        needed_by: &mut Vec<String>,
        done: &mut Vec<String>,
        order: &mut Vec<Kept>,
    ) {
        if done.contains(&kept.name) {
            return;
        }
        needed_by.push(kept.name.clone());
        let mut resolved = kept.clone();
        for value in &mut resolved.values {
            let mut parts = Vec::new();
            for part in value.iter() {
                let Part::Variable(name) = part else {
                    parts.push(part.clone());
                    continue;
                };
                let found = list.iter().find(|other| other.name == *name);
                let Some(found) = found.filter(|found| !found.values.is_empty()) else {
                    self.warn(&format!("{}: variable \"{name}\" not found", kept.name));
                    continue;
                };
                if needed_by.contains(name) {
                    self.warn(&format!("{name}: variable loop"));
                    continue;
                }
                let has_variables =
                    |parts: &Vec<Part>| parts.iter().any(|part| matches!(part, Part::Variable(_)));
                if found.values.iter().any(has_variables) {
                    self.resolve(list, found, needed_by, done, order);
                }
                let found = order.iter().find(|one| one.name == *name).unwrap_or(found);
                if let [single] = found.values.as_slice() {
                    parts.push(Part::Text(plain(single)));
                } else if value.len() > 1 {
                    self.warn(&format!(
                        "{}: array cannot be substituted inline",
                        kept.name
                    ));
                } else {
                    self.configuration.crashes = true;
                }
            }
            *value = parts;
        }
        needed_by.pop();
        done.push(kept.name.clone());
        order.push(resolved);
    }
}

fn plain(parts: &[Part]) -> String {
    let texts = parts.iter().map(|part| match part {
        Part::Text(text) => text.as_str(),
        Part::Variable(_) => "",
    });
    texts.collect()
}

/// `equalopts`
fn equalopts(one: &str, other: &str) -> bool {
    let no = |long: &str, short: &str| long.strip_prefix("no") == Some(short);
    let mut starts = vec![0];
    starts.extend(
        one.match_indices('.')
            .map(|(at, _)| at + 1)
            .take_while(|at| other.get(..*at) == one.get(..*at)),
    );
    one == other
        || starts.into_iter().any(|at| {
            let (one, other) = (&one[at..], &other[at..]);
            no(one, other) || no(other, one)
        })
}
