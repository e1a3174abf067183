//! sh(1), as much of it as hooks and test set-ups need: lists, pipelines, redirections, variables, command substitution, `if`,
//! `while`, `for`, a few builtins. What it does not know ends with a syntax error, never with silence.
//!
//! A background job runs at once and to its end, but the time it takes does not pass for the others ([`Emulator::detached`]).

mod expand;
mod grammar;
mod lexer;

use std::time::Duration;

use super::{Context, NO_PROGRAM, TIMED_OUT, run_in};
use crate::emulator::Emulator;
use crate::output::Output;
use grammar::{Command, List, Pipeline, Redirect, Target};

/// Loops end after this many rounds: an emulated script waits for virtual time, so more means it waits for nothing.
const ROUNDS_MAX: u32 = 1_000;

/// `sh -c 'script'`
pub(crate) fn run(
    host: &mut Emulator,
    context: &Context,
    arguments: &[String],
    stdin: &str,
) -> Output {
    let script = match arguments {
        [flag, script, ..] if flag.starts_with('-') && flag.ends_with('c') => script.clone(),
        [file, ..] => match host.files.read_text(file) {
            Ok(text) => text,
            // The rc scripts of a base system are there in every root and have nothing to do in an emulated one.
            Err(_) if matches!(file.as_str(), "/etc/rc" | "/etc/rc.shutdown") => {
                return Output::success();
            }
            Err(error) => return Output::failure(127, format!("sh: {file}: {error}")),
        },
        [] => stdin.to_owned(),
    };
    let list = match grammar::parse(&script) {
        Ok(list) => list,
        Err(reason) => return Output::failure(2, format!("sh: Syntax error: {reason}")),
    };
    let mut shell = Shell {
        host,
        context: context.clone(),
        variables: context.environment.clone(),
        flow: Flow::Go,
        trap_term: false,
    };
    shell.list(&list, stdin)
}

/// How the script goes on after a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Go,
    Break,
    Exit,
}

/// A running shell.
pub(super) struct Shell<'a> {
    host: &'a mut Emulator,
    context: Context,
    variables: Vec<(String, String)>,
    flow: Flow,
    /// A `trap` on TERM was set: the shell outlives SIGTERM.
    trap_term: bool,
}

impl Shell<'_> {
    fn variable(&self, name: &str) -> String {
        self.variables
            .iter()
            .rev()
            .find(|(at, _)| at == name)
            .map(|(_, value)| value.clone())
            .unwrap_or_default()
    }

    fn set(&mut self, name: &str, value: String) {
        match self.variables.iter_mut().find(|(at, _)| at == name) {
            Some((_, old)) => *old = value,
            None => self.variables.push((name.to_owned(), value)),
        }
    }

    fn list(&mut self, list: &List, stdin: &str) -> Output {
        let mut output = Output::success();
        for (pipeline, background) in &list.0 {
            if self.flow != Flow::Go {
                break;
            }
            if *background {
                let mut job = self.detached(|shell| shell.and_or(pipeline, stdin));
                job.status = 0;
                output.absorb(job);
            } else {
                output.absorb(self.and_or(pipeline, stdin));
            }
            if output.status == TIMED_OUT {
                break;
            }
        }
        output
    }

    /// Runs `work` beside the script: its time does not pass for anybody else.
    fn detached(&mut self, work: impl FnOnce(&mut Self) -> Output) -> Output {
        let before = self.host.detached;
        self.host.detached = Some(Duration::ZERO);
        let output = work(self);
        self.host.detached = before;
        self.flow = Flow::Go;
        output
    }

    fn and_or(&mut self, chain: &[(bool, Pipeline)], stdin: &str) -> Output {
        let mut output = Output::success();
        for (place, (wants_success, pipeline)) in chain.iter().enumerate() {
            if place > 0 && (output.status == 0) != *wants_success {
                continue;
            }
            output.absorb(self.pipeline(pipeline, stdin));
            if self.flow != Flow::Go || output.status == TIMED_OUT {
                break;
            }
        }
        output
    }

    /// Stages run one after the other; how long the earlier ones take is how long the last one's input stays open.
    fn pipeline(&mut self, pipeline: &Pipeline, stdin: &str) -> Output {
        let mut input = stdin.to_owned();
        let mut errors = String::new();
        let last = pipeline.stages.len() - 1;
        let mut status = 0;
        for (place, stage) in pipeline.stages.iter().enumerate() {
            let mut output = self.command(stage, &input);
            errors.push_str(&output.stderr);
            status = output.status;
            input = std::mem::take(&mut output.stdout);
            if place < last && self.flow == Flow::Exit {
                self.flow = Flow::Go;
            }
        }
        if pipeline.negated {
            status = i32::from(status == 0);
        }
        Output {
            status,
            stdout: input,
            stderr: errors,
        }
    }

    fn command(&mut self, command: &Command, stdin: &str) -> Output {
        match command {
            Command::Simple {
                assignments,
                words,
                redirects,
            } => self.simple(assignments, words, redirects, stdin),
            Command::Group(list, redirects) => {
                let output = self.list(list, stdin);
                self.redirect(output, redirects)
            }
            Command::Subshell(list, redirects) => {
                let (variables, flow) = (self.variables.clone(), self.flow);
                let output = self.list(list, stdin);
                (self.variables, self.flow) = (variables, flow);
                self.redirect(output, redirects)
            }
            Command::If {
                branches,
                otherwise,
            } => self.branch(branches, otherwise.as_ref(), stdin),
            Command::While {
                condition,
                body,
                until,
            } => self.repeat(condition, body, *until, stdin),
            Command::For { name, words, body } => self.each(name, words, body, stdin),
        }
    }

    fn branch(
        &mut self,
        branches: &[(List, List)],
        otherwise: Option<&List>,
        stdin: &str,
    ) -> Output {
        let mut output = Output::success();
        for (condition, body) in branches {
            output.absorb(self.list(condition, stdin));
            if output.status == 0 {
                output.absorb(self.list(body, stdin));
                return output;
            }
        }
        output.status = 0;
        if let Some(body) = otherwise {
            output.absorb(self.list(body, stdin));
        }
        output
    }

    fn repeat(&mut self, condition: &List, body: &List, until: bool, stdin: &str) -> Output {
        let mut output = Output::success();
        for _ in 0..ROUNDS_MAX {
            let judged = self.list(condition, stdin);
            let goes_on = (judged.status == 0) != until;
            output.absorb(Output {
                status: 0,
                ..judged
            });
            if !goes_on || self.flow != Flow::Go {
                break;
            }
            output.absorb(self.list(body, stdin));
            if self.flow == Flow::Break {
                self.flow = Flow::Go;
                break;
            }
            if self.flow == Flow::Exit || output.status == TIMED_OUT {
                break;
            }
        }
        output
    }

    fn each(&mut self, name: &str, words: &[grammar::Word], body: &List, stdin: &str) -> Output {
        let mut output = Output::success();
        let values: Vec<String> = words.iter().flat_map(|word| self.fields(word)).collect();
        for value in values {
            self.set(name, value);
            output.absorb(self.list(body, stdin));
            if self.flow == Flow::Break {
                self.flow = Flow::Go;
                break;
            }
            if self.flow == Flow::Exit || output.status == TIMED_OUT {
                break;
            }
        }
        output
    }

    fn simple(
        &mut self,
        assignments: &[(String, grammar::Word)],
        words: &[grammar::Word],
        redirects: &[Redirect],
        stdin: &str,
    ) -> Output {
        for (name, word) in assignments {
            let value = self.fields(word).join(" ");
            self.set(name, value);
        }
        let argv: Vec<String> = words.iter().flat_map(|word| self.fields(word)).collect();
        let mut input = stdin.to_owned();
        for redirect in redirects {
            if let Target::Read(word) = &redirect.target {
                let path = self.fields(word).join(" ");
                input = self.host.files.read_text(&path).unwrap_or_default();
            }
        }
        let output = if argv.is_empty() {
            Output::success()
        } else {
            self.execute(&argv, &input)
        };
        self.redirect(output, redirects)
    }

    fn execute(&mut self, argv: &[String], stdin: &str) -> Output {
        let rest = &argv[1..];
        match argv[0].as_str() {
            ":" | "true" | "set" | "wait" | "kill" | "export" | "unset" | "cd" | "ulimit" => {
                Output::success()
            }
            "trap" => {
                self.trap_term |= rest.iter().any(|word| word == "TERM");
                Output::success()
            }
            "false" => Output {
                status: 1,
                ..Output::default()
            },
            "break" => {
                self.flow = Flow::Break;
                Output::success()
            }
            "exit" => {
                self.flow = Flow::Exit;
                Output {
                    status: rest.first().and_then(|word| word.parse().ok()).unwrap_or(0),
                    ..Output::default()
                }
            }
            "exec" if !rest.is_empty() => {
                let output = self.execute(rest, stdin);
                self.flow = Flow::Exit;
                output
            }
            _ => {
                let context = Context {
                    environment: self.variables.clone(),
                    ..self.context.clone()
                };
                let output = run_in(self.host, &context, argv, stdin);
                if output.status == NO_PROGRAM {
                    return Output::failure(127, format!("sh: {}: not found", argv[0]));
                }
                output
            }
        }
    }

    fn redirect(&mut self, mut output: Output, redirects: &[Redirect]) -> Output {
        for redirect in redirects {
            let text = match (&redirect.target, redirect.descriptor) {
                (Target::Read(_), _) => continue,
                (Target::Duplicate(2), 1) => {
                    let text = std::mem::take(&mut output.stdout);
                    output.stderr.push_str(&text);
                    continue;
                }
                (Target::Duplicate(_), 2) => {
                    let text = std::mem::take(&mut output.stderr);
                    output.stdout.push_str(&text);
                    continue;
                }
                (Target::Duplicate(_), _) => continue,
                (Target::Write(_) | Target::Append(_), 2) => std::mem::take(&mut output.stderr),
                (Target::Write(_) | Target::Append(_), _) => std::mem::take(&mut output.stdout),
            };
            let (word, appends) = match &redirect.target {
                Target::Write(word) => (word, false),
                Target::Append(word) => (word, true),
                Target::Read(_) | Target::Duplicate(_) => continue,
            };
            let path = self.fields(word).join(" ");
            if path == "/dev/null" {
                continue;
            }
            let written = super::fileutils::writable(self.host, &path).and_then(|()| {
                if appends {
                    self.host.files.append(&path, text)
                } else {
                    self.host.files.write(&path, text)
                }
            });
            if let Err(error) = written {
                output.fail(2, format!("sh: cannot create {path}: {error}"));
            }
        }
        output
    }
}
