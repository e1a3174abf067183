//! A NIC of the host that is passed through to a jail: how it is known again wherever it is and whatever a jail's root made of it, and what makes it again what it was before.
//!
//! A move between network stacks takes addresses, routes, groups, IPv6 settings and `UP` from an interface; its name, MAC address, MTU, description and flags go with it, as a jail's root left them
//! (`if_vmove` and `if_detach_internal`, sys/net/if.c; recordings `07`, `12`). What no root can change is the driver's name and unit (`if_dname` and `if_dunit`, which `ifconfig -D` prints) and the
//! MAC address that the driver found in the card (`if_hw_addr`, which ifconfig shows as `hwaddr` where it is not the one in use): by these two it is known. Decides nothing; `plan` does.

use std::collections::BTreeSet;

use cellblock_schemas::net::Mac;
use serde::{Deserialize, Serialize};

use crate::observed::Interface;

/// Flags that ifconfig(8) sets and that go with an interface, with the words that set and clear them (sbin/ifconfig/ifconfig.c).
const FLAGS: [(&str, &str, &str); 8] = [
    ("DEBUG", "debug", "-debug"),
    ("NOARP", "-arp", "arp"),
    ("LINK0", "link0", "-link0"),
    ("LINK1", "link1", "-link1"),
    ("LINK2", "link2", "-link2"),
    ("PPROMISC", "promisc", "-promisc"),
    ("MONITOR", "monitor", "-monitor"),
    ("STATICARP", "staticarp", "-staticarp"),
];

/// Settings of IPv6 on an interface, with the words that set and clear them (sbin/ifconfig/af_nd6.c).
const ND6: [(&str, &str, &str); 7] = [
    ("PERFORMNUD", "nud", "-nud"),
    ("ACCEPT_RTADV", "accept_rtadv", "-accept_rtadv"),
    ("IFDISABLED", "ifdisabled", "-ifdisabled"),
    ("AUTO_LINKLOCAL", "auto_linklocal", "-auto_linklocal"),
    ("NO_RADR", "no_radr", "-no_radr"),
    ("NO_PREFER_IFACE", "no_prefer_iface", "-no_prefer_iface"),
    ("NO_DAD", "no_dad", "-no_dad"),
];

/// The flag of a driver that has its interface going.
const RUNNING: &str = "RUNNING";

/// The group that every interface is in.
const EVERYBODY: &str = "all";

/// A NIC as it was before it was given to a jail.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NicState {
    /// Its name on the host.
    pub interface: String,
    /// Its driver's name and unit.
    pub driver: String,
    /// The MAC address that the driver found in the card.
    pub hwaddr: Mac,
    /// The MAC address that it had.
    pub mac: Mac,
    /// In octets.
    pub mtu: u32,
    /// Its description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its groups but for the one of all interfaces.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub groups: BTreeSet<String>,
    /// Flags that go with it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub flags: BTreeSet<String>,
    /// The words of its `nd6 options`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub nd6: BTreeSet<String>,
    /// `UP`
    #[serde(default)]
    pub up: bool,
    /// `RUNNING`: the driver has it going. A move takes `UP` alone (recording `07`).
    #[serde(default)]
    pub running: bool,
}

/// The MAC address that the driver found in the card.
fn permanent(interface: &Interface) -> Option<Mac> {
    interface.hwaddr.or(interface.mac)
}

fn present<'t>(
    table: &'t [(&'static str, &'static str, &'static str)],
    has: impl Fn(&str) -> bool + 't,
) -> BTreeSet<String> {
    let words = table.iter().map(|(word, _, _)| *word);
    words
        .filter(move |word| has(word))
        .map(str::to_owned)
        .collect()
}

impl NicState {
    /// What `interface` is now; none of one without driver or MAC address, which is no NIC.
    #[must_use]
    pub fn of(interface: &Interface) -> Option<Self> {
        let groups = interface.groups.iter();
        Some(Self {
            interface: interface.name.to_owned(),
            driver: interface.driver.clone()?,
            hwaddr: permanent(interface)?,
            mac: interface.mac?,
            mtu: interface.mtu,
            description: interface.description.clone(),
            groups: groups
                .filter(|group| *group != EVERYBODY)
                .map(str::to_owned)
                .collect(),
            flags: present(&FLAGS, |word| interface.flags.contains(word)),
            nd6: present(&ND6, |word| interface.nd6.contains(word)),
            up: interface.is_up(),
            running: interface.flags.contains(RUNNING),
        })
    }

    /// What a NIC called `name` is while nobody has configured it, from what it is inside a jail: for one of which the ledger says nothing any more.
    #[must_use]
    pub fn untouched(name: &str, inside: &Interface) -> Option<Self> {
        let hwaddr = permanent(inside)?;
        let unconfigured = ["PERFORMNUD", "IFDISABLED", "AUTO_LINKLOCAL"];
        Some(Self {
            interface: name.to_owned(),
            driver: inside.driver.clone()?,
            hwaddr,
            mac: hwaddr,
            mtu: inside.mtu,
            description: None,
            groups: BTreeSet::new(),
            flags: BTreeSet::new(),
            nd6: unconfigured.into_iter().map(str::to_owned).collect(),
            up: false,
            running: false,
        })
    }

    /// Whether `interface` is this NIC, by what no jail's root can change.
    #[must_use]
    pub fn is(&self, interface: &Interface) -> bool {
        interface.driver.as_deref() == Some(self.driver.as_str()) && self.is_card_of(interface)
    }

    /// Whether the MAC address that the driver found is this NIC's. A vlan(4) or a lagg(4) upon it shows it too.
    #[must_use]
    pub fn is_card_of(&self, interface: &Interface) -> bool {
        permanent(interface) == Some(self.hwaddr)
    }

    /// What makes `interface`, which is this NIC under its own name, again what it was: the words of one ifconfig(8) each, in order. Nothing: it is.
    ///
    /// IPv6 comes before `up`, which gives it its link-local address again where it had one.
    #[must_use]
    pub fn mending(&self, interface: &Interface) -> Vec<Vec<String>> {
        let mut commands: Vec<Vec<String>> = Vec::new();
        let mut command = |words: &[&str]| {
            commands.push(words.iter().map(|word| (*word).to_owned()).collect());
        };
        if interface.description != self.description {
            match &self.description {
                Some(text) => command(&["description", text]),
                None => command(&["-description"]),
            }
        }
        if interface.mac != Some(self.mac) {
            command(&["ether", &self.mac.to_string()]);
        }
        if interface.mtu != self.mtu {
            command(&["mtu", &self.mtu.to_string()]);
        }
        for group in &self.groups {
            if !interface.groups.contains(group) {
                command(&["group", group]);
            }
        }
        for (word, set, clear) in FLAGS {
            let wanted = self.flags.contains(word);
            if interface.flags.contains(word) != wanted {
                command(&[if wanted { set } else { clear }]);
            }
        }
        for (word, set, clear) in ND6 {
            let wanted = self.nd6.contains(word);
            // A kernel without IPv6 shows none of them.
            if !self.nd6.is_empty() && interface.nd6.contains(word) != wanted {
                command(&["inet6", if wanted { set } else { clear }]);
            }
        }
        // `down` stops the driver where `UP` is gone already, too (`ifhwioctl`, sys/net/if.c).
        let runs_on = !self.up && !self.running && interface.flags.contains(RUNNING);
        if interface.is_up() != self.up || runs_on {
            command(&[if self.up { "up" } else { "down" }]);
        }
        commands
    }

    /// Whether `interface`, which is this NIC, is what it was, its name included.
    #[must_use]
    pub fn is_restored(&self, interface: &Interface) -> bool {
        interface.name == self.interface && self.mending(interface).is_empty()
    }
}

#[cfg(test)]
mod tests;
