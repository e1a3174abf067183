//! glob(3), as far as `.include` has it: `*`, `?`, `[…]` and `\`, one component after the other, in the order of names.

use super::include::Files;

/// Whether a name is a pattern.
pub(super) fn has_magic(path: &str) -> bool {
    path.contains(['*', '?', '[']) || path.contains('\\')
}

/// The paths that match a pattern.
pub(super) fn paths(pattern: &str, files: &dyn Files) -> Vec<String> {
    let is_absolute = pattern.starts_with('/');
    let mut found = vec![if is_absolute {
        "/".to_owned()
    } else {
        String::new()
    }];
    let components: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty()).collect();
    for (place, component) in components.iter().enumerate() {
        let is_last = place + 1 == components.len();
        let mut next = Vec::new();
        for folder in found {
            let below = |name: &str| match folder.as_str() {
                "" => name.to_owned(),
                "/" => format!("/{name}"),
                folder => format!("{folder}/{name}"),
            };
            if !is_last && !has_magic(component) {
                next.push(below(component));
                continue;
            }
            let within = if folder.is_empty() { "." } else { &folder };
            let mut names = files.list(within);
            names.sort();
            let pattern: Vec<char> = component.chars().collect();
            let matching = names.iter().filter(|name| {
                let is_hidden = name.starts_with('.') && !component.starts_with('.');
                let name: Vec<char> = name.chars().collect();
                !is_hidden && matches(&pattern, &name)
            });
            next.extend(matching.map(|name| below(name)));
        }
        found = next;
    }
    found
}

fn matches(pattern: &[char], name: &[char]) -> bool {
    match pattern {
        [] => name.is_empty(),
        ['*', rest @ ..] => (0..=name.len()).any(|skipped| matches(rest, &name[skipped..])),
        ['?', rest @ ..] => !name.is_empty() && matches(rest, &name[1..]),
        ['\\', literal, rest @ ..] => name.first() == Some(literal) && matches(rest, &name[1..]),
        ['[', rest @ ..] => match class(rest) {
            Some((set, is_negated, behind)) => name.first().is_some_and(|c| {
                let is_in = set.iter().any(|(low, high)| (low..=high).contains(&c));
                is_in != is_negated && matches(behind, &name[1..])
            }),
            None => name.first() == Some(&'[') && matches(rest, &name[1..]),
        },
        [literal, rest @ ..] => name.first() == Some(literal) && matches(rest, &name[1..]),
    }
}

/// Ranges of characters, whether all but these are meant, and what follows the bracket.
type Class<'a> = (Vec<(char, char)>, bool, &'a [char]);

fn class(pattern: &[char]) -> Option<Class<'_>> {
    let is_negated = matches!(pattern.first(), Some('!' | '^'));
    let mut rest = &pattern[usize::from(is_negated)..];
    let mut set = Vec::new();
    loop {
        match rest {
            [']', behind @ ..] if !set.is_empty() => return Some((set, is_negated, behind)),
            [low, '-', high, behind @ ..] if *high != ']' => {
                set.push((*low, *high));
                rest = behind;
            }
            [one, behind @ ..] => {
                set.push((*one, *one));
                rest = behind;
            }
            [] => return None,
        }
    }
}
