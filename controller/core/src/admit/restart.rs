//! Who is told what a change does to running jails, before anything happens: the words around the one table, `cellblock_schemas::change`.

use std::net::IpAddr;

use cellblock_schemas::change::parameters::{self, Effect, Kernel};
use cellblock_schemas::change::{Means, Started, fib_restarts, network_restarts};
use cellblock_schemas::jail::{BoundAttachment, Jail, JailSpec, RestartPolicy, RunPolicy};
use cellblock_schemas::path::FieldPath;
use cellblock_schemas::validate::parameters::{as_bool, number};
use cellblock_schemas::{JailSet, Object, Warning};

use crate::index::Index;
use crate::sets;

/// How many jails a warning names; of more it says how many there are.
const NAMES_MAX: usize = 8;

/// The warnings of writing `after` over `before`.
pub(super) fn warnings(index: &Index, before: &Object, after: &Object) -> Vec<Warning> {
    match (before, after) {
        (Object::Jail(before), Object::Jail(after)) => of_jail(before, after),
        (Object::Network(before), Object::Network(after)) => {
            let name = &before.metadata.name;
            let gateway = |jail: &Jail| {
                jail.binding().is_some_and(|binding| {
                    network_restarts(name, &before.spec, &after.spec, binding)
                })
            };
            let fib = |jail: &Jail| fib_restarts(&before.spec, &after.spec, &jail.spec);
            let of_gateway = of_network(
                index,
                name,
                "spec.subnets",
                "the gateway is the default gateway of a jail with a network stack of its own",
                gateway,
            );
            let of_fib = of_network(
                index,
                name,
                "spec.fib",
                "it is the routing table of a jail's processes",
                fib,
            );
            of_gateway.into_iter().chain(of_fib).collect()
        }
        (Object::JailSet(before), Object::JailSet(after)) => remade(index, before, after),
        (
            Object::Host(_)
            | Object::Network(_)
            | Object::Image(_)
            | Object::Jail(_)
            | Object::JailSet(_),
            _,
        ) => Vec::new(),
    }
}

/// The warning about those jails of a set that cannot become what its template says.
fn remade(index: &Index, before: &JailSet, after: &JailSet) -> Vec<Warning> {
    if before.spec.template == after.spec.template {
        return Vec::new();
    }
    let jails = sets::remade(index, after);
    if jails.is_empty() {
        return Vec::new();
    }
    vec![Warning {
        field: "spec.template".to_owned(),
        message: format!(
            "this deletes {} with their roots and makes them again: what it changes cannot change in a jail; such an update is not undone by itself",
            named(&jails)
        ),
    }]
}

/// The warning about those jails of a network that a change of `field` restarts.
fn of_network(
    index: &Index,
    name: &str,
    field: &str,
    what: &str,
    restarts: impl Fn(&Jail) -> bool,
) -> Option<Warning> {
    let jails = index.jails_of_network(name).filter(|jail| runs(jail));
    let jails = jails.filter(|jail| restarts(jail));
    let jails: Vec<&str> = jails.map(|jail| jail.metadata.name.as_str()).collect();
    (!jails.is_empty()).then(|| Warning {
        field: field.to_owned(),
        message: format!(
            "this restarts {}: {what}, which is set when it starts",
            named(&jails)
        ),
    })
}

fn of_jail(before: &Jail, after: &Jail) -> Vec<Warning> {
    let Some(binding) = before.binding().filter(|_| runs(before) && runs(after)) else {
        return Vec::new();
    };
    let fields = Started::of(&before.spec).differences(&Started::of(&after.spec));
    let host = &binding.host;
    let restarts = fields.iter().any(|(_, means)| *means == Means::Restart);
    let level = |jail: &Jail| number(&jail.spec, "securelevel");
    let lowers = level(after) < level(before);
    let policy = waiting_policy(after.spec.restart_policy)
        .filter(|_| before.spec.restart == after.spec.restart);
    fields
        .iter()
        .map(|(field, means)| Warning {
            field: field.as_str().to_owned(),
            message: match means {
                Means::Live if restarts => {
                    "this comes with the restart that another field needs".to_owned()
                }
                Means::Live if field.as_str() == "spec.parameters[securelevel]" && lowers => format!(
                    "this is live: it is lowered in the running jail on {host}, and what the higher level has kept is kept no longer"
                ),
                Means::Live if takes_away(&before.spec, &after.spec, field) => format!(
                    "this is live: it is taken away in the running jail on {host}; what the jail holds by it already (open sockets, mounts, child jails) stays until it is restarted"
                ),
                Means::Live => {
                    format!("this is live: it is changed in the running jail on {host}")
                }
                Means::Restart => match policy {
                    Some(policy) => format!(
                        "this needs a restart on {host}, and spec.restartPolicy is {policy}: it waits for `jailctl restart jail {}`",
                        after.metadata.name
                    ),
                    None => format!(
                        "this restarts the jail: it is stopped and started again on {host}"
                    ),
                },
            },
        })
        .collect()
}

/// The warnings of what a jail is bound to otherwise than before although its manifest says the same of it, such as an address of a subnet that its
/// network has now: they are set when it starts.
pub(super) fn rebound(before: &Jail, after: &Jail) -> Vec<Warning> {
    let (Some(was), Some(is)) = (before.binding(), after.binding()) else {
        return Vec::new();
    };
    if !runs(before) || !runs(after) || was.attachments.len() != is.attachments.len() {
        return Vec::new();
    }
    let told = Started::of(&before.spec).differences(&Started::of(&after.spec));
    let pairs = was.attachments.iter().zip(&is.attachments).enumerate();
    pairs
        .filter_map(|(place, (was, is))| {
            let field = FieldPath::new("spec").field("networks").index(place);
            let is_told = told.iter().any(|(of, _)| *of == field);
            let bare = |bound: &BoundAttachment| -> Vec<IpAddr> {
                bound.addresses.iter().map(|bound| bound.address).collect()
            };
            if is_told || (bare(was), was.mac, &was.nic) == (bare(is), is.mac, &is.nic) {
                return None;
            }
            let verb = if waiting_policy(after.spec.restart_policy).is_some() {
                "needs a restart"
            } else {
                "restarts the jail"
            };
            let list = bare(is).iter().map(ToString::to_string).collect::<Vec<_>>();
            Some(Warning {
                field: field.as_str().to_owned(),
                message: format!(
                    "this {verb}: by what network {} says now it has {} there; name the addresses that it shall keep to leave it as it is",
                    is.network,
                    list.join(", "),
                ),
            })
        })
        .collect()
}

/// The policy with which a change waits for a restart, in its own word.
fn waiting_policy(policy: RestartPolicy) -> Option<&'static str> {
    match policy {
        RestartPolicy::Always => None,
        RestartPolicy::OnFailure => Some("OnFailure"),
        RestartPolicy::Never => Some("Never"),
    }
}

/// Whether a change of that field takes a permission away, or room for child jails.
fn takes_away(before: &JailSpec, after: &JailSpec, field: &FieldPath) -> bool {
    let name = field.as_str().strip_prefix("spec.parameters[");
    let Some(name) = name.and_then(|rest| rest.strip_suffix(']')) else {
        return false;
    };
    if name == "children.max" {
        let room = |spec| number(spec, name).unwrap_or(0);
        return room(after) < room(before);
    }
    let Effect::Kernel(Kernel {
        default: Some(default),
        ..
    }) = parameters::effect(name)
    else {
        return false;
    };
    let may = |spec: &JailSpec| {
        let stated = spec.parameters.get(name).and_then(as_bool);
        stated.unwrap_or(default == "true")
    };
    name.starts_with("allow.") && may(before) && !may(after)
}

/// Whether a jail has a host and shall run there.
fn runs(jail: &Jail) -> bool {
    jail.binding().is_some()
        && jail.metadata.deletion_timestamp.is_none()
        && jail.spec.run_policy == RunPolicy::Running
}

pub(super) fn named(jails: &[&str]) -> String {
    match jails {
        [only] => format!("jail {only}"),
        few if few.len() <= NAMES_MAX => format!("jails {}", few.join(", ")),
        many => format!(
            "{} jails: {} and {} more",
            many.len(),
            many[..NAMES_MAX].join(", "),
            many.len() - NAMES_MAX
        ),
    }
}

#[cfg(test)]
mod tests;
