//! The listener with certificates: who shows one is served, who shows none is not. And what every client can ask for.

mod common;

use std::time::Duration;

use cellblock_controller::{AgentTiming, Config, Controller, TlsConfig};
use cellblock_proto::v1;
use cellblock_proto::v1::agent_message::Message as Said;
use cellblock_proto::v1::agents_client::AgentsClient;
use cellblock_proto::v1::controller_message::Message as Heard;
use cellblock_proto::v1::objects_client::ObjectsClient;
use common::{
    DEADLINE, World, applied, assert_code, channel, get, host, json_of, object, rejection, start,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::json;
use tempfile::TempDir;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};
use tonic::{Code, Status, Streaming};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

struct Pki {
    authority: CertifiedIssuer<'static, KeyPair>,
}

/// Certificate and key in PEM format.
type Pair = (String, String);

impl Pki {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self {
            authority: CertifiedIssuer::self_signed(params, key).expect("an authority"),
        }
    }

    /// For a machine of that name.
    fn server(&self, name: &str) -> Pair {
        self.sign(CertificateParams::new([name.to_owned()]).expect("a name"))
    }

    /// For a subject: a common name, and organisations.
    fn client(&self, name: &str, groups: &[&str]) -> Pair {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        for group in groups {
            let kind = DnType::OrganizationName;
            params.distinguished_name.push(kind, *group);
        }
        self.sign(params)
    }

    fn operator(&self) -> Pair {
        self.client("olga", &["cellblock:operators"])
    }

    fn sign(&self, params: CertificateParams) -> Pair {
        let key = KeyPair::generate().expect("a key");
        let certificate = params
            .signed_by(&key, &self.authority)
            .expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }
}

/// A controller with certificates.
struct Secured {
    pki: Pki,
    controller: Controller,
    _folder: TempDir,
}

impl Secured {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let pki = Pki::new();
        let (certificate, key) = pki.server("localhost");
        let written = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("room for it");
            path
        };
        let tls = TlsConfig {
            certificate: written("server.pem", &certificate),
            key: written("server.key", &key),
            ca: written("ca.pem", &pki.authority.pem()),
        };
        let timing = AgentTiming {
            reconnect_grace: Duration::from_millis(100),
            start_grace: Duration::from_millis(100),
            ..AgentTiming::default()
        };
        let config = Config {
            tls: Some(tls),
            timing,
            ..Config::embedded(folder.path().join("store.redb"))
        };
        Self {
            pki,
            controller: start(config).await,
            _folder: folder,
        }
    }

    /// A channel of whoever has the certificate.
    async fn channel(&self, pair: Option<&Pair>) -> Result<Channel, String> {
        let mut tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(self.pki.authority.pem()))
            .domain_name("localhost");
        if let Some((certificate, key)) = pair {
            tls = tls.identity(Identity::from_pem(certificate, key));
        }
        let address = format!("https://{}", self.controller.address());
        let endpoint = Channel::from_shared(address).expect("an address");
        let endpoint = endpoint.tls_config(tls).expect("certificates");
        endpoint.connect().await.map_err(|error| error.to_string())
    }

    async fn version(&self, pair: Option<&Pair>) -> Result<(), String> {
        let mut objects = ObjectsClient::new(self.channel(pair).await?);
        let answer = objects.version(v1::VersionRequest {}).await;
        answer.map(drop).map_err(|status| status.to_string())
    }

    async fn objects(&self, pair: &Pair) -> ObjectsClient<Channel> {
        ObjectsClient::new(self.channel(Some(pair)).await.expect("one of ours"))
    }

    /// Says Hello as the agent of a host; the first answer, and the stream, which is the session.
    async fn hello(&self, pair: &Pair, host: &str) -> Result<(Heard, Session), Status> {
        let mut agents = AgentsClient::new(self.channel(Some(pair)).await.expect("one of ours"));
        let hello = v1::Hello {
            host: host.to_owned(),
            key_fingerprint: "what it says itself".to_owned(),
            ..v1::Hello::default()
        };
        let message = v1::AgentMessage {
            message: Some(Said::Hello(hello)),
        };
        let (said, saying) = tokio::sync::mpsc::channel(1);
        said.send(message).await.expect("there is room for one");
        let saying = ReceiverStream::new(saying);
        let mut heard = agents.session(saying).await?.into_inner();
        let first = heard.message().await?.and_then(|message| message.message);
        Ok((first.expect("an answer"), (said, heard)))
    }
}

/// A stream that ends when it is dropped.
type Session = (
    tokio::sync::mpsc::Sender<v1::AgentMessage>,
    Streaming<v1::ControllerMessage>,
);

fn refused(heard: Heard) -> v1::Refused {
    match heard {
        Heard::Refused(refused) => refused,
        other @ (Heard::Welcome(_)
        | Heard::View(_)
        | Heard::Acknowledged(_)
        | Heard::OpenVisit(_)
        | Heard::CloseVisit(_)) => {
            panic!("it is not refused: {other:?}")
        }
    }
}

#[tokio::test]
async fn only_clients_with_a_certificate_of_the_authority_are_served() {
    let world = Secured::start().await;
    let operator = world.pki.operator();
    world.version(Some(&operator)).await.expect("one of ours");
    world.version(None).await.expect_err("nobody");
    let stranger = Pki::new().operator();
    let answer = world.version(Some(&stranger)).await;
    answer.expect_err("signed by somebody else");
}

#[tokio::test]
async fn who_shows_no_certificate_in_time_is_let_go() {
    let world = Secured::start().await;
    let mut silent = tokio::net::TcpStream::connect(world.controller.address())
        .await
        .expect("it listens");
    let mut answer = [0; 64];
    let read = tokio::io::AsyncReadExt::read(&mut silent, &mut answer);
    let read = tokio::time::timeout(DEADLINE, read).await;
    let octets = read.expect("it ends").unwrap_or(0);
    assert_eq!(octets, 0, "nothing is told to a client that says nothing");
}

#[tokio::test]
async fn a_certificate_without_a_role_may_nothing_and_an_agents_is_no_operators() {
    let world = Secured::start().await;
    for (pair, why) in [
        (world.pki.client("olga", &[]), "gives no role"),
        (world.pki.client("olga", &["operators"]), "gives no role"),
        (world.pki.server("localhost"), "gives no role"),
        (
            world
                .pki
                .client("cellblock:host:a", &["cellblock:operators"]),
            "at once",
        ),
        (
            world.pki.client("cellblock:host:a", &[]),
            "the agent of host a may neither read nor write objects",
        ),
    ] {
        let mut objects = world.objects(&pair).await;
        let status = assert_code(
            objects.version(v1::VersionRequest {}).await,
            Code::PermissionDenied,
        );
        assert_eq!(rejection(&status).reason, "Forbidden");
        assert!(status.message().contains(why), "{status:?}");
        let apply = v1::ApplyRequest {
            objects: vec![object(&host("a"))],
            ..v1::ApplyRequest::default()
        };
        assert_code(objects.apply(apply).await, Code::PermissionDenied);
    }
    let mut objects = world.objects(&world.pki.operator()).await;
    assert_code(get(&mut objects, "Host", "a").await, Code::NotFound);
}

#[tokio::test]
async fn an_agent_speaks_for_its_own_host_and_an_operator_for_none() {
    let world = Secured::start().await;
    let operator = world.pki.operator();
    let status = world.hello(&operator, "a").await.map(drop);
    let status = assert_code(status, Code::PermissionDenied);
    assert!(status.message().contains("may not speak as an agent"));
    let agent = world.pki.client("cellblock:host:a", &[]);
    let (heard, _) = world.hello(&agent, "b").await.expect("an answer");
    let refusal = refused(heard);
    assert_eq!(refusal.reason, "Forbidden");
    assert!(refusal.message.contains("may not speak for host b"));
    let mut objects = world.objects(&operator).await;
    assert_code(get(&mut objects, "Host", "b").await, Code::NotFound);
    let (heard, _session) = world.hello(&agent, "a").await.expect("an answer");
    assert!(matches!(heard, Heard::Welcome(_)), "{heard:?}");
}

#[tokio::test]
async fn the_key_that_an_agent_proves_is_pinned_and_another_is_refused_until_accepted() {
    let world = Secured::start().await;
    let [first, second] = [0, 1].map(|_| world.pki.client("cellblock:host:a", &[]));
    let (heard, session) = world.hello(&first, "a").await.expect("an answer");
    assert!(matches!(heard, Heard::Welcome(_)), "{heard:?}");
    let mut objects = world.objects(&world.pki.operator()).await;
    let stored = json_of(&get(&mut objects, "Host", "a").await.expect("it is made"));
    let pinned = stored["status"]["keyFingerprint"].as_str().expect("a key");
    assert_eq!(pinned.len(), 64, "the proven key, not the one it talks of");
    let (heard, _) = world.hello(&second, "a").await.expect("an answer");
    let refusal = refused(heard);
    assert_eq!(refusal.reason, "HostClaimed", "the first is connected");
    drop(session);
    // No condition tells when the controller has noticed: a session that reported nothing was never `Heard`.
    let noticed = async {
        loop {
            let (heard, _) = world.hello(&second, "a").await.expect("an answer");
            let refusal = refused(heard);
            if refusal.reason != "HostClaimed" {
                return refusal;
            }
            tokio::task::yield_now().await;
        }
    };
    let refusal = tokio::time::timeout(DEADLINE, noticed)
        .await
        .expect("the first session has ended");
    assert_eq!(refusal.reason, "HostKeyChanged");
    let (_, command) = refusal
        .message
        .split_once("jailctl host accept-key a ")
        .expect("the way to accept it");
    let key = &command[..64];
    let mut accepted = host("a");
    accepted["spec"]["keyFingerprint"] = json!(key);
    applied(&mut objects, &[accepted]).await;
    let (heard, _session) = world.hello(&second, "a").await.expect("an answer");
    assert!(matches!(heard, Heard::Welcome(_)), "{heard:?}");
    let (heard, _) = world.hello(&first, "a").await.expect("an answer");
    assert_eq!(refused(heard).reason, "HostClaimed");
}

#[tokio::test]
async fn a_listener_beyond_loopback_needs_certificates() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:7443"] {
        let config = Config {
            listen: address.parse().expect("an address"),
            ..Config::embedded(folder.path().join("store.redb"))
        };
        let error = match Controller::start(config).await {
            Ok(_) => panic!("{address} is served to everybody"),
            Err(error) => error.to_string(),
        };
        assert!(
            error.contains(address) && error.contains("tls.ca"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn reflection_names_every_service() {
    let world = World::start().await;
    let mut reflection = ServerReflectionClient::new(channel(&world.controller).await);
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = reflection
        .server_reflection_info(tokio_stream::iter([request]))
        .await
        .expect("an answer")
        .into_inner();
    let answer = answers
        .message()
        .await
        .expect("an answer")
        .expect("an answer");
    let Some(MessageResponse::ListServicesResponse(services)) = answer.message_response else {
        panic!("{answer:?}");
    };
    let names: Vec<_> = services
        .service
        .iter()
        .map(|service| service.name.as_str())
        .collect();
    for name in [
        "cellblock.v1.Objects",
        "cellblock.v1.Agents",
        "grpc.health.v1.Health",
    ] {
        assert!(names.contains(&name), "{names:?}");
    }
}

#[tokio::test]
async fn a_message_beyond_the_limit_is_refused_with_the_limit() {
    let world = World::start().await;
    let mut objects = world.objects().await;
    let object = v1::Object {
        kind: "Host".to_owned(),
        json: vec![b' '; 1 << 20].into(),
        ..v1::Object::default()
    };
    let request = v1::ApplyRequest {
        objects: vec![object; 17],
        field_manager: "jailctl".to_owned(),
        ..v1::ApplyRequest::default()
    };
    let status = objects.apply(request).await.expect_err("too large");
    assert!(
        status
            .message()
            .contains(&cellblock_controller::MESSAGE_BYTES_MAX.to_string()),
        "{status:?}"
    );
}
