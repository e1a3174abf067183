//! The listener with certificates: who shows one is served, who shows none is not. And what every client can ask for.

mod common;

use std::path::Path;

use cellblock_controller::{Config, TlsConfig};
use cellblock_proto::v1;
use cellblock_proto::v1::objects_client::ObjectsClient;
use common::{World, channel, start};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

struct Pki {
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self {
            authority: CertifiedIssuer::self_signed(params, key).expect("an authority"),
        }
    }

    /// Certificate and key for a name, in PEM format.
    fn issue(&self, name: &str) -> (String, String) {
        let params = CertificateParams::new([name.to_owned()]).expect("a name");
        let key = KeyPair::generate().expect("a key");
        let certificate = params
            .signed_by(&key, &self.authority)
            .expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }
}

fn written(folder: &Path, name: &str, text: &str) -> std::path::PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("room for it");
    path
}

#[tokio::test]
async fn only_clients_with_a_certificate_of_the_authority_are_served() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let pki = Pki::new();
    let ca = pki.authority.pem();
    let (certificate, key) = pki.issue("localhost");
    let tls = TlsConfig {
        certificate: written(folder.path(), "server.pem", &certificate),
        key: written(folder.path(), "server.key", &key),
        ca: written(folder.path(), "ca.pem", &ca),
    };
    let config = Config {
        tls: Some(tls),
        ..Config::embedded(folder.path().join("store.redb"))
    };
    let controller = start(config).await;
    let connect = async |tls: ClientTlsConfig| {
        let tls = tls
            .ca_certificate(Certificate::from_pem(&ca))
            .domain_name("localhost");
        let endpoint =
            Channel::from_shared(format!("https://{}", controller.address())).expect("an address");
        let channel = endpoint
            .tls_config(tls)
            .expect("certificates")
            .connect()
            .await
            .map_err(|error| error.to_string())?;
        ObjectsClient::new(channel)
            .version(v1::VersionRequest {})
            .await
            .map_err(|status| status.to_string())
    };
    let (certificate, key) = pki.issue("client");
    connect(ClientTlsConfig::new().identity(Identity::from_pem(certificate, key)))
        .await
        .expect("one of ours");
    connect(ClientTlsConfig::new()).await.expect_err("nobody");
    let (certificate, key) = Pki::new().issue("client");
    connect(ClientTlsConfig::new().identity(Identity::from_pem(certificate, key)))
        .await
        .expect_err("a stranger");
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
