//! Contexts: which controllers there are, in a file that only the operator writes, and which one a command speaks to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::client::Client;

mod lent;
#[cfg(test)]
mod tests;

pub use lent::Lent;

/// Where a controller listens unless it is said otherwise.
const DEFAULT_SERVER: &str = "http://127.0.0.1:7443";

/// Which controller to speak to. The command line wins over the environment, that over the file.
#[derive(Clone, Debug, Default, Args)]
pub struct Connection {
    /// The context of the configuration file [env: JAILCTL_CONTEXT]
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// A controller, such as http://127.0.0.1:7443, in place of a context [env: JAILCTL_SERVER]
    #[arg(long, global = true, value_name = "URL", conflicts_with = "context")]
    pub server: Option<String>,
    /// The configuration file [default: $XDG_CONFIG_HOME/cellblock/jailctl.toml, else ~/.config/cellblock/jailctl.toml]
    #[arg(long, global = true, env = "JAILCTL_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// The configuration file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ConfigFile {
    /// The context that is meant when none is named.
    #[serde(default)]
    pub current_context: Option<String>,
    /// Contexts by name.
    #[serde(default)]
    pub contexts: BTreeMap<String, ContextEntry>,
}

/// One context.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ContextEntry {
    /// The controller's URL.
    pub server: String,
    /// Who signs the controller's certificate (PEM).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// The operator's certificate (PEM).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// Its key (PEM).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// A file with the operator's token, in place of a certificate.
    #[serde(
        default,
        rename = "token_file",
        alias = "token-file",
        skip_serializing_if = "Option::is_none"
    )]
    pub token_file: Option<PathBuf>,
}

impl Connection {
    /// A client for the controller that is meant; it connects with its first request.
    ///
    /// # Errors
    /// There is no such context, or the file or its certificates cannot be read.
    pub fn client(&self) -> anyhow::Result<Client> {
        Client::new(&self.entry()?)
    }

    fn entry(&self) -> anyhow::Result<ContextEntry> {
        self.chosen(|name| std::env::var(name).ok())
    }

    /// The controller that is meant. Here and not by clap, to which a variable is as good as a flag: `--context staging` must win over a server that the environment names.
    fn chosen(&self, environment: impl Fn(&str) -> Option<String>) -> anyhow::Result<ContextEntry> {
        let set = |name| environment(name).filter(|value| !value.is_empty());
        let (server, context) = if self.server.is_some() || self.context.is_some() {
            (self.server.clone(), self.context.clone())
        } else {
            (set("JAILCTL_SERVER"), set("JAILCTL_CONTEXT"))
        };
        if let Some(server) = server {
            return Ok(ContextEntry {
                server,
                ..ContextEntry::default()
            });
        }
        let path = self.path()?;
        let found = read(&path)?;
        let is_missing = found.is_none() && self.config.is_some();
        let file = found.unwrap_or_default();
        let name = context.as_ref().or(file.current_context.as_ref());
        let lent = match name {
            Some(name) => lent::find(&path, name)?,
            None => None,
        };
        if is_missing && lent.is_none() {
            bail!(
                "there is no configuration file {}, which --config or JAILCTL_CONFIG names",
                path.display()
            );
        }
        let Some(name) = name else {
            return Ok(ContextEntry {
                server: DEFAULT_SERVER.to_owned(),
                ..ContextEntry::default()
            });
        };
        if let Some(entry) = file.contexts.get(name).cloned().or(lent) {
            return Ok(entry);
        }
        let mut known: Vec<String> = file.contexts.keys().cloned().collect();
        known.extend(lent::names(&path));
        let known = if known.is_empty() {
            "none".to_owned()
        } else {
            known.join(", ")
        };
        bail!(
            "{} has no context `{name}` (it has: {known})",
            path.display()
        )
    }

    /// The configuration file's path.
    ///
    /// # Errors
    /// There is neither a home directory nor a path given.
    pub fn path(&self) -> anyhow::Result<PathBuf> {
        if let Some(path) = &self.config {
            return Ok(path.clone());
        }
        let folder = std::env::var_os("XDG_CONFIG_HOME")
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
            .or_else(|| std::env::home_dir().map(|home| home.join(".config")))
            .context("no home directory is known; give --config")?;
        Ok(folder.join("cellblock").join("jailctl.toml"))
    }

    /// Makes a context for a sandbox, until it is given back. The operator's own file is not touched, nor need there be one.
    ///
    /// # Errors
    /// The folder of the configuration cannot be written, or the file not be read.
    pub fn lend(&self, entry: &ContextEntry) -> anyhow::Result<Lent> {
        let path = self.path()?;
        let own = read(&path)?.unwrap_or_default();
        Lent::claim(&path, &own, entry)
    }
}

/// The configuration file; none if there is none.
fn read(path: &Path) -> anyhow::Result<Option<ConfigFile>> {
    match std::fs::read_to_string(path) {
        Ok(text) => toml::from_str(&text)
            .map(Some)
            .with_context(|| format!("in {}", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{} could not be read", path.display())),
    }
}
