//! How independent writes are joined into transactions, and what becomes of the others when one loses.

use cellblock_controller_core::keys::Keys;
use cellblock_schemas::{ClusterUid, Kind};
use cellblock_store::{EmbeddedOptions, EmbeddedStore, Store as _};
use serde_json::{Value, json};

use super::*;

fn write(number: usize, bytes: usize) -> Write {
    let mut write = Write::default();
    write.expect(format!("k{number}"), Expect::At(1));
    write.put(format!("k{number}"), vec![0; bytes]);
    write
}

#[test]
fn neighbours_are_joined_up_to_the_bounds_in_order() {
    let writes: Vec<_> = (0..250).map(|number| write(number, 10)).collect();
    let joined = join(&writes);
    let sizes: Vec<_> = joined.iter().map(|joined| joined.parts.len()).collect();
    assert_eq!(sizes, [100, 100, 50]);
    assert!(
        joined
            .iter()
            .all(|joined| transaction(&joined.write).check().is_ok())
    );
    let large: Vec<_> = (0..3).map(|number| write(number, 600 << 10)).collect();
    assert_eq!(join(&large).len(), 3);
}

#[test]
fn a_write_beyond_the_bounds_goes_alone() {
    let mut whole = write(0, 10);
    for number in 1..120 {
        whole.put(format!("c{number}"), vec![0]);
    }
    let writes = [write(1, 10), whole, write(2, 10)];
    let sizes: Vec<_> = join(&writes)
        .iter()
        .map(|joined| joined.parts.len())
        .collect();
    assert_eq!(sizes, [1, 1, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_the_store_refuses_is_left_out_and_the_others_are_written() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let options = EmbeddedOptions::new(folder.path().join("store"));
    let store = EmbeddedStore::open(options).await.expect("it opens");
    let store: SharedStore = Arc::new(store);
    let cache = Arc::new(Cache::new(ClusterUid("c1".to_owned())));
    let following = tokio::spawn(crate::follow::follow(store.clone(), cache.clone()));
    let mut ready = cache.ready();
    ready.wait_for(|ready| *ready).await.expect("it follows");
    let writer = Writer::new(store.clone(), cache.clone());
    let prefix = cache.index().keys().root().to_owned();
    let put = |key: &str| {
        let mut write = Write::default();
        write.put(key.to_owned(), vec![0]);
        write
    };
    let (one, two) = (format!("{prefix}one"), format!("{prefix}two"));
    // No store takes a key that is empty, in a transaction with others or alone.
    let done = writer.write_all(|_, _| vec![put(&one), put(""), put(&two)]);
    done.await.expect("the others do not suffer for it");
    for key in [one, two] {
        let got = store.get(&key.as_str().into(), None).await.expect("read");
        assert!(got.item.is_some(), "{key}");
    }
    following.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_sixty_writes_together_the_one_that_loses_is_decided_again_alone() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let options = EmbeddedOptions::new(folder.path().join("store"));
    let store = EmbeddedStore::open(options).await.expect("it opens");
    let store: SharedStore = Arc::new(store);
    let cluster = ClusterUid("c1".to_owned());
    let keys = Keys::new(&cluster);
    let host = |name: &str, state: &str| {
        let document = json!({
            "apiVersion": "cellblock.dev/v1alpha1", "kind": "Host",
            "metadata": {"name": name, "uid": name, "labels": {"state": state}}, "spec": {},
        });
        document.to_string()
    };
    let names: Vec<String> = (0..60).map(|number| format!("h{number:02}")).collect();
    let mut transaction = Transaction::new();
    for name in &names {
        transaction = transaction.put(keys.object(Kind::Host, name), host(name, "old"));
    }
    let first = store.commit(transaction).await.expect("committed").revision;
    let cache = Arc::new(Cache::new(cluster));
    let following = tokio::spawn(crate::follow::follow(store.clone(), cache.clone()));
    let mut ready = cache.ready();
    ready.wait_for(|ready| *ready).await.expect("it follows");
    let writer = Writer::new(store, cache.clone());
    let is_old = |entry: &cellblock_controller_core::index::Entry| {
        entry.document()["metadata"]["labels"]["state"] == "old"
    };
    let mut decided = Vec::new();
    let done = writer.write_all(|index, _| {
        let old: Vec<_> = index
            .list(Kind::Host, None)
            .filter(|one| is_old(one))
            .collect();
        let writes = old.iter().map(|entry| {
            let key = keys.object(Kind::Host, entry.name());
            let mut write = Write::default();
            // As if somebody else had written one of them meanwhile.
            let is_stale = decided.is_empty() && entry.name() == "h30";
            let revision = entry.revision - u64::from(is_stale);
            write.expect(key.clone(), Expect::At(revision));
            write.put(key, host(entry.name(), "new").into_bytes());
            write
        });
        let writes: Vec<Write> = writes.collect();
        decided.push(writes.len());
        writes
    });
    done.await.expect("all are written");
    assert_eq!(decided, [60, 1]);
    let index = cache.index();
    let states = index.list(Kind::Host, None).map(|entry| entry.document());
    let states: Vec<Value> = states
        .map(|one| one["metadata"]["labels"]["state"].clone())
        .collect();
    assert_eq!(states, vec![json!("new"); 60]);
    let last = index.get(Kind::Host, "h30").map(|entry| entry.revision);
    let others = index
        .list(Kind::Host, None)
        .filter(|one| one.name() != "h30");
    let newest = others.map(|one| one.revision).max();
    assert!(last > newest, "the one that lost was written last");
    assert!(newest > Some(first.0));
    following.abort();
}

/// Two controllers on one store: what one decides on an index that has not heard of what the other has acknowledged is decided again
/// before it is answered, be it that there is nothing to do or that something is refused.
#[tokio::test(flavor = "multi_thread")]
async fn what_writes_nothing_is_decided_on_what_the_store_has() {
    let store = crate::newest::tests::Shared::new(1000).await;
    let host = json!({
        "apiVersion": "cellblock.dev/v1alpha1", "kind": "Host",
        "metadata": {"name": "a", "uid": "a"}, "spec": {},
    });
    let key = Keys::new(&ClusterUid("c1".to_owned())).object(Kind::Host, "a");
    let put = Transaction::new().put(key.as_str(), host.to_string());
    store.commit(put.clone()).await.expect("committed");
    let (cache, following) = store.followed("c1").await;
    let writer = Writer::new(store.clone(), cache.clone());
    // From here on this controller hears of nothing, and the other one removes the object.
    following.abort();
    let _ = following.await;
    let gone = Transaction::new().delete(key.as_str());
    store.commit(gone).await.expect("committed");
    let decide = |decided: &mut Vec<bool>, index: &Index| {
        let is_there = index.get(Kind::Host, "a").is_some();
        decided.push(is_there);
        is_there
    };
    let mut decided = Vec::new();
    let unchanged = {
        let mut since = Since::default();
        let answer = writer.write_for(&mut since, |index, _| {
            Ok::<_, WriteError>((None, decide(&mut decided, index)))
        });
        // After it was decided first.
        let mut following = None;
        let hears = async { following = Some(store.follow(&cache)) };
        let (answer, ()) = tokio::join!(answer, hears);
        let heard = following.expect("it heard");
        heard.abort();
        let _ = heard.await;
        answer.expect("it is decided").value
    };
    assert_eq!((unchanged, decided), (false, vec![true, false]));
    // Then the other one makes it again, and here it is still taken to be missing.
    store.commit(put).await.expect("committed");
    let mut decided = Vec::new();
    let refused = {
        let mut since = Since::default();
        let answer = writer.write_for(&mut since, |index, _| {
            if decide(&mut decided, index) {
                return Ok((None, ()));
            }
            Err(WriteError::Contended)
        });
        // After it was decided first.
        let mut following = None;
        let hears = async { following = Some(store.follow(&cache)) };
        let (answer, ()) = tokio::join!(answer, hears);
        let heard = following.expect("it heard");
        heard.abort();
        let _ = heard.await;
        answer
    };
    assert!(refused.is_ok(), "{refused:?}");
    assert_eq!(decided, [false, true]);
}
