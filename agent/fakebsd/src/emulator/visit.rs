//! Programs in jails that somebody speaks with while they run: jexec(8) of cat(1), yes(1), sleep(1) and a shell, on pipes or a terminal. Everything else is through at once, as in [`Emulator::run`].
//!
//! Of a terminal there is the line discipline as far as somebody who types meets it: echo, lines, erase, ^C and ^D (termios(4)).

use std::time::Duration;

use super::Emulator;
use crate::cmd;
use crate::output::Output;

/// What yes(1) has written when nobody waits for it any more, in lines.
const YES_LINES: usize = 4096;

/// SIGHUP, SIGINT, SIGKILL and SIGTERM as exit statuses.
const HUNG_UP: i32 = 129;
const INTERRUPTED: i32 = 130;
const KILLED: i32 = 137;
const TERMINATED: i32 = 143;

/// What is said to a program that somebody speaks with.
#[derive(Clone, Copy, Debug)]
pub enum Said<'a> {
    /// Input, as typed or from a pipe.
    Input(&'a [u8]),
    /// No more input.
    End,
    /// The terminal has so many rows and columns.
    Window(u16, u16),
    /// Nobody is there any more.
    HangUp,
    /// Nothing: time has passed.
    Nothing,
}

/// What it answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Standard output, or the terminal.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// The exit status, once it has ended.
    pub status: Option<i32>,
    /// It goes on writing without being spoken to.
    pub is_busy: bool,
}

/// One that goes on.
#[derive(Clone, Debug)]
pub(super) struct Visit {
    jid: i32,
    argv: Vec<String>,
    /// Rows and columns.
    terminal: Option<(u16, u16)>,
    /// What was typed of a line.
    line: Vec<u8>,
    /// A shell that has not shown its first prompt.
    is_new: bool,
    program: Program,
}

#[derive(Clone, Debug)]
enum Program {
    Cat,
    Yes,
    /// Until then, in virtual time.
    Sleep(Duration),
    /// Reads commands.
    Shell(Vec<u8>),
    /// Reads all of its input before it runs.
    Reading(Vec<u8>),
    /// Has run already.
    Ended(Output),
}

impl Emulator {
    /// Starts a command that somebody speaks with; `terminal`: the rows and columns of its terminal. What it says comes with the first answer of [`Emulator::talk`].
    pub fn visit(&mut self, argv: &[String], terminal: Option<(u16, u16)>) -> u32 {
        let inside = inside(argv);
        let jid = inside.as_ref().and_then(|(which, _)| {
            let jail = self.kernel.find_jail(0, which);
            jail.map(|jail| jail.jid)
        });
        let command = inside.map(|(_, command)| command).unwrap_or_default();
        let program = match jid {
            Some(_) => self.program(command, argv, terminal),
            None => Program::Ended(self.run(argv, "")),
        };
        let pid = self
            .kernel
            .spawn(jid.unwrap_or_default(), &command.join(" "), true, None);
        self.visits.insert(
            pid,
            Visit {
                jid: jid.unwrap_or_default(),
                argv: argv.to_vec(),
                terminal,
                line: Vec::new(),
                is_new: terminal.is_some() && matches!(program, Program::Shell(_)),
                program,
            },
        );
        pid
    }

    fn program(
        &mut self,
        command: &[String],
        argv: &[String],
        terminal: Option<(u16, u16)>,
    ) -> Program {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let name = words
            .first()
            .map_or("", |word| word.rsplit('/').next().unwrap_or(word));
        match (name, &words[1.min(words.len())..]) {
            ("cat", []) => Program::Cat,
            ("yes", []) => Program::Yes,
            ("sleep", [seconds]) => {
                let seconds = seconds.parse().unwrap_or_default();
                Program::Sleep(self.kernel.now + Duration::from_secs(seconds))
            }
            ("sh" | "", []) | ("login", ["-f", _]) => Program::Shell(Vec::new()),
            ("sh", ["-c", script, ..])
                if script
                    .split(|c: char| !c.is_alphanumeric())
                    .any(|word| matches!(word, "cat" | "read")) =>
            {
                Program::Reading(Vec::new())
            }
            ("stty", ["size"]) | ("sh", ["-c", "stty size"]) => Program::Ended(stty(terminal)),
            _ => Program::Ended(self.run(argv, "")),
        }
    }

    /// Says something to a program, and hears what it says; one that is not there was killed.
    pub fn talk(&mut self, pid: u32, said: Said<'_>) -> Heard {
        let Some(mut visit) = self.visits.remove(&pid) else {
            return ended(KILLED);
        };
        if !self.kernel.has_process(pid) {
            let gone = self.kernel.jail(visit.jid).is_none_or(|jail| jail.dying);
            return ended(if gone { KILLED } else { TERMINATED });
        }
        let mut heard = if std::mem::take(&mut visit.is_new) {
            prompt()
        } else {
            Heard::default()
        };
        let answer = self.answer(&mut visit, said);
        heard.stdout.extend(answer.stdout);
        heard.stderr.extend(answer.stderr);
        heard.status = answer.status;
        if visit.terminal.is_some() {
            heard.stdout.append(&mut heard.stderr);
            heard.stdout = shown(&heard.stdout);
        }
        if heard.status.is_some() {
            self.kernel.process_exits(pid);
        } else {
            heard.is_busy = matches!(visit.program, Program::Yes);
            self.visits.insert(pid, visit);
        }
        heard
    }

    fn answer(&mut self, visit: &mut Visit, said: Said<'_>) -> Heard {
        match said {
            Said::HangUp => ended(HUNG_UP),
            Said::Window(rows, columns) => {
                visit.terminal = visit.terminal.map(|_| (rows, columns));
                Heard::default()
            }
            Said::Input(bytes) if visit.terminal.is_some() => self.typed(visit, bytes),
            Said::Input(bytes) => self.input(visit, bytes),
            Said::End => self.end(visit),
            Said::Nothing => match &mut visit.program {
                Program::Ended(output) => heard(std::mem::take(output)),
                Program::Yes => Heard {
                    stdout: b"y\n".repeat(YES_LINES),
                    ..Heard::default()
                },
                Program::Sleep(until) if *until <= self.kernel.now => ended(0),
                Program::Cat | Program::Sleep(_) | Program::Shell(_) | Program::Reading(_) => {
                    Heard::default()
                }
            },
        }
    }

    /// What the line discipline makes of what is typed.
    fn typed(&mut self, visit: &mut Visit, bytes: &[u8]) -> Heard {
        let mut all = Heard::default();
        for byte in bytes {
            let heard = match byte {
                0x03 => {
                    visit.line.clear();
                    all.stdout.extend_from_slice(b"^C\n");
                    if matches!(visit.program, Program::Shell(_)) {
                        prompt()
                    } else {
                        ended(INTERRUPTED)
                    }
                }
                0x04 if visit.line.is_empty() => self.end(visit),
                0x04 => {
                    let line = std::mem::take(&mut visit.line);
                    self.input(visit, &line)
                }
                0x7f => {
                    if visit.line.pop().is_some() {
                        all.stdout.extend_from_slice(b"\x08 \x08");
                    }
                    continue;
                }
                b'\r' | b'\n' => {
                    all.stdout.push(b'\n');
                    let mut line = std::mem::take(&mut visit.line);
                    line.push(b'\n');
                    self.input(visit, &line)
                }
                byte => {
                    all.stdout.push(*byte);
                    visit.line.push(*byte);
                    continue;
                }
            };
            all.stdout.extend(heard.stdout);
            all.stdout.extend(heard.stderr);
            all.status = heard.status;
            if all.status.is_some() {
                break;
            }
        }
        all
    }

    fn input(&mut self, visit: &mut Visit, bytes: &[u8]) -> Heard {
        match &mut visit.program {
            Program::Cat => Heard {
                stdout: bytes.to_vec(),
                ..Heard::default()
            },
            Program::Reading(all) => {
                all.extend_from_slice(bytes);
                Heard::default()
            }
            Program::Shell(read) => {
                read.extend_from_slice(bytes);
                let mut all = Heard::default();
                while let Program::Shell(read) = &mut visit.program
                    && let Some(end) = read.iter().position(|byte| *byte == b'\n')
                {
                    let line: Vec<u8> = read.drain(..=end).collect();
                    let heard = self.line(visit, String::from_utf8_lossy(&line).trim());
                    all.stdout.extend(heard.stdout);
                    all.stderr.extend(heard.stderr);
                    all.status = heard.status;
                    if all.status.is_some() {
                        return all;
                    }
                }
                all
            }
            // They do not read.
            Program::Yes | Program::Sleep(_) | Program::Ended(_) => Heard::default(),
        }
    }

    /// A line of a shell.
    fn line(&mut self, visit: &Visit, line: &str) -> Heard {
        if let Some(rest) = line.strip_prefix("exit") {
            return ended(rest.trim().parse().unwrap_or(0));
        }
        let mut heard = if line == "stty size" {
            heard(stty(visit.terminal))
        } else if line.is_empty() {
            Heard::default()
        } else {
            let at = visit.argv.iter().position(|word| is_shell(word));
            let mut argv = visit.argv[..at.unwrap_or(visit.argv.len())].to_vec();
            argv.extend(["sh", "-c", line].map(str::to_owned));
            heard(self.run(&argv, ""))
        };
        heard.status = None;
        if visit.terminal.is_some() {
            heard.stdout.append(&mut heard.stderr);
            heard.stdout.extend(prompt().stdout);
        }
        heard
    }

    fn end(&mut self, visit: &mut Visit) -> Heard {
        match &mut visit.program {
            Program::Cat | Program::Shell(_) => ended(0),
            Program::Reading(all) => {
                let text = String::from_utf8_lossy(all).into_owned();
                heard(self.run(&visit.argv.clone(), &text))
            }
            Program::Yes | Program::Sleep(_) => Heard::default(),
            Program::Ended(output) => heard(std::mem::take(output)),
        }
    }
}

/// The jail and the command of jexec(8), which may stand behind setfib(1).
fn inside(argv: &[String]) -> Option<(&str, &[String])> {
    let is = |word: &String, name: &str| word.rsplit('/').next() == Some(name);
    let mut words = argv;
    if words.first().is_some_and(|word| is(word, "setfib")) {
        words = words.get(2..)?;
    }
    let (first, mut words) = words.split_first()?;
    if !is(first, "jexec") {
        return None;
    }
    while let Some((word, rest)) = words.split_first() {
        match word.as_str() {
            "-l" => words = rest,
            "-d" | "-u" | "-U" => words = rest.get(1..)?,
            _ => return Some((word, rest)),
        }
    }
    None
}

fn is_shell(word: &str) -> bool {
    matches!(word.rsplit('/').next(), Some("sh" | "login"))
}

fn stty(terminal: Option<(u16, u16)>) -> Output {
    match terminal {
        Some((rows, columns)) => {
            let mut output = Output::success();
            output.line(format!("{rows} {columns}"));
            output
        }
        None => Output::failure(1, "stty: stdin isn't a terminal"),
    }
}

fn prompt() -> Heard {
    Heard {
        stdout: b"# ".to_vec(),
        ..Heard::default()
    }
}

fn ended(status: i32) -> Heard {
    Heard {
        status: Some(status),
        ..Heard::default()
    }
}

fn heard(output: Output) -> Heard {
    let status = if output.status == cmd::NO_PROGRAM {
        127
    } else {
        output.status
    };
    Heard {
        stdout: output.stdout.into_bytes(),
        stderr: output.stderr.into_bytes(),
        status: Some(status),
        is_busy: false,
    }
}

/// Output as a terminal shows it (ONLCR, termios(4)).
fn shown(bytes: &[u8]) -> Vec<u8> {
    let mut shown = Vec::with_capacity(bytes.len());
    for byte in bytes {
        if *byte == b'\n' {
            shown.push(b'\r');
        }
        shown.push(*byte);
    }
    shown
}

#[cfg(test)]
mod tests;
