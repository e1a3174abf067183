//! The agents' service, spoken to by an agent that only pretends.

mod common;

use cellblock_controller::{AgentTiming, Config};
use cellblock_proto::v1;
use cellblock_proto::v1::agent_message::Message as Said;
use cellblock_proto::v1::controller_message::Message as Heard;
use common::{DEADLINE, World, applied, condition, host, jail, network, wait_for};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

/// One side of a session, and the view as its messages made it.
struct Agent {
    said: mpsc::Sender<v1::AgentMessage>,
    heard: Streaming<v1::ControllerMessage>,
    view: View,
}

#[derive(Clone, Default)]
struct View {
    mark: Option<v1::ViewMark>,
    digest: bytes::Bytes,
    host: Value,
    networks: std::collections::BTreeMap<String, Value>,
    jails: std::collections::BTreeMap<String, Value>,
}

impl View {
    fn take(&mut self, message: v1::View) {
        self.digest = message.digest;
        let base = message.base;
        if message.unchanged {
            return;
        }
        match base {
            Some(base) => assert_eq!(Some(base), self.mark, "a change fits the view before"),
            None => {
                *self = View {
                    digest: self.digest.clone(),
                    ..View::default()
                }
            }
        }
        self.mark = message.mark;
        let parse = |json: &[u8]| serde_json::from_slice(json).expect("the controller sends JSON");
        if !message.host_json.is_empty() {
            self.host = parse(&message.host_json);
        }
        let pairs = |items: Vec<v1::Item>| {
            items
                .into_iter()
                .map(move |item| (item.key, parse(&item.json)))
        };
        self.networks.extend(pairs(message.networks));
        self.jails.extend(pairs(message.jails));
        self.networks
            .retain(|name, _| !message.removed_networks.contains(name));
        self.jails
            .retain(|uid, _| !message.removed_jails.contains(uid));
    }
}

fn hello(host: &str, key: &str) -> v1::Hello {
    v1::Hello {
        host: host.to_owned(),
        agent_version: "0.1.0".to_owned(),
        key_fingerprint: key.to_owned(),
        ..v1::Hello::default()
    }
}

impl Agent {
    async fn open(world: &World, hello: v1::Hello) -> Self {
        let (said, receiver) = mpsc::channel(8);
        let mut agents = world.agents().await;
        let message = v1::AgentMessage {
            message: Some(Said::Hello(hello)),
        };
        said.send(message).await.expect("the channel is open");
        let heard = agents
            .session(ReceiverStream::new(receiver))
            .await
            .expect("a stream")
            .into_inner();
        Self {
            said,
            heard,
            view: View::default(),
        }
    }

    /// A session that is welcome and has the whole view.
    async fn join(world: &World, host: &str) -> Self {
        let mut agent = Self::open(world, hello(host, host)).await;
        let Heard::Welcome(welcome) = agent.next().await else {
            panic!("no welcome");
        };
        assert!(welcome.heartbeat_ms > 0 && !welcome.cluster.is_empty());
        agent.next_view().await;
        agent
    }

    async fn try_next(&mut self) -> Result<Option<Heard>, Status> {
        let message = tokio::time::timeout(DEADLINE, self.heard.message())
            .await
            .expect("a message comes")?;
        Ok(message.and_then(|message| message.message))
    }

    async fn next(&mut self) -> Heard {
        self.try_next()
            .await
            .expect("the stream goes on")
            .expect("the stream goes on")
    }

    async fn next_view(&mut self) {
        loop {
            match self.next().await {
                Heard::View(view) => return self.view.take(view),
                Heard::Acknowledged(_) => {}
                other @ (Heard::Welcome(_)
                | Heard::Refused(_)
                | Heard::OpenVisit(_)
                | Heard::CloseVisit(_)) => {
                    panic!("{other:?}")
                }
            }
        }
    }

    /// Takes views until one is as wanted.
    async fn view_until(&mut self, wanted: impl Fn(&View) -> bool) {
        while !wanted(&self.view) {
            self.next_view().await;
        }
    }

    /// Says that it is there, and nothing else.
    async fn beat(&mut self) {
        let message = v1::AgentMessage {
            message: Some(Said::Heartbeat(v1::Heartbeat::default())),
        };
        self.said.send(message).await.expect("the session is open");
    }

    /// Reports everything in the view as realised; what is being deleted as gone.
    async fn report(&mut self) {
        let mark = self.view.mark.expect("a view");
        let jails: Vec<_> = self.view.jails.values().map(|jail| {
            let deleting = jail["deleting"] == true;
            json!({
                "uid": jail["uid"], "observedGeneration": jail["generation"], "gone": deleting,
                "phase": if deleting { "Dying" } else { "Running" },
                "conditions": [{"type": "Ready", "status": if deleting { "False" } else { "True" },
                    "reason": "Verified", "observedGeneration": jail["generation"]}],
            })
        }).collect();
        let report = json!({
            "view": {"epoch": mark.epoch, "generation": mark.generation},
            "hostGeneration": self.view.host["hostGeneration"], "full": true,
            "facts": {"release": "15.1-RELEASE"}, "jails": jails,
            "conditions": [{"type": "Ready", "status": "True", "reason": "Verified"}],
        });
        let message = Said::Report(v1::Report {
            json: report.to_string().into(),
        });
        self.said
            .send(v1::AgentMessage {
                message: Some(message),
            })
            .await
            .expect("the session is open");
        loop {
            match self.next().await {
                Heard::Acknowledged(acknowledged) => {
                    assert_eq!(acknowledged.view, Some(mark));
                    return;
                }
                Heard::View(view) => self.view.take(view),
                other @ (Heard::Welcome(_)
                | Heard::Refused(_)
                | Heard::OpenVisit(_)
                | Heard::CloseVisit(_)) => {
                    panic!("{other:?}")
                }
            }
        }
    }
}

#[tokio::test]
async fn a_jail_goes_from_apply_to_ready_to_gone() {
    let world = World::start().await;
    let mut objects = world.objects().await;
    let mut agent = Agent::join(&world, "a").await;
    wait_for(&mut objects, "Host", "a", |host| {
        condition(host, "Heard") == Some("True")
    })
    .await;
    applied(
        &mut objects,
        &[host("a"), network("lan"), jail("www", &["lan"])],
    )
    .await;
    agent.view_until(|view| !view.jails.is_empty()).await;
    let (uid, view) = agent.view.jails.first_key_value().expect("one jail");
    let uid = uid.clone();
    assert_eq!(
        (&view["name"], &view["deleting"]),
        (&json!("www"), &json!(false))
    );
    assert!(
        view["binding"]["attachments"][0]["mac"]
            .as_str()
            .is_some_and(|mac| mac.starts_with("02:cb:"))
    );
    assert!(
        agent.view.networks["lan"]["bridgeMac"]
            .as_str()
            .is_some_and(|mac| mac.starts_with("0a:cb:"))
    );
    agent.report().await;
    let www = wait_for(&mut objects, "Jail", "www", |jail| {
        condition(jail, "Ready") == Some("True")
    })
    .await;
    assert_eq!(www["status"]["phase"], "Running");
    assert_eq!(condition(&www, "Scheduled"), Some("True"));
    // What somebody else writes there lasts until the agent is heard next, though it has nothing new to say.
    let wrong = json!({"status": {"phase": "Stopped", "jid": 4242, "conditions": null}});
    let patch = v1::PatchRequest {
        kind: "Jail".to_owned(),
        name: "www".to_owned(),
        r#type: v1::patch_request::Type::Merge.into(),
        patch: wrong.to_string().into(),
        status: true,
        ..v1::PatchRequest::default()
    };
    let patched = objects.patch(patch).await.expect("a status").into_inner();
    let patched = common::json_of(&patched.object.expect("an object"));
    assert_eq!(patched["status"]["jid"], 4242);
    agent.beat().await;
    wait_for(&mut objects, "Jail", "www", |jail| {
        jail["status"]["phase"] == "Running"
            && jail["status"]["jid"] == Value::Null
            && condition(jail, "Ready") == Some("True")
    })
    .await;
    let request = v1::DeleteRequest {
        kind: "Jail".to_owned(),
        name: "www".to_owned(),
        ..v1::DeleteRequest::default()
    };
    assert!(
        !objects
            .delete(request)
            .await
            .expect("accepted")
            .into_inner()
            .gone
    );
    agent
        .view_until(|view| {
            view.jails
                .get(&uid)
                .is_some_and(|jail| jail["deleting"] == true)
        })
        .await;
    agent.report().await;
    assert!(
        common::get(&mut objects, "Jail", "www").await.is_err(),
        "the acknowledgement comes after the removal"
    );
    agent.view_until(|view| view.jails.is_empty()).await;
    assert!(agent.view.networks.is_empty());
}

/// Its agent would undo the deletion by asking for a Host, and needs no restart when somebody has made one.
#[tokio::test]
async fn the_agent_of_a_deleted_host_waits_for_one_that_is_applied() {
    let world = World::start().await;
    let mut objects = world.objects().await;
    let mut agent = Agent::join(&world, "a").await;
    let request = v1::DeleteRequest {
        kind: "Host".to_owned(),
        name: "a".to_owned(),
        ..v1::DeleteRequest::default()
    };
    objects.delete(request).await.expect("accepted");
    let refused = loop {
        match agent.next().await {
            Heard::Refused(refused) => break refused,
            Heard::View(_) | Heard::Acknowledged(_) => {}
            other @ (Heard::Welcome(_) | Heard::OpenVisit(_) | Heard::CloseVisit(_)) => {
                panic!("{other:?}")
            }
        }
    };
    assert_eq!(refused.reason, "HostDeleted");
    let waiting = v1::Hello {
        features: vec!["waits".to_owned()],
        ..hello("a", "a")
    };
    let mut agent = Agent::open(&world, waiting.clone()).await;
    let Heard::Refused(refused) = agent.next().await else {
        panic!("it is not refused");
    };
    assert_eq!(refused.reason, "HostDeleted");
    assert!(common::get(&mut objects, "Host", "a").await.is_err());
    applied(&mut objects, &[host("a")]).await;
    let mut agent = Agent::open(&world, waiting).await;
    let Heard::Welcome(_) = agent.next().await else {
        panic!("no welcome");
    };
    wait_for(&mut objects, "Host", "a", |host| {
        condition(host, "Heard") == Some("True")
    })
    .await;
}

#[tokio::test]
async fn reports_do_not_change_the_view_and_the_same_report_writes_nothing() {
    let world = World::start().await;
    let mut objects = world.objects().await;
    let mut agent = Agent::join(&world, "a").await;
    applied(&mut objects, &[jail("www", &[])]).await;
    agent.view_until(|view| !view.jails.is_empty()).await;
    agent.report().await;
    wait_for(&mut objects, "Host", "a", |host| {
        condition(host, "Heard") == Some("True")
    })
    .await;
    let before = common::get(&mut objects, "Jail", "www")
        .await
        .expect("there")
        .revision;
    let mark = agent.view.mark;
    agent.report().await;
    agent.report().await;
    assert_eq!(
        common::get(&mut objects, "Jail", "www")
            .await
            .expect("there")
            .revision,
        before
    );
    assert_eq!(agent.view.mark, mark);
}

#[tokio::test]
async fn an_agent_that_comes_back_with_the_same_view_is_sent_nothing_even_by_another_process() {
    let world = World::start().await;
    let mut objects = world.objects().await;
    let mut agent = Agent::join(&world, "a").await;
    applied(&mut objects, &[jail("www", &[])]).await;
    agent.view_until(|view| !view.jails.is_empty()).await;
    let view = agent.view.clone();
    drop((agent, objects));
    let world = world.restart().await;
    let back = v1::Hello {
        have: view.mark,
        have_digest: view.digest.clone(),
        ..hello("a", "a")
    };
    let mut agent = Agent::open(&world, back).await;
    assert!(matches!(agent.next().await, Heard::Welcome(_)));
    let Heard::View(resumed) = agent.next().await else {
        panic!("no view");
    };
    assert!(resumed.unchanged && resumed.jails.is_empty());
    assert_eq!(
        (resumed.mark, resumed.digest),
        (view.mark, view.digest.clone())
    );
    agent.view = view;
    let mut objects = world.objects().await;
    applied(&mut objects, &[jail("more", &[])]).await;
    agent.view_until(|view| view.jails.len() == 2).await;
}

/// One that is said to know no probes is shown such a jail at a network that it cannot know; told that it keeps pf.conf, it is not ready, whatever it says itself.
#[tokio::test]
async fn what_an_agent_lacks_is_blocked_and_goes_on_once_it_is_updated() {
    let world = World::start().await;
    let mut objects = world.objects().await;
    let mut agent = Agent::join(&world, "a").await;
    let mut managing = host("a");
    managing["spec"]["pf"] = json!({"anchors": "manage"});
    let mut probed = jail("www", &[]);
    probed["spec"]["probes"] = json!({"ready": {"exec": {"command": ["/usr/bin/true"]}}});
    applied(&mut objects, &[managing, probed, jail("plain", &[])]).await;
    agent.view_until(|view| view.jails.len() == 2).await;
    let network_of = |view: &View, name: &str| {
        let mut jails = view.jails.values();
        let jail = jails
            .find(|jail| jail["name"] == name)
            .expect("it is there");
        jail["binding"]["attachments"][0]["network"].clone()
    };
    assert_eq!(network_of(&agent.view, "www"), "feature:probes");
    assert_eq!(network_of(&agent.view, "plain"), Value::Null);
    assert!(agent.view.networks.contains_key("feature:probes"));
    agent.report().await;
    let reason = |host: &Value| {
        let conditions = host["status"]["conditions"].as_array();
        let mut conditions = conditions.into_iter().flatten();
        let ready = conditions.find(|condition| condition["type"] == "Ready");
        ready.map(|ready| ready["reason"].clone())
    };
    wait_for(&mut objects, "Host", "a", |host| {
        reason(host) == Some(json!("AgentTooOld"))
    })
    .await;
    let view = agent.view.clone();
    drop(agent);
    let updated = v1::Hello {
        have: view.mark,
        have_digest: view.digest.clone(),
        features: ["needs", "probes", "pf-manage"].map(str::to_owned).into(),
        ..hello("a", "a")
    };
    let mut agent = Agent::open(&world, updated).await;
    assert!(matches!(agent.next().await, Heard::Welcome(_)));
    agent.next_view().await;
    assert_eq!(network_of(&agent.view, "www"), Value::Null);
    assert!(agent.view.networks.is_empty());
    agent.report().await;
    wait_for(&mut objects, "Host", "a", |host| {
        condition(host, "Ready") == Some("True")
    })
    .await;
}

#[tokio::test]
async fn a_second_agent_with_another_key_is_refused_and_both_addresses_are_named() {
    let world = World::start().await;
    let _first = Agent::join(&world, "a").await;
    let mut second = Agent::open(&world, hello("a", "another key")).await;
    let Heard::Refused(refused) = second.next().await else {
        panic!("it is not refused");
    };
    assert_eq!(refused.reason, "HostClaimed");
    assert_eq!(
        refused.message.matches("127.0.0.1:").count(),
        2,
        "{}",
        refused.message
    );
    assert!(second.try_next().await.expect("an orderly end").is_none());
}

#[tokio::test]
async fn the_same_agent_may_reconnect_and_its_old_session_ends() {
    let world = World::start().await;
    let mut first = Agent::join(&world, "a").await;
    let _second = Agent::join(&world, "a").await;
    first.try_next().await.expect_err("superseded");
}

#[tokio::test]
async fn an_agent_of_another_cluster_or_a_later_time_is_refused() {
    let world = World::start().await;
    let stray = v1::Hello {
        cluster: "elsewhere".to_owned(),
        ..hello("a", "a")
    };
    let epoch = v1::Hello {
        have: Some(v1::ViewMark {
            epoch: 2,
            generation: 1,
        }),
        ..hello("a", "a")
    };
    let restored = v1::Hello {
        have: Some(v1::ViewMark {
            epoch: 1,
            generation: 1 << 40,
        }),
        ..hello("a", "a")
    };
    let unnamed = hello("Not A Label", "a");
    for (hello, reason) in [
        (stray, "ClusterMismatch"),
        (epoch, "StaleEpoch"),
        (restored, "StaleEpoch"),
        (unnamed, "Invalid"),
    ] {
        let mut agent = Agent::open(&world, hello).await;
        let Heard::Refused(refused) = agent.next().await else {
            panic!("it is not refused: {reason}");
        };
        assert_eq!(refused.reason, reason, "{}", refused.message);
    }
}

#[tokio::test]
async fn only_the_host_concerned_hears_of_a_change() {
    let world = World::start().await;
    let mut objects = world.objects().await;
    let mut one = Agent::join(&world, "a").await;
    let mut other = Agent::join(&world, "b").await;
    let mut www = jail("www", &[]);
    www["spec"]["host"] = json!("a");
    applied(&mut objects, &[www]).await;
    one.view_until(|view| !view.jails.is_empty()).await;
    // What the other hears next is what is meant for it.
    let mut own = jail("own", &[]);
    own["spec"]["host"] = json!("b");
    applied(&mut objects, &[own]).await;
    other.next_view().await;
    assert_eq!(other.view.jails.len(), 1);
}

#[tokio::test]
async fn a_host_whose_agent_is_lost_or_silent_is_not_heard_and_is_heard_again() {
    let second = std::time::Duration::from_secs(1);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let timing = AgentTiming {
        heartbeat: second / 4,
        silence_max: second,
        reconnect_grace: second / 4,
        lease_ttl: 2 * second,
        start_grace: second / 4,
    };
    let config = Config {
        timing,
        ..Config::embedded(folder.path().join("store.redb"))
    };
    let world = World {
        controller: common::start(config).await,
        folder,
    };
    let mut objects = world.objects().await;
    let mut agent = Agent::join(&world, "a").await;
    agent.report().await;
    wait_for(&mut objects, "Host", "a", |host| {
        condition(host, "Heard") == Some("True")
    })
    .await;
    drop(agent);
    wait_for(&mut objects, "Host", "a", |host| {
        condition(host, "Heard") == Some("False")
    })
    .await;
    // This one stays connected and says nothing more.
    let mut silent = Agent::join(&world, "a").await;
    wait_for(&mut objects, "Host", "a", |host| {
        condition(host, "Heard") == Some("True")
    })
    .await;
    silent
        .try_next()
        .await
        .expect_err("it is silent for too long");
    wait_for(&mut objects, "Host", "a", |host| {
        condition(host, "Heard") == Some("False")
    })
    .await;
}

#[tokio::test]
async fn a_store_that_was_put_back_to_an_older_copy_is_refused_by_agents_that_saw_more() {
    let world = World::start().await;
    let mut objects = world.objects().await;
    let mut agent = Agent::join(&world, "a").await;
    drop(objects);
    // The copy is taken of a file at rest, as docs/operations/stores.md has it.
    let store = world.folder.path().join("store.redb");
    let copy = world.folder.path().join("copy.redb");
    drop(agent);
    let world = {
        world.controller.stop().await;
        std::fs::copy(&store, &copy).expect("room for it");
        let controller = common::start(Config::embedded(&store)).await;
        World {
            controller,
            folder: world.folder,
        }
    };
    objects = world.objects().await;
    agent = Agent::join(&world, "a").await;
    let many: Vec<_> = (0..20)
        .map(|number| {
            let mut jail = jail(&format!("j{number}"), &[]);
            jail["spec"]["host"] = json!("a");
            jail
        })
        .collect();
    applied(&mut objects, &many).await;
    agent.view_until(|view| view.jails.len() == 20).await;
    let seen = v1::Hello {
        have: agent.view.mark,
        have_digest: agent.view.digest.clone(),
        ..hello("a", "a")
    };
    drop((agent, objects));
    world.controller.stop().await;
    std::fs::copy(&copy, &store).expect("room for it");
    let controller = common::start(Config::embedded(&store)).await;
    let world = World {
        controller,
        folder: world.folder,
    };
    // It is shown nothing of the older store, so it goes on with what it has, and its reports are not taken either.
    let mut agent = Agent::open(&world, seen).await;
    let Heard::Refused(refused) = agent.next().await else {
        panic!("an older view is shown");
    };
    assert_eq!(refused.reason, "StaleEpoch");
    assert!(
        refused.message.contains("restored from an older backup"),
        "{}",
        refused.message
    );
}

#[tokio::test]
async fn another_key_than_the_hosts_is_refused_with_the_way_to_accept_it() {
    let world = World::start().await;
    let mut objects = world.objects().await;
    let mut declared = host("a");
    declared["spec"]["keyFingerprint"] = json!("1".repeat(64));
    applied(&mut objects, &[declared.clone()]).await;
    let other = "2".repeat(64);
    let mut agent = Agent::open(&world, hello("a", &other)).await;
    let Heard::Refused(refused) = agent.next().await else {
        panic!("it is not refused");
    };
    assert_eq!(refused.reason, "HostKeyChanged");
    let command = format!("jailctl host accept-key a {other}");
    assert!(refused.message.contains(&command), "{}", refused.message);
    declared["spec"]["keyFingerprint"] = json!(other);
    applied(&mut objects, &[declared]).await;
    let mut agent = Agent::open(&world, hello("a", &other)).await;
    assert!(matches!(agent.next().await, Heard::Welcome(_)));
}

/// What a watch of jails over REST tells within a second: the revision and the name of each event.
async fn watched(world: &World, after: u64) -> Vec<(u64, String)> {
    let address = world.controller.address();
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let path = "/apis/cellblock.dev/v1alpha1/jails?watch=true&timeoutSeconds=1";
    let request = format!("GET {path}&resourceVersion={after} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    let sent = stream.write_all(request.as_bytes()).await;
    sent.expect("it reads");
    let mut answer = String::new();
    let read = tokio::time::timeout(DEADLINE, stream.read_to_string(&mut answer)).await;
    read.expect("it ends").expect("it is text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    assert!(head.contains(" 200 "), "{answer}");
    let events = body.lines().map(|line| {
        let event: Value = serde_json::from_str(line).expect("an event");
        let metadata = &event["object"]["metadata"];
        let revision = metadata["resourceVersion"].as_str().expect("a revision");
        let name = metadata["name"].as_str().expect("a name");
        (revision.parse().expect("a number"), name.to_owned())
    });
    events.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_over_rest_resumes_behind_any_event_of_a_transaction() {
    const JAILS: usize = 60;
    let world = World::start().await;
    let mut objects = world.objects().await;
    let mut agent = Agent::join(&world, "a").await;
    applied(&mut objects, &[host("a")]).await;
    let list = v1::ListRequest {
        kind: "Jail".to_owned(),
        ..v1::ListRequest::default()
    };
    let listed = objects.list(list).await.expect("a list").into_inner();
    let begin = listed.revision;
    let jails: Vec<_> = (0..JAILS).map(|n| jail(&format!("j{n:02}"), &[])).collect();
    applied(&mut objects, &jails).await;
    agent.view_until(|view| view.jails.len() == JAILS).await;
    agent.report().await;
    wait_for(&mut objects, "Jail", "j59", |jail| {
        condition(jail, "Ready") == Some("True")
    })
    .await;

    let mut all = watched(&world, begin).await;
    loop {
        let again = watched(&world, begin).await;
        if again == all {
            break;
        }
        all = again;
    }
    let size = |revision: u64| all.iter().filter(|(other, _)| *other == revision).count();
    let mut revisions: Vec<_> = all.iter().map(|(revision, _)| *revision).collect();
    revisions.dedup();
    let several: Vec<_> = revisions.iter().filter(|one| size(**one) > 1).collect();
    assert!(several.iter().any(|one| size(**one) > 20), "{all:?}");
    let last_of_one = revisions.iter().rfind(|one| size(**one) == 1);
    for revision in several.into_iter().chain(last_of_one) {
        let is_after = |other: u64| other > *revision || (other == *revision && size(other) > 1);
        let expected: Vec<_> = all
            .iter()
            .filter(|(other, _)| is_after(*other))
            .cloned()
            .collect();
        assert_eq!(watched(&world, *revision).await, expected, "{revision}");
    }
}

#[tokio::test]
async fn a_host_in_use_stays_and_says_who_uses_it() {
    let world = World::start().await;
    let mut objects = world.objects().await;
    let _agent = Agent::join(&world, "a").await;
    wait_for(&mut objects, "Host", "a", |host| {
        condition(host, "Heard") == Some("True")
    })
    .await;
    applied(
        &mut objects,
        &[host("a"), network("lan"), jail("www", &["lan"])],
    )
    .await;
    wait_for(&mut objects, "Jail", "www", |jail| {
        condition(jail, "Scheduled") == Some("True")
    })
    .await;
    for (kind, name) in [("Host", "a"), ("Network", "lan")] {
        let path = format!(
            "/apis/cellblock.dev/v1alpha1/{}s/{name}",
            kind.to_lowercase()
        );
        let removed = common::http::ask(&world, "DELETE", &path, &[], "").await;
        assert_eq!(removed.code, 200, "{}", removed.body);
        assert_eq!(removed.json()["kind"], kind, "it is not gone");
        let held = wait_for(&mut objects, kind, name, |object| {
            condition(object, "InUse") == Some("True")
        })
        .await;
        let conditions = held["status"]["conditions"].as_array().expect("some");
        let said = conditions.iter().find(|one| one["type"] == "InUse");
        let message = said.and_then(|one| one["message"].as_str());
        assert!(message.is_some_and(|it| it.contains("www")), "{held}");
        let over_rest = common::http::get(&world, &path).await.json();
        assert_eq!(
            over_rest["status"]["conditions"],
            held["status"]["conditions"]
        );
    }
}
