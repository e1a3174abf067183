//! epair(4): both ends, marked, named, with MAC addresses and MTU, still on the host.
//!
//! The host end is marked by the command that makes the pair and gets its name last: while it has the driver's name, the pair is unfinished, and whoever finds the mark may take the pair away.
//! Destroying one end destroys both (recording `02`).

use cellblock_agent_core::op::Epair;

use super::{Performer, carries, effect, interface_word};
use crate::command::{Command, Program, words};
use crate::error::Failure;

impl Performer<'_> {
    pub(super) fn create_epair(&self, epair: &Epair) -> Result<(), Failure> {
        let host_end = self.find_ours(interface_word(&epair.host_end)?, &epair.host_description)?;
        let jail_end = self.find_ours(interface_word(&epair.jail_end)?, &epair.jail_description)?;
        match (host_end, jail_end) {
            (None, None) => {
                let made = self.make_pair(epair)?;
                self.name_pair(epair, &made)
                    .inspect_err(|_| self.undo(&made, &epair.host_description))?;
            }
            (Some(_), Some(_)) => {}
            (Some(_), None) => {
                return Err(Failure::Changed(format!(
                    "{} is there without its other end {}, which a jail holds",
                    epair.host_end, epair.jail_end
                )));
            }
            (None, Some(_)) => {
                return Err(Failure::Changed(format!(
                    "{} is left over from a pair that was not finished or whose jail has died; it goes first",
                    epair.jail_end
                )));
            }
        }
        // The MAC address of the jail's end is set before it moves, in a command of its own; MTUs before the host end joins a bridge, where they can't be set any more (recording `02`).
        self.set_mac(&epair.jail_end, epair.jail_mac)?;
        self.set_mac(&epair.host_end, epair.host_mac)?;
        self.set_mtu(&epair.jail_end, epair.mtu)?;
        self.set_mtu(&epair.host_end, epair.mtu)?;
        self.set_up(&epair.host_end, true)?;
        let ours = carries(&self.expect(&epair.host_end)?, &epair.host_description)
            && carries(&self.expect(&epair.jail_end)?, &epair.jail_description);
        effect(ours, || {
            format!(
                "{} and {} do not both carry their marks",
                epair.host_end, epair.jail_end
            )
        })
    }

    /// Makes the pair and marks its host end; the name that it has now.
    fn make_pair(&self, epair: &Epair) -> Result<String, Failure> {
        let arguments = words!["epair", "create", "descr", epair.host_description.as_str()];
        let command = Command::new(Program::Ifconfig, arguments);
        let output = self.run(&command)?;
        let made = output.stdout.trim();
        if !output.is_success() {
            if !made.is_empty() {
                self.undo(made, &epair.host_description);
            }
            return Err(Failure::refused(&command, &output));
        }
        if made.ends_with('a') && interface_word(made).is_ok() {
            Ok(made.to_owned())
        } else {
            Err(Failure::Unreadable {
                program: "ifconfig",
                what: format!("`{made}` is no host end of an epair"),
            })
        }
    }

    /// Marks and names the jail's end, then names the host end.
    fn name_pair(&self, epair: &Epair, made: &str) -> Result<(), Failure> {
        let other = format!("{}b", made.trim_end_matches('a'));
        let description = epair.jail_description.as_str();
        self.ifconfig(words![
            other,
            "descr",
            description,
            "name",
            epair.jail_end.as_str()
        ])?;
        self.deafen(made)?;
        self.ifconfig(words![made, "name", epair.host_end.as_str()])?;
        Ok(())
    }

    /// With `net.inet6.ip6.accept_rtadv` a new interface listens to router advertisements and has IPv6 on (`nd6_ifattach`, sys/netinet6/nd6.c): what a jail sends to its host's end would give the
    /// host an address, or its default route.
    fn deafen(&self, name: &str) -> Result<(), Failure> {
        if self.expect(name)?.nd6.contains("ACCEPT_RTADV") {
            self.ifconfig(words![name, "inet6", "-accept_rtadv", "ifdisabled"])?;
        }
        Ok(())
    }
}
