//! OpenAPI documents out of the kinds' JSON Schemas: what `kubectl explain` shows, and by which kubectl sees what a path takes.

mod gnostic;

use std::sync::LazyLock;

use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderMap, Response, StatusCode, header};
use bytes::Bytes;
use cellblock_schemas::{Kind, json_schema};
use prost::Message as _;
use serde_json::{Map, Value, json};

use super::discovery::version_of_kinds;
use super::failure::{self, Failure};
use super::media;

/// The form of version 2 in protobuf, and its name of before, which is no media type (kubernetes/kube-openapi,
/// `pkg/handler/handler.go`, `subTypeProtobuf` and `subTypeProtobufDeprecated`).
const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
const PROTOBUF_DEPRECATED: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// The forms of patches.
const PATCHES: [&str; 3] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/apply-patch+yaml",
];

/// The document of the group without a name, of which there are events here.
const CORE: &str = "api/v1";

/// What their schema is called in Kubernetes' own documents.
const EVENT: &str = "io.k8s.api.core.v1.Event";

/// The options of lists.
const LIST: [&str; 5] = [
    "labelSelector",
    "fieldSelector",
    "limit",
    "continue",
    "watch",
];

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

/// `GET /openapi/v3`: which documents there are.
pub(super) async fn index() -> Response<Body> {
    let paths = [CORE.to_owned(), document_path()];
    let paths = paths.map(|path| {
        let url = format!("/openapi/v3/{path}");
        (path, json!({"serverRelativeURL": url}))
    });
    let paths: Map<String, Value> = paths.into_iter().collect();
    media::json(&json!({"paths": paths}))
}

/// `GET /openapi/v3/api/v1` and `/openapi/v3/apis/GROUP/VERSION`.
pub(super) async fn document(Path(path): Path<String>) -> Answer {
    let (paths, schemas) = if path == document_path() {
        (paths(Edition::V3), schemas(Edition::V3))
    } else if path == CORE {
        (paths_of_events(Edition::V3), schema_of_events())
    } else {
        return Err(Failure::no_such_path().into());
    };
    Ok(media::json(&json!({
        "openapi": "3.0.0",
        "info": info(),
        "paths": paths,
        "components": {"schemas": schemas},
    })))
}

/// `GET /openapi/v2`. Programs of before Kubernetes 1.27 ask for nothing but protobuf (client-go, `discovery/discovery_client.go`,
/// `OpenAPISchema`).
pub(super) async fn v2(headers: HeaderMap) -> Answer {
    static DOCUMENT: LazyLock<(Bytes, Bytes)> = LazyLock::new(|| {
        let document = swagger();
        let protobuf = gnostic::Document::of(&document).encode_to_vec();
        (document.to_string().into(), protobuf.into())
    });
    let (json, protobuf) = &*DOCUMENT;
    match Version2::wanted(&headers) {
        Some(Version2::Json) => Ok(media::raw(StatusCode::OK, "application/json", json.clone())),
        Some(Version2::Protobuf) => Ok(media::raw(StatusCode::OK, PROTOBUF, protobuf.clone())),
        None => Err(Failure::not_acceptable(&format!("application/json, {PROTOBUF}")).into()),
    }
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
    let mut paths = paths(Edition::V2);
    paths.extend(paths_of_events(Edition::V2));
    let mut schemas = schemas(Edition::V2);
    schemas.extend(schema_of_events());
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

fn schemas(edition: Edition) -> Map<String, Value> {
    let mut schemas = Map::new();
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
                    // Tools write one into everything; who validates by themselves would refuse what is only left out here.
                    schema["properties"]["namespace"] = json!({
                        "type": "string",
                        "description": "Left out: these objects belong to the whole fleet.",
                    });
                }
                schemas.insert(name_of(kind, &name), schema);
            }
        }
        rewrite(kind, edition, &mut whole);
        if let Some(whole) = whole.as_object_mut() {
            whole.shift_remove("$schema");
            whole.shift_remove("title");
        }
        schemas.insert(name_of(kind, kind.as_str()), whole);
    }
    schemas
}

/// Brings a JSON Schema into what OpenAPI knows, as Kubernetes' own documents have it. References go by their new names. What
/// stands beside one is a description: next to it in version 2, in version 3 around an `allOf`. In version 2 what is a number
/// or a text is a text of the format `int-or-string`, as its readers know no `anyOf`.
fn rewrite(kind: Kind, edition: Edition, schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            for value in members.values_mut() {
                rewrite(kind, edition, value);
            }
            if edition == Edition::V2 && members.shift_remove("anyOf").is_some() {
                members.insert("type".to_owned(), "string".into());
                members.insert("format".to_owned(), "int-or-string".into());
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

/// The paths with what kubectl looks for in them: the kind behind each (`kubectl explain`), the forms of patches
/// (`kubectl apply`), and which writes take `dryRun` and `fieldValidation`.
fn paths(edition: Edition) -> Map<String, Value> {
    let mut paths = Map::new();
    for kind in Kind::ALL {
        let named = Named {
            schema: &name_of(kind, kind.as_str()),
            kind: kind.as_str(),
            group: failure::group(),
            version: version_of_kinds(),
        };
        let operation =
            |action: &str, options: &[&str]| operation(edition, &named, action, options);
        const WRITE: [&str; 3] = ["dryRun", "fieldManager", "fieldValidation"];
        let collection = format!("/{}/{}", document_path(), kind.plural());
        paths.insert(
            format!("{collection}/{{name}}"),
            json!({
                "get": operation("get", &[]),
                "put": operation("put", &WRITE),
                "patch": operation("patch", &["dryRun", "fieldManager", "fieldValidation", "force"]),
                "delete": operation("delete", &["dryRun", "propagationPolicy"]),
            }),
        );
        paths.insert(
            collection,
            json!({
                "get": operation("list", &LIST),
                "post": operation("post", &WRITE),
                "delete": operation("deletecollection", &LIST),
            }),
        );
    }
    paths
}

/// The one schema that is not made of a kind: nobody writes an event.
fn schema_of_events() -> Map<String, Value> {
    let schema: Value =
        serde_json::from_str(include_str!("openapi/event.json")).expect("it is in the repository");
    [(EVENT.to_owned(), schema)].into_iter().collect()
}

/// Where they are read.
fn paths_of_events(edition: Edition) -> Map<String, Value> {
    let named = Named {
        schema: EVENT,
        kind: "Event",
        group: "",
        version: "v1",
    };
    let below = format!("/{CORE}/namespaces/{{namespace}}/events");
    let paths = [
        (format!("/{CORE}/events"), "list", &LIST[..]),
        (below.clone(), "list", &LIST[..]),
        (format!("{below}/{{name}}"), "get", &[]),
    ];
    let paths = paths.map(|(path, action, options)| {
        (
            path,
            json!({"get": operation(edition, &named, action, options)}),
        )
    });
    paths.into_iter().collect()
}

/// What a path is about.
struct Named<'a> {
    schema: &'a str,
    kind: &'a str,
    group: &'a str,
    version: &'a str,
}

fn operation(edition: Edition, named: &Named<'_>, action: &str, options: &[&str]) -> Value {
    let schema = json!({"$ref": edition.reference(named.schema)});
    let options = options.iter();
    let (parameters, answer): (Vec<Value>, Value) = match edition {
        Edition::V2 => (
            options
                .map(|name| json!({"name": name, "in": "query", "type": "string"}))
                .collect(),
            json!({"description": "OK", "schema": schema}),
        ),
        Edition::V3 => (
            options
                .map(|name| json!({"name": name, "in": "query", "schema": {"type": "string"}}))
                .collect(),
            json!({"description": "OK", "content": {"application/json": {"schema": schema}}}),
        ),
    };
    let mut operation = json!({
        "parameters": parameters,
        "responses": {"200": answer},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": {
            "group": named.group,
            "version": named.version,
            "kind": named.kind,
        },
    });
    if action == "patch" {
        match edition {
            Edition::V2 => operation["consumes"] = json!(PATCHES),
            Edition::V3 => {
                let forms = PATCHES.map(|form| (form.to_owned(), json!({})));
                let forms: Map<String, Value> = forms.into_iter().collect();
                operation["requestBody"] = json!({"content": forms});
            }
        }
    }
    operation
}
