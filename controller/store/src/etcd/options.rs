//! How to reach and trust an etcd cluster, and the client that follows from it. Nothing here talks to the network.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use etcd_client::{Certificate, ConnectOptions, Identity, TlsOptions};

use crate::error::{Error, Result};
use crate::model::Key;

/// How long a request may take by default: etcd itself gives up on a proposal after 5 s plus an election (1 s).
const REQUEST_TIMEOUT: Duration = Duration::from_secs(6);

/// How long connecting to one member may take by default: a member that does not answer in this time is passed over
/// while there is still time within the request timeout to ask another.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How often an open watch proves that its connection lives. etcd disconnects clients that ping more often than its
/// `--grpc-keepalive-min-time`, 5 s by default, and those that ping without an open call; so ping at twice that, and
/// only while a call is open.
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// How long a ping may go unanswered before the connection counts as dead.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// A password, which no log shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Keeps a password.
    pub fn new(password: impl Into<String>) -> Self {
        Password(password.into())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// Whom to trust, and who we are, as files in PEM format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authority that signed the servers' certificates.
    pub ca: PathBuf,
    /// Our certificate and its key, when the servers ask for one.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name in the servers' certificates, when it is not the host of the endpoint.
    pub server_name: Option<String>,
}

/// How to reach and trust an etcd cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdOptions {
    /// The members' client URLs, `http://…` or `https://…`. At least one; the others are asked when it does not answer.
    pub endpoints: Vec<String>,
    /// For `https` endpoints.
    pub tls: Option<TlsFiles>,
    /// User and password, when the cluster has authentication enabled.
    pub user: Option<(String, Password)>,
    /// How long any call takes at most.
    pub request_timeout: Duration,
    /// How long connecting to one member takes at most.
    pub connect_timeout: Duration,
    /// A key that the user may read, present or not. Reading it tells the current revision.
    pub probe: Key,
}

impl EtcdOptions {
    /// The defaults for these endpoints.
    pub fn new<E: Into<String>>(endpoints: impl IntoIterator<Item = E>) -> Self {
        EtcdOptions {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            tls: None,
            user: None,
            request_timeout: REQUEST_TIMEOUT,
            connect_timeout: CONNECT_TIMEOUT,
            probe: Key::from("/cellblock/"),
        }
    }

    /// Refuses what cannot work, before anything is connected to.
    pub(super) fn check(&self) -> Result<()> {
        if self.endpoints.is_empty() {
            return Err(Error::Invalid(
                "no etcd endpoint is given; name at least one".to_owned(),
            ));
        }
        for endpoint in &self.endpoints {
            let secure = endpoint.starts_with("https://");
            if !secure && !endpoint.starts_with("http://") {
                return Err(Error::Invalid(format!(
                    "the etcd endpoint {endpoint} must begin with http:// or https://"
                )));
            }
            if secure && self.tls.is_none() {
                return Err(Error::Invalid(format!(
                    "the etcd endpoint {endpoint} needs a CA certificate to be trusted by; name its file"
                )));
            }
            if !secure && self.tls.is_some() {
                return Err(Error::Invalid(format!(
                    "certificates are given, but the etcd endpoint {endpoint} would not use them; write https://"
                )));
            }
        }
        Ok(())
    }

    /// What etcd-client needs to know, certificates read.
    pub(super) fn connect_options(&self) -> Result<ConnectOptions> {
        let mut options = ConnectOptions::new()
            .with_connect_timeout(self.connect_timeout)
            .with_keep_alive(PING_INTERVAL, PING_TIMEOUT)
            .with_keep_alive_while_idle(false)
            .with_require_leader(true)
            .with_auto_token_refresh(true);
        if let Some((name, password)) = &self.user {
            options = options.with_user(name, &password.0);
        }
        if let Some(files) = &self.tls {
            options = options.with_tls(tls_options(files)?);
        }
        Ok(options)
    }
}

fn tls_options(files: &TlsFiles) -> Result<TlsOptions> {
    let mut tls = TlsOptions::new().ca_certificate(Certificate::from_pem(read(&files.ca)?));
    if let Some((certificate, key)) = &files.identity {
        tls = tls.identity(Identity::from_pem(read(certificate)?, read(key)?));
    }
    if let Some(name) = &files.server_name {
        tls = tls.domain_name(name);
    }
    Ok(tls)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| Error::Io {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests;
