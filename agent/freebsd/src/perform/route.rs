//! Routes to single addresses, of the host to its jails over routed links, and inside a jail to a gateway that no prefix covers; and routes in the host's other routing tables.
//!
//! `-iface`, as in recording `04`, for both families: the route says that the address is on the link. Each is read back by `route get`.

use std::net::IpAddr;

use cellblock_agent_core::observed::Route;
use cellblock_agent_core::op::{TableRoute, Via};
use ipnet::IpNet;

use super::{Performer, effect, interface_word, jail_word};
use crate::command::{Command, Program, words};
use crate::error::Failure;
use crate::observe;

/// A route to exactly one address, as `route get` shows it.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    /// Without a gateway: the address is on the link.
    on_link: bool,
    interface: String,
}

impl Performer<'_> {
    pub(super) fn add_route(
        &self,
        jail: Option<&str>,
        destination: IpAddr,
        interface: &str,
    ) -> Result<(), Failure> {
        let interface = interface_word(interface)?;
        let wanted = Found {
            on_link: true,
            interface: interface.to_owned(),
        };
        match self.route_to(jail, destination)? {
            Some(found) if found == wanted => return Ok(()),
            Some(found) => {
                return Err(Failure::Changed(format!(
                    "a route to {destination} over {} is there by now",
                    found.interface
                )));
            }
            None => {}
        }
        let mut arguments = route_words(jail, "add", destination)?;
        arguments.extend(words!["-iface", interface]);
        self.change(&Command::new(Program::Route, arguments))?;
        let now = self.route_to(jail, destination)?;
        effect(now == Some(wanted), || {
            format!("no route leads to {destination} over {interface}")
        })
    }

    /// Absent is fine, and so is another one, which is not the one that was meant.
    pub(super) fn remove_route(&self, destination: IpAddr, interface: &str) -> Result<(), Failure> {
        let interface = interface_word(interface)?;
        let there = |found: Option<Found>| found.is_some_and(|found| found.interface == interface);
        if !there(self.route_to(None, destination)?) {
            return Ok(());
        }
        let arguments = route_words(None, "delete", destination)?;
        self.change(&Command::new(Program::Route, arguments))?;
        effect(!there(self.route_to(None, destination)?), || {
            format!("a route still leads to {destination} over {interface}")
        })
    }

    /// After its interface has the address: without one of the family the route would have the link's as its source.
    pub(super) fn add_table_route(&self, wanted: &TableRoute) -> Result<(), Failure> {
        let present = self.table_routes(wanted)?;
        if present.iter().any(|found| wanted.is(found)) {
            return Ok(());
        }
        if let Some(found) = present.first() {
            return Err(Failure::Changed(format!(
                "routing table {} has a route to {} by {} ({}) by now",
                wanted.fib, wanted.destination, found.gateway, found.interface
            )));
        }
        let mut arguments = table_words("add", wanted);
        match &wanted.via {
            Via::Interface(interface) => {
                arguments.extend(words!["-iface", interface_word(interface)?]);
            }
            Via::Gateway(gateway) => arguments.push(gateway.to_string()),
        }
        self.change(&Command::new(Program::Route, arguments))?;
        let mut now = self.table_routes(wanted)?.into_iter();
        effect(now.any(|now| wanted.is(&now)), || {
            format!(
                "routing table {} has no route to {} {}",
                wanted.fib, wanted.destination, wanted.via
            )
        })
    }

    /// Absent is fine, and so is another one, which is not the one that was meant. One beside it by another gateway stays: without a gateway route(8) deletes every path (`path_match_func`,
    /// sys/netlink/route/rt.c).
    pub(super) fn remove_table_route(&self, leaving: &TableRoute) -> Result<(), Failure> {
        let stands = || -> Result<bool, Failure> {
            let mut found = self.table_routes(leaving)?.into_iter();
            Ok(found.any(|found| leaving.is(&found)))
        };
        if !stands()? {
            return Ok(());
        }
        let mut arguments = table_words("delete", leaving);
        if let Via::Gateway(gateway) = &leaving.via {
            arguments.push(gateway.to_string());
        }
        self.change(&Command::new(Program::Route, arguments))?;
        effect(!stands()?, || {
            format!(
                "routing table {} still has the route to {} {}",
                leaving.fib, leaving.destination, leaving.via
            )
        })
    }

    /// The routes to exactly that destination, several by several gateways. netstat(1) tells them from one to a larger net, which `route get` would answer with.
    fn table_routes(&self, route: &TableRoute) -> Result<Vec<Route>, Failure> {
        let mut routes = observe::table(self.system, route.fib)?;
        routes.retain(|found| found.prefix() == Some(route.destination));
        Ok(routes)
    }

    fn route_to(&self, jail: Option<&str>, destination: IpAddr) -> Result<Option<Found>, Failure> {
        let command = Command::new(Program::Route, route_words(jail, "get", destination)?);
        let output = self.system.run(&command)?;
        if output.is_success() {
            Ok(parse(&output.stdout, destination))
        } else if output.stderr.contains("not been found") {
            // `route: route has not been found`, exit status 255 (recording `01`).
            Ok(None)
        } else {
            Err(Failure::refused(&command, &output))
        }
    }
}

/// `-n VERB -fib FIB [-inet6] default | -host ADDRESS | -net PREFIX`, as seen on 15.1.
fn table_words(verb: &str, route: &TableRoute) -> Vec<String> {
    let mut arguments = words!["-n", verb, "-fib", route.fib.to_string()];
    let to = route.destination;
    if matches!(to, IpNet::V6(_)) {
        arguments.push("-inet6".to_owned());
    }
    if to.prefix_len() == 0 {
        arguments.push("default".to_owned());
    } else if to.prefix_len() == to.max_prefix_len() {
        arguments.extend(words!["-host", to.addr().to_string()]);
    } else {
        arguments.extend(words!["-net", to.to_string()]);
    }
    arguments
}

/// `[-j JAIL] -n VERB [-inet6] -host ADDRESS`
fn route_words(
    jail: Option<&str>,
    verb: &str,
    destination: IpAddr,
) -> Result<Vec<String>, Failure> {
    let mut arguments = match jail {
        Some(jail) => words!["-j", jail_word(jail)?],
        None => Vec::new(),
    };
    arguments.extend(words!["-n", verb]);
    if destination.is_ipv6() {
        arguments.push("-inet6".to_owned());
    }
    arguments.extend(words!["-host", destination.to_string()]);
    Ok(arguments)
}

/// The route, if it leads to that address alone: `route get` answers with whatever route the packet would take, and one to a net has a mask.
fn parse(text: &str, destination: IpAddr) -> Option<Found> {
    let line = |key: &str| {
        text.lines()
            .find_map(|line| line.trim().strip_prefix(key)?.strip_prefix(": "))
    };
    let address = |text: &str| text.split('%').next()?.parse::<IpAddr>().ok();
    if line("mask").is_some() || address(line("destination")?) != Some(destination) {
        return None;
    }
    Some(Found {
        on_link: line("gateway").and_then(address).is_none(),
        interface: line("interface")?.to_owned(),
    })
}
