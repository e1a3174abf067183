//! The listener with certificates: shakes hands with whoever connects, for HTTP/2 and for HTTP/1.1. Who they are is read in
//! [`crate::identity`].

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;

use crate::config::{ConfigError, TlsConfig};
use crate::controller::StartError;

/// How long a connection may take to show its certificate. Who has none yet must not hold anything.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// How many may be at that together; who comes then waits in the system's queue.
const HANDSHAKES_MAX: usize = 256;

/// How many connections wait to be served.
const WAITING_MAX: usize = 16;

/// How long to wait after the system refused to accept a connection: it has no file descriptors left, and more come with time.
const ACCEPT_DELAY: Duration = Duration::from_millis(100);

/// What is offered, the first that the client knows counts (RFC 7301): gRPC needs HTTP/2, of Kubernetes' clients some speak
/// nothing but HTTP/1.1.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Certificates as files, read. `certificates`: whether a client without one is refused at once, or may show a token.
pub(crate) fn config(tls: &TlsConfig, certificates: Required) -> Result<ServerConfig, StartError> {
    let unusable = |error: &dyn std::fmt::Display| StartError::Tls(error.to_string());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    for authority in chain(&tls.ca)? {
        roots.add(authority).map_err(|error| unusable(&error))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
    let verifier = match certificates {
        Required::Always => verifier,
        Required::OrToken => verifier.allow_unauthenticated(),
    };
    let verifier = verifier.build().map_err(|error| unusable(&error))?;
    let key = PrivateKeyDer::from_pem_slice(&read(&tls.key)?)
        .map_err(|error| StartError::Tls(format!("{}: {error}", tls.key.display())))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain(&tls.certificate)?, key)
        .map_err(|error| unusable(&error))?;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
    Ok(config)
}

/// What a client must show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Required {
    /// A certificate.
    Always,
    /// A certificate, or a token with each request.
    OrToken,
}

fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    std::fs::read(path).map_err(|source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    })
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, StartError> {
    let unusable = |what: String| StartError::Tls(format!("{}: {what}", path.display()));
    let bytes = read(path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let certificates = certificates.map_err(|error| unusable(error.to_string()))?;
    if certificates.is_empty() {
        return Err(unusable("there is no certificate in it".to_owned()));
    }
    Ok(certificates)
}

/// The connections that have shaken hands. Accepting ends when the stream is dropped.
pub(crate) fn accept(
    config: ServerConfig,
    listener: TcpListener,
) -> impl Stream<Item = std::io::Result<TlsStream<TcpStream>>> {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        let places = Arc::new(Semaphore::new(HANDSHAKES_MAX));
        loop {
            let next = async {
                let place = places.clone().acquire_owned().await;
                (listener.accept().await, place)
            };
            let (accepted, place) = tokio::select! {
                next = next => next,
                () = sender.closed() => return,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_DELAY).await;
                    continue;
                }
            };
            let (acceptor, sender) = (acceptor.clone(), sender.clone());
            tokio::spawn(async move {
                let _place = place;
                // Only makes small answers quicker.
                let _ = stream.set_nodelay(true);
                match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                    // Nobody serves any more: the connection ends.
                    Ok(Ok(stream)) => drop(sender.send(Ok(stream)).await),
                    Ok(Err(error)) => tracing::debug!(%address, %error, "no handshake"),
                    Err(_) => tracing::debug!(%address, "the handshake took too long"),
                }
            });
        }
    });
    ReceiverStream::new(receiver)
}
