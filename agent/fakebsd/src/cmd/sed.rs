//! sed(1): one `s` command over basic regular expressions, with which scripts cut values out of other programs' output.

use crate::output::Output;

/// An element of a basic regular expression.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Atom {
    Any,
    Literal(char),
    /// A bracket expression: ranges, and whether it is negated.
    Class(Vec<(char, char)>, bool),
    Open,
    Close,
    Start,
    End,
}

/// An element with its repetition: at least, at most.
type Element = (Atom, usize, usize);

fn compile(pattern: &str) -> Vec<Element> {
    let chars: Vec<char> = pattern.chars().collect();
    let mut elements: Vec<Element> = Vec::new();
    let mut at = 0;
    while let Some(c) = chars.get(at).copied() {
        at += 1;
        let atom = match c {
            '.' => Atom::Any,
            '^' if at == 1 => Atom::Start,
            '$' if at == chars.len() => Atom::End,
            '*' if !elements.is_empty() => {
                if let Some(last) = elements.last_mut() {
                    (last.1, last.2) = (0, usize::MAX);
                }
                continue;
            }
            '[' => {
                let (class, next) = class(&chars, at);
                at = next;
                class
            }
            '\\' => {
                let escaped = chars.get(at).copied().unwrap_or('\\');
                at += 1;
                match escaped {
                    '(' => Atom::Open,
                    ')' => Atom::Close,
                    '{' => {
                        let bounds: String =
                            chars[at..].iter().take_while(|c| **c != '\\').collect();
                        at += bounds.len() + 2;
                        let (low, high) = bounds.split_once(',').unwrap_or((&bounds, &bounds));
                        if let Some(last) = elements.last_mut() {
                            (last.1, last.2) =
                                (low.parse().unwrap_or(0), high.parse().unwrap_or(usize::MAX));
                        }
                        continue;
                    }
                    other => Atom::Literal(other),
                }
            }
            c => Atom::Literal(c),
        };
        elements.push((atom, 1, 1));
    }
    elements
}

/// The bracket expression that begins at `at`, and where it ends.
fn class(chars: &[char], mut at: usize) -> (Atom, usize) {
    let negated = chars.get(at) == Some(&'^');
    at += usize::from(negated);
    let mut ranges = Vec::new();
    let begin = at;
    while let Some(c) = chars.get(at).copied() {
        if c == ']' && at > begin {
            at += 1;
            break;
        }
        match (chars.get(at + 1), chars.get(at + 2).copied()) {
            (Some('-'), Some(high)) if high != ']' => {
                ranges.push((c, high));
                at += 3;
            }
            _ => {
                ranges.push((c, c));
                at += 1;
            }
        }
    }
    (Atom::Class(ranges, negated), at)
}

impl Atom {
    fn takes(&self, c: char) -> bool {
        match self {
            Self::Any => true,
            Self::Literal(literal) => *literal == c,
            Self::Class(ranges, negated) => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated
            }
            Self::Open | Self::Close | Self::Start | Self::End => false,
        }
    }
}

/// Where groups begin and end, in the order of their parentheses.
type Groups = Vec<(usize, usize)>;

/// Matches the elements from `at`; greedy, with backtracking. Returns the end.
fn matches(
    elements: &[Element],
    text: &[char],
    at: usize,
    groups: &mut Groups,
    open: &mut Vec<usize>,
) -> Option<usize> {
    let Some(((atom, low, high), rest)) = elements.split_first() else {
        return Some(at);
    };
    match atom {
        Atom::Start => (at == 0)
            .then(|| matches(rest, text, at, groups, open))
            .flatten(),
        Atom::End => (at == text.len())
            .then(|| matches(rest, text, at, groups, open))
            .flatten(),
        Atom::Open => {
            groups.push((at, at));
            open.push(groups.len() - 1);
            let end = matches(rest, text, at, groups, open);
            if end.is_none() {
                groups.pop();
                open.pop();
            }
            end
        }
        Atom::Close => {
            let group = open.pop()?;
            groups[group].1 = at;
            let end = matches(rest, text, at, groups, open);
            if end.is_none() {
                open.push(group);
            }
            end
        }
        Atom::Any | Atom::Literal(_) | Atom::Class(..) => {
            let longest = text[at..]
                .iter()
                .take(*high)
                .take_while(|c| atom.takes(**c))
                .count();
            (*low..=longest)
                .rev()
                .find_map(|count| matches(rest, text, at + count, groups, open))
        }
    }
}

/// Replaces in one line; returns the line and whether anything was replaced.
fn replace(
    elements: &[Element],
    replacement: &str,
    everywhere: bool,
    line: &str,
) -> (String, bool) {
    let text: Vec<char> = line.chars().collect();
    let mut out = String::new();
    let (mut at, mut changed) = (0, false);
    while at <= text.len() {
        let mut groups = Groups::new();
        match matches(elements, &text, at, &mut groups, &mut Vec::new())
            .filter(|_| everywhere || !changed)
        {
            Some(end) => {
                let whole: String = text[at..end].iter().collect();
                out.push_str(&filled(replacement, &whole, &groups, &text));
                changed = true;
                if end == at {
                    out.extend(text.get(at));
                    at += 1;
                } else {
                    at = end;
                }
            }
            None => {
                out.extend(text.get(at));
                at += 1;
            }
        }
    }
    (out, changed)
}

fn filled(replacement: &str, whole: &str, groups: &Groups, text: &[char]) -> String {
    let mut out = String::new();
    let mut chars = replacement.chars();
    while let Some(c) = chars.next() {
        match c {
            '&' => out.push_str(whole),
            '\\' => match chars.next() {
                Some(digit @ '1'..='9') => {
                    if let Some((from, to)) = groups.get(digit as usize - '1' as usize) {
                        out.extend(&text[*from..*to]);
                    }
                }
                Some(other) => out.push(other),
                None => {}
            },
            c => out.push(c),
        }
    }
    out
}

/// `sed [-n] s/pattern/replacement/[gp]` over standard input.
pub(crate) fn run(arguments: &[String], stdin: &str) -> Output {
    let quiet = arguments.iter().any(|word| word == "-n");
    let Some(script) = arguments.iter().find(|word| !word.starts_with('-')) else {
        return Output::failure(1, "usage: sed script [file ...]");
    };
    let mut chars = script.chars();
    let (Some('s'), Some(delimiter)) = (chars.next(), chars.next()) else {
        return Output::failure(1, format!("sed: 1: \"{script}\": invalid command code"));
    };
    let mut parts = vec![String::new()];
    let mut escaped = false;
    for c in chars {
        if c == delimiter && !escaped {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            if c == delimiter && escaped {
                part.pop();
            }
            part.push(c);
        }
        escaped = c == '\\' && !escaped;
    }
    let [pattern, replacement, flags] = parts.as_slice() else {
        return Output::failure(
            1,
            format!("sed: 1: \"{script}\": unterminated substitute pattern"),
        );
    };
    let elements = compile(pattern);
    let mut output = Output::success();
    for line in stdin.lines() {
        let (line, changed) = replace(&elements, replacement, flags.contains('g'), line);
        if !quiet || (changed && flags.contains('p')) {
            output.line(line);
        }
    }
    output
}
