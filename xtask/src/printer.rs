//! The only file of xtask that writes to the terminal.
//!
//! What a task decides to say arrives here as finished text; nothing here decides anything. Results go to standard
//! output, what is being done meanwhile to standard error, so that a task's result can be piped.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is the file that prints"
)]

/// Prints one line of a task's result to standard output.
pub(crate) fn result(line: &str) {
    println!("{line}");
}

/// Prints one line on what is being done to standard error.
pub(crate) fn progress(line: &str) {
    eprintln!("{line}");
}
