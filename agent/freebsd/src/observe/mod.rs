//! Looking at a host: which commands are run, and what their text says. Nothing here changes anything.
//!
//! A look costs a constant number of commands, two per anchor of ours and, where it has tables, two more and one per table, two per living VNET jail, and one for the rules of each jail that pf did not take, of 64 at most. What cannot be read is an error, never an absence; three absences are states:
//! pf that is not loaded, an oid that the kernel does not have, and a jail that went while it was looked at.

pub mod ifconfig;
pub mod jls;
pub mod mount;
mod neighbours;
pub mod netgraph;
pub mod netstat;
pub mod pf;
pub mod sysctl;

mod devfs;
mod getent;
mod host;
mod json;
pub(crate) mod pf_conf;
mod storage;
mod vnet;
mod work;
pub(crate) mod zfs;

#[cfg(test)]
pub(crate) mod recording;

pub(crate) use host::{
    CONF, JID, STDERR, anchors, holds_nothing, look, packet_filter, rules, show as show_anchor,
};
pub(crate) use vnet::routes as vnet_routes;
pub(crate) use work::{Orphan, kill_command, kill_line, orphans};

use cellblock_agent_core::observed::{Interface, ObservedJail, Route};

use crate::command::{Command, Program, words};
use crate::error::Failure;
use crate::system::{System, succeed};

/// The options that list every interface, with their drivers (since 14.0, sbin/ifconfig/ifconfig.c) or without.
pub(crate) fn all(drivers: bool) -> Vec<String> {
    if drivers {
        words!["-D", "-a"]
    } else {
        words!["-a"]
    }
}

/// The first interface of that name on the host, or in the VNET jail `jail`; none if there is none.
pub(crate) fn interface(
    system: &dyn System,
    jail: Option<&str>,
    name: &str,
) -> Result<Option<Interface>, Failure> {
    interface_with(system, jail, &[], name)
}

/// The same, its driver with it.
pub(crate) fn nic(
    system: &dyn System,
    jail: Option<&str>,
    name: &str,
) -> Result<Option<Interface>, Failure> {
    interface_with(system, jail, &["-D"], name)
}

fn interface_with(
    system: &dyn System,
    jail: Option<&str>,
    options: &[&str],
    name: &str,
) -> Result<Option<Interface>, Failure> {
    let mut arguments = Vec::new();
    if let Some(jail) = jail {
        arguments.extend(words!["-j", jail]);
    }
    arguments.extend(options.iter().map(|option| (*option).to_owned()));
    arguments.extend(named(name));
    let command = Command::new(Program::Ifconfig, arguments);
    let output = system.run(&command)?;
    // `interface nosuch0 does not exist` (recording `01`), on 14 too.
    if !output.is_success()
        && output
            .stderr
            .contains(&format!("interface {name} does not exist"))
    {
        return Ok(None);
    }
    if !output.is_success() {
        return Err(Failure::refused(&command, &output));
    }
    let found = ifconfig::parse_one(&output.stdout).filter(|interface| interface.name == name);
    match found {
        Some(interface) => Ok(Some(interface)),
        None => Err(Failure::Unreadable {
            program: "ifconfig",
            what: format!("no interface {name} in what it printed of it"),
        }),
    }
}

/// A routing table of the host.
pub(crate) fn table(system: &dyn System, fib: u16) -> Result<Vec<Route>, Failure> {
    let arguments = words!["-rnW", "-F", fib.to_string(), "--libxo", "json"];
    let output = succeed(system, &Command::new(Program::Netstat, arguments))?;
    netstat::parse(&output.stdout)
}

/// A name that a jail's root may have chosen, as words of ifconfig(8): it may look like an option.
pub(crate) fn named(name: &str) -> Vec<String> {
    if name.starts_with('-') {
        words!["--", name]
    } else {
        words![name]
    }
}

/// The living jail with that name or jid; none if there is none.
pub(crate) fn living_jail(
    system: &dyn System,
    jail: &str,
) -> Result<Option<ObservedJail>, Failure> {
    let command = Command::new(Program::Jls, words!["-j", jail, "--libxo=json", "-n"]);
    let output = system.run(&command)?;
    if output.is_success() {
        let jails = jls::parse(&output.stdout)?;
        return Ok(jails.into_iter().find(|jail| !jail.dying));
    }
    // `jail "nosuch" not found` (recording `02`); of a jid it says `jail 7 not found`, of one that still holds sockets
    // `jail "www" is dying` (sys/kern/kern_jail.c).
    let gone = ["not found", "is dying"];
    if gone.iter().any(|words| output.stderr.contains(words)) {
        return Ok(None);
    }
    Err(Failure::refused(&command, &output))
}

/// The values of `oids`, without those that the kernel does not have.
pub(crate) fn sysctls<'a>(
    system: &dyn System,
    oids: impl IntoIterator<Item = &'a str> + Clone,
) -> Result<std::collections::BTreeMap<String, String>, Failure> {
    let mut arguments = words!["-i"];
    arguments.extend(oids.clone().into_iter().map(str::to_owned));
    let output = succeed(system, &Command::new(Program::Sysctl, arguments))?;
    Ok(sysctl::parse(&output.stdout, oids))
}

/// Whether a module is in the kernel, under that name or in a file of that name.
pub(crate) fn has_module(system: &dyn System, module: &str) -> Result<bool, Failure> {
    let command = Command::new(Program::Kldstat, words!["-q", "-m", module]);
    let output = system.run(&command)?;
    match output.status {
        0 => Ok(true),
        // With `-q` it says nothing and exits 1 (recording `01`).
        1 if output.stderr.trim().is_empty() => Ok(false),
        _ => Err(Failure::refused(&command, &output)),
    }
}
