//! The operator's own terminal: its size, and the raw mode in which every key is a byte for somebody else.

use std::io::{self, IsTerminal as _};

use anyhow::Context as _;
use cellblock_proto::v1 as wire;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use crate::target::Usage;

/// A terminal like ours.
///
/// # Errors
/// Standard input is none.
pub(super) fn asked() -> anyhow::Result<wire::Terminal> {
    if !io::stdin().is_terminal() {
        return Err(Usage(
            "standard input is no terminal; leave -t out to run a command without one".to_owned(),
        )
        .into());
    }
    Ok(wire::Terminal {
        window: window(),
        name: std::env::var("TERM").unwrap_or_default(),
    })
}

/// Its size, if it tells.
pub(super) fn window() -> Option<wire::Window> {
    let size = tcgetwinsize(io::stdin()).ok()?;
    Some(wire::Window {
        rows: u32::from(size.ws_row),
        columns: u32::from(size.ws_col),
    })
}

/// Raw mode, until it is dropped.
pub(super) struct Raw {
    before: Termios,
}

impl Raw {
    /// Lets every key through.
    pub(super) fn enter() -> anyhow::Result<Self> {
        let before = tcgetattr(io::stdin()).context("the terminal does not tell its mode")?;
        let mut raw = before.clone();
        raw.make_raw();
        // From here on it is given back, should the next call have done half of it.
        let guard = Self { before };
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)
            .context("the terminal cannot be put into raw mode")?;
        Ok(guard)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // What is typed already, answers of the terminal to the jail's program among it, is not for the shell. A terminal that is gone needs nothing.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.before);
    }
}
