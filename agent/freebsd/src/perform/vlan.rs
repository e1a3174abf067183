//! vlan(4): tag and parent.

use cellblock_agent_core::observed::Vlan;

use super::{Performer, effect, interface_word};
use crate::command::words;
use crate::error::Failure;

impl Performer<'_> {
    /// A vlan without a parent, up: one that is made with its tag carries no mark yet at the moment when it takes the tag.
    pub(super) fn create_vlan(&self, name: &str, description: &str) -> Result<(), Failure> {
        self.clone_marked("vlan", name, description)?;
        self.set_up(name, true)
    }

    /// In place, so that a bridge keeps its member: on one parent the tag changes at once, another parent is refused (EBUSY) until the first is given up (`vlan_config`, sys/net/if_vlan.c).
    pub(super) fn set_vlan(&self, name: &str, id: u16, parent: &str) -> Result<(), Failure> {
        let parent = interface_word(parent)?;
        let is_so = |vlan: &Vlan| vlan.id == id && vlan.parent.as_deref() == Some(parent);
        let now = self.vlan(name)?;
        if is_so(&now) {
            return Ok(());
        }
        if now.parent.as_deref().is_some_and(|other| other != parent) {
            self.unset_vlan(name)?;
        }
        self.ifconfig(words![name, "vlan", id.to_string(), "vlandev", parent])?;
        effect(is_so(&self.vlan(name)?), || {
            format!("{name} is not VLAN {id} on {parent}")
        })
    }

    pub(super) fn unset_vlan(&self, name: &str) -> Result<(), Failure> {
        let Some(parent) = self.vlan(name)?.parent else {
            return Ok(());
        };
        self.ifconfig(words![name, "-vlandev", interface_word(&parent)?])?;
        let parent = self.vlan(name)?.parent;
        effect(parent.is_none(), || format!("{name} still has its tag"))
    }

    fn vlan(&self, name: &str) -> Result<Vlan, Failure> {
        let found = self.expect(name)?.vlan;
        found
            .map(|vlan| *vlan)
            .ok_or_else(|| Failure::Changed(format!("{name} is no vlan")))
    }
}
