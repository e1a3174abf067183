//! Reads on one snapshot of the file.

use std::ops::Bound;
use std::time::Duration;

use redb::{ReadOnlyTable, ReadTransaction, ReadableTable};

use super::errors::{Fault, corrupted};
use super::tables::{KEYS, LEASES, LOG, META, VERSIONS, decode, meta};
use crate::error::Error;
use crate::lease::LeaseId;
use crate::model::{Got, Key, KeyValue, ListRequest, Page, PageToken, Revision};
use crate::watch::{Event, Notice, WatchRequest};

/// How many bytes of values a page has at most, as in the etcd backend.
const PAGE_BYTES_MAX: usize = 16 << 20;

/// How many bytes of values a watch reads ahead at most; one transaction (1.5 MB) fits several times.
const CHANGES_BYTES_MAX: usize = 8 << 20;

/// How many writes a watch looks at in one read, so that a watch far behind does not hold one snapshot for long.
const CHANGES_WRITES_MAX: usize = 2_000;

/// Rows of [`KEYS`], in the order of keys.
type Rows = redb::Range<'static, &'static [u8], (u64, u64, u64)>;

/// One state of the whole store.
pub(super) struct Snapshot {
    meta: ReadOnlyTable<&'static str, u64>,
    keys: ReadOnlyTable<&'static [u8], (u64, u64, u64)>,
    versions: ReadOnlyTable<(&'static [u8], u64), &'static [u8]>,
    log: ReadOnlyTable<(u64, u32), &'static [u8]>,
    leases: ReadOnlyTable<u64, u64>,
}

/// What a watch reads at once.
pub(super) struct Changes {
    /// One notice per transaction that touched the prefix.
    pub(super) notices: Vec<Notice>,
    /// Everything up to here has been looked at.
    pub(super) upto: Revision,
}

impl Snapshot {
    pub(super) fn new(transaction: &ReadTransaction) -> Result<Self, Fault> {
        Ok(Snapshot {
            meta: transaction.open_table(META)?,
            keys: transaction.open_table(KEYS)?,
            versions: transaction.open_table(VERSIONS)?,
            log: transaction.open_table(LOG)?,
            leases: transaction.open_table(LEASES)?,
        })
    }

    pub(super) fn current(&self) -> Result<Revision, Fault> {
        self.number(meta::REVISION).map(Revision)
    }

    fn number(&self, name: &str) -> Result<u64, Fault> {
        let row = self.meta.get(name)?;
        row.map(|row| row.value())
            .ok_or_else(|| corrupted(format!("its {name} is missing")))
    }

    /// The revision to read at, if it can be read at.
    fn at(&self, asked: Option<Revision>) -> Result<Revision, Fault> {
        let current = self.current()?;
        let Some(asked) = asked else {
            return Ok(current);
        };
        asked.check_readable()?;
        if asked > current {
            return Err(Error::FutureRevision { asked, current }.into());
        }
        self.check_kept(asked)?;
        Ok(asked)
    }

    fn check_kept(&self, asked: Revision) -> Result<(), Fault> {
        let compacted = Revision(self.number(meta::COMPACTED)?);
        if asked < compacted {
            return Err(Error::Compacted { asked, compacted }.into());
        }
        Ok(())
    }

    pub(super) fn get(&self, key: &Key, at: Option<Revision>) -> Result<Got, Fault> {
        let revision = self.at(at)?;
        let item = match self.keys.get(key.as_bytes())? {
            None => None,
            Some(row) => self.item_at(key.as_bytes(), row.value(), revision)?,
        };
        Ok(Got { item, revision })
    }

    pub(super) fn list(&self, request: &ListRequest) -> Result<Page, Fault> {
        let ListRequest {
            prefix,
            at,
            after,
            limit,
        } = request;
        let revision = self.at(after.as_ref().map(|token| token.revision).or(*at))?;
        let from = match after {
            Some(token) if token.last_key >= *prefix => Bound::Excluded(token.last_key.as_bytes()),
            Some(_) | None => Bound::Included(prefix.as_bytes()),
        };
        let (mut items, mut bytes) = (Vec::<KeyValue>::new(), 0);
        for row in self.range(prefix, from)? {
            let (key, row) = row?;
            let Some(item) = self.item_at(key.value(), row.value(), revision)? else {
                continue;
            };
            let is_full =
                items.len() >= (*limit).max(1) || bytes + item.value.len() > PAGE_BYTES_MAX;
            if let (true, Some(last)) = (is_full, items.last()) {
                let next = Some(PageToken {
                    revision,
                    last_key: last.key.clone(),
                });
                return Ok(Page {
                    items,
                    revision,
                    next,
                });
            }
            bytes += item.value.len();
            items.push(item);
        }
        Ok(Page {
            items,
            revision,
            next: None,
        })
    }

    pub(super) fn count(&self, prefix: &Key, at: Option<Revision>) -> Result<u64, Fault> {
        let revision = self.at(at)?;
        let mut count = 0;
        for row in self.range(prefix, Bound::Included(prefix.as_bytes()))? {
            let (key, row) = row?;
            let (modified, created, _) = row.value();
            let exists = if modified <= revision.0 {
                created != 0
            } else {
                self.version_before(key.value(), revision.0 + 1)?.is_some()
            };
            count += u64::from(exists);
        }
        Ok(count)
    }

    /// The rows of [`KEYS`] from a key to the end of a prefix.
    fn range<'k>(&self, prefix: &'k Key, from: Bound<&'k [u8]>) -> Result<Rows, Fault> {
        let end = prefix.prefix_end();
        let to = end
            .as_ref()
            .map_or(Bound::Unbounded, |end| Bound::Excluded(end.as_bytes()));
        if let (Bound::Included(from) | Bound::Excluded(from), Bound::Excluded(to)) = (from, to)
            && from >= to
        {
            // A token from beyond the prefix; redb, like BTreeMap, takes no range that ends before it begins.
            return Ok(self
                .keys
                .range::<&[u8]>((Bound::Excluded(to), Bound::Excluded(to)))?);
        }
        Ok(self.keys.range::<&[u8]>((from, to))?)
    }

    /// The item of a key as of a revision, given its row in [`KEYS`].
    fn item_at(
        &self,
        key: &[u8],
        (modified, created, _): (u64, u64, u64),
        at: Revision,
    ) -> Result<Option<KeyValue>, Fault> {
        if modified > at.0 {
            return self.version_before(key, at.0 + 1);
        }
        if created == 0 {
            return Ok(None);
        }
        self.version(key, modified)
    }

    /// The version written at exactly this revision.
    fn version(&self, key: &[u8], modified: u64) -> Result<Option<KeyValue>, Fault> {
        let missing = || {
            corrupted(format!(
                "{} has no version of revision {modified}",
                Key::from(key)
            ))
        };
        let record = self.versions.get((key, modified))?.ok_or_else(missing)?;
        decode(key, modified, record.value()).map_err(corrupted)
    }

    /// The last version older than a revision.
    fn version_before(&self, key: &[u8], revision: u64) -> Result<Option<KeyValue>, Fault> {
        match self.versions.range((key, 0)..(key, revision))?.next_back() {
            None => Ok(None),
            Some(row) => {
                let (at, record) = row?;
                decode(key, at.value().1, record.value()).map_err(corrupted)
            }
        }
    }

    /// The next changes that a watch has not seen.
    pub(super) fn changes(
        &self,
        request: &WatchRequest,
        after: Revision,
    ) -> Result<Changes, Fault> {
        let current = self.current()?;
        if after > current {
            return Err(Error::FutureRevision {
                asked: after,
                current,
            }
            .into());
        }
        // Revision 1 is the empty store, so there is nothing to have missed between 0 and it.
        self.check_kept(after.max(Revision(1)))?;
        let (mut notices, mut events): (Vec<Notice>, Vec<Event>) = (Vec::new(), Vec::new());
        let (mut upto, mut bytes, mut writes) = (after.0, 0, 0);
        for row in self.log.range((after.0 + 1, 0)..)? {
            let (at, key) = row?;
            let (revision, _) = at.value();
            if revision != upto {
                finish(&mut notices, &mut events, upto);
                if bytes > CHANGES_BYTES_MAX || writes > CHANGES_WRITES_MAX {
                    return Ok(Changes {
                        notices,
                        upto: Revision(upto),
                    });
                }
                upto = revision;
            }
            writes += 1;
            if key.value().starts_with(request.prefix.as_bytes()) {
                let event = self.event(key.value(), revision, request.previous)?;
                bytes += size_bytes(&event);
                events.push(event);
            }
        }
        finish(&mut notices, &mut events, upto);
        Ok(Changes {
            notices,
            upto: current,
        })
    }

    fn event(&self, key: &[u8], revision: u64, with_previous: bool) -> Result<Event, Fault> {
        let previous = if with_previous {
            self.version_before(key, revision)?
        } else {
            None
        };
        Ok(match self.version(key, revision)? {
            Some(item) => Event::Put { item, previous },
            None => Event::Delete {
                key: Key::from(key),
                previous,
            },
        })
    }

    /// All leases and their times.
    pub(super) fn leases(&self) -> Result<Vec<(LeaseId, Duration)>, Fault> {
        let row = |row: Result<(redb::AccessGuard<'_, u64>, redb::AccessGuard<'_, u64>), _>| {
            let (id, seconds) = row?;
            Ok((LeaseId(id.value()), Duration::from_secs(seconds.value())))
        };
        self.leases.iter()?.map(row).collect()
    }
}

fn finish(notices: &mut Vec<Notice>, events: &mut Vec<Event>, revision: u64) {
    if !events.is_empty() {
        let mut events = std::mem::take(events);
        events.sort_by(|a, b| a.key().cmp(b.key()));
        notices.push(Notice::Changes {
            revision: Revision(revision),
            events,
        });
    }
}

fn size_bytes(event: &Event) -> usize {
    let size = |item: &Option<KeyValue>| item.as_ref().map_or(0, |item| item.value.len());
    match event {
        Event::Put { item, previous } => item.value.len() + size(previous),
        Event::Delete { previous, .. } => size(previous),
    }
}
