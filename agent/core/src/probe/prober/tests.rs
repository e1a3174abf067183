use std::collections::BTreeMap;

use cellblock_schemas::ids::Uid;
use cellblock_schemas::jail::{ExecProbe, Probe, Probes};
use proptest::prelude::*;

use super::*;

fn probe() -> Probe {
    Probe {
        exec: Some(ExecProbe {
            command: vec!["/usr/bin/true".to_owned()],
            user: None,
        }),
        ..Probe::default()
    }
}

fn jail(jid: u32, probes: Probes) -> Probed {
    Probed {
        jid,
        probes,
        address: "10.0.0.2".parse().expect("an address"),
        fib: 0,
        restarts: 0,
        verdicts: Verdicts::default(),
    }
}

fn uid() -> Uid {
    Uid("a".to_owned())
}

fn one(probed: Probed) -> BTreeMap<Uid, Probed> {
    BTreeMap::from([(uid(), probed)])
}

fn verdict(is_well: bool, message: &str) -> Option<Verdict> {
    Some(Verdict {
        is_well,
        is_unknown: false,
        message: message.to_owned(),
    })
}

/// A prober of one jail, and its clock.
struct Bench {
    prober: Prober,
    now_ms: u64,
}

impl Bench {
    fn new(probed: Probed) -> Self {
        let mut prober = Prober::default();
        prober.look(&one(probed), 0);
        Self { prober, now_ms: 0 }
    }

    /// Answers everything that is due, as long as it takes to be due `times` times.
    fn answer(&mut self, times: usize, answer: &Answer) {
        let mut made = 0;
        while made < times {
            let jobs = self.prober.begin(self.now_ms, 9);
            made += jobs.len();
            for job in jobs {
                self.prober.end(job.number, answer.clone(), self.now_ms);
            }
            self.now_ms = self
                .prober
                .next_ms(self.now_ms)
                .expect("it goes on")
                .max(self.now_ms);
        }
    }

    fn health(&self) -> Health {
        self.prober.health(self.now_ms)[&uid()].clone()
    }
}

fn ill(said: &str) -> Answer {
    Answer::Ill(said.to_owned())
}

#[test]
fn so_many_answers_in_a_row_make_a_verdict_and_its_words_stay() {
    let ready = Probe {
        failures: Some(2),
        successes: Some(2),
        ..probe()
    };
    let probes = Probes {
        ready: Some(ready),
        ..Probes::default()
    };
    let mut bench = Bench::new(jail(3, probes));
    bench.answer(1, &Answer::Well);
    assert_eq!(bench.health().verdicts.ready, None);
    bench.answer(1, &Answer::Well);
    assert_eq!(bench.health().verdicts.ready, verdict(true, ""));
    bench.answer(1, &ill("a"));
    bench.answer(1, &Answer::Well);
    bench.answer(1, &ill("b"));
    assert_eq!(bench.health().verdicts.ready, verdict(true, ""));
    bench.answer(1, &ill("c \n at\t12:00\u{7}\u{202e}\u{200b}"));
    assert_eq!(bench.health().verdicts.ready, verdict(false, "c at 12:00"));
    bench.answer(5, &ill("at 12:01"));
    assert_eq!(bench.health().verdicts.ready, verdict(false, "c at 12:00"));
    bench.answer(2, &Answer::Well);
    assert_eq!(bench.health().verdicts.ready, verdict(true, ""));
    // Whether it can take work is no reason to start it again.
    bench.answer(9, &ill("d"));
    assert!(!bench.health().is_restart_due);
}

#[test]
fn nothing_else_is_asked_until_the_jail_has_come_up_and_then_that_is_not() {
    let probes = Probes {
        started: Some(Probe {
            every: Some("1s".to_owned()),
            failures: Some(5),
            ..probe()
        }),
        ready: Some(probe()),
        live: Some(Probe {
            delay: Some("60s".to_owned()),
            ..probe()
        }),
    };
    let mut bench = Bench::new(jail(3, probes.clone()));
    bench.answer(4, &ill("down"));
    assert_eq!(bench.now_ms, 4_000);
    bench.answer(1, &Answer::Well);
    assert_eq!(bench.health().verdicts.started, verdict(true, ""));
    bench.answer(1, &Answer::Well);
    let known = bench.health().verdicts;
    assert_eq!((known.ready, known.live), (verdict(true, ""), None));
    bench.answer(20, &Answer::Well);
    assert!(bench.now_ms > 60_000);
    assert_eq!(bench.health().verdicts.live, verdict(true, ""));
    // One that never comes up is started again.
    let mut bench = Bench::new(jail(4, probes));
    bench.answer(5, &ill("down"));
    let health = bench.health();
    assert_eq!(
        health.verdicts.failed().map(|(name, _)| name),
        Some("started")
    );
    assert!(health.is_restart_due);
}

#[test]
fn restarts_come_further_and_further_apart_until_the_jail_has_been_well_for_long() {
    assert_eq!(
        [0, 1, 2, 3, 5, 6, 7, 99].map(|count| pause_ms(count) / 1_000),
        [0, 10, 20, 40, 160, 300, 300, 300]
    );
    let probes = Probes {
        live: Some(Probe {
            every: Some("1s".to_owned()),
            ..probe()
        }),
        ..Probes::default()
    };
    let mut bench = Bench::new(Probed {
        restarts: 3,
        ..jail(3, probes)
    });
    bench.answer(3, &ill("hangs"));
    assert!(bench.health().verdicts.failed().is_some());
    assert!(!bench.health().is_restart_due);
    bench.answer(36, &ill("hangs"));
    assert!(bench.now_ms < 40_000 && !bench.health().is_restart_due);
    bench.answer(2, &ill("hangs"));
    assert!(bench.now_ms >= 40_000 && bench.health().is_restart_due);
    // It came back by itself.
    bench.answer(1, &Answer::Well);
    assert!(!bench.health().is_restart_due && !bench.health().is_settled);
    bench.answer(600, &Answer::Well);
    assert!(bench.health().is_settled);
}

#[test]
fn what_the_ledger_knows_is_known_to_an_agent_that_is_started_anew() {
    let probes = Probes {
        ready: Some(probe()),
        ..Probes::default()
    };
    let known = Verdicts {
        jid: 3,
        ready: verdict(true, ""),
        ..Verdicts::default()
    };
    let probed = Probed {
        verdicts: known.clone(),
        ..jail(3, probes.clone())
    };
    let mut prober = Prober::default();
    prober.look(&one(probed), 0);
    assert_eq!(prober.health(0)[&uid()].verdicts, known);
    // Another start of the jail is asked anew.
    prober.look(&one(jail(4, probes)), 10);
    assert_eq!(prober.health(10)[&uid()].verdicts.ready, None);
}

#[test]
fn an_answer_to_what_is_asked_no_more_counts_for_nothing() {
    let probes = |failures| Probes {
        ready: Some(Probe {
            failures: Some(failures),
            ..probe()
        }),
        ..Probes::default()
    };
    let mut prober = Prober::default();
    prober.look(&one(jail(3, probes(1))), 0);
    let old = prober.begin(0, 9).remove(0);
    // Another question by now, which is asked at once, beside the old one.
    prober.look(&one(jail(3, probes(2))), 5);
    let new = prober.begin(5, 9).remove(0);
    assert_eq!(prober.under_way(), 2);
    prober.end(old.number, ill("a"), 6);
    assert_eq!(prober.health(6)[&uid()].verdicts.ready, None);
    prober.end(new.number, ill("b"), 7);
    assert_eq!(prober.health(7)[&uid()].verdicts.ready, None);
    // Of a jail that is gone.
    let job = prober.begin(20_000, 9).remove(0);
    prober.look(&BTreeMap::new(), 20_000);
    prober.end(job.number, ill("c"), 20_001);
    assert_eq!(prober.under_way(), 0);
    assert_eq!(prober.health(20_001), BTreeMap::new());
    assert_eq!(prober.next_ms(20_001), None);
}

#[test]
fn a_probe_that_cannot_be_made_says_nothing_of_the_jail() {
    let live = Probe {
        every: Some("1s".to_owned()),
        ..probe()
    };
    let probes = Probes {
        ready: Some(live.clone()),
        live: Some(live),
        ..Probes::default()
    };
    let cannot = Answer::Unknown("no process".to_owned());
    let unknown = Some(Verdict {
        is_well: false,
        is_unknown: true,
        message: "no process".to_owned(),
    });
    let mut bench = Bench::new(Probed {
        restarts: 1,
        ..jail(3, probes.clone())
    });
    bench.answer(2, &Answer::Well);
    bench.answer(4, &cannot);
    assert_eq!(bench.health().verdicts.ready, verdict(true, ""));
    bench.answer(1_200, &cannot);
    let health = bench.health();
    assert!(bench.now_ms >= 600_000);
    assert_eq!(
        (&health.verdicts.ready, &health.verdicts.live),
        (&unknown, &unknown)
    );
    // Nothing of it is taken for well either.
    assert!(!health.is_restart_due && !health.is_settled);
    bench.answer(2, &Answer::Well);
    assert_eq!(bench.health().verdicts.live, verdict(true, ""));

    // Between the answers that count it neither adds one nor begins anew.
    let mut bench = Bench::new(jail(4, probes));
    bench.answer(4, &ill("down"));
    bench.answer(2, &cannot);
    assert_eq!(bench.health().verdicts.live, None);
    bench.answer(2, &ill("down"));
    assert!(bench.health().is_restart_due);
    // As long as nobody knows whether it still is.
    bench.answer(2, &cannot);
    assert!(!bench.health().is_restart_due);
    bench.answer(2, &ill("down"));
    assert!(bench.health().is_restart_due);
}

#[test]
fn one_that_is_stuck_is_made_further_and_further_apart() {
    let probes = Probes {
        live: Some(probe()),
        ..Probes::default()
    };
    let mut bench = Bench::new(jail(3, probes));
    let stuck = Answer::Stuck("sleeps".to_owned());
    bench.answer(3, &stuck);
    assert_eq!(bench.now_ms, 10_000 + 20_000 + 40_000);
    bench.answer(7, &stuck);
    assert!(bench.now_ms > 1_200_000 && !bench.health().is_restart_due);
    bench.answer(1, &Answer::Well);
    let now_ms = bench.now_ms;
    bench.answer(1, &Answer::Well);
    assert_eq!(bench.now_ms, now_ms + 10_000);
}

#[test]
fn what_the_ledger_says_restarts_nobody_who_was_not_asked_since() {
    let probes = Probes {
        live: Some(probe()),
        ..Probes::default()
    };
    let mut bench = Bench::new(Probed {
        verdicts: Verdicts {
            jid: 3,
            live: verdict(false, "down"),
            ..Verdicts::default()
        },
        ..jail(3, probes)
    });
    assert!(bench.health().verdicts.failed().is_some());
    assert!(!bench.health().is_restart_due);
    let mut other = Prober::default();
    other.look(&one(bench.prober.jails[&uid()].probed.clone()), 0);
    let job = other.begin(0, 1).remove(0);
    other.end(job.number, Answer::Well, 1);
    assert_eq!(other.health(1)[&uid()].verdicts.live, verdict(true, ""));
    bench.answer(1, &ill("down"));
    assert!(bench.health().is_restart_due);
}

proptest! {
    /// However many jails ask for however much: never more at once than there are places, each probe once at a time, and those that are due longest first, so that every one has its turn.
    #[test]
    fn many_jails_share_the_places(count in 1_usize..20, places in 1_usize..8, takes_ms in 0_u64..3_000) {
        let probes = Probes {
            ready: Some(Probe { every: Some("1s".to_owned()), ..probe() }),
            live: Some(Probe { every: Some("2s".to_owned()), ..probe() }),
            ..Probes::default()
        };
        let jails: BTreeMap<Uid, Probed> = (0..count)
            .map(|number| (Uid(format!("u{number}")), jail(u32::try_from(number).expect("small") + 1, probes.clone())))
            .collect();
        let mut prober = Prober::default();
        prober.look(&jails, 0);
        let mut running: Vec<(u64, Job)> = Vec::new();
        let mut asked: BTreeMap<u32, usize> = BTreeMap::new();
        let mut now_ms = 0;
        for _ in 0..(count * 8) {
            let free = places - prober.under_way();
            for job in prober.begin(now_ms, free) {
                *asked.entry(job.jid).or_default() += 1;
                running.push((now_ms + takes_ms, job));
            }
            prop_assert!(prober.under_way() <= places);
            now_ms += 100.max(takes_ms / 4);
            let (done, left): (Vec<_>, Vec<_>) = running.into_iter().partition(|(ends_ms, _)| *ends_ms <= now_ms);
            running = left;
            for (_, job) in done {
                prober.end(job.number, Answer::Well, now_ms);
            }
        }
        // In the time that passed, each place has ended so many.
        let made: usize = asked.values().sum();
        if made >= count * 4 {
            prop_assert_eq!(asked.len(), count, "some were never asked: {:?}", asked);
        }
    }
}
