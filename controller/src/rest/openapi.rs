//! OpenAPI documents out of the kinds' JSON Schemas: what `kubectl explain` shows, and by which kubectl sees what a path takes.

mod gnostic;
mod paths;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, Uri, header};
use bytes::Bytes;
use cellblock_controller_core::admit::LEFTOVERS;
use cellblock_schemas::{Kind, json_schema};
use prost::Message as _;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::discovery::version_of_kinds;
use super::failure::{self, Failure};
use super::query::Query;
use super::{allocations, media, reviews};

/// The form of version 2 in protobuf, and its name of before, which is no media type (kubernetes/kube-openapi,
/// `pkg/handler/handler.go`, `subTypeProtobuf` and `subTypeProtobufDeprecated`).
const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
const PROTOBUF_DEPRECATED: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// The document of the group without a name, of which there are events here.
const CORE: &str = "api/v1";

/// What the schemas that are not ours are called in Kubernetes' own documents.
const EVENT: &str = "io.k8s.api.core.v1.Event";
const SCALE: &str = "io.k8s.api.autoscaling.v1.Scale";

fn meta(name: &str) -> String {
    format!("io.k8s.apimachinery.pkg.apis.meta.v1.{name}")
}

/// `io.k8s.api.authorization.v1.SelfSubjectAccessReview`.
fn review_of(group: &str, kind: &str) -> String {
    let group = group.trim_end_matches(".k8s.io");
    format!("io.k8s.api.{group}.{}.{kind}", reviews::VERSION)
}

type Answer = Result<Response<Body>, Response<Body>>;

/// The two editions of OpenAPI that are served; what is said in them is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edition {
    V2,
    V3,
}

impl Edition {
    /// A reference to the schema of that name.
    fn reference(self, name: &str) -> String {
        match self {
            Self::V2 => format!("#/definitions/{name}"),
            Self::V3 => format!("#/components/schemas/{name}"),
        }
    }
}

/// What is served below one path of `/openapi/v3`, which together is what `/openapi/v2` has.
struct Part {
    path: String,
    paths: Map<String, Value>,
    schemas: Map<String, Value>,
}

fn parts(edition: Edition) -> Vec<Part> {
    let mut parts = vec![
        Part {
            path: CORE.to_owned(),
            paths: paths::of_events(edition),
            schemas: schemas_of_events(edition),
        },
        Part {
            path: path_of_group(),
            paths: paths::of_kinds(edition),
            schemas: schemas_of_kinds(edition),
        },
    ];
    let all: Map<String, Value> = read(include_str!("openapi/reviews.json"));
    parts.extend(reviews::GROUPS.iter().map(|group| {
        let (name, reviews) = group;
        let names = reviews.iter().map(|(_, kind)| review_of(name, kind));
        let schemas = names.filter_map(|name| Some((name.clone(), all.get(&name)?.clone())));
        Part {
            path: format!("apis/{name}/{}", reviews::VERSION),
            paths: paths::of_reviews(edition, group),
            schemas: schemas.collect(),
        }
    }));
    parts
}

/// A document of version 3, and the hash by which clients tell whether they have it.
struct Document {
    json: Bytes,
    hash: String,
}

fn documents() -> &'static BTreeMap<String, Document> {
    static DOCUMENTS: LazyLock<BTreeMap<String, Document>> = LazyLock::new(|| {
        let parts = parts(Edition::V3).into_iter().map(|part| {
            let document = json!({
                "openapi": "3.0.0",
                "info": info(),
                "paths": part.paths,
                "components": {"schemas": part.schemas},
            });
            let json = Bytes::from(document.to_string());
            let hash = hash(&json);
            (part.path, Document { json, hash })
        });
        parts.collect()
    });
    &DOCUMENTS
}

fn hash(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02X}")).collect()
}

fn url_of(path: &str, hash: &str) -> String {
    format!("/openapi/v3/{path}?hash={hash}")
}

/// `GET /openapi/v3`: which documents there are. The hash in each address is what client-go keeps one by
/// (kubernetes/kube-openapi, `pkg/handler3/handler.go`, `constructServerRelativeURL`).
pub(super) async fn index() -> Response<Body> {
    let paths = documents().iter().map(|(path, document)| {
        let url = url_of(path, &document.hash);
        (path.clone(), json!({"serverRelativeURL": url}))
    });
    let paths: Map<String, Value> = paths.collect();
    media::json(&json!({"paths": paths}))
}

/// `GET /openapi/v3/api/v1` and `/openapi/v3/apis/GROUP/VERSION`. One that is asked for by its hash is good for ever, and one by
/// another hash is elsewhere (kube-openapi, `pkg/handler3/handler.go`, `HandleGroupVersion`).
pub(super) async fn document(Path(path): Path<String>, uri: Uri, headers: HeaderMap) -> Answer {
    let document = documents().get(&path).ok_or_else(Failure::no_such_path)?;
    let query = Query::read(&uri)?;
    let wanted = query.text("hash");
    if !wanted.is_empty() && wanted != document.hash {
        let mut moved = media::raw(StatusCode::MOVED_PERMANENTLY, "text/plain", "");
        if let Ok(url) = HeaderValue::from_str(&url_of(&path, &document.hash)) {
            moved.headers_mut().insert(header::LOCATION, url);
        }
        return Ok(moved);
    }
    let mut response = tagged(&headers, "application/json", &document.json, &document.hash);
    if !wanted.is_empty() {
        let forever = HeaderValue::from_static("public, immutable, max-age=31536000");
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, forever);
        headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    }
    Ok(response)
}

/// A document with its tag, and only that for who has it already.
fn tagged(headers: &HeaderMap, media: &'static str, bytes: &Bytes, hash: &str) -> Response<Body> {
    let tag = format!("\"{hash}\"");
    let has = headers.get(header::IF_NONE_MATCH);
    let has = has.and_then(|has| has.to_str().ok()).unwrap_or_default();
    let is_known = has
        .split(',')
        .any(|one| one.trim().trim_start_matches("W/") == tag);
    let mut response = if is_known {
        media::raw(StatusCode::NOT_MODIFIED, media, "")
    } else {
        media::raw(StatusCode::OK, media, bytes.clone())
    };
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// `GET /openapi/v2`. Programs of before Kubernetes 1.27 ask for nothing but protobuf (client-go, `discovery/discovery_client.go`,
/// `OpenAPISchema`).
pub(super) async fn v2(headers: HeaderMap) -> Answer {
    static DOCUMENT: LazyLock<[(Bytes, String); 2]> = LazyLock::new(|| {
        let document = swagger();
        let protobuf = gnostic::Document::of(&document).encode_to_vec();
        [document.to_string().into(), protobuf.into()].map(|bytes: Bytes| {
            let hash = hash(&bytes);
            (bytes, hash)
        })
    });
    let (media, (bytes, hash)) = match Version2::wanted(&headers) {
        Some(Version2::Json) => ("application/json", &DOCUMENT[0]),
        Some(Version2::Protobuf) => (PROTOBUF, &DOCUMENT[1]),
        None => {
            let known = format!("application/json, {PROTOBUF}");
            return Err(Failure::not_acceptable(&known).into());
        }
    };
    Ok(tagged(&headers, media, bytes, hash))
}

/// The forms in which there is a document of version 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version2 {
    Json,
    Protobuf,
}

impl Version2 {
    /// The first of `Accept` that there is (kubernetes/kube-openapi, `pkg/handler/handler.go`); JSON without any preference.
    fn wanted(headers: &HeaderMap) -> Option<Self> {
        let accepts = headers.get(header::ACCEPT);
        let Some(accepts) = accepts.and_then(|value| value.to_str().ok()) else {
            return Some(Self::Json);
        };
        let mut clauses = accepts.split(',');
        clauses.find_map(|clause| match clause.split(';').next()?.trim() {
            "application/json" | "application/*" | "*/*" => Some(Self::Json),
            PROTOBUF | PROTOBUF_DEPRECATED => Some(Self::Protobuf),
            _ => None,
        })
    }
}

fn swagger() -> Value {
    let (mut paths, mut schemas) = (Map::new(), Map::new());
    for part in parts(Edition::V2) {
        paths.extend(part.paths);
        schemas.extend(part.schemas);
    }
    json!({
        "swagger": "2.0",
        "info": info(),
        "paths": paths,
        "definitions": schemas,
    })
}

fn info() -> Value {
    json!({"title": "Cellblock", "version": env!("CARGO_PKG_VERSION")})
}

fn path_of_group() -> String {
    format!("apis/{}/{}", failure::group(), version_of_kinds())
}

/// The name of the schema of what is in the group of the kinds.
fn name_in_group(name: &str) -> String {
    let reversed: Vec<&str> = failure::group().rsplit('.').collect();
    format!("{}.{}.{name}", reversed.join("."), version_of_kinds())
}

/// The name of a type's schema. Types of one name may differ between kinds, so each kind has its own.
fn name_of(kind: Kind, name: &str) -> String {
    if name == kind.as_str() {
        name_in_group(name)
    } else {
        name_in_group(&format!("{kind}.{name}"))
    }
}

fn read(text: &str) -> Map<String, Value> {
    serde_json::from_str(text).expect("it is in the repository")
}

/// A schema and that of a list of them. Nobody writes events, allocations, or lists.
fn with_list(edition: Edition, name: &str, schema: Value) -> [(String, Value); 2] {
    let of = |member: &str| {
        let of = schema.pointer("/x-kubernetes-group-version-kind/0");
        let member = of.and_then(|of| of.get(member)).and_then(Value::as_str);
        member.unwrap_or_default().to_owned()
    };
    let (group, version, kind) = (of("group"), of("version"), of("kind"));
    let described = |name: &str, description: &str| {
        let reference = edition.reference(name);
        match edition {
            Edition::V2 => json!({"description": description, "$ref": reference}),
            Edition::V3 => json!({"description": description, "allOf": [{"$ref": reference}]}),
        }
    };
    let list = json!({
        "description": format!("{kind}List is a list of {kind}."),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"description": "The versioned schema of this document.", "type": "string"},
            "kind": {"description": format!("What this document is: {kind}List."), "type": "string"},
            "metadata": described(&meta("ListMeta"), "What is said of the list as a whole."),
            "items": {
                "description": "What is in it.",
                "type": "array",
                "items": {"$ref": edition.reference(name)},
                "x-kubernetes-list-type": "atomic",
            },
        },
        "x-kubernetes-group-version-kind": [
            {"group": group, "version": version, "kind": format!("{kind}List")},
        ],
    });
    [(name.to_owned(), schema), (format!("{name}List"), list)]
}

/// What is said of any list, patch and removal.
fn schemas_of_requests() -> Map<String, Value> {
    read(include_str!("openapi/meta.json"))
}

fn schemas_of_events(edition: Edition) -> Map<String, Value> {
    let event = read(include_str!("openapi/event.json")).into();
    let mut schemas = schemas_of_requests();
    schemas.retain(|name, _| *name == meta("ListMeta"));
    schemas.extend(with_list(edition, EVENT, event));
    schemas
}

fn schemas_of_kinds(edition: Edition) -> Map<String, Value> {
    let mut schemas = schemas_of_requests();
    for kind in Kind::ALL {
        let mut whole = json_schema(kind).clone();
        let types = whole
            .as_object_mut()
            .and_then(|whole| whole.shift_remove("$defs"));
        if let Some(Value::Object(types)) = types {
            for (name, mut schema) in types {
                rewrite(kind, edition, &mut schema);
                if name == "ObjectMeta" {
                    // An object that is created may state how its name begins instead; clients would refuse it.
                    schema
                        .as_object_mut()
                        .and_then(|schema| schema.shift_remove("required"));
                    // Tools write them into everything; who validates by themselves would refuse what is only left out here.
                    for name in LEFTOVERS {
                        let is_number = name == "deletionGracePeriodSeconds";
                        schema["properties"][name] = json!({
                            "type": if is_number { "integer" } else { "string" },
                            "description": "Left out: objects of Cellblock have none.",
                        });
                    }
                }
                schemas.insert(name_of(kind, &name), schema);
            }
        }
        rewrite(kind, edition, &mut whole);
        if let Some(whole) = whole.as_object_mut() {
            whole.shift_remove("$schema");
            whole.shift_remove("title");
        }
        schemas.extend(with_list(edition, &name_of(kind, kind.as_str()), whole));
    }
    let allocation = read(include_str!("openapi/allocation.json")).into();
    let name = name_in_group(allocations::KIND);
    schemas.extend(with_list(edition, &name, allocation));
    let scale = read(include_str!("openapi/scale.json"));
    schemas.insert(SCALE.to_owned(), scale.into());
    schemas
}

/// Brings a JSON Schema into what OpenAPI knows, as Kubernetes' own documents have it. References go by their new names. What
/// stands beside one is a description: next to it in version 2, in version 3 around an `allOf`. In version 2, whose readers know no
/// `anyOf`, what is a number or a text is a text of the format `int-or-string`, and what may be a list besides has no type, which
/// means anything (kubernetes/kube-openapi, `pkg/util/proto/document.go`, `ParseSchema`: `parseArbitrary`).
fn rewrite(kind: Kind, edition: Edition, schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            for value in members.values_mut() {
                rewrite(kind, edition, value);
            }
            if edition == Edition::V2
                && let Some(alternatives) = members.shift_remove("anyOf")
            {
                let mut alternatives = alternatives.as_array().into_iter().flatten();
                let is_scalar = |one: &Value| {
                    let of_type = one["type"].as_str();
                    of_type.is_some_and(|of_type| !matches!(of_type, "array" | "object"))
                };
                if alternatives.all(is_scalar) {
                    members.insert("type".to_owned(), "string".into());
                    members.insert("format".to_owned(), "int-or-string".into());
                }
            }
            let target = members.get("$ref").and_then(Value::as_str);
            let target = target.and_then(|target| target.strip_prefix("#/$defs/"));
            if let Some(target) = target {
                let reference = json!(edition.reference(&name_of(kind, target)));
                match edition {
                    Edition::V2 => {
                        members.retain(|name, _| name == "description" || name.starts_with("x-"));
                        members.insert("$ref".to_owned(), reference);
                    }
                    Edition::V3 => {
                        members.shift_remove("$ref");
                        members.insert("allOf".to_owned(), json!([{"$ref": reference}]));
                    }
                }
            }
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| rewrite(kind, edition, item)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests;
