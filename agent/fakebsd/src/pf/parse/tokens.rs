//! Reading tokens: one looked ahead, taken when it fits.

use super::lex::Token;
use super::{Outcome, Parser};

impl Parser<'_> {
    pub(super) fn peek(&mut self) -> &Token {
        if self.look.is_none() {
            let token = self.lexer.next();
            for complaint in std::mem::take(&mut self.lexer.complaints) {
                self.complain(&complaint);
            }
            self.look = Some(token);
        }
        self.look.as_ref().expect("the token was just read")
    }

    pub(super) fn bump(&mut self) -> Token {
        self.peek();
        self.silence = self.silence.saturating_sub(1);
        self.look.take().expect("the token was just read")
    }

    pub(super) fn at_key(&mut self, key: &str) -> bool {
        matches!(self.peek(), Token::Key(known) if *known == key)
    }

    pub(super) fn at_char(&mut self, wanted: char) -> bool {
        *self.peek() == Token::Char(wanted)
    }

    pub(super) fn at_word(&mut self) -> bool {
        matches!(self.peek(), Token::Word(_))
    }

    pub(super) fn key(&mut self, key: &str) -> bool {
        let found = self.at_key(key);
        if found {
            self.bump();
        }
        found
    }

    pub(super) fn char(&mut self, wanted: char) -> bool {
        let found = self.at_char(wanted);
        if found {
            self.bump();
        }
        found
    }

    pub(super) fn expect_key(&mut self, key: &str) -> Outcome<()> {
        if self.key(key) { Ok(()) } else { self.syntax() }
    }

    pub(super) fn expect_char(&mut self, wanted: char) -> Outcome<()> {
        if self.char(wanted) {
            Ok(())
        } else {
            self.syntax()
        }
    }

    /// `STRING`.
    pub(super) fn word(&mut self) -> Outcome<String> {
        if self.at_word()
            && let Token::Word(word) = self.bump()
        {
            return Ok(word);
        }
        self.syntax()
    }

    /// `NUMBER`.
    pub(super) fn plain_number(&mut self) -> Outcome<i64> {
        if let Token::Number(number) = *self.peek() {
            self.bump();
            return Ok(number);
        }
        self.syntax()
    }

    /// `string`: words joined by blanks.
    pub(super) fn words(&mut self) -> Outcome<String> {
        let mut text = self.word()?;
        while self.at_word() {
            text.push(' ');
            text.push_str(&self.word()?);
        }
        Ok(text)
    }

    /// `number`: a number, or a word that strtoul(3) understands.
    pub(super) fn any_number(&mut self) -> Outcome<i64> {
        if !self.at_word() {
            return self.plain_number();
        }
        let word = self.word()?;
        match crate::pf::address::parse_c_number(&word) {
            Some(number) => Ok(i64::from(number)),
            None => self.fail(&format!("{word} is not a number")),
        }
    }

    /// A number within `0..=highest`, or the message.
    pub(super) fn bounded(
        &mut self,
        highest: i64,
        message: impl Fn(i64) -> String,
    ) -> Outcome<i64> {
        let number = self.plain_number()?;
        if (0..=highest).contains(&number) {
            Ok(number)
        } else {
            self.fail(&message(number))
        }
    }

    /// An unsigned 32-bit number.
    pub(super) fn positive(&mut self) -> Outcome<u32> {
        let number = self.bounded(i64::from(u32::MAX), |_| {
            "only positive values permitted".to_owned()
        })?;
        Ok(u32::try_from(number).expect("the number was bounded"))
    }

    pub(super) fn newlines(&mut self) {
        while self.char('\n') {}
    }

    /// A list between braces, its items parted by commas or nothing, over several lines if need be.
    pub(super) fn braced<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Outcome<T>,
    ) -> Outcome<Vec<T>> {
        self.expect_char('{')?;
        self.newlines();
        let mut items = Vec::new();
        loop {
            items.push(item(self)?);
            self.newlines();
            if self.char('}') {
                return Ok(items);
            }
            self.char(',');
        }
    }

    /// One item, or a list of them between braces.
    pub(super) fn one_or_braced<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Outcome<T>,
    ) -> Outcome<Vec<T>> {
        if self.at_char('{') {
            self.braced(item)
        } else {
            Ok(vec![item(self)?])
        }
    }

    /// The keyword that comes next; empty if something else does.
    pub(super) fn peek_key(&mut self) -> &'static str {
        match *self.peek() {
            Token::Key(key) => key,
            Token::Word(_)
            | Token::Number(_)
            | Token::Binary(_)
            | Token::Sign(_)
            | Token::Char(_)
            | Token::Error
            | Token::End => "",
        }
    }
}
