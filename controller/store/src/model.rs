//! The values that cross the [`crate::Store`] boundary: keys, revisions, stored items, pages.
//!
//! Only data and its text forms live here; no input or output.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use bytes::Bytes;

use crate::error::Error;
use crate::lease::LeaseId;

/// A key: any non-empty bytes, ordered bytewise.
///
/// Cheap to clone, because one key travels to every watcher of its prefix.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Key(Bytes);

impl Key {
    /// The bytes of the key.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The key as text, if it is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// How many bytes the key has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True for the empty key, which is valid as a prefix (of every key) and nowhere else.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True when `prefix` begins this key.
    pub fn starts_with(&self, prefix: &Key) -> bool {
        self.0.starts_with(&prefix.0)
    }

    /// The smallest key greater than every key that begins with this one; none if there is no such key
    /// (the prefix is empty or all of its bytes are 0xff).
    pub fn prefix_end(&self) -> Option<Key> {
        let kept = self.0.iter().rposition(|byte| *byte != 0xff)?;
        let mut end = self.0[..=kept].to_vec();
        end[kept] += 1;
        Some(Key(end.into()))
    }

    pub(crate) fn to_vec(&self) -> Vec<u8> {
        self.0.to_vec()
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Key(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<String> for Key {
    fn from(text: String) -> Self {
        Key(text.into_bytes().into())
    }
}

impl From<&[u8]> for Key {
    fn from(bytes: &[u8]) -> Self {
        Key(Bytes::copy_from_slice(bytes))
    }
}

impl<const N: usize> From<&[u8; N]> for Key {
    fn from(bytes: &[u8; N]) -> Self {
        Key(Bytes::copy_from_slice(bytes))
    }
}

impl From<Vec<u8>> for Key {
    fn from(bytes: Vec<u8>) -> Self {
        Key(bytes.into())
    }
}

impl From<&Key> for Key {
    fn from(key: &Key) -> Self {
        key.clone()
    }
}

impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_str() {
            Some(text) => f.write_str(text),
            None => write!(f, "{}", self.0.escape_ascii()),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

/// The number of a state of the whole store. Every transaction that changes something takes the next one, and all its
/// keys share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub u64);

impl Revision {
    /// Before everything: no stored item has this revision.
    pub const ZERO: Revision = Revision(0);

    /// The revision after this one.
    pub const fn next(self) -> Revision {
        Revision(self.0 + 1)
    }

    /// Refuses revision 0, which etcd would take for "now".
    pub(crate) fn check_readable(self) -> Result<(), Error> {
        if self == Revision::ZERO {
            return Err(Error::Invalid(
                "revision 0 is before everything and cannot be read at".to_owned(),
            ));
        }
        Ok(())
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One stored item as it was at the revision it was read at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    /// Its key.
    pub key: Key,
    /// Its bytes.
    pub value: Bytes,
    /// The revision of the transaction that created the key; a deletion in between starts it anew.
    pub created: Revision,
    /// The revision of the transaction that last wrote the key.
    pub modified: Revision,
    /// The lease it will vanish with, if any.
    pub lease: Option<LeaseId>,
}

/// The answer to a read of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Got {
    /// The item, or none if the key did not exist at `revision`.
    pub item: Option<KeyValue>,
    /// The revision that the answer is true for: a watch from here misses nothing.
    pub revision: Revision,
}

/// What to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListRequest {
    /// Keys that begin with this; the empty key lists everything.
    pub prefix: Key,
    /// At which revision; none means the current one. Ignored when `after` is given, which carries its own.
    pub at: Option<Revision>,
    /// Where the previous page ended.
    pub after: Option<PageToken>,
    /// How many items at most. The store may return fewer, because it also bounds the bytes of a page; only a page
    /// without `next` is the last.
    pub limit: usize,
}

impl ListRequest {
    /// How many items a page has unless asked otherwise: one etcd range of this many 1 KiB objects takes about 20 ms,
    /// short enough not to hold up writers and long enough that round trips do not matter.
    pub const LIMIT: usize = 1_000;

    /// The first page at the current revision.
    pub fn new(prefix: impl Into<Key>) -> Self {
        ListRequest {
            prefix: prefix.into(),
            at: None,
            after: None,
            limit: Self::LIMIT,
        }
    }

    /// At a given revision.
    pub fn at(mut self, revision: Revision) -> Self {
        self.at = Some(revision);
        self
    }

    /// The page after the one that gave `token`, at the same revision.
    pub fn after(mut self, token: PageToken) -> Self {
        self.after = Some(token);
        self
    }

    /// With at most this many items; zero counts as one.
    pub fn limit(mut self, items: usize) -> Self {
        self.limit = items;
        self
    }
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The items in the order of their keys.
    pub items: Vec<KeyValue>,
    /// The revision that this page, and every further page of the same list, is true for.
    pub revision: Revision,
    /// Where the next page begins; none on the last page.
    pub next: Option<PageToken>,
}

/// Where a page ended and at which revision the list is being read, so that pages fit together while writes go on.
///
/// The text form (`Display`, `FromStr`) is meant to travel through clients as an opaque string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageToken {
    /// The revision of the list.
    pub revision: Revision,
    /// The last key already delivered.
    pub last_key: Key,
}

impl fmt::Display for PageToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.", self.revision)?;
        self.last_key
            .as_bytes()
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The text is not one that [`PageToken`]'s `Display` wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed continue token; list again from the beginning")]
pub struct ParsePageTokenError;

impl FromStr for PageToken {
    type Err = ParsePageTokenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (revision, key) = text.split_once('.').ok_or(ParsePageTokenError)?;
        let revision = revision.parse().map_err(|_| ParsePageTokenError)?;
        if key.is_empty() || key.len() % 2 != 0 || !key.is_ascii() {
            return Err(ParsePageTokenError);
        }
        let last_key = (0..key.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&key[at..at + 2], 16).map_err(|_| ParsePageTokenError))
            .collect::<Result<Vec<u8>, _>>()?;
        Ok(PageToken {
            revision: Revision(revision),
            last_key: last_key.into(),
        })
    }
}

/// What a store says about itself when asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Which implementation and version, for example `etcd 3.4.23`.
    pub backend: String,
    /// The current revision, read through the same path as any other read.
    pub revision: Revision,
    /// How much room the store takes on its disk, in bytes.
    pub size_bytes: u64,
    /// What an operator should look at although requests are answered, such as an etcd alarm.
    pub warnings: Vec<String>,
}

#[cfg(test)]
mod tests;
