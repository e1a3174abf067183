//! NICs that are passed through: taken back out of a jail, and made again what they were.
//!
//! Names read inside a jail, or of an interface that came back from one, are the jail's root's: before anything is done to one it is asked for driver and hwaddr, and a name that looks like an
//! option stands behind `--`.

use cellblock_agent_core::nic::NicState;
use cellblock_agent_core::observed::Interface;

use super::{Performer, effect, interface_word, jail_word};
use crate::command::words;
use crate::error::Failure;
use crate::observe;

impl Performer<'_> {
    /// `-vnet`, after it was given a name inside that nothing else has: `if_vmove_reclaim` asks nobody whether its name is taken where it goes (sys/net/if.c).
    pub(super) fn return_nic(
        &self,
        jail: &str,
        jid: u32,
        nic: &NicState,
        from: &str,
        to: &str,
    ) -> Result<(), Failure> {
        let (name, to) = (jail_word(jail)?, interface_word(to)?);
        if self.is_there(None, to, nic)?.is_some() {
            return Ok(());
        }
        let living = observe::living_jail(self.system, &jid.to_string())?;
        if living.is_none_or(|living| living.name != name) {
            return Ok(());
        }
        let jid = jid.to_string();
        if self.is_there(Some(&jid), to, nic)?.is_none() {
            if self.is_there(Some(&jid), from, nic)?.is_none() {
                return Err(Failure::Changed(format!(
                    "{} is not in jail {name} under the name {from:?} any more",
                    nic.interface
                )));
            }
            let mut arguments = words!["-j", jid.clone()];
            arguments.extend(observe::named(from));
            arguments.extend(words!["name", to]);
            self.ifconfig(arguments)?;
        }
        if self.names()?.iter().any(|name| name == to) {
            return Err(Failure::NameTaken {
                what: "interface",
                name: to.to_owned(),
            });
        }
        self.ifconfig(words![to, "-vnet", jid])?;
        let back = self.is_there(None, to, nic)?.is_some();
        effect(back, || {
            format!("{} did not come back from jail {name}", nic.interface)
        })
    }

    /// Each thing that is not as it was, in an order of which `NicState` decides.
    pub(super) fn restore_nic(&self, from: &str, nic: &NicState) -> Result<(), Failure> {
        let own = interface_word(&nic.interface)?;
        let is_alone = |name: &str| -> Result<bool, Failure> {
            Ok(self.names()?.iter().filter(|found| *found == name).count() == 1)
        };
        if from != own {
            if !is_alone(from)? || self.is_there(None, from, nic)?.is_none() {
                return Err(Failure::Changed(format!(
                    "{own} is not called {from:?} any more, or not it alone"
                )));
            }
            let mut arguments = observe::named(from);
            arguments.extend(words!["name", own]);
            self.ifconfig(arguments)?;
        }
        if !is_alone(own)? {
            return Err(Failure::Changed(format!(
                "not one interface is called {own}"
            )));
        }
        for words in nic.mending(&self.expect_nic(nic)?) {
            let mut arguments = words![own];
            arguments.extend(words);
            self.ifconfig(arguments)?;
        }
        let left = nic.mending(&self.expect_nic(nic)?);
        effect(left.is_empty(), || {
            let left: Vec<String> = left.iter().map(|words| words.join(" ")).collect();
            format!("{own} is not what it was: {}", left.join(", "))
        })
    }

    /// The NIC under its own name.
    fn expect_nic(&self, nic: &NicState) -> Result<Interface, Failure> {
        let found = self.is_there(None, &nic.interface, nic)?;
        found.ok_or_else(|| Failure::Changed(format!("{} is not the NIC any more", nic.interface)))
    }

    /// The interface of that name, on the host or in a jail, if it is the NIC.
    fn is_there(
        &self,
        jail: Option<&str>,
        name: &str,
        nic: &NicState,
    ) -> Result<Option<Interface>, Failure> {
        let found = observe::nic(self.system, jail, name)?;
        Ok(found.filter(|found| nic.is(found)))
    }
}
