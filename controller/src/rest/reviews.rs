//! Questions about oneself: `kubectl auth can-i` and `kubectl auth whoami`. They are asked of [`crate::authorise`] like
//! everything else.

use axum::Extension;
use axum::body::Body;
use axum::http::{HeaderMap, Response, StatusCode, header};
use cellblock_controller_core::admit::Validation;
use cellblock_schemas::{Cause, Kind};
use serde_json::{Value, json};

use super::body::{self, Media};
use super::failure::{self, Failure};
use super::media::{self, Text};
use super::{allocations, discovery, events, guard, scale};
use crate::authorise::{Action, authorise};
use crate::identity::{Caller, METRICS, OPERATORS};

/// The version of all of them.
pub(super) const VERSION: &str = "v1";

/// The groups of these questions, each with its resources and their kinds.
pub(super) const GROUPS: [(&str, &[(&str, &str)]); 2] = [
    (
        "authorization.k8s.io",
        &[
            ("selfsubjectaccessreviews", "SelfSubjectAccessReview"),
            ("selfsubjectrulesreviews", "SelfSubjectRulesReview"),
        ],
    ),
    (
        "authentication.k8s.io",
        &[("selfsubjectreviews", "SelfSubjectReview")],
    ),
];

/// Whether a path is of one of them.
pub(super) fn is_one(path: &str) -> bool {
    let Some((group, rest)) = path
        .strip_prefix("/apis/")
        .and_then(|path| path.split_once('/'))
    else {
        return false;
    };
    let plural = rest
        .strip_prefix(VERSION)
        .and_then(|rest| rest.strip_prefix('/'));
    let of = GROUPS.iter().find(|(name, _)| *name == group);
    of.is_some_and(|(_, reviews)| reviews.iter().any(|(name, _)| Some(*name) == plural))
}

type Answer = Result<Response<Body>, Response<Body>>;

/// May I do this?
pub(super) async fn access(
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let mut review = read(&headers, body, &GROUPS[0], 0).await?;
    let is_said = |name: &str| !review["spec"][name].is_null();
    if is_said("resourceAttributes") == is_said("nonResourceAttributes") {
        // kubernetes/kubernetes, `pkg/apis/authorization/validation/validation.go`, `ValidateSubjectAccessReviewSpec`.
        let (field, cause) = ("spec.resourceAttributes", Cause::Invalid);
        let message =
            "exactly one of nonResourceAttributes or resourceAttributes must be specified";
        let kind = GROUPS[0].1[0].1;
        return Err(Failure::invalid_option(kind, field, cause, message.to_owned()).into());
    }
    let of = |name: &str| {
        let said = review.pointer(&format!("/spec/resourceAttributes/{name}"));
        said.and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let asked = Asked {
        group: of("group"),
        resource: of("resource"),
        subresource: of("subresource"),
        verb: of("verb"),
    };
    let path = review.pointer("/spec/nonResourceAttributes");
    let status = if let Some(path) = path.filter(|path| !path.is_null()) {
        let path = path["path"].as_str().unwrap_or_default();
        judged(&caller, guard::action(path))
    } else if asked.is_there() {
        judged(&caller, Action::Objects)
    } else {
        json!({"allowed": false, "reason": asked.refusal()})
    };
    if let Some(review) = review.as_object_mut() {
        review.insert("status".to_owned(), status);
    }
    Ok(media::answer(StatusCode::CREATED, Text::Json, &review))
}

/// What somebody may do, or not.
struct Asked {
    group: String,
    resource: String,
    subresource: String,
    verb: String,
}

impl Asked {
    /// Whether anybody can do it.
    fn is_there(&self) -> bool {
        let Self {
            group,
            resource,
            subresource,
            verb,
        } = self;
        let any = "*";
        // `can-i '*' '*'` has no group (kubectl, `pkg/cmd/auth/cani.go`, `resourceFor`).
        if resource == any && (group == any || group.is_empty()) {
            return verb == any || discovery::VERBS.contains(&verb.as_str());
        }
        if resource == "events" && (group.is_empty() || group == any) {
            return subresource.is_empty() && events::VERBS.contains(&verb.as_str());
        }
        if resource == allocations::PLURAL && (group == failure::group() || group == any) {
            return subresource.is_empty() && allocations::VERBS.contains(&verb.as_str());
        }
        let kind = Kind::ALL.into_iter().find(|kind| kind.plural() == resource);
        let verbs: &[&str] = match (kind, subresource.as_str()) {
            (_, "") => &discovery::VERBS,
            (_, "status" | "*") => &discovery::STATUS_VERBS,
            (Some(kind), scale::NAME) if scale::has(kind) => &discovery::STATUS_VERBS,
            (_, _) => &[],
        };
        (group == failure::group() || group == any)
            && (kind.is_some() || resource == any)
            && ((verb == any && !verbs.is_empty()) || verbs.contains(&verb.as_str()))
    }

    fn refusal(&self) -> String {
        let Self {
            group,
            resource,
            subresource,
            verb,
        } = self;
        let slash = if subresource.is_empty() { "" } else { "/" };
        format!("nobody can {verb} \"{resource}{slash}{subresource}\" in {group:?} here")
    }
}

/// What may I do?
pub(super) async fn rules(
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let mut review = read(&headers, body, &GROUPS[0], 1).await?;
    let resources = if authorise(&caller, Action::Objects).is_ok() {
        json!([
            {"verbs": ["*"], "apiGroups": [failure::group()], "resources": ["*"]},
            {"verbs": events::VERBS, "apiGroups": [""], "resources": ["events"]},
        ])
    } else {
        json!([])
    };
    if let Some(review) = review.as_object_mut() {
        let status =
            json!({"resourceRules": resources, "nonResourceRules": [], "incomplete": false});
        review.insert("status".to_owned(), status);
    }
    Ok(media::answer(StatusCode::CREATED, Text::Json, &review))
}

/// Who am I?
pub(super) async fn identity(
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let mut review = read(&headers, body, &GROUPS[1], 0).await?;
    let (name, groups) = match &caller {
        Caller::Local => (
            "system:anonymous".to_owned(),
            vec!["system:unauthenticated"],
        ),
        Caller::Operator(name) => (name.clone(), vec![OPERATORS, "system:authenticated"]),
        Caller::Scraper(name) => (name.clone(), vec![METRICS, "system:authenticated"]),
        Caller::Roleless { name, .. } => (name.clone(), vec!["system:authenticated"]),
        Caller::Host { name, .. } => (
            format!("{}{name}", crate::identity::HOST),
            vec!["system:authenticated"],
        ),
        Caller::Nobody(_) => (String::new(), Vec::new()),
    };
    if let Some(review) = review.as_object_mut() {
        let status = json!({"userInfo": {"username": name, "groups": groups}});
        review.insert("status".to_owned(), status);
    }
    Ok(media::answer(StatusCode::CREATED, Text::Json, &review))
}

fn judged(caller: &Caller, action: Action<'_>) -> Value {
    match authorise(caller, action) {
        Ok(()) => json!({"allowed": true}),
        Err(error) => json!({"allowed": false, "reason": error.to_string()}),
    }
}

/// A question, as JSON or YAML, or in the protobuf that kubectl asks Kubernetes' own kinds in.
async fn read(
    headers: &HeaderMap,
    body: Body,
    (group, kinds): &(&str, &[(&str, &'static str)]),
    which: usize,
) -> Result<Value, Failure> {
    let mut review = read_any(headers, body).await?;
    let version = format!("{group}/{VERSION}");
    let kind = kinds[which].1;
    for (field, wanted) in [("apiVersion", version.as_str()), ("kind", kind)] {
        let said = review[field].as_str().unwrap_or_default();
        if !said.is_empty() && said != wanted {
            let message =
                format!("the {field} in the data ({said}) does not match the expected {wanted}");
            return Err(Failure::bad_request(message));
        }
        review[field] = wanted.into();
    }
    Ok(review)
}

async fn read_any(headers: &HeaderMap, body: Body) -> Result<Value, Failure> {
    let said = headers.get(header::CONTENT_TYPE);
    if said.is_some_and(|said| said == PROTOBUF) {
        let bytes = body::bytes(body).await?;
        return decoded(&bytes).ok_or_else(|| Failure::bad_request("the review cannot be read"));
    }
    let media = Media::document(headers)?;
    let bytes = body::bytes(body).await?;
    let (review, _) = body::document(media, &bytes, Validation::Ignore)?;
    if review.is_object() {
        Ok(review)
    } else {
        Err(Failure::bad_request("the review is no object"))
    }
}

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// What such a body begins with (apimachinery, `pkg/runtime/serializer/protobuf/protobuf.go`); an `Unknown` follows.
const MAGIC: &[u8] = b"k8s\0";

/// apimachinery, `pkg/runtime/generated.proto`.
#[derive(Clone, PartialEq, prost::Message)]
struct Unknown {
    #[prost(message, optional, tag = "1")]
    what: Option<TypeMeta>,
    #[prost(bytes = "vec", tag = "2")]
    raw: Vec<u8>,
}

/// Likewise.
#[derive(Clone, PartialEq, prost::Message)]
struct TypeMeta {
    #[prost(string, tag = "1")]
    api_version: String,
    #[prost(string, tag = "2")]
    kind: String,
}

/// kubernetes/api, `authorization/v1/generated.proto`, `SelfSubjectAccessReview`; of the other reviews nothing is read.
#[derive(Clone, PartialEq, prost::Message)]
struct Review {
    #[prost(message, optional, tag = "2")]
    spec: Option<Spec>,
}

/// Likewise, `SelfSubjectAccessReviewSpec`.
#[derive(Clone, PartialEq, prost::Message)]
struct Spec {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, optional, tag = "2")]
    path: Option<NonResource>,
}

/// Likewise, `ResourceAttributes`.
#[derive(Clone, PartialEq, prost::Message)]
struct Resource {
    #[prost(string, tag = "2")]
    verb: String,
    #[prost(string, tag = "3")]
    group: String,
    #[prost(string, tag = "5")]
    resource: String,
    #[prost(string, tag = "6")]
    subresource: String,
}

/// Likewise, `NonResourceAttributes`.
#[derive(Clone, PartialEq, prost::Message)]
struct NonResource {
    #[prost(string, tag = "1")]
    path: String,
    #[prost(string, tag = "2")]
    verb: String,
}

fn decoded(bytes: &[u8]) -> Option<Value> {
    use prost::Message as _;
    let unknown = Unknown::decode(bytes.strip_prefix(MAGIC)?).ok()?;
    let what = unknown.what?;
    let mut review = json!({"apiVersion": what.api_version, "kind": what.kind, "metadata": {}});
    if what.kind == "SelfSubjectAccessReview" {
        let spec = Review::decode(unknown.raw.as_slice()).ok()?.spec?;
        if let Some(asked) = spec.resource {
            review["spec"]["resourceAttributes"] = json!({
                "verb": asked.verb,
                "group": asked.group,
                "resource": asked.resource,
                "subresource": asked.subresource,
            });
        }
        if let Some(asked) = spec.path {
            review["spec"]["nonResourceAttributes"] =
                json!({"path": asked.path, "verb": asked.verb});
        }
    }
    Some(review)
}
