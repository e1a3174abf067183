//! `cellblock-agent pfctl`, the one part of the agent that runs as a program of its own on the host: pfctl(8) attached to a jail's stack (`agent/freebsd/src/inside.rs`).
//!
//! What it runs is the host's; what it sees is the jail's: its /dev, its securelevel, its stack.

use super::{Context, NO_PROGRAM, pfctl};
use crate::emulator::Emulator;
use crate::files::FileError;
use crate::kernel::errno::Errno;
use crate::output::Output;

/// `cellblock-agent pfctl jail [option ...]`
pub(super) fn run(
    host: &mut Emulator,
    context: &Context,
    arguments: &[String],
    stdin: &str,
) -> Output {
    // No jail has the agent.
    if context.jid != 0 {
        return Output {
            status: NO_PROGRAM,
            ..Output::default()
        };
    }
    let [verb, which, words @ ..] = arguments else {
        return usage();
    };
    if verb != "pfctl" {
        return usage();
    }
    let Some(jail) = host.kernel.find_jail(context.jid, which) else {
        let why = host.kernel.no_jail(context.jid, which);
        return Output::failure(1, format!("cellblock-agent: {why}"));
    };
    if !jail.owns_stack {
        let why = format!("jail {which} has no network stack of its own");
        return Output::failure(1, format!("cellblock-agent: {why}"));
    }
    let inside = context.inside(&host.kernel, jail.jid);
    let mut words = words.to_vec();
    let mut read = stdin.to_owned();
    // The file is opened before the jail's root is entered.
    let file = words.iter().position(|word| word == "-f");
    if let Some(path) = file.and_then(|at| words.get_mut(at + 1))
        && path != "-"
    {
        read = match host.files.read_text(path) {
            Ok(text) => text,
            Err(error) => {
                let why = if error == FileError::NotFound {
                    Errno::ENOENT.text().to_owned()
                } else {
                    error.to_string()
                };
                return Output::failure(1, format!("cellblock-agent: {path}: {why}"));
            }
        };
        "-".clone_into(path);
    }
    pfctl::run(host, &inside, &words, &read)
}

fn usage() -> Output {
    Output::failure(2, "Usage: cellblock-agent pfctl <JAIL> [OPTION]...")
}
