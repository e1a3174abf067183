//! A disk under the ledger's journal, which knows what was synced: any call can be refused, half done, or done and said to have failed, and a power failure takes what
//! was not synced, all of it or some.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cellblock_agent_core::ledger::journal::Disk;

/// What becomes of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is no room, and nothing is done.
    Refused,
    /// There is room for half of it. A call that is no write is refused.
    Half,
    /// It is done, and said to have failed.
    DoneAndRefused,
}

/// The disk. Clones are handles to the same one.
#[derive(Clone, Debug, Default)]
pub struct Platter(Arc<Mutex<State>>);

#[derive(Clone, Debug, Default)]
struct State {
    files: Vec<Content>,
    /// The file that counts, and the one beside it, as the kernel has the folder.
    place: Option<usize>,
    beside: Option<usize>,
    /// The file that counts as the disk has the folder.
    durable: Option<usize>,
    calls: usize,
    faults: BTreeMap<usize, Fault>,
}

#[derive(Clone, Debug, Default)]
struct Content {
    octets: Vec<u8>,
    /// How many of them are on the disk.
    synced: usize,
}

/// An open file.
#[derive(Debug)]
pub struct OpenFile {
    platter: Platter,
    number: usize,
}

fn full() -> io::Error {
    io::ErrorKind::StorageFull.into()
}

impl State {
    /// Counts a call and says what becomes of it.
    fn fault(&mut self) -> Option<Fault> {
        self.calls += 1;
        self.faults.get(&(self.calls - 1)).copied()
    }

    /// Does what a call does that cannot be half done.
    fn call<T>(&mut self, effect: impl FnOnce(&mut Self) -> T) -> io::Result<T> {
        match self.fault() {
            Some(Fault::Refused | Fault::Half) => Err(full()),
            Some(Fault::DoneAndRefused) => {
                effect(self);
                Err(full())
            }
            None => Ok(effect(self)),
        }
    }

    fn open(&mut self, content: Content) -> usize {
        self.files.push(content);
        self.files.len() - 1
    }
}

impl Platter {
    /// A disk with a file on it, synced.
    #[must_use]
    pub fn with(octets: Vec<u8>) -> Self {
        let mut state = State::default();
        let synced = octets.len();
        let number = state.open(Content { octets, synced });
        state.place = Some(number);
        state.durable = Some(number);
        Self(Arc::new(Mutex::new(state)))
    }

    /// Another disk with the same on it.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self(Arc::new(Mutex::new(self.state().clone())))
    }

    /// Somebody moves the file that counts away, and puts another one there, or none.
    pub fn put(&self, octets: Option<Vec<u8>>) {
        let mut state = self.state();
        let content = |octets: Vec<u8>| Content {
            synced: octets.len(),
            octets,
        };
        state.place = octets.map(|octets| state.open(content(octets)));
        state.durable = state.place;
    }

    /// From now on, which calls do not go well, counted from here.
    pub fn set_faults(&self, faults: BTreeMap<usize, Fault>) {
        let mut state = self.state();
        state.calls = 0;
        state.faults = faults;
    }

    /// How many calls there were since the faults were set.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.state().calls
    }

    /// The file that counts, as the agent would read it now.
    #[must_use]
    pub fn octets(&self) -> Option<Vec<u8>> {
        let state = self.state();
        state.place.map(|place| state.files[place].octets.clone())
    }

    /// Everything that the file that counts can be after a power failure now: what was not synced is cut off anywhere, or has a hole, and the folder is as it was synced or as it is.
    #[must_use]
    pub fn after_power_failure(&self) -> BTreeSet<Option<Vec<u8>>> {
        let state = self.state();
        let mut found = BTreeSet::new();
        for number in [state.durable, state.place] {
            let Some(number) = number else {
                found.insert(None);
                continue;
            };
            let content = &state.files[number];
            for end in content.synced..=content.octets.len() {
                found.insert(Some(content.octets[..end].to_vec()));
                let (mut before, mut after) = (content.octets.clone(), content.octets.clone());
                before[content.synced..end].fill(0);
                after[end..].fill(0);
                found.extend([Some(before), Some(after)]);
            }
        }
        found
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk for Platter {
    type File = OpenFile;

    fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut state = self.state();
        state.call(|state| {
            state.durable = state.place;
            let content = &mut state.files[state.place?];
            content.synced = content.octets.len();
            Some(content.octets.clone())
        })
    }

    fn open(&mut self) -> io::Result<OpenFile> {
        let number = self.state().call(|state| state.place)?;
        let number = number.ok_or(io::ErrorKind::NotFound)?;
        let platter = self.clone();
        Ok(OpenFile { platter, number })
    }

    fn begin(&mut self) -> io::Result<OpenFile> {
        let number = self.state().call(|state| {
            let number = state.open(Content::default());
            state.beside = Some(number);
            number
        })?;
        let platter = self.clone();
        Ok(OpenFile { platter, number })
    }

    fn sync(&mut self, file: &mut OpenFile) -> io::Result<()> {
        self.state().call(|state| {
            let content = &mut state.files[file.number];
            content.synced = content.octets.len();
        })
    }

    /// Two calls: the rename, and the sync of the folder.
    fn replace(&mut self) -> io::Result<()> {
        let mut state = self.state();
        state.call(|state| state.place = state.beside.take())?;
        state.call(|state| state.durable = state.place)
    }

    fn is_in_place(&mut self, file: &OpenFile, length: u64) -> bool {
        let state = self.state();
        state.place == Some(file.number) && state.files[file.number].octets.len() as u64 == length
    }

    fn cut(&mut self, file: &mut OpenFile, length: u64) {
        // Whoever gives room back cannot rely on it, so nobody is told.
        let _ = self.state().call(|state| {
            let content = &mut state.files[file.number];
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            content.octets.truncate(length);
            content.synced = content.synced.min(length);
        });
    }
}

impl io::Write for OpenFile {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let mut state = self.platter.state();
        let fault = state.fault();
        let content = &mut state.files[self.number].octets;
        match fault {
            None => {
                content.extend_from_slice(octets);
                Ok(octets.len())
            }
            Some(Fault::Refused) => Err(full()),
            Some(Fault::Half) => {
                let half = octets.len() / 2;
                content.extend_from_slice(&octets[..half]);
                Ok(half)
            }
            Some(Fault::DoneAndRefused) => {
                content.extend_from_slice(octets);
                Err(full())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
