//! The key pair that a host is known by. The agent makes it at its first start; hostuuid would not do, because clones of a machine share it.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

/// The key pair's public part, as the controller knows it.
#[derive(Clone, Debug)]
pub struct Identity {
    /// SHA-256 of the public key (SubjectPublicKeyInfo), in hexadecimal.
    pub fingerprint: String,
}

impl Identity {
    /// Reads the key from `state_dir`, or makes one there, readable by the owner alone.
    ///
    /// # Errors
    /// The folder cannot be written, or the key in it cannot be read.
    pub fn load_or_make(state_dir: &Path) -> anyhow::Result<Self> {
        let path = state_dir.join("host.key");
        let key = match std::fs::read_to_string(&path) {
            Ok(pem) => rcgen::KeyPair::from_pem(&pem).with_context(|| {
                format!(
                    "{} is no private key; restore it, or remove it to make this a new host",
                    path.display()
                )
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let key = rcgen::KeyPair::generate().context("no key pair could be made")?;
                std::fs::create_dir_all(state_dir).with_context(|| {
                    format!("the state folder {} could not be made", state_dir.display())
                })?;
                write_whole(&path, key.serialize_pem().as_bytes())
                    .with_context(|| format!("{} could not be written", path.display()))?;
                key
            }
            Err(error) => {
                return Err(error).with_context(|| format!("{} could not be read", path.display()));
            }
        };
        let digest = Sha256::digest(rcgen::PublicKeyData::subject_public_key_info(&key));
        Ok(Self {
            fingerprint: data_encoding::HEXLOWER.encode(&digest),
        })
    }
}

/// Writes the key beside its place first: one that is cut off half-way would keep the agent from ever starting again.
fn write_whole(path: &Path, pem: &[u8]) -> std::io::Result<()> {
    let beside = path.with_extension("key.new");
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(pem)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    std::fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests;
