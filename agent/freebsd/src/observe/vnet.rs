//! What stands inside VNET jails, asked from outside with `-j` and the jid: a jail's name may be somebody else's by now, its own binaries are never run.
//!
//! A command with `-j` attaches (`jail_attach`, sbin/ifconfig/ifconfig.c), so it is one of the jail's processes while it runs: jail(8) ends it with the others
//! when it stops the jail, and the jail's root may at any time. Such a command is asked again; a jail that answers none is left out of the look, for nobody's look may fail for one jail.
//! The same goes for one whose answer cannot be read or has no end: its root may add as many routes and interfaces as he likes.

use std::collections::{BTreeMap, BTreeSet};

use cellblock_agent_core::host::Wanted;
use cellblock_agent_core::observed::{Interface, ObservedJail, Route, Vnet, VnetPf};
use cellblock_schemas::net::Family;

use super::{ifconfig, netstat};
use crate::command::{Command, Output, Program, words};
use crate::error::Failure;
use crate::system::System;

/// How often a jail is asked whose processes are being ended, before it is left out of this look.
const TRIES: usize = 3;

/// How many interfaces of one jail are read one by one.
const READ_ALONE_MAX: usize = 32;

/// What came of asking a jail something.
enum Answer<T> {
    /// It answered.
    Heard(T),
    /// It is gone.
    Gone,
    /// What asked was ended each time, and the jail is there.
    Mute,
}

/// Looks into every living VNET jail of `jails`. One that went meanwhile is marked as dying, or taken off the list; of one that answers nothing, nothing is known.
pub(super) fn look(
    system: &dyn System,
    jails: &mut Vec<ObservedJail>,
    known: &BTreeSet<String>,
    wanted: &Wanted,
) -> Result<BTreeMap<u32, Vnet>, Failure> {
    let has_meta = known.contains("meta");
    let mut vnets = BTreeMap::new();
    let mut gone = Vec::new();
    for jail in jails.iter().filter(|jail| jail.vnet && !jail.dying) {
        match inside(system, jail.jid, wanted.drivers) {
            Ok(Answer::Heard(mut vnet)) => {
                let firewalled = wanted.firewalled.get(&jail.name);
                if firewalled.is_some_and(|ours| ours.is(jail, has_meta)) {
                    vnet.pf = Some(packet_filter(system, jail.jid));
                }
                vnets.insert(jail.jid, vnet);
            }
            Ok(Answer::Gone) => gone.push(jail.jid),
            Err(failure) => tracing::warn!(
                jail = jail.name,
                jid = jail.jid,
                "{failure}; the jail is left out of this look"
            ),
            Ok(Answer::Mute) => tracing::warn!(
                jail = jail.name,
                jid = jail.jid,
                "every command that looked into the jail was ended inside it, as while it stops; it is left out of this look"
            ),
        }
    }
    if !gone.is_empty() {
        let now = super::host::jails(system, known, &wanted.parameters)?;
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

fn inside(system: &dyn System, jid: u32, drivers: bool) -> Result<Answer<Vnet>, Failure> {
    let jail = jid.to_string();
    let mut arguments = words!["-j", jail.clone()];
    arguments.extend(super::all(drivers));
    let command = Command::new(Program::Ifconfig, arguments);
    let mut interfaces = match ask(system, &jail, &command)? {
        Answer::Heard(output) if output.is_success() => ifconfig::parse(&output.stdout),
        Answer::Heard(output) => return Err(Failure::refused(&command, &output)),
        Answer::Gone => return Ok(Answer::Gone),
        Answer::Mute => return Ok(Answer::Mute),
    };
    if drivers && !believed(system, &jail, &mut interfaces)? {
        return Ok(Answer::Mute);
    }
    Ok(match routes_inside(system, &jail)? {
        Answer::Heard(routes) => Answer::Heard(Vnet {
            interfaces,
            routes,
            pf: None,
        }),
        Answer::Gone => Answer::Gone,
        Answer::Mute => Answer::Mute,
    })
}

/// The pf of a jail's own stack. Its root may have seen to it that it cannot be read, which is told of this jail alone.
fn packet_filter(system: &dyn System, jid: u32) -> VnetPf {
    let found = super::host::packet_filter(system, Some(&jid.to_string()));
    found.unwrap_or_else(|failure| VnetPf {
        unread: Some(failure.to_string()),
        ..VnetPf::default()
    })
}

/// Makes of what `-a` printed what can be believed where a NIC is looked for: an interface that only a description speaks of is none. False: the jail answered nothing.
fn believed(
    system: &dyn System,
    jail: &str,
    interfaces: &mut Vec<Interface>,
) -> Result<bool, Failure> {
    let list = Command::new(Program::Ifconfig, words!["-j", jail, "-l"]);
    let Answer::Heard(output) = ask(system, jail, &list)? else {
        return Ok(false);
    };
    let names = ifconfig::parse_names(&output.stdout);
    if ifconfig::is_sound(interfaces, &names) {
        return Ok(true);
    }
    interfaces.clear();
    for name in names.into_iter().take(READ_ALONE_MAX) {
        interfaces.extend(super::nic(system, Some(jail), name)?);
    }
    Ok(true)
}

/// Runs a command that attaches to the jail, again if it was ended inside.
fn ask(system: &dyn System, jail: &str, command: &Command) -> Result<Answer<Output>, Failure> {
    for _ in 0..TRIES {
        let output = system.run(command)?;
        if output.is_success() {
            return Ok(Answer::Heard(output));
        }
        if is_gone(system, jail, &output)? {
            return Ok(Answer::Gone);
        }
        if !output.was_ended() {
            return Ok(Answer::Heard(output));
        }
    }
    Ok(Answer::Mute)
}

/// Whether a route inside a jail is of those that planning reads: a default one, or one to a single address on the link, as the gateway of an unnumbered link has it (recording `04`). Routes to the
/// jail's own addresses go by its loopback.
fn is_planned(route: &Route) -> bool {
    let is_on_link = route.gateway.starts_with("link#") && route.flags.contains('H');
    route.destination == "default" || (is_on_link && !route.interface.starts_with("lo"))
}

/// The routes of fib 0 inside a VNET jail that planning reads; none if it is gone.
pub(crate) fn routes(system: &dyn System, jail: &str) -> Result<Option<Vec<Route>>, Failure> {
    match routes_inside(system, jail)? {
        Answer::Heard(routes) => Ok(Some(routes)),
        Answer::Gone => Ok(None),
        Answer::Mute => Err(Failure::Changed(format!(
            "the processes of jail {jail} are being ended, and so was what looked into it"
        ))),
    }
}

fn routes_inside(system: &dyn System, jail: &str) -> Result<Answer<Vec<Route>>, Failure> {
    let command = Command::new(
        Program::Netstat,
        words!["-j", jail, "-rnW", "--libxo", "json"],
    );
    match ask(system, jail, &command)? {
        Answer::Heard(output) if output.is_success() => {
            let mut routes = netstat::parse(&output.stdout)?;
            // A jail of two interfaces has a dozen others, and a host a thousand such jails.
            routes.retain(is_planned);
            routes.shrink_to_fit();
            Ok(Answer::Heard(routes))
        }
        // A netstat without `-j`: route(8) has had it since 14.0, and the default routes are what is asked of it.
        Answer::Heard(output)
            if output.stderr.contains("illegal option")
                || output.stderr.contains("invalid option") =>
        {
            default_routes(system, jail)
        }
        Answer::Heard(output) => Err(Failure::refused(&command, &output)),
        Answer::Gone => Ok(Answer::Gone),
        Answer::Mute => Ok(Answer::Mute),
    }
}

fn default_routes(system: &dyn System, jail: &str) -> Result<Answer<Vec<Route>>, Failure> {
    let mut routes = Vec::new();
    for family in [Family::Ipv4, Family::Ipv6] {
        let mut arguments = words!["-j", jail, "-n", "get"];
        if family == Family::Ipv6 {
            arguments.push("-inet6".to_owned());
        }
        arguments.push("default".to_owned());
        let command = Command::new(Program::Route, arguments);
        match ask(system, jail, &command)? {
            Answer::Heard(output) if output.is_success() => {
                routes.extend(netstat::parse_get(&output.stdout, family));
            }
            // `route: route has not been found`, exit status 255 (recording `01`).
            Answer::Heard(output) if output.stderr.contains("not been found") => {}
            Answer::Heard(output) => return Err(Failure::refused(&command, &output)),
            Answer::Gone => return Ok(Answer::Gone),
            Answer::Mute => return Ok(Answer::Mute),
        }
    }
    Ok(Answer::Heard(routes))
}

/// Whether the command failed because the jail went. `jail not found` (recording `02`), `is dying` (sys/kern/kern_jail.c) or `cannot attach to jail` may have other reasons, so jls has the last word.
fn is_gone(system: &dyn System, jail: &str, output: &Output) -> Result<bool, Failure> {
    let complains = ["not found", "is dying", "attach"]
        .iter()
        .any(|words| output.stderr.contains(words));
    Ok((complains || output.was_ended()) && super::living_jail(system, jail)?.is_none())
}
