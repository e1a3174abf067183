//! The guard of a change that could cut the host off: its record in the state folder, the process that takes the change back, and the agent's end of both. What is guarded and how it is taken back, and
//! when it is confirmed, is `agent/core`'s.
//!
//! ```text
//! change.armed ──(agent renames)──► change.confirmed       it stays
//!      └────────(guard renames)──► change.undoing ──► change.undone
//! ```
//!
//! rename(2) succeeds for one of the two, whatever dies when. The guard holds a lock on `guard.lock` as long as it lives. It takes the change back when its standard input ends, as it does when the agent dies, and
//! when its time is up.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use cellblock_agent_core::guard::{Armed, Found, Lifeline, State, TakenBack, take_back};
use cellblock_agent_core::host::{Host, HostError, Retry};
use cellblock_agent_core::plan::reason;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::reach::Reach;

/// How long a guard may take to say that it is there.
const START_MAX: Duration = Duration::from_secs(10);

/// How long a guard that was told to take a change back is waited for. After that the next pass looks again.
const TAKING_BACK_MAX: Duration = Duration::from_secs(60);

/// How long a guard goes on trying to take back what it could not; the agent does after it, if it lives.
const TRYING_MAX: Duration = Duration::from_secs(600);

/// How long it pauses between two tries.
const TRY_PAUSE: Duration = Duration::from_secs(1);

/// How long after it was taken back it is taken back once more: a command of an agent that was killed may end late.
const AFTER_PAUSE: Duration = Duration::from_secs(2);

/// How often it is looked whether a guard has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What a guard says once it is there.
const READY: &[u8] = b"ready\n";

const ARMED: &str = "change.armed";
const UNDOING: &str = "change.undoing";
const CONFIRMED: &str = "change.confirmed";
const UNDONE: &str = "change.undone";
const LOCK: &str = "guard.lock";

/// A change that was taken back, as it stands in the folder.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Undone {
    armed: Armed,
    taken_back: TakenBack,
}

/// The record of a change in the state folder.
#[derive(Clone, Debug)]
struct Record {
    folder: PathBuf,
}

impl Record {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn read<T: for<'de> Deserialize<'de>>(&self, name: &str) -> anyhow::Result<Option<T>> {
        let path = self.path(name);
        match std::fs::read(&path) {
            Ok(bytes) => {
                let document = serde_json::from_slice(&bytes);
                Ok(Some(document.with_context(|| {
                    format!(
                        "{} is damaged; look whether the host is as it shall be, and remove it",
                        path.display()
                    )
                })?))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => {
                Err(error).with_context(|| format!("{} could not be read", path.display()))
            }
        }
    }

    /// Whole and synced, or not at all.
    fn write(&self, name: &str, document: &impl Serialize) -> anyhow::Result<()> {
        let (path, beside) = (self.path(name), self.path(&format!("{name}.new")));
        let write = || -> io::Result<()> {
            let mut file = OpenOptions::new()
                .create(true)
                .truncate(true)
                .write(true)
                .mode(0o600)
                .open(&beside)?;
            file.write_all(&serde_json::to_vec(document)?)?;
            file.sync_all()?;
            std::fs::rename(&beside, &path)?;
            self.sync()
        };
        write().with_context(|| format!("{} could not be written", path.display()))
    }

    fn sync(&self) -> io::Result<()> {
        std::fs::File::open(&self.folder)?.sync_all()
    }

    /// Whether it was this call that moved it.
    fn rename(&self, from: &str, to: &str) -> anyhow::Result<bool> {
        match std::fs::rename(self.path(from), self.path(to)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => {
                return Err(error).with_context(|| {
                    format!("{} could not be renamed", self.path(from).display())
                });
            }
        }
        self.sync()
            .with_context(|| format!("{} could not be synced", self.folder.display()))?;
        Ok(true)
    }

    /// Whether the change is the guard's to take back, and has not been confirmed. An error leaves that open.
    fn begin_undoing(&self) -> anyhow::Result<bool> {
        if self.rename(ARMED, UNDOING)? {
            return Ok(true);
        }
        // It was renamed by an earlier call, which may not have been able to sync it.
        let has_begun = self.path(UNDOING).try_exists()?;
        if has_begun {
            self.sync()?;
        }
        Ok(has_begun)
    }

    fn remove(&self, name: &str) -> anyhow::Result<()> {
        match std::fs::remove_file(self.path(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error)
                .with_context(|| format!("{} could not be removed", self.path(name).display())),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn lock(&self) -> anyhow::Result<std::fs::File> {
        let path = self.path(LOCK);
        OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("{} could not be opened", path.display()))
    }

    /// Whether a guard lives.
    fn has_guard(&self) -> anyhow::Result<bool> {
        if !self.path(LOCK).exists() {
            return Ok(false);
        }
        let lock = self.lock()?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(false),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
            Err(error) => Err(error).context("the guard's lock"),
        }
    }

    /// The names are looked at in the order in which a record goes through them, so that none is missed.
    fn found(&self) -> anyhow::Result<Option<Found>> {
        let has_guard = self.has_guard()?;
        let open = if has_guard {
            State::Guarded
        } else {
            State::Orphaned
        };
        let undone = |undone: Undone| Found {
            armed: undone.armed,
            state: State::TakenBack(undone.taken_back),
        };
        // One that died after it had taken back has left both.
        if let Some(found) = self.read(UNDONE)?.map(undone) {
            return Ok(Some(found));
        }
        for (name, state) in [
            (ARMED, open.clone()),
            (UNDOING, open),
            (CONFIRMED, State::Confirmed),
        ] {
            if let Some(armed) = self.read(name)? {
                return Ok(Some(Found { armed, state }));
            }
        }
        Ok(self.read(UNDONE)?.map(undone))
    }

    fn forget(&self) -> anyhow::Result<()> {
        // What was taken back is told last of all: without it, one of the others would count.
        for name in [ARMED, UNDOING, LOCK, CONFIRMED, UNDONE] {
            self.remove(name)?;
        }
        self.sync()
            .with_context(|| format!("{} could not be synced", self.folder.display()))
    }
}

/// Guards the change whose record is in `folder`, until it is confirmed or taken back. `input` ends when the agent does; `ready` is told that the guard is there.
///
/// # Errors
/// There is no such change, or it could not be taken back; then the record stays as it is, and the agent goes on with it.
pub fn watch(
    folder: &Path,
    host: &dyn Host,
    input: &mut (impl Read + AsFd),
    ready: &mut dyn Write,
) -> anyhow::Result<()> {
    let record = Record {
        folder: folder.to_owned(),
    };
    let lock = record.lock()?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive).context("the guard's lock")?;
    let armed: Armed = record
        .read(ARMED)?
        .context("there is no change to be guarded")?;
    ready.write_all(READY)?;
    ready.flush()?;
    let why = wait(input, Duration::from_millis(armed.deadline_ms));
    let began = Instant::now();
    let mut was_back = false;
    loop {
        // A disk that takes no record is no reason to leave the host cut off.
        let noted = record.begin_undoing();
        if matches!(noted, Ok(false)) {
            return Ok(());
        }
        let errors = take_back(host, &armed.back);
        let problem = match (errors.into_iter().next(), noted) {
            (Some(error), _) => format!("it could not be taken back: {error}"),
            (None, Err(error)) => format!("it was taken back, which could not be noted: {error:#}"),
            (None, Ok(_)) if was_back => break,
            (None, Ok(_)) => {
                was_back = true;
                std::thread::sleep(AFTER_PAUSE);
                continue;
            }
        };
        was_back = false;
        anyhow::ensure!(began.elapsed() < TRYING_MAX, "{problem}");
        std::thread::sleep(TRY_PAUSE);
    }
    let taken_back = TakenBack {
        why: why.to_owned(),
        at: now(),
    };
    record.write(UNDONE, &Undone { armed, taken_back })?;
    record.remove(UNDOING)
}

/// Waits until `input` ends, or the time is up; which of the two it was, in words. An agent that cannot be watched counts as one that has ended.
fn wait(input: &mut (impl Read + AsFd), deadline: Duration) -> &'static str {
    const ENDED: &str = "the agent ended, or gave it up, before it was confirmed";
    let until = Instant::now() + deadline;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return "it was not confirmed in time";
        }
        let timeout = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        let polled = poll(&mut [PollFd::new(&*input, PollFlags::IN)], Some(&timeout));
        match polled {
            Ok(0) | Err(rustix::io::Errno::INTR) => continue,
            Ok(_) => {}
            Err(_) => return ENDED,
        }
        // Nobody writes; what ends it is its end.
        match input.read(&mut [0; 64]) {
            Ok(0) => return ENDED,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return ENDED,
        }
    }
}

fn now() -> String {
    let now = jiff::Timestamp::now();
    now.round(jiff::Unit::Second).unwrap_or(now).to_string()
}

/// Who guards.
#[derive(Clone)]
pub enum Guardian {
    /// A process of this program, which outlives the agent.
    Process {
        /// Its arguments.
        arguments: Vec<OsString>,
    },
    /// A thread, where the host does not outlive the agent anyway.
    Thread(Arc<dyn Host + Send + Sync>),
}

/// A guard at work. It takes the change back when this is dropped.
#[derive(Debug)]
enum Running {
    Process(Child, Option<ChildStdin>),
    Thread(std::thread::JoinHandle<()>, Option<PipeWriter>),
}

impl Guardian {
    fn start(&self, record: &Record) -> anyhow::Result<Running> {
        match self {
            Self::Process { arguments } => {
                let program = std::env::current_exe().context("this program cannot find itself")?;
                // No command on the host either: what watches over this process.
                let mut child = Command::new(program)
                    .args(arguments)
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::null())
                    .spawn()
                    .context("it could not be started")?;
                let stdin = child.stdin.take();
                let stdout = child.stdout.take().context("it has no standard output")?;
                let mut running = Running::Process(child, stdin);
                hear(stdout).inspect_err(|_| running.end(START_MAX))?;
                Ok(running)
            }
            Self::Thread(host) => {
                let (mut reader, writer) = io::pipe()?;
                let (answers, mut ready) = io::pipe()?;
                let (host, folder) = (host.clone(), record.folder.clone());
                let thread =
                    std::thread::Builder::new()
                        .name("guard".to_owned())
                        .spawn(move || {
                            if let Err(error) = watch(&folder, &*host, &mut reader, &mut ready) {
                                tracing::error!("the guard: {error:#}");
                            }
                        })?;
                let mut running = Running::Thread(thread, Some(writer));
                hear(answers).inspect_err(|_| running.end(START_MAX))?;
                Ok(running)
            }
        }
    }
}

/// Waits until a guard says that it is there.
fn hear(mut from: impl Read + AsFd) -> anyhow::Result<()> {
    let timeout = Timespec {
        tv_sec: i64::try_from(START_MAX.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: 0,
    };
    let mut said = [0; READY.len()];
    let polled = poll(&mut [PollFd::new(&from, PollFlags::IN)], Some(&timeout));
    anyhow::ensure!(
        polled.context("it cannot be heard")? > 0,
        "it did not say that it is there"
    );
    from.read_exact(&mut said).context("it ended at once")?;
    anyhow::ensure!(
        said == READY,
        "it said something else than that it is there"
    );
    Ok(())
}

impl Running {
    /// Ends its input, and waits until it has ended, or for so long.
    fn end(&mut self, at_most: Duration) {
        let until = Instant::now() + at_most;
        loop {
            let has_ended = match self {
                Self::Process(child, stdin) => {
                    drop(stdin.take());
                    !matches!(child.try_wait(), Ok(None))
                }
                Self::Thread(thread, writer) => {
                    drop(writer.take());
                    thread.is_finished()
                }
            };
            if has_ended || Instant::now() >= until {
                return;
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// The agent's end: a way to the controllers, and a guard when one is needed.
pub struct Line {
    record: Record,
    guardian: Guardian,
    reach: Reach,
    running: Mutex<Option<Running>>,
}

impl Line {
    /// A line whose record is in `state_dir`.
    #[must_use]
    pub fn new(state_dir: &Path, guardian: Guardian, reach: Reach) -> Self {
        Self {
            record: Record {
                folder: state_dir.to_owned(),
            },
            guardian,
            reach,
            running: Mutex::new(None),
        }
    }

    fn end(&self) {
        let running = self
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(mut running) = running {
            running.end(TAKING_BACK_MAX);
        }
    }
}

fn failed(error: anyhow::Error) -> HostError {
    HostError {
        reason: reason::GUARD_MISSING,
        message: format!("the guard of a change that could cut the host off: {error:#}"),
        retry: Retry::After,
    }
}

impl Lifeline for Line {
    fn reach(&self, ms_max: u64) -> Result<(), String> {
        self.reach.anew(Duration::from_millis(ms_max))
    }

    fn found(&self) -> Result<Option<Found>, HostError> {
        self.record.found().map_err(failed)
    }

    fn arm(&self, armed: &Armed) -> Result<(), HostError> {
        let arm = || -> anyhow::Result<Running> {
            self.record.write(ARMED, armed)?;
            self.guardian.start(&self.record)
        };
        let running = arm().map_err(failed)?;
        tracing::info!(change = %armed.what, "a change under guard begins");
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(running);
        Ok(())
    }

    fn confirm(&self) -> Result<bool, HostError> {
        let confirmed = self.record.rename(ARMED, CONFIRMED).map_err(failed)?;
        if confirmed {
            tracing::info!("the change is confirmed: a controller was reached after it");
            self.end();
        }
        Ok(confirmed)
    }

    fn abandon(&self) {
        tracing::warn!("the change is not confirmed, and is taken back");
        self.end();
    }

    fn take_over(&self) -> Result<(), HostError> {
        self.record.rename(ARMED, UNDOING).map_err(failed)?;
        Ok(())
    }

    fn forget(&self) -> Result<(), HostError> {
        self.record.forget().map_err(failed)
    }

    fn now(&self) -> String {
        now()
    }

    fn is_ending(&self) -> bool {
        self.reach.has_ended()
    }
}

#[cfg(test)]
mod tests;
