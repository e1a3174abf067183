//! Questions about oneself: `kubectl auth can-i` and `kubectl auth whoami`. They are asked of [`crate::authorise`] like
//! everything else.

use axum::Extension;
use axum::body::Body;
use axum::http::{HeaderMap, Response, StatusCode};
use cellblock_controller_core::admit::Validation;
use cellblock_schemas::Kind;
use serde_json::{Value, json};

use super::body::{self, Media};
use super::failure;
use super::media::{self, Text};
use crate::authorise::{Action, authorise};
use crate::identity::{Caller, OPERATORS};

/// The groups of these questions, each with its resources and their kinds; all of version `v1`.
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

type Answer = Result<Response<Body>, Response<Body>>;

/// May I do this?
pub(super) async fn access(
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let mut review = read(&headers, body).await?;
    let of = |name: &str| {
        let said = review.pointer(&format!("/spec/resourceAttributes/{name}"));
        said.and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let (group, resource, verb) = (of("group"), of("resource"), of("verb"));
    let own = group == failure::group() || group == "*";
    let known = resource == "*" || Kind::ALL.iter().any(|kind| kind.plural() == resource);
    let status = if review.pointer("/spec/nonResourceAttributes").is_some() {
        judged(&caller, Action::Reflection)
    } else if own && known {
        judged(&caller, Action::Objects)
    } else {
        json!({"allowed": false, "reason": format!("there is no {resource:?} in {group:?} here to {verb}")})
    };
    if let Some(review) = review.as_object_mut() {
        review.insert("status".to_owned(), status);
    }
    Ok(media::answer(StatusCode::CREATED, Text::Json, &review))
}

/// What may I do?
pub(super) async fn rules(
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let mut review = read(&headers, body).await?;
    let resources = if authorise(&caller, Action::Objects).is_ok() {
        json!([{"verbs": ["*"], "apiGroups": [failure::group()], "resources": ["*"]}])
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
    let mut review = read(&headers, body).await?;
    let (name, groups) = match &caller {
        Caller::Local => (
            "system:anonymous".to_owned(),
            vec!["system:unauthenticated"],
        ),
        Caller::Operator(name) => (name.clone(), vec![OPERATORS, "system:authenticated"]),
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

async fn read(headers: &HeaderMap, body: Body) -> Result<Value, failure::Failure> {
    let media = Media::document(headers)?;
    let bytes = body::bytes(body).await?;
    let (review, _) = body::document(media, &bytes, Validation::Ignore)?;
    if review.is_object() {
        Ok(review)
    } else {
        Err(failure::Failure::bad_request("the review is no object"))
    }
}
