//! The worker: one thread that owns the ledger and the host, and passes over the host whenever it is told to look, and on a timer.
//!
//! Commands block, so this is no async task. What the session must know is published in a watch channel: always the newest state, never a queue.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use cellblock_agent_core::Ledger;
use cellblock_agent_core::execute::Outside;
use cellblock_agent_core::host::{Host, HostError};
use cellblock_agent_core::ledger::Change;
use cellblock_agent_core::pass::{self, Memory, Passed};
use cellblock_agent_core::plan::Settings;
use cellblock_schemas::condition::{Condition, ConditionStatus};
use cellblock_schemas::report::HostReport;
use cellblock_schemas::view::HostView;
use tokio::sync::watch;

use crate::config::Config;
use crate::guard::Line;
use crate::ledger_file::File;
use crate::mailbox::{self, Found, Sent};
use crate::probes::Wanted;

/// How soon to try again when the host could not be observed or the ledger not be written.
const RETRY: Duration = Duration::from_secs(1);

/// What the worker tells the session: always the newest.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// The view in the ledger, on disk, with its digest.
    pub view: Option<(Arc<HostView>, String)>,
    /// What to report.
    pub report: Option<Arc<HostReport>>,
}

/// The session's end of the worker. The worker ends when it is dropped.
#[derive(Debug)]
pub struct Link {
    /// Takes views.
    pub views: mailbox::Sender,
    /// Shows the newest state.
    pub state: watch::Receiver<State>,
    /// The jails to be probed.
    pub probed: watch::Receiver<Wanted>,
    /// Takes what probes have come to.
    pub nudge: mailbox::Nudge,
}

/// Starts the worker.
///
/// # Errors
/// The ledger cannot be read, or no thread can be started.
pub fn start(
    config: &Config,
    host: Arc<dyn Host + Send + Sync>,
    mut file: File,
    line: Line,
) -> anyhow::Result<(std::thread::JoinHandle<()>, Link)> {
    let ledger = file.load()?;
    let (views, inbox) = mailbox::mailbox();
    let initial = State {
        view: stored_view(&ledger),
        report: None,
    };
    let (publish, state) = watch::channel(initial);
    let (probe, probed) = watch::channel(Wanted::default());
    let nudge = inbox.nudge();
    let worker = Worker {
        host,
        line,
        ledger,
        file,
        settings: Settings {
            folder: config.folder(),
        },
        memory: Memory::default(),
        resync: Duration::from_secs(config.resync_seconds),
        publish,
        probe,
        said: Said::default(),
        began: Instant::now(),
    };
    let thread = std::thread::Builder::new()
        .name("worker".to_owned())
        .spawn(move || worker.run(&inbox))
        .context("the worker's thread could not be started")?;
    let link = Link {
        views,
        state,
        probed,
        nudge,
    };
    Ok((thread, link))
}

fn stored_view(ledger: &Ledger) -> Option<(Arc<HostView>, String)> {
    ledger
        .view
        .clone()
        .map(|view| (view, ledger.view_digest.clone()))
}

struct Worker {
    host: Arc<dyn Host + Send + Sync>,
    line: Line,
    ledger: Ledger,
    file: File,
    settings: Settings,
    memory: Memory,
    resync: Duration,
    publish: watch::Sender<State>,
    probe: watch::Sender<Wanted>,
    said: Said,
    began: Instant,
}

/// What is tried again every [`RETRY`] is said once and not with every try: the log may be on the disk that is full.
#[derive(Debug, Default)]
struct Said(Option<HostError>);

impl Said {
    /// Whether that is another one than the last.
    fn is_news(&mut self, error: &HostError) -> bool {
        let news = self.0.as_ref() != Some(error);
        if news {
            self.0 = Some(error.clone());
        }
        news
    }

    /// It is over: the next one is news, whatever it says.
    fn forget(&mut self) {
        self.0 = None;
    }
}

impl Worker {
    fn run(mut self, inbox: &mailbox::Receiver) {
        let mut pending: Option<Sent> = None;
        let mut wait = Duration::ZERO;
        loop {
            match inbox.receive(wait) {
                // Only the newest view counts, also over one that the disk has refused so far.
                Found::View(sent) => pending = Some(sent),
                Found::Health(health) => self.memory.health = health,
                Found::Nothing => {}
                Found::Closed => return,
            }
            if let Some((view, digest)) = pending.take()
                && let Err(error) = self.take_view(&view, &digest)
            {
                self.problem(&error);
                pending = Some((view, digest));
                wait = RETRY;
                continue;
            }
            wait = self.pass();
        }
    }

    /// Takes a view into the ledger. A view that may not be taken is refused for good; an error means that the disk refused.
    fn take_view(&mut self, view: &Arc<HostView>, digest: &str) -> Result<(), HostError> {
        if let Err(refused) = pass::accept(&self.ledger, view) {
            tracing::error!("view refused: {refused}");
            return Ok(());
        }
        let old_view = self.ledger.view.clone();
        let taken = Change::TakeView(view.clone(), digest.to_owned());
        self.ledger.commit(vec![taken], &mut self.file)?;
        if let Some(before) = &old_view {
            self.memory.failures.view_changed(before, view);
        }
        tracing::info!(
            epoch = view.mark.epoch,
            generation = view.mark.generation.0,
            jails = view.jails.len(),
            "took a view"
        );
        let stored = stored_view(&self.ledger);
        self.publish.send_modify(|state| state.view = stored);
        Ok(())
    }

    /// One pass, and how long to wait before the next.
    fn pass(&mut self) -> Duration {
        let Some(view) = self.ledger.view.clone() else {
            return self.resync;
        };
        let began = self.began;
        let clock = || u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let passed = pass::pass(
            &view,
            &mut self.ledger,
            Outside {
                host: self.host.as_ref(),
                lifeline: &self.line,
            },
            &mut self.file,
            &self.settings,
            &mut self.memory,
            &clock,
        );
        match passed {
            Ok(passed) => {
                let wait = passed.again_ms.map_or(self.resync, Duration::from_millis);
                self.said.forget();
                self.publish_report(passed);
                wait.min(self.resync)
            }
            Err(error) => {
                self.problem(&error);
                RETRY
            }
        }
    }

    fn publish_report(&self, passed: Passed) {
        self.probe.send_if_modified(|wanted| {
            let is_other = **wanted != passed.probed;
            if is_other {
                *wanted = Arc::new(passed.probed);
            }
            is_other
        });
        if passed.done > 0 {
            tracing::info!(
                done = passed.done,
                left = passed.plan.steps.len(),
                "changed the host"
            );
        }
        for (subject, error) in &passed.failed {
            tracing::warn!(
                reason = error.reason,
                ?subject,
                "an operation failed: {error}"
            );
        }
        for blocked in &passed.plan.blocked {
            tracing::debug!(reason = blocked.reason, "blocked: {}", blocked.message);
        }
        self.publish.send_if_modified(|state| {
            let changed = state.report.as_deref() != Some(&passed.report);
            if changed {
                state.report = Some(Arc::new(passed.report));
            }
            changed
        });
    }

    /// Logs what is tried again, where that is news, and reports it.
    fn problem(&mut self, error: &HostError) {
        if self.said.is_news(error) {
            tracing::error!(
                reason = error.reason,
                "{error}; it is tried again every second, and said once"
            );
        }
        self.report_problem(error);
    }

    /// Reports that nothing is known or nothing may be done; the jails' last reports stay as they were.
    fn report_problem(&self, error: &HostError) {
        let Some(view) = &self.ledger.view else {
            return;
        };
        let condition = Condition {
            kind: "Ready".to_owned(),
            status: ConditionStatus::False,
            reason: error.reason.to_owned(),
            message: error.message.clone(),
            observed_generation: view.host_generation,
            last_transition_time: None,
        };
        self.publish.send_modify(|state| {
            let known = state.report.as_deref().cloned().unwrap_or_default();
            let mut conditions = known.conditions;
            conditions.retain(|known| known.kind != "Ready");
            conditions.insert(0, condition);
            state.report = Some(Arc::new(HostReport {
                view: view.mark,
                host_generation: view.host_generation,
                full: false,
                facts: known.facts,
                conditions,
                jails: Vec::new(),
                pending_plan: known.pending_plan,
                networks: known.networks,
            }));
        });
    }
}

#[cfg(test)]
mod tests {
    use cellblock_agent_core::host::Retry;

    use super::*;

    #[test]
    fn what_is_tried_again_every_second_is_said_once() {
        let error = |reason, message: &str| HostError {
            reason,
            message: message.to_owned(),
            retry: Retry::After,
        };
        let full = error("DiskFull", "no room");
        let mut said = Said::default();
        assert!(said.is_news(&full));
        assert!(!said.is_news(&full));
        assert!(said.is_news(&error("LedgerNotWritten", "no folder")));
        assert!(said.is_news(&full));
        said.forget();
        assert!(said.is_news(&full));
    }
}
