//! Probes of the host's jails: a task that makes those that are due, each in a thread of its own, and tells the worker what they come to.
//!
//! The worker never waits for a probe, nor a probe for the worker. What is due, and what an answer means, the core decides.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cellblock_agent_core::probe::{Answer, Health, Job, Probed, Prober};
use cellblock_freebsd::{System, probe};
use cellblock_schemas::ids::Uid;
use tokio::sync::{mpsc, watch};

use crate::mailbox::Nudge;

#[cfg(test)]
mod tests;

/// How many probes are made at once, whatever jails ask for: each is a thread, and three processes.
const PLACES: usize = 16;

/// How long to wait with the next news for the worker: each is a look at the host.
const NEWS: Duration = Duration::from_secs(1);

/// The jails to be probed, as the last pass has them.
pub(crate) type Wanted = Arc<BTreeMap<Uid, Probed>>;

/// Makes probes until the agent stops, or the worker has ended. What is under way then ends with its time.
pub(crate) async fn run(
    system: Arc<dyn System>,
    mut wanted: watch::Receiver<Wanted>,
    nudge: Nudge,
    mut stopped: watch::Receiver<bool>,
) {
    let began = Instant::now();
    let now_ms = || u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let mut prober = Prober::default();
    let mut told: BTreeMap<Uid, Health> = BTreeMap::new();
    let mut told_ms = None;
    // There is room for all that can be under way.
    let (answers, mut answered) = mpsc::channel(PLACES);
    loop {
        let look = wanted.borrow_and_update().clone();
        prober.look(&look, now_ms());
        let places = PLACES.saturating_sub(prober.under_way());
        for job in prober.begin(now_ms(), places) {
            begin(&system, job, &answers);
        }
        let health = prober.health(now_ms());
        let mut wait_ms = prober
            .next_ms(now_ms())
            .filter(|_| prober.under_way() < PLACES);
        if health != told {
            let news_ms = told_ms.map_or(0, |told_ms: u64| told_ms + millis(NEWS));
            if now_ms() >= news_ms {
                nudge.health(health.clone());
                told = health;
                told_ms = Some(now_ms());
            } else {
                wait_ms = Some(wait_ms.map_or(news_ms, |wait_ms| wait_ms.min(news_ms)));
            }
        }
        let pause = wait_ms.map(|due_ms| Duration::from_millis(due_ms.saturating_sub(now_ms())));
        let pause = async {
            match pause {
                Some(pause) => tokio::time::sleep(pause.max(Duration::from_millis(1))).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = pause => {}
            changed = wanted.changed() => if changed.is_err() { return },
            Some((number, answer)) = answered.recv() => prober.end(number, answer, now_ms()),
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Makes a probe in a thread of its own. One that the machine has no thread for could not be made.
fn begin(system: &Arc<dyn System>, job: Job, answers: &mpsc::Sender<(u64, Answer)>) {
    let number = job.number;
    let (system, sender) = (system.clone(), answers.clone());
    let thread = std::thread::Builder::new().name("probe".to_owned());
    let started = thread.spawn(move || {
        let ran = system.run(&probe::command(&job));
        // Nobody is there any more when the agent stops.
        let _ = sender.blocking_send((number, probe::answer(&job, ran)));
    });
    if let Err(error) = started {
        // There is room: this one has none of the places taken.
        let _ = answers.try_send((
            number,
            Answer::Unknown(format!("no thread for it: {error}")),
        ));
    }
}
