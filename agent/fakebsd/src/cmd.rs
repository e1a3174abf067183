//! Which program answers which argv. Each program has a file of its own below this one.

use crate::emulator::Emulator;
use crate::output::Output;

/// Runs `argv` on the host itself, outside every jail.
pub(crate) fn run(_host: &mut Emulator, argv: &[String], _stdin: &str) -> Output {
    let Some(program) = argv.first() else {
        return Output::failure(1, "usage: command [argument ...]");
    };
    Output::failure(127, format!("{program}: not found"))
}
