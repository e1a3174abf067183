//! The grammar of jail.conf(5) (usr.sbin/jail/jailparse.y): blocks, statements, values.
//!
//! jail(8) goes on behind a mistake at the next `;`, and so does this; but a `}` ends a block all the same, so that one missing `;` is one mistake.

use std::rc::Rc;

use cellblock_schemas::manifest::Diagnostic;

use super::include::{self, Files};
use super::lexer::{Kind, Lexer, Token};
use super::{Block, Piece, Place, Source, Statement, Written};

/// How deep blocks may stand in blocks. The kernel has 16 levels of jails at most by the length of their names; this only keeps a file from using up the stack.
const DEPTH_MAX: usize = 64;

/// Mistakes after which nobody reads on.
const MISTAKES_MAX: usize = 100;

/// Reads files into blocks.
pub(super) struct Reader<'a> {
    pub(super) files: &'a dyn Files,
    blocks: Vec<Block>,
    /// The block of what stands outside of all.
    global: Option<usize>,
    /// The blocks that are open, by place.
    open: Vec<usize>,
    pub(super) include_depth: usize,
    pub(super) mistakes: Vec<Diagnostic>,
}

/// One file while it is read.
struct Cursor {
    lexer: Lexer,
    ahead: Option<Option<Token>>,
}

impl Cursor {
    fn peek(&mut self) -> Option<&Token> {
        if self.ahead.is_none() {
            self.ahead = Some(self.lexer.next());
        }
        self.ahead.as_ref().and_then(Option::as_ref)
    }

    fn take(&mut self) -> Option<Token> {
        self.peek();
        self.ahead.take().flatten()
    }

    fn is_mark(&mut self, mark: u8) -> bool {
        self.peek()
            .is_some_and(|token| token.kind == Kind::Mark(mark))
    }

    /// Behind the next `;`, or before a `}`.
    fn recover(&mut self) {
        let mut depth = 0_usize;
        while let Some(token) = self.peek() {
            match token.kind {
                Kind::Mark(b'}') if depth == 0 => return,
                Kind::Mark(b'}') => {
                    depth -= 1;
                    if depth == 0 {
                        self.take();
                        return;
                    }
                }
                Kind::Mark(b'{') => depth += 1,
                Kind::Mark(b';') if depth == 0 => {
                    self.take();
                    return;
                }
                Kind::Mark(_)
                | Kind::PlusEquals
                | Kind::Stray
                | Kind::Text(_)
                | Kind::Variable(_) => {}
            }
            self.take();
        }
    }
}

/// A mistake was noted.
struct Mistaken;

impl<'a> Reader<'a> {
    pub(super) fn new(files: &'a dyn Files) -> Self {
        Self {
            files,
            blocks: Vec::new(),
            global: None,
            open: Vec::new(),
            include_depth: 0,
            mistakes: Vec::new(),
        }
    }

    pub(super) fn finish(self) -> (Vec<Block>, Vec<Diagnostic>) {
        let mut mistakes = self.mistakes;
        mistakes.truncate(MISTAKES_MAX);
        (self.blocks, mistakes)
    }

    /// Reads one file into the block that is open.
    pub(super) fn file(&mut self, name: &str, bytes: Vec<u8>) {
        let source = Rc::new(Source {
            name: name.to_owned(),
            bytes,
        });
        let mut cursor = Cursor {
            lexer: Lexer::new(source),
            ahead: None,
        };
        while cursor.peek().is_some() {
            self.statements(&mut cursor, 0);
            if let Some(token) = cursor.take() {
                let message = "this } closes nothing";
                let help = "remove it, or look for a block that was closed too early";
                self.mistakes.push(token.place.error("", message, help));
            }
        }
        self.mistakes.append(&mut cursor.lexer.mistakes);
        self.mistakes
            .sort_by_key(|one| (one.file != name, one.line, one.column));
    }

    /// What stands in a block, or outside of all, up to a `}` or the end.
    fn statements(&mut self, cursor: &mut Cursor, depth: usize) {
        while let Some(token) = cursor.peek() {
            match token.kind {
                Kind::Mark(b'}') => return,
                Kind::Mark(b';') => drop(cursor.take()),
                Kind::Text(_) | Kind::Variable(_) => {
                    if self.statement(cursor, depth).is_err() {
                        cursor.recover();
                    }
                }
                Kind::Mark(_) | Kind::PlusEquals | Kind::Stray => {
                    let _ = self.unexpected(cursor, "a jail or a parameter begins here");
                    cursor.recover();
                }
            }
            if self.mistakes.len() > MISTAKES_MAX {
                while cursor.take().is_some() {}
            }
        }
    }

    /// Notes that the next token cannot stand where it does.
    fn unexpected(&mut self, cursor: &mut Cursor, help: &str) -> Mistaken {
        let long = cursor.lexer.long_string.clone();
        let Some(token) = cursor.peek().cloned() else {
            let end = cursor.lexer.end();
            let message = "the file ends in the middle of a statement";
            self.mistakes.push(end.error("", message, help));
            return Mistaken;
        };
        let shown = match &token.kind {
            Kind::Text(text) => format!("`{}`", String::from_utf8_lossy(text)),
            Kind::Variable(name) => format!("`${}`", String::from_utf8_lossy(name)),
            Kind::Mark(mark) => format!("`{}`", char::from(*mark)),
            Kind::PlusEquals => "`+=`".to_owned(),
            Kind::Stray => "this character".to_owned(),
        };
        let help = match (&token.kind, long) {
            (Kind::Stray, _) => "put it in quotes: unquoted it means nothing to jail(8)".to_owned(),
            (_, Some((began, line))) if token.place.line == line => {
                format!(
                    "the string that begins at {began} ends here: is its closing quote missing?"
                )
            }
            (_, _) => help.to_owned(),
        };
        let message = format!("syntax error: {shown} cannot stand here");
        self.mistakes.push(token.place.error("", message, help));
        Mistaken
    }

    fn text(&mut self, place: &Place, bytes: Vec<u8>) -> Result<String, Mistaken> {
        String::from_utf8(bytes).map_err(|_| {
            let help = "manifests are UTF-8: write the text that is meant in it";
            let message = "this is not UTF-8 text";
            self.mistakes.push(place.error("", message, help));
            Mistaken
        })
    }

    /// A jail's block, or a parameter with its `;`.
    fn statement(&mut self, cursor: &mut Cursor, depth: usize) -> Result<(), Mistaken> {
        let Some(first) = cursor.take() else {
            return Ok(());
        };
        let (bytes, is_variable) = match first.kind {
            Kind::Text(text) => (text, false),
            Kind::Variable(name) => (name, true),
            Kind::Mark(_) | Kind::PlusEquals | Kind::Stray => return Ok(()),
        };
        let name = self.text(&first.place, bytes)?;
        if cursor.is_mark(b'{') && !is_variable {
            return self.block(cursor, name, first.place, depth);
        }
        let mut statement = Statement {
            name,
            is_variable,
            appends: false,
            values: Vec::new(),
            place: first.place,
        };
        let mut is_bare_pair = false;
        match cursor.peek().map(|token| (&token.kind, token.is_glued)) {
            Some((Kind::Mark(b'='), _)) => {
                cursor.take();
                statement.values = self.values(cursor)?;
            }
            Some((Kind::PlusEquals, _)) => {
                cursor.take();
                statement.appends = true;
                statement.values = self.values(cursor)?;
            }
            Some((Kind::Text(_) | Kind::Variable(_), false)) => {
                is_bare_pair = true;
                statement.values = self.values(cursor)?;
            }
            Some((Kind::Text(_) | Kind::Variable(_), true)) => {
                return Err(self.unexpected(
                    cursor,
                    "a name is one word without special characters, or one quoted string, as in \"a.*\"",
                ));
            }
            Some((Kind::Mark(_) | Kind::Stray, _)) | None => {}
        }
        if !cursor.is_mark(b';') {
            return Err(self.unexpected(cursor, "a parameter ends with ;"));
        }
        cursor.take();
        let is_include = is_bare_pair && !is_variable && statement.name == ".include";
        if is_include {
            include::include(self, &statement);
        } else {
            let place = statement.place.clone();
            let block = match self.open.last() {
                Some(block) => *block,
                None => *self.global.get_or_insert_with(|| {
                    self.blocks.push(Block {
                        name: "*".to_owned(),
                        statements: Vec::new(),
                        place,
                    });
                    self.blocks.len() - 1
                }),
            };
            self.blocks[block].statements.push(statement);
        }
        Ok(())
    }

    fn block(
        &mut self,
        cursor: &mut Cursor,
        name: String,
        place: Place,
        depth: usize,
    ) -> Result<(), Mistaken> {
        if depth >= DEPTH_MAX {
            let message = format!("blocks within blocks, {DEPTH_MAX} deep");
            self.mistakes.push(place.error("", message, "flatten it"));
            return Err(Mistaken);
        }
        cursor.take();
        let parent = self.open.last().map(|parent| &self.blocks[*parent].name);
        let name = parent.map_or_else(|| name.clone(), |parent| format!("{parent}.{name}"));
        self.blocks.push(Block {
            name,
            statements: Vec::new(),
            place: place.clone(),
        });
        self.open.push(self.blocks.len() - 1);
        self.statements(cursor, depth + 1);
        self.open.pop();
        if cursor.take().is_none() {
            let message = "the block that begins here is not closed: unexpected end of the file";
            self.mistakes
                .push(place.error("", message, "end it with }"));
        }
        Ok(())
    }

    fn values(&mut self, cursor: &mut Cursor) -> Result<Vec<Written>, Mistaken> {
        let mut values = Vec::new();
        loop {
            values.push(self.value(cursor)?);
            if !cursor.is_mark(b',') {
                return Ok(values);
            }
            cursor.take();
        }
    }

    fn value(&mut self, cursor: &mut Cursor) -> Result<Written, Mistaken> {
        let is_piece = |token: &Token| matches!(token.kind, Kind::Text(_) | Kind::Variable(_));
        let Some(first) = cursor.peek().filter(|token| is_piece(token)).cloned() else {
            return Err(self.unexpected(cursor, "a value is a word or a quoted string"));
        };
        let mut pieces = Vec::new();
        let mut text: Vec<u8> = Vec::new();
        let mut is_first = true;
        while cursor
            .peek()
            .is_some_and(|token| is_piece(token) && (is_first || token.is_glued))
        {
            is_first = false;
            match cursor.take().map(|token| token.kind) {
                Some(Kind::Text(more)) => text.extend(more),
                Some(Kind::Variable(name)) => {
                    let before = self.text(&first.place, std::mem::take(&mut text))?;
                    pieces.push(Piece::Text(before));
                    pieces.push(Piece::Variable(self.text(&first.place, name)?));
                }
                Some(Kind::Mark(_) | Kind::PlusEquals | Kind::Stray) | None => {}
            }
        }
        pieces.push(Piece::Text(self.text(&first.place, text)?));
        pieces.retain(|piece| *piece != Piece::Text(String::new()));
        Ok(Written {
            pieces,
            place: first.place,
        })
    }
}
