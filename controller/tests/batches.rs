//! Transactions of many objects over both wires: lists, their pages, bookmarks and resumed watches begin and end between them, though they
//! are written all the time, and by somebody else.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cellblock_controller::Config;
use cellblock_controller_core::keys::Keys;
use cellblock_proto::v1;
use cellblock_proto::v1::watch_event::Type;
use cellblock_schemas::{ClusterUid, Kind};
use cellblock_store::testing::EphemeralStore;
use cellblock_store::{
    EmbeddedOptions, EmbeddedStore, EtcdOptions, SharedStore, Store as _, StoreConfig, Transaction,
};
use common::http::{get, get_until, text};
use common::wires::{BOTH, Wire, revision};
use common::{DEADLINE, Objects, World, json_of};
use serde_json::{Value, json};

/// How many objects are written at once.
const TOGETHER: usize = 60;

/// How often, and how fast.
const PAUSE: Duration = Duration::from_millis(100);

const IMAGES: &str = "/apis/cellblock.dev/v1alpha1/images";

/// A controller over a store that somebody else writes to.
struct Written {
    _store: EphemeralStore,
    world: World,
    objects: Objects,
    round: Arc<AtomicU64>,
    writing: tokio::task::JoinHandle<()>,
}

impl Drop for Written {
    fn drop(&mut self) {
        self.writing.abort();
    }
}

fn batch(keys: &Keys, round: u64) -> Transaction {
    some(keys, round, TOGETHER)
}

/// The first of them.
fn some(keys: &Keys, round: u64, count: usize) -> Transaction {
    let mut transaction = Transaction::new();
    for number in 0..count {
        let name = format!("i{number:02}");
        let document = json!({
            "apiVersion": "cellblock.dev/v1alpha1", "kind": "Image",
            "metadata": {"name": name, "uid": name, "labels": {"round": round.to_string()}},
            "spec": {"release": {"tarball": "/dist/base.txz", "sha256": "0".repeat(64)}},
        });
        transaction = transaction.put(keys.object(Kind::Image, &name), document.to_string());
    }
    transaction
}

async fn write(store: SharedStore, keys: Keys, round: Arc<AtomicU64>) {
    let mut pause = tokio::time::interval(PAUSE);
    loop {
        pause.tick().await;
        let next = round.load(Ordering::Relaxed) + 1;
        store.commit(batch(&keys, next)).await.expect("committed");
        round.store(next, Ordering::Relaxed);
    }
}

impl Written {
    async fn start() -> Self {
        let mut store = EphemeralStore::etcd().await.expect("etcd runs");
        let url = store.server().expect("it has one").client_url();
        let config = Config {
            store: StoreConfig::Etcd(EtcdOptions::new([url])),
            ..Config::embedded("/unused")
        };
        let world = World {
            controller: common::start(config).await,
            folder: tempfile::tempdir().expect("a temporary folder"),
        };
        let mut objects = world.objects().await;
        let version = objects.version(v1::VersionRequest {}).await;
        let cluster = version.expect("it answers").into_inner().cluster;
        let round = Arc::new(AtomicU64::new(0));
        let keys = Keys::new(&ClusterUid(cluster));
        let writing = tokio::spawn(write(store.store(), keys, round.clone()));
        let written = Self {
            _store: store,
            world,
            objects,
            round,
            writing,
        };
        written.rounds(2).await;
        written
    }

    /// Waits until so many more have been written.
    async fn rounds(&self, more: u64) {
        let until = self.round.load(Ordering::Relaxed) + more;
        let waiting = async {
            while self.round.load(Ordering::Relaxed) < until {
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(DEADLINE, waiting)
            .await
            .expect("they are written");
    }

    /// One page, as documents, with its revision and where the next begins.
    async fn page(&mut self, wire: Wire, limit: u32, next: &str) -> (Vec<Value>, u64, String) {
        if wire == Wire::Rest {
            let page = get(
                &self.world,
                &format!("{IMAGES}?limit={limit}&continue={next}"),
            )
            .await;
            assert_eq!(page.code, 200, "{}", page.body);
            let page = page.json();
            let items = page["items"].as_array().cloned().unwrap_or_default();
            return (items, revision(&page), text(&page["metadata"]["continue"]));
        }
        let request = v1::ListRequest {
            kind: "Image".to_owned(),
            limit,
            continue_token: next.to_owned(),
            ..v1::ListRequest::default()
        };
        let page = self
            .objects
            .list(request)
            .await
            .expect("a page")
            .into_inner();
        let items = page.objects.iter().map(json_of).collect();
        (items, page.revision, page.continue_token)
    }

    /// What a watch tells up to its first bookmark, and for so many rounds after it.
    async fn told(&mut self, wire: Wire, how: &How<'_>) -> Vec<(String, Value)> {
        let mut told = Vec::new();
        if wire == Wire::Rest {
            let mut path = format!("{IMAGES}?watch=true&allowWatchBookmarks=true");
            if how.after == 0 {
                path += "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
            } else {
                path += &format!("&resourceVersion={}", how.after);
            }
            path += &format!("&labelSelector={}", how.labels);
            let answer = get_until(&self.world, &path, how.until).await;
            // The last line may not be whole.
            for line in answer
                .body
                .split_inclusive('\n')
                .filter(|line| line.ends_with('\n'))
            {
                let event: Value = serde_json::from_str(line).expect("an event");
                told.push((text(&event["type"]), event["object"].clone()));
            }
            return told;
        }
        let request = v1::WatchRequest {
            kind: "Image".to_owned(),
            revision: how.after,
            label_selector: how.labels.to_owned(),
            ..v1::WatchRequest::default()
        };
        let watch = self.objects.watch(request).await;
        let mut events = watch.expect("it opens").into_inner();
        loop {
            let event = tokio::time::timeout(DEADLINE, events.message()).await;
            let event = event
                .expect("in time")
                .expect("it goes on")
                .expect("it goes on");
            let what = event.r#type();
            let object = event.object.expect("an object");
            let document = if what == Type::Bookmark {
                json!({"metadata": {"resourceVersion": object.revision.to_string()}})
            } else {
                json_of(&object)
            };
            let line = json!({"type": what.as_str_name(), "object": document}).to_string();
            told.push((what.as_str_name().to_owned(), document));
            if line.contains(how.until) {
                return told;
            }
        }
    }
}

struct How<'a> {
    after: u64,
    labels: &'a str,
    until: &'a str,
}

fn name(object: &Value) -> String {
    text(&object["metadata"]["name"])
}

fn round(object: &Value) -> String {
    text(&object["metadata"]["labels"]["round"])
}

/// All sixty are there, and of one transaction.
fn is_one_batch<'a>(objects: impl IntoIterator<Item = &'a Value>) -> bool {
    let (mut names, mut rounds) = (BTreeSet::new(), BTreeSet::new());
    for object in objects {
        names.insert(name(object));
        rounds.insert(round(object));
    }
    names.len() == TOGETHER && rounds.len() == 1
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_of_a_list_are_of_one_transaction() {
    let mut written = Written::start().await;
    for wire in BOTH {
        for limit in [0, 7, 59] {
            let (mut objects, revision, mut next) = written.page(wire, limit, "").await;
            while !next.is_empty() {
                // So that what follows is written over before it is read.
                written.rounds(1).await;
                let page = written.page(wire, limit, &next).await;
                assert_eq!(page.1, revision, "{wire:?} {limit}");
                objects.extend(page.0);
                next = page.2;
            }
            assert_eq!(objects.len(), TOGETHER);
            assert!(is_one_batch(&objects), "{wire:?} {limit}: {objects:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_begins_goes_on_and_is_resumed_between_transactions() {
    let mut written = Written::start().await;
    for wire in BOTH {
        // What there is, and a bookmark.
        let bookmark = "BOOKMARK";
        let first = How {
            after: 0,
            labels: "",
            until: bookmark,
        };
        let told = written.told(wire, &first).await;
        let last = told.iter().position(|(what, _)| what == bookmark);
        let present = &told[..last.expect("a bookmark")];
        assert!(
            is_one_batch(present.iter().map(|(_, object)| object)),
            "{wire:?}"
        );
        let mut state: BTreeMap<String, Value> = present
            .iter()
            .map(|(_, object)| (name(object), object.clone()))
            .collect();
        let at = revision(&told[present.len()].1);
        // From there, and from where any of them was written, everything of every transaction comes, and at once.
        for after in [
            at,
            revision(&present[0].1),
            revision(&present[TOGETHER - 1].1),
        ] {
            written.rounds(2).await;
            let round = written.round.load(Ordering::Relaxed);
            let until = format!("\"round\":\"{round}\"");
            let resumed = How {
                after,
                labels: "",
                until: &until,
            };
            let told = written.told(wire, &resumed).await;
            let mut sizes: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
            for (_, object) in told.iter().filter(|(what, _)| what != bookmark) {
                sizes
                    .entry(revision(object))
                    .or_default()
                    .insert(name(object));
                state.insert(name(object), object.clone());
            }
            // The last one may have been left before its end; a status is written alone.
            sizes.pop_last();
            assert!(!sizes.is_empty(), "{wire:?}");
            for (revision, names) in &sizes {
                let size = names.len();
                assert!(
                    size == TOGETHER || size == 1,
                    "{wire:?}: {size} at {revision}"
                );
            }
            assert!(told.len() > TOGETHER);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bookmark_stands_at_the_end_of_a_transaction() {
    let mut written = Written::start().await;
    for wire in BOTH {
        // Who sees nothing of it is told how far it has come.
        let at = written.page(wire, 1, "").await.1;
        let quiet = How {
            after: at,
            labels: "round=none",
            until: "BOOKMARK",
        };
        let told = written.told(wire, &quiet).await;
        assert_eq!(told.len(), 1, "{told:?}");
        let bookmark = revision(&told[0].1);
        assert!(bookmark > at);
        let exactly = format!("{IMAGES}?resourceVersion={bookmark}&resourceVersionMatch=Exact");
        let list = get(&written.world, &exactly).await.json();
        let there = list["items"].as_array().expect("a list");
        assert!(is_one_batch(there), "{wire:?}: {list}");
        // The first that comes after it is a whole one of another round.
        written.rounds(2).await;
        let round = written.round.load(Ordering::Relaxed);
        let until = format!("\"round\":\"{round}\"");
        let resumed = How {
            after: bookmark,
            labels: "",
            until: &until,
        };
        let told = written.told(wire, &resumed).await;
        let begun = revision(&told[0].1);
        assert!(begun >= bookmark);
        let first = told.iter().filter(|(_, object)| revision(object) == begun);
        let size = first.count();
        assert!(size == TOGETHER || size == 1, "{wire:?}: {size}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_on_at_another_controller_between_transactions() {
    let mut written = Written::start().await;
    let url = written._store.server().expect("it has one").client_url();
    let config = Config {
        store: StoreConfig::Etcd(EtcdOptions::new([url])),
        ..Config::embedded("/unused")
    };
    let other = common::start(config).await;
    let mut elsewhere = common::objects(&other).await;
    let mut here = written.objects.clone();
    let mut seen: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    let mut after = written.page(Wire::Grpc, 1, "").await.1;
    let began = after;
    // A little at one, a little at the other, each time from what was read last, which the other may not have yet.
    for turn in 0..12 {
        let at = if turn % 2 == 0 {
            &mut here
        } else {
            &mut elsewhere
        };
        let request = v1::WatchRequest {
            kind: "Image".to_owned(),
            revision: after,
            ..v1::WatchRequest::default()
        };
        let mut watch = at.watch(request).await.expect("it goes on").into_inner();
        let mut left = 7 + turn * 9;
        while left > 0 {
            let event = tokio::time::timeout(DEADLINE, watch.message()).await;
            let event = event.expect("in time").expect("it goes on").expect("more");
            let is_bookmark = event.r#type() == Type::Bookmark;
            let object = event.object.expect("an object");
            assert!(object.revision >= after);
            if !is_bookmark {
                seen.entry(object.revision).or_default().insert(object.name);
                left -= 1;
            }
            after = object.revision;
        }
    }
    // The first may have been read whole before, the last is not yet at its end.
    seen.pop_last();
    seen.remove(&began);
    assert!(seen.len() > 2);
    for (revision, names) in seen {
        let size = names.len();
        assert!(size == TOGETHER || size == 1, "{size} at {revision}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_in_a_transaction_that_only_a_snapshot_shows_lists_anew() {
    let world = World::start().await;
    let mut objects = world.objects().await;
    let version = objects.version(v1::VersionRequest {}).await;
    let cluster = version.expect("it answers").into_inner().cluster;
    let keys = Keys::new(&ClusterUid(cluster));
    let at = std::cell::Cell::new(0);
    let world = world
        .between(async |folder| {
            let options = EmbeddedOptions::new(folder.path().join("store.redb"));
            let store = EmbeddedStore::open(options).await.expect("it is closed");
            store.commit(batch(&keys, 1)).await.expect("committed");
            // The last transaction changes some and removes others; what was before is compacted away.
            let mut last = some(&keys, 2, TOGETHER / 2);
            for number in TOGETHER / 2..TOGETHER {
                last = last.delete(keys.object(Kind::Image, &format!("i{number:02}")));
            }
            let committed = store.commit(last).await.expect("committed");
            at.set(committed.revision.0);
            store.compact(committed.revision).await.expect("compacted");
        })
        .await;
    let mut wires = common::wires::Wires::to(world, "Image").await;
    for wire in BOTH {
        let refused = wires.watch(wire, at.get(), "i00").await.expect_err("gone");
        assert_eq!(refused.reason, "Expired", "{wire:?}");
        // Nor has anything to be written for a list to be one to watch from.
        let list = wires.list(wire, "", 0, "").await.expect("a list");
        assert_eq!(list.objects.len(), TOGETHER / 2);
        assert!(list.revision > at.get(), "{wire:?}");
        let twin = if wire == Wire::Rest { "rest" } else { "grpc" };
        let image = json!({
            "apiVersion": "cellblock.dev/v1alpha1", "kind": "Image", "metadata": {"name": twin},
            "spec": {"release": {"tarball": "/dist/base.txz", "sha256": "0".repeat(64)}},
        });
        wires.create(wire, &image).await.expect("created");
        let told = wires.watch(wire, list.revision, twin).await;
        assert!(
            told.expect("it goes on")
                .iter()
                .any(|(what, ..)| what == "ADDED")
        );
        let gone = wires.delete(wire, twin, "", 0).await;
        gone.expect("it goes");
    }
}
