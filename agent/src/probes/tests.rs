use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};

use cellblock_agent_core::probe::Verdict;
use cellblock_freebsd::{Command, Output, SystemError};
use cellblock_schemas::jail::{Probe, Probes, TcpProbe};

use super::*;
use crate::mailbox::{Found, Receiver, mailbox};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// A host whose probes hang until the gate is opened, but for those of the jail 1.
#[derive(Default)]
struct Hanging {
    open: Mutex<bool>,
    opened: Condvar,
    now: AtomicUsize,
    most: AtomicUsize,
}

impl System for Hanging {
    fn run(&self, command: &Command) -> Result<Output, SystemError> {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        if !command.line().contains(" -d / 1 ") {
            let mut open = self.open.lock().expect("nobody panicked");
            while !*open {
                open = self.opened.wait(open).expect("nobody panicked");
            }
        }
        self.now.fetch_sub(1, Ordering::SeqCst);
        Ok(Output::default())
    }

    fn read_file(&self, _: &str) -> Result<Option<String>, SystemError> {
        Ok(None)
    }

    fn write_file(&self, _: &str, _: &str) -> Result<(), SystemError> {
        Ok(())
    }

    fn remove_file(&self, _: &str) -> Result<(), SystemError> {
        Ok(())
    }

    fn list_dir(&self, _: &str) -> Result<Option<Vec<String>>, SystemError> {
        Ok(None)
    }

    fn real_path(&self, _: &str) -> Result<Option<String>, SystemError> {
        Ok(None)
    }

    fn file_size(&self, _: &str) -> Result<Option<u64>, SystemError> {
        Ok(None)
    }

    fn rotate_file(&self, _: &str, _: &str, _: u64) -> Result<(), SystemError> {
        Ok(())
    }
}

fn jails(count: u32) -> Wanted {
    let probe = Probe {
        tcp: Some(TcpProbe { port: 80 }),
        every: Some("1s".to_owned()),
        ..Probe::default()
    };
    let jail = |jid| Probed {
        jid,
        probes: Probes {
            ready: Some(probe.clone()),
            ..Probes::default()
        },
        address: "10.0.0.2".parse().expect("an address"),
        fib: 0,
        restarts: 0,
        verdicts: Verdicts::default(),
    };
    let jails = (1..=count).map(|jid| (Uid(format!("u{jid:03}")), jail(jid)));
    Arc::new(jails.collect())
}

fn ready(inbox: &Receiver) -> usize {
    let found = inbox.receive(PATIENCE);
    let Found::Health(health) = found else {
        panic!("{found:?}");
    };
    let known = health.values();
    known.filter(|found| found.verdicts.ready.is_some()).count()
}

#[tokio::test]
async fn probes_that_hang_are_bounded_and_hold_up_neither_others_nor_the_end() {
    let host = Arc::new(Hanging::default());
    let (views, inbox) = mailbox();
    let (_publish, wanted) = watch::channel(jails(40));
    let (stop, stopped) = watch::channel(false);
    let work = tokio::spawn(run(host.clone(), wanted, inbox.nudge(), stopped));
    // The first hear that all are asked; the second what one of them has said. It was among the first, and all other places hang.
    let inbox = tokio::task::spawn_blocking(move || {
        let mut known = 0;
        while known < 1 {
            known = ready(&inbox);
        }
        assert_eq!(known, 1);
        inbox
    })
    .await
    .expect("it is heard");
    assert_eq!(host.most.load(Ordering::SeqCst), PLACES);
    *host.open.lock().expect("nobody panicked") = true;
    host.opened.notify_all();
    tokio::task::spawn_blocking(move || while ready(&inbox) < 40 {})
        .await
        .expect("all are heard");
    assert!(host.most.load(Ordering::SeqCst) <= PLACES);
    // The end waits for none that hangs.
    *host.open.lock().expect("nobody panicked") = false;
    stop.send_replace(true);
    tokio::time::timeout(PATIENCE, work)
        .await
        .expect("it ends")
        .expect("it does not panic");
    host.opened.notify_all();
    drop(views);
}

/// A jail whose answers alternate has the host looked at every ten seconds, and not with each of them; first words, failures to be acted on and jails that go are told at once.
#[test]
fn what_only_turns_is_told_now_and_then() {
    let health = |is_well: Option<bool>, is_restart_due: bool| Health {
        verdicts: Verdicts {
            jid: 1,
            ready: is_well.map(|is_well| Verdict {
                is_well,
                is_unknown: false,
                message: String::new(),
            }),
            ..Verdicts::default()
        },
        is_restart_due,
        is_settled: false,
    };
    let of = |jails: &[(&str, Health)]| -> BTreeMap<Uid, Health> {
        let jails = jails.iter();
        jails
            .map(|(uid, health)| (Uid((*uid).to_owned()), health.clone()))
            .collect()
    };
    let mut told = Told::default();
    let (mut looks, mut now_ms) = (0, 0);
    let mut is_well = false;
    while now_ms < 600_000 {
        is_well = !is_well;
        let health = of(&[("a", health(Some(is_well), false))]);
        if told.due_ms(&health).is_some_and(|due_ms| due_ms <= now_ms) {
            told.note(health, now_ms);
            looks += 1;
        }
        now_ms += 1_000;
    }
    assert!((50..=61).contains(&looks), "{looks}");
    let was = health(Some(true), false);
    told.note(of(&[("a", was.clone())]), now_ms);
    let turned = health(Some(false), false);
    let due = |told: &Told, jails: &[(&str, Health)]| told.due_ms(&of(jails));
    assert_eq!(due(&told, &[("a", was.clone())]), None);
    let quiet = due(&told, &[("a", turned.clone())]);
    assert!(quiet.is_some_and(|due_ms| due_ms > now_ms + 1_000));
    for at_once in [
        &[("a", health(Some(false), true))][..],
        &[("a", turned), ("b", health(None, false))],
        &[],
    ] {
        assert_eq!(due(&told, at_once), Some(now_ms + 1_000));
    }
}
