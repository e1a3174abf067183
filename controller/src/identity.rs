//! Who a request comes from, as its certificate or its token says: the only place that looks into one.
//!
//! As Kubernetes does it, the subject carries the role: an organisation (`O`) is a group, and an agent's common name (`CN`), or a
//! URI among its subject alternative names where the name is too long for that, says which host it speaks for. That the
//! authority signed the certificate was checked by the listener before.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::status::RequestError;
use crate::tokens::{self, Tokens, User};

/// The organisation of an operator's certificate.
pub(crate) const OPERATORS: &str = "cellblock:operators";

/// The organisation of the certificate of who scrapes metrics.
pub(crate) const METRICS: &str = "cellblock:metrics";

/// What the common name, or a URI, of an agent's certificate begins with; the Host's name follows.
pub(crate) const HOST: &str = "cellblock:host:";

/// Who a request comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Somebody on this machine: the listener is on loopback and asks for no certificates, and no token was shown.
    Local,
    /// An operator, by common name.
    Operator(String),
    /// The agent of a host.
    Host {
        /// The Host's name.
        name: String,
        /// The SHA-256 of the certificate's public key (SubjectPublicKeyInfo), which the agent has proven to hold.
        key: String,
    },
    /// Who reads the metrics and whether the controller is well, by name.
    Scraper(String),
    /// A certificate of the authority, or a token, that says nothing of a role.
    Roleless {
        /// Its name.
        name: String,
        /// What is missing.
        why: String,
    },
    /// A certificate that contradicts itself or cannot be read, or none, with the reason.
    Nobody(String),
}

/// How callers of a listener are told from each other.
#[derive(Clone)]
pub(crate) struct Identifier {
    /// It asks for certificates.
    secured: bool,
    tokens: Option<Arc<Tokens>>,
}

impl Identifier {
    pub(crate) fn new(secured: bool, tokens: Option<Tokens>) -> Self {
        Self {
            secured,
            tokens: tokens.map(Arc::new),
        }
    }

    pub(crate) fn is_secured(&self) -> bool {
        self.secured
    }

    /// Who shows these certificates and this `Authorization`. A certificate counts before a token, as with kube-apiserver
    /// (kubernetes/kubernetes, `pkg/kubeapiserver/authenticator/config.go`).
    ///
    /// # Errors
    /// The token is not known, or there is neither where one of both is needed.
    pub(crate) fn identify<C: AsRef<[u8]>>(
        &self,
        certificates: &[C],
        authorization: Option<&[u8]>,
    ) -> Result<Caller, RequestError> {
        if let Some(der) = certificates.first().filter(|_| self.secured) {
            return Ok(match X509Certificate::from_der(der.as_ref()) {
                Ok((_, certificate)) => role(&certificate),
                Err(error) => Caller::Nobody(format!("the certificate cannot be read: {error}")),
            });
        }
        let authorization = authorization.map(str::from_utf8).transpose();
        let token = match authorization {
            Ok(authorization) => authorization.and_then(tokens::bearer),
            // Whoever sends it means to say who they are.
            Err(_) if self.tokens.is_some() => {
                return Err(RequestError::Unauthenticated("the token cannot be read"));
            }
            Err(_) => None,
        };
        match (&self.tokens, token) {
            (Some(tokens), Some(token)) => match tokens.user(token) {
                Some(user) => Ok(shown_by(user)),
                None => Err(RequestError::Unauthenticated("the token is not known")),
            },
            (_, _) if !self.secured => Ok(Caller::Local),
            (Some(_), None) => Err(RequestError::Unauthenticated(
                "neither a certificate nor a token was shown",
            )),
            (None, _) => Ok(Caller::Nobody("no certificate was shown".to_owned())),
        }
    }
}

/// The role that a token gives. A token proves no key, by which hosts are told from each other, so it speaks for none.
fn shown_by(user: &User) -> Caller {
    let User { name, groups } = user;
    if groups.iter().any(|group| group == OPERATORS) {
        return Caller::Operator(name.clone());
    }
    if groups.iter().any(|group| group == METRICS) {
        return Caller::Scraper(name.clone());
    }
    Caller::Roleless {
        name: name.clone(),
        why: format!(
            "the token of `{name}` gives no role: an operator's is in the group {OPERATORS}, a scraper's in {METRICS}, and agents show certificates"
        ),
    }
}

fn role(certificate: &X509Certificate<'_>) -> Caller {
    let subject = certificate.subject();
    let texts = |names: &mut dyn Iterator<Item = &x509_parser::x509::AttributeTypeAndValue<'_>>| {
        names
            .filter_map(|name| name.as_str().ok().map(str::to_owned))
            .collect::<Vec<_>>()
    };
    let names = texts(&mut subject.iter_common_name());
    let groups = texts(&mut subject.iter_organization());
    let alternatives = certificate.subject_alternative_name().ok().flatten();
    let uris = alternatives
        .iter()
        .flat_map(|extension| &extension.value.general_names)
        .filter_map(|name| {
            // Every other sort of name says where something is, not who it is.
            if let GeneralName::URI(uri) = name {
                Some((*uri).to_owned())
            } else {
                None
            }
        });
    let mut hosts: Vec<String> = names
        .iter()
        .cloned()
        .chain(uris)
        .filter_map(|name| name.strip_prefix(HOST).map(str::to_owned))
        .collect();
    hosts.sort();
    hosts.dedup();
    let is_operator = groups.iter().any(|group| group == OPERATORS);
    let is_scraper = groups.iter().any(|group| group == METRICS);
    let name = names.into_iter().next().unwrap_or_default();
    let shown = || format!("the certificate `{subject}`");
    match (is_operator || is_scraper, hosts.as_slice()) {
        (true, []) if is_operator => Caller::Operator(name),
        (true, []) => Caller::Scraper(name),
        (false, [name]) => Caller::Host {
            name: name.clone(),
            key: fingerprint(certificate.public_key().raw),
        },
        (false, []) => Caller::Roleless {
            name,
            why: format!(
                "{} gives no role: an operator's has O={OPERATORS}, a scraper's O={METRICS}, the agent's of a host CN={HOST}NAME",
                shown()
            ),
        },
        (true, _) => Caller::Nobody(format!(
            "{} is {} and a host's at once; it must be one of the two",
            shown(),
            if is_operator {
                "an operator's"
            } else {
                "a scraper's"
            }
        )),
        (false, _) => Caller::Nobody(format!(
            "{} names several hosts ({}); it must name one",
            shown(),
            hosts.join(", ")
        )),
    }
}

fn fingerprint(key: &[u8]) -> String {
    let digest = Sha256::digest(key);
    digest.iter().map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests;
