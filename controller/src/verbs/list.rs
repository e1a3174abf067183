//! Lists, page by page, every page as of the same revision.
//!
//! The first page comes from the watch cache. So do the others as long as no object of the kind was written since; once one
//! was, they come from the store, which still knows that revision until it is compacted.

use std::sync::Arc;

use bytes::Bytes;
use cellblock_controller_core::document;
use cellblock_controller_core::index::{Entry, Index};
use cellblock_schemas::{Kind, Object};
use cellblock_store::{Key, ListRequest, PageToken, Revision};
use serde_json::Value;

use super::Selector;
use crate::newest::{SILENCE, Since};
use crate::running::Running;
use crate::status::RequestError;

/// How many bytes of documents one page holds at most: gRPC clients refuse messages over 4 MiB unless told otherwise.
pub(crate) const PAGE_BYTES_MAX: usize = 3 << 20;

/// How many objects are read from the store at once.
const READ_MAX: usize = 500;

/// How new has to be what is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Least {
    /// It has everything that was acknowledged before, by whichever controller.
    Newest,
    /// It may be as old as what this controller knows, also while its store is away.
    Any,
    /// It is not older than this revision.
    At(u64),
}

impl Least {
    /// What a revision means that may be given: none, 0, or another (kubernetes/apiserver, `pkg/storage/cacher/delegator.go`, `Get` and
    /// `GetList`).
    pub(crate) fn of(revision: Option<u64>) -> Self {
        match revision {
            None => Self::Newest,
            Some(0) => Self::Any,
            Some(revision) => Self::At(revision),
        }
    }
}

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) struct ListQuery {
    pub(crate) kind: Kind,
    pub(crate) selector: Selector,
    /// At most so many objects; 0: all.
    pub(crate) limit: usize,
    /// At most about so many bytes of documents.
    pub(crate) bytes_max: usize,
    /// Where the page before ended; empty for the first.
    pub(crate) continue_token: String,
    /// Of a first page that is of no revision exactly.
    pub(crate) least: Least,
    /// As everything was at exactly this revision.
    pub(crate) exactly: Option<u64>,
}

impl ListQuery {
    /// Everything of a kind that a selector matches, in pages that fit a message.
    pub(crate) fn all(kind: Kind, selector: Selector) -> Self {
        Self {
            kind,
            selector,
            limit: 0,
            bytes_max: PAGE_BYTES_MAX,
            continue_token: String::new(),
            least: Least::Newest,
            exactly: None,
        }
    }
}

/// One page.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) entries: Vec<Arc<Entry>>,
    /// The revision that the whole list, over all its pages, was read at.
    pub(crate) revision: u64,
    /// Where the next page begins; empty on the last.
    pub(crate) continue_token: String,
    /// How many objects come after this page, where that is known: nothing is selected, and nothing was read for it.
    pub(crate) remaining: Option<usize>,
}

/// A page in the making.
struct Page {
    entries: Vec<Arc<Entry>>,
    bytes: usize,
    bytes_max: usize,
    limit: usize,
}

impl Page {
    fn is_full(&self) -> bool {
        self.entries.len() >= self.limit || self.bytes >= self.bytes_max
    }

    fn push(&mut self, entry: Arc<Entry>) {
        self.bytes += entry.json.len();
        self.entries.push(entry);
    }

    fn end(self, revision: u64, continue_token: String) -> Listed {
        Listed {
            entries: self.entries,
            revision,
            continue_token,
            remaining: None,
        }
    }
}

/// Waits until the index is as new as is asked for; its revision then.
pub(super) async fn reached(running: &Running, least: Least) -> Result<u64, RequestError> {
    match least {
        Least::Any => {}
        Least::Newest => {
            let newest = running.writer.newest();
            newest.catch_up(&mut Since::default()).await?;
        }
        Least::At(asked) => {
            // Another controller may have handed it out for what others keep in the store, of which the watch tells only when it is made to.
            if !running.cache.reached(asked, SILENCE).await {
                let newest = running.writer.newest();
                newest.catch_up(&mut Since::default()).await?;
            }
            let newest = running.cache.index().revision();
            if newest < asked {
                return Err(RequestError::Future { asked, newest });
            }
        }
    }
    Ok(running.cache.index().revision())
}

/// One page.
pub(super) async fn list(running: &Running, query: ListQuery) -> Result<Listed, RequestError> {
    let ListQuery { kind, selector, .. } = &query;
    let page = Page {
        entries: Vec::new(),
        bytes: 0,
        bytes_max: query.bytes_max,
        limit: match query.limit {
            0 => usize::MAX,
            limit => limit,
        },
    };
    let (token, position) = match (query.continue_token.as_str(), query.exactly) {
        ("", None) => (None, Some(0)),
        // Behind the prefix itself, which is no object, everything is still to come.
        ("", Some(revision)) => {
            let token = PageToken {
                revision: Revision(revision),
                last_key: Key::from(running.cache.index().keys().objects(*kind)),
            };
            (Some(token), Some(0))
        }
        (token, _) => {
            let (token, position) = read_token(token)?;
            (Some(token), position)
        }
    };
    // The page before may have come from another controller, which was ahead.
    let least = token
        .as_ref()
        .map_or(query.least, |token| Least::At(token.revision.0));
    reached(running, least).await?;
    let token = {
        // Judged and read under one lock: what is written in between would be on a page of an older revision.
        let index = running.cache.index();
        match token {
            Some(token) if index.kind_revision(*kind) > token.revision.0 => token,
            token => {
                let from = (token.as_ref(), position);
                return cached(&index, *kind, selector, page, from);
            }
        }
    };
    stored(running, *kind, selector, page, token).await
}

fn cached(
    index: &Index,
    kind: Kind,
    selector: &Selector,
    mut page: Page,
    (token, position): (Option<&PageToken>, Option<usize>),
) -> Result<Listed, RequestError> {
    let prefix = index.keys().objects(kind);
    let after = token
        .map(|token| name_in(&prefix, &token.last_key))
        .transpose()?;
    let revision = token.map_or(index.revision(), |token| token.revision.0);
    let mut next = None;
    let mut last = None;
    let mut seen = 0_usize;
    for entry in index.list(kind, after.as_deref()) {
        if page.is_full() {
            next = last;
            break;
        }
        last = Some(entry.name());
        seen += 1;
        if selector.matches(entry) {
            page.push(entry.clone());
        }
    }
    let Some(name) = next else {
        return Ok(page.end(revision, String::new()));
    };
    // What comes behind is not walked for its number: of a hundred thousand objects that would be done for each page.
    let position = position.map(|position| seen.saturating_add(position));
    let left = position.map(|position| index.count(kind).saturating_sub(position));
    let token = token_at(revision, &prefix, name);
    Ok(Listed {
        // As kube-apiserver has it (`pkg/storage/continue.go`, `PrepareContinueToken`).
        remaining: left.filter(|_| selector.is_everything()),
        ..page.end(
            revision,
            match position {
                Some(position) => format!("{token}.{position}"),
                None => token,
            },
        )
    })
}

async fn stored(
    running: &Running,
    kind: Kind,
    selector: &Selector,
    mut page: Page,
    token: PageToken,
) -> Result<Listed, RequestError> {
    let prefix = running.cache.index().keys().objects(kind);
    name_in(&prefix, &token.last_key)?;
    let revision = token.revision;
    let mut from = token;
    let mut last = None;
    loop {
        let request = ListRequest::new(prefix.as_str())
            .after(from)
            .limit(READ_MAX);
        let read = running.store.list(request).await?;
        for item in read.items {
            let name = name_in(&prefix, &item.key)?;
            if page.is_full() {
                let next = last.map(|last: String| token_at(revision.0, &prefix, &last));
                return Ok(page.end(revision.0, next.unwrap_or_default()));
            }
            if let Some(entry) = matching(kind, selector, &item.value, item.modified) {
                page.push(Arc::new(entry));
            }
            last = Some(name);
        }
        match read.next {
            Some(next) => from = next,
            None => return Ok(page.end(revision.0, String::new())),
        }
    }
}

/// A stored document, if it is selected. What cannot be read the index does not show either.
fn matching(kind: Kind, selector: &Selector, value: &Bytes, modified: Revision) -> Option<Entry> {
    let document: Value = serde_json::from_slice(value).ok()?;
    let json = document::served(&document, modified.0);
    let object = Object::from_value(kind, document).ok()?;
    selector.matches_object(&object).then_some(Entry {
        object,
        json,
        revision: modified.0,
    })
}

/// Where a page begins, and behind how many of all objects of its kind, where that is known.
fn read_token(text: &str) -> Result<(PageToken, Option<usize>), RequestError> {
    let (token, position) = match text.match_indices('.').nth(1) {
        None => (text, None),
        Some((at, _)) => {
            // What else another release writes there is of a list that this one cannot go on with; it can be begun anew.
            let position = text[at + 1..].parse();
            let position = position.map_err(|_| RequestError::OtherRelease)?;
            (&text[..at], Some(position))
        }
    };
    Ok((token.parse().map_err(malformed)?, position))
}

fn token_at(revision: u64, prefix: &str, name: &str) -> String {
    let token = PageToken {
        revision: Revision(revision),
        last_key: Key::from(format!("{prefix}{name}")),
    };
    token.to_string()
}

/// The object's name in a key; a token of another kind or cluster has none.
fn name_in(prefix: &str, key: &Key) -> Result<String, RequestError> {
    let name = key.as_str().and_then(|key| key.strip_prefix(prefix));
    name.map(str::to_owned)
        .ok_or_else(|| malformed("it belongs to another list"))
}

fn malformed(error: impl std::fmt::Display) -> RequestError {
    RequestError::Malformed(format!("the continue token cannot be used: {error}"))
}
