//! The signals that end what goes on until somebody ends it: ^C, a shutdown or a supervisor, and a terminal that is closed.

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGINT, SIGTERM and SIGHUP, from when it is made on.
pub(crate) struct End([Signal; 3]);

impl End {
    /// # Errors
    /// The process cannot wait for signals.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let kinds = [
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::hangup(),
        ];
        let [interrupt, terminate, hangup] =
            kinds.map(|kind| signal(kind).context("signals cannot be waited for"));
        Ok(Self([interrupt?, terminate?, hangup?]))
    }

    /// The exit status of the signal that came, as a shell tells it.
    pub(crate) async fn wait(&mut self) -> u8 {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => 130,
            _ = terminate.recv() => 143,
            _ = hangup.recv() => 129,
        }
    }
}
