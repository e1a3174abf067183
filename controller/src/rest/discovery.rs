//! What the API offers, in the documents by which kubectl and others find out: groups, versions, resources.
//!
//! Forms are those of kubernetes/apimachinery `pkg/apis/meta/v1` (`APIGroupList`, `APIResourceList`) and, for who asks for
//! everything at once, kubernetes/api `apidiscovery/v2` (`APIGroupDiscoveryList`).

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use cellblock_schemas::{API_VERSION, Kind};
use serde_json::{Value, json};

use super::failure::{self, Failure};
use super::media::{self, As, Form};
use super::{Front, allocations, events, reviews, scale};
use crate::metrics_server::MEDIA;
use crate::telemetry;

/// The release of Kubernetes whose API this front follows. Its minor number is what kubectl compares with its own.
const KUBERNETES: [&str; 2] = ["1", "36"];

/// What can be done to every kind.
pub(super) const VERBS: [&str; 8] = [
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

/// What can be done to a status, or a scale.
pub(super) const STATUS_VERBS: [&str; 3] = ["get", "patch", "update"];

type Answer = Result<Response<Body>, Response<Body>>;

/// `Host` as `host`.
pub(super) fn singular(kind: Kind) -> String {
    kind.as_str().to_lowercase()
}

/// The version of every kind.
pub(super) fn version_of_kinds() -> &'static str {
    API_VERSION.rsplit('/').next().unwrap_or(API_VERSION)
}

/// `GET /version`.
pub(super) async fn version() -> Response<Body> {
    let [major, minor] = KUBERNETES;
    media::json(&json!({
        "major": major,
        "minor": minor,
        "gitVersion": format!("v{major}.{minor}.0+cellblock-{}", env!("CARGO_PKG_VERSION")),
        "gitCommit": "",
        "gitTreeState": "",
        "buildDate": "",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    }))
}

/// `GET /healthz`, `/livez`.
pub(super) async fn alive() -> Response<Body> {
    media::raw(StatusCode::OK, "text/plain; charset=utf-8", "ok")
}

/// `GET /readyz`: the same as the health service of gRPC says.
pub(super) async fn ready(State(front): State<Front>) -> Response<Body> {
    let Some(why) = front.verbs.shared.unready() else {
        return alive().await;
    };
    let code = StatusCode::SERVICE_UNAVAILABLE;
    media::raw(code, "text/plain; charset=utf-8", why)
}

/// `GET /metrics`, where they are recorded: to operators, as kube-apiserver serves its own on its one port.
pub(super) async fn measured() -> Answer {
    let metrics = telemetry::recorded().ok_or_else(Failure::no_such_path)?;
    Ok(media::raw(StatusCode::OK, MEDIA, metrics.render()))
}

/// `GET /api`: the group without a name, of which there are events here.
pub(super) async fn legacy(headers: HeaderMap) -> Answer {
    match shape(&headers)? {
        As::Discovery(version) => Ok(aggregated(&version, vec![core_group().aggregated()])),
        As::Objects | As::Table(_) | As::Metadata(_) => Ok(media::json(&json!({
            "kind": "APIVersions",
            "versions": [core_group().version],
            "serverAddressByClientCIDRs": [],
        }))),
    }
}

/// `GET /api/v1`.
pub(super) async fn core() -> Response<Body> {
    let group = core_group();
    media::json(&json!({
        "kind": "APIResourceList",
        "groupVersion": group.version,
        "resources": group.resources.iter().flat_map(Resource::listed).collect::<Vec<_>>(),
    }))
}

/// The group without a name. Kubernetes has namespaces for what is in it, and here there are none.
fn core_group() -> Group {
    Group {
        name: "",
        version: "v1",
        resources: vec![Resource {
            plural: "events",
            singular: "event".to_owned(),
            kind: "Event",
            verbs: &events::VERBS,
            categories: &[],
            short_names: vec!["ev"],
            has_status: false,
            is_namespaced: true,
        }],
    }
}

/// `GET /apis`.
pub(super) async fn groups(headers: HeaderMap) -> Answer {
    match shape(&headers)? {
        As::Discovery(version) => {
            let groups = catalogue();
            let items = groups.iter().map(Group::aggregated).collect();
            Ok(aggregated(&version, items))
        }
        As::Objects | As::Table(_) | As::Metadata(_) => Ok(media::json(&json!({
            "kind": "APIGroupList",
            "apiVersion": "v1",
            "groups": catalogue().iter().map(Group::summary).collect::<Vec<_>>(),
        }))),
    }
}

/// `GET /apis/GROUP`.
pub(super) async fn group(Path(name): Path<String>) -> Answer {
    let groups = catalogue();
    let group = groups.iter().find(|group| group.name == name);
    let group = group.ok_or_else(Failure::no_such_path)?;
    let mut document = group.summary();
    document["kind"] = "APIGroup".into();
    document["apiVersion"] = "v1".into();
    Ok(media::json(&document))
}

/// `GET /apis/GROUP/VERSION`.
pub(super) async fn resources(Path((name, version)): Path<(String, String)>) -> Answer {
    let groups = catalogue();
    let group = groups
        .iter()
        .find(|group| group.name == name && group.version == version);
    let group = group.ok_or_else(Failure::no_such_path)?;
    Ok(media::json(&json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": format!("{name}/{version}"),
        "resources": group.resources.iter().flat_map(Resource::listed).collect::<Vec<_>>(),
    })))
}

fn shape(headers: &HeaderMap) -> Result<As, Failure> {
    Ok(Form::wanted(headers)?.shape)
}

fn aggregated(version: &str, items: Vec<Value>) -> Response<Body> {
    let mut response = media::json(&json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {},
        "items": items,
    }));
    // By this the client sees that it got what it asked for (client-go, `discovery/aggregated_discovery.go`).
    let media =
        format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
    if let Ok(media) = HeaderValue::from_str(&media) {
        response.headers_mut().insert(header::CONTENT_TYPE, media);
    }
    response
}

/// One group, in its one version.
struct Group {
    name: &'static str,
    version: &'static str,
    resources: Vec<Resource>,
}

/// One resource.
struct Resource {
    plural: &'static str,
    singular: String,
    kind: &'static str,
    verbs: &'static [&'static str],
    categories: &'static [&'static str],
    short_names: Vec<&'static str>,
    has_status: bool,
    is_namespaced: bool,
}

fn catalogue() -> Vec<Group> {
    let own = Kind::ALL.map(|kind| Resource {
        plural: kind.plural(),
        singular: singular(kind),
        kind: kind.as_str(),
        verbs: &VERBS,
        categories: &["all", "cellblock"],
        short_names: vec![kind.short_name()],
        has_status: true,
        is_namespaced: false,
    });
    let allocations = Resource {
        plural: allocations::PLURAL,
        singular: allocations::KIND.to_lowercase(),
        kind: allocations::KIND,
        verbs: &allocations::VERBS,
        categories: &[],
        short_names: vec!["alloc"],
        has_status: false,
        is_namespaced: false,
    };
    let mut groups = vec![Group {
        name: failure::group(),
        version: version_of_kinds(),
        resources: own.into_iter().chain([allocations]).collect(),
    }];
    groups.extend(reviews::GROUPS.map(|(name, reviews)| {
        Group {
            name,
            version: reviews::VERSION,
            resources: reviews
                .iter()
                .map(|(plural, kind)| Resource {
                    plural,
                    singular: kind.to_lowercase(),
                    kind,
                    verbs: &["create"],
                    categories: &[],
                    short_names: Vec::new(),
                    has_status: false,
                    is_namespaced: false,
                })
                .collect(),
        }
    }));
    groups
}

impl Group {
    fn summary(&self) -> Value {
        let version = json!({
            "groupVersion": format!("{}/{}", self.name, self.version),
            "version": self.version,
        });
        json!({
            "name": self.name,
            "versions": [version],
            "preferredVersion": version,
        })
    }

    fn aggregated(&self) -> Value {
        json!({
            "metadata": {"name": self.name, "creationTimestamp": null},
            "versions": [{
                "version": self.version,
                "freshness": "Current",
                "resources": self.resources.iter().map(|one| one.aggregated(self)).collect::<Vec<_>>(),
            }],
        })
    }
}

impl Resource {
    fn has_scale(&self) -> bool {
        Kind::from_name(self.kind).is_some_and(scale::has)
    }

    fn listed(&self) -> Vec<Value> {
        let mut resource = json!({
            "name": self.plural,
            "singularName": self.singular,
            "namespaced": self.is_namespaced,
            "kind": self.kind,
            "verbs": self.verbs,
        });
        if !self.categories.is_empty() {
            resource["categories"] = json!(self.categories);
        }
        if !self.short_names.is_empty() {
            resource["shortNames"] = json!(self.short_names);
        }
        let status = self.has_status.then(|| {
            json!({
                "name": format!("{}/status", self.plural),
                "singularName": "",
                "namespaced": false,
                "kind": self.kind,
                "verbs": STATUS_VERBS,
            })
        });
        let scale = self.has_scale().then(|| {
            json!({
                "name": format!("{}/{}", self.plural, scale::NAME),
                "singularName": "",
                "namespaced": false,
                "group": scale::GROUP,
                "version": scale::VERSION,
                "kind": scale::KIND,
                "verbs": STATUS_VERBS,
            })
        });
        std::iter::once(resource)
            .chain(status)
            .chain(scale)
            .collect()
    }

    fn aggregated(&self, group: &Group) -> Value {
        let kind = json!({"group": group.name, "version": group.version, "kind": self.kind});
        let mut resource = json!({
            "resource": self.plural,
            "responseKind": kind,
            "scope": if self.is_namespaced { "Namespaced" } else { "Cluster" },
            "singularResource": self.singular,
            "verbs": self.verbs,
        });
        if !self.categories.is_empty() {
            resource["categories"] = json!(self.categories);
        }
        if !self.short_names.is_empty() {
            resource["shortNames"] = json!(self.short_names);
        }
        let below = |name: &str, kind: Value| json!({"subresource": name, "responseKind": kind, "verbs": STATUS_VERBS});
        let mut subresources = Vec::new();
        if self.has_status {
            subresources.push(below("status", kind));
        }
        if self.has_scale() {
            let kind =
                json!({"group": scale::GROUP, "version": scale::VERSION, "kind": scale::KIND});
            subresources.push(below(scale::NAME, kind));
        }
        if !subresources.is_empty() {
            resource["subresources"] = subresources.into();
        }
        resource
    }
}
