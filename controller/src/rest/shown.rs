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

/// Documents in the shape that is asked for: one, or a list.
pub(super) fn shown(
    form: &Form,
    sort: Sort,
    query: &Query,
    revision: u64,
    continue_token: &str,
    mut documents: Vec<Value>,
    is_list: bool,
) -> Value {
    let mut metadata = json!({"resourceVersion": revision.to_string()});
    if !continue_token.is_empty() {
        metadata["continue"] = continue_token.into();
    }
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
