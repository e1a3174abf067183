//! What stands inside VNET jails, asked from outside with `-j` and the jid: a jail's name may be somebody else's by now, its own binaries are never run.

use std::collections::BTreeMap;

use cellblock_agent_core::observed::{ObservedJail, Route, Vnet};
use cellblock_schemas::net::Family;

use super::{ifconfig, netstat};
use crate::command::{Command, Output, Program, words};
use crate::error::Failure;
use crate::system::System;

/// Looks into every living VNET jail of `jails`. One that went meanwhile is marked as dying, or taken off the list.
pub(super) fn look(
    system: &dyn System,
    jails: &mut Vec<ObservedJail>,
) -> Result<BTreeMap<u32, Vnet>, Failure> {
    let mut vnets = BTreeMap::new();
    let mut gone = Vec::new();
    for jail in jails.iter().filter(|jail| jail.vnet && !jail.dying) {
        match inside(system, jail.jid)? {
            Some(vnet) => {
                vnets.insert(jail.jid, vnet);
            }
            None => gone.push(jail.jid),
        }
    }
    if !gone.is_empty() {
        let now = super::host::jails(system)?;
        jails.retain_mut(|jail| {
            if !gone.contains(&jail.jid) {
                return true;
            }
            jail.dying = true;
            now.iter()
                .any(|left| left.jid == jail.jid && left.name == jail.name)
        });
    }
    Ok(vnets)
}

fn inside(system: &dyn System, jid: u32) -> Result<Option<Vnet>, Failure> {
    let jail = jid.to_string();
    let command = Command::new(Program::Ifconfig, words!["-j", jail.clone(), "-a"]);
    let output = system.run(&command)?;
    if !output.is_success() {
        return if is_gone(system, &jail, &output)? {
            Ok(None)
        } else {
            Err(Failure::refused(&command, &output))
        };
    }
    let interfaces = ifconfig::parse(&output.stdout);
    Ok(routes(system, &jail)?.map(|routes| Vnet { interfaces, routes }))
}

/// The routes of fib 0 inside a VNET jail; none if it is gone.
pub(crate) fn routes(system: &dyn System, jail: &str) -> Result<Option<Vec<Route>>, Failure> {
    let command = Command::new(
        Program::Netstat,
        words!["-j", jail, "-rnW", "--libxo", "json"],
    );
    let output = system.run(&command)?;
    if output.is_success() {
        return netstat::parse(&output.stdout).map(Some);
    }
    // A netstat without `-j`: route(8) has had it since 14.0, and the default routes are what is asked of it.
    if output.stderr.contains("illegal option") || output.stderr.contains("invalid option") {
        return default_routes(system, jail);
    }
    if is_gone(system, jail, &output)? {
        return Ok(None);
    }
    Err(Failure::refused(&command, &output))
}

fn default_routes(system: &dyn System, jail: &str) -> Result<Option<Vec<Route>>, Failure> {
    let mut routes = Vec::new();
    for family in [Family::Ipv4, Family::Ipv6] {
        let mut arguments = words!["-j", jail, "-n", "get"];
        if family == Family::Ipv6 {
            arguments.push("-inet6".to_owned());
        }
        arguments.push("default".to_owned());
        let command = Command::new(Program::Route, arguments);
        let output = system.run(&command)?;
        // `route: route has not been found`, exit status 255 (recording `01`).
        if output.is_success() {
            routes.extend(netstat::parse_get(&output.stdout, family));
        } else if is_gone(system, jail, &output)? {
            return Ok(None);
        } else if !output.stderr.contains("not been found") {
            return Err(Failure::refused(&command, &output));
        }
    }
    Ok(Some(routes))
}

/// Whether the command failed because the jail went. `jail not found` (recording `02`) or `cannot attach to jail` may have other reasons, so jls has the last word.
fn is_gone(system: &dyn System, jail: &str, output: &Output) -> Result<bool, Failure> {
    let complains = ["jail not found", "not found", "attach"]
        .iter()
        .any(|words| output.stderr.contains(words));
    Ok(complains && super::living_jail(system, jail)?.is_none())
}
