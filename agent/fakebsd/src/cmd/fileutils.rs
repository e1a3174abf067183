//! The small programs of the base system that hooks and set-ups use: echo, sleep, cat, mkdir, grep and their like.

use std::time::Duration;

use super::{Context, NO_PROGRAM, TIMED_OUT, run_in};
use crate::emulator::Emulator;
use crate::files::{Entry, FileError, normalize};
use crate::output::Output;

/// Runs one of them with the words after its name; [`NO_PROGRAM`] if it is none.
pub(crate) fn run(
    host: &mut Emulator,
    context: &Context,
    program: &str,
    arguments: &[String],
    stdin: &str,
) -> Output {
    let mut output = Output::success();
    let operands: Vec<&String> = arguments
        .iter()
        .filter(|word| !word.starts_with('-'))
        .collect();
    match program {
        "true" => {}
        "false" => output.status = 1,
        "echo" => {
            let newline = arguments.first().is_none_or(|word| word != "-n");
            output.stdout =
                arguments[usize::from(!newline)..].join(" ") + if newline { "\n" } else { "" };
        }
        "sleep" => return sleep(host, context, arguments),
        "date" => output.line(host.kernel.epoch_s().to_string()),
        "hostname" => output.line(
            host.kernel
                .jail(context.jid)
                .map_or(&host.kernel.hostname, |jail| &jail.hostname),
        ),
        "id" => output.line("uid=0(root) gid=0(wheel) groups=0(wheel),5(operator)"),
        "uname" => return uname(host, context, arguments),
        "env" => context
            .environment
            .iter()
            .for_each(|(name, value)| output.line(format!("{name}={value}"))),
        "cat" if operands.is_empty() => stdin.clone_into(&mut output.stdout),
        "cat" => operands
            .iter()
            .for_each(|path| match host.files.read_text(path) {
                Ok(text) => output.stdout.push_str(&text),
                Err(error) => output.fail(1, format!("cat: {path}: {error}")),
            }),
        "touch" => operands.iter().for_each(|path| {
            if let Err(error) = writable(host, path).and_then(|()| host.files.append(path, "")) {
                output.fail(1, format!("touch: {path}: {error}"));
            }
        }),
        "mkdir" => operands.iter().for_each(|path| {
            if let Err(error) =
                writable(host, path).and_then(|()| host.files.create_directories(path))
            {
                output.fail(1, format!("mkdir: {path}: {error}"));
            }
        }),
        "ln" | "cp" | "mv" => return two_paths(host, program, arguments, &operands),
        "rm" | "rmdir" => return remove(host, program, arguments, &operands),
        "ls" => return list(host, context, &operands),
        "grep" => return grep(host, arguments, stdin),
        "sed" => return super::sed::run(arguments, stdin),
        "test" | "[" => output.status = i32::from(!test(host, arguments)),
        "head" | "tail" | "sort" | "wc" | "tr" => stdin.clone_into(&mut output.stdout),
        "pgrep" if arguments.iter().any(|word| word == "-f") => {
            return super::pgrep::run(host, context, program, arguments);
        }
        "pkill" if arguments.iter().any(|word| word == "-f") => {
            return super::pgrep::run(host, context, program, arguments);
        }
        "ps" | "pgrep" => return processes(host, context, program, arguments),
        "pkill" | "killall" => {}
        "mdconfig" => return super::zfs::mdconfig(host, arguments),
        "daemon" => return daemon(host, context, arguments),
        "timeout" => return timeout(host, context, arguments, stdin),
        "nice" | "time" | "nohup" => return run_in(host, context, arguments, stdin),
        _ => output.status = NO_PROGRAM,
    }
    output
}

/// EROFS on a mount that is read-only.
pub(crate) fn writable(host: &Emulator, path: &str) -> Result<(), FileError> {
    match host.kernel.mount_of(path) {
        Some(mount) if mount.read_only => Err(FileError::ReadOnly),
        Some(_) | None => Ok(()),
    }
}

/// Lets time pass, or ends at the deadline of whoever waits.
fn sleep(host: &mut Emulator, context: &Context, arguments: &[String]) -> Output {
    let seconds = arguments
        .iter()
        .filter_map(|word| word.parse::<f64>().ok())
        .sum::<f64>();
    let span = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO);
    if let Some(elapsed) = host.detached {
        host.detached = Some(elapsed + span);
        return Output::success();
    }
    let left = context
        .deadline
        .map(|deadline| deadline.saturating_sub(host.kernel.now));
    match left.filter(|left| *left < span) {
        Some(left) => {
            host.advance(left);
            Output {
                status: TIMED_OUT,
                ..Output::default()
            }
        }
        None => {
            host.advance(span);
            Output::success()
        }
    }
}

/// `timeout [-s signal] seconds command …`: the command, ended at the time with all that came from it (bin/timeout/timeout.c).
fn timeout(host: &mut Emulator, context: &Context, arguments: &[String], stdin: &str) -> Output {
    /// EXIT_TIMEOUT.
    const ENDED: i32 = 124;
    let usage = || {
        Output::failure(
            1,
            "Usage: timeout [-f | --foreground] [-k time | --kill-after time] [-p | --preserve-status] [-s signal | --signal signal]  [-v | --verbose] <duration> <command> [arg ...]",
        )
    };
    let words = match arguments {
        [flag, signal, words @ ..] if flag == "-s" => {
            if !matches!(signal.as_str(), "KILL" | "TERM" | "HUP" | "INT") {
                return Output::failure(125, "timeout: invalid signal");
            }
            words
        }
        words => words,
    };
    let [seconds, command @ ..] = words else {
        return usage();
    };
    if command.is_empty() {
        return usage();
    }
    let Some(span) = seconds
        .parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
    else {
        return Output::failure(125, "timeout: duration is not a number");
    };
    // 0 is no limit.
    let ends = (!span.is_zero()).then(|| host.kernel.now + span);
    let deadline = [ends, context.deadline].into_iter().flatten().min();
    let inner = Context {
        deadline,
        ..context.clone()
    };
    let output = run_in(host, &inner, command, stdin);
    match output.status {
        NO_PROGRAM => Output::failure(
            127,
            format!("timeout: exec({}): No such file or directory", command[0]),
        ),
        TIMED_OUT if deadline == ends => Output {
            status: ENDED,
            ..output
        },
        _ => output,
    }
}

fn uname(host: &Emulator, context: &Context, arguments: &[String]) -> Output {
    let kernel = &host.kernel;
    let jail = kernel.jail(context.jid);
    let release = jail.map_or(kernel.release.name(), |jail| jail.osrelease.as_str());
    let hostname = jail.map_or(&kernel.hostname, |jail| &jail.hostname);
    let mut output = Output::success();
    match arguments.first().map_or("-s", String::as_str) {
        "-r" => output.line(release),
        "-K" | "-U" => output.line(
            jail.map_or(i64::from(kernel.release.osreldate()), |jail| jail.osreldate)
                .to_string(),
        ),
        "-n" => output.line(hostname),
        "-m" | "-p" => output.line("amd64"),
        "-a" => output.line(format!(
            "FreeBSD {hostname} {release} FreeBSD {release} VMJAIL amd64"
        )),
        _ => output.line("FreeBSD"),
    }
    output
}

fn two_paths(
    host: &mut Emulator,
    program: &str,
    arguments: &[String],
    operands: &[&String],
) -> Output {
    let [from, to] = operands else {
        return Output::failure(1, format!("usage: {program} source target"));
    };
    let to = if host.files.is_directory(to) {
        format!(
            "{to}/{}",
            from.trim_end_matches('/')
                .rsplit('/')
                .next()
                .unwrap_or(from)
        )
    } else {
        (*to).clone()
    };
    let result = writable(host, &to).and_then(|()| match program {
        "ln" => host.files.symlink(from, &to),
        "mv" => host.files.rename(from, &to),
        _ if arguments
            .iter()
            .any(|word| word.starts_with('-') && (word.contains('R') || word.contains('a'))) =>
        {
            copy_tree(host, from, &to)
        }
        _ => host
            .files
            .read(from)
            .map(<[u8]>::to_vec)
            .and_then(|bytes| host.files.write(&to, bytes)),
    });
    match result {
        Ok(()) => Output::success(),
        Err(error) => Output::failure(1, format!("{program}: {from}: {error}")),
    }
}

fn copy_tree(host: &mut Emulator, from: &str, to: &str) -> Result<(), FileError> {
    match host.files.entry(from) {
        Some(Entry::File(bytes)) => {
            let bytes = bytes.clone();
            return host.files.write(to, bytes);
        }
        Some(Entry::Symlink(target)) => {
            let target = target.clone();
            return host.files.symlink(&target, to);
        }
        Some(Entry::Directory) | None => {}
    }
    let root = normalize(from);
    let below = format!("{}/", root.trim_end_matches('/'));
    let entries: Vec<(String, Entry)> = host
        .files
        .iter()
        .filter(|(path, _)| path.starts_with(&below))
        .map(|(path, entry)| (path[below.len()..].to_owned(), entry.clone()))
        .collect();
    host.files.create_directories(to)?;
    for (path, entry) in entries {
        let path = format!("{to}/{path}");
        match entry {
            Entry::Directory => host.files.create_directories(&path)?,
            Entry::File(bytes) => host.files.write(&path, bytes)?,
            Entry::Symlink(target) => host.files.symlink(&target, &path)?,
        }
    }
    Ok(())
}

fn remove(
    host: &mut Emulator,
    program: &str,
    arguments: &[String],
    operands: &[&String],
) -> Output {
    let recursive = arguments
        .iter()
        .any(|word| word.starts_with('-') && word.contains(['r', 'R']));
    let force = arguments
        .iter()
        .any(|word| word.starts_with('-') && word.contains('f'));
    let mut output = Output::success();
    for path in operands {
        let result = writable(host, path).and_then(|()| {
            if recursive && program == "rm" {
                if !host.files.exists(path) {
                    return Err(FileError::NotFound);
                }
                let kept = host.files.has_immutable(path);
                host.files.remove_tree(path);
                return if kept {
                    Err(FileError::NotPermitted)
                } else {
                    Ok(())
                };
            }
            if program == "rm" && host.files.is_directory(path) {
                return Err(FileError::IsADirectory);
            }
            host.files.remove(path)
        });
        match result {
            Ok(()) => {}
            Err(FileError::NotFound) if force => {}
            Err(error) => output.fail(
                1,
                format!(
                    "{program}: {path}: {}",
                    if error == FileError::IsADirectory {
                        "is a directory".to_owned()
                    } else {
                        error.to_string()
                    }
                ),
            ),
        }
    }
    output
}

fn list(host: &Emulator, context: &Context, operands: &[&String]) -> Output {
    let root = host
        .kernel
        .jail(context.jid)
        .map_or("", |jail| jail.path.trim_end_matches('/'));
    let path = format!(
        "{root}{}",
        operands.first().map_or("/", |path| path.as_str())
    );
    let mut output = Output::success();
    if host
        .kernel
        .mounted_at(&path)
        .is_some_and(|mount| mount.fstype == "devfs")
    {
        crate::kernel::devfs::NODES
            .iter()
            .for_each(|name| output.line(name));
        return output;
    }
    match host.files.list(&path) {
        Ok(names) => names.for_each(|name| output.line(name)),
        Err(FileError::NotADirectory) => output.line(&path),
        Err(error) => output.fail(1, format!("ls: {path}: {error}")),
    }
    output
}

/// grep(1) for fixed strings with the anchors and alternatives that scripts use.
fn grep(host: &Emulator, arguments: &[String], stdin: &str) -> Output {
    let flags: String = arguments
        .iter()
        .filter(|word| word.starts_with('-'))
        .flat_map(|word| word[1..].chars())
        .collect();
    let mut operands = arguments.iter().filter(|word| !word.starts_with('-'));
    let Some(pattern) = operands.next() else {
        return Output::failure(2, "usage: grep [pattern] [file ...]");
    };
    let text = match operands.next() {
        Some(path) => host.files.read_text(path).unwrap_or_default(),
        None => stdin.to_owned(),
    };
    let matches = |line: &str| {
        pattern.split('|').any(|part| {
            let part = part.trim_start_matches("\\").trim_matches(['(', ')']);
            match part.strip_prefix('^') {
                Some(head) => line.starts_with(head.trim_end_matches('$')),
                None if part == "." => !line.is_empty(),
                None => line.contains(part),
            }
        })
    };
    let found: Vec<&str> = text
        .lines()
        .filter(|line| matches(line) != flags.contains('v'))
        .collect();
    let mut output = Output {
        status: i32::from(found.is_empty()),
        ..Output::default()
    };
    if flags.contains('c') {
        output.line(found.len().to_string());
    } else if !flags.contains('q') {
        found.iter().for_each(|line| output.line(line));
    }
    output
}

fn test(host: &Emulator, arguments: &[String]) -> bool {
    let words: Vec<&str> = arguments
        .iter()
        .map(String::as_str)
        .filter(|word| *word != "]")
        .collect();
    let number = |text: &str| text.parse::<i64>().unwrap_or(0);
    match words.as_slice() {
        ["!", rest @ ..] => !test(
            host,
            &rest
                .iter()
                .map(|word| (*word).to_owned())
                .collect::<Vec<_>>(),
        ),
        ["-n", text] => !text.is_empty(),
        ["-z", text] => text.is_empty(),
        ["-e" | "-r", path] => host.files.exists(path),
        ["-f", path] => host.files.read(path).is_ok(),
        ["-d", path] => host.files.is_directory(path),
        [a, "=" | "==", b] => a == b,
        [a, "!=", b] => a != b,
        [a, "-eq", b] => number(a) == number(b),
        [a, "-ne", b] => number(a) != number(b),
        [a, "-lt", b] => number(a) < number(b),
        [a, "-le", b] => number(a) <= number(b),
        [a, "-gt", b] => number(a) > number(b),
        [a, "-ge", b] => number(a) >= number(b),
        [text] => !text.is_empty(),
        _ => false,
    }
}

fn processes(host: &Emulator, context: &Context, program: &str, arguments: &[String]) -> Output {
    let which = arguments
        .iter()
        .position(|word| word == "-J" || word == "-j")
        .and_then(|at| arguments.get(at + 1));
    let jid = which
        .and_then(|which| host.kernel.find_jail(context.jid, which))
        .map_or(context.jid, |jail| jail.jid);
    let mut output = Output::success();
    for (pid, process) in host
        .kernel
        .processes
        .iter()
        .filter(|(_, process)| process.jid == jid)
    {
        let name = process
            .command
            .split_whitespace()
            .next()
            .unwrap_or_default();
        if program == "ps" {
            output.line(format!("{pid} {}", process.command));
        } else if arguments
            .last()
            .is_none_or(|pattern| pattern.starts_with('-') || name.contains(pattern.as_str()))
        {
            output.line(if arguments.iter().any(|word| word == "-l") {
                format!("{pid} {name}")
            } else {
                pid.to_string()
            });
        }
    }
    output
}

/// daemon(8): leaves a process behind.
fn daemon(host: &mut Emulator, context: &Context, arguments: &[String]) -> Output {
    let command: Vec<String> = arguments
        .iter()
        .skip_while(|word| word.starts_with('-'))
        .cloned()
        .collect();
    let lifetime = match command.as_slice() {
        [program, seconds] if program == "sleep" => {
            seconds.parse().ok().map(Duration::from_secs_f64)
        }
        _ => None,
    };
    let text = command.join(" ");
    let heeds_term = !text.contains("trap");
    let pid = host.kernel.spawn(context.jid, &text, heeds_term, lifetime);
    if let [program, words @ ..] = command.as_slice()
        && program == "nc"
    {
        return super::network::serve(host, context, words, pid);
    }
    Output::success()
}
