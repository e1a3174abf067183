//! A command in a jail: its streams, its terminal, its end.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use bytes::Bytes;
use cellblock_freebsd::visit::{
    self, EXECUTE_LINE_MAX, Terminal, Visit, Visited as Running, VisitedProcess, Window,
};
use cellblock_freebsd::{Command, Program, SystemError};
use cellblock_proto::v1 as wire;
use cellblock_proto::v1::visit_request::Request as Asked;
use cellblock_proto::v1::visit_response::Response as Said;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use tonic::Streaming;

use super::{Gone, Operator, PIECE_BYTES, Refused, Visited, Visits, WAITING_MAX};

/// How often a process is asked whether it has ended.
const ASK: Duration = Duration::from_millis(30);

/// How much is still read once a process has ended: more than a pipe or a terminal holds, so that a daemon that goes on writing holds nobody up.
const LEFT_BYTES_MAX: usize = 1 << 20;

/// The exit status where it cannot be known, as of a shell that is at its wits' end.
const UNKNOWN: i32 = 255;

/// The longest name of a terminal.
const TERMINAL_BYTES_MAX: usize = 64;

impl Visits {
    /// Runs a command in the jail and passes on what is said, until it has ended or nobody listens any more.
    pub(super) async fn run(
        &self,
        visited: &Visited,
        command: wire::Command,
        incoming: &mut Streaming<wire::VisitRequest>,
        operator: &Operator,
    ) -> Result<(), Refused> {
        let jid = visited.jid.clone().map_err(|message| Refused {
            reason: "JailNotRunning",
            message,
        })?;
        self.still_runs(visited, jid).await?;
        let argv = visit::command(jid, visited.fib, &command.user, &command.argv);
        let asked = Visit {
            argv,
            terminal: command.terminal.map(terminal),
        };
        let system = self.system.clone();
        let started = blocking(move || system.visit(&asked)).await;
        let running = started.map_err(|error| Refused {
            reason: "CommandFailed",
            message: describe(&error),
        })?;
        let begun = wire::Begun {
            host: String::new(),
            jid,
        };
        // Who has gone is noticed below.
        let _ = operator.say(Said::Begun(begun)).await;
        let program = command.argv.first().map_or("", String::as_str);
        if let Some(status) = talk(running, program, incoming, operator).await {
            let _ = operator.say(Said::Ended(wire::Ended { status })).await;
        }
        Ok(())
    }

    /// The jid is the last report's: since then the jail may have stopped.
    async fn still_runs(&self, visited: &Visited, jid: u32) -> Result<(), Refused> {
        let system = self.system.clone();
        let asked = Command::new(
            Program::Jls,
            ["-j".to_owned(), jid.to_string(), "name".to_owned()],
        );
        let output = blocking(move || system.run(&asked)).await;
        let name = visited.jail.jail_name();
        match output {
            Ok(output) if output.is_success() && output.stdout.trim() == name => Ok(()),
            Ok(_) => Err(Refused {
                reason: "JailNotRunning",
                message: format!("jail `{}` has just stopped", visited.jail.name),
            }),
            Err(error) => Err(Refused {
                reason: "CommandFailed",
                message: describe(&error),
            }),
        }
    }
}

fn terminal(wanted: wire::Terminal) -> Terminal {
    let is_name = |name: &str| {
        let taken = |c: char| c.is_ascii_alphanumeric() || "+-._".contains(c);
        !name.is_empty() && name.len() <= TERMINAL_BYTES_MAX && name.chars().all(taken)
    };
    Terminal {
        window: window(wanted.window.unwrap_or_default()),
        name: if is_name(&wanted.name) {
            wanted.name
        } else {
            "dumb".to_owned()
        },
    }
}

fn window(window: wire::Window) -> Window {
    Window {
        rows: u16::try_from(window.rows).unwrap_or(u16::MAX),
        columns: u16::try_from(window.columns).unwrap_or(u16::MAX),
    }
}

/// What was written first: enough to recognise that nothing was run at all.
#[derive(Default)]
struct Beginning {
    bytes: Vec<u8>,
    is_all: bool,
}

/// The exit status, or none if the operator left before; then what still runs is hung up.
async fn talk(
    running: Running,
    program: &str,
    incoming: &mut Streaming<wire::VisitRequest>,
    operator: &Operator,
) -> Option<i32> {
    let Running {
        input,
        output,
        error,
        mut process,
    } = running;
    let has_terminal = error.is_none();
    let (resized, sizes) = mpsc::channel(WAITING_MAX);
    let (ended, has_ended) = watch::channel(false);
    let (mut out, mut apart) = (Beginning::default(), Beginning::default());
    let reads = async {
        let first = read(output, Said::Output, &mut out, has_ended.clone(), operator);
        let second = async {
            match error {
                Some(error) => {
                    read(error, Said::Error, &mut apart, has_ended.clone(), operator).await
                }
                None => Ok(()),
            }
        };
        tokio::try_join!(first, second)
    };
    let ends = async { Ok(wait(process.as_mut(), sizes, &ended).await) };
    let status = tokio::select! {
        done = async { tokio::try_join!(ends, reads) } => done.ok().map(|(status, _)| status),
        () = listen(incoming, input, has_terminal, resized) => None,
        () = operator.0.closed() => None,
    }?;
    let said = if has_terminal { &out } else { &apart };
    let is_all = said.is_all && (has_terminal || out.bytes.is_empty());
    let not_executed = || visit::not_executed(program, &said.bytes);
    Some(if status == 1 && is_all {
        not_executed().unwrap_or(status)
    } else {
        status
    })
}

/// An end of a stream that can be waited for.
fn registered(end: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    #[expect(
        deprecated,
        reason = "it is unsound for types that lose or change their descriptor, which an OwnedFd does not; what takes its place is unsafe for all of them"
    )]
    AsyncFd::with_interest(end, interest)
}

/// Passes on what is written, until its end, or until the process has ended and nothing is left: a daemon that it left behind may have the stream open.
async fn read(
    from: OwnedFd,
    said: fn(Bytes) -> Said,
    beginning: &mut Beginning,
    mut has_ended: watch::Receiver<bool>,
    operator: &Operator,
) -> Result<(), Gone> {
    let mut piece = vec![0; PIECE_BYTES];
    beginning.is_all = true;
    let Ok(from) = registered(from, Interest::READABLE) else {
        return Ok(());
    };
    let mut take = async |piece: &[u8]| {
        let room = EXECUTE_LINE_MAX.saturating_sub(beginning.bytes.len());
        beginning.is_all &= piece.len() <= room;
        beginning
            .bytes
            .extend_from_slice(&piece[..piece.len().min(room)]);
        operator.say(said(Bytes::copy_from_slice(piece))).await
    };
    loop {
        let guard = tokio::select! {
            guard = from.readable() => guard,
            _ = has_ended.wait_for(|ended| *ended) => break,
        };
        let Ok(mut guard) = guard else {
            return Ok(());
        };
        match guard.try_io(|from| Ok(rustix::io::read(from, &mut piece)?)) {
            // A terminal that nobody has open any more is EIO on Linux.
            Ok(Ok(0) | Err(_)) => return Ok(()),
            Ok(Ok(length)) => take(&piece[..length]).await?,
            Err(_) => {}
        }
    }
    let mut left = LEFT_BYTES_MAX;
    while left > 0 {
        match rustix::io::read(&from, &mut piece) {
            Ok(0) | Err(_) => break,
            Ok(length) => {
                left = left.saturating_sub(length);
                take(&piece[..length]).await?;
            }
        }
    }
    Ok(())
}

/// Waits for the end of the process, and tells its terminal's size meanwhile.
async fn wait(
    process: &mut dyn VisitedProcess,
    mut sizes: mpsc::Receiver<Window>,
    ended: &watch::Sender<bool>,
) -> i32 {
    let mut ask = tokio::time::interval(ASK);
    ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ask.tick() => {
                let status = match process.try_wait() {
                    Ok(None) => continue,
                    Ok(Some(status)) => status,
                    Err(error) => {
                        tracing::warn!(%error, "a visit's process cannot be waited for");
                        UNKNOWN
                    }
                };
                ended.send_replace(true);
                return status;
            }
            Some(window) = sizes.recv() => {
                if let Err(error) = process.resize(window) {
                    tracing::debug!(%error, "a visit's terminal has not been resized");
                }
            }
        }
    }
}

/// Takes what the operator says, until there is no operator any more.
async fn listen(
    incoming: &mut Streaming<wire::VisitRequest>,
    input: OwnedFd,
    has_terminal: bool,
    resized: mpsc::Sender<Window>,
) {
    let (typed, taken) = mpsc::channel::<Bytes>(WAITING_MAX);
    let mut typed = Some(typed);
    let hear = async {
        while let Ok(Some(message)) = incoming.message().await {
            match message.request {
                Some(Asked::Input(bytes)) => {
                    if let Some(typed) = &typed {
                        // Nobody reads it any more: the command has closed its standard input.
                        let _ = typed.send(bytes).await;
                    }
                }
                // A terminal ends with its visit; ^D is a byte.
                Some(Asked::InputEnd(_)) if has_terminal => {}
                Some(Asked::InputEnd(_)) => typed = None,
                Some(Asked::Window(size)) => {
                    // It ends with the process, and so does this.
                    let _ = resized.send(window(size)).await;
                }
                // It was said before; and what a newer one says is not understood.
                Some(Asked::Begin(_)) | None => {}
            }
        }
    };
    let write = async {
        write(input, taken).await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = hear => {}
        () = write => {}
    }
}

/// Writes what was typed, and closes the stream after the last of it.
async fn write(input: OwnedFd, mut taken: mpsc::Receiver<Bytes>) {
    let Ok(input) = registered(input, Interest::WRITABLE) else {
        return;
    };
    while let Some(mut bytes) = taken.recv().await {
        while !bytes.is_empty() {
            let Ok(mut guard) = input.writable().await else {
                return;
            };
            match guard.try_io(|input| Ok(rustix::io::write(input, &bytes)?)) {
                Ok(Ok(length)) => drop(bytes.split_to(length)),
                Ok(Err(_)) => return,
                Err(_) => {}
            }
        }
    }
}

/// Commands and files of the host wait, so they are no affair of the session's thread.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SystemError> + Send + 'static,
) -> Result<T, SystemError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(SystemError::Spawn {
            line: "a visit".to_owned(),
            source: io::Error::other(error),
        }),
    }
}

pub(super) fn describe(error: &SystemError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
