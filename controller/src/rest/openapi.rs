//! OpenAPI documents out of the kinds' JSON Schemas: what `kubectl explain` shows, and by which kubectl sees what a path takes.

use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderMap, Response, StatusCode, header};
use cellblock_schemas::{Kind, json_schema};
use serde_json::{Map, Value, json};

use super::discovery::version_of_kinds;
use super::failure::{self, Failure};
use super::media;

type Answer = Result<Response<Body>, Response<Body>>;

/// `GET /openapi/v3`: which documents there are.
pub(super) async fn index() -> Response<Body> {
    let path = document_path();
    let url = format!("/openapi/v3/{path}");
    media::json(&json!({"paths": {path: {"serverRelativeURL": url}}}))
}

/// `GET /openapi/v3/apis/GROUP/VERSION`.
pub(super) async fn document(Path(path): Path<String>) -> Answer {
    if path != document_path() {
        return Err(Failure::no_such_path().into());
    }
    Ok(media::json(&json!({
        "openapi": "3.0.0",
        "info": info(),
        "paths": paths(&|kind| json!({"$ref": format!("#/components/schemas/{}", name_of(kind, kind.as_str()))})),
        "components": {"schemas": schemas("#/components/schemas/")},
    })))
}

/// `GET /openapi/v2`, as JSON. Programs of before Kubernetes 1.27 ask for nothing but protobuf, which is not served.
pub(super) async fn v2(headers: HeaderMap) -> Answer {
    let accepts = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok());
    let takes_json =
        accepts.is_none_or(|accepts| accepts.contains("json") || accepts.contains("*/*"));
    if !takes_json {
        return Err(Failure::not_acceptable("application/json").into());
    }
    Ok(media::answer(
        StatusCode::OK,
        media::Text::Json,
        &json!({
            "swagger": "2.0",
            "info": info(),
            "paths": {},
            "definitions": schemas("#/definitions/"),
        }),
    ))
}

fn info() -> Value {
    json!({"title": "Cellblock", "version": env!("CARGO_PKG_VERSION")})
}

fn document_path() -> String {
    format!("apis/{}/{}", failure::group(), version_of_kinds())
}

/// The name of a type's schema. Types of one name may differ between kinds, so each kind has its own.
fn name_of(kind: Kind, name: &str) -> String {
    let reversed: Vec<&str> = failure::group().rsplit('.').collect();
    let prefix = format!("{}.{}", reversed.join("."), version_of_kinds());
    if name == kind.as_str() {
        format!("{prefix}.{name}")
    } else {
        format!("{prefix}.{kind}.{name}")
    }
}

fn schemas(prefix: &str) -> Map<String, Value> {
    let mut schemas = Map::new();
    for kind in Kind::ALL {
        let mut whole = json_schema(kind).clone();
        let types = whole
            .as_object_mut()
            .and_then(|whole| whole.shift_remove("$defs"));
        if let Some(Value::Object(types)) = types {
            for (name, mut schema) in types {
                rewrite(kind, prefix, &mut schema);
                schemas.insert(name_of(kind, &name), schema);
            }
        }
        rewrite(kind, prefix, &mut whole);
        if let Some(whole) = whole.as_object_mut() {
            whole.shift_remove("$schema");
            whole.shift_remove("title");
        }
        schemas.insert(name_of(kind, kind.as_str()), whole);
    }
    schemas
}

/// Brings a JSON Schema into what OpenAPI knows: references by their new names, and beside a reference nothing but a
/// description, in an `allOf` as Kubernetes' own documents have it.
fn rewrite(kind: Kind, prefix: &str, schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            for value in members.values_mut() {
                rewrite(kind, prefix, value);
            }
            let target = members.get("$ref").and_then(Value::as_str);
            let target = target.and_then(|target| target.strip_prefix("#/$defs/"));
            if let Some(target) = target {
                let reference = json!({"$ref": format!("{prefix}{}", name_of(kind, target))});
                members.shift_remove("$ref");
                members.insert("allOf".to_owned(), json!([reference]));
            }
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| rewrite(kind, prefix, item)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The paths with what kubectl looks for in them: the kind behind each (`kubectl explain`), the forms of patches
/// (`kubectl apply`), and which writes take `dryRun` and `fieldValidation`.
fn paths(reference: &dyn Fn(Kind) -> Value) -> Map<String, Value> {
    let mut paths = Map::new();
    for kind in Kind::ALL {
        let operation = |action: &str, options: &[&str], patches: bool| {
            let parameters: Vec<Value> = options
                .iter()
                .map(|name| json!({"name": name, "in": "query", "schema": {"type": "string"}}))
                .collect();
            let mut operation = json!({
                "parameters": parameters,
                "responses": {"200": {
                    "description": "OK",
                    "content": {"application/json": {"schema": reference(kind)}},
                }},
                "x-kubernetes-action": action,
                "x-kubernetes-group-version-kind": {
                    "group": failure::group(),
                    "version": version_of_kinds(),
                    "kind": kind.as_str(),
                },
            });
            if patches {
                operation["requestBody"] = json!({"content": {
                    "application/json-patch+json": {},
                    "application/merge-patch+json": {},
                    "application/apply-patch+yaml": {},
                }});
            }
            operation
        };
        const WRITE: [&str; 3] = ["dryRun", "fieldManager", "fieldValidation"];
        const LIST: [&str; 5] = [
            "labelSelector",
            "fieldSelector",
            "limit",
            "continue",
            "watch",
        ];
        let collection = format!("/{}/{}", document_path(), kind.plural());
        paths.insert(
            format!("{collection}/{{name}}"),
            json!({
                "get": operation("get", &[], false),
                "put": operation("put", &WRITE, false),
                "patch": operation("patch", &["dryRun", "fieldManager", "fieldValidation", "force"], true),
                "delete": operation("delete", &["dryRun", "propagationPolicy"], false),
            }),
        );
        paths.insert(
            collection,
            json!({
                "get": operation("list", &LIST, false),
                "post": operation("post", &WRITE, false),
                "delete": operation("deletecollection", &LIST, false),
            }),
        );
    }
    paths
}
