//! pgrep(1) and pkill(1) by whole command lines (`-f`), as far as a host asks for processes of its own: `-j none`, `-u 0`, `-x`, `-l`, and patterns that are literal but for a leading `^`
//! (bin/pkill/pkill.c). Without `-f` they are among the small programs.

use super::Context;
use crate::emulator::Emulator;
use crate::output::Output;

/// What was asked for.
#[derive(Default)]
struct Options {
    full: bool,
    long: bool,
    outside_jails: bool,
    pattern: Option<String>,
}

/// Runs `program` with the words after its name.
pub(super) fn run(
    host: &mut Emulator,
    context: &Context,
    program: &str,
    arguments: &[String],
) -> Output {
    let Some(options) = parse(arguments) else {
        return Output::failure(2, format!("usage: {program} [-LSfilnoqvx] pattern ..."));
    };
    let Some((anchored, text)) = options.pattern.as_deref().and_then(literal) else {
        return Output::failure(
            2,
            format!("{program}: Cannot compile regular expression (not emulated)"),
        );
    };
    let is_meant = |line: &str| match (anchored, options.full) {
        (_, true) => line == text,
        (true, false) => line.starts_with(&text),
        (false, false) => line.contains(&text),
    };
    let inside = host.kernel.processes.iter();
    let inside = inside
        .filter(|(_, process)| {
            process.jid == context.jid || context.jid == 0 && !options.outside_jails
        })
        .map(|(pid, process)| (*pid, process.command.clone()));
    let outside = host.background.iter();
    let outside = outside.filter(|(_, process)| context.jid == 0 && process.is_running());
    let outside = outside.map(|(pid, process)| (*pid, process.line.clone()));
    let mut found: Vec<(u32, String)> = inside.chain(outside).collect();
    found.retain(|(_, line)| is_meant(line));
    let mut output = Output {
        status: i32::from(found.is_empty()),
        ..Output::default()
    };
    for (pid, line) in found {
        if program == "pkill" {
            host.kill(pid);
        } else if options.long {
            output.line(format!("{pid} {line}"));
        } else {
            output.line(pid.to_string());
        }
    }
    output
}

fn parse(arguments: &[String]) -> Option<Options> {
    let mut options = Options::default();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-f" | "-KILL" => {}
            "-l" => options.long = true,
            "-x" => options.full = true,
            "-j" => options.outside_jails = words.next()? == "none",
            "-u" => {
                // Everything that is emulated runs as root.
                words.next().filter(|user| *user == "0")?;
            }
            word if word.starts_with('-') => return None,
            pattern => options.pattern = Some(pattern.to_owned()),
        }
    }
    Some(options)
}

/// The text that a pattern stands for, and whether it must come first; none if it is more than a text.
fn literal(pattern: &str) -> Option<(bool, String)> {
    let (anchored, rest) = match pattern.strip_prefix('^') {
        Some(rest) => (true, rest),
        None => (false, pattern),
    };
    let mut text = String::new();
    let mut letters = rest.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => text.push(letters.next()?),
            '.' | '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '|' | '$' | '^' => {
                return None;
            }
            letter => text.push(letter),
        }
    }
    Some((anchored, text))
}
