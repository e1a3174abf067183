//! The ledger's journal on a disk that fails and loses what was not synced: what was acknowledged is there, and what is not whole is noticed.

use std::collections::{BTreeMap, BTreeSet};

use cellblock_agent_core::Ledger;
use cellblock_agent_core::execute::{LedgerFile, Unkept};
use cellblock_agent_core::guard::RolledBack;
use cellblock_agent_core::host::{HostError, Retry};
use cellblock_agent_core::ledger::journal::{Journal, LoadError, Unreadable};
use cellblock_agent_core::ledger::{Change, Owned, OwnedJail};
use cellblock_schemas::ids::Uid;
use cellblock_schemas::view::{HostView, JailView};
use cellblock_sim::platter::{Fault, Platter};
use proptest::prelude::*;
use proptest::sample::Index;

/// How much is appended to a file before it is written anew, in octets: a few changes.
const SLACK: u64 = 600;

/// A journal as the agent's file.
struct File(Journal<Platter>);

impl LedgerFile for File {
    fn append(&mut self, ledger: &Ledger, changes: &[Change]) -> Result<(), HostError> {
        self.0.append(ledger, changes).map_err(|error| HostError {
            reason: "DiskFull",
            message: error.to_string(),
            retry: Retry::After,
        })
    }
}

fn open(platter: &Platter) -> (File, Ledger) {
    let mut journal = Journal::with_slack(platter.clone(), SLACK);
    let ledger = journal.load().expect("what was left can be read").ledger;
    (File(journal), ledger)
}

/// What the agent would read of these octets.
fn read(octets: Option<Vec<u8>>) -> Result<Ledger, LoadError> {
    let platter = octets.map(Platter::with).unwrap_or_default();
    let mut journal = Journal::new(platter);
    journal.load().map(|loaded| loaded.ledger)
}

fn after(ledger: &Ledger, changes: &[Change]) -> Ledger {
    let mut after = ledger.clone();
    after
        .commit(changes.to_vec(), &mut Unkept)
        .expect("no file never fails");
    after
}

fn change() -> impl Strategy<Value = Change> {
    let uid = || prop::sample::select(vec!["a", "b", "c"]).prop_map(|uid| Uid(uid.to_owned()));
    let owned = || {
        prop::sample::select(vec!["igb0", "igb1", "lo1"]).prop_map(|name| Owned::BroughtUp {
            interface: name.to_owned(),
        })
    };
    prop_oneof![
        2 => (prop::collection::btree_map(uid(), 0_u64..3, 0..3), 0_u64..100).prop_map(|(jails, number)| {
            let mut view = HostView::default();
            view.mark.generation.0 = number;
            view.jails = jails
                .into_iter()
                .map(|(uid, generation)| {
                    let mut jail = JailView { uid: uid.clone(), ..JailView::default() };
                    jail.generation.0 = generation;
                    (uid, jail)
                })
                .collect();
            Change::TakeView(view.into(), format!("{number:04x}"))
        }),
        1 => Just(Change::Approve),
        1 => "[12]".prop_map(Change::EnterBoot),
        3 => owned().prop_map(Change::Own),
        2 => owned().prop_map(Change::Disown),
        3 => (uid(), 0_u32..3).prop_map(|(uid, jid)| {
            let jail = OwnedJail { jid, name: "www \u{1f4a1}".to_owned(), ..OwnedJail::default() };
            Change::KnowJail(uid, jail)
        }),
        2 => uid().prop_map(Change::ForgetJail),
        1 => "[12]".prop_map(|part| {
            let judged = RolledBack {
                target: "00ff".to_owned(),
                what: "set lagg".to_owned(),
                why: "nobody answered \u{1f4a1}".to_owned(),
                at: "2026-11-22T02:34:16Z".to_owned(),
            };
            Change::Judge(part, judged)
        }),
        1 => "[12]".prop_map(Change::Acquit),
    ]
}

/// What happens to an agent.
#[derive(Clone, Debug)]
enum Event {
    Commit(Vec<Change>),
    Learn(Vec<Change>),
    /// It is killed and started again.
    Restart,
    /// The power fails, and of what was not synced something is left.
    PowerFails(Index),
    /// From here these calls do not go well.
    Trouble(BTreeMap<usize, Fault>),
}

fn event() -> impl Strategy<Value = Event> {
    let changes = || prop::collection::vec(change(), 1..4);
    let fault = prop_oneof![
        Just(Fault::Refused),
        Just(Fault::Half),
        Just(Fault::DoneAndRefused)
    ];
    prop_oneof![
        6 => changes().prop_map(Event::Commit),
        2 => changes().prop_map(Event::Learn),
        1 => Just(Event::Restart),
        1 => any::<Index>().prop_map(Event::PowerFails),
        3 => prop::collection::btree_map(0_usize..12, fault, 0..4).prop_map(Event::Trouble),
    ]
}

/// An agent and what its disk may hold.
struct Agent {
    platter: Platter,
    file: File,
    ledger: Ledger,
    /// The ledger as it was acknowledged last, and every later one of which the agent does not know whether it is on the disk.
    possible: Vec<Ledger>,
}

impl Agent {
    fn new() -> Self {
        let platter = Platter::default();
        let (file, ledger) = open(&platter);
        Self {
            possible: vec![ledger.clone()],
            platter,
            file,
            ledger,
        }
    }

    fn start(&mut self) -> Result<(), TestCaseError> {
        self.platter.set_faults(BTreeMap::new());
        (self.file, self.ledger) = open(&self.platter);
        self.assert_possible(&self.ledger)?;
        self.possible = vec![self.ledger.clone()];
        Ok(())
    }

    fn assert_possible(&self, ledger: &Ledger) -> Result<(), TestCaseError> {
        let is_possible = self.possible.iter().any(|possible| **possible == **ledger);
        prop_assert!(is_possible, "{ledger:#?} is none of {:#?}", self.possible);
        Ok(())
    }

    fn act(&mut self, event: Event) -> Result<(), TestCaseError> {
        let (changes, is_learned) = match event {
            Event::Commit(changes) => (changes, false),
            Event::Learn(changes) => (changes, true),
            Event::Restart => return self.start(),
            Event::PowerFails(which) => {
                let left: Vec<_> = self.platter.after_power_failure().into_iter().collect();
                let left = left[which.index(left.len())].clone();
                self.platter = left.map(Platter::with).unwrap_or_default();
                return self.start();
            }
            Event::Trouble(faults) => {
                self.platter.set_faults(faults);
                return Ok(());
            }
        };
        let (before, calls) = (self.ledger.clone(), self.platter.calls());
        let next = after(&before, &changes);
        let written = if is_learned {
            self.ledger.learn(changes, &mut self.file)
        } else {
            self.ledger.commit(changes, &mut self.file)
        };
        self.possible.push(next.clone());
        let is_acknowledged = matches!(written, Ok(true));
        let is_known = is_acknowledged || is_learned;
        prop_assert_eq!(&*self.ledger, &**if is_known { &next } else { &before });
        if is_acknowledged {
            self.possible = vec![next];
        } else if !is_learned && written.is_ok() {
            prop_assert_eq!(
                self.platter.calls(),
                calls,
                "what was so already was written"
            );
        }
        // Whenever the power fails now.
        for left in self.platter.after_power_failure() {
            let ledger = read(left);
            prop_assert!(ledger.is_ok(), "{:?}", ledger);
            self.assert_possible(&ledger.expect("just tested"))?;
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever fails, and whenever the power does: what was acknowledged is there, with nothing in its place but what was tried after it. And once there is room again, everything is written.
    #[test]
    fn what_was_acknowledged_is_there(events in prop::collection::vec(event(), 1..30)) {
        let mut agent = Agent::new();
        for event in events {
            agent.act(event)?;
        }
        agent.platter.set_faults(BTreeMap::new());
        let boot = Change::EnterBoot("the last".to_owned());
        let written = agent.ledger.commit(vec![boot], &mut agent.file);
        prop_assert!(matches!(written, Ok(true)), "{:?}", written);
        let (_, read) = open(&agent.platter);
        prop_assert_eq!(&*read, &*agent.ledger);
    }

    /// An altered octet before the last line is always noticed; in the last line it is noticed, or the line is taken for one that was never written to its end.
    #[test]
    fn an_altered_octet_is_noticed(commits in prop::collection::vec(prop::collection::vec(change(), 1..3), 2..8), at in any::<Index>(), flip in 1_u8..) {
        let platter = Platter::default();
        let mut journal = Journal::new(platter.clone());
        let mut states = vec![Ledger::new()];
        for changes in commits {
            let before = states.last().expect("one at least").clone();
            journal.append(&before, &changes).expect("a disk that never fails");
            states.push(after(&before, &changes));
        }
        let mut octets = platter.octets().expect("a file");
        let lines: Vec<usize> = octets.split_inclusive(|octet| *octet == b'\n').map(<[u8]>::len).collect();
        let last = octets.len() - lines[lines.len() - 1];
        let at = at.index(octets.len());
        octets[at] ^= flip;
        match read(Some(octets)) {
            Err(LoadError::Unreadable(_)) => {}
            Ok(ledger) => {
                prop_assert!(at >= last, "octet {} of {} was altered", at, last);
                prop_assert_eq!(&*ledger, &*states[states.len() - 2]);
            }
            Err(error) => prop_assert!(false, "{error}"),
        }
    }
}

/// A file of three lines, and the ledger that it says.
fn three_lines() -> (Vec<u8>, Ledger) {
    let platter = Platter::default();
    let (mut file, mut ledger) = open(&platter);
    for name in ["igb0", "igb1"] {
        let interface = name.to_owned();
        let change = Change::Own(Owned::BroughtUp { interface });
        ledger
            .commit(vec![change], &mut file)
            .expect("a disk that never fails");
    }
    (platter.octets().expect("a file"), ledger)
}

#[test]
fn a_line_that_is_gone_or_doubled_or_moved_is_noticed() {
    let (octets, _) = three_lines();
    let lines: Vec<&[u8]> = octets.split_inclusive(|octet| *octet == b'\n').collect();
    assert_eq!(lines.len(), 3);
    for (order, damaged) in [
        (&[0, 2][..], 2),
        (&[1, 2], 1),
        (&[0, 2, 1], 2),
        (&[0, 1, 1, 2], 3),
        (&[0, 1, 2, 2], 4),
        (&[], 1),
    ] {
        let octets: Vec<u8> = order
            .iter()
            .flat_map(|line| lines[*line])
            .copied()
            .collect();
        let error = read(Some(octets)).expect_err("noticed");
        let LoadError::Unreadable(Unreadable::Damaged { line, .. }) = error else {
            panic!("{order:?}: {error}");
        };
        assert_eq!(line, damaged, "{order:?}");
    }
}

#[test]
fn all_that_is_written_is_in_proportion_to_what_has_changed() {
    let platter = Platter::default();
    let (mut file, mut ledger) = open(&platter);
    let (mut writes, mut length) = (0, 0);
    for number in 0..1_000 {
        let uid = Uid(format!("jail-{number:04}"));
        let change = Change::KnowJail(uid, OwnedJail::default());
        ledger
            .commit(vec![change], &mut file)
            .expect("a disk that never fails");
        let now = platter.octets().expect("a file").len();
        // A file that has become shorter, or has not grown by one line, is a new one.
        writes += if now > length && now - length < 400 {
            now - length
        } else {
            now
        };
        length = now;
    }
    assert!(
        writes < 4 * length + 4 * 1_000 * 200,
        "{writes} octets written, {length} at the end"
    );
    let (_, read) = open(&platter);
    assert_eq!(*read, *ledger);
}

#[test]
fn a_file_that_somebody_moves_away_or_writes_into_is_written_anew() {
    let (octets, ledger) = three_lines();
    for put in [None, Some(b"something else".to_vec()), Some(octets.clone())] {
        let platter = Platter::with(octets.clone());
        let (mut file, mut ledger) = (open(&platter).0, ledger.clone());
        platter.put(put);
        ledger
            .commit(vec![Change::Approve], &mut file)
            .expect("a disk that never fails");
        let (_, read) = open(&platter);
        assert_eq!(*read, *ledger);
    }
}

#[test]
fn turning_an_older_form_over_loses_nothing_wherever_it_is_cut_short() {
    let older = br#"{"version":2,"approved":true,"bootId":"1"}"#.to_vec();
    let expected = read(Some(older.clone())).expect("an older form");
    assert!(expected.approved);
    for fault in [Fault::Refused, Fault::Half, Fault::DoneAndRefused] {
        for call in 0..12 {
            let platter = Platter::with(older.clone());
            let (mut file, mut ledger) = open(&platter);
            platter.set_faults(BTreeMap::from([(call, fault)]));
            let change = Change::EnterBoot("2".to_owned());
            let next = after(&ledger, std::slice::from_ref(&change));
            let _ = ledger.commit(vec![change], &mut file);
            let found: BTreeSet<bool> = platter
                .after_power_failure()
                .into_iter()
                .map(|left| {
                    let left = read(left).expect("readable");
                    assert!(*left == *expected || *left == *next, "{left:#?}");
                    *left == *next
                })
                .collect();
            assert!(!found.is_empty());
        }
    }
}
