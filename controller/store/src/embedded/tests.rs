//! A file system that fails: full, and broken, then well again.

use std::io;
use std::sync::atomic::{AtomicU8, Ordering};

use redb::backends::FileBackend;
use redb::{BackendError, Builder, StorageBackend};
use tempfile::TempDir;

use super::*;
use crate::{Error, Notice, StoreExt, WatchRequest};

mod laws;

const WELL: u8 = 0;
const FULL: u8 = 1;
const BROKEN: u8 = 2;

/// A file whose writes fail on demand.
#[derive(Debug)]
struct Faulty {
    file: FileBackend,
    fault: Arc<AtomicU8>,
}

impl Faulty {
    fn check(&self) -> io::Result<()> {
        match self.fault.load(Ordering::SeqCst) {
            FULL => Err(io::Error::from(io::ErrorKind::StorageFull)),
            BROKEN => Err(io::Error::other("input/output error")),
            _ => Ok(()),
        }
    }
}

impl StorageBackend for Faulty {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check()?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check()?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check()?;
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(
        &self,
        start: std::ops::Bound<u64>,
        end: std::ops::Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn unlock_range(
        &self,
        start: std::ops::Bound<u64>,
        end: std::ops::Bound<u64>,
    ) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }
}

/// A store on a file system that fails on demand.
fn faulty_store() -> (EmbeddedStore, Arc<AtomicU8>, TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut options = EmbeddedOptions::new(folder.path().join("store.redb"));
    // Nothing is answered from memory alone.
    options.cache_bytes = 0;
    let path = options.path.clone();
    let lock = file::Lock::take(&path).expect("nobody else has it");
    drop(file::open_or_create(&path, 0).expect("created"));
    let fault = Arc::new(AtomicU8::new(WELL));
    let reopen = {
        let fault = fault.clone();
        move || {
            let opened = std::fs::File::options().read(true).write(true).open(&path);
            let file = opened.map_err(|error| errors::io(&path, &error))?;
            let file = FileBackend::new(file).map_err(|error| errors::opening(&path, error))?;
            let backend = Faulty {
                file,
                fault: fault.clone(),
            };
            Builder::new()
                .create_with_backend(backend)
                .map_err(|error| errors::opening(&path, error))
        }
    };
    let database = reopen().expect("opened");
    let shared = Shared::with_database(options, lock, database, Box::new(reopen)).expect("read");
    (
        EmbeddedStore::start(Arc::new(shared)).expect("started"),
        fault,
        folder,
    )
}

async fn fails_and_recovers(kind: u8, is_expected: fn(&Error) -> bool) {
    let (store, fault, _folder) = faulty_store();
    let start = store.create("/before", "v").await.expect("created");
    let mut watch = store.watch(WatchRequest::new("/", start));
    for round in 0..3 {
        fault.store(kind, Ordering::SeqCst);
        for attempt in 0..3 {
            let error = store
                .create(format!("/failed/{round}/{attempt}"), vec![0; 100_000])
                .await;
            let error = error.expect_err("the file system fails");
            assert!(
                is_expected(&error),
                "round {round}, attempt {attempt}: {error:?}"
            );
        }
        fault.store(WELL, Ordering::SeqCst);
        let revision = store
            .create(format!("/after/{round}"), "v")
            .await
            .expect("well again");
        let item = store
            .get(&Key::from("/before"), None)
            .await
            .expect("read")
            .item;
        assert_eq!(item.map(|item| item.modified), Some(start));
        loop {
            match watch.next().await {
                Some(Ok(Notice::Changes {
                    revision: at,
                    events,
                })) if at == revision => {
                    assert_eq!(events[0].key(), &Key::from(format!("/after/{round}")));
                    break;
                }
                Some(Ok(_)) => {}
                end => panic!("{end:?}"),
            }
        }
    }
    assert_eq!(store.count(&Key::from("/failed/"), None).await, Ok(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_told_and_survived() {
    fails_and_recovers(
        FULL,
        |error| matches!(error, Error::Full { reason, .. } if reason.contains("make room")),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_disk_is_told_and_survived() {
    fails_and_recovers(
        BROKEN,
        |error| matches!(error, Error::Io { reason, .. } if reason.contains("input/output")),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_writers_share_an_fsync() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = EmbeddedStore::open(EmbeddedOptions::new(folder.path().join("store.redb")))
        .await
        .expect("opened");
    let mut head = store.shared.subscribe();
    let writes = futures::future::join_all((0..200).map(|n| store.create(format!("/{n}"), "v")));
    let counting = async {
        let mut batches = 0;
        while head
            .borrow_and_update()
            .is_none_or(|head| head < Revision(201))
        {
            head.changed().await.expect("the store is open");
            batches += 1;
        }
        batches
    };
    let (results, batches) = tokio::join!(writes, counting);
    assert!(results.iter().all(Result::is_ok));
    assert!(batches < 100, "{batches} batches for 200 writes");
}
