//! The paths of the OpenAPI documents: what is served where, by which verbs, with what options, and what goes in and comes out.
//!
//! Names, options and extensions are those of kube-apiserver's documents (kubernetes/apiserver, `pkg/endpoints/installer.go`,
//! `registerResourceHandlers`). There are no paths below `/watch`: a list with `watch` is one.

use cellblock_schemas::Kind;
use serde_json::{Map, Value, json};

use super::super::discovery::version_of_kinds;
use super::super::{allocations, failure, reviews, scale};
use super::{EVENT, Edition, SCALE, meta, name_of, path_of_group, review_of};

/// The forms of patches.
const PATCHES: [&str; 3] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/apply-patch+yaml",
];

/// The forms of documents.
const DOCUMENTS: [&str; 2] = ["application/json", "application/yaml"];

/// The form of a watch.
const WATCHED: &str = "application/json;stream=watch";

const LIST: [&str; 10] = [
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
    "watch",
];

/// Of what is not watched.
const LIST_ONLY: [&str; 5] = [
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
];

const READ: [&str; 1] = ["resourceVersion"];
const WRITE: [&str; 3] = ["dryRun", "fieldManager", "fieldValidation"];
const PATCH: [&str; 4] = ["dryRun", "fieldManager", "fieldValidation", "force"];
const DELETE: [&str; 3] = ["dryRun", "orphanDependents", "propagationPolicy"];

/// Every option: of what type it is, and what it says.
const OPTIONS: [(&str, &str, &str); 16] = [
    (
        "allowWatchBookmarks",
        "boolean",
        "Whether a watch tells now and then up to where it is; it always may.",
    ),
    ("continue", "string", "Where the page before ended."),
    (
        "dryRun",
        "string",
        "All: everything is judged, and nothing written.",
    ),
    ("fieldManager", "string", "Who writes."),
    ("fieldSelector", "string", "Only objects with these fields."),
    (
        "fieldValidation",
        "string",
        "What is done about unknown fields: Strict (refused, unless said), Warn or Ignore.",
    ),
    ("force", "boolean", "Takes fields over that others manage."),
    ("labelSelector", "string", "Only objects with these labels."),
    ("limit", "integer", "At most so many on a page."),
    (
        "orphanDependents",
        "boolean",
        "The older way to say propagationPolicy: true is Orphan, false is Background.",
    ),
    (
        "propagationPolicy",
        "string",
        "What becomes of what belongs to it: Background, Foreground or Orphan.",
    ),
    (
        "resourceVersion",
        "string",
        "How new has to be what is read: none, everything acknowledged before; 0, as it is known; another, not older than that.",
    ),
    (
        "resourceVersionMatch",
        "string",
        "What resourceVersion means: NotOlderThan or Exact.",
    ),
    (
        "sendInitialEvents",
        "boolean",
        "Whether a watch begins with what is there.",
    ),
    ("timeoutSeconds", "integer", "How long a watch may last."),
    (
        "watch",
        "boolean",
        "What happens is told, as a stream, and not what is there.",
    ),
];

/// What a path is about.
struct Resource {
    schema: String,
    kind: String,
    group: &'static str,
    version: &'static str,
    /// What is in the path behind the resource's own kind: `Status`, `Scale`.
    below: &'static str,
}

/// One method of a path.
struct Method<'a> {
    name: &'static str,
    action: &'static str,
    options: &'a [&'static str],
    takes: Takes,
    gives: String,
}

/// What goes in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    Nothing,
    Itself,
    Patch,
    DeleteOptions,
}

impl Resource {
    fn of(kind: Kind) -> Self {
        Self {
            schema: name_of(kind, kind.as_str()),
            kind: kind.as_str().to_owned(),
            group: failure::group(),
            version: version_of_kinds(),
            below: "",
        }
    }

    fn list(&self) -> String {
        format!("{}List", self.schema)
    }

    /// `listCellblockDevV1alpha1Jail`.
    fn operation_id(&self, method: &Method<'_>, is_namespaced: bool) -> String {
        let capital = |part: &str| {
            let mut letters = part.chars();
            let first = letters.next().map(|first| first.to_ascii_uppercase());
            first.into_iter().chain(letters).collect::<String>()
        };
        let group = match self.group {
            "" => "Core".to_owned(),
            group => group
                .trim_end_matches(".k8s.io")
                .split('.')
                .map(capital)
                .collect(),
        };
        let verb = match method.action {
            "get" => "read",
            "post" => "create",
            "put" => "replace",
            "deletecollection" => "delete",
            action => action,
        };
        let many = if method.action == "deletecollection" {
            "Collection"
        } else if is_namespaced {
            "Namespaced"
        } else {
            ""
        };
        let version = capital(self.version);
        format!("{verb}{group}{version}{many}{}{}", self.kind, self.below)
    }
}

/// A path with its methods, and what is in braces in it.
fn path(
    edition: Edition,
    (path, resource, kind): (&str, &Resource, Option<[&str; 3]>),
    methods: &[Method<'_>],
) -> (String, Value) {
    let parts = path.split('/');
    let parts = parts.filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let names = parts.map(|name| {
        let what = if name == "name" {
            format!("name of the {}", resource.kind)
        } else {
            "`default`: nothing is in any other".to_owned()
        };
        edition.parameter((name, "path", "string", &what), true)
    });
    let names: Vec<Value> = names.collect();
    let is_namespaced = path.contains("{namespace}");
    let mut item = Map::new();
    for method in methods {
        let mut operation = operation(edition, resource, method);
        let all = path.ends_with("/events") && !is_namespaced;
        let suffix = if all { "ForAllNamespaces" } else { "" };
        let id = resource.operation_id(method, is_namespaced);
        operation["operationId"] = format!("{id}{suffix}").into();
        let [group, version, kind] =
            kind.unwrap_or([resource.group, resource.version, &resource.kind]);
        operation["x-kubernetes-group-version-kind"] =
            json!({"group": group, "version": version, "kind": kind});
        item.insert(method.name.to_owned(), operation);
    }
    if !names.is_empty() {
        item.insert("parameters".to_owned(), names.into());
    }
    (path.to_owned(), Value::Object(item))
}

fn operation(edition: Edition, resource: &Resource, method: &Method<'_>) -> Value {
    let options = OPTIONS.iter();
    let options = options.filter(|(name, ..)| method.options.contains(name));
    let mut parameters: Vec<Value> = options
        .map(|(name, of_type, what)| edition.parameter((name, "query", of_type, what), false))
        .collect();
    let produces: Vec<&str> = if method.options.contains(&"watch") && method.action == "list" {
        DOCUMENTS.into_iter().chain([WATCHED]).collect()
    } else {
        DOCUMENTS.to_vec()
    };
    let (body, consumes) = match method.takes {
        Takes::Nothing => (None, &[][..]),
        Takes::Itself => (Some(resource.schema.clone()), &DOCUMENTS[..]),
        Takes::Patch => (Some(meta("Patch")), &PATCHES[..]),
        Takes::DeleteOptions => (Some(meta("DeleteOptions")), &DOCUMENTS[..]),
    };
    let is_required = method.takes != Takes::DeleteOptions;
    let given = json!({"$ref": edition.reference(&method.gives)});
    let code = if method.action == "post" {
        "201"
    } else {
        "200"
    };
    let codes = match method.action {
        "patch" if resource.below.is_empty() => vec!["200", "201"],
        _ => vec![code],
    };
    let words = |code: &str| if code == "201" { "Created" } else { "OK" };
    let mut operation = json!({"x-kubernetes-action": method.action});
    match edition {
        Edition::V2 => {
            if let Some(body) = body {
                let schema = json!({"$ref": edition.reference(&body)});
                parameters.push(json!({"name": "body", "in": "body", "required": is_required, "schema": schema}));
                operation["consumes"] = json!(consumes);
            }
            operation["produces"] = json!(produces);
            let answers = codes.into_iter().map(|code| {
                let answer = json!({"description": words(code), "schema": given});
                (code.to_owned(), answer)
            });
            operation["responses"] = answers.collect::<Map<_, _>>().into();
        }
        Edition::V3 => {
            let content = |forms: &[&str], schema: &Value| {
                let forms = forms
                    .iter()
                    .map(|form| ((*form).to_owned(), json!({"schema": schema})));
                Value::Object(forms.collect())
            };
            if let Some(body) = body {
                let schema = json!({"$ref": edition.reference(&body)});
                operation["requestBody"] =
                    json!({"content": content(consumes, &schema), "required": is_required});
            }
            let answers = codes.into_iter().map(|code| {
                let answer =
                    json!({"description": words(code), "content": content(&produces, &given)});
                (code.to_owned(), answer)
            });
            operation["responses"] = answers.collect::<Map<_, _>>().into();
        }
    }
    operation["parameters"] = parameters.into();
    operation
}

impl Edition {
    fn parameter(
        self,
        (name, place, of_type, what): (&str, &str, &str, &str),
        is_required: bool,
    ) -> Value {
        let mut parameter = json!({"name": name, "in": place, "description": what});
        match self {
            Self::V2 => {
                parameter["type"] = of_type.into();
                parameter["uniqueItems"] = true.into();
            }
            Self::V3 => parameter["schema"] = json!({"type": of_type, "uniqueItems": true}),
        }
        if is_required {
            parameter["required"] = true.into();
        }
        parameter
    }
}

fn method<'a>(
    action: &'static str,
    options: &'a [&'static str],
    takes: Takes,
    gives: &str,
) -> Method<'a> {
    let name = match action {
        "list" => "get",
        "deletecollection" => "delete",
        action => action,
    };
    Method {
        name,
        action,
        options,
        takes,
        gives: gives.to_owned(),
    }
}

/// Of what is read, changed and replaced below an object.
fn below(edition: Edition, at: &str, of: &Resource, kind: Option<[&str; 3]>) -> (String, Value) {
    path(
        edition,
        (at, of, kind),
        &[
            method("get", &READ, Takes::Nothing, &of.schema),
            method("put", &WRITE, Takes::Itself, &of.schema),
            method("patch", &PATCH, Takes::Patch, &of.schema),
        ],
    )
}

/// The objects and the allocations.
pub(super) fn of_kinds(edition: Edition) -> Map<String, Value> {
    let mut paths = Map::new();
    let group = path_of_group();
    let removal: Vec<&str> = LIST.into_iter().chain(DELETE).collect();
    for kind in Kind::ALL {
        let resource = Resource::of(kind);
        let collection = format!("/{group}/{}", kind.plural());
        let single = format!("{collection}/{{name}}");
        let (itself, many) = (&resource.schema, resource.list());
        paths.extend([
            path(
                edition,
                (&collection, &resource, None),
                &[
                    method("list", &LIST, Takes::Nothing, &many),
                    method("post", &WRITE, Takes::Itself, itself),
                    method("deletecollection", &removal, Takes::DeleteOptions, &many),
                ],
            ),
            path(
                edition,
                (&single, &resource, None),
                &[
                    method("get", &READ, Takes::Nothing, itself),
                    method("put", &WRITE, Takes::Itself, itself),
                    method("patch", &PATCH, Takes::Patch, itself),
                    method("delete", &DELETE, Takes::DeleteOptions, &meta("Status")),
                ],
            ),
        ]);
        let status = Resource {
            below: "Status",
            ..Resource::of(kind)
        };
        paths.extend([below(edition, &format!("{single}/status"), &status, None)]);
        if scale::has(kind) {
            let at = format!("{single}/{}", scale::NAME);
            let of = Resource {
                schema: SCALE.to_owned(),
                below: "Scale",
                ..Resource::of(kind)
            };
            let kind = [scale::GROUP, scale::VERSION, scale::KIND];
            paths.extend([below(edition, &at, &of, Some(kind))]);
        }
    }
    let allocation = Resource {
        schema: super::name_in_group(allocations::KIND),
        kind: allocations::KIND.to_owned(),
        group: failure::group(),
        version: version_of_kinds(),
        below: "",
    };
    let collection = format!("/{group}/{}", allocations::PLURAL);
    let (itself, many) = (&allocation.schema, allocation.list());
    paths.extend([
        path(
            edition,
            (&collection, &allocation, None),
            &[method("list", &LIST_ONLY, Takes::Nothing, &many)],
        ),
        path(
            edition,
            (&format!("{collection}/{{name}}"), &allocation, None),
            &[method("get", &READ, Takes::Nothing, itself)],
        ),
    ]);
    paths
}

/// Where events are read.
pub(super) fn of_events(edition: Edition) -> Map<String, Value> {
    let events = Resource {
        schema: EVENT.to_owned(),
        kind: "Event".to_owned(),
        group: "",
        version: "v1",
        below: "",
    };
    let namespaced = "/api/v1/namespaces/{namespace}/events";
    let list = [method("list", &LIST, Takes::Nothing, &events.list())];
    let get = [method("get", &READ, Takes::Nothing, EVENT)];
    let paths = [
        path(edition, ("/api/v1/events", &events, None), &list),
        path(edition, (namespaced, &events, None), &list),
        path(
            edition,
            (&format!("{namespaced}/{{name}}"), &events, None),
            &get,
        ),
    ];
    paths.into_iter().collect()
}

/// Where questions about oneself are asked.
pub(super) fn of_reviews(
    edition: Edition,
    (group, reviews): &(&'static str, &[(&str, &str)]),
) -> Map<String, Value> {
    let paths = reviews.iter().map(|(plural, kind)| {
        let review = Resource {
            schema: review_of(group, kind),
            kind: (*kind).to_owned(),
            group,
            version: reviews::VERSION,
            below: "",
        };
        let at = format!("/apis/{group}/{}/{plural}", reviews::VERSION);
        let post = [method("post", &[], Takes::Itself, &review.schema)];
        path(edition, (&at, &review, None), &post)
    });
    paths.collect()
}
