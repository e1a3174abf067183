//! The controller as jailctl sees it: typed requests, errors in an operator's words.

use std::time::Duration;

use anyhow::{Context as _, bail};
use cellblock_proto::v1 as wire;
use cellblock_proto::v1::objects_client::ObjectsClient;
use cellblock_proto::v1::visits_client::VisitsClient;
use cellblock_schemas::Kind;
use prost::Message as _;
use serde_json::Value;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::args::{Cascade, Terms};
use crate::context::ContextEntry;
use crate::printer::Printer;

use bearer::Bearer;

mod bearer;
mod broken;
#[cfg(test)]
mod tests;

/// The largest answer that is taken, in octets: a page of 500 objects of 100 KiB.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Objects per page of a list.
const PAGE: u32 = 500;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How often a controller is asked whether it is there while it owes an answer, and how long it may take to say so: one that hangs, or whose machine is gone, is not waited for without end.
const ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// The reason where a connection broke, or the controller is not ready.
const UNAVAILABLE: &str = "Unavailable";

/// The reason where no connection came about.
const UNREACHABLE: &str = "Unreachable";

/// gRPC's code where a controller does not know a request.
const UNIMPLEMENTED: &str = "Unimplemented";

/// gRPC's other codes for a request of which nobody knows what came of it.
const UNDECIDED: [&str; 4] = ["Unknown", "Internal", "Cancelled", "DeadlineExceeded"];

/// One object as the controller has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// The store's revision of its last write.
    pub revision: u64,
    /// The whole document.
    pub value: Value,
}

/// What shall go.
#[derive(Clone, Copy, Debug)]
pub struct Removal<'a> {
    /// The kind.
    pub kind: Kind,
    /// The name.
    pub name: &'a str,
    /// Only this incarnation; empty: any.
    pub uid: &'a str,
    /// Only this revision; 0: any.
    pub revision: u64,
    /// What becomes of what belongs to it; none: as is usual for its kind.
    pub cascade: Option<Cascade>,
    /// Only tries.
    pub dry_run: bool,
}

impl<'a> Removal<'a> {
    /// Whatever has that name.
    #[must_use]
    pub fn of(kind: Kind, name: &'a str) -> Self {
        Self {
            kind,
            name,
            uid: "",
            revision: 0,
            cascade: None,
            dry_run: false,
        }
    }
}

/// What there is of several objects that were named.
#[derive(Debug, Default)]
pub struct Found {
    /// Those that exist.
    pub objects: Vec<Stored>,
    /// One refusal for each that does not.
    pub missing: Vec<Refused>,
}

/// Says of each object that is missing that it is; the last one is the error that the command ends with.
///
/// # Errors
/// One is missing.
pub fn all_there(mut missing: Vec<Refused>, printer: &Printer) -> Result<(), Refused> {
    let Some(last) = missing.pop() else {
        return Ok(());
    };
    for refused in missing {
        printer.error(&refused.to_string());
    }
    Err(last)
}

/// Why a request failed.
#[derive(Debug)]
pub struct Refused {
    /// As kube-apiserver says it: `NotFound`, `Invalid`, `Conflict` … or `Unavailable`, or `Unreachable` if the request was never sent.
    pub reason: String,
    /// In words.
    pub message: String,
    /// Every violation, if it was refused for what it says.
    pub violations: Vec<wire::Violation>,
}

impl Refused {
    /// Whether no controller answered, as while it is being restarted.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        self.reason == UNAVAILABLE || self.is_unsent()
    }

    /// Whether the request never reached a controller, so that nothing came of it.
    #[must_use]
    pub fn is_unsent(&self) -> bool {
        self.reason == UNREACHABLE
    }

    /// Whether the controller itself decided, so that it is known that nothing came of the request. Otherwise a write may have been done.
    #[must_use]
    pub fn is_decided(&self) -> bool {
        !self.is_unavailable() && !UNDECIDED.contains(&self.reason.as_str())
    }

    /// Whether the revision that was asked for is forgotten, so that everything must be read again.
    #[must_use]
    pub fn is_expired(&self) -> bool {
        self.reason == "Expired"
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)?;
        for violation in &self.violations {
            let field = if violation.field.is_empty() {
                String::new()
            } else {
                format!("{}: ", violation.field)
            };
            let help = if violation.help.is_empty() {
                String::new()
            } else {
                format!(" ({})", violation.help)
            };
            write!(f, "\n  {field}{}{help}", violation.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Refused {}

/// A connection over which every request shows the token that there may be.
type Shown = InterceptedService<Channel, Bearer>;

/// A connection to a controller.
#[derive(Clone, Debug)]
pub struct Client {
    inner: ObjectsClient<Shown>,
    visits: VisitsClient<Shown>,
    server: String,
    /// Who it says to be.
    who: broken::Who,
    /// Whether a controller has ever answered here: what breaks afterwards is no slip in the URL.
    has_answered: bool,
    shows_managed_fields: bool,
}

impl Client {
    /// A client for a context; it connects with its first request.
    ///
    /// # Errors
    /// The URL or the certificates make no sense.
    pub fn new(context: &ContextEntry) -> anyhow::Result<Self> {
        let server = context.server.clone();
        let no_url = || format!("`{server}` is no URL such as https://controller.example.org:7443");
        if !server.starts_with("http://") && !server.starts_with("https://") {
            bail!(no_url());
        }
        if context.certificate.is_some() != context.key.is_some() {
            bail!("a context's certificate and its key belong together; give both or none");
        }
        broken::port(&server)?;
        let mut endpoint = Endpoint::from_shared(server.clone())
            .with_context(no_url)?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(ALIVE_INTERVAL)
            .keep_alive_timeout(ALIVE_TIMEOUT);
        if server.starts_with("https://") {
            let read = |path: &std::path::Path| {
                std::fs::read(path).with_context(|| format!("{} could not be read", path.display()))
            };
            let mut tls = ClientTlsConfig::new();
            if let Some(ca) = &context.ca {
                tls = tls.ca_certificate(Certificate::from_pem(read(ca)?));
            }
            if let (Some(certificate), Some(key)) = (&context.certificate, &context.key) {
                tls = tls.identity(Identity::from_pem(read(certificate)?, read(key)?));
            }
            endpoint = endpoint
                .tls_config(tls)
                .context("the TLS files of the context do not fit together")?;
        }
        let bearer = match &context.token_file {
            Some(path) => Bearer::read(path, &server)?,
            None => Bearer::default(),
        };
        let who = broken::Who {
            certificate: context.certificate.clone(),
            has_token: bearer.is_some(),
        };
        let shown = InterceptedService::new(endpoint.connect_lazy(), bearer);
        let inner = ObjectsClient::new(shown.clone()).max_decoding_message_size(ANSWER_BYTES_MAX);
        Ok(Self {
            inner,
            visits: VisitsClient::new(shown),
            server,
            who,
            has_answered: false,
            shows_managed_fields: false,
        })
    }

    /// Leaves in documents who manages which field. As a rule it is taken out, as kubectl does: it is long, rarely asked for, and
    /// nothing that can be applied again.
    pub fn show_managed_fields(&mut self) {
        self.shows_managed_fields = true;
    }

    /// Applies objects, in order.
    ///
    /// # Errors
    /// The controller did not answer; what it refuses stands in the results.
    pub async fn apply(
        &mut self,
        objects: Vec<wire::Object>,
        terms: &Terms,
        dry_run: bool,
    ) -> Result<Vec<wire::ApplyResult>, Refused> {
        let request = wire::ApplyRequest {
            objects,
            field_manager: terms.field_manager.clone(),
            force: terms.force_conflicts,
            dry_run,
        };
        let answer = self.inner.apply(request).await;
        let answer = self.heard(answer)?;
        Ok(answer.results)
    }

    /// One object.
    ///
    /// # Errors
    /// There is no such object, or the controller did not answer.
    pub async fn get(&mut self, kind: Kind, name: &str) -> Result<Stored, Refused> {
        let request = wire::GetRequest {
            kind: kind.to_string(),
            name: name.to_owned(),
            not_older_than: None,
        };
        let answer = self.inner.get(request).await;
        let answer = self.heard(answer)?;
        self.stored(&answer)
    }

    /// The objects that there are of those that are named, in their order, and a refusal for each other.
    ///
    /// # Errors
    /// The controller did not answer.
    pub async fn get_each(&mut self, named: &[(Kind, String)]) -> Result<Found, Refused> {
        let mut found = Found::default();
        for (kind, name) in named {
            match self.get(*kind, name).await {
                Ok(object) => found.objects.push(object),
                Err(refused) if refused.reason == "NotFound" => found.missing.push(refused),
                Err(refused) => return Err(refused),
            }
        }
        Ok(found)
    }

    /// All objects of a kind, and the revision that they were read at.
    ///
    /// # Errors
    /// The selector makes no sense, or the controller did not answer.
    pub async fn list(
        &mut self,
        kind: Kind,
        selector: &str,
    ) -> Result<(Vec<Stored>, u64), Refused> {
        let mut objects = Vec::new();
        let mut continue_token = String::new();
        loop {
            let request = wire::ListRequest {
                kind: kind.to_string(),
                label_selector: selector.to_owned(),
                limit: PAGE,
                continue_token,
                ..wire::ListRequest::default()
            };
            let page = self.inner.list(request).await;
            let page = self.heard(page)?;
            for object in &page.objects {
                objects.push(self.stored(object)?);
            }
            if page.continue_token.is_empty() {
                return Ok((objects, page.revision));
            }
            continue_token = page.continue_token;
        }
    }

    /// Changes after a revision, of one kind or (none) of all.
    ///
    /// # Errors
    /// The revision is too old, or the controller did not answer.
    pub async fn watch(
        &mut self,
        kind: Option<Kind>,
        selector: &str,
        revision: u64,
    ) -> Result<tonic::Streaming<wire::WatchEvent>, Refused> {
        let request = wire::WatchRequest {
            kind: kind.map(|kind| kind.to_string()).unwrap_or_default(),
            label_selector: selector.to_owned(),
            revision,
            ..wire::WatchRequest::default()
        };
        let answer = self.inner.watch(request).await;
        self.heard(answer)
    }

    /// Visits a jail; what is sent begins with `Begin`.
    ///
    /// # Errors
    /// The controller did not answer, or knows no visits.
    pub async fn visit(
        &mut self,
        said: ReceiverStream<wire::VisitRequest>,
    ) -> Result<tonic::Streaming<wire::VisitResponse>, Refused> {
        let answer = self.visits.visit(said).await;
        self.heard(answer).map_err(|refused| {
            if refused.reason != UNIMPLEMENTED {
                return refused;
            }
            let message = format!(
                "the controller at {} does not know visits; update it",
                self.server
            );
            Refused { message, ..refused }
        })
    }

    /// Replaces an object; the document's resourceVersion must be the newest. What differs is `manager`'s from now on.
    ///
    /// # Errors
    /// It was refused, or the controller did not answer.
    pub async fn update(
        &mut self,
        kind: Kind,
        name: &str,
        value: &Value,
        manager: &str,
    ) -> Result<Stored, Refused> {
        let object = wire::Object {
            kind: kind.to_string(),
            name: name.to_owned(),
            revision: 0,
            json: value.to_string().into_bytes().into(),
        };
        let request = wire::UpdateRequest {
            object: Some(object),
            dry_run: false,
            field_manager: manager.to_owned(),
        };
        let answer = self.inner.update(request).await;
        let answer = self.heard(answer)?;
        self.stored(&answer.object.unwrap_or_default())
    }

    /// Changes an object that is there by a merge patch (RFC 7396).
    ///
    /// # Errors
    /// There is no such object, it was refused, or the controller did not answer.
    pub async fn patch(
        &mut self,
        kind: Kind,
        name: &str,
        patch: &Value,
        manager: &str,
    ) -> Result<(), Refused> {
        let request = wire::PatchRequest {
            kind: kind.to_string(),
            name: name.to_owned(),
            r#type: wire::patch_request::Type::Merge.into(),
            patch: patch.to_string().into_bytes().into(),
            status: false,
            dry_run: false,
            field_manager: manager.to_owned(),
        };
        let answer = self.inner.patch(request).await;
        self.heard(answer).map(|_| ())
    }

    /// Deletes an object. True if it is gone at once.
    ///
    /// # Errors
    /// There is no such object, or the controller did not answer.
    pub async fn delete(&mut self, removal: &Removal<'_>) -> Result<bool, Refused> {
        let request = wire::DeleteRequest {
            kind: removal.kind.to_string(),
            name: removal.name.to_owned(),
            uid: removal.uid.to_owned(),
            revision: removal.revision,
            dry_run: removal.dry_run,
            propagation_policy: removal.cascade.map_or("", Cascade::policy).to_owned(),
        };
        let answer = self.inner.delete(request).await;
        Ok(self.heard(answer)?.gone)
    }

    /// Asks a jail of a set to leave its host. True if it is gone at once.
    ///
    /// # Errors
    /// Its set cannot do without it now (`TooManyRequests`) or would not make it again elsewhere, or the controller did not answer.
    pub async fn evict(&mut self, name: &str, uid: &str) -> Result<bool, Refused> {
        let request = wire::EvictRequest {
            name: name.to_owned(),
            uid: uid.to_owned(),
            dry_run: false,
        };
        let answer = self.inner.evict(request).await;
        Ok(self.heard(answer)?.gone)
    }

    /// The allocations that are asked for, page by page.
    ///
    /// # Errors
    /// The filter makes no sense, or the controller did not answer.
    pub async fn allocations(
        &mut self,
        mut request: wire::ListAllocationsRequest,
    ) -> Result<Vec<wire::Allocation>, Refused> {
        let mut found = Vec::new();
        loop {
            let page = self.inner.list_allocations(request.clone()).await;
            let page = self.heard(page)?;
            found.extend(page.allocations);
            if page.continue_token.is_empty() {
                return Ok(found);
            }
            request.continue_token = page.continue_token;
        }
    }

    /// What happened lately to the objects of a kind and name (empty: all), the oldest first.
    ///
    /// # Errors
    /// The controller did not answer.
    pub async fn events(&mut self, kind: &str, name: &str) -> Result<Vec<Value>, Refused> {
        let mut request = wire::ListEventsRequest {
            kind: kind.to_owned(),
            name: name.to_owned(),
            ..wire::ListEventsRequest::default()
        };
        let mut found: Vec<Value> = Vec::new();
        loop {
            let page = self.inner.list_events(request.clone()).await;
            let page = self.heard(page)?;
            let read = |event: &wire::Object| serde_json::from_slice(&event.json).ok();
            found.extend(page.events.iter().filter_map(read));
            if page.continue_token.is_empty() {
                break;
            }
            request.continue_token = page.continue_token;
        }
        found.sort_by_cached_key(|event| event["lastTimestamp"].to_string());
        Ok(found)
    }

    /// The controller's version.
    ///
    /// # Errors
    /// The controller did not answer.
    pub async fn version(&mut self) -> Result<wire::VersionResponse, Refused> {
        let answer = self.inner.version(wire::VersionRequest {}).await;
        let answer = self.heard(answer)?;
        Ok(answer)
    }

    /// Reads an object off the wire.
    ///
    /// # Errors
    /// The controller sent a kind or a document that this jailctl does not know.
    pub fn stored(&self, object: &wire::Object) -> Result<Stored, Refused> {
        let unreadable = |what: String| Refused {
            reason: "Unreadable".to_owned(),
            message: format!("the controller at {} sent {what}", self.server),
            violations: Vec::new(),
        };
        let kind = Kind::from_name(&object.kind).ok_or_else(|| {
            unreadable(format!(
                "an object of kind `{}`, which this jailctl does not know",
                object.kind
            ))
        })?;
        let mut value: Value = serde_json::from_slice(&object.json)
            .map_err(|error| unreadable(format!("a document that cannot be read: {error}")))?;
        if !self.shows_managed_fields
            && let Some(Value::Object(metadata)) = value.get_mut("metadata")
        {
            metadata.shift_remove("managedFields");
        }
        Ok(Stored {
            kind,
            name: object.name.clone(),
            revision: object.revision,
            value,
        })
    }

    /// An error in an operator's words.
    #[must_use]
    pub fn refused(&self, status: &tonic::Status) -> Refused {
        if let Ok(rejection) = wire::Rejection::decode(status.details())
            && !rejection.reason.is_empty()
        {
            return rejected(rejection, status.message());
        }
        let chain = broken::causes(status);
        if chain.is_empty() {
            let said = status.message();
            // Go's servers say it so; ours knows the service.
            let message =
                if status.code() == Code::Unimplemented && said.contains("unknown service") {
                    format!("what answers at {} is no cellblockd: {said}", self.server)
                } else {
                    said.to_owned()
                };
            return Refused {
                reason: format!("{:?}", status.code()),
                message,
                violations: Vec::new(),
            };
        }
        let code = status.code();
        broken::explained(&self.server, self.has_answered, code, &chain, &self.who)
    }

    /// What an answer holds; remembers that there is somebody who answers.
    fn heard<T>(
        &mut self,
        answer: Result<tonic::Response<T>, tonic::Status>,
    ) -> Result<T, Refused> {
        match answer {
            Ok(answer) => {
                self.has_answered = true;
                Ok(answer.into_inner())
            }
            Err(status) => {
                let refused = self.refused(&status);
                self.has_answered |= !refused.is_unavailable();
                Err(refused)
            }
        }
    }
}

/// A refusal that the controller explained; `message` is all of it in one line.
fn rejected(rejection: wire::Rejection, message: &str) -> Refused {
    let wire::Rejection {
        kind, name, reason, ..
    } = rejection;
    if reason == "NotFound" {
        return Refused {
            reason,
            message: format!("there is no {kind} `{name}`"),
            violations: Vec::new(),
        };
    }
    // What is refused for no field of an object, such as a watch from long ago, is said by the message alone.
    let message = if rejection.violations.is_empty() {
        message.to_owned()
    } else {
        format!("{kind} `{name}` was refused:")
    };
    Refused {
        reason,
        message,
        violations: rejection.violations,
    }
}
