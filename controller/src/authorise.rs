//! Who may do what: one function that every request passes, and the guard that stands before every service.

use tonic::service::interceptor::InterceptedService;
use tonic::{Request, Status};

use crate::connection::Known;
use crate::identity::{Caller, Identifier};
use crate::status::RequestError;

/// Where a token stands.
const AUTHORIZATION: &str = "authorization";

/// What a request wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action<'a> {
    /// To know whether the server is well.
    Health,
    /// To read the metrics.
    Metrics,
    /// To know what the server can be asked.
    Reflection,
    /// To know who oneself is, and what one may.
    Review,
    /// To read and write objects.
    Objects,
    /// To run commands in jails and read their logs.
    Visit,
    /// To open an agent's session, for a host that is not said yet.
    Session,
    /// To speak for a host.
    Speak(&'a str),
}

/// Whether the caller may.
///
/// # Errors
/// It may not, with the reason.
pub(crate) fn authorise(caller: &Caller, action: Action<'_>) -> Result<(), RequestError> {
    let refusal = match (caller, action) {
        (Caller::Local, _)
        | (Caller::Operator(_), Action::Objects | Action::Visit)
        | (Caller::Operator(_) | Caller::Scraper(_), Action::Metrics)
        | (Caller::Host { .. }, Action::Session) => return Ok(()),
        // Everybody who is somebody, as with kube-apiserver (`system:discovery` and `system:basic-user` of kubernetes/kubernetes,
        // `plugin/pkg/auth/authorizer/rbac/bootstrappolicy/policy.go`): it says nothing of the fleet.
        (
            Caller::Operator(_)
            | Caller::Scraper(_)
            | Caller::Host { .. }
            | Caller::Roleless { .. },
            Action::Health | Action::Reflection | Action::Review,
        ) => return Ok(()),
        (Caller::Host { name, .. }, Action::Speak(host)) if name == host => return Ok(()),
        (Caller::Operator(name), Action::Session | Action::Speak(_)) => {
            format!("operator `{name}` may not speak as an agent")
        }
        (Caller::Host { name, .. }, Action::Speak(host)) => {
            format!("the agent of host {name} may not speak for host {host}")
        }
        (Caller::Host { name, .. }, Action::Objects) => {
            format!("the agent of host {name} may neither read nor write objects")
        }
        (Caller::Host { name, .. }, Action::Metrics) => {
            format!("the agent of host {name} may not read the metrics")
        }
        (
            Caller::Scraper(name),
            Action::Objects | Action::Visit | Action::Session | Action::Speak(_),
        ) => format!("`{name}` may read the metrics, and nothing else"),
        (
            Caller::Roleless { why, .. },
            Action::Objects | Action::Visit | Action::Session | Action::Speak(_) | Action::Metrics,
        ) => why.clone(),
        (Caller::Host { name, .. }, Action::Visit) => {
            format!("the agent of host {name} may not visit jails")
        }
        (Caller::Nobody(why), _) => why.clone(),
    };
    Err(RequestError::Forbidden(refusal))
}

/// A service that answers only those who may; who that is goes along with the request.
pub(crate) fn guarded<S>(
    service: S,
    action: Action<'static>,
    who: &Identifier,
) -> InterceptedService<S, impl FnMut(Request<()>) -> Result<Request<()>, Status> + Clone + use<S>>
{
    let who = who.clone();
    InterceptedService::new(service, move |mut request: Request<()>| {
        let certificates = request.peer_certs();
        let certificates = certificates
            .as_ref()
            .map_or(&[][..], |certs| certs.as_slice());
        let authorization = request.metadata().get(AUTHORIZATION);
        let authorization = authorization.map(|said| said.as_encoded_bytes());
        let caller = who.identify(certificates, authorization);
        let let_in = caller.and_then(|caller| authorise(&caller, action).map(|()| caller));
        match let_in {
            Ok(caller) => {
                Known::tell(request.extensions());
                request.extensions_mut().insert(caller);
                Ok(request)
            }
            Err(error) => {
                metrics::counter!("cellblock_forbidden_total").increment(1);
                tracing::warn!(address = address_of(&request), ?action, "{error}");
                Err(error.into())
            }
        }
    })
}

/// Who the guard found to be asking.
///
/// # Errors
/// No guard stands before the service, which is our mistake.
pub(crate) fn caller_of<T>(request: &Request<T>) -> Result<Caller, Status> {
    let caller = request.extensions().get::<Caller>().cloned();
    caller.ok_or_else(|| Status::internal("the guard let somebody in unnamed"))
}

/// Where the request comes from, for people.
pub(crate) fn address_of<T>(request: &Request<T>) -> String {
    request
        .remote_addr()
        .map_or_else(|| "in process".to_owned(), |address| address.to_string())
}

#[cfg(test)]
mod tests;
