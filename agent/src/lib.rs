//! The agent's shell: it connects the pure core (`cellblock-agent-core`) with the controller, the disk and the host.
//!
//! ```text
//!             views                     ┌─────────── worker (a thread) ───────────┐
//! controller ────────► session (tokio) ─┤ ledger on disk ─► core::pass ─► host    │
//!             ◄────────                 └── newest report ◄── verify ◄────────────┘
//!        reports, heartbeats
//! ```
//!
//! Beside them, `probes` asks jails how they are, and the worker hears of it.
//!
//! The worker goes on with the view in its ledger whether a controller is there or not. Nothing is decided here.

pub mod certificate;
pub mod config;
pub mod emulated;
pub mod guard;
pub mod identity;
pub mod ledger_file;
pub mod mailbox;
mod probes;
pub mod reach;
pub mod session;
mod visits;
pub mod worker;

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use cellblock_agent_core::host::Host;
use cellblock_agent_core::plan::Settings;
use cellblock_freebsd::System;

pub use config::Config;
pub use guard::Guardian;

use visits::Visits;

/// Whether there is a way to the controllers, beyond what a connection shows.
pub type Way = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// What is around an agent.
#[derive(Clone)]
pub struct Surroundings {
    /// Who guards changes that could cut the host off.
    pub guardian: Guardian,
    /// What must lead to the controllers before a connection is tried: the network of an emulated host.
    pub way: Option<Way>,
    /// Whether the host is the machine that the agent runs on, and not an emulated one: a controller at one of its addresses proves nothing.
    pub is_this_machine: bool,
    /// What runs commands in jails for operators and probes, and reads their logs; none: this agent takes no visits, and makes no probes.
    pub system: Option<Arc<dyn System>>,
}

/// A running agent.
#[derive(Debug)]
pub struct Agent {
    stop: watch::Sender<bool>,
    state: watch::Receiver<worker::State>,
    session: JoinHandle<()>,
    probes: Option<JoinHandle<()>>,
    worker: Option<std::thread::JoinHandle<()>>,
}

impl Agent {
    /// Starts an agent for `host` on the current tokio runtime.
    ///
    /// # Errors
    /// The ledger or the key is damaged, belongs to another agent that runs, or cannot be written.
    pub fn start(config: Config, host: Arc<dyn Host + Send + Sync>) -> anyhow::Result<Self> {
        let surroundings = Surroundings {
            guardian: Guardian::Thread(host.clone()),
            way: None,
            is_this_machine: false,
            system: None,
        };
        Self::start_in(config, host, surroundings)
    }

    /// The same in other surroundings than those of a process of its own.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_in(
        config: Config,
        host: Arc<dyn Host + Send + Sync>,
        surroundings: Surroundings,
    ) -> anyhow::Result<Self> {
        let identity = identity::Identity::load_or_make(&config.state_dir)?;
        let file = ledger_file::File::open(&config.state_dir)?;
        let (stop, stopped) = watch::channel(false);
        for url in config.in_clear_text() {
            tracing::warn!(
                "controller {url} is spoken to in clear text: whoever is on the way can tell this host what to run; use https:// and [tls]"
            );
        }
        let (reach, reached) = reach::reach();
        let line = guard::Line::new(&config.state_dir, surroundings.guardian, reach);
        let beside = session::Beside {
            reached,
            way: surroundings.way,
            is_this_machine: surroundings.is_this_machine,
        };
        let (worker, link) = worker::start(&config, host, file, line)?;
        let state = link.state.clone();
        let settings = Settings {
            folder: config.folder(),
        };
        let probes = surroundings.system.clone().map(|system| {
            let work = probes::run(
                system,
                link.probed.clone(),
                link.nudge.clone(),
                stopped.clone(),
            );
            tokio::spawn(work)
        });
        let visits = surroundings
            .system
            .map(|system| Visits::new(system, settings, state.clone()));
        let session = tokio::spawn(session::run(
            config, identity, link, beside, visits, stopped,
        ));
        Ok(Self {
            stop,
            state,
            session,
            probes,
            worker: Some(worker),
        })
    }

    /// Stops the agent. Every jail goes on.
    pub async fn stop(mut self) {
        // The session ends first; the worker sees that between operations (`Lifeline::is_ending`) and ends after the one under way, and one more look at the host.
        self.stop.send_replace(true);
        if let Err(error) = (&mut self.session).await {
            tracing::error!(%error, "the session ended badly");
        }
        if let Some(probes) = self.probes.take()
            && let Err(error) = probes.await
        {
            tracing::error!(%error, "the probes ended badly");
        }
        if let Some(worker) = self.worker.take() {
            let joined = tokio::task::spawn_blocking(move || worker.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::error!("the worker ended badly");
            }
        }
    }

    /// Waits until the worker has died, which is a bug; without it the host is kept by nobody.
    pub async fn failed(&mut self) {
        while self.state.changed().await.is_ok() {}
    }
}
