//! The words and marks of jail.conf(5) (usr.sbin/jail/jaillex.l).

/// A word of the file: literal parts and variables side by side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Text(String),
    Variable(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Word(Vec<Part>),
    PlusEquals,
    Mark(char),
}

pub(super) struct Lexer<'a> {
    pub(super) chars: std::iter::Peekable<std::str::Chars<'a>>,
    pub(super) line: usize,
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

    pub(super) fn token(&mut self) -> Option<Token> {
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
