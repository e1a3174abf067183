//! What was rendered as text: comments, and commands that could be pasted. Nobody here pastes them.

use std::fmt::Write as _;

use cellblock_agent_core::names::ANCHOR_ROOT;
use cellblock_agent_core::observed::AnchorReference;

use super::rehearse::Told;
use super::{Action, OwnRules, Page, Rendered, Section, Shown, name_of};

/// How wide comments are, but for words that are wider.
const COLUMNS: usize = 78;

/// The end of a text for standard input.
const END: &str = "EOF";

/// The lines that pf.conf must have.
pub(super) fn pf_conf() -> impl Iterator<Item = String> {
    let references = AnchorReference::ALL.into_iter();
    references.map(|reference| format!("{} \"{ANCHOR_ROOT}/*\"", reference.keyword()))
}

/// Everything.
pub(super) fn text(rendered: &Rendered) -> String {
    let mut pages: Vec<String> = rendered.pages.iter().map(page).collect();
    if !rendered.told.is_empty() {
        let mut text = String::new();
        for told in &rendered.told {
            comment(&mut text, &sentence(told));
        }
        pages.push(text);
    }
    pages.join("\n")
}

fn page(page: &Page) -> String {
    let mut text = String::new();
    head(&mut text, page);
    for told in &page.told {
        comment(&mut text, &sentence(told));
    }
    let mut shown = page.shown.iter().peekable();
    while let Some(first) = shown.peek() {
        let section = first.entry.section;
        let mut of_section: Vec<&Shown> = Vec::new();
        while let Some(next) = shown.next_if(|next| next.entry.section == section) {
            of_section.push(next);
        }
        if section != Section::Jail {
            write(&mut text, format_args!("\n# ==== {}\n", section.name()));
        }
        match section {
            Section::Pf => pf(&mut text, &of_section),
            Section::Jail => jails(&mut text, &of_section),
            // These commands name themselves what they are for.
            Section::Kernel => actions(&mut text, &of_section),
            Section::Interfaces | Section::Netgraph | Section::Routes | Section::Files => {
                parts(&mut text, &of_section);
            }
        }
    }
    text
}

fn head(text: &mut String, page: &Page) {
    let Page {
        host,
        release,
        machine,
        ..
    } = page;
    comment(text, &format!("Host {host}, FreeBSD {release}: {machine}"));
    if page.is_declared {
        comment(
            text,
            "No agent has told of this machine: the interfaces are those of the Host's uplinks, with prefix lengths and a release that are taken for granted.",
        );
    }
    if page.is_offline {
        comment(
            text,
            "No controller was asked: the names of interfaces and anchors, marks, labels and MAC addresses come from uids, and are others in a cluster.",
        );
    }
    if !page.shown.is_empty() {
        comment(
            text,
            "Taken for done: pf is enabled, the host forwards (unless the Host declares these sysctls), the jails' roots, their devfs rulesets and the agent's folder are there.",
        );
    }
}

/// `jail/www: blocked (NameUnknown): …`
fn sentence(told: &Told) -> String {
    let Told {
        word,
        reason,
        message,
        ..
    } = told;
    let of = name_of(&told.of);
    if reason.is_empty() {
        format!("{of}: {message}")
    } else {
        format!("{of}: {word} ({reason}): {message}")
    }
}

fn actions(text: &mut String, shown: &[&Shown]) {
    for action in shown.iter().flat_map(|shown| &shown.entry.actions) {
        show(text, action);
    }
}

/// Each thing under what it is for.
fn parts(text: &mut String, shown: &[&Shown]) {
    let mut about = None;
    for shown in shown {
        if about != Some(&shown.entry.about) {
            comment(text, &shown.entry.about);
            about = Some(&shown.entry.about);
        }
        for action in &shown.entry.actions {
            show(text, action);
        }
    }
}

fn pf(text: &mut String, shown: &[&Shown]) {
    comment(
        text,
        "In /etc/pf.conf, the first three before the filter rules, the last before any `quick` rule:",
    );
    for line in pf_conf() {
        write(text, format_args!("#   {line}\n"));
    }
    comment(
        text,
        "The last rule of each anchor matches nothing: its label says what is loaded.",
    );
    for shown in shown {
        text.push('\n');
        match &shown.own {
            Some(own) => own_rules(text, own),
            None => parts(text, &[shown]),
        }
    }
}

/// Rules that must not be loaded alone stand in comments.
fn own_rules(text: &mut String, own: &OwnRules) {
    let OwnRules {
        anchor,
        rules,
        others,
    } = own;
    let word = if others.len() == 1 { "jail" } else { "jails" };
    comment(
        text,
        &format!(
            "in anchor {anchor}, with the rules of {word} {}, without which it must not be loaded (`jailctl render host/…` shows all of it):",
            others.join(", ")
        ),
    );
    for line in rules.lines() {
        write(text, format_args!("#   {line}\n"));
    }
}

fn jails(text: &mut String, shown: &[&Shown]) {
    let mut about = None;
    for shown in shown {
        if about != Some(&shown.entry.about) {
            write(text, format_args!("\n# ==== {}\n", shown.entry.about));
            about = Some(&shown.entry.about);
        }
        for action in &shown.entry.actions {
            show(text, action);
        }
    }
}

fn show(text: &mut String, action: &Action) {
    match action {
        Action::Run { argv, stdin: input } => {
            let words: Vec<String> = argv.iter().map(|word| quoted(word)).collect();
            let line = words.join(" ");
            match input {
                Some(input) => stdin(text, &line, input),
                None => write(text, format_args!("{line}\n")),
            }
        }
        Action::Write { path, content } => {
            stdin(text, &format!("cat > {}", quoted(path)), content);
        }
        Action::Wait { message } => comment(text, &format!("Wait: {message}")),
    }
}

/// A command with what it reads.
fn stdin(text: &mut String, line: &str, content: &str) {
    let mut end = END.to_owned();
    while content.lines().any(|line| line == end) {
        end.push('_');
    }
    let newline = if content.is_empty() || content.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    write(
        text,
        format_args!("{line} <<'{end}'\n{content}{newline}{end}\n"),
    );
}

/// A comment, in as many lines as the words have and as fit.
fn comment(text: &mut String, words: &str) {
    for line in words.lines() {
        let mut width = COLUMNS;
        for word in line.split(' ') {
            let needed = word.chars().count() + 1;
            if width + needed > COLUMNS {
                let newline = if width == COLUMNS { "#" } else { "\n#" };
                text.push_str(newline);
                width = 1;
            }
            text.push(' ');
            text.push_str(word);
            width += needed;
        }
        text.push('\n');
    }
}

fn write(text: &mut String, words: std::fmt::Arguments<'_>) {
    let written = text.write_fmt(words);
    written.expect("writing to a String cannot fail");
}

/// A word as sh(1) takes it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests;
