//! Documents in the shape that a client asked for.

use cellblock_schemas::{API_VERSION, Kind};
use serde_json::{Value, json};

use super::media::{As, Form};
use super::query::Query;
use super::table;

/// What there is to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Object(Kind),
    /// Of Kubernetes' core group.
    Event,
}

impl Sort {
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Object(kind) => kind.as_str(),
            Self::Event => "Event",
        }
    }

    pub(super) fn api_version(self) -> &'static str {
        match self {
            Self::Object(_) => API_VERSION,
            Self::Event => "v1",
        }
    }
}

/// Which part of a list this is.
#[derive(Debug)]
pub(super) struct Page<'a> {
    pub(super) revision: u64,
    /// Where the next one begins; empty on the last.
    pub(super) next: &'a str,
    /// How many objects come on others, where that is known.
    pub(super) remaining: Option<usize>,
}

impl Page<'_> {
    /// All of it.
    pub(super) fn at(revision: u64) -> Self {
        Self {
            revision,
            next: "",
            remaining: None,
        }
    }

    pub(super) fn metadata(&self) -> Value {
        let mut metadata = json!({"resourceVersion": self.revision.to_string()});
        if !self.next.is_empty() {
            metadata["continue"] = self.next.into();
        }
        if let Some(remaining) = self.remaining {
            metadata["remainingItemCount"] = remaining.into();
        }
        metadata
    }
}

/// Documents in the shape that is asked for: one, or a list.
pub(super) fn shown(
    form: &Form,
    sort: Sort,
    query: &Query,
    page: &Page<'_>,
    mut documents: Vec<Value>,
    is_list: bool,
) -> Value {
    let metadata = page.metadata();
    let (list, version) = match &form.shape {
        As::Table(version) => {
            let include = table::Include::read(query.text("includeObject"));
            return table::table(sort, version, &metadata, &documents, include, true);
        }
        As::Metadata(version) => {
            for document in &mut documents {
                *document = table::metadata_of(document, version);
            }
            (
                "PartialObjectMetadataList".to_owned(),
                format!("meta.k8s.io/{version}"),
            )
        }
        As::Objects | As::Discovery(_) => (
            format!("{}List", sort.kind()),
            sort.api_version().to_owned(),
        ),
    };
    if is_list {
        json!({"kind": list, "apiVersion": version, "metadata": metadata, "items": documents})
    } else {
        documents.pop().unwrap_or(Value::Null)
    }
}
