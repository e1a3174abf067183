//! `jailctl exec`, `console` and `logs`: visits in jails. What is typed goes there and what is said there comes here, octet by octet; `terminal` is the operator's own.

mod terminal;

use std::io::Read as _;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use cellblock_proto::v1 as wire;
use cellblock_proto::v1::begin::What;
use cellblock_proto::v1::visit_request::Request as Said;
use cellblock_proto::v1::visit_response::Response as Heard;
use cellblock_schemas::Kind;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::args::{Console, Exec, Logs};
use crate::client::Client;
use crate::context::Connection;
use crate::end::End;
use crate::printer::{Octets, Printer, Unwritten};
use crate::target::{self, Usage};
use terminal::Raw;

/// The exit status where it is jailctl that failed and not the command, as of ssh(1).
const EXIT_OWN: u8 = 255;

/// The exit status of a command line that makes no sense.
const EXIT_USAGE: u8 = 2;

/// How many messages wait for the controller, and how many pieces for who reads: little, so that who does not read holds up who writes.
const WAITING_MAX: usize = 4;

/// How much is read at once.
const PIECE_BYTES: usize = 32 << 10;

/// What gives a root shell on a terminal: the jail's own login(1), which reads its passwd(5) and asks for no password.
const LOGIN: [&str; 2] = ["/usr/bin/login", "-f"];

/// Runs `exec`. The exit status is the command's.
pub async fn exec(connection: &Connection, arguments: &Exec, printer: &Printer) -> ExitCode {
    let begin = || {
        let terminal = arguments.tty.then(terminal::asked).transpose()?;
        Ok(wire::Begin {
            jail: jail_name(&arguments.name)?,
            uid: String::new(),
            what: Some(What::Command(wire::Command {
                argv: arguments.command.clone(),
                user: arguments.user.clone().unwrap_or_default(),
                terminal,
            })),
        })
    };
    command(connection, begin(), !arguments.no_stdin, printer).await
}

/// Runs `console`. The exit status is that of login(1), which is 0 whatever the shell's was.
pub async fn console(connection: &Connection, arguments: &Console, printer: &Printer) -> ExitCode {
    let begin = || {
        let user = arguments.user.clone().unwrap_or_else(|| "root".to_owned());
        let login = LOGIN.map(str::to_owned).into_iter().chain([user]);
        Ok(wire::Begin {
            jail: jail_name(&arguments.name)?,
            uid: String::new(),
            what: Some(What::Command(wire::Command {
                argv: login.collect(),
                user: String::new(),
                terminal: Some(terminal::asked()?),
            })),
        })
    };
    command(connection, begin(), true, printer).await
}

/// Runs `logs`.
///
/// # Errors
/// There is no such jail or log, or the connection broke.
pub async fn logs(
    connection: &Connection,
    arguments: &Logs,
    printer: &Printer,
) -> anyhow::Result<ExitCode> {
    let begin = wire::Begin {
        jail: jail_name(&arguments.name)?,
        uid: String::new(),
        what: Some(What::Log(wire::Log {
            follow: arguments.follow,
            tail: arguments.tail,
        })),
    };
    // A log is somebody else's text: shown to a person, none of it drives the terminal.
    let octets = printer.octets(true);
    let status = visit(&mut connection.client()?, begin, false, octets).await?;
    Ok(ExitCode::from(status))
}

async fn command(
    connection: &Connection,
    begin: anyhow::Result<wire::Begin>,
    reads: bool,
    printer: &Printer,
) -> ExitCode {
    let visited = async {
        let begin = begin?;
        visit(
            &mut connection.client()?,
            begin,
            reads,
            printer.octets(false),
        )
        .await
    };
    match visited.await {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            if let Some(status) = error.downcast_ref().and_then(Unwritten::silent) {
                return status;
            }
            printer.error(&format!("{error:#}"));
            ExitCode::from(if error.is::<Usage>() {
                EXIT_USAGE
            } else {
                EXIT_OWN
            })
        }
    }
}

/// `www` or `jail/www`.
fn jail_name(word: &str) -> Result<String, Usage> {
    match word.split_once('/') {
        None => Ok(word.to_owned()),
        Some((kind, name)) if target::kind(kind)? == Kind::Jail => Ok(name.to_owned()),
        Some((kind, _)) => Err(Usage(format!(
            "`{kind}` is no jail; only jails can be visited"
        ))),
    }
}

/// One visit, to its end: the exit status.
async fn visit(
    client: &mut Client,
    begin: wire::Begin,
    reads: bool,
    octets: Octets,
) -> anyhow::Result<u8> {
    let mut end = End::listen()?;
    let mut resized =
        signal(SignalKind::window_change()).context("SIGWINCH cannot be waited for")?;
    let has_terminal =
        matches!(&begin.what, Some(What::Command(command)) if command.terminal.is_some());
    let (outbox, outgoing) = mpsc::channel(WAITING_MAX);
    say(&outbox, Said::Begin(begin)).await;
    let opened = async {
        let mut incoming = client.visit(ReceiverStream::new(outgoing)).await?;
        begun(client, &mut incoming).await?;
        Ok::<_, anyhow::Error>(incoming)
    };
    let mut incoming = tokio::select! {
        opened = opened => opened?,
        status = end.wait() => return Ok(status),
    };
    // Given back when it is dropped, however this function is left.
    let raw = has_terminal.then(Raw::enter).transpose()?;
    if reads {
        read_input(outbox.clone(), !has_terminal);
    } else if !has_terminal {
        say(&outbox, Said::InputEnd(wire::InputEnd {})).await;
    }
    let sizes = async {
        while has_terminal && resized.recv().await.is_some() {
            if let Some(window) = terminal::window() {
                say(&outbox, Said::Window(window)).await;
            }
        }
        std::future::pending::<()>().await;
    };
    let status = tokio::select! {
        status = hear(client, &mut incoming, octets) => status,
        () = sizes => bail!("the signals ended"),
        status = end.wait() => Ok(status),
    };
    drop(raw);
    status
}

/// A word to the controller. Where the stream is gone, the other direction says why.
async fn say(outbox: &mpsc::Sender<wire::VisitRequest>, said: Said) {
    let message = wire::VisitRequest {
        request: Some(said),
    };
    let _ = outbox.send(message).await;
}

/// Waits for the word that it has begun: until then the terminal is left alone, and nothing is read.
async fn begun(
    client: &Client,
    incoming: &mut Streaming<wire::VisitResponse>,
) -> anyhow::Result<()> {
    match incoming.message().await {
        Ok(Some(wire::VisitResponse {
            response: Some(Heard::Begun(_)),
        })) => Ok(()),
        Ok(_) => bail!("the controller ended the visit before it began"),
        Err(status) => Err(client.refused(&status).into()),
    }
}

/// Reads standard input in a thread, which ends with the process: nobody can be told to stop waiting for a key.
fn read_input(outbox: mpsc::Sender<wire::VisitRequest>, tells_end: bool) {
    std::thread::spawn(move || {
        let mut piece = vec![0; PIECE_BYTES];
        let mut input = std::io::stdin();
        let said = |said| wire::VisitRequest {
            request: Some(said),
        };
        // An error is an end, too.
        while let Ok(length @ 1..) = input.read(&mut piece) {
            let read = piece[..length].to_vec();
            if outbox
                .blocking_send(said(Said::Input(read.into())))
                .is_err()
            {
                return;
            }
        }
        if tells_end {
            // As of the last piece: the other direction says why.
            let _ = outbox.blocking_send(said(Said::InputEnd(wire::InputEnd {})));
        }
    });
}

/// Shows what is said until the end. It is written by a thread, so that signals are heard while nobody reads.
async fn hear(
    client: &Client,
    incoming: &mut Streaming<wire::VisitResponse>,
    mut octets: Octets,
) -> anyhow::Result<u8> {
    let (shown, mut to_show) = mpsc::channel::<(bool, Vec<u8>)>(WAITING_MAX);
    let (written, has_written) = oneshot::channel();
    std::thread::spawn(move || {
        let mut result = Ok(());
        while let Some((is_error, bytes)) = to_show.blocking_recv() {
            result = octets.write(is_error, &bytes);
            if result.is_err() {
                break;
            }
        }
        // Nobody waits for it where the visit was ended.
        let _ = written.send(result);
    });
    let status = loop {
        let message = match incoming.message().await {
            Ok(Some(message)) => message,
            Ok(None) => bail!("the controller ended the visit without a word"),
            Err(status) => return Err(client.refused(&status).into()),
        };
        let piece = match message.response {
            Some(Heard::Output(bytes)) => (false, bytes.to_vec()),
            Some(Heard::Error(bytes)) => (true, bytes.to_vec()),
            Some(Heard::Ended(ended)) => break ended.status,
            // The controller keeps the rest to itself, and what a newer one says is not understood.
            Some(Heard::Claim(_) | Heard::Begun(_) | Heard::Refusal(_)) | None => continue,
        };
        if shown.send(piece).await.is_err() {
            break 0;
        }
    };
    drop(shown);
    match has_written.await {
        Ok(result) => result?,
        Err(_) => bail!("the thread that writes has died"),
    }
    Ok(u8::try_from(status).unwrap_or(EXIT_OWN))
}

#[cfg(test)]
mod tests;
