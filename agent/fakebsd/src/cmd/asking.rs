//! rtsol(8) and dhclient(8): they ask the wire, and configure the interface by what it answers.

use std::net::IpAddr;
use std::time::Duration;

use super::{Context, network, route, run_in};
use crate::emulator::Emulator;
use crate::kernel::ifnet::{IfId, nd};
use crate::kernel::process::{self, Process};
use crate::output::Output;

/// Three solicitations, 4 seconds apart (`MAX_RTR_SOLICITATIONS`, `RTR_SOLICITATION_INTERVAL`, usr.sbin/rtsold/rtsold.c).
const UNANSWERED: Duration = Duration::from_secs(12);

/// How long dhclient waits before it goes on in the background (`timeout` of dhclient.conf(5)).
const NO_LEASE: Duration = Duration::from_secs(60);

fn interface(host: &Emulator, context: &Context, name: &str) -> Option<IfId> {
    host.kernel.ifunit(context.stack, name)
}

/// `rtsol interface`: exits with 0 whether somebody answers or not.
pub(super) fn rtsol(host: &mut Emulator, context: &Context, arguments: &[String]) -> Output {
    let [name] = arguments else {
        return Output::failure(
            1,
            "usage: rtsol [-dDFiu] [-A script_name] [-M script_name] [-O script_name] [-R script_name] interface ...",
        );
    };
    let Some(id) = interface(host, context, name) else {
        return Output::failure(
            1,
            format!(
                "rtsol: failed to get link layer information for {name}\nrtsol: failed to initialize {name}"
            ),
        );
    };
    let ifnet = host.kernel.ifnet(id);
    if ifnet.nd & nd::IFDISABLED != 0 {
        return told(format!("rtsol: {name} is disabled."));
    }
    if ifnet.nd & nd::ACCEPT_RTADV == 0 {
        return told(format!(
            "rtsol: {name} does not accept Router Advertisement."
        ));
    }
    if !host.solicit(id) {
        network::pass(host, UNANSWERED);
    }
    Output::success()
}

fn told(line: String) -> Output {
    Output {
        stderr: line + "\n",
        ..Output::success()
    }
}

/// `dhclient [-b] interface`: goes on as a daemon, with a lease or without.
pub(super) fn dhclient(host: &mut Emulator, context: &Context, arguments: &[String]) -> Output {
    let is_patient = !arguments.iter().any(|word| word == "-b");
    let Some(name) = arguments.last().filter(|word| !word.starts_with('-')) else {
        return Output::failure(
            1,
            "usage: dhclient [-bdqu] [-c conffile] [-l leasefile] interface",
        );
    };
    let command = process::dhclient(name);
    let is_own = |process: &Process| process.jid == context.jid && process.command == command;
    if host.kernel.processes.values().any(is_own) {
        return Output::failure(1, "dhclient: dhclient already running");
    }
    let Some(id) = interface(host, context, name) else {
        return Output::failure(1, format!("{name}: not found\nexiting."));
    };
    if let Some((address, prefix, router)) = host.lease(id) {
        let words = |text: String| -> Vec<String> { text.split(' ').map(str::to_owned).collect() };
        let add = words(format!("/sbin/ifconfig {name} inet {address}/{prefix}"));
        run_in(host, context, &add, "");
        let arguments = words(format!("add default {router}"));
        route::run(host, context, &arguments);
    } else if is_patient {
        network::pass(host, NO_LEASE);
    }
    host.kernel.spawn(context.jid, &command, true, None);
    Output::success()
}

impl Emulator {
    /// What a DHCP server that hears the stack of an interface gives it: address, prefix length and gateway.
    fn lease(&mut self, id: IfId) -> Option<(IpAddr, u8, IpAddr)> {
        let ifnet = self.kernel.ifnet(id);
        let mac = ifnet.mac.filter(|_| ifnet.up)?;
        let wires = self.wires_of(id);
        let heard = wires
            .iter()
            .find(|wire| self.outside.dhcp.contains_key(*wire));
        let Some(heard) = heard else {
            return self.lease_near(id);
        };
        let server = self.outside.dhcp.get_mut(heard)?;
        let address = server.lease(mac);
        Some((address.into(), server.prefix, server.router.into()))
    }
}
