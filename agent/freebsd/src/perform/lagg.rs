//! lagg(4): protocol, hash and ports.

use cellblock_agent_core::observed::Lagg;

use super::{Performer, effect, interface_word};
use crate::command::words;
use crate::error::Failure;

impl Performer<'_> {
    /// A lagg without ports, up. Its ports are its own, and named by an operation that looks first.
    pub(super) fn create_lagg(&self, name: &str, description: &str) -> Result<(), Failure> {
        self.clone_marked("lagg", name, description)?;
        self.set_up(name, true)
    }

    /// One thing after the other, each only where it is not so, and so that the lagg is never without a port once it has one.
    ///
    /// The port that `failover` prefers is the first that an empty lagg was given, and after it is gone the first of those that are left, in the order of the kernel's interface numbers
    /// (`lagg_port_create`, `lagg_port_destroy`, sys/net/if_lagg.c): so another becomes it by being left alone for a moment.
    pub(super) fn set_lagg(
        &self,
        name: &str,
        protocol: &str,
        hash: Option<&str>,
        ports: &[String],
        remove: &[String],
    ) -> Result<(), Failure> {
        let now = self.lagg(name)?;
        if now.protocol != protocol {
            self.ifconfig(words![name, "laggproto", protocol])?;
        }
        if let Some(hash) = hash.filter(|hash| now.hash != *hash) {
            self.ifconfig(words![name, "lagghash", hash])?;
        }
        let mut refused = Ok(());
        if let Some(first) = ports.first().filter(|_| protocol == "failover") {
            refused = self.add_port(name, first);
            let now = self.lagg(name)?;
            let all_ours = |port: &String| ports.contains(port) || remove.contains(port);
            if refused.is_ok() && now.master() != Some(first) && now.ports.keys().all(all_ours) {
                for port in now.ports.keys().filter(|port| *port != first) {
                    self.remove_port(name, port)?;
                }
            }
        }
        // One that the kernel refuses keeps no other from joining, but for the first one: the lagg has the MAC address of that for good (`lagg_port_create`, sys/net/if_lagg.c).
        for port in ports {
            if refused.is_err() && self.lagg(name)?.ports.is_empty() {
                break;
            }
            refused = refused.and(self.add_port(name, port));
        }
        refused?;
        for port in remove {
            self.remove_port(name, port)?;
        }
        let now = self.lagg(name)?;
        let is_so = now.protocol == protocol
            && hash.is_none_or(|hash| now.hash == hash)
            && ports.iter().all(|port| now.ports.contains_key(port))
            && !remove.iter().any(|port| now.ports.contains_key(port));
        effect(is_so, || {
            format!("lagg {name} has not become as it shall be")
        })
    }

    /// A lagg that is up already brings no port up that joins it (`lagg_init_locked`, sys/net/if_lagg.c).
    fn add_port(&self, lagg: &str, port: &str) -> Result<(), Failure> {
        let word = interface_word(port)?;
        if !self.lagg(lagg)?.ports.contains_key(port) {
            self.ifconfig(words![lagg, "laggport", word])?;
            let there = self.lagg(lagg)?.ports.contains_key(port);
            effect(there, || format!("{port} is no port of {lagg}"))?;
        }
        self.set_up(port, true)
    }

    pub(super) fn remove_port(&self, lagg: &str, port: &str) -> Result<(), Failure> {
        let word = interface_word(port)?;
        let has = || -> Result<bool, Failure> {
            let found = self.find(lagg)?.and_then(|found| found.lagg);
            Ok(found.is_some_and(|found| found.ports.contains_key(port)))
        };
        if !has()? {
            return Ok(());
        }
        self.ifconfig(words![lagg, "-laggport", word])?;
        effect(!has()?, || format!("{port} is still a port of {lagg}"))
    }

    fn lagg(&self, name: &str) -> Result<Lagg, Failure> {
        let found = self.expect(name)?.lagg;
        found
            .map(|lagg| *lagg)
            .ok_or_else(|| Failure::Changed(format!("{name} is no lagg")))
    }
}
