//! Programs that go on while their caller does other things: a jail(8) whose hooks take their time. A program lives on when its caller dies, until it ends, is killed, or the host is rebooted.

use std::time::Duration;

use super::Emulator;
use crate::cmd::jail::Parked;
use crate::output::Output;

/// How a program began.
#[derive(Debug)]
pub enum Started {
    /// It has ended already.
    Ended(Output),
    /// It goes on, under this pid.
    Running(u32),
}

/// A program that goes on, or has ended and is not waited for yet.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    /// Its command line, as ps(1) shows it.
    pub(crate) line: String,
    /// Where its standard error goes.
    stderr: Option<String>,
    state: State,
}

impl Process {
    /// Whether it has not ended.
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.state, State::Waits(_) | State::Works { .. })
    }
}

#[derive(Clone, Debug)]
enum State {
    Waits(Box<Parked>),
    /// A slow program, whose whole effect is there at its end.
    Works {
        wakes: Duration,
        argv: Vec<String>,
    },
    Ended(Output),
}

impl Emulator {
    /// Starts one command. Only jail(8) with a hook that is `sleep` itself, and programs that are [`Emulator::slow`], go on; everything else is through at once, as in [`Emulator::run`].
    ///
    /// `line` is its command line as ps(1) shows it. Its standard error goes to the file `stderr`, which is there and empty when this returns, and to its output.
    pub fn start(&mut self, argv: &[String], line: &str, stderr: Option<&str>) -> Started {
        if let Some(path) = stderr {
            // A file that cannot be written gets nothing; the caller has the output all the same.
            let _ = self.files.write(path, "");
        }
        let program = argv.first().map_or("", String::as_str);
        if let Some(span) = self.slow.get(program) {
            let state = State::Works {
                wakes: self.kernel.now + *span,
                argv: argv.to_vec(),
            };
            return self.put_aside(line, stderr, state);
        }
        self.parks = true;
        let output = self.run(argv, "");
        self.parks = false;
        let state = match self.parked.take() {
            Some(parked) => State::Waits(Box::new(parked)),
            None => {
                write_error(self, stderr, &output);
                return Started::Ended(output);
            }
        };
        self.put_aside(line, stderr, state)
    }

    fn put_aside(&mut self, line: &str, stderr: Option<&str>, state: State) -> Started {
        self.kernel.last_pid += 1;
        let pid = self.kernel.last_pid;
        self.background.insert(
            pid,
            Process {
                line: line.to_owned(),
                stderr: stderr.map(str::to_owned),
                state,
            },
        );
        Started::Running(pid)
    }

    /// What a program left behind that was started, once it has ended; then it is forgotten. One that is not there was killed.
    pub fn wait(&mut self, pid: u32) -> Option<Output> {
        let Some(process) = self.background.remove(&pid) else {
            return Some(Output::failure(137, ""));
        };
        match process.state {
            State::Ended(output) => Some(output),
            State::Waits(_) | State::Works { .. } => {
                self.background.insert(pid, process);
                None
            }
        }
    }

    /// Kills every program that goes on. What it has done so far stays done.
    pub fn kill_all(&mut self) {
        self.background.clear();
    }

    /// Likewise one of them.
    pub fn kill(&mut self, pid: u32) {
        self.background.remove(&pid);
        self.kernel.process_exits(pid);
    }

    /// Lets everything go on that wakes until then, in its order.
    pub(super) fn wake_until(&mut self, until: Duration) {
        loop {
            let waiting =
                self.background
                    .iter()
                    .filter_map(|(pid, process)| match &process.state {
                        State::Waits(parked) => Some((parked.wakes(), *pid)),
                        State::Works { wakes, .. } => Some((*wakes, *pid)),
                        State::Ended(_) => None,
                    });
            let Some((wakes, pid)) = waiting.min().filter(|(wakes, _)| *wakes <= until) else {
                return;
            };
            self.kernel.advance(wakes.saturating_sub(self.kernel.now));
            self.go_on(pid);
        }
    }

    fn go_on(&mut self, pid: u32) {
        let Some(process) = self.background.remove(&pid) else {
            return;
        };
        let Process {
            line,
            stderr,
            state,
        } = process;
        let parked = match state {
            State::Waits(parked) => parked,
            State::Works { argv, .. } => {
                let output = self.run(&argv, "");
                write_error(self, stderr.as_deref(), &output);
                let state = State::Ended(output);
                self.background.insert(
                    pid,
                    Process {
                        line,
                        stderr,
                        state,
                    },
                );
                return;
            }
            State::Ended(_) => return,
        };
        self.parks = true;
        let ended = parked.go_on(self);
        self.parks = false;
        let state = match (ended, self.parked.take()) {
            (_, Some(parked)) => State::Waits(Box::new(parked)),
            (ended, None) => {
                let output = ended.unwrap_or_default();
                write_error(self, stderr.as_deref(), &output);
                State::Ended(output)
            }
        };
        self.background.insert(
            pid,
            Process {
                line,
                stderr,
                state,
            },
        );
    }
}

fn write_error(host: &mut Emulator, path: Option<&str>, output: &Output) {
    if let Some(path) = path {
        // Likewise.
        let _ = host.files.append(path, &output.stderr);
    }
}
