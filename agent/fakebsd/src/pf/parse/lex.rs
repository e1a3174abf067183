//! The lexer of pf.conf: `yylex` of sbin/pfctl/parse.y, byte for byte, because what is a number, a word or an error
//! (`user 1000:65000` is one word, recording `05`) decides which message comes out.

use std::collections::BTreeMap;

use crate::pf::rule::Op;

/// A token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// One of pf.conf's keywords.
    Key(&'static str),
    /// A word that is none, or a quoted text.
    Word(String),
    /// A number.
    Number(i64),
    /// `<>` or `><`.
    Binary(Op),
    /// `->`, `!=`, `<=`, `>=`.
    Sign(&'static str),
    /// Any other character.
    Char(char),
    /// The lexer gave up on the line.
    Error,
    /// The end of the text.
    End,
}

/// Sorted, as `lookup` of parse.y wants them.
#[rustfmt::skip]
const KEYWORDS: &[&str] = &[
    "af-to", "all", "allow-opts", "allow-related", "altq", "anchor", "antispoof", "any", "bandwidth", "binat",
    "binat-anchor", "binat-to", "bitmask", "block", "block-policy", "bridge-to", "buckets", "cbq", "code", "codelq",
    "debug", "divert-reply", "divert-to", "dnpipe", "dnqueue", "drop", "dup-to", "endpoint-independent", "ether",
    "fail-policy", "fairq", "fastroute", "file", "fingerprints", "flags", "floating", "flush", "for", "fragment",
    "from", "global", "group", "hfsc", "hogs", "hostid", "icmp-type", "icmp6-type", "if-bound", "in", "include",
    "inet", "inet6", "interval", "keep", "keepcounters", "l3", "label", "limit", "linkshare", "load", "log",
    "loginterface", "map-e-portset", "match", "matches", "max", "max-mss", "max-pkt-rate", "max-pkt-size",
    "max-src-conn", "max-src-conn-rate", "max-src-nodes", "max-src-states", "min-ttl", "modulate", "nat",
    "nat-anchor", "nat-to", "no", "no-df", "no-route", "no-sync", "on", "optimization", "os", "out", "overload",
    "pass", "pflow", "port", "prefer-ipv6-nexthop", "prio", "priority", "priq", "probability", "proto", "qlimit",
    "queue", "quick", "random", "random-id", "rdr", "rdr-anchor", "rdr-to", "realtime", "reassemble", "received-on",
    "reply-to", "require-order", "return", "return-icmp", "return-icmp6", "return-rst", "ridentifier",
    "round-robin", "route", "route-to", "rtable", "rule", "ruleset-optimization", "scrub", "set", "set-tos", "skip",
    "sloppy", "source-hash", "source-track", "state", "state-defaults", "state-policy", "static-port",
    "sticky-address", "syncookies", "synproxy", "table", "tag", "tagged", "target", "tbrsize", "timeout", "to",
    "tos", "ttl", "upperlimit", "urpf-failed", "user",
];

/// Marks that a macro's text begins and ends; within, `$` is an ordinary character.
const EXPANSION_BEGINS: u8 = 1;
const EXPANSION_ENDS: u8 = 2;

/// The longest token (`buf` of yylex).
const TOKEN_BYTES_MAX: usize = 8096;

/// One text on the stack of includes.
#[derive(Debug)]
struct Source {
    name: String,
    bytes: Vec<u8>,
    position: usize,
    unread: Vec<u8>,
    line: u32,
    end_reached: bool,
}

/// The lexer, with the macros defined so far.
#[derive(Debug)]
pub(super) struct Lexer {
    sources: Vec<Source>,
    expanding: bool,
    macros: BTreeMap<String, String>,
    /// Line of the token read last.
    pub(super) line: u32,
    /// Messages, complete but for the name and line before them; the parser prints them.
    pub(super) complaints: Vec<String>,
}

impl Lexer {
    pub(super) fn new(name: &str, text: &str, macros: BTreeMap<String, String>) -> Self {
        let mut lexer = Lexer {
            sources: Vec::new(),
            expanding: false,
            macros,
            line: 1,
            complaints: Vec::new(),
        };
        lexer.include(name, text);
        lexer.source().line = 1;
        lexer
    }

    /// Reads on in another text, and returns to this one at its end.
    pub(super) fn include(&mut self, name: &str, text: &str) {
        self.sources.push(Source {
            name: name.to_owned(),
            bytes: text.as_bytes().to_vec(),
            position: 0,
            unread: Vec::new(),
            line: 0,
            end_reached: false,
        });
        if self.sources.len() > 1 {
            self.unread(b'\n');
        }
    }

    pub(super) fn name(&self) -> &str {
        self.sources
            .last()
            .map_or("", |source| source.name.as_str())
    }

    pub(super) fn define(&mut self, name: &str, value: &str) {
        self.macros.insert(name.to_owned(), value.to_owned());
    }

    fn source(&mut self) -> &mut Source {
        self.sources
            .last_mut()
            .expect("the outermost text is never popped")
    }

    fn raw(&mut self) -> Option<u8> {
        loop {
            let source = self.source();
            let byte = source.unread.pop().or_else(|| {
                let byte = source.bytes.get(source.position).copied();
                source.position += usize::from(byte.is_some());
                byte
            });
            match byte {
                Some(EXPANSION_BEGINS) => self.expanding = true,
                Some(EXPANSION_ENDS) => self.expanding = false,
                other => return other,
            }
        }
    }

    /// The next character outside quotes (`lgetc(0)`): joins continued lines, fakes a newline at the end of a text.
    fn read(&mut self) -> Option<u8> {
        loop {
            match self.raw() {
                Some(b'\\') => match self.raw() {
                    Some(b'\n') => {
                        self.line = self.source().line;
                        self.source().line += 1;
                    }
                    other => return other,
                },
                Some(byte) => return Some(byte),
                None if !self.source().end_reached => {
                    self.source().end_reached = true;
                    return Some(b'\n');
                }
                None if self.sources.len() == 1 => return None,
                None => {
                    self.sources.pop();
                }
            }
        }
    }

    fn unread(&mut self, byte: u8) {
        self.source().unread.push(byte);
    }

    fn unread_option(&mut self, byte: Option<u8>) {
        if let Some(byte) = byte {
            self.unread(byte);
        }
    }

    /// Skips the rest of the line (`findeol`).
    fn give_up(&mut self, complaint: String) -> Token {
        self.complaints.push(complaint);
        loop {
            match self.read() {
                Some(b'\n') => {
                    self.source().line += 1;
                    return Token::Error;
                }
                Some(_) => {}
                None => return Token::Error,
            }
        }
    }

    /// Expands `$name`; an error token if there is no such macro.
    fn expand(&mut self) -> Option<Token> {
        let mut name = String::new();
        loop {
            match self.read() {
                None => return Some(Token::End),
                Some(byte) if byte.is_ascii_alphanumeric() || byte == b'_' => {
                    name.push(char::from(byte))
                }
                Some(byte) => {
                    self.unread(byte);
                    break;
                }
            }
        }
        let Some(value) = self.macros.get(&name).cloned() else {
            return Some(self.give_up(format!("macro '{name}' not defined")));
        };
        self.unread(EXPANSION_ENDS);
        for byte in value.bytes().rev() {
            self.unread(byte);
        }
        self.unread(EXPANSION_BEGINS);
        None
    }

    /// The next token; sets [`Lexer::line`].
    pub(super) fn next(&mut self) -> Token {
        loop {
            let mut byte = self.read();
            while matches!(byte, Some(b' ' | b'\t' | 0x0c)) {
                byte = self.read();
            }
            self.line = self.source().line;
            if byte == Some(b'#') {
                while !matches!(byte, Some(b'\n') | None) {
                    byte = self.read();
                }
            }
            if byte == Some(b'$') && !self.expanding {
                match self.expand() {
                    None => continue,
                    Some(token) => return token,
                }
            }
            let Some(byte) = byte else { return Token::End };
            return self.token(byte);
        }
    }

    fn token(&mut self, byte: u8) -> Token {
        match byte {
            b'\'' | b'"' => return self.quoted(byte),
            b'!' => return self.pair(byte, &[(b'=', Token::Sign("!="))]),
            b'<' => {
                return self.pair(
                    byte,
                    &[
                        (b'>', Token::Binary(Op::Outside)),
                        (b'=', Token::Sign("<=")),
                    ],
                );
            }
            b'>' => {
                return self.pair(
                    byte,
                    &[(b'<', Token::Binary(Op::Inside)), (b'=', Token::Sign(">="))],
                );
            }
            b'-' => {
                let arrow = self.pair(byte, &[(b'>', Token::Sign("->"))]);
                if arrow != Token::Char('-') {
                    return arrow;
                }
            }
            _ => {}
        }
        if byte == b'-' || byte.is_ascii_digit() {
            match self.number(byte) {
                Some(token) => return token,
                None if byte == b'-' => return Token::Char('-'),
                None => {}
            }
        }
        if byte.is_ascii_alphanumeric() || byte == b':' || byte == b'_' {
            return self.word(byte);
        }
        if byte == b'\n' {
            self.line = self.source().line;
            self.source().line += 1;
        }
        Token::Char(char::from(byte))
    }

    fn pair(&mut self, byte: u8, pairs: &[(u8, Token)]) -> Token {
        let next = self.read();
        if let Some((_, token)) = pairs.iter().find(|(second, _)| Some(*second) == next) {
            return token.clone();
        }
        self.unread_option(next);
        Token::Char(char::from(byte))
    }

    fn quoted(&mut self, quote: u8) -> Token {
        let mut text = Vec::new();
        loop {
            let Some(byte) = self.raw() else {
                self.complaints
                    .push("reached end of file while parsing quoted string".to_owned());
                return Token::End;
            };
            match byte {
                b'\n' => {
                    self.source().line += 1;
                    continue;
                }
                b'\\' => match self.raw() {
                    None => return Token::End,
                    Some(next) if next == quote || next == b' ' || next == b'\t' => {
                        text.push(next);
                        continue;
                    }
                    Some(b'\n') => {
                        self.source().line += 1;
                        continue;
                    }
                    Some(next) => self.unread(next),
                },
                _ if byte == quote => {
                    return Token::Word(String::from_utf8_lossy(&text).into_owned());
                }
                0 => return self.give_up("syntax error".to_owned()),
                _ => {}
            }
            text.push(byte);
            if text.len() >= TOKEN_BYTES_MAX {
                return self.give_up("string too long".to_owned());
            }
        }
    }

    /// A number if what follows the digits may end one; otherwise puts them back but for the first.
    fn number(&mut self, first: u8) -> Option<Token> {
        let mut digits = vec![first];
        let end = loop {
            match self.read() {
                Some(byte) if byte.is_ascii_digit() && digits.len() < TOKEN_BYTES_MAX => {
                    digits.push(byte)
                }
                other => break other,
            }
        };
        self.unread_option(end);
        let ends = match end {
            None => true,
            Some(byte) => byte.is_ascii_whitespace() || byte == 0x0b || b"),/}=".contains(&byte),
        };
        if digits != b"-" && ends {
            let text = String::from_utf8_lossy(&digits).into_owned();
            return Some(match text.parse() {
                Ok(number) => Token::Number(number),
                Err(_) => {
                    let size = if first == b'-' {
                        "too small"
                    } else {
                        "too large"
                    };
                    self.give_up(format!("\"{text}\" invalid number: {size}"))
                }
            });
        }
        for byte in digits[1..].iter().rev() {
            self.unread(*byte);
        }
        None
    }

    fn word(&mut self, first: u8) -> Token {
        let mut text = vec![first];
        let end = loop {
            match self.read() {
                Some(byte) if may_stand_in_word(byte) => text.push(byte),
                other => break other,
            }
            if text.len() >= TOKEN_BYTES_MAX {
                return self.give_up("string too long".to_owned());
            }
        };
        self.unread_option(end);
        let text = String::from_utf8_lossy(&text).into_owned();
        match KEYWORDS.binary_search(&text.as_str()) {
            Ok(place) => Token::Key(KEYWORDS[place]),
            Err(_) => Token::Word(text),
        }
    }
}

fn may_stand_in_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || (byte.is_ascii_punctuation() && !b"(){}<>!=/#,".contains(&byte))
}
