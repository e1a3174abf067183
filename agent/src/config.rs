//! The agent's configuration: command line over environment over file over default. This is the one place that states the precedence.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Deserialize;
use tonic::transport::Uri;

/// Everything that the agent is told from outside.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The controllers, tried in turn until one answers.
    pub controllers: Vec<String>,
    /// The name of this machine's Host object.
    pub host_name: String,
    /// Where ledger and key are kept.
    pub state_dir: PathBuf,
    /// Where the agent's files are on the host; the state folder, but on an emulated host.
    pub host_folder: Option<String>,
    /// How long the host may drift unnoticed, in seconds.
    pub resync_seconds: u64,
    /// What is logged, as tracing's filters say it.
    pub log: String,
    /// Mutual TLS towards the controllers.
    pub tls: Option<Tls>,
    /// The longest pause between two tries of a controller. Not for operators to set.
    pub pause_max: Duration,
}

/// The default of [`Config::pause_max`]: a controller that comes back is found within this time.
pub const PAUSE_MAX: Duration = Duration::from_secs(15);

/// The files of mutual TLS, in PEM.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Who signs controllers' certificates.
    pub ca: PathBuf,
    /// This agent's certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// What the command line and the environment may say.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Options {
    /// The configuration file (TOML)
    #[arg(long, env = "CELLBLOCK_AGENT_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A controller, such as http://127.0.0.1:7443; may be given several times
    #[arg(
        long = "controller",
        env = "CELLBLOCK_AGENT_CONTROLLERS",
        value_name = "URL",
        value_delimiter = ','
    )]
    pub controllers: Vec<String>,
    /// The name of this machine's Host object [default: the first label of hostname(1)]
    #[arg(long, env = "CELLBLOCK_AGENT_HOST_NAME", value_name = "NAME")]
    pub host_name: Option<String>,
    /// Where ledger and key are kept [default: /var/db/cellblock]
    #[arg(long, env = "CELLBLOCK_AGENT_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// How long the host may drift unnoticed [default: 60]
    #[arg(long, env = "CELLBLOCK_AGENT_RESYNC_SECONDS", value_name = "SECONDS")]
    pub resync_seconds: Option<u64>,
    /// What is logged: error, warn, info, debug, trace, also per target [default: info]
    #[arg(long, env = "CELLBLOCK_AGENT_LOG", value_name = "FILTER")]
    pub log: Option<String>,
}

/// What the file may say.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigFile {
    controllers: Option<Vec<String>>,
    host_name: Option<String>,
    state_dir: Option<PathBuf>,
    resync_seconds: Option<u64>,
    log: Option<String>,
    tls: Option<Tls>,
}

impl Config {
    /// Merges command line, environment, file and defaults.
    ///
    /// # Errors
    /// The file cannot be read, has an unknown key or a value of the wrong type, or a value makes no sense.
    pub fn resolve(options: Options) -> anyhow::Result<Self> {
        let file = match &options.config {
            Some(path) => read(path)?,
            None => ConfigFile::default(),
        };
        let controllers = if options.controllers.is_empty() {
            file.controllers
                .unwrap_or_else(|| vec!["http://127.0.0.1:7443".to_owned()])
        } else {
            options.controllers
        };
        let config = Self {
            controllers,
            host_name: options
                .host_name
                .or(file.host_name)
                .unwrap_or_else(own_name),
            state_dir: options
                .state_dir
                .or(file.state_dir)
                .unwrap_or_else(|| PathBuf::from("/var/db/cellblock")),
            host_folder: None,
            resync_seconds: options.resync_seconds.or(file.resync_seconds).unwrap_or(60),
            log: options
                .log
                .or(file.log)
                .unwrap_or_else(|| "info".to_owned()),
            tls: file.tls,
            pause_max: PAUSE_MAX,
        };
        config.check()?;
        Ok(config)
    }

    /// Where the agent's files are on the host.
    #[must_use]
    pub fn folder(&self) -> String {
        let folder = self
            .host_folder
            .clone()
            .unwrap_or_else(|| self.state_dir.display().to_string());
        folder.trim_end_matches('/').to_owned()
    }

    /// The controllers beyond this machine that are spoken to without TLS.
    pub(crate) fn in_clear_text(&self) -> impl Iterator<Item = &str> {
        let is_far = |url: &&str| {
            let uri = url.parse::<Uri>().unwrap_or_default();
            let host = uri.host().unwrap_or_default();
            let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
            uri.scheme_str() == Some("http")
                && host != "localhost"
                && !address.is_ok_and(|address| address.is_loopback())
        };
        self.controllers.iter().map(String::as_str).filter(is_far)
    }

    fn check(&self) -> anyhow::Result<()> {
        if self.controllers.is_empty() {
            bail!(
                "no controller is named; give --controller, or `controllers` in the configuration file"
            );
        }
        for url in &self.controllers {
            let secure = url.starts_with("https://");
            if !secure && !url.starts_with("http://") {
                bail!("controller `{url}` is no URL such as https://controller.example.org:7443");
            }
            if !secure && self.tls.is_some() {
                bail!(
                    "controller `{url}` says http:// and there is [tls]; write https://, or leave [tls] out"
                );
            }
            if secure && self.tls.is_none() {
                bail!(
                    "controller `{url}` wants TLS; add [tls] with ca, certificate and key to the configuration file"
                );
            }
        }
        if self.resync_seconds == 0 {
            bail!("resync_seconds must be at least 1");
        }
        if !self.state_dir.is_absolute() {
            bail!(
                "state_dir `{}` must be an absolute path",
                self.state_dir.display()
            );
        }
        Ok(())
    }
}

fn read(path: &Path) -> anyhow::Result<ConfigFile> {
    let text = std::fs::read_to_string(path).with_context(|| {
        format!(
            "the configuration file {} could not be read",
            path.display()
        )
    })?;
    toml::from_str(&text).with_context(|| format!("in the configuration file {}", path.display()))
}

/// The first label of the machine's name.
fn own_name() -> String {
    let name = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    name.split('.').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
