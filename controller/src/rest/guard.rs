//! Who asks, and whether they may: before every request of the REST front. What a web browser sends passes to neither it nor
//! gRPC.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Uri, Version, header};
use axum::middleware::Next;
use axum::response::Response;
use percent_encoding::percent_decode_str;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};

use super::failure::Failure;
use super::query::Query;
use super::reviews;
use crate::authorise::{Action, authorise};
use crate::connection::{self, Known};
use crate::identity::Identifier;
use crate::in_flight::{self, InFlight, Sort};
use crate::telemetry;

/// Lets in who may.
pub(super) async fn guard(who: Identifier, mut request: Request, next: Next) -> Response {
    let connection = request.extensions().get::<TlsConnectInfo<TcpConnectInfo>>();
    let address = connection.and_then(|connection| connection.get_ref().remote_addr());
    let certificates = connection.and_then(TlsConnectInfo::peer_certs);
    let certificates = certificates.as_ref();
    let certificates = certificates.map_or(&[][..], |certs| certs.as_slice());
    let authorization = request.headers().get(header::AUTHORIZATION);
    let action = action(request.uri().path());
    let caller = who.identify(certificates, authorization.map(HeaderValue::as_bytes));
    let caller = match caller.and_then(|caller| authorise(&caller, action).map(|()| caller)) {
        Ok(caller) => caller,
        Err(error) => {
            metrics::counter!("cellblock_forbidden_total").increment(1);
            let address = address.map_or_else(String::new, |address| address.to_string());
            tracing::warn!(address, ?action, "{error}");
            return Failure::from(error).into();
        }
    };
    if percent_decode_str(request.uri().path())
        .decode_utf8()
        .is_err()
    {
        return Failure::bad_request("the path is no UTF-8").into();
    }
    Known::tell(request.extensions());
    request.extensions_mut().insert(caller);
    telemetry::served(method(&request), next.run(request)).await
}

/// Refuses what a web browser seems to have sent, whatever it is for.
pub(super) async fn no_pages(secured: bool, mut request: Request, next: Next) -> Response {
    connection::unpack(request.extensions_mut());
    match browser(secured, request.uri(), request.headers()) {
        None => next.run(request).await,
        Some(why) => refused(&request, why),
    }
}

/// Before the gRPC services: HTTP/1.1 is taken on this listener for the sake of the REST front, and a web page may send it without
/// a preflight, with a body of a plain type. No gRPC client does either.
pub(super) async fn only_grpc(request: Request, next: Next) -> Response {
    if is_grpc(&request) {
        return next.run(request).await;
    }
    let why = "gRPC is spoken over HTTP/2, with a content-type of application/grpc";
    refused(&request, why.to_owned())
}

/// Answers a request of the REST front if not too many are under way.
pub(super) async fn bounded(in_flight: InFlight, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    // A review takes neither a lock nor the store, and whoever has no role may ask for one.
    let is_free = matches!(
        action(path),
        Action::Health | Action::Metrics | Action::Review
    );
    let sort = if is_free {
        Sort::Free
    } else {
        let query = Query::read(request.uri());
        let is_watch = query.is_ok_and(|query| query.is_watch());
        in_flight::of_rest(request.method(), path, is_watch)
    };
    let refused = |error| Failure::from(error).into();
    in_flight.bounded(sort, next.run(request), refused).await
}

/// The same of gRPC.
pub(super) async fn bounded_grpc(in_flight: InFlight, request: Request, next: Next) -> Response {
    let sort = in_flight::of_grpc(request.uri().path());
    let refused = |error| tonic::Status::from(error).into_http();
    in_flight.bounded(sort, next.run(request), refused).await
}

/// Whether a request is one of gRPC.
pub(super) fn is_grpc(request: &Request) -> bool {
    let media = request.headers().get(header::CONTENT_TYPE);
    request.version() == Version::HTTP_2
        && media.is_some_and(|media| media.as_bytes().starts_with(b"application/grpc"))
}

fn refused(request: &Request, why: String) -> Response {
    metrics::counter!("cellblock_forbidden_total").increment(1);
    tracing::warn!(path = request.uri().path(), "forbidden: {why}");
    if is_grpc(request) {
        return tonic::Status::permission_denied(why).into_http();
    }
    Failure::forbidden(why).into()
}

/// What a path is for.
pub(super) fn action(path: &str) -> Action<'static> {
    match path {
        "/version" | "/healthz" | "/livez" | "/readyz" => Action::Health,
        "/metrics" => Action::Metrics,
        path if reviews::is_one(path) => Action::Review,
        path if path.starts_with("/openapi/") => Action::Reflection,
        "/api" | "/api/" | "/api/v1" | "/api/v1/" => Action::Reflection,
        path if path.starts_with("/api/") => Action::Objects,
        // Of what is below a version, everything is an object.
        path if path.starts_with("/api") && path.matches('/').count() < 4 => Action::Reflection,
        _ => Action::Objects,
    }
}

/// Why a request is refused because a web browser seems to have sent it.
///
/// A listener on loopback asks nobody who they are, and HTTP/1.1 is what a browser speaks: any page that somebody on this
/// machine looks at could write objects, whose hooks run as root. No program that is meant sends `Origin`; and a page that
/// has its own name resolve to this machine, so that it counts as its own origin, still sends that name as `Host`.
fn browser(secured: bool, uri: &Uri, headers: &HeaderMap) -> Option<String> {
    if headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-mode") {
        return Some("web pages may not use this API".to_owned());
    }
    if secured {
        return None;
    }
    let said = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let host = uri
        .host()
        .or_else(|| said.map(without_port))
        .unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_loopback = bare.eq_ignore_ascii_case("localhost")
        || bare
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    (!is_loopback).then(|| {
        format!("a listener without certificates is asked for as localhost, 127.0.0.1 or [::1], not as `{host}`")
    })
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

fn method(request: &Request) -> &'static str {
    match request.method().as_str() {
        "GET" => "REST GET",
        "POST" => "REST POST",
        "PUT" => "REST PUT",
        "PATCH" => "REST PATCH",
        "DELETE" => "REST DELETE",
        _ => "REST other",
    }
}

#[cfg(test)]
mod tests;
