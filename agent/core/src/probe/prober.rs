//! The [`Prober`]: when each probe is made, and how many answers in a row make a verdict.
//!
//! Time is an argument, in milliseconds that never go back.

use std::collections::BTreeMap;
use std::net::IpAddr;

use cellblock_schemas::ids::Uid;
use cellblock_schemas::jail::Probe;

use super::{Health, Probed, Verdict, Verdicts};

#[cfg(test)]
mod tests;

/// How long a jail that was started again because it was not alive runs at least before that is done once more, in milliseconds; each further time doubles it.
const PAUSE_MS_FIRST: u64 = 10_000;

/// The longest such time, in milliseconds.
const PAUSE_MS_MAX: u64 = 300_000;

/// How long a jail has to be well until its next failure is a new matter, in milliseconds: twice the longest pause.
const SETTLED_MS: u64 = 2 * PAUSE_MS_MAX;

/// How many probes in a row cannot be made until nothing is known of the jail any more.
const UNKNOWN_TO_COUNT: u32 = 3;

/// The longest message of an answer that is kept, in octets: what a jail says is reported, stored and shown.
const MESSAGE_BYTES_MAX: usize = 300;

/// How long a jail that was started again so often in a row runs at least before it is once more, in milliseconds.
#[must_use]
pub fn pause_ms(restarts: u32) -> u64 {
    let Some(doubled) = restarts.checked_sub(1) else {
        return 0;
    };
    PAUSE_MS_FIRST
        .saturating_mul(1 << doubled.min(10))
        .min(PAUSE_MS_MAX)
}

/// Which probe of a jail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Which {
    Started,
    Ready,
    Live,
}

/// A probe to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// By which its answer is known.
    pub number: u64,
    /// The jail's jid.
    pub jid: u32,
    /// What it is.
    pub probe: Probe,
    /// What TCP and HTTP go to.
    pub address: IpAddr,
    /// The routing table.
    pub fib: u16,
}

/// What a probe came to, and what it said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The jail is well in this.
    Well,
    /// It is not.
    Ill(String),
    /// The probe could not be made, which says nothing of the jail.
    Unknown(String),
    /// It could not be made, and what there was of it did not end when it was killed: each further one may leave as much behind.
    Stuck(String),
}

/// Every probe of a host's jails.
#[derive(Debug, Default)]
pub struct Prober {
    jails: BTreeMap<Uid, Life>,
    /// Which probe of which jail is under way, and since when.
    under_way: BTreeMap<u64, (Uid, Which, u64)>,
    last: u64,
}

/// One start of a jail.
#[derive(Debug)]
struct Life {
    probed: Probed,
    /// When it was first seen.
    since_ms: u64,
    runs: BTreeMap<Which, Run>,
}

#[derive(Debug)]
struct Run {
    probe: Probe,
    due_ms: u64,
    under_way: Option<u64>,
    /// How many answers in a row were good, or were not.
    well: u32,
    ill: u32,
    /// How many in a row could not be made, and how many of those are stuck.
    unknown: u32,
    stuck: u32,
    verdict: Option<Verdict>,
}

impl Prober {
    /// Takes in which jails there are to be probed now.
    pub fn look(&mut self, probed: &BTreeMap<Uid, Probed>, now_ms: u64) {
        self.jails.retain(|uid, life| {
            let now = probed.get(uid);
            now.is_some_and(|now| now.jid == life.probed.jid)
        });
        for (uid, probed) in probed {
            let life = self.jails.entry(uid.clone()).or_insert_with(|| Life {
                probed: probed.clone(),
                since_ms: now_ms,
                runs: BTreeMap::new(),
            });
            life.take(probed, now_ms);
        }
    }

    /// The probes to be made now, those that are due longest first, at most so many.
    pub fn begin(&mut self, now_ms: u64, places: usize) -> Vec<Job> {
        let lives = self.jails.iter();
        let mut due: Vec<(u64, Uid, Which)> = lives
            .flat_map(|(uid, life)| {
                let due = life.due().filter(|(_, due_ms)| *due_ms <= now_ms);
                due.map(|(which, due_ms)| (due_ms, uid.clone(), which))
            })
            .collect();
        due.sort();
        due.truncate(places);
        let mut jobs = Vec::new();
        for (_, uid, which) in due {
            let number = self.last + 1;
            let Some(life) = self.jails.get_mut(&uid) else {
                continue;
            };
            let Some(run) = life.runs.get_mut(&which) else {
                continue;
            };
            self.last = number;
            run.under_way = Some(number);
            jobs.push(Job {
                number,
                jid: life.probed.jid,
                probe: run.probe.clone(),
                address: life.probed.address,
                fib: life.probed.fib,
            });
            self.under_way.insert(number, (uid, which, now_ms));
        }
        jobs
    }

    /// Takes an answer. That of a jail or a probe that is another by now counts for nothing.
    pub fn end(&mut self, number: u64, answer: Answer, now_ms: u64) {
        let Some((uid, which, began_ms)) = self.under_way.remove(&number) else {
            return;
        };
        let life = self.jails.get_mut(&uid);
        let run = life.and_then(|life| life.runs.get_mut(&which));
        let Some(run) = run.filter(|run| run.under_way == Some(number)) else {
            return;
        };
        run.under_way = None;
        run.count(answer);
        let due_ms = began_ms.saturating_add(run.probe.every_ms());
        run.due_ms = due_ms.max(now_ms.saturating_add(pause_ms(run.stuck)));
    }

    /// How many are under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// What the probes have come to.
    #[must_use]
    pub fn health(&self, now_ms: u64) -> BTreeMap<Uid, Health> {
        let lives = self.jails.iter();
        lives
            .map(|(uid, life)| (uid.clone(), life.health(now_ms)))
            .collect()
    }

    /// When something is due next, or becomes another.
    #[must_use]
    pub fn next_ms(&self, now_ms: u64) -> Option<u64> {
        let lives = self.jails.values();
        lives
            .flat_map(|life| {
                let turns = [life.restart_ms(), life.settled_ms()];
                let turns = turns.into_iter().filter(move |turn| *turn > now_ms);
                life.due().map(|(_, due_ms)| due_ms).chain(turns)
            })
            .min()
    }
}

impl Life {
    fn take(&mut self, probed: &Probed, now_ms: u64) {
        let probes = &probed.probes;
        let known = &probed.verdicts;
        let asked = [
            (Which::Started, &probes.started, &known.started),
            (Which::Ready, &probes.ready, &known.ready),
            (Which::Live, &probes.live, &known.live),
        ];
        for (which, probe, verdict) in asked {
            let Some(probe) = probe else {
                self.runs.remove(&which);
                continue;
            };
            let run = self.runs.entry(which).or_insert_with(|| Run {
                probe: probe.clone(),
                due_ms: self.since_ms.saturating_add(probe.delay_ms()),
                under_way: None,
                well: 0,
                ill: 0,
                unknown: 0,
                stuck: 0,
                verdict: verdict.clone(),
            });
            if run.probe != *probe {
                run.probe = probe.clone();
                (run.well, run.ill, run.under_way) = (0, 0, None);
                (run.unknown, run.stuck) = (0, 0);
                run.due_ms = now_ms;
            }
        }
        self.probed = probed.clone();
    }

    fn verdict(&self, which: Which) -> Option<&Verdict> {
        self.runs.get(&which)?.verdict.as_ref()
    }

    /// The probes that are not under way, and when each is due. Until the jail has come up, nothing else is asked, and that is never asked again.
    fn due(&self) -> impl Iterator<Item = (Which, u64)> {
        let has_started = !self.runs.contains_key(&Which::Started)
            || self
                .verdict(Which::Started)
                .is_some_and(|verdict| verdict.is_well);
        let runs = self.runs.iter();
        let idle = runs.filter(move |(which, run)| {
            run.under_way.is_none() && (**which == Which::Started) != has_started
        });
        idle.map(|(which, run)| (*which, run.due_ms))
    }

    /// From when on it may be started again.
    fn restart_ms(&self) -> u64 {
        self.since_ms.saturating_add(pause_ms(self.probed.restarts))
    }

    /// Whether the last answer to a probe by which it is started again was that it is not well, since this agent asks. What the ledger says may be long ago.
    fn is_ill(&self) -> bool {
        let vital = [Which::Live, Which::Started].into_iter();
        let mut runs = vital.filter_map(|which| self.runs.get(&which));
        runs.any(|run| {
            let verdict = run.verdict.as_ref();
            let has_failed = verdict.is_some_and(|known| !known.is_well && !known.is_unknown);
            has_failed && run.ill > 0 && run.unknown == 0
        })
    }

    fn settled_ms(&self) -> u64 {
        self.since_ms.saturating_add(SETTLED_MS)
    }

    fn health(&self, now_ms: u64) -> Health {
        let verdicts = Verdicts {
            jid: self.probed.jid,
            started: self.verdict(Which::Started).cloned(),
            ready: self.verdict(Which::Ready).cloned(),
            live: self.verdict(Which::Live).cloned(),
        };
        let has_failed = verdicts.failed().is_some();
        let is_well = verdicts.vital().all(|(_, verdict)| verdict.is_well);
        Health {
            is_restart_due: has_failed && self.is_ill() && now_ms >= self.restart_ms(),
            is_settled: is_well && self.probed.restarts > 0 && now_ms >= self.settled_ms(),
            verdicts,
        }
    }
}

impl Run {
    fn count(&mut self, answer: Answer) {
        let said = match answer {
            Answer::Well => return self.count_well(),
            Answer::Ill(said) => return self.count_ill(&said),
            Answer::Unknown(said) => {
                self.stuck = 0;
                said
            }
            Answer::Stuck(said) => {
                self.stuck = self.stuck.saturating_add(1);
                said
            }
        };
        self.unknown = self.unknown.saturating_add(1);
        let is_news = self.verdict.as_ref().is_none_or(|known| !known.is_unknown);
        if is_news && self.unknown >= UNKNOWN_TO_COUNT {
            (self.well, self.ill) = (0, 0);
            self.verdict = Some(Verdict {
                is_well: false,
                is_unknown: true,
                message: told(&said),
            });
        }
    }

    fn count_well(&mut self) {
        (self.well, self.ill) = (self.well.saturating_add(1), 0);
        (self.unknown, self.stuck) = (0, 0);
        let is_news = self.verdict.as_ref().is_none_or(|known| !known.is_well);
        if is_news && self.well >= self.probe.successes_to_count() {
            self.verdict = Some(Verdict {
                is_well: true,
                is_unknown: false,
                message: String::new(),
            });
        }
    }

    fn count_ill(&mut self, said: &str) {
        (self.well, self.ill) = (0, self.ill.saturating_add(1));
        (self.unknown, self.stuck) = (0, 0);
        let known = self.verdict.as_ref();
        let is_news = known.is_none_or(|known| known.is_well || known.is_unknown);
        if is_news && self.ill >= self.probe.failures_to_count() {
            self.verdict = Some(Verdict {
                is_well: false,
                is_unknown: false,
                message: told(said),
            });
        }
    }
}

/// Whether a terminal shows it as what it is: neither a control character nor one of those (Cf of Unicode) that are not seen or turn the order of others.
fn is_shown(character: char) -> bool {
    let is_format = matches!(
        character,
        '\u{ad}'
            | '\u{600}'..='\u{605}'
            | '\u{61c}'
            | '\u{6dd}'
            | '\u{70f}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    );
    !character.is_control() && !is_format
}

/// What a jail said, as it is reported: one line of bounded length.
fn told(said: &str) -> String {
    let line: Vec<&str> = said.split_whitespace().collect();
    let line = line.join(" ");
    let line: String = line.chars().filter(|c| is_shown(*c)).collect();
    if line.len() <= MESSAGE_BYTES_MAX {
        return line;
    }
    let end = line.floor_char_boundary(MESSAGE_BYTES_MAX);
    format!("{}…", &line[..end])
}
