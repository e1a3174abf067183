//! A token, shown with every request in place of a certificate. Whose it is the controller knows.

use std::path::Path;

use anyhow::{Context as _, bail};
use tonic::metadata::AsciiMetadataValue;
use tonic::service::Interceptor;

/// Shows a token, if there is one.
#[derive(Clone, Default)]
pub(super) struct Bearer(Option<AsciiMetadataValue>);

impl std::fmt::Debug for Bearer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() {
            "Bearer"
        } else {
            "nothing"
        })
    }
}

impl Bearer {
    /// The token that a file holds, for a server that is spoken to so that nobody on the way reads it.
    ///
    /// # Errors
    /// The file cannot be read or holds no token, or the token would go over the network in clear text.
    pub(super) fn read(path: &Path, server: &str) -> anyhow::Result<Self> {
        if !server.starts_with("https://") && !is_here(server) {
            bail!(
                "the context has a `token_file`, and {server} is spoken to in clear text: whoever is on the way could use the token; write https://"
            );
        }
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("{} could not be read", path.display()))?;
        let token = text.trim();
        // RFC 6750, section 2.1, which the controller holds its tokens to as well.
        let is_said = |character: char| {
            character.is_ascii_alphanumeric()
                || matches!(character, '-' | '.' | '_' | '~' | '+' | '/' | '=')
        };
        if token.is_empty() || !token.chars().all(is_said) {
            bail!(
                "{} holds no token: one line of letters, digits and -._~+/ with = at its end (the controller's own file has more columns)",
                path.display()
            );
        }
        let mut value = AsciiMetadataValue::try_from(format!("Bearer {token}"))
            .context("a token is no header")?;
        value.set_sensitive(true);
        Ok(Self(Some(value)))
    }

    /// Whether there is one to show.
    pub(super) fn is_some(&self) -> bool {
        self.0.is_some()
    }
}

impl Interceptor for Bearer {
    fn call(
        &mut self,
        mut request: tonic::Request<()>,
    ) -> Result<tonic::Request<()>, tonic::Status> {
        if let Some(value) = &self.0 {
            request
                .metadata_mut()
                .insert("authorization", value.clone());
        }
        Ok(request)
    }
}

/// Whether a URL is of this machine's own loopback.
fn is_here(server: &str) -> bool {
    let uri = server.parse::<tonic::transport::Uri>().unwrap_or_default();
    let host = uri
        .host()
        .unwrap_or_default()
        .trim_matches(['[', ']'])
        .to_owned();
    let address = host.parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}
