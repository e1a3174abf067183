//! How the recorder goes on where a write of its loses, and what it counts of a snapshot.

use cellblock_controller_core::events::{About, Happening, Severity};
use cellblock_controller_core::keys::Keys;
use cellblock_schemas::{ClusterUid, Kind, Uid};
use cellblock_store::{EmbeddedOptions, EmbeddedStore};
use serde_json::json;
use tempfile::TempDir;

use super::*;

const TTL: Duration = Duration::from_secs(30);

struct Shell {
    _folder: TempDir,
    store: SharedStore,
    cache: Arc<Cache>,
    recorder: Recorder,
    lead: Lead,
    following: tokio::task::JoinHandle<cellblock_store::Error>,
}

impl Drop for Shell {
    fn drop(&mut self) {
        self.following.abort();
    }
}

impl Shell {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let options = EmbeddedOptions::new(folder.path().join("store"));
        let store = EmbeddedStore::open(options).await.expect("it opens");
        let store: SharedStore = Arc::new(store);
        let cache = Arc::new(Cache::new(ClusterUid("c1".to_owned())));
        let following = tokio::spawn(crate::follow::follow(store.clone(), cache.clone()));
        let mut ready = cache.ready();
        ready.wait_for(|ready| *ready).await.expect("it follows");
        let sessions = Arc::new(Sessions::new(store.clone(), cache.clone(), TTL));
        let lead = Lead {
            store: store.clone(),
            sessions,
            key: cache.index().keys().recorder(),
            held: None,
            again: None,
        };
        Self {
            _folder: folder,
            store,
            cache,
            recorder: Recorder::default(),
            lead,
            following,
        }
    }

    fn happens(&mut self) {
        let happening = Happening {
            about: About {
                kind: "Jail".to_owned(),
                name: "www".to_owned(),
                uid: Uid("u".to_owned()),
            },
            severity: Severity::Normal,
            reason: "Running".to_owned(),
            message: "it runs".to_owned(),
            count: 1,
        };
        let revision = self.cache.index().revision() + 1;
        self.recorder.note(happening, revision, now().timestamp);
    }

    async fn flush(&mut self) {
        let flushed = flush(&self.store, &self.cache, &mut self.recorder, &mut self.lead);
        flushed.await.expect("the store answers");
    }

    /// How often it is said to have happened.
    fn count(&self) -> u64 {
        let index = self.cache.index();
        index.records().oldest().map(|record| record.count).sum()
    }

    async fn write(&self, transaction: Transaction) {
        let committed = self.store.commit(transaction).await.expect("committed");
        assert!(self.cache.reached(committed.revision.0, TTL).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_lost_the_recorders_key_writes_nothing_until_it_has_it_again() {
    let mut shell = Shell::new().await;
    shell.happens();
    shell.flush().await;
    assert_eq!((shell.count(), shell.lead.held.is_some()), (1, true));
    // Somebody else takes it over.
    let key = shell.lead.key.clone();
    shell
        .write(Transaction::new().put(key.as_str(), "another"))
        .await;
    shell.happens();
    shell.flush().await;
    assert_eq!((shell.count(), shell.lead.held.is_some()), (1, false));
    assert!(!shell.recorder.is_idle(), "it may come to tell it");
    shell.flush().await;
    assert_eq!((shell.count(), shell.lead.held.is_some()), (1, false));
    // And leaves it.
    shell.write(Transaction::new().delete(key.as_str())).await;
    shell.lead.again = None;
    shell.flush().await;
    assert_eq!((shell.count(), shell.lead.held.is_some()), (2, true));
    assert!(shell.recorder.is_idle());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_was_written_meanwhile_is_written_again_from_what_it_has_become() {
    let mut shell = Shell::new().await;
    shell.happens();
    shell.flush().await;
    let (name, record) = {
        let index = shell.cache.index();
        let record = index.records().oldest().next().expect("one").clone();
        (index.keys().record(&record.name), record)
    };
    // In the store it has another revision than in the index, which is held back.
    shell.following.abort();
    let mut more = (*record).clone();
    more.count = 10;
    let written = Transaction::new().put(name.as_str(), more.encode());
    shell.store.commit(written).await.expect("committed");
    shell.happens();
    shell.flush().await;
    assert!(shell.lead.held.is_some(), "the key is still its own");
    assert!(!shell.recorder.is_idle(), "it waits for the index");
    shell.following = tokio::spawn(crate::follow::follow(
        shell.store.clone(),
        shell.cache.clone(),
    ));
    let revision = shell.store.current_revision().await.expect("a revision");
    assert!(shell.cache.reached(revision.0, TTL).await);
    shell.flush().await;
    assert_eq!(shell.count(), 11);
    assert!(shell.recorder.is_idle());
}

#[test]
fn what_a_snapshot_shows_counts_by_when_it_was_written() {
    let cluster = ClusterUid("c1".to_owned());
    let host = |uid: &str, modified: u64| {
        let document = json!({
            "apiVersion": "cellblock.dev/v1alpha1", "kind": "Host",
            "metadata": {"name": "a", "uid": uid}, "spec": {},
            "status": {"conditions": [
                {"type": "Heard", "status": "False", "reason": "SessionLost", "message": uid},
            ]},
        });
        let key = Keys::new(&cluster).object(Kind::Host, "a");
        (key, document.to_string().into(), modified)
    };
    // One controller finds it in a snapshot of 7, another in one of 9.
    let counted = [7, 9].map(|snapshot| {
        let cache = Cache::new(cluster.clone());
        let mut coming = cache.snapshot(|_| ()).1.coming;
        cache.replace(snapshot, vec![host("u", 5)]);
        let batch = coming.try_recv().expect("a batch");
        let mut recorder = Recorder::default();
        note(&mut recorder, &batch, now().timestamp);
        recorder
    });
    let mut index = cellblock_controller_core::Index::new(cluster.clone());
    let mut revision = 20;
    for mut recorder in counted {
        while let Some(flush) = recorder.flush(&index, ("lead", 1), now().timestamp) {
            revision += 1;
            let changes = flush.write.changes.iter().map(|change| match change {
                cellblock_controller_core::write::Change::Put(key, value) => {
                    cellblock_controller_core::index::Event::Put {
                        key: key.clone(),
                        value: value.clone(),
                        modified: revision,
                    }
                }
                cellblock_controller_core::write::Change::Delete(key) => {
                    cellblock_controller_core::index::Event::Delete { key: key.clone() }
                }
            });
            index.apply(revision, changes.collect::<Vec<_>>());
            recorder.written(&flush);
        }
    }
    let counts: Vec<u64> = index.records().oldest().map(|one| one.count).collect();
    assert_eq!(counts, [1]);
}
