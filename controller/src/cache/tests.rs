//! Subscriptions neither miss nor repeat, and are bounded.

use cellblock_controller_core::keys::Keys;
use serde_json::json;
use tokio::sync::broadcast::error::TryRecvError;

use super::*;

fn cluster() -> ClusterUid {
    ClusterUid("c1".to_owned())
}

fn put(revision: u64, bytes: usize) -> Event {
    let document = json!({
        "apiVersion": "cellblock.dev/v1alpha1", "kind": "Host",
        "metadata": {"name": "a", "uid": "u", "annotations": {"filler": "x".repeat(bytes)}}, "spec": {},
    });
    Event::Put {
        key: Keys::new(&cluster()).object(Kind::Host, "a"),
        value: document.to_string().into(),
        modified: revision,
    }
}

fn filled(revisions: std::ops::RangeInclusive<u64>) -> Cache {
    let cache = Cache::new(cluster());
    cache.replace(0, Vec::new());
    for revision in revisions {
        cache.apply(revision, vec![put(revision, 0)]);
    }
    cache
}

#[test]
fn a_subscription_has_everything_after_its_revision_once() {
    let cache = filled(1..=5);
    let mut subscription = cache.subscribe(3, |_| false).expect("known");
    cache.apply(6, vec![put(6, 0)]);
    let missed: Vec<_> = subscription
        .missed
        .iter()
        .map(|batch| batch.revision)
        .collect();
    assert_eq!(missed, [4, 5]);
    assert_eq!(
        subscription.coming.try_recv().expect("one comes").revision,
        6
    );
    assert_eq!(
        subscription.coming.try_recv().expect_err("no more"),
        TryRecvError::Empty
    );
}

#[test]
fn a_transaction_that_only_moves_claims_is_progress_without_a_batch() {
    let cache = filled(1..=1);
    cache.progress(9);
    assert_eq!(cache.index().revision(), 9);
    assert!(
        cache
            .subscribe(1, |_| false)
            .expect("known")
            .missed
            .is_empty()
    );
}

#[test]
fn history_is_bounded_in_number() {
    let cache = filled(1..=HISTORY_BATCHES_MAX as u64 + 10);
    assert_eq!(
        cache.subscribe(9, |_| false).err(),
        Some(Expired {
            asked: 9,
            oldest: 10
        })
    );
    assert_eq!(
        cache.subscribe(10, |_| false).expect("known").missed.len(),
        HISTORY_BATCHES_MAX
    );
}

#[test]
fn history_is_bounded_in_bytes() {
    let cache = filled(1..=1);
    for revision in 2..=200 {
        cache.apply(revision, vec![put(revision, 1 << 20)]);
    }
    let oldest = cache
        .subscribe(1, |_| false)
        .err()
        .expect("long gone")
        .oldest;
    let kept = 200 - oldest;
    assert!((60..=64).contains(&kept), "{kept} MiB are kept");
}

#[test]
fn a_reader_that_is_too_far_behind_is_cut_off() {
    let cache = filled(1..=1);
    let mut subscription = cache.subscribe(1, |_| false).expect("known");
    for revision in 2..=BEHIND_MAX as u64 + 3 {
        cache.apply(revision, vec![put(revision, 0)]);
    }
    assert!(matches!(
        subscription.coming.try_recv(),
        Err(TryRecvError::Lagged(_))
    ));
}

#[test]
fn a_snapshot_in_place_of_history_forgets_the_past() {
    let cache = filled(1..=5);
    let mut subscription = cache.subscribe(5, |_| false).expect("known");
    cache.replace(9, Vec::new());
    // Who is connected sees the difference; who was away has to list again.
    assert_eq!(
        subscription
            .coming
            .try_recv()
            .expect("the removal")
            .revision,
        9
    );
    assert_eq!(
        cache.subscribe(5, |_| false).err(),
        Some(Expired {
            asked: 5,
            oldest: 9
        })
    );
}

#[test]
fn who_may_have_read_a_part_of_a_transaction_gets_it_again() {
    let cache = filled(1..=1);
    let host = |name: &str| Event::Put {
        key: Keys::new(&cluster()).object(Kind::Host, name),
        value: json!({
            "apiVersion": "cellblock.dev/v1alpha1", "kind": "Host",
            "metadata": {"name": name, "uid": name}, "spec": {},
        })
        .to_string()
        .into(),
        modified: 2,
    };
    cache.apply(2, vec![host("b"), host("c")]);
    cache.apply(3, vec![put(3, 0)]);
    let several = |batch: &Batch| batch.events.len() > 1;
    let missed = |after| {
        let subscription = cache.subscribe(after, several).expect("known");
        let revisions = subscription.missed.iter().map(|batch| batch.revision);
        revisions.collect::<Vec<_>>()
    };
    assert_eq!(missed(1), [2, 3]);
    assert_eq!(missed(2), [2, 3]);
    assert_eq!(missed(3), [0_u64; 0]);
}

#[test]
fn at_a_snapshot_nobody_resumes_as_it_does_not_have_what_was_removed() {
    let item = |name: &str, modified: u64| {
        let document = json!({
            "apiVersion": "cellblock.dev/v1alpha1", "kind": "Host",
            "metadata": {"name": name, "uid": name}, "spec": {},
        });
        let key = Keys::new(&cluster()).object(Kind::Host, name);
        (key, Bytes::from(document.to_string()), modified)
    };
    let cache = Cache::new(cluster());
    cache.replace(9, vec![item("old", 5), item("a", 9)]);
    let gone = Expired {
        asked: 9,
        oldest: 10,
    };
    assert_eq!(cache.subscribe(9, |_| true).err(), Some(gone));
    // What happened to no object moves on from there.
    cache.progress(10);
    assert!(cache.subscribe(10, |_| true).is_ok());
    assert_eq!(cache.subscribe(9, |_| true).err(), Some(gone));
}

#[test]
fn a_batch_is_visible_as_a_whole_or_not_at_all() {
    const TOGETHER: usize = 60;
    const LAST: u64 = 200;
    let batch = |revision: u64| {
        let each = (0..TOGETHER).map(|number| {
            let name = format!("h{number:02}");
            let document = json!({
                "apiVersion": "cellblock.dev/v1alpha1", "kind": "Host",
                "metadata": {"name": name, "uid": name}, "spec": {},
            });
            Event::Put {
                key: Keys::new(&cluster()).object(Kind::Host, &name),
                value: document.to_string().into(),
                modified: revision,
            }
        });
        each.collect::<Vec<_>>()
    };
    let cache = Cache::new(cluster());
    cache.replace(0, Vec::new());
    cache.apply(1, batch(1));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for revision in 2..=LAST {
                cache.apply(revision, batch(revision));
            }
        });
        loop {
            let ((revision, revisions), mut subscription) = cache.snapshot(|index| {
                let each = index.list(Kind::Host, None).map(|entry| entry.revision);
                (index.revision(), each.collect::<Vec<_>>())
            });
            // A list is of one batch, and its revision is that batch's: a page or a bookmark is cut there.
            assert_eq!(revisions, vec![revision; TOGETHER]);
            // What comes behind it begins with the next one, whole.
            if let Ok(next) = subscription.coming.try_recv() {
                assert_eq!((next.revision, next.events.len()), (revision + 1, TOGETHER));
            }
            let resumed = cache.subscribe(revision, |_| false).expect("known");
            for next in resumed.missed {
                assert_eq!(next.events.len(), TOGETHER);
            }
            if revision == LAST {
                break;
            }
        }
    });
}
