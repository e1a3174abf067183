//! jexec(8) and setfib(1): the same program in another name.

use super::{Context, NO_PROGRAM, run_in};
use crate::emulator::Emulator;
use crate::output::Output;

/// The users of a fresh system that jexec -u and exec.jail_user may name.
pub(crate) const USERS: &[&str] = &[
    "root", "daemon", "operator", "bin", "nobody", "www", "sshd", "_dhcp",
];

/// What `jexec -l` leaves of the environment (recording `11`).
const LOGIN_ENVIRONMENT: &[(&str, &str)] = &[
    ("SHELL", "/bin/sh"),
    ("HOME", "/root"),
    ("USER", "root"),
    ("BLOCKSIZE", "K"),
    ("MAIL", "/var/mail/root"),
    ("MM_CHARSET", "UTF-8"),
    ("LANG", "C.UTF-8"),
    (
        "PATH",
        "/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin:/root/bin",
    ),
    ("TERM", "dumb"),
];

/// `jexec [-l] [-d dir] [-u user | -U user] jail [command ...]`
pub(crate) fn run(
    host: &mut Emulator,
    context: &Context,
    arguments: &[String],
    stdin: &str,
) -> Output {
    let mut words = arguments;
    let (mut login, mut user) = (false, None);
    while let Some((word, rest)) = words.split_first() {
        if !word.starts_with('-') {
            break;
        }
        words = rest;
        match word.as_str() {
            "-l" => login = true,
            "-n" => {}
            "-u" | "-U" | "-d" | "-e" => {
                let Some((value, rest)) = words.split_first() else {
                    return usage();
                };
                if word == "-u" || word == "-U" {
                    user = Some(value.clone());
                }
                words = rest;
            }
            _ => return usage(),
        }
    }
    let Some((which, command)) = words.split_first() else {
        return usage();
    };
    let Some(jid) = host
        .kernel
        .find_jail(context.jid, which)
        .map(|jail| jail.jid)
    else {
        let why = host.kernel.no_jail(context.jid, which);
        return Output::failure(1, format!("jexec: {why}"));
    };
    if let Some(user) = user.filter(|user| !USERS.contains(&user.as_str())) {
        return Output::failure(1, format!("jexec: {user}: no such user"));
    }
    let mut inside = context.inside(&host.kernel, jid);
    if login {
        inside.environment = LOGIN_ENVIRONMENT
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
    }
    if command.is_empty() {
        return Output::success();
    }
    let output = run_in(host, &inside, command, stdin);
    if output.status == NO_PROGRAM {
        return Output::failure(
            1,
            format!("jexec: execvp: {}: No such file or directory", command[0]),
        );
    }
    output
}

fn usage() -> Output {
    Output::failure(
        1,
        "usage: jexec [-l] [-d working-directory] [-e name=value] [-u username | -U username] jail [command ...]",
    )
}

/// `setfib [-F] fib command ...`
pub(crate) fn setfib(
    host: &mut Emulator,
    context: &Context,
    arguments: &[String],
    stdin: &str,
) -> Output {
    let words = match arguments.split_first() {
        Some((word, rest)) if word == "-F" => rest,
        Some(_) | None => arguments,
    };
    let usage = || Output::failure(1, "usage: setfib [-F] value command");
    let Some((number, command)) = words.split_first() else {
        return usage();
    };
    let number = number.trim_start_matches('-').trim_start_matches('F');
    let Ok(fib) = number.parse::<u32>() else {
        return usage();
    };
    let count = host.kernel.vnet(context.stack).fibs.len() as u32;
    if fib >= count {
        return Output::failure(1, format!("setfib: {fib}: invalid FIB (max {})", count - 1));
    }
    if command.is_empty() {
        return usage();
    }
    let output = run_in(
        host,
        &Context {
            fib,
            ..context.clone()
        },
        command,
        stdin,
    );
    if output.status == NO_PROGRAM {
        return Output::failure(
            1,
            format!("setfib: {}: No such file or directory", command[0]),
        );
    }
    output
}
