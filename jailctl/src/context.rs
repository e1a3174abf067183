//! Contexts: which controllers there are, in a file, and which one a command speaks to.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::client::Client;

#[cfg(test)]
mod tests;

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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ConfigFile {
    /// The context that is meant when none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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
        let file = read(&path)?;
        let Some(name) = context.as_ref().or(file.current_context.as_ref()) else {
            return Ok(ContextEntry {
                server: DEFAULT_SERVER.to_owned(),
                ..ContextEntry::default()
            });
        };
        match file.contexts.get(name) {
            Some(entry) => Ok(entry.clone()),
            None => {
                let known: Vec<&str> = file.contexts.keys().map(String::as_str).collect();
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
        }
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

    /// Writes a context into the file.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn store(&self, name: &str, entry: &ContextEntry) -> anyhow::Result<PathBuf> {
        self.edit(|file| {
            file.contexts.insert(name.to_owned(), entry.clone());
        })
    }

    /// Takes a context out of the file, if it still is `entry`: another sandbox may have written its own meanwhile.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn forget(&self, name: &str, entry: &ContextEntry) -> anyhow::Result<()> {
        self.edit(|file| {
            if file.contexts.get(name) == Some(entry) {
                file.contexts.remove(name);
            }
        })
        .map(|_| ())
    }

    fn edit(&self, change: impl FnOnce(&mut ConfigFile)) -> anyhow::Result<PathBuf> {
        let path = self.path()?;
        let before = read(&path)?;
        let mut file = before.clone();
        change(&mut file);
        if file == before {
            return Ok(path);
        }
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("{} could not be made", folder.display()))?;
        }
        let text = toml::to_string(&file).context("the configuration has no TOML form")?;
        let temporary = path.with_extension("toml.new");
        std::fs::write(&temporary, text)
            .and_then(|()| std::fs::rename(&temporary, &path))
            .with_context(|| format!("{} could not be written", path.display()))?;
        Ok(path)
    }
}

fn read(path: &std::path::Path) -> anyhow::Result<ConfigFile> {
    match std::fs::read_to_string(path) {
        Ok(text) => toml::from_str(&text).with_context(|| format!("in {}", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(ConfigFile::default()),
        Err(error) => Err(error).with_context(|| format!("{} could not be read", path.display())),
    }
}
