//! The listener with certificates: shakes hands with whoever connects, for HTTP/2 and for HTTP/1.1. Who they are is read in
//! [`crate::identity`].

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::Stream;
use rustix::io::Errno;
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
const HANDSHAKES_MAX: usize = 512;

/// How many connections one peer may have that are at their handshake, or over which nobody has asked yet who may: with tokens anybody may shake
/// hands. Its next ones are let go at once, so that it neither makes everybody wait nor takes all there is. Enough for the agents behind one
/// address translation, which come again.
const PEER_UNKNOWN_MAX: usize = 64;

/// How many connections wait to be served.
const WAITING_MAX: usize = 16;

/// How long to wait after the system refused to accept a connection for want of something: more comes with time.
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

/// Whether the system has too little of something to accept any connection.
fn is_short(error: &std::io::Error) -> bool {
    let short = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|error| short.contains(&error))
}

/// What was accepted; where the system has too little of something, after a while, so that it is not asked in vain all the time.
pub(crate) async fn in_time(accepted: std::io::Result<TcpStream>) -> std::io::Result<TcpStream> {
    if accepted.as_ref().is_err_and(is_short) {
        tokio::time::sleep(ACCEPT_DELAY).await;
    }
    accepted
}

/// How often it is logged that somebody could not shake hands. All of them are counted.
const COMPLAINTS: Duration = Duration::from_secs(5);

/// Tells of handshakes that came to nothing, so that it can be found out why: the client is often told less.
#[derive(Clone, Debug, Default)]
struct Complaints(Arc<Mutex<Option<Instant>>>);

impl Complaints {
    fn tell(&self, address: SocketAddr, why: &dyn std::fmt::Display) {
        metrics::counter!("cellblock_handshakes_failed_total").increment(1);
        if self.is_due() {
            tracing::warn!(%address, "no handshake: {why}");
        } else {
            tracing::debug!(%address, "no handshake: {why}");
        }
    }

    fn is_due(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| last.elapsed() >= COMPLAINTS);
        if is_due {
            *last = Some(Instant::now());
        }
        is_due
    }
}

/// How many connections each peer has that are nobody's yet.
#[derive(Clone, Debug, Default)]
struct Peers(Arc<Mutex<BTreeMap<IpAddr, usize>>>);

/// One of them, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Share {
    peers: Peers,
    peer: IpAddr,
}

impl Peers {
    /// None if the peer has too many.
    fn take(&self, address: IpAddr) -> Option<Share> {
        let peer = peer(address);
        let mut each = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = each.entry(peer).or_default();
        if *own >= PEER_UNKNOWN_MAX {
            return None;
        }
        *own += 1;
        let peers = self.clone();
        Some(Share { peers, peer })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut each = self.peers.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = each.get_mut(&self.peer) {
            *own -= 1;
            if *own == 0 {
                each.remove(&self.peer);
            }
        }
    }
}

/// Whom an address counts for: of IPv6, everybody has a /64.
fn peer(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let prefix = address.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from_bits(prefix))
        }
        address @ IpAddr::V4(_) => address,
    }
}

/// The connections that have shaken hands, each with its part of what its peer may have until somebody asks over it. Accepting ends when the stream is dropped.
pub(crate) fn accept(
    config: ServerConfig,
    listener: TcpListener,
) -> impl Stream<Item = std::io::Result<(TlsStream<TcpStream>, Share)>> {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        let places = Arc::new(Semaphore::new(HANDSHAKES_MAX));
        let peers = Peers::default();
        let complaints = Complaints::default();
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
                Err(error) if is_short(&error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_DELAY).await;
                    continue;
                }
                // It was gone before it was taken (accept(2): ECONNABORTED, and on Linux what the network said of it).
                Err(error) => {
                    tracing::debug!(%error, "cannot accept a connection");
                    continue;
                }
            };
            let Some(share) = peers.take(address.ip()) else {
                tracing::debug!(%address, "too many connections of one peer over which nobody has asked");
                continue;
            };
            let (acceptor, sender) = (acceptor.clone(), sender.clone());
            let complaints = complaints.clone();
            tokio::spawn(async move {
                let _held = place;
                // Only makes small answers quicker.
                let _ = stream.set_nodelay(true);
                match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                    // Nobody serves any more: the connection ends.
                    Ok(Ok(stream)) => drop(sender.send(Ok((stream, share))).await),
                    Ok(Err(error)) => complaints.tell(address, &error),
                    Err(_) => complaints.tell(address, &"it took too long"),
                }
            });
        }
    });
    ReceiverStream::new(receiver)
}

#[cfg(test)]
mod tests {
    //! Who counts as one peer, and how many connections of nobody it may have.

    use super::*;

    #[test]
    fn a_peer_with_too_many_connections_stops_nobody_else() {
        let peers = Peers::default();
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        for (own, same, other) in [
            ("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"),
            ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"),
        ] {
            let mut held: Vec<Share> = (0..PEER_UNKNOWN_MAX)
                .filter_map(|_| peers.take(address(own)))
                .collect();
            assert_eq!(held.len(), PEER_UNKNOWN_MAX);
            assert!(peers.take(address(own)).is_none());
            assert!(peers.take(address(same)).is_none());
            assert!(peers.take(address(other)).is_some());
            held.pop();
            assert!(peers.take(address(own)).is_some());
        }
        assert!(peers.0.lock().expect("unpoisoned").is_empty());
    }

    #[test]
    fn a_storm_of_failed_handshakes_is_not_logged_line_by_line() {
        let complaints = Complaints::default();
        assert!(complaints.is_due());
        assert!(!complaints.is_due());
    }

    #[test]
    fn only_a_want_of_something_is_waited_for() {
        for (error, short) in [
            (Errno::MFILE, true),
            (Errno::NOBUFS, true),
            (Errno::CONNABORTED, false),
            (Errno::INTR, false),
        ] {
            assert_eq!(is_short(&error.into()), short, "{error}");
        }
    }
}
