//! What only a local file can do to its store: processes that die, other processes, damage, reopening.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use cellblock_store::{
    EmbeddedOptions, EmbeddedStore, Error, Event, Key, Notice, Retry, Revision, Store, StoreExt,
    Transaction, WatchRequest,
};
use tempfile::TempDir;

/// Tells this very program, when started again by a test, to write to the store at this path until it is killed.
const WRITE_TO: &str = "CELLBLOCK_STORE_TEST_WRITE_TO";

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn file_in(folder: &TempDir) -> PathBuf {
    folder.path().join("store.redb")
}

async fn open(path: &Path) -> EmbeddedStore {
    EmbeddedStore::open(EmbeddedOptions::new(path))
        .await
        .unwrap_or_else(|error| panic!("{error}"))
}

async fn refused(path: &Path) -> Error {
    EmbeddedStore::open(EmbeddedOptions::new(path))
        .await
        .expect_err("it must not open")
}

/// Not a test of its own: the process that the next ones start and kill. It writes with several writers at once and
/// prints each key once it is acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writer_process() {
    let Some(path) = std::env::var_os(WRITE_TO) else {
        return;
    };
    let store = Arc::new(open(Path::new(&path)).await);
    let start = store
        .current_revision()
        .await
        .expect("the revision is read");
    let say = |text: String| {
        let mut output = std::io::stdout().lock();
        output
            .write_all(text.as_bytes())
            .and_then(|()| output.flush())
            .expect("the parent reads");
    };
    say(format!("\nbegin {start}\n"));
    let writers = (0..16).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            for n in 0.. {
                let key = format!("/{start}/{writer}/{n}");
                let transaction = Transaction::new()
                    .create(&*key, "v")
                    .create(format!("{key}/twin"), "v");
                let revision = store.commit(transaction).await.expect("committed").revision;
                say(format!("ack {revision} {key}\n"));
            }
        })
    });
    futures::future::join_all(writers).await;
}

/// A writer process and what it says.
struct Writer {
    process: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Writer {
    fn start(path: &Path) -> Self {
        let mut process = Command::new(std::env::current_exe().expect("this program has a path"))
            .args(["--exact", "writer_process", "--nocapture"])
            .env(WRITE_TO, path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("this program can be started again");
        let output = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut writer = Writer { process, output };
        while !writer.line().starts_with("begin ") {}
        writer
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self
            .output
            .read_line(&mut line)
            .expect("the output is text");
        assert!(read > 0, "the writer ended by itself");
        line
    }

    /// Kills it after so many acknowledgements and returns all that it has given, with their revisions.
    fn kill_after(mut self, acknowledgements: usize) -> BTreeMap<Key, Revision> {
        let mut lines: Vec<String> = (0..acknowledgements).map(|_| self.line()).collect();
        self.process.kill().expect("it is running");
        self.process.wait().expect("it was started here");
        let mut rest = String::new();
        self.output
            .read_to_string(&mut rest)
            .expect("the output is text");
        // The last line may have been cut off by the kill.
        lines.extend(
            rest.split_inclusive('\n')
                .filter(|line| line.ends_with('\n'))
                .map(str::to_owned),
        );
        let parse = |line: &String| {
            let (revision, key) = line.trim().strip_prefix("ack ")?.split_once(' ')?;
            Some((Key::from(key), Revision(revision.parse().ok()?)))
        };
        lines.iter().filter_map(parse).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_survive_kill_9() {
    let folder = folder();
    let path = file_in(&folder);
    let mut acknowledged = BTreeMap::new();
    for round in 0..5 {
        let acks = Writer::start(&path).kill_after(40 + round * 37);
        assert!(acks.len() >= 40, "{}", acks.len());
        acknowledged.extend(acks);
        let store = open(&path).await;
        let (items, revision) = store.list_all("/").await.expect("listed");
        let items: BTreeMap<Key, Revision> = items
            .into_iter()
            .map(|item| (item.key, item.modified))
            .collect();
        for (key, revision) in &acknowledged {
            assert_eq!(items.get(key), Some(revision), "{key} is lost");
            assert_eq!(
                items.get(&Key::from(format!("{key}/twin"))),
                Some(revision),
                "{key} came without its twin"
            );
        }
        // The history, too, is whole: one notice for every revision, two keys in each.
        let mut watch = store.watch(WatchRequest::new("/", Revision(1)));
        for expected in 2..=revision.0 {
            match watch.next().await {
                Some(Ok(Notice::Changes { revision, events })) => {
                    assert_eq!((revision, events.len()), (Revision(expected), 2));
                }
                other => panic!("{other:?} instead of revision {expected}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_opener_is_told_who_has_the_file() {
    let folder = folder();
    let path = file_in(&folder);
    let writer = Writer::start(&path);
    let error = refused(&path).await;
    assert!(matches!(&error, Error::Locked { .. }), "{error:?}");
    assert_eq!(error.retry(), Retry::Never);
    let text = error.to_string();
    assert!(
        text.contains(&format!("process {}", writer.process.id())) && text.contains("store.redb"),
        "{text}"
    );
    writer.kill_after(1);
    // The lock dies with its process, however it dies.
    let store = open(&path).await;
    let error = refused(&path).await;
    assert!(
        matches!(&error, Error::Locked { holder, .. } if holder.contains(&std::process::id().to_string())),
        "{error:?}"
    );
    drop(store);
    open(&path).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_no_store_is_damaged() {
    let folder = folder();
    let path = file_in(&folder);
    let mut good = Vec::new();
    {
        let store = open(&path).await;
        for n in 0..100 {
            store
                .create(format!("/{n}"), vec![n; 1_000])
                .await
                .expect("created");
        }
        drop(store);
        std::fs::File::open(&path)
            .and_then(|mut file| file.read_to_end(&mut good))
            .expect("readable");
    }
    let garbage: Vec<u8> = (0..50_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    for (what, content) in [
        ("empty", Vec::new()),
        ("text", b"hello\n".to_vec()),
        ("garbage", garbage),
        ("zeros", vec![0; 8_192]),
        ("cut in its header", good[..100].to_vec()),
        ("cut after its header", good[..4_096].to_vec()),
        ("cut in half", good[..good.len() / 2].to_vec()),
    ] {
        std::fs::write(&path, &content).expect("written");
        let error = refused(&path).await;
        assert!(matches!(&error, Error::Damaged { .. }), "{what}: {error:?}");
        assert!(
            error.to_string().contains("store.redb") && error.to_string().contains("backup"),
            "{error}"
        );
        assert_eq!(
            std::fs::read(&path).expect("readable").len(),
            content.len(),
            "{what}: it was changed"
        );
    }
}

/// Whatever bytes are overwritten, the store either says that it is damaged or returns what was stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overwritten_bytes_are_noticed() {
    let folder = folder();
    let path = file_in(&folder);
    let store = open(&path).await;
    for n in 0..60_u8 {
        store
            .create(format!("/{n:02}"), vec![n; 2_000])
            .await
            .expect("created");
    }
    let expected = store.list_all("/").await.expect("listed").0;
    drop(store);
    let good = std::fs::read(&path).expect("readable");
    let used = good.len() - good.iter().rev().take_while(|byte| **byte == 0).count();
    // Every copy of one value, so that the live one is among them.
    let (mut bad, value) = (good.clone(), [33; 2_000]);
    let copies: Vec<usize> = (0..used - value.len())
        .filter(|at| good[*at..].starts_with(&value))
        .collect();
    copies.iter().for_each(|at| bad[at + 700] = 34);
    std::fs::write(&path, &bad).expect("written");
    let error = refused(&path).await;
    assert!(
        !copies.is_empty() && matches!(error, Error::Damaged { .. }),
        "{error:?}"
    );
    let mut damaged = 0;
    for place in (0..used).step_by((used / 60).max(1)) {
        let mut bad = good.clone();
        bad[place..(place + 16).min(used)]
            .iter_mut()
            .for_each(|byte| *byte ^= 0x5a);
        std::fs::write(&path, &bad).expect("written");
        match EmbeddedStore::open(EmbeddedOptions::new(&path)).await {
            Ok(store) => assert_eq!(
                store.list_all("/").await.expect("listed").0,
                expected,
                "byte {place}"
            ),
            Err(Error::Damaged { .. }) => damaged += 1,
            Err(error) => panic!("byte {place}: {error:?}"),
        }
    }
    // Most of a file of this size is free space, where damage does no harm.
    assert!(damaged > 2, "only {damaged}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_that_cannot_be_used_is_named() {
    let folder = folder();
    let error = refused(&folder.path().join("missing/store.redb")).await;
    assert!(matches!(&error, Error::Io { .. }), "{error:?}");
    assert!(error.to_string().contains("missing"), "{error}");
    let error = refused(folder.path()).await;
    assert!(
        matches!(&error, Error::Io { .. } | Error::Damaged { .. }),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_there_after_reopening() {
    let folder = folder();
    let path = file_in(&folder);
    let (first, second, lease);
    {
        let store = open(&path).await;
        first = store.create("/a", "1").await.expect("created");
        second = store
            .update("/a", first, "2")
            .await
            .expect("updated")
            .revision;
        lease = store.grant(Duration::from_secs(2)).await.expect("granted");
        store
            .commit(Transaction::new().put_leased("/leased", "v", lease.id))
            .await
            .expect("committed");
    }
    let store = open(&path).await;
    let current = store.current_revision().await.expect("read");
    assert_eq!(current, second.next());
    let old = store
        .get(&Key::from("/a"), Some(first))
        .await
        .expect("read")
        .item
        .expect("it existed");
    assert_eq!(old.value, "1");
    // The lease goes on with its whole time, and ends when nobody keeps it alive.
    assert_eq!(store.keep_alive(lease.id).await, Ok(lease.ttl));
    let mut watch = store.watch(WatchRequest::new("/leased", current));
    let notice = tokio::time::timeout(Duration::from_secs(60), watch.next())
        .await
        .expect("in time");
    let Some(Ok(Notice::Changes { events, .. })) = notice else {
        panic!("{notice:?}")
    };
    assert!(matches!(&events[..], [Event::Delete { .. }]), "{events:?}");
    let other = store.grant(Duration::from_secs(60)).await.expect("granted");
    assert_ne!(other.id, lease.id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_is_bounded() {
    let folder = folder();
    let mut options = EmbeddedOptions::new(file_in(&folder));
    options.history_revisions = 50;
    let store = EmbeddedStore::open(options).await.expect("opened");
    let mut last = store.create("/a", "0").await.expect("created");
    for n in 1..=200 {
        last = store
            .update("/a", last, n.to_string())
            .await
            .expect("updated")
            .revision;
        let key = format!("/short-lived/{n}");
        store.create(&*key, "v").await.expect("created");
        store.delete(&*key, None).await.expect("deleted");
    }
    let current = store.current_revision().await.expect("read");
    let oldest = Revision(current.0 - 50);
    assert!(
        store
            .get(&Key::from("/a"), Some(oldest))
            .await
            .expect("kept")
            .item
            .is_some()
    );
    let error = store
        .get(&Key::from("/a"), Some(Revision(oldest.0 - 1)))
        .await
        .expect_err("not kept");
    assert_eq!(
        error,
        Error::Compacted {
            asked: Revision(oldest.0 - 1),
            compacted: oldest
        }
    );
    assert_eq!(store.count(&Key::from("/"), None).await, Ok(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_store_ends_its_watches() {
    let folder = folder();
    let store = open(&file_in(&folder)).await;
    let mut watch = store.watch(WatchRequest::new("/", Revision(1)));
    store.create("/a", "v").await.expect("created");
    assert!(matches!(
        watch.next().await,
        Some(Ok(Notice::Changes { .. }))
    ));
    drop(store);
    let end = tokio::time::timeout(Duration::from_secs(60), watch.next())
        .await
        .expect("in time");
    assert!(
        matches!(&end, Some(Err(Error::Unavailable { .. }))),
        "{end:?}"
    );
    open(&file_in(&folder)).await;
}
