//! A controller in this process and clients of it.

#![allow(dead_code, reason = "each test program uses a part of this")]

pub(crate) mod http;
pub(crate) mod wires;

use std::time::Duration;

use cellblock_controller::{Config, Controller};
use cellblock_proto::v1;
use cellblock_proto::v1::agent_message::Message;
use cellblock_proto::v1::agents_client::AgentsClient;
use cellblock_proto::v1::objects_client::ObjectsClient;
use prost::Message as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::IntervalStream;
use tonic::transport::Channel;
use tonic::{Code, Status};

/// How long anything may take that a test waits for.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// How often a connected agent says that it is there.
const HEARTBEAT: Duration = Duration::from_secs(1);

pub(crate) type Objects = ObjectsClient<Channel>;
pub(crate) type Agents = AgentsClient<Channel>;

/// A controller over one file in a folder of its own.
pub(crate) struct World {
    pub(crate) controller: Controller,
    pub(crate) folder: TempDir,
}

impl World {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let controller = start(Config::embedded(folder.path().join("store.redb"))).await;
        Self { controller, folder }
    }

    /// Ends the controller and starts another on the same file.
    pub(crate) async fn restart(self) -> Self {
        self.between(async |_| {}).await
    }

    /// The same with something done while there is none.
    pub(crate) async fn between(self, act: impl AsyncFnOnce(&TempDir)) -> Self {
        self.controller.stop().await;
        act(&self.folder).await;
        let controller = start(Config::embedded(self.folder.path().join("store.redb"))).await;
        Self {
            controller,
            folder: self.folder,
        }
    }

    pub(crate) async fn objects(&self) -> Objects {
        objects(&self.controller).await
    }

    pub(crate) async fn agents(&self) -> Agents {
        AgentsClient::new(channel(&self.controller).await)
    }
}

/// Agents that are connected and do nothing else: their hosts are heard for as long as this lives.
pub(crate) struct Connected(Vec<tokio::task::JoinHandle<()>>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

/// Connects the agents of hosts, which need not exist before, and waits until they are heard.
pub(crate) async fn connect(controller: &Controller, hosts: &[&str]) -> Connected {
    let mut tasks = Vec::new();
    let mut objects = objects(controller).await;
    for host in hosts {
        let mut agents = AgentsClient::new(channel(controller).await);
        let hello = v1::Hello {
            host: (*host).to_owned(),
            key_fingerprint: format!("key of {host}"),
            ..v1::Hello::default()
        };
        let said = |message| v1::AgentMessage {
            message: Some(message),
        };
        let first = tokio_stream::once(said(Message::Hello(hello)));
        let beat = Message::Heartbeat(v1::Heartbeat::default());
        let beats = IntervalStream::new(tokio::time::interval(HEARTBEAT));
        let beats = beats.map(move |_| said(beat.clone()));
        let session = agents.session(first.chain(beats)).await;
        let mut heard = session.expect("a stream").into_inner();
        tasks.push(tokio::spawn(async move {
            while let Ok(Some(_)) = heard.message().await {}
        }));
        wait_for(&mut objects, "Host", host, |host| {
            condition(host, "Heard") == Some("True")
        })
        .await;
    }
    Connected(tasks)
}

pub(crate) async fn start(config: Config) -> Controller {
    let controller = Controller::start(config)
        .await
        .expect("the configuration is right");
    tokio::time::timeout(DEADLINE, controller.ready())
        .await
        .expect("it becomes ready");
    controller
}

pub(crate) async fn channel(controller: &Controller) -> Channel {
    let endpoint =
        Channel::from_shared(format!("http://{}", controller.address())).expect("an address");
    endpoint.connect().await.expect("it listens")
}

pub(crate) async fn objects(controller: &Controller) -> Objects {
    ObjectsClient::new(channel(controller).await)
}

pub(crate) fn object(document: &Value) -> v1::Object {
    v1::Object {
        kind: document["kind"].as_str().unwrap_or_default().to_owned(),
        name: document["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        revision: 0,
        json: document.to_string().into(),
    }
}

pub(crate) fn json_of(object: &v1::Object) -> Value {
    serde_json::from_slice(&object.json).expect("the controller sends JSON")
}

pub(crate) async fn apply(objects: &mut Objects, documents: &[Value]) -> Vec<v1::ApplyResult> {
    let request = v1::ApplyRequest {
        objects: documents.iter().map(object).collect(),
        field_manager: "jailctl".to_owned(),
        force: false,
        dry_run: false,
    };
    objects
        .apply(request)
        .await
        .expect("the controller answers")
        .into_inner()
        .results
}

/// Applies documents that must all be accepted.
pub(crate) async fn applied(objects: &mut Objects, documents: &[Value]) {
    for result in apply(objects, documents).await {
        assert_eq!(result.violations, [], "{result:?}");
    }
}

pub(crate) async fn get(
    objects: &mut Objects,
    kind: &str,
    name: &str,
) -> Result<v1::Object, Status> {
    let request = v1::GetRequest {
        kind: kind.to_owned(),
        name: name.to_owned(),
        not_older_than: None,
    };
    objects.get(request).await.map(tonic::Response::into_inner)
}

/// Reads an object until it is as wanted.
pub(crate) async fn wait_for(
    objects: &mut Objects,
    kind: &str,
    name: &str,
    wanted: impl Fn(&Value) -> bool,
) -> Value {
    let request = v1::WatchRequest {
        kind: kind.to_owned(),
        name: name.to_owned(),
        ..v1::WatchRequest::default()
    };
    let mut events = objects
        .watch(request)
        .await
        .expect("it can be watched")
        .into_inner();
    let waiting = async {
        while let Some(event) = events.message().await.expect("the watch goes on") {
            let Some(object) = event.object.filter(|object| !object.json.is_empty()) else {
                continue;
            };
            let document = json_of(&object);
            if wanted(&document) {
                return document;
            }
        }
        panic!("the watch ended");
    };
    tokio::time::timeout(DEADLINE, waiting)
        .await
        .expect("it comes to be as wanted")
}

/// The status of the condition of a type.
pub(crate) fn condition<'a>(document: &'a Value, kind: &str) -> Option<&'a str> {
    let conditions = document["status"]["conditions"].as_array()?;
    let condition = conditions
        .iter()
        .find(|condition| condition["type"] == kind)?;
    condition["status"].as_str()
}

pub(crate) fn rejection(status: &Status) -> v1::Rejection {
    v1::Rejection::decode(status.details()).expect("the details are a rejection")
}

pub(crate) fn assert_code<T: std::fmt::Debug>(result: Result<T, Status>, code: Code) -> Status {
    let status = result.expect_err("it is refused");
    assert_eq!(status.code(), code, "{status:?}");
    status
}

pub(crate) fn host(name: &str) -> Value {
    json!({
        "apiVersion": "cellblock.dev/v1alpha1", "kind": "Host",
        "metadata": {"name": name, "labels": {"name": name}},
        "spec": {"uplinks": {"external": {"interface": "igb0", "publicAddresses": {"main": "203.0.113.1"}}}},
    })
}

pub(crate) fn network(name: &str) -> Value {
    json!({
        "apiVersion": "cellblock.dev/v1alpha1", "kind": "Network",
        "metadata": {"name": name},
        "spec": {"bridge": {}, "scope": "fleet", "subnets": [
            {"cidr": "10.30.0.0/24", "gateway": {"address": "10.30.0.1"}}, {"cidr": "fd00:30::/64"},
        ]},
    })
}

pub(crate) fn jail(name: &str, networks: &[&str]) -> Value {
    let networks: Vec<_> = networks
        .iter()
        .map(|network| json!({"network": network}))
        .collect();
    json!({
        "apiVersion": "cellblock.dev/v1alpha1", "kind": "Jail",
        "metadata": {"name": name},
        "spec": {"root": {"path": format!("/jails/{name}")}, "networks": networks},
    })
}
