//! Law 8 over generated histories: an acknowledged write survives a power failure at any moment, and a stale writer is
//! refused.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::path::Path;
use std::sync::Mutex;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::{Expect, Transaction};

/// How many keys there are; few, so that histories come back to them.
const KEYS: u8 = 4;

/// What becomes of a write that was not synced when the power failed.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Kept,
    Lost,
    /// Only the first half of it.
    Torn,
}

#[derive(Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

/// A disk that may forget what was not synced when the power fails.
#[derive(Debug, Default)]
struct Disk {
    /// What is read back while the power is on.
    image: Vec<u8>,
    /// What outlives a power failure for certain.
    durable: Vec<u8>,
    unsynced: Vec<Change>,
    /// How many more changes and syncs are done before the power fails; none: it stays on.
    left: Option<usize>,
}

impl Disk {
    fn step(&mut self) -> io::Result<()> {
        match &mut self.left {
            None => Ok(()),
            Some(0) => Err(io::Error::other("the power failed")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    fn change(&mut self, change: Change) -> io::Result<()> {
        self.step()?;
        apply(&mut self.image, &change, Fate::Kept);
        self.unsynced.push(change);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.step()?;
        for change in self.unsynced.drain(..) {
            apply(&mut self.durable, &change, Fate::Kept);
        }
        Ok(())
    }

    /// The power comes back, until the next failure.
    fn restart(&mut self, fates: &[Fate], left: Option<usize>) {
        let fates = fates.iter().chain(std::iter::repeat(&Fate::Lost));
        for (change, fate) in self.unsynced.drain(..).zip(fates) {
            apply(&mut self.durable, &change, *fate);
        }
        self.image.clone_from(&self.durable);
        self.left = left;
    }
}

fn apply(content: &mut Vec<u8>, change: &Change, fate: Fate) {
    match (change, fate) {
        (Change::Length(length), Fate::Kept) => content.resize(*length, 0),
        (Change::Length(_), Fate::Lost | Fate::Torn) | (Change::Write(..), Fate::Lost) => {}
        (Change::Write(offset, data), Fate::Kept | Fate::Torn) => {
            let kept = match fate {
                Fate::Torn => &data[..data.len() / 2],
                Fate::Kept | Fate::Lost => data,
            };
            let end = offset + kept.len();
            if content.len() < end {
                content.resize(end, 0);
            }
            content[*offset..end].copy_from_slice(kept);
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Plugged(Arc<Mutex<Disk>>);

impl Plugged {
    fn disk(&self) -> std::sync::MutexGuard<'_, Disk> {
        self.0.lock().expect("no test panics with it")
    }
}

fn place(number: u64) -> usize {
    usize::try_from(number).expect("the file is small")
}

impl StorageBackend for Plugged {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk().image.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let disk = self.disk();
        let start = place(offset);
        let content = disk.image.get(start..start + out.len());
        out.copy_from_slice(content.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk().change(Change::Length(place(len)))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk().sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk()
            .change(Change::Write(place(offset), data.to_vec()))
    }

    fn close(&self) -> io::Result<()> {
        Ok(())
    }

    fn try_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn unlock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }
}

/// What is under each key, with the revision that wrote it.
type State = BTreeMap<Key, (Revision, Bytes)>;

/// What somebody asks of the store. Keys by number, values by length.
#[derive(Clone, Debug)]
enum Step {
    /// Writes two keys (or one twice named) as the writer believes they are.
    Write {
        keys: (u8, u8),
        length: usize,
    },
    Delete(u8),
    /// Two writers who have read the same.
    Race {
        key: u8,
        length: usize,
    },
    /// A writer who has not read the last write.
    Stale(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let key = || 0..KEYS;
    // Up to more than a page of redb, so that a value lies apart.
    let length = || prop_oneof![0..40_usize, 4_000..9_000_usize];
    prop_oneof![
        4 => ((key(), key()), length()).prop_map(|(keys, length)| Step::Write { keys, length }),
        1 => key().prop_map(Step::Delete),
        2 => (key(), length()).prop_map(|(key, length)| Step::Race { key, length }),
        1 => key().prop_map(Step::Stale),
    ]
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![Just(Fate::Kept), Just(Fate::Lost), Just(Fate::Torn)]
}

fn name(key: u8) -> Key {
    Key::from(format!("/{key}"))
}

/// A writer's request and the state that it leads to, if it is done.
struct Attempt {
    transaction: Transaction,
    after: State,
}

impl Attempt {
    fn write(before: &State, keys: &[u8], value: &Bytes, revision: Revision) -> Self {
        let mut transaction = Transaction::new();
        let mut after = before.clone();
        for key in keys.iter().map(|key| name(*key)).collect::<BTreeSet<_>>() {
            let expect = before
                .get(&key)
                .map_or(Expect::Absent, |(at, _)| Expect::At(*at));
            transaction = transaction.expect(&key, expect).put(&key, value.clone());
            after.insert(key, (revision, value.clone()));
        }
        Self { transaction, after }
    }
}

/// Opens what is on the disk, if the power lasts.
fn open(plugged: &Plugged, folder: &TempDir) -> Option<EmbeddedStore> {
    let backend = plugged.clone();
    let reopen = move || {
        let mut builder = Builder::new();
        builder.set_cache_size(0);
        builder
            .create_with_backend(backend.clone())
            .map_err(|error| errors::opening(Path::new("disk"), error))
    };
    let options = EmbeddedOptions::new(folder.path().join("store.redb"));
    let lock = file::Lock::take(&options.path).expect("nobody else has it");
    let database = reopen().ok()?;
    let shared = Shared::with_database(options, lock, database, Box::new(reopen)).ok()?;
    EmbeddedStore::start(Arc::new(shared)).ok()
}

/// What everybody was told, and the revision of it.
struct History {
    state: State,
    revision: Revision,
}

impl History {
    /// Asks all of `attempts` at once, of which one at most can be done. True: the store answered; else it may have done any of them.
    async fn ask(
        &mut self,
        store: &EmbeddedStore,
        attempts: &[Attempt],
    ) -> Result<bool, TestCaseError> {
        let asked = attempts
            .iter()
            .map(|attempt| store.commit(attempt.transaction.clone()));
        let mut done = 0;
        let mut answered = true;
        for (answer, attempt) in futures::future::join_all(asked)
            .await
            .into_iter()
            .zip(attempts)
        {
            match answer {
                Ok(committed) => {
                    done += 1;
                    prop_assert!(committed.revision >= self.revision);
                    self.revision = committed.revision;
                    self.state = attempt.after.clone();
                }
                Err(Error::Conflict(_)) => {}
                Err(_) => answered = false,
            }
        }
        prop_assert!(
            done <= 1,
            "{done} writers who had read the same were all told yes"
        );
        prop_assert!(done == 1 || !answered, "nobody was told yes");
        Ok(answered)
    }

    /// Takes a step. Returns what the store may hold otherwise than the history says.
    async fn take(
        &mut self,
        store: &EmbeddedStore,
        step: &Step,
    ) -> Result<Option<Vec<State>>, TestCaseError> {
        let next = Revision(self.revision.0 + 1);
        let value = |byte, length| Bytes::from(vec![byte; length]);
        let attempts = match step {
            Step::Write { keys, length } => {
                vec![Attempt::write(
                    &self.state,
                    &[keys.0, keys.1],
                    &value(b'w', *length),
                    next,
                )]
            }
            Step::Race { key, length } => [b'a', b'b']
                .map(|byte| Attempt::write(&self.state, &[*key], &value(byte, *length), next))
                .into(),
            Step::Delete(key) => {
                let mut after = self.state.clone();
                after.remove(&name(*key));
                vec![Attempt {
                    transaction: Transaction::new().delete(name(*key)),
                    after,
                }]
            }
            Step::Stale(key) => {
                let expect = match self.state.get(&name(*key)) {
                    Some((at, _)) => Expect::At(Revision(at.0 - 1)),
                    None => Expect::At(self.revision),
                };
                let transaction = Transaction::new()
                    .expect(name(*key), expect)
                    .put(name(*key), "stale");
                let answer = store.commit(transaction).await;
                prop_assert!(answer.is_err(), "a stale writer was told yes: {answer:?}");
                return Ok((!matches!(answer, Err(Error::Conflict(_)))).then(Vec::new));
            }
        };
        let answered = self.ask(store, &attempts).await?;
        Ok((!answered).then(|| attempts.into_iter().map(|attempt| attempt.after).collect()))
    }

    /// After the power came back: what everybody was told is there, and of what nobody was told at most one whole write.
    async fn check(&mut self, store: &EmbeddedStore, doubt: &[State]) -> Result<(), TestCaseError> {
        let (items, revision) = store.list_all("/").await.expect("the power is on");
        let found: State = items
            .into_iter()
            .map(|item| (item.key, (item.modified, item.value)))
            .collect();
        prop_assert!(
            found == self.state || doubt.contains(&found),
            "found {found:?}, told {:?}, in doubt {doubt:?}",
            self.state
        );
        prop_assert!(
            revision >= self.revision,
            "{revision} after {}",
            self.revision
        );
        self.state = found;
        self.revision = revision;
        Ok(())
    }
}

async fn live(steps: &[Step], failures: &[(usize, Vec<Fate>)]) -> Result<(), TestCaseError> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let plugged = Plugged::default();
    let database = Builder::new()
        .create_with_backend(plugged.clone())
        .expect("the power is on");
    file::initialise(&database).map_err(|_| TestCaseError::fail("the power is on"))?;
    drop(database);
    let mut history = History {
        state: State::new(),
        revision: Revision(1),
    };
    let mut doubt = Vec::new();
    let mut steps = steps.iter();
    for (left, fates) in failures {
        plugged.disk().left = Some(*left);
        if let Some(store) = open(&plugged, &folder) {
            if store.list_all("/").await.is_ok() {
                history.check(&store, &doubt).await?;
                doubt.clear();
            }
            for step in steps.by_ref() {
                if let Some(states) = history.take(&store, step).await? {
                    doubt = states;
                    break;
                }
            }
        }
        plugged.disk().restart(fates, None);
    }
    let store = open(&plugged, &folder).expect("the power is on");
    history.check(&store, &doubt).await?;
    for step in steps {
        prop_assert!(
            history.take(&store, step).await?.is_none(),
            "the power is on"
        );
    }
    history.check(&store, &[]).await
}

proptest! {
    #[test]
    fn what_was_acknowledged_survives_a_power_failure(
        steps in prop::collection::vec(step(), 1..20),
        failures in prop::collection::vec((0..80_usize, prop::collection::vec(fate(), 0..12)), 1..4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(live(&steps, &failures))?;
    }
}
