//! if_bridge(4): the bridge and its members.

use cellblock_agent_core::op::MemberFlag;
use cellblock_schemas::net::Mac;

use super::{Performer, carries, effect, interface_word};
use crate::command::words;
use crate::error::Failure;

impl Performer<'_> {
    /// A bridge with its own MAC address: by itself it would take one of 65,536 (`ether_gen_addr`, sys/net/if_ethersubr.c).
    pub(super) fn create_bridge(
        &self,
        name: &str,
        description: &str,
        mac: Mac,
    ) -> Result<(), Failure> {
        self.clone_marked("bridge", name, description)?;
        self.set_mac(name, mac)?;
        self.set_up(name, true)?;
        let found = self.expect(name)?;
        effect(carries(&found, description), || {
            format!("bridge {name} does not carry its mark")
        })
    }

    /// `addm`. The first member's MTU becomes the bridge's, so MTUs are set before (`bridge_ioctl_add`, sys/net/if_bridge.c); it brings the bridge up and not the member.
    pub(super) fn add_member(&self, bridge: &str, member: &str) -> Result<(), Failure> {
        let member = interface_word(member)?;
        if self.expect(bridge)?.members.contains_key(member) {
            return Ok(());
        }
        self.ifconfig(words![bridge, "addm", member])?;
        let there = self.expect(bridge)?.members.contains_key(member);
        effect(there, || format!("{member} is no member of {bridge}"))
    }

    pub(super) fn remove_member(&self, bridge: &str, member: &str) -> Result<(), Failure> {
        let member = interface_word(member)?;
        let is_member = |found: Option<cellblock_agent_core::observed::Interface>| {
            found.is_some_and(|bridge| bridge.members.contains_key(member))
        };
        if !is_member(self.find(bridge)?) {
            return Ok(());
        }
        self.ifconfig(words![bridge, "deletem", member])?;
        effect(!is_member(self.find(bridge)?), || {
            format!("{member} is still a member of {bridge}")
        })
    }

    pub(super) fn set_member_flag(
        &self,
        bridge: &str,
        member: &str,
        flag: MemberFlag,
        on: bool,
    ) -> Result<(), Failure> {
        let member = interface_word(member)?;
        let state = || -> Result<bool, Failure> {
            let bridge_now = self.expect(bridge)?;
            let found = bridge_now.members.get(member);
            let found = found
                .ok_or_else(|| Failure::Changed(format!("{member} is no member of {bridge}")))?;
            Ok(flag.is_of(found))
        };
        if state()? == on {
            return Ok(());
        }
        let verb = format!("{}{}", if on { "" } else { "-" }, flag.verb());
        self.ifconfig(words![bridge, verb.as_str(), member])?;
        effect(state()? == on, || {
            format!("{member} on {bridge} has not become {verb}")
        })
    }
}
