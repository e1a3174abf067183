//! What every store can do because it can do transactions: create, update, delete, and the read-change-write loop.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;

use crate::backoff::Backoff;
use crate::error::{Conflict, Error, Result};
use crate::model::{Key, KeyValue, ListRequest, Revision};
use crate::store::Store;
use crate::transaction::{Committed, Expect, Transaction};

/// How often [`StoreExt::guaranteed_update`] tries. Each failure means that somebody else's write came through, so this
/// many in a row on one key is a loop between writers rather than contention.
const ATTEMPTS_MAX: usize = 256;

/// The first wait after a lost race, about the time of one transaction.
const RACE_DELAY_FIRST: Duration = Duration::from_millis(1);

/// The longest wait after a lost race.
const RACE_DELAY_MOST: Duration = Duration::from_millis(50);

/// What to do with the item that [`StoreExt::guaranteed_update`] showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Store these bytes. Nothing is written when they are there already.
    Put(Bytes),
    /// Remove the key. Nothing is written when it does not exist.
    Delete,
    /// Leave it as it is.
    Keep,
}

/// What an update left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Updated {
    /// The item now.
    pub item: Option<KeyValue>,
    /// The revision of the write, or of the read that showed that none was needed.
    pub revision: Revision,
    /// Whether anything was written.
    pub changed: bool,
}

/// Operations over [`Store`], for every store and for `dyn Store`.
///
/// # Guarantees
///
/// Each is one transaction, or one read and one transaction that only applies to what was read.
///
/// # Errors
///
/// Those of [`Store::get`] and [`Store::commit`], and those named at each.
///
/// # Cancel safety
///
/// As [`Store`]: a dropped write may have happened.
pub trait StoreExt: Store {
    /// Stores bytes under a key that must not exist, and returns the revision.
    ///
    /// # Errors
    /// [`Error::Conflict`] when it does, with what is there.
    fn create(
        &self,
        key: impl Into<Key>,
        value: impl Into<Bytes>,
    ) -> impl Future<Output = Result<Revision>> + Send {
        let committing = self.commit(Transaction::new().create(key, value));
        async move { Ok(committing.await?.revision) }
    }

    /// Replaces `known`, which the caller has read, by `value`, keeping its lease. Nothing is written when the bytes are
    /// equal and `known` is still current.
    ///
    /// # Errors
    /// [`Error::Conflict`] when `known` is not what is there.
    fn replace(
        &self,
        known: &KeyValue,
        value: impl Into<Bytes>,
    ) -> impl Future<Output = Result<Updated>> + Send {
        let (known, value) = (known.clone(), value.into());
        async move {
            if known.value != value {
                return put_over(self, &known.key, Some(&known), value).await;
            }
            // Equal to something stale is not equal to what is there, so look before saying that nothing is to do.
            let unchanged =
                Transaction::new().expect(known.key.clone(), Expect::At(known.modified));
            let revision = self.commit(unchanged).await?.revision;
            Ok(Updated {
                item: Some(known),
                revision,
                changed: false,
            })
        }
    }

    /// Stores bytes under a key last written at `expected`. Nothing is written when they are there already.
    ///
    /// # Errors
    /// [`Error::NotFound`] without such a key, [`Error::Conflict`] when it was written since.
    fn update(
        &self,
        key: impl Into<Key>,
        expected: Revision,
        value: impl Into<Bytes>,
    ) -> impl Future<Output = Result<Updated>> + Send {
        let (key, value) = (key.into(), value.into());
        async move {
            let got = self.get(&key, None).await?;
            let Some(current) = got.item else {
                return Err(Error::NotFound {
                    key,
                    revision: got.revision,
                });
            };
            if current.modified != expected {
                return Err(stale(&key, expected, current, got.revision));
            }
            if current.value == value {
                return Ok(Updated {
                    item: Some(current),
                    revision: got.revision,
                    changed: false,
                });
            }
            put_over(self, &key, Some(&current), value).await
        }
    }

    /// Removes a key, if given only as last written at `expected`, and returns the revision.
    ///
    /// # Errors
    /// [`Error::NotFound`] without such a key, [`Error::Conflict`] when it was written since.
    fn delete(
        &self,
        key: impl Into<Key>,
        expected: Option<Revision>,
    ) -> impl Future<Output = Result<Revision>> + Send {
        let key = key.into();
        async move {
            let expect = expected.map_or(Expect::Exists, Expect::At);
            let removal = Transaction::new()
                .expect(key.clone(), expect)
                .delete(key.clone());
            match self.commit(removal).await {
                Ok(Committed { revision, .. }) => Ok(revision),
                Err(error) => Err(not_found_if_absent(error, &key)),
            }
        }
    }

    /// Shows `change` what is there and does what it says, again and again until nobody else wrote in between.
    ///
    /// `change` may run several times and sees the current item each time. The lease of an existing item stays.
    ///
    /// # Errors
    /// What `change` returns, at once. [`Error::Conflict`] after very many lost races.
    fn guaranteed_update<E, F>(
        &self,
        key: impl Into<Key>,
        mut change: F,
    ) -> impl Future<Output = Result<Updated, E>> + Send
    where
        E: From<Error> + Send,
        F: FnMut(Option<&KeyValue>) -> Result<Change, E> + Send,
    {
        let key = key.into();
        async move {
            let mut backoff = Backoff::new(RACE_DELAY_FIRST, RACE_DELAY_MOST);
            let mut attempt = 0;
            loop {
                let got = self.get(&key, None).await?;
                let wanted = change(got.item.as_ref())?;
                let unchanged = match (&wanted, &got.item) {
                    (Change::Keep, _) | (Change::Delete, None) => true,
                    (Change::Put(value), Some(current)) => *value == current.value,
                    (Change::Put(_), None) | (Change::Delete, Some(_)) => false,
                };
                if unchanged {
                    return Ok(Updated {
                        item: got.item,
                        revision: got.revision,
                        changed: false,
                    });
                }
                let outcome = match wanted {
                    Change::Put(value) => put_over(self, &key, got.item.as_ref(), value).await,
                    Change::Delete | Change::Keep => {
                        let revision = got.item.map(|item| item.modified);
                        let removed = self.delete(key.clone(), revision).await;
                        removed.map(|revision| Updated {
                            item: None,
                            revision,
                            changed: true,
                        })
                    }
                };
                attempt += 1;
                match outcome {
                    Err(Error::Conflict(_) | Error::NotFound { .. }) if attempt < ATTEMPTS_MAX => {
                        tokio::time::sleep(backoff.delay()).await;
                    }
                    Ok(updated) => return Ok(updated),
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }

    /// Every item of a prefix at one revision, page by page into one list: for prefixes known to be small.
    fn list_all(
        &self,
        prefix: impl Into<Key>,
    ) -> impl Future<Output = Result<(Vec<KeyValue>, Revision)>> + Send {
        let mut request = ListRequest::new(prefix);
        async move {
            let mut items = Vec::new();
            loop {
                let page = self.list(request.clone()).await?;
                items.extend(page.items);
                match page.next {
                    Some(token) => request = request.after(token),
                    None => return Ok((items, page.revision)),
                }
            }
        }
    }
}

impl<S: Store + ?Sized> StoreExt for S {}

/// Writes `value` over exactly `current`.
async fn put_over<S: Store + ?Sized>(
    store: &S,
    key: &Key,
    current: Option<&KeyValue>,
    value: Bytes,
) -> Result<Updated> {
    let lease = current.and_then(|item| item.lease);
    let expect = current.map_or(Expect::Absent, |item| Expect::At(item.modified));
    let transaction = Transaction::new().expect(key.clone(), expect);
    let transaction = match lease {
        Some(lease) => transaction.put_leased(key.clone(), value.clone(), lease),
        None => transaction.put(key.clone(), value.clone()),
    };
    let revision = store.commit(transaction).await?.revision;
    let created = current.map_or(revision, |item| item.created);
    let item = KeyValue {
        key: key.clone(),
        value,
        created,
        modified: revision,
        lease,
    };
    Ok(Updated {
        item: Some(item),
        revision,
        changed: true,
    })
}

fn stale(key: &Key, expected: Revision, current: KeyValue, revision: Revision) -> Error {
    let failure = crate::error::CompareFailure {
        index: 0,
        key: key.clone(),
        expected: Expect::At(expected),
        current: Some(current),
    };
    Error::Conflict(Box::new(Conflict {
        failures: vec![failure],
        revision,
    }))
}

fn not_found_if_absent(error: Error, key: &Key) -> Error {
    match error.conflict() {
        Some(conflict)
            if conflict
                .failures
                .iter()
                .all(|failure| failure.current.is_none()) =>
        {
            Error::NotFound {
                key: key.clone(),
                revision: conflict.revision,
            }
        }
        Some(_) | None => error,
    }
}
