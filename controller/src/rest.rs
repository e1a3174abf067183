//! The REST front: the objects as a Kubernetes API, so that kubectl and other programs that speak to kube-apiserver work against a
//! controller unmodified.
//!
//! ```text
//!  request ─► guard (who asks, may they) ─► route ─► options, body ─► verbs ─► answer as JSON, YAML, Table or metadata
//!                                              └─► discovery, openapi, reviews
//! ```
//!
//! It only translates: every verb is [`crate::verbs`]', every refusal of an object the core's. It is served on the listener of
//! gRPC, behind the same certificates and the same function that says who may do what.
//!
//! What a client may rely on is kube-apiserver's behaviour; where that was looked up, the comment names the file of
//! kubernetes/kubernetes or of the library that it is in.

mod allocations;
mod body;
mod delete;
mod discovery;
mod events;
mod failure;
mod guard;
mod leftover;
mod media;
mod objects;
mod openapi;
mod query;
mod reviews;
mod scale;
mod shown;
mod table;
mod watch;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware;
use axum::response::Response;
use axum::routing::{any, get, post};

use crate::identity::Identifier;
use crate::in_flight::InFlight;
use crate::verbs::Verbs;
use failure::Failure;

/// What every handler needs.
#[derive(Clone)]
struct Front {
    verbs: Arc<Verbs>,
}

/// The routes, each behind the guard, beside those of gRPC. What a web page sends is refused before either.
pub(crate) fn routes(verbs: Arc<Verbs>, grpc: Router, who: Identifier) -> Router {
    let secured = who.is_secured();
    let front = Front { verbs };
    let in_flight = InFlight::new();
    let of_rest = in_flight.clone();
    let allocations = format!(
        "/apis/{}/{}",
        cellblock_schemas::API_VERSION,
        allocations::PLURAL
    );
    let collection = format!("/apis/{}/{{resource}}", cellblock_schemas::API_VERSION);
    let rest = Router::new()
        .route("/version", get(discovery::version))
        .route("/healthz", get(discovery::alive))
        .route("/livez", get(discovery::alive))
        .route("/readyz", get(discovery::ready))
        .route("/metrics", get(discovery::measured))
        .route("/api", get(discovery::legacy))
        .route("/api/", get(discovery::legacy))
        .route("/api/v1", get(discovery::core))
        .route("/api/v1/", get(discovery::core))
        .route("/api/v1/events", any(events::everywhere))
        .route(
            "/api/v1/namespaces/{namespace}/events",
            any(events::of_namespace),
        )
        .route(
            "/api/v1/namespaces/{namespace}/events/{name}",
            any(events::single),
        )
        .route("/apis", get(discovery::groups))
        .route("/apis/", get(discovery::groups))
        .route("/apis/{group}", get(discovery::group))
        .route("/apis/{group}/", get(discovery::group))
        .route("/apis/{group}/{version}", get(discovery::resources))
        .route("/apis/{group}/{version}/", get(discovery::resources))
        .route("/openapi/v2", get(openapi::v2))
        .route("/openapi/v3", get(openapi::index))
        .route("/openapi/v3/", get(openapi::index))
        .route("/openapi/v3/{*path}", get(openapi::document))
        .route(
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            post(reviews::access),
        )
        .route(
            "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
            post(reviews::rules),
        )
        .route(
            "/apis/authentication.k8s.io/v1/selfsubjectreviews",
            post(reviews::identity),
        )
        .route(&allocations, any(allocations::collection))
        .route(&format!("{allocations}/{{name}}"), any(allocations::single))
        .route(&collection, any(objects::collection))
        .route(&format!("{collection}/{{name}}"), any(objects::single))
        .route(
            &format!("{collection}/{{name}}/{{subresource}}"),
            any(objects::subresource),
        )
        .method_not_allowed_fallback(not_allowed)
        .with_state(front)
        .layer(middleware::from_fn(move |request, next| {
            guard::bounded(of_rest.clone(), request, next)
        }))
        .layer(middleware::from_fn(move |request, next| {
            guard::guard(who.clone(), request, next)
        }));
    grpc.layer(middleware::from_fn(move |request, next| {
        guard::bounded_grpc(in_flight.clone(), request, next)
    }))
    .layer(middleware::from_fn(guard::only_grpc))
    .merge(rest)
    .fallback(nowhere)
    .layer(middleware::from_fn(move |request, next| {
        guard::no_pages(secured, request, next)
    }))
    .layer(middleware::from_fn(leftover::read_away))
}

/// What no route is for, in the words of whom it was asked by.
async fn nowhere(request: Request) -> Response {
    if guard::is_grpc(&request) {
        return tonic::Status::unimplemented("").into_http();
    }
    Failure::no_such_path().into()
}

async fn not_allowed() -> Response<Body> {
    Failure::not_allowed().into()
}
