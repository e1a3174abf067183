//! The controller's configuration and where it comes from: a flag wins over the environment, the environment over the file,
//! the file over the default. The keys are those of `cellblockd.toml.sample`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cellblock_store::{EmbeddedOptions, EtcdOptions, Password, StoreConfig, TlsFiles};
use clap::{Parser, ValueEnum};
use serde::Deserialize;

use crate::tokens::TokenError;

/// Loopback only: a listener beyond it is the operator's decision, and needs certificates.
const LISTEN: &str = "127.0.0.1:7443";

/// One file is enough for one controller.
const STORE: &str = "embedded:/var/db/cellblockd/store.redb";

/// What is logged unless said otherwise.
const LOG: &str = "info";

/// Everything that a controller needs to know to run.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where clients and agents connect; port 0 takes any that is free.
    pub listen: SocketAddr,
    /// Where metrics are served to this machine, in clear text.
    pub metrics_listen: Option<SocketAddr>,
    /// Where the objects are kept.
    pub store: StoreConfig,
    /// Certificates of the listener.
    pub tls: Option<TlsConfig>,
    /// Tokens by which clients may say who they are, instead of a certificate.
    pub token_file: Option<PathBuf>,
    /// When an agent counts as lost. Not for operators to set: the parts fit each other.
    pub timing: AgentTiming,
    /// How long a client of a watch may take no events while there are some. Not for operators to set.
    pub watch_patience: Duration,
}

/// The default of [`Config::watch_patience`].
const WATCH_PATIENCE: Duration = Duration::from_secs(60);

/// When an agent counts as lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgentTiming {
    /// How often an agent shall be heard.
    pub heartbeat: Duration,
    /// How long an agent may be silent: three heartbeats, so that two may be lost.
    pub silence_max: Duration,
    /// How long an agent's session key stays after its connection is lost, so that a reconnect is not a loss of the host.
    pub reconnect_grace: Duration,
    /// How long the session keys of a controller that died stay; longer than a controller needs to restart.
    pub lease_ttl: Duration,
    /// How long after its start a controller does not call a host lost: the agents of a controller that was restarted need a
    /// moment to come back. Longer than the agents' longest backoff.
    pub start_grace: Duration,
}

impl Default for AgentTiming {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(10),
            silence_max: Duration::from_secs(30),
            reconnect_grace: Duration::from_secs(15),
            lease_ttl: Duration::from_secs(30),
            start_grace: Duration::from_secs(45),
        }
    }
}

impl Config {
    /// A controller on a free loopback port over one file, without certificates and metrics: for a sandbox and for tests.
    #[must_use]
    pub fn embedded(path: impl Into<PathBuf>) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            metrics_listen: None,
            store: StoreConfig::Embedded(EmbeddedOptions::new(path)),
            tls: None,
            token_file: None,
            timing: AgentTiming::default(),
            watch_patience: WATCH_PATIENCE,
        }
    }
}

/// Certificates of the listener, as files in PEM format.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// What clients and agents see.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The authority that must have signed the certificates of clients and agents.
    pub ca: PathBuf,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For programs, one JSON object per line.
    Json,
}

/// Keeps the objects of a fleet of FreeBSD jails, and tells each host's agent what belongs to it.
///
/// A flag wins over its environment variable, that over the configuration file, that over the default.
#[derive(Clone, Debug, Default, Parser)]
#[command(name = "cellblockd", version)]
pub struct Flags {
    /// The configuration file (TOML).
    #[arg(long, env = "CELLBLOCKD_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where clients and agents connect [default: 127.0.0.1:7443].
    #[arg(long, env = "CELLBLOCKD_LISTEN", value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
    /// Where a Prometheus of this machine scrapes metrics, in clear text; from elsewhere it asks the API's listener [default: none].
    #[arg(long, env = "CELLBLOCKD_METRICS_LISTEN", value_name = "ADDRESS:PORT")]
    pub metrics_listen: Option<SocketAddr>,
    /// Where the objects are kept: embedded:FILE or etcd:URL,URL… [default: embedded:/var/db/cellblockd/store.redb].
    #[arg(long, env = "CELLBLOCKD_STORE", value_name = "STORE")]
    pub store: Option<String>,
    /// What is logged, as tracing's filters say it [default: info].
    #[arg(long, env = "CELLBLOCKD_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// How log lines look [default: text].
    #[arg(long, env = "CELLBLOCKD_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// The certificate that clients and agents see.
    #[arg(long, env = "CELLBLOCKD_TLS_CERTIFICATE", value_name = "FILE")]
    pub tls_certificate: Option<PathBuf>,
    /// Its key.
    #[arg(long, env = "CELLBLOCKD_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// The authority that must have signed the certificates of clients and agents.
    #[arg(long, env = "CELLBLOCKD_TLS_CA", value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// Bearer tokens by which clients may say who they are, instead of a certificate: TOKEN,USER,UID,"GROUP,…" in each line.
    #[arg(long, env = "CELLBLOCKD_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// The authority that signed the certificates of etcd.
    #[arg(long, env = "CELLBLOCKD_ETCD_CA", value_name = "FILE")]
    pub etcd_ca: Option<PathBuf>,
    /// The certificate that etcd sees.
    #[arg(long, env = "CELLBLOCKD_ETCD_CERTIFICATE", value_name = "FILE")]
    pub etcd_certificate: Option<PathBuf>,
    /// Its key.
    #[arg(long, env = "CELLBLOCKD_ETCD_KEY", value_name = "FILE")]
    pub etcd_key: Option<PathBuf>,
    /// The name in the certificates of etcd, when it is not the host of the URL.
    #[arg(long, env = "CELLBLOCKD_ETCD_SERVER_NAME", value_name = "NAME")]
    pub etcd_server_name: Option<String>,
    /// The user that etcd knows us as.
    #[arg(long, env = "CELLBLOCKD_ETCD_USER", value_name = "NAME")]
    pub etcd_user: Option<String>,
    /// A file whose first line is that user's password.
    #[arg(long, env = "CELLBLOCKD_ETCD_PASSWORD_FILE", value_name = "FILE")]
    pub etcd_password_file: Option<PathBuf>,
}

/// The configuration file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    listen: Option<SocketAddr>,
    metrics_listen: Option<SocketAddr>,
    store: Option<String>,
    log: Option<String>,
    log_format: Option<LogFormat>,
    tls: Option<TlsConfig>,
    token_file: Option<PathBuf>,
    #[serde(default)]
    etcd: EtcdFile,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct EtcdFile {
    ca: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    server_name: Option<String>,
    user: Option<String>,
    password_file: Option<PathBuf>,
}

/// What `cellblockd` runs with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The controller.
    pub config: Config,
    /// What is logged.
    pub log: String,
    /// How log lines look.
    pub log_format: LogFormat,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read {}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// The configuration file is no TOML, or has a key that is not known.
    #[error("{}", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and what.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// Neither `embedded:` nor `etcd:`.
    #[error(
        "`{0}` is no store; write embedded:FILE, or etcd:URL or several URLs separated by commas"
    )]
    Store(String),
    /// Some of several settings that belong together are missing.
    #[error("{0}")]
    Incomplete(String),
    /// A listener beyond loopback without certificates.
    #[error(
        "{0} can be reached from outside of this machine, so clients and agents must show certificates: set tls.certificate, tls.key and tls.ca, or listen on 127.0.0.1 or [::1]"
    )]
    Exposed(SocketAddr),
    /// Metrics in clear text beyond loopback.
    #[error(
        "{0} can be reached from outside of this machine, and metrics_listen is for anybody, in clear text: listen on 127.0.0.1 or [::1], and scrape `/metrics` of the API's listener from elsewhere, with a certificate or token of the group cellblock:metrics"
    )]
    MetricsExposed(SocketAddr),
    /// The file of tokens cannot be used.
    #[error("token_file cannot be used")]
    Tokens(#[source] TokenError),
}

impl Settings {
    /// Brings flags (and the environment, which clap reads into them), file and defaults together.
    ///
    /// # Errors
    /// As [`ConfigError`] says.
    pub fn resolve(flags: Flags) -> Result<Self, ConfigError> {
        let file = match &flags.config {
            Some(path) => read(path)?,
            None => File::default(),
        };
        let default_listen = LISTEN.parse().expect("the constant is an address");
        let listen = flags.listen.or(file.listen).unwrap_or(default_listen);
        let tls = tls(&flags, file.tls)?;
        if !listen.ip().is_loopback() && tls.is_none() {
            return Err(ConfigError::Exposed(listen));
        }
        let metrics_listen = flags.metrics_listen.or(file.metrics_listen);
        if let Some(address) = metrics_listen.filter(|address| !address.ip().is_loopback()) {
            return Err(ConfigError::MetricsExposed(address));
        }
        let etcd = EtcdFile {
            ca: flags.etcd_ca.or(file.etcd.ca),
            certificate: flags.etcd_certificate.or(file.etcd.certificate),
            key: flags.etcd_key.or(file.etcd.key),
            server_name: flags.etcd_server_name.or(file.etcd.server_name),
            user: flags.etcd_user.or(file.etcd.user),
            password_file: flags.etcd_password_file.or(file.etcd.password_file),
        };
        let named = flags
            .store
            .or(file.store)
            .unwrap_or_else(|| STORE.to_owned());
        Ok(Self {
            config: Config {
                listen,
                metrics_listen,
                store: store(&named, etcd)?,
                tls,
                token_file: flags.token_file.or(file.token_file),
                timing: AgentTiming::default(),
                watch_patience: WATCH_PATIENCE,
            },
            log: flags.log.or(file.log).unwrap_or_else(|| LOG.to_owned()),
            log_format: flags.log_format.or(file.log_format).unwrap_or_default(),
        })
    }
}

fn read(path: &Path) -> Result<File, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    toml::from_str(&text).map_err(|source| ConfigError::Malformed {
        path: path.to_owned(),
        source: Box::new(source),
    })
}

fn tls(flags: &Flags, file: Option<TlsConfig>) -> Result<Option<TlsConfig>, ConfigError> {
    let said =
        |flag: &Option<PathBuf>, file: fn(&TlsConfig) -> &PathBuf, from: &Option<TlsConfig>| {
            flag.clone().or_else(|| from.as_ref().map(file).cloned())
        };
    let certificate = said(&flags.tls_certificate, |tls| &tls.certificate, &file);
    let key = said(&flags.tls_key, |tls| &tls.key, &file);
    let ca = said(&flags.tls_ca, |tls| &tls.ca, &file);
    match (certificate, key, ca) {
        (None, None, None) => Ok(None),
        (Some(certificate), Some(key), Some(ca)) => Ok(Some(TlsConfig {
            certificate,
            key,
            ca,
        })),
        _ => Err(ConfigError::Incomplete(
            "tls.certificate, tls.key and tls.ca belong together; set all three or none".to_owned(),
        )),
    }
}

fn store(named: &str, etcd: EtcdFile) -> Result<StoreConfig, ConfigError> {
    match named.split_once(':') {
        Some(("embedded", path)) if !path.is_empty() => {
            Ok(StoreConfig::Embedded(EmbeddedOptions::new(path)))
        }
        Some(("etcd", urls)) if !urls.is_empty() => {
            let urls = || urls.split(',').map(str::trim);
            // A user would not be used, and stand in the log and in what clients are told of the store. Where it ends nobody can tell of a
            // password with a slash, and nothing else in such a URL has an @.
            if urls().any(|url| url.contains('@')) {
                return Err(ConfigError::Incomplete(
                    "a URL of the store names a user or a password: leave them out, and set etcd.user and etcd.password_file"
                        .to_owned(),
                ));
            }
            let mut options = EtcdOptions::new(urls());
            options.tls = etcd_tls(&etcd)?;
            options.user = etcd_user(etcd)?;
            Ok(StoreConfig::Etcd(options))
        }
        _ => Err(ConfigError::Store(named.to_owned())),
    }
}

fn etcd_tls(etcd: &EtcdFile) -> Result<Option<TlsFiles>, ConfigError> {
    let identity = match (&etcd.certificate, &etcd.key) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
        _ => {
            return Err(ConfigError::Incomplete(
                "etcd.certificate and etcd.key belong together".to_owned(),
            ));
        }
    };
    match &etcd.ca {
        Some(ca) => Ok(Some(TlsFiles {
            ca: ca.clone(),
            identity,
            server_name: etcd.server_name.clone(),
        })),
        None if identity.is_some() || etcd.server_name.is_some() => Err(ConfigError::Incomplete(
            "certificates for etcd need etcd.ca".to_owned(),
        )),
        None => Ok(None),
    }
}

fn etcd_user(etcd: EtcdFile) -> Result<Option<(String, Password)>, ConfigError> {
    match (etcd.user, etcd.password_file) {
        (None, None) => Ok(None),
        (Some(user), Some(path)) => {
            let text = std::fs::read_to_string(&path)
                .map_err(|source| ConfigError::Unreadable { path, source })?;
            Ok(Some((
                user,
                Password::new(text.lines().next().unwrap_or_default()),
            )))
        }
        _ => Err(ConfigError::Incomplete(
            "etcd.user and etcd.password_file belong together".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests;
