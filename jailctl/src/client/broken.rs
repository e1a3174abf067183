//! Why nothing came back from a controller, and what to do: a connection that never came about, or one that broke. Decides nothing else.

use std::path::PathBuf;

use anyhow::bail;
use cellblock_agent::certificate;
use jiff::Timestamp;
use tonic::Code;

use super::{Refused, UNAVAILABLE, UNREACHABLE};

/// What caused an error, the innermost last; nothing if the controller itself answered with it.
pub(super) fn causes(status: &tonic::Status) -> Vec<String> {
    let mut causes = Vec::new();
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        causes.push(error.to_string());
        source = error.source();
    }
    causes
}

/// Who the operator says to be.
#[derive(Clone, Debug, Default)]
pub(super) struct Who {
    pub(super) certificate: Option<PathBuf>,
    pub(super) has_token: bool,
}

/// The error of a request that broke for `chain`, the innermost cause last. `has_answered`: a controller did answer there before.
///
/// Tonic gives `Unavailable` to what was never sent. Whatever other code it gives: a controller that dies while it is being asked resets the
/// connection, which is `Unknown`.
pub(super) fn explained(
    server: &str,
    has_answered: bool,
    code: Code,
    chain: &[String],
    who: &Who,
) -> Refused {
    let is_unsent = code == Code::Unavailable;
    let cause = chain.last().map(String::as_str).unwrap_or_default();
    let message = if is_unsent && cause.contains("fatal alert") {
        broken_off(server, cause, who)
    } else if is_unsent {
        not_reached(server, cause)
    } else if has_answered {
        format!(
            "the controller at {server} broke off in the middle of a request ({cause}); it was stopped or has died, or the network between failed"
        )
    } else {
        broken_off(server, cause, who)
    };
    Refused {
        reason: if is_unsent { UNREACHABLE } else { UNAVAILABLE }.to_owned(),
        message,
        violations: Vec::new(),
    }
}

fn not_reached(server: &str, cause: &str) -> String {
    if cause.contains("peer certificate") || cause.contains("certificate not valid") {
        let help = if cause.contains("not valid for name") {
            "it is of another name: write one that it has into the context's `server`, or issue it for this one (subjectAltName)"
        } else if cause.contains("xpired") {
            "renew it there, and restart cellblockd; or this machine's clock is wrong"
        } else if cause.contains("NotValidYet") {
            "this machine's clock is wrong, or that one's was when it was issued"
        } else {
            "`ca` of the context names the authority that must have signed it"
        };
        format!("the certificate that {server} shows is not accepted: {cause}; {help}")
    } else if cause.contains("InvalidContentType") {
        format!(
            "{server} does not answer in TLS: {cause}; if the controller there speaks in clear text, write http://"
        )
    } else if cause.contains("failed to lookup address") {
        format!(
            "no controller answers at {server}: its name has no address here ({cause}); mend the name, or choose another controller with --context or --server"
        )
    } else {
        format!(
            "no controller answers at {server} ({cause}); is cellblockd running there? (choose another with --context or --server)"
        )
    }
}

/// A connection that broke before anything was ever heard.
fn broken_off(server: &str, cause: &str, who: &Who) -> String {
    if !server.starts_with("https://") {
        return format!(
            "{server} broke the connection off before it answered anything: {cause}; either the controller was stopped just then, or it does not speak in clear text: if it wants TLS, write https:// and give the context's `ca`, `certificate` and `key`"
        );
    }
    let broke = format!("{server} broke the connection off: {cause}");
    match &who.certificate {
        // The reason is often lost with the connection.
        Some(path) => {
            match certificate::look(path, Timestamp::now()).filter(|one| one.is_invalid) {
                Some(notice) => format!("{broke}; {}", notice.text),
                None => format!(
                    "{broke}; it may not accept the context's `certificate` {}: cellblockd's log says why",
                    path.display()
                ),
            }
        }
        None if who.has_token => format!(
            "{broke}; it takes no tokens from clients without a certificate, unless it has a `token_file`: give the context's `certificate` and `key`"
        ),
        None => format!(
            "{broke}; it may ask for a certificate: give the context's `certificate` and `key`, or a `token_file`"
        ),
    }
}

/// Looks at the port of a URL, which is otherwise first looked at when the connection is made, and then told as one that nobody answers at.
///
/// # Errors
/// It is no port.
pub(super) fn port(server: &str) -> anyhow::Result<()> {
    let rest = server
        .split_once("://")
        .map_or(server, |(_scheme, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let behind_address = authority.rsplit(']').next().unwrap_or_default();
    let Some((_, port)) = behind_address.rsplit_once(':') else {
        return Ok(());
    };
    match port.parse::<u16>() {
        Ok(1..) => Ok(()),
        Ok(0) | Err(_) => bail!("`{server}`: `{port}` is no port; there are 1 to 65535"),
    }
}
