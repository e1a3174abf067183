//! How a probe of a jail is made, and what its answer says.
//!
//! All three kinds are commands in the jail: jexec(8) by jid, under the routing table of all that runs in it. TCP and HTTP are asked for by the jail's own nc(1), which is in FreeBSD's base system. From the
//! host they would say whether the host gets there, which on a bridge without an address of the host's, in another routing table, or behind a firewall it does not, and of no jail's health; inside there
//! is always a way, on every kind of network and for both families: a stack's own addresses are reached by its loopback, whatever its routes.
//!
//! timeout(1) ends a probe that hangs, with everything that it started, in whatever process group or session: it is the reaper of what comes from it (PROC_REAP_ACQUIRE and PROC_REAP_KILL, bin/timeout/timeout.c). So nothing
//! goes on in the jail when the agent itself is killed. What the jail's processes are handed are pipes, see [`crate::visit`].

use std::net::IpAddr;
use std::time::Duration;

use cellblock_agent_core::probe::{Answer, Job};
use cellblock_schemas::jail::HttpProbe;

use crate::command::{Command, Output, Program, words};
use crate::system::SystemError;
use crate::visit;

#[cfg(test)]
mod tests;

/// How much longer than the probe itself timeout(1) is waited for.
const GRACE: Duration = Duration::from_secs(5);

/// How much a probe may print on each stream, in octets: what is more is not read, and a command has failed. Of HTTP the first line is enough.
const OUTPUT_BYTES_MAX: usize = 1 << 20;

/// The exit status of timeout(1) for what it has ended (EXIT_TIMEOUT, bin/timeout/timeout.c).
const TIMED_OUT: i32 = 124;

/// The jail's nc(1).
const NC: &str = "/usr/bin/nc";

/// The command that makes a probe.
#[must_use]
pub fn command(job: &Job) -> Command {
    let seconds = job.probe.timeout_s().max(1);
    let (probe, address) = (&job.probe, job.address);
    let mut stdin = String::new();
    let mut user = "";
    let words = if let Some(exec) = &probe.exec {
        user = exec.user.as_deref().unwrap_or_default();
        exec.command.clone()
    } else if let Some(http) = &probe.http {
        stdin = request(http, address);
        connect(&["-nv"], seconds, address, http.port)
    } else {
        // Admission wants one of the three.
        let port = probe.tcp.as_ref().map_or(0, |tcp| tcp.port);
        connect(&["-nvz"], seconds, address, port)
    };
    let mut argv = words!["-s", "KILL", seconds.to_string()];
    argv.extend(visit::command(job.jid, job.fib, user, &words));
    let mut command = Command::new(Program::Timeout, argv)
        .stdin(stdin)
        .timeout(Duration::from_secs(seconds) + GRACE);
    command.bytes_max = OUTPUT_BYTES_MAX;
    command
}

fn connect(flags: &[&str], seconds: u64, address: IpAddr, port: u16) -> Vec<String> {
    let mut words = words![NC];
    words.extend(flags.iter().map(|flag| (*flag).to_owned()));
    words.extend(words![
        "-w",
        seconds.to_string(),
        address.to_string(),
        port.to_string()
    ]);
    words
}

fn request(http: &HttpProbe, address: IpAddr) -> String {
    let path = http.path.as_deref().unwrap_or("/");
    let port = http.port;
    let host = match address {
        IpAddr::V4(address) => format!("{address}:{port}"),
        IpAddr::V6(address) => format!("[{address}]:{port}"),
    };
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: cellblock-agent\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    )
}

/// What it came to.
#[must_use]
pub fn answer(job: &Job, ran: Result<Output, SystemError>) -> Answer {
    let seconds = job.probe.timeout_s().max(1);
    let late = || Answer::Ill(format!("no answer within {seconds} s"));
    let output = match ran {
        Ok(output) => output,
        // timeout(1) waits until all is gone that it killed: something sleeps and takes no signal.
        Err(SystemError::TimedOut { .. }) => {
            return Answer::Stuck(format!(
                "it was killed after {seconds} s and does not end: it sleeps in the kernel, as on a file system that does not answer"
            ));
        }
        Err(SystemError::TooLong { began, .. }) if job.probe.http.is_some() => {
            return status_of(&began).map_or_else(no_http, of_status);
        }
        Err(SystemError::TooLong { .. }) => {
            return Answer::Ill(format!("it printed more than {OUTPUT_BYTES_MAX} octets"));
        }
        Err(error) => {
            let why = std::error::Error::source(&error);
            let why = why.map(|why| format!(": {why}")).unwrap_or_default();
            return Answer::Unknown(format!("{error}{why}"));
        }
    };
    if output.status != 0
        && let Some(why) = not_made(job, &output)
    {
        return Answer::Unknown(why);
    }
    let is_late = output.status == TIMED_OUT;
    if job.probe.exec.is_some() {
        return match output.status {
            0 => Answer::Well,
            _ if is_late => late(),
            status => Answer::Ill(said(&output).map_or_else(
                || format!("exit status {status}"),
                |said| format!("exit status {status}: {said}"),
            )),
        };
    }
    if job.probe.http.is_some()
        && let Some(status) = status_of(&output.stdout)
    {
        // Whether it keeps the connection open after its answer is its own affair.
        return of_status(status);
    }
    match output.status {
        0 if job.probe.http.is_some() => no_http(),
        0 => Answer::Well,
        _ if is_late => late(),
        status => Answer::Ill(said(&output).unwrap_or_else(|| format!("exit status {status}"))),
    }
}

fn of_status(status: u16) -> Answer {
    match status {
        200..=399 => Answer::Well,
        _ => Answer::Ill(format!("HTTP status {status}")),
    }
}

fn no_http() -> Answer {
    Answer::Ill("what answered is no HTTP".to_owned())
}

/// Why nothing was asked: what the programs say that come before the one in the jail, as the first line of standard error.
///
/// timeout(1) has 125 to 127, or 1 where it fails to fork (bin/timeout/timeout.c), setfib(1) and jexec(8) 1, 126 and 127 (usr.sbin/setfib/setfib.c, usr.sbin/jexec/jexec.c). The lines are told from those of a command
/// in the jail that runs such programs itself by what they name. Whoever feigns one there is not restarted.
fn not_made(job: &Job, output: &Output) -> Option<String> {
    let line = output.stderr.lines().next()?;
    let (program, why) = line.split_once(": ")?;
    let is_ours = match program {
        "timeout" => is_timeouts(output.status, why),
        "setfib" => {
            let ours = [
                format!("{}: ", Program::Jexec.path()),
                format!("{}: invalid FIB", job.fib),
                format!("-F{}: invalid FIB", job.fib),
                "setfib: ".to_owned(),
                "Multiple FIBS ".to_owned(),
            ];
            job.fib > 0 && ours.iter().any(|ours| why.starts_with(ours))
        }
        "jexec" => {
            let exec = job.probe.exec.as_ref();
            let asked = exec.map_or(NC, |exec| exec.command.first().map_or("", String::as_str));
            let user = exec.and_then(|exec| exec.user.as_deref());
            let jid = job.jid;
            if exec.is_none() && why == format!("execvp: {NC}: No such file or directory") {
                return Some(format!(
                    "the jail's root has no {NC}, by which it is connected to; put it there, or probe the jail by a command (exec)"
                ));
            }
            let mut ours = vec![
                format!("execvp: {asked}: "),
                format!("jail_attach({jid}): "),
                format!("jail {jid} "),
                format!("jail \"{jid}\" "),
                "jail_get: ".to_owned(),
                "chdir(): /: ".to_owned(),
            ];
            if let Some(user) = user {
                ours.push(format!("{user}: no such user"));
                let calls = ["getpwnam: ", "getpwclass: ", "initgroups: ", "setgid: "];
                ours.extend(calls.map(str::to_owned));
                ours.push("setusercontext: ".to_owned());
            }
            ours.iter().any(|ours| why.starts_with(ours))
        }
        _ => false,
    };
    is_ours.then(|| line.trim().to_owned())
}

/// Whether timeout(1) says that of itself and not of a program that another one of it, in the jail, was to run.
fn is_timeouts(status: i32, why: &str) -> bool {
    let is_status = matches!(status, 1 | 125..=127);
    let run = why
        .strip_prefix("exec(")
        .and_then(|rest| rest.split_once(')'));
    let ours = [Program::Setfib.path(), Program::Jexec.path()];
    is_status && run.is_none_or(|(program, _)| ours.contains(&program))
}

/// The last line that it wrote to standard error, or else to standard output.
fn said(output: &Output) -> Option<String> {
    let mut lines = output.stdout.lines().chain(output.stderr.lines());
    let last = lines.rfind(|line| !line.trim().is_empty())?;
    Some(last.trim().to_owned())
}

/// The number in `HTTP/1.1 200 OK`.
fn status_of(text: &str) -> Option<u16> {
    let line = text.lines().next()?.strip_prefix("HTTP/1.")?;
    let (version, rest) = line.split_once(' ')?;
    let is_version = version.len() == 1 && version.bytes().all(|digit| digit.is_ascii_digit());
    let digits = rest.get(..3).filter(|_| is_version)?;
    let ends = rest[3..].chars().next().is_none_or(char::is_whitespace);
    digits.parse().ok().filter(|_| ends)
}
