//! Lists, page by page, every page as of the same revision.
//!
//! The first page comes from the watch cache. So do the others as long as no object of the kind was written since; once one
//! was, they come from the store, which still knows that revision until it is compacted.

use bytes::Bytes;
use cellblock_controller_core::document;
use cellblock_controller_core::index::Index;
use cellblock_proto::v1;
use cellblock_schemas::selector::LabelSelector;
use cellblock_schemas::{Kind, Object};
use cellblock_store::{Key, ListRequest, PageToken, Revision};
use serde_json::Value;

use crate::running::Running;
use crate::status::RequestError;
use crate::wire;

/// How many bytes of documents one page holds at most: gRPC clients refuse messages over 4 MiB unless told otherwise.
const PAGE_BYTES_MAX: usize = 3 << 20;

/// How many objects are read from the store at once.
const READ_MAX: usize = 500;

/// A page in the making.
struct Page {
    objects: Vec<v1::Object>,
    bytes: usize,
    limit: usize,
}

impl Page {
    fn is_full(&self) -> bool {
        self.objects.len() >= self.limit || self.bytes >= PAGE_BYTES_MAX
    }

    fn push(&mut self, object: v1::Object) {
        self.bytes += object.json.len();
        self.objects.push(object);
    }
}

/// One page.
pub(super) async fn list(
    running: &Running,
    request: v1::ListRequest,
) -> Result<v1::ListResponse, RequestError> {
    let kind = wire::kind(&request.kind)?;
    let selector = selector(&request.label_selector)?;
    let page = Page {
        objects: Vec::new(),
        bytes: 0,
        limit: if request.limit == 0 {
            usize::MAX
        } else {
            request.limit as usize
        },
    };
    let token = match request.continue_token.as_str() {
        "" => None,
        token => {
            let token: PageToken = token.parse().map_err(malformed)?;
            Some(token)
        }
    };
    let token = {
        // Judged and read under one lock: what is written in between would be on a page of an older revision.
        let index = running.cache.index();
        match token {
            Some(token) if index.kind_revision(kind) > token.revision.0 => token,
            token => return cached(&index, kind, &selector, page, token.as_ref()),
        }
    };
    stored(running, kind, &selector, page, token).await
}

/// A label selector in Kubernetes' syntax.
pub(super) fn selector(text: &str) -> Result<LabelSelector, RequestError> {
    text.parse().map_err(|error| {
        RequestError::Malformed(format!("the label selector cannot be read: {error}"))
    })
}

fn cached(
    index: &Index,
    kind: Kind,
    selector: &LabelSelector,
    mut page: Page,
    token: Option<&PageToken>,
) -> Result<v1::ListResponse, RequestError> {
    let prefix = index.keys().objects(kind);
    let after = token
        .map(|token| name_in(&prefix, &token.last_key))
        .transpose()?;
    let revision = token.map_or(index.revision(), |token| token.revision.0);
    let mut next = None;
    let mut last = None;
    for entry in index.list(kind, after.as_deref()) {
        if page.is_full() {
            next = last;
            break;
        }
        last = Some(entry.name());
        if selector.matches(&entry.object.metadata().labels) {
            page.push(wire::object(kind, entry));
        }
    }
    Ok(v1::ListResponse {
        continue_token: next.map_or_else(String::new, |name| token_at(revision, &prefix, name)),
        objects: page.objects,
        revision,
    })
}

async fn stored(
    running: &Running,
    kind: Kind,
    selector: &LabelSelector,
    mut page: Page,
    token: PageToken,
) -> Result<v1::ListResponse, RequestError> {
    let prefix = running.cache.index().keys().objects(kind);
    name_in(&prefix, &token.last_key)?;
    let revision = token.revision;
    let mut from = token;
    loop {
        let request = ListRequest::new(prefix.as_str())
            .after(from)
            .limit(READ_MAX);
        let read = running.store.list(request).await?;
        for item in read.items {
            let name = name_in(&prefix, &item.key)?;
            if let Some(object) = matching(kind, selector, &name, &item.value, item.modified) {
                page.push(object);
            }
            if page.is_full() {
                return Ok(v1::ListResponse {
                    continue_token: token_at(revision.0, &prefix, &name),
                    objects: page.objects,
                    revision: revision.0,
                });
            }
        }
        match read.next {
            Some(next) => from = next,
            None => {
                return Ok(v1::ListResponse {
                    objects: page.objects,
                    revision: revision.0,
                    continue_token: String::new(),
                });
            }
        }
    }
}

/// A stored document in its envelope, if its labels match. What cannot be read the index does not show either.
fn matching(
    kind: Kind,
    selector: &LabelSelector,
    name: &str,
    value: &Bytes,
    modified: Revision,
) -> Option<v1::Object> {
    let document: Value = serde_json::from_slice(value).ok()?;
    let json = document::served(&document, modified.0);
    let object = Object::from_value(kind, document).ok()?;
    selector
        .matches(&object.metadata().labels)
        .then(|| v1::Object {
            kind: kind.as_str().to_owned(),
            name: name.to_owned(),
            revision: modified.0,
            json,
        })
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
