//! Networks of one routing table: it has one default route for each family.

use cellblock_schemas::network::{Network, NetworkSpec};
use cellblock_schemas::{Host, Jail};

use super::Problem;
use crate::fibs;
use crate::index::Index;

#[cfg(test)]
mod tests;

const REASON: &str = "RouteTaken";

const HELP: &str = "give the two networks the same gateway, or one of them another fib";

/// Why two networks cannot have jails on one host.
fn rivalry(one: &Network, other: &Network) -> Option<String> {
    let fib = fibs::of(one).filter(|fib| fibs::of(other) == Some(*fib))?;
    let gateways = |spec: &NetworkSpec| {
        let subnets = spec.subnets.iter();
        let gateways = subnets.filter_map(|subnet| {
            let gateway = subnet.gateway.as_ref()?;
            Some((subnet.cidr.family(), gateway.address))
        });
        gateways.collect::<Vec<_>>()
    };
    let others = gateways(&other.spec);
    gateways(&one.spec)
        .into_iter()
        .find_map(|(family, gateway)| {
            let (_, taken) = others
                .iter()
                .find(|(of, taken)| *of == family && *taken != gateway)?;
            Some(format!(
                "table {fib} cannot lead by {gateway}: network {} has it lead by {taken}",
                other.metadata.name
            ))
        })
}

/// The network on a host that another one has another default route than, in words.
fn rival_on(index: &Index, host: &str, network: &Network) -> Option<String> {
    let mut others = index.networks().filter(|other| {
        let name = &other.metadata.name;
        *name != network.metadata.name && index.has_network(host, name)
    });
    others.find_map(|other| rivalry(network, other))
}

/// Networks that a jail would bring to a host where another one has their table lead elsewhere.
pub(super) fn of_jail(index: &Index, jail: &Jail, host: &Host, problems: &mut Vec<Problem>) {
    let host = &host.metadata.name;
    for (place, attachment) in jail.spec.networks.iter().enumerate() {
        let network = index.network(&attachment.network);
        let Some(network) = network.filter(|found| !index.has_network(host, &found.metadata.name))
        else {
            continue;
        };
        if let Some(message) = rival_on(index, host, network) {
            let field = format!("spec.networks[{place}].network");
            let message = format!("network {}: {message}", network.metadata.name);
            problems.push(Problem::new(REASON, field, message, HELP));
        }
    }
}

/// The same for a network that has jails already.
pub(super) fn of_network(index: &Index, network: &Network, problems: &mut Vec<Problem>) {
    let mut hosts = index.hosts_of_network(&network.metadata.name);
    let found = hosts.find_map(|host| Some((host, rival_on(index, host, network)?)));
    if let Some((host, message)) = found {
        let message = format!("{message}, and both have jails on host {host}");
        problems.push(Problem::new(REASON, "spec.subnets", message, HELP));
    }
}
