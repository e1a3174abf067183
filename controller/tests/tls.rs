//! The listener with certificates: who shows one is served, who shows none is not. And what every client can ask for.

mod common;

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use cellblock_controller::{AgentTiming, Config, Controller, TlsConfig};
use cellblock_proto::v1;
use cellblock_proto::v1::agent_message::Message as Said;
use cellblock_proto::v1::agents_client::AgentsClient;
use cellblock_proto::v1::controller_message::Message as Heard;
use cellblock_proto::v1::objects_client::ObjectsClient;
use common::http::{Answer, ask_over};
use common::{
    DEADLINE, World, applied, assert_code, channel, get, host, json_of, object, rejection, start,
};
use futures::StreamExt as _;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::{Service as _, http};
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

/// A client of the REST front with certificates: what it says of protocols, and of itself.
async fn tls_stream(
    secured: &Secured,
    pair: Option<&Pair>,
    protocols: &[&[u8]],
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(secured.pki.authority.pem().as_bytes());
    roots.add(authority.expect("PEM")).expect("an authority");
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("protocols")
        .with_root_certificates(roots);
    let mut config = match pair {
        Some((certificate, key)) => {
            let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("PEM");
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
            builder
                .with_client_auth_cert(vec![certificate], key)
                .expect("they fit")
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = protocols.iter().map(|one| one.to_vec()).collect();
    let stream = TcpStream::connect(secured.controller.address())
        .await
        .expect("it listens");
    let name = ServerName::try_from("localhost").expect("a name");
    let connector = TlsConnector::from(Arc::new(config));
    connector
        .connect(name, stream)
        .await
        .map_err(|error| error.to_string())
}

/// One request by HTTP/1.1.
async fn rest(
    secured: &Secured,
    pair: Option<&Pair>,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &str,
) -> Answer {
    let stream = tls_stream(secured, pair, &[b"http/1.1"])
        .await
        .expect("a handshake");
    ask_over(stream, "localhost", method, path, headers, body).await
}

/// The code of a request by HTTP/2.
async fn code_over_http2(secured: &Secured, pair: &Pair, path: &str) -> u16 {
    let mut channel = secured.channel(Some(pair)).await.expect("one of ours");
    let request = http::Request::get(path).body(tonic::body::Body::empty());
    std::future::poll_fn(|context| channel.poll_ready(context))
        .await
        .expect("it is ready");
    let answer = channel
        .call(request.expect("a request"))
        .await
        .expect("an answer");
    answer.status().as_u16()
}

const JAILS: &str = "/apis/cellblock.dev/v1alpha1/jails";

/// A controller with certificates.
struct Secured {
    pki: Pki,
    controller: Controller,
    _folder: TempDir,
}

impl Secured {
    async fn start() -> Self {
        Self::start_with(None).await
    }

    /// With a file of tokens of this text.
    async fn start_with(tokens: Option<&str>) -> Self {
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
        let token_file = tokens.map(|text| {
            let path = written("tokens.csv", text);
            let only_ours = std::fs::Permissions::from_mode(0o600);
            std::fs::set_permissions(&path, only_ours).expect("it is ours");
            path
        });
        let config = Config {
            tls: Some(tls),
            token_file,
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

#[tokio::test(flavor = "multi_thread")]
async fn who_shows_neither_certificate_nor_token_after_the_handshake_is_let_go() {
    let world = Secured::start_with(Some(TOKENS)).await;
    let shaken = tls_stream(&world, None, &[b"http/1.1"]).await;
    let mut silent = shaken.expect("hands are shaken");
    let mut answer = [0; 64];
    let read = tokio::io::AsyncReadExt::read(&mut silent, &mut answer);
    let read = tokio::time::timeout(DEADLINE, read).await;
    assert_eq!(read.expect("it ends").unwrap_or(0), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_has_so_many_connections_over_which_nobody_asks_and_no_more() {
    const UNKNOWN: usize = 64;
    let world = Secured::start_with(Some(TOKENS)).await;
    let connect = || tls_stream(&world, None, &[b"http/1.1"]);
    let all = futures::future::join_all((0..UNKNOWN).map(|_| connect())).await;
    let mut all: Vec<_> = all.into_iter().map(|one| one.expect("shaken")).collect();
    connect().await.expect_err("it has its share");
    // One over which somebody asks is nobody's any more, though it stays.
    let mut known = all.pop().expect("one");
    let request =
        b"GET /version HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer s3cret\r\n\r\n";
    let sent = tokio::io::AsyncWriteExt::write_all(&mut known, request).await;
    sent.expect("sent");
    let mut answer = [0; 12];
    let read = tokio::io::AsyncReadExt::read_exact(&mut known, &mut answer).await;
    read.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 200");
    all.push(connect().await.expect("there is room for one"));
    connect().await.expect_err("and for no other");
    drop(all);
    let again = async {
        while connect().await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    let again = tokio::time::timeout(DEADLINE, again).await;
    again.expect("what ends makes room");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_stalls_its_handshakes_is_let_go_beyond_its_share() {
    // One more than one peer may be at.
    const STALLED: usize = 65;
    let world = Secured::start().await;
    let address = world.controller.address();
    let mut stalled = Vec::new();
    for _ in 0..STALLED {
        stalled.push(
            tokio::net::TcpStream::connect(address)
                .await
                .expect("it listens"),
        );
    }
    // The last one is closed at once, long before those that are waited for.
    let began = std::time::Instant::now();
    let mut last = stalled.pop().expect("one");
    let mut answer = [0; 1];
    let read = tokio::io::AsyncReadExt::read(&mut last, &mut answer);
    let read = tokio::time::timeout(DEADLINE, read).await;
    assert_eq!(read.expect("it ends").unwrap_or(0), 0);
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
    let mut first = stalled.swap_remove(0);
    let read = tokio::io::AsyncReadExt::read(&mut first, &mut answer);
    let early = tokio::time::timeout(Duration::from_millis(200), read).await;
    early.expect_err("it is still waited for");
    // Once they are let go, there is room again.
    let operator = world.pki.operator();
    let back = async {
        while world.version(Some(&operator)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(DEADLINE, back)
        .await
        .expect("it serves");
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

#[tokio::test(flavor = "multi_thread")]
async fn rest_asks_for_certificates_over_both_versions_of_http() {
    let secured = Secured::start().await;
    let operator = secured.pki.operator();
    let agent = secured.pki.client("cellblock:host:a", &[]);
    let nobody = secured.pki.client("nobody", &[]);
    let scraper = secured.pki.client("prometheus", &["cellblock:metrics"]);
    let both = secured
        .pki
        .client("cellblock:host:a", &["cellblock:metrics"]);
    for (pair, path, code) in [
        (&operator, JAILS, 200),
        (&operator, "/apis", 200),
        (&operator, "/nowhere", 404),
        (&agent, JAILS, 403),
        (&agent, "/openapi/v2", 200),
        (&agent, "/healthz", 200),
        (&operator, "/metrics", 200),
        (&agent, "/metrics", 403),
        (&nobody, "/metrics", 403),
        (&nobody, JAILS, 403),
        (&nobody, "/healthz", 200),
        (&nobody, "/apis", 200),
        (&scraper, "/metrics", 200),
        (&scraper, "/readyz", 200),
        (&scraper, JAILS, 403),
        (&scraper, "/api/v1/events", 403),
        (&both, JAILS, 403),
        (&both, "/metrics", 403),
        (&both, "/healthz", 403),
    ] {
        let answer = rest(&secured, Some(pair), "GET", path, &[], "").await;
        assert_eq!(answer.code, code, "HTTP/1.1 {path}: {}", answer.body);
        if code == 403 {
            assert_eq!(answer.refusal().0, "Forbidden");
        }
        assert_eq!(
            code_over_http2(&secured, pair, path).await,
            code,
            "HTTP/2 {path}"
        );
    }
    // A token is no certificate where no tokens are known.
    for headers in [&[][..], &["Authorization: Bearer s3cret"]] {
        let refused = match tls_stream(&secured, None, &[b"http/1.1"]).await {
            Err(_) => true,
            // With TLS 1.3 a client hears of it when it first reads.
            Ok(mut stream) => {
                use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
                let request = format!(
                    "GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n\r\n",
                    headers.join("\r\n")
                );
                let _ = stream.write_all(request.as_bytes()).await;
                stream.read_u8().await.is_err()
            }
        };
        assert!(refused, "nobody is served without a certificate");
    }
    // What is offered counts; who says nothing is understood as well.
    for (protocols, chosen) in [
        (&[&b"h2"[..], b"http/1.1"][..], Some(&b"h2"[..])),
        (&[&b"http/1.1"[..]][..], Some(&b"http/1.1"[..])),
        (&[][..], None),
    ] {
        let stream = tls_stream(&secured, Some(&operator), protocols)
            .await
            .expect("a handshake");
        assert_eq!(stream.get_ref().1.alpn_protocol(), chosen);
    }
    let answer = ask_over(
        tls_stream(&secured, Some(&operator), &[])
            .await
            .expect("a handshake"),
        "localhost",
        "GET",
        "/version",
        &[],
        "",
    );
    assert_eq!(answer.await.code, 200);
}

const TOKENS: &str = "s3cret,tom,1,\"cellblock:operators,others\"\nplain,ci,2\nhost,cellblock:host:a,3\nscrape,prometheus,4,\"cellblock:metrics\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn tokens_say_who_asks_over_both_wires() {
    let secured = Secured::start_with(Some(TOKENS)).await;
    let operator = secured.pki.operator();
    for (token, code) in [
        ("Bearer s3cret", 200),
        ("bearer s3cret", 200),
        ("Bearer plain", 403),
        ("Bearer host", 403),
        ("Bearer wrong", 401),
        ("Bearer s3cre", 401),
        ("Basic s3cret", 401),
        ("", 401),
    ] {
        let header = format!("Authorization: {token}");
        let headers: &[&str] = if token.is_empty() { &[] } else { &[&header] };
        let answer = rest(&secured, None, "GET", JAILS, headers, "").await;
        assert_eq!(answer.code, code, "{token}: {}", answer.body);
        if code == 401 {
            let status = answer.json();
            assert_eq!(
                (&status["reason"], &status["message"]),
                (&json!("Unauthorized"), &json!("Unauthorized"))
            );
        }
        let mut objects = ObjectsClient::new(secured.channel(None).await.expect("no certificate"));
        let mut request = tonic::Request::new(v1::VersionRequest {});
        if !token.is_empty() {
            let token = token.parse().expect("a header");
            request.metadata_mut().insert("authorization", token);
        }
        let expected = match code {
            200 => Code::Ok,
            403 => Code::PermissionDenied,
            _ => Code::Unauthenticated,
        };
        let code = objects
            .version(request)
            .await
            .map_or_else(|status| status.code(), |_| Code::Ok);
        assert_eq!(code, expected, "{token}");
    }
    // Who has no role asks what it may (`kubectl auth can-i`, `whoami`) and is told: nothing. A scraper may read the metrics alone.
    for (token, resource, path, may) in [
        ("plain", "jails", "/metrics", [false, false]),
        ("scrape", "jails", "/metrics", [false, true]),
        ("s3cret", "jails", "/metrics", [true, true]),
    ] {
        let header = format!("Authorization: Bearer {token}");
        let headers = [header.as_str(), "Content-Type: application/json"];
        let review = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let of_resource = json!({"resourceAttributes": {"verb": "list", "group": "cellblock.dev", "resource": resource}});
        let of_path = json!({"nonResourceAttributes": {"verb": "get", "path": path}});
        for (spec, may) in [of_resource, of_path].into_iter().zip(may) {
            let body = json!({"spec": spec}).to_string();
            let answer = rest(&secured, None, "POST", review, &headers, &body).await;
            assert_eq!(answer.code, 201, "{token}: {}", answer.body);
            assert_eq!(answer.json()["status"]["allowed"], may, "{token} {spec}");
        }
        let whoami = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        let answer = rest(&secured, None, "POST", whoami, &headers, "{}").await;
        let named = answer.json()["status"]["userInfo"]["username"].clone();
        assert!(
            named.as_str().is_some_and(|name| !name.is_empty()),
            "{named}"
        );
        let scraped = rest(&secured, None, "GET", "/metrics", &headers[..1], "").await;
        assert_eq!(scraped.code, if may[1] { 200 } else { 403 }, "{token}");
    }
    // A token speaks for no host, whatever it is named.
    let mut agents = AgentsClient::new(secured.channel(None).await.expect("no certificate"));
    let mut request = tonic::Request::new(tokio_stream::iter(Vec::<v1::AgentMessage>::new()));
    let token = "Bearer host".parse().expect("a header");
    request.metadata_mut().insert("authorization", token);
    assert_code(agents.session(request).await, Code::PermissionDenied);
    // A certificate counts before a token.
    let header = ["Authorization: Bearer wrong"];
    let answer = rest(&secured, Some(&operator), "GET", JAILS, &header, "").await;
    assert_eq!(answer.code, 200, "{}", answer.body);
    let agent = secured.pki.client("cellblock:host:a", &[]);
    let header = ["Authorization: Bearer s3cret"];
    let answer = rest(&secured, Some(&agent), "GET", JAILS, &header, "").await;
    assert_eq!(answer.code, 403, "{}", answer.body);
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let headers = [
        "Authorization: Bearer s3cret",
        "Content-Type: application/json",
    ];
    let review = rest(&secured, None, "POST", path, &headers, "{}")
        .await
        .json();
    assert_eq!(review["status"]["userInfo"]["username"], "tom");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_opens_ten_thousand_watches_is_bounded() {
    let secured = Secured::start().await;
    let operator = secured.pki.operator();
    let mut open = Vec::new();
    let mut refused = 0;
    // A connection takes 256 at once, and what one identity may have is a thousand.
    for connection in 0..6 {
        let objects = secured.objects(&operator).await;
        let asks = if connection < 5 { 200 } else { 9_000 };
        let asked = futures::stream::iter(0..asks).map(|_| {
            let mut objects = objects.clone();
            let request = v1::WatchRequest {
                kind: "Host".to_owned(),
                ..v1::WatchRequest::default()
            };
            async move { objects.watch(request).await }
        });
        let mut answers = asked.buffer_unordered(50);
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(watch) => open.push(watch),
                Err(status) => {
                    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
                    refused += 1;
                }
            }
        }
    }
    assert_eq!((open.len(), refused), (1_000, 9_000));
    let path = format!("{JAILS}?watch=true");
    let answer = rest(&secured, Some(&operator), "GET", &path, &[], "").await;
    assert_eq!(
        (answer.code, answer.refusal().0.as_str()),
        (429, "TooManyRequests")
    );
    // Everything else is answered all the same, and somebody else's watch too.
    let answer = rest(&secured, Some(&operator), "GET", JAILS, &[], "").await;
    assert_eq!(answer.code, 200);
    let other = secured.pki.client("otto", &["cellblock:operators"]);
    let path = format!("{JAILS}?watch=true&timeoutSeconds=1");
    assert_eq!(
        rest(&secured, Some(&other), "GET", &path, &[], "")
            .await
            .code,
        200
    );
    drop(open);
}
