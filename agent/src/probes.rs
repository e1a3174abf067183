//! Probes of the host's jails: a task that makes those that are due, each in a thread of its own, and tells the worker what they come to.
//!
//! The worker never waits for a probe, nor a probe for the worker. What is due, and what an answer means, the core decides.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cellblock_agent_core::probe::{Answer, Health, Job, Probed, Prober, Verdicts};
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

/// How long to wait with verdicts that have only become others, since the last that did: what a jail says must not keep the host looking.
const TURNS: Duration = Duration::from_secs(10);

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
    let mut told = Told::default();
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
        if let Some(news_ms) = told.due_ms(&health) {
            if now_ms() >= news_ms {
                nudge.health(health.clone());
                told.note(health, now_ms());
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

/// What the worker was told, and when.
#[derive(Debug, Default)]
struct Told {
    health: BTreeMap<Uid, Health>,
    /// From when on there may be news.
    news_ms: u64,
    /// From when on verdicts that have only become others are news.
    turns_ms: u64,
}

impl Told {
    /// When this is to be told; none: it was.
    fn due_ms(&self, health: &BTreeMap<Uid, Health>) -> Option<u64> {
        if *health == self.health {
            return None;
        }
        let has_turned = self.has_only_turned(health);
        Some(self.news_ms.max(if has_turned { self.turns_ms } else { 0 }))
    }

    fn note(&mut self, health: BTreeMap<Uid, Health>, now_ms: u64) {
        if self.has_turned(&health) {
            self.turns_ms = now_ms + millis(TURNS);
        }
        self.news_ms = now_ms + millis(NEWS);
        self.health = health;
    }

    fn changed<'h>(&'h self, health: &'h BTreeMap<Uid, Health>) -> impl Iterator<Item = bool> + 'h {
        let changed = health.iter().map(|(uid, now)| (self.health.get(uid), now));
        let changed = changed.filter(|(before, now)| *before != Some(*now));
        changed.map(|(before, now)| before.is_some_and(|before| is_turn(before, now)))
    }

    fn has_turned(&self, health: &BTreeMap<Uid, Health>) -> bool {
        self.changed(health).any(|is_turn| is_turn)
    }

    /// A jail that is gone is no turn either.
    fn has_only_turned(&self, health: &BTreeMap<Uid, Health>) -> bool {
        let stays = self.health.keys().all(|uid| health.contains_key(uid));
        stays && self.changed(health).all(|is_turn| is_turn)
    }
}

/// Whether all that has changed is what verdicts say that were known before: nobody waits for the first one, and nobody is to be started again.
fn is_turn(before: &Health, now: &Health) -> bool {
    let (was, is) = (&before.verdicts, &now.verdicts);
    let known = |verdicts: &Verdicts| {
        let verdicts = [&verdicts.started, &verdicts.ready, &verdicts.live];
        verdicts.map(Option::is_some)
    };
    was.jid == is.jid
        && known(was) == known(is)
        && before.is_restart_due == now.is_restart_due
        && before.is_settled == now.is_settled
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
