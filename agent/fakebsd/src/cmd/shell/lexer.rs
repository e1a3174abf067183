//! The shell's lexer: operators, redirections, and words with what is to be expanded in them.

use super::grammar::{Piece, Word};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Word(Word),
    Operator(&'static str),
    /// `>`, `>>`, `<`, `>&`, `<&` with the descriptor before it.
    Redirect(u8, &'static str),
}

/// Longest first.
const OPERATORS: &[&str] = &["&&", "||", ";;", ";", "&", "|", "(", ")", "\n"];

pub(super) fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let chars: Vec<char> = text.chars().collect();
    let mut found = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        match chars[at] {
            ' ' | '\t' => at += 1,
            '\\' if chars.get(at + 1) == Some(&'\n') => at += 2,
            '#' => {
                while at < chars.len() && chars[at] != '\n' {
                    at += 1;
                }
            }
            _ => {
                if let Some((token, length)) = redirect(&chars[at..]) {
                    found.push(token);
                    at += length;
                } else if let Some(operator) = OPERATORS
                    .iter()
                    .find(|operator| chars[at..].starts_with(&operator.chars().collect::<Vec<_>>()))
                {
                    found.push(Token::Operator(operator));
                    at += operator.len();
                } else {
                    let (word, next) = word(&chars, at)?;
                    found.push(Token::Word(word));
                    at = next;
                }
            }
        }
    }
    Ok(found)
}

fn redirect(chars: &[char]) -> Option<(Token, usize)> {
    let (descriptor, skip) = match chars {
        [digit @ '0'..='9', '>' | '<', ..] => (Some(*digit as u8 - b'0'), 1),
        ['>' | '<', ..] => (None, 0),
        _ => return None,
    };
    let (operator, length) = match &chars[skip..] {
        ['>', '>', ..] => (">>", 2),
        ['>', '&', ..] => (">&", 2),
        ['<', '&', ..] => ("<&", 2),
        ['>', ..] => (">", 1),
        _ => ("<", 1),
    };
    let default = u8::from(operator.starts_with('>'));
    Some((
        Token::Redirect(descriptor.unwrap_or(default), operator),
        skip + length,
    ))
}

/// One word from `at`; returns it and where it ends.
fn word(chars: &[char], mut at: usize) -> Result<(Word, usize), String> {
    let mut pieces = Vec::new();
    let push = |pieces: &mut Vec<Piece>, text: &str, quoted: bool| match pieces.last_mut() {
        Some(Piece::Text(last, was)) if *was == quoted => last.push_str(text),
        Some(_) | None => pieces.push(Piece::Text(text.to_owned(), quoted)),
    };
    while let Some(c) = chars.get(at).copied() {
        match c {
            ' ' | '\t' | '\n' | ';' | '&' | '|' | '(' | ')' | '<' | '>' => break,
            '\'' => {
                let end = chars[at + 1..]
                    .iter()
                    .position(|c| *c == '\'')
                    .ok_or("Unterminated quoted string")?
                    + at
                    + 1;
                push(
                    &mut pieces,
                    &chars[at + 1..end].iter().collect::<String>(),
                    true,
                );
                at = end + 1;
            }
            '"' => {
                at += 1;
                push(&mut pieces, "", true);
                loop {
                    match chars.get(at).copied() {
                        None => return Err("Unterminated quoted string".into()),
                        Some('"') => break,
                        Some('\\') if matches!(chars.get(at + 1), Some('"' | '\\' | '$' | '`')) => {
                            push(&mut pieces, &chars[at + 1].to_string(), true);
                            at += 2;
                        }
                        Some('$') => at = dollar(chars, at, true, &mut pieces)?,
                        Some(c) => {
                            push(&mut pieces, &c.to_string(), true);
                            at += 1;
                        }
                    }
                }
                at += 1;
            }
            '\\' => {
                if let Some(c) = chars.get(at + 1) {
                    push(&mut pieces, &c.to_string(), true);
                }
                at += 2;
            }
            '$' => at = dollar(chars, at, false, &mut pieces)?,
            '`' => {
                let end = chars[at + 1..]
                    .iter()
                    .position(|c| *c == '`')
                    .ok_or("EOF in backquote substitution")?
                    + at
                    + 1;
                pieces.push(Piece::Substitution(
                    chars[at + 1..end].iter().collect(),
                    false,
                ));
                at = end + 1;
            }
            c => {
                push(&mut pieces, &c.to_string(), false);
                at += 1;
            }
        }
    }
    Ok((Word(pieces), at))
}

/// What begins with `$`; returns where it ends.
fn dollar(
    chars: &[char],
    at: usize,
    quoted: bool,
    pieces: &mut Vec<Piece>,
) -> Result<usize, String> {
    match chars.get(at + 1).copied() {
        Some('(') => {
            let arithmetic = chars.get(at + 2) == Some(&'(');
            let end = closing(chars, at + 1)?;
            let inner: String = chars[at + 2..end].iter().collect();
            if arithmetic {
                pieces.push(Piece::Arithmetic(
                    inner
                        .trim_start_matches('(')
                        .trim_end_matches(')')
                        .to_owned(),
                ));
            } else {
                pieces.push(Piece::Substitution(inner, quoted));
            }
            Ok(end + 1)
        }
        Some('{') => {
            let end = chars[at..]
                .iter()
                .position(|c| *c == '}')
                .ok_or("Missing '}'")?
                + at;
            let inner: String = chars[at + 2..end].iter().collect();
            let split = inner.find(['%', '#', ':']).unwrap_or(inner.len());
            let operator = inner[split..]
                .chars()
                .next()
                .map(|operator| (operator, inner[split + 1..].to_owned()));
            pieces.push(Piece::Variable {
                name: inner[..split].to_owned(),
                operator,
                quoted,
            });
            Ok(end + 1)
        }
        Some(c) if c.is_ascii_alphabetic() || c == '_' => {
            let length = chars[at + 1..]
                .iter()
                .take_while(|c| c.is_ascii_alphanumeric() || **c == '_')
                .count();
            pieces.push(Piece::Variable {
                name: chars[at + 1..at + 1 + length].iter().collect(),
                operator: None,
                quoted,
            });
            Ok(at + 1 + length)
        }
        Some(c @ ('?' | '#' | '@' | '*' | '!' | '$' | '0'..='9')) => {
            pieces.push(Piece::Variable {
                name: c.to_string(),
                operator: None,
                quoted,
            });
            Ok(at + 2)
        }
        Some(_) | None => {
            pieces.push(Piece::Text("$".into(), quoted));
            Ok(at + 1)
        }
    }
}

/// The parenthesis that closes the one at `open`, quotes respected.
fn closing(chars: &[char], open: usize) -> Result<usize, String> {
    let (mut depth, mut at) = (0u32, open);
    while let Some(c) = chars.get(at) {
        match c {
            '(' => depth += 1,
            ')' => {
                depth -= 1;
                if depth == 0 {
                    return Ok(at);
                }
            }
            '\'' | '"' => {
                let length = chars[at + 1..]
                    .iter()
                    .position(|other| other == c)
                    .ok_or("Unterminated quoted string")?;
                at += length + 1;
            }
            '\\' => at += 1,
            _ => {}
        }
        at += 1;
    }
    Err("end of file unexpected (expecting \")\")".into())
}
