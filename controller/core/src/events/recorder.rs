//! What becomes of happenings: limited per object, put together where they are alike, and written as records, of which only so many
//! are kept for so long. As client-go does it (`tools/record/events_cache.go`: `EventAggregator`, `EventSourceObjectSpamFilter`,
//! `eventLogger`), but for what it keeps: a record's name follows from what it says, so the store itself knows what is the same.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use cellblock_schemas::Uid;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use super::{About, Happening, Record, Records, Severity};
use crate::index::Index;
use crate::write::{Expect, Write};

/// How many happenings of one object are told at once (`defaultSpamBurst`), and how often one more is (`defaultSpamQPS`).
const BURST: f64 = 25.0;
const REFILL_SECONDS: f64 = 300.0;

/// From how many messages with one reason on they are told as one (`defaultAggregateMaxEvents`), and after how long without one this begins
/// anew (`defaultAggregateIntervalInSeconds`).
const SIMILAR_MAX: usize = 10;
const SIMILAR_SECONDS: i64 = 600;

/// For how many objects it is remembered what was told of them (`maxLruCacheEntries`).
const REMEMBERED_MAX: usize = 4096;

/// How many records wait to be written: what 10,000 jails that start at once bring is cut here, and counted.
const PENDING_MAX: usize = 2_000;

/// How many changes one transaction has, of the 128 that a store takes.
const CHANGES_MAX: usize = 100;

/// How many records a new one may push out: of its object, and of all, two each.
const PUSHED_MAX: usize = 4;

/// How many of these take old records away.
const REMOVALS_MAX: usize = 50;

/// How long a record is kept after its last time, as kube-apiserver's `--event-ttl` has it.
const KEPT: SignedDuration = SignedDuration::from_hours(1);

/// How many records there are of one object, and in all; those with the oldest last time go.
const OF_OBJECT_MAX: usize = 50;
const RECORDS_MAX: usize = 5_000;

/// How long a message and a reason are at most, in octets, as validated by kube-apiserver (`NoteLengthLimit`, `ReasonLengthLimit`).
const MESSAGE_BYTES_MAX: usize = 1024;
const REASON_BYTES_MAX: usize = 128;

/// How large the records of one transaction are at most, in octets: a third of what a store takes.
const FLUSH_BYTES_MAX: usize = 512 << 10;

/// How far the clock of another controller may be ahead. A record that is from later than that is as one that is past its time, so
/// that none stays for good where a clock once was wrong.
const AHEAD_MAX: SignedDuration = SignedDuration::from_mins(5);

/// What a message begins with that stands for several (`EventAggregatorByReasonMessageFunc`).
const COMBINED: &str = "(combined from similar events): ";

/// Something that waits to be written.
#[derive(Clone, Debug)]
struct Pending {
    happening: Happening,
    first: Timestamp,
    last: Timestamp,
    /// How often it happened in the transaction of each revision.
    counts: BTreeMap<u64, u64>,
    /// The revision through which this is all that happened.
    through: u64,
}

impl Pending {
    /// How often it happened that a record does not count.
    fn uncounted(&self, known: Option<&Record>) -> u64 {
        let through = known.map_or(0, |known| known.through);
        let later = self
            .counts
            .iter()
            .filter(|(revision, _)| **revision > through);
        later.map(|(_, count)| count).sum()
    }

    fn count(&self) -> u64 {
        self.counts.values().sum()
    }
}

/// What may still be told of an object, of good and of bad each: what flaps in order leaves room for a warning.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    touched: Timestamp,
}

/// Messages of one object with one reason.
#[derive(Clone, Debug)]
struct Similar {
    messages: BTreeSet<String>,
    touched: Timestamp,
}

/// Takes in happenings and says what to write.
#[derive(Debug, Default)]
pub struct Recorder {
    pending: BTreeMap<String, Pending>,
    order: VecDeque<String>,
    buckets: BTreeMap<(Uid, Severity), Bucket>,
    similar: BTreeMap<(Uid, Severity, String), Similar>,
    dropped: u64,
    untold: u64,
}

/// One transaction's worth of records.
#[derive(Debug)]
pub struct Flush {
    /// What to write.
    pub write: Write,
    taken: Vec<String>,
}

impl Recorder {
    /// Takes in a happening of the transaction of a revision. By the revision it is known whether a record counts it already,
    /// whoever wrote that, and by whatever clock.
    pub fn note(&mut self, happening: Happening, revision: u64, now: Timestamp) {
        self.note_found(happening, revision, revision, now);
    }

    /// Takes in a happening that was found in a snapshot of a revision. It counts by the revision of the last write of the object that
    /// is known, as that is the same in every snapshot; and whoever saw it happen before this one was taken does not count it again.
    pub fn note_found(
        &mut self,
        mut happening: Happening,
        written: u64,
        snapshot: u64,
        now: Timestamp,
    ) {
        cut(&mut happening.reason, REASON_BYTES_MAX);
        cut(&mut happening.message, MESSAGE_BYTES_MAX);
        if !self.is_within_limit(&happening, now) {
            self.drop_some(happening.count);
            return;
        }
        let (mut happening, name) = self.combined(happening, now);
        cut(&mut happening.message, MESSAGE_BYTES_MAX);
        self.enqueue(name, happening, (written, snapshot), now);
    }

    /// Counts happenings that are left out.
    pub fn drop_some(&mut self, count: u64) {
        self.untold += count;
    }

    /// How many happenings were left out while this process recorded.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether nothing waits to be written.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.untold == 0
    }

    /// Forgets what waits since before a time, and what was left out: whoever records has had time enough to write it, and counts for
    /// itself.
    pub fn forget_before(&mut self, time: Timestamp) {
        let is_late = |pending: &Pending| pending.last.duration_since(time) > AHEAD_MAX;
        self.pending
            .retain(|_, pending| pending.last >= time && !is_late(pending));
        self.order.retain(|name| self.pending.contains_key(name));
        self.untold = 0;
    }

    /// What to write next; none if there is nothing. `leading` is the key by which this process records, and its revision: whoever has
    /// lost it writes nothing.
    #[must_use]
    pub fn flush(&mut self, index: &Index, leading: (&str, u64), now: Timestamp) -> Option<Flush> {
        self.tell_drops(index, now);
        let records = index.records();
        let mut write = Write::default();
        write.expect(leading.0.to_owned(), Expect::At(leading.1));
        let coming = self.order.iter().take(CHANGES_MAX);
        let mut room = Room::of(records, coming.cloned().collect(), now);
        // What is told again is written only: no key twice in one transaction.
        for name in room.expired.difference(&room.coming) {
            delete(&mut write, index, name);
        }
        let mut taken = Vec::new();
        let mut bytes = 0;
        for name in self.order.iter().take(CHANGES_MAX) {
            let Some(pending) = self.pending.get(name) else {
                continue;
            };
            if write.changes.len() + 1 + PUSHED_MAX > CHANGES_MAX || bytes > FLUSH_BYTES_MAX {
                break;
            }
            taken.push(name.clone());
            let stored = records.get(name);
            let key = index.keys().record(name);
            let known = stored.map(|(record, _)| &**record);
            let uncounted = pending.uncounted(known);
            if uncounted == 0 {
                if room.expired.contains(name) {
                    delete(&mut write, index, name);
                }
                continue;
            }
            let through = known.map_or(0, |known| known.through);
            let known = known.filter(|_| !room.expired.contains(name));
            let record = record(name, pending, known, uncounted, through).encode();
            if known.is_none() {
                for pushed in room.make(records, &pending.happening.about.uid) {
                    delete(&mut write, index, &pushed);
                }
            }
            bytes += record.len();
            // Who wrote it meanwhile has counted what this one does not know of.
            let expect = stored.map_or(Expect::Absent, |(_, revision)| Expect::At(revision));
            write.expect(key.clone(), expect);
            write.put(key, record);
        }
        (!write.changes.is_empty() || !taken.is_empty()).then_some(Flush { write, taken })
    }

    /// What was written waits no more.
    pub fn written(&mut self, flush: &Flush) {
        for name in &flush.taken {
            self.pending.remove(name);
        }
        self.order.retain(|name| self.pending.contains_key(name));
    }

    /// What no store will ever take waits no more, and is counted as left out.
    pub fn give_up(&mut self, flush: &Flush) {
        let given_up = flush.taken.iter();
        let given_up = given_up.filter_map(|name| self.pending.get(name));
        let count = given_up.map(Pending::count).sum();
        self.written(flush);
        self.drop_some(count);
    }

    fn enqueue(
        &mut self,
        name: String,
        happening: Happening,
        (revision, through): (u64, u64),
        now: Timestamp,
    ) {
        if let Some(pending) = self.pending.get_mut(&name) {
            *pending.counts.entry(revision).or_default() += happening.count;
            pending.through = pending.through.max(through);
            pending.happening.message = happening.message;
            pending.last = now;
            return;
        }
        if self.pending.len() >= PENDING_MAX && !self.gives_way(happening.severity) {
            self.drop_some(happening.count);
            return;
        }
        let pending = Pending {
            counts: [(revision, happening.count)].into(),
            through,
            happening,
            first: now,
            last: now,
        };
        self.order.push_back(name.clone());
        self.pending.insert(name, pending);
    }

    /// Leaves out the oldest that is no warning, where a warning comes.
    fn gives_way(&mut self, severity: Severity) -> bool {
        if severity == Severity::Normal {
            return false;
        }
        let is_normal = |name: &String| {
            let pending = self.pending.get(name);
            pending.is_some_and(|pending| pending.happening.severity == Severity::Normal)
        };
        let Some(place) = self.order.iter().position(is_normal) else {
            return false;
        };
        let left_out = self.order.remove(place);
        let left_out = left_out.and_then(|name| self.pending.remove(&name));
        self.drop_some(left_out.map_or(0, |pending| pending.count()));
        true
    }

    /// That some were left out is an event too: of the cluster, with their number as its count.
    fn tell_drops(&mut self, index: &Index, now: Timestamp) {
        if self.untold == 0 {
            return;
        }
        let cluster = index.cluster();
        let happening = Happening {
            about: About {
                kind: "Cluster".to_owned(),
                name: cluster.0.clone(),
                uid: Uid(cluster.0.clone()),
            },
            severity: Severity::Warning,
            reason: "EventsDropped".to_owned(),
            message: "events were left out: more happened than is recorded".to_owned(),
            count: std::mem::take(&mut self.untold),
        };
        self.dropped += happening.count;
        let name = name_of(&happening, &happening.message);
        // What this leaves out in turn is told with the next.
        let revision = index.revision();
        self.enqueue(name, happening, (revision, revision), now);
    }

    fn is_within_limit(&mut self, happening: &Happening, now: Timestamp) -> bool {
        let of = (happening.about.uid.clone(), happening.severity);
        if self.buckets.len() >= REMEMBERED_MAX && !self.buckets.contains_key(&of) {
            forget_half(&mut self.buckets, |bucket| bucket.touched);
        }
        let bucket = self.buckets.entry(of).or_insert(Bucket {
            tokens: BURST,
            touched: now,
        });
        let passed = now.duration_since(bucket.touched).as_secs_f64().max(0.0);
        bucket.tokens = (bucket.tokens + passed / REFILL_SECONDS).min(BURST);
        bucket.touched = now;
        let is_within = bucket.tokens >= 1.0;
        if is_within {
            bucket.tokens -= 1.0;
        }
        is_within
    }

    /// The happening as it is recorded, and the record's name.
    fn combined(&mut self, mut happening: Happening, now: Timestamp) -> (Happening, String) {
        let about = &happening.about;
        let key = (
            about.uid.clone(),
            happening.severity,
            happening.reason.clone(),
        );
        if self.similar.len() >= REMEMBERED_MAX && !self.similar.contains_key(&key) {
            forget_half(&mut self.similar, |similar| similar.touched);
        }
        let similar = self.similar.entry(key).or_insert_with(|| Similar {
            messages: BTreeSet::new(),
            touched: now,
        });
        if now.duration_since(similar.touched).as_secs() > SIMILAR_SECONDS {
            similar.messages.clear();
        }
        similar.touched = now;
        let is_known = similar.messages.contains(&happening.message);
        if !is_known && similar.messages.len() >= SIMILAR_MAX {
            let name = name_of(&happening, COMBINED);
            happening.message.insert_str(0, COMBINED);
            return (happening, name);
        }
        similar.messages.insert(happening.message.clone());
        let name = name_of(&happening, &happening.message);
        (happening, name)
    }
}

/// Which records go.
struct Room {
    /// Past their time.
    expired: BTreeSet<String>,
    /// These, and those that were pushed out.
    gone: BTreeSet<String>,
    /// What this transaction may write, which is therefore not pushed out.
    coming: BTreeSet<String>,
    total: usize,
    added: BTreeMap<Uid, usize>,
}

impl Room {
    fn of(records: &Records, coming: BTreeSet<String>, now: Timestamp) -> Self {
        let age = |record: &Record| now.duration_since(record.last);
        let expired = records.oldest().take_while(|record| age(record) > KEPT);
        let ahead = records.newest();
        let ahead = ahead.take_while(|record| age(record) < -AHEAD_MAX);
        let expired = expired.chain(ahead);
        let expired: BTreeSet<String> = expired
            .take(REMOVALS_MAX)
            .map(|record| record.name.clone())
            .collect();
        Self {
            gone: expired.clone(),
            total: records.len() - expired.len(),
            expired,
            coming,
            added: BTreeMap::new(),
        }
    }

    /// Makes room for one more record of an object: which others it pushes out.
    fn make(&mut self, records: &Records, uid: &Uid) -> Vec<String> {
        let mut pushed = Vec::new();
        let added = self.added.entry(uid.clone()).or_default();
        *added += 1;
        let left = records
            .of(uid)
            .filter(|(record, _)| !self.gone.contains(&record.name));
        let over = (left.count() + *added).saturating_sub(OF_OBJECT_MAX);
        let normal = records
            .of(uid)
            .filter(|(one, _)| one.severity == Severity::Normal);
        let warnings = records
            .of(uid)
            .filter(|(one, _)| one.severity != Severity::Normal);
        let of_object = normal.chain(warnings).map(|(record, _)| record);
        self.push_out(of_object, over, &mut pushed);
        self.total += 1;
        let over = self.total.saturating_sub(RECORDS_MAX);
        self.push_out(records.least(), over, &mut pushed);
        pushed
    }

    fn push_out<'a>(
        &mut self,
        oldest: impl Iterator<Item = &'a Arc<Record>>,
        over: usize,
        pushed: &mut Vec<String>,
    ) {
        // More than one only where those before were spared because they came up again.
        let names = oldest.map(|record| &record.name);
        let names = names.filter(|name| !self.gone.contains(*name) && !self.coming.contains(*name));
        let names: Vec<String> = names.take(over.min(PUSHED_MAX / 2)).cloned().collect();
        self.total -= names.len();
        self.gone.extend(names.iter().cloned());
        pushed.extend(names);
    }
}

fn delete(write: &mut Write, index: &Index, name: &str) {
    let Some((_, revision)) = index.records().get(name) else {
        return;
    };
    let key = index.keys().record(name);
    write.expect(key.clone(), Expect::At(revision));
    write.delete(key);
}

fn record(
    name: &str,
    pending: &Pending,
    known: Option<&Record>,
    uncounted: u64,
    through: u64,
) -> Record {
    let Happening {
        about,
        severity,
        reason,
        message,
        ..
    } = pending.happening.clone();
    Record {
        name: name.to_owned(),
        about,
        severity,
        reason,
        message,
        count: known
            .map_or(0, |known| known.count)
            .saturating_add(uncounted),
        first: known.map_or(pending.first, |known| known.first),
        last: known.map_or(pending.last, |known| known.last.max(pending.last)),
        through: through.max(pending.through),
    }
}

/// The name of the record of what reads the same: a name as Kubernetes' events have them, of the object's and sixteen digits.
fn name_of(happening: &Happening, message: &str) -> String {
    let about = &happening.about;
    let mut hash = Sha256::new();
    let parts = [
        about.uid.as_str(),
        happening.severity.as_str(),
        &happening.reason,
        message,
    ];
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let digits: String = hash.finalize()[..8]
        .iter()
        .map(|octet| format!("{octet:02x}"))
        .collect();
    format!("{}.{digits}", about.name)
}

/// Cuts a text at a whole character.
fn cut(message: &mut String, most: usize) {
    if message.len() <= most {
        return;
    }
    let mut end = most - '…'.len_utf8();
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message.truncate(end);
    message.push('…');
}

/// Forgets the half that was not touched for longest.
fn forget_half<K: Ord + Clone, V>(map: &mut BTreeMap<K, V>, touched: impl Fn(&V) -> Timestamp) {
    let mut times: Vec<Timestamp> = map.values().map(&touched).collect();
    times.sort_unstable();
    let Some(middle) = times.get(times.len() / 2).copied() else {
        return;
    };
    let mut left = times.len() / 2;
    map.retain(|_, value| {
        let goes = left > 0 && touched(value) <= middle;
        left -= usize::from(goes);
        !goes
    });
}
