//! The shell's expansions: parameters, command substitution, arithmetic, field splitting.

use super::Shell;
use super::grammar::{self, Piece, Word};

impl Shell<'_> {
    /// The fields a word expands to. Unquoted results are split at blanks; a word of nothing but empty variables vanishes.
    pub(super) fn fields(&mut self, word: &Word) -> Vec<String> {
        let mut fields: Vec<String> = Vec::new();
        let mut open = false;
        for piece in &word.0 {
            let (text, quoted) = match piece {
                Piece::Text(text, quoted) => (text.clone(), *quoted || !text.is_empty()),
                Piece::Variable {
                    name,
                    operator,
                    quoted,
                } => (self.parameter(name, operator.as_ref()), *quoted),
                Piece::Substitution(script, quoted) => (self.substitute(script), *quoted),
                Piece::Arithmetic(expression) => (self.arithmetic(expression), true),
            };
            if quoted {
                extend(&mut fields, &mut open, &text);
                open = true;
                continue;
            }
            if text.starts_with(char::is_whitespace) {
                open = false;
            }
            for part in text.split_whitespace() {
                extend(&mut fields, &mut open, part);
                open = false;
            }
            open = !text.is_empty() && !text.ends_with(char::is_whitespace);
        }
        fields
    }

    fn parameter(&self, name: &str, operator: Option<&(char, String)>) -> String {
        let value = self.variable(name);
        match operator {
            Some(('%', suffix)) => value
                .strip_suffix(suffix.trim_start_matches('%'))
                .map_or(value.clone(), str::to_owned),
            Some(('#', prefix)) => value
                .strip_prefix(prefix.trim_start_matches('#'))
                .map_or(value.clone(), str::to_owned),
            Some((':', default)) if value.is_empty() => default.trim_start_matches('-').to_owned(),
            Some(_) | None => value,
        }
    }

    fn substitute(&mut self, script: &str) -> String {
        let Ok(list) = grammar::parse(script) else {
            return String::new();
        };
        let (variables, flow) = (self.variables.clone(), self.flow);
        let output = self.list(&list, "");
        (self.variables, self.flow) = (variables, flow);
        output.stdout.trim_end_matches('\n').to_owned()
    }

    /// Sums and differences, left to right; enough for the clocks that scripts keep.
    fn arithmetic(&mut self, expression: &str) -> String {
        let mut expanded = String::new();
        let mut rest = expression;
        while let Some(at) = rest.find('$') {
            expanded.push_str(&rest[..at]);
            rest = &rest[at..];
            let length = if rest.starts_with("$(") {
                let close = rest.find(')').map_or(rest.len(), |close| close + 1);
                let script = rest[2..close.max(3) - 1].to_owned();
                expanded.push_str(&self.substitute(&script));
                close
            } else {
                let length = rest[1..]
                    .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                    .map_or(rest.len(), |end| end + 1);
                expanded.push_str(&self.variable(&rest[1..length]));
                length
            };
            rest = &rest[length..];
        }
        expanded.push_str(rest);
        let (mut total, mut sign) = (0i64, 1);
        for word in expanded
            .replace('+', " + ")
            .replace('-', " - ")
            .split_whitespace()
        {
            match word {
                "+" => sign = 1,
                "-" => sign = -1,
                number => {
                    let value = number
                        .parse()
                        .unwrap_or_else(|_| self.variable(number).parse().unwrap_or(0));
                    total += sign * value;
                    sign = 1;
                }
            }
        }
        total.to_string()
    }
}

fn extend(fields: &mut Vec<String>, open: &mut bool, text: &str) {
    match fields.last_mut() {
        Some(last) if *open => last.push_str(text),
        Some(_) | None => fields.push(text.to_owned()),
    }
    *open = true;
}
