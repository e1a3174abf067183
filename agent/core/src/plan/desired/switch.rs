//! Netgraph networks: the switch, its uplink, the host's own interface at it, and the interfaces of jails.

use cellblock_schemas::network::Netgraph;
use cellblock_schemas::view::{JailView, NetworkView};

use super::{
    Attach, DesiredEiface, DesiredSwitch, MTU_DEFAULT, Resolver, host_gateways, jail_mac, uplink,
};
use crate::mark::{Mark, Role};
use crate::names::{self, LOWER, Node, UPPER};
use crate::observed::{EtherSettings, Interface};
use crate::plan::netgraph::{EIFACE_MTU, is_uplink};
use crate::plan::reason;

impl<'a> Resolver<'a, '_> {
    /// The switch of a network; a reason and a message where it cannot be.
    pub(super) fn switch(
        &mut self,
        network: &'a NetworkView,
        mode: &Netgraph,
    ) -> Result<(), (&'static str, String)> {
        if let Some(unread) = &self.observed.netgraph.unread {
            let message = format!("the host's netgraph cannot be read: {unread}");
            return Err((reason::NETGRAPH_UNREAD, message));
        }
        let switch = Node::switch(&network.uid).name(&self.view.cluster);
        let uplink = match &mode.uplink {
            None => None,
            Some(name) => {
                let interface = self.uplink_interface(name).and_then(|interface| {
                    self.check_switch_uplink(network, &switch, name, &interface)?;
                    Ok(interface)
                });
                match interface {
                    Ok(interface) => Some(interface),
                    // Until it has it, the switch lets go of the one that it had.
                    Err((reason::UPLINK_PENDING, message)) => {
                        self.wait(network, message);
                        None
                    }
                    Err(refusal) => return Err(refusal),
                }
            }
        };
        let uplink_mtu = uplink
            .as_deref()
            .and_then(|name| self.index.interface(name))
            .map(|interface| interface.mtu);
        let mtu = network.spec.mtu.or(uplink_mtu).unwrap_or(MTU_DEFAULT);
        if !EIFACE_MTU.contains(&mtu) {
            let message = format!(
                "the MTU would be {mtu}, as that of the uplink `{}`, and an ng_eiface(4) has {} to {}; a switch does not fragment, so set another on the interface in rc.conf",
                uplink.as_deref().unwrap_or_default(),
                EIFACE_MTU.start(),
                EIFACE_MTU.end()
            );
            return Err((reason::NOT_CAPABLE, message));
        }
        let addresses = host_gateways(network);
        let port = if addresses.is_empty() {
            None
        } else {
            Some(self.port(network, &switch, mtu)?)
        };
        let settings = EtherSettings {
            promiscuous: mode.promiscuous.unwrap_or(true),
            autosrc: mode.autosrc.unwrap_or(false),
        };
        let desired = DesiredSwitch {
            network,
            uplink,
            settings,
            mtu,
            port,
            addresses,
        };
        self.desired.switches.insert(switch, desired);
        Ok(())
    }

    fn port(
        &self,
        network: &NetworkView,
        switch: &str,
        mtu: u32,
    ) -> Result<DesiredEiface, (&'static str, String)> {
        let mac = network.bridge_mac.ok_or_else(|| {
            let message = format!(
                "network `{}` came without a MAC address for the host's interface",
                network.name
            );
            (reason::REFERENCE_MISSING, message)
        })?;
        let mark = Mark {
            cluster: self.view.cluster.clone(),
            uid: network.uid.clone(),
            role: Role::Port,
        };
        Ok(DesiredEiface {
            node: Node::port(&network.uid).name(&self.view.cluster),
            switch: switch.to_owned(),
            interface: names::switch_port(&network.uid),
            description: mark.description(&network.name),
            mac,
            mtu,
        })
    }

    /// The ng_eiface of a jail.
    pub(super) fn switched(&self, jail: &JailView, index: usize, network: &NetworkView) -> Attach {
        let attachment = &jail.binding.attachments[index];
        let interface = &attachment.interface;
        let switch = Node::switch(&network.uid).name(&self.view.cluster);
        let mark = Mark {
            cluster: self.view.cluster.clone(),
            uid: jail.uid.clone(),
            role: Role::JailEnd(interface.clone()),
        };
        let desired = self.desired.switches.get(&switch);
        Attach::Switched(DesiredEiface {
            node: Node::link(&jail.uid, interface).name(&self.view.cluster),
            interface: names::eiface(&jail.uid, interface),
            description: mark.description(&jail.name),
            mac: jail_mac(attachment),
            mtu: desired.map_or(MTU_DEFAULT, |switch| switch.mtu),
            switch,
        })
    }

    /// What the ng_ether(4) hooks of an interface are connected to.
    pub(super) fn netgraph_user(&self, interface: &str) -> Option<&str> {
        let planned = self.desired.switches.iter();
        let planned = planned
            .filter(|(_, switch)| switch.uplink.as_deref() == Some(interface))
            .map(|(name, _)| name.as_str());
        let node = self.index.node(&names::ether_node(interface));
        let connected = [LOWER, UPPER].into_iter();
        let connected = connected.filter_map(|hook| Some(node?.hooks.get(hook)?.node.as_str()));
        let user = connected.chain(planned).next();
        user.map(|name| if name.is_empty() { "<unnamed>" } else { name })
    }

    /// Whether a switch of ours may stand between the hooks of the uplink's interface.
    fn check_switch_uplink(
        &self,
        network: &NetworkView,
        switch: &str,
        name: &str,
        uplink: &str,
    ) -> Result<(), (&'static str, String)> {
        if self.desired.uplinks.is_adopted(name) {
            let message = format!(
                "uplink `{name}` is `{uplink}`, which was not made by us; for a netgraph switch write `interface: {uplink}` instead of what it is made of"
            );
            return Err((reason::NOT_CAPABLE, message));
        }
        let Some(interface) = self.index.interface(uplink) else {
            let message = format!(
                "two interfaces are called `{uplink}`, one of them came back from a jail; rename or destroy that one"
            );
            return Err((reason::AMBIGUOUS_INTERFACE, message));
        };
        let planned = |(name, bridge): (&String, &super::DesiredBridge<'_>)| {
            (bridge.uplink.as_deref() == Some(uplink)).then(|| name.clone())
        };
        let bridge = self
            .index
            .bridge_of(uplink)
            .map(|bridge| bridge.name.clone());
        if let Some(bridge) = bridge.or_else(|| self.desired.bridges.iter().find_map(planned)) {
            let message = format!(
                "`{uplink}` is a member of bridge `{bridge}`, and can be in one switch only"
            );
            return Err((reason::UPLINK_IN_USE, message));
        }
        if let Some(user) = self.netgraph_user(uplink).filter(|user| *user != switch) {
            let message = format!(
                "`{uplink}` is connected to netgraph node `{user}` already, and can be in one switch only"
            );
            return Err((reason::UPLINK_IN_USE, message));
        }
        self.check_ether_node(uplink)?;
        let connected = self
            .index
            .node(switch)
            .is_some_and(|node| is_uplink(node, uplink));
        if !connected {
            self.check_lifeline(interface)?;
            self.check_vlans(uplink)?;
        }
        match network.spec.mtu {
            Some(mtu) if mtu != interface.mtu => {
                let message = format!(
                    "spec.mtu is {mtu} and `{uplink}` has {}; a switch does not fragment, so set the interface's in rc.conf or leave spec.mtu out",
                    interface.mtu
                );
                Err((reason::UPLINK_IN_USE, message))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Whether no vlan stands upon the interface, or shall: a switch has its frames before them (`ether_input_internal`, sys/net/if_ethersubr.c).
    fn check_vlans(&self, name: &str) -> Result<(), (&'static str, String)> {
        let mut interfaces = self.observed.interfaces.iter();
        let standing = interfaces.find(|above| above.vlan.is_some() && above.below.contains(name));
        let mut made = self.desired.uplinks.made.iter();
        let wanted = made.find(|made| made.is_upon(name));
        let wanted = wanted.map(|made| made.interface.as_str());
        let Some(above) = wanted.or(standing.map(|above| above.name.as_str())) else {
            return Ok(());
        };
        let leaves = wanted.is_none()
            && standing.is_some_and(|above| uplink::marked(above, self.index).is_some());
        Err(if leaves {
            let message = format!("`{above}` leaves `{name}` first");
            (reason::UPLINK_PENDING, message)
        } else {
            let message = format!(
                "vlan `{above}` stands upon `{name}`, and a netgraph switch has all frames of `{name}` before it; use another interface for one of the two"
            );
            (reason::UPLINK_IN_USE, message)
        })
    }

    /// Whether the host itself lives by the interface: between `lower` and `upper`, and whenever a jail's root sends under the interface's MAC address, its traffic goes nowhere, and nothing would
    /// take the connection back. Addresses of jails, which we put there, are not the host's.
    fn check_lifeline(&self, interface: &Interface) -> Result<(), (&'static str, String)> {
        let Some(what) = uplink::lives_by(interface, self.observed, self.ledger) else {
            return self.check_above(&interface.name);
        };
        let message = format!(
            "{what}; connecting it to a switch could cut the host off, now or whenever a jail's root sends under its MAC address: use another interface as the uplink"
        );
        Err((reason::UPLINK_HAS_ADDRESSES, message))
    }

    /// Where ng_ether is loaded, an Ethernet interface has a node of its name unless that name was taken (`ng_ether_attach`, sys/netgraph/ng_ether.c).
    fn check_ether_node(&self, uplink: &str) -> Result<(), (&'static str, String)> {
        let node = self.index.node(&names::ether_node(uplink));
        if self.observed.modules.contains("ng_ether")
            && node.is_none_or(|node| node.kind != "ether")
        {
            let message = format!(
                "`{uplink}` has no netgraph node of its name: it is no Ethernet interface, or the name was taken when ng_ether(4) was loaded"
            );
            return Err((reason::NOT_CAPABLE, message));
        }
        Ok(())
    }
}
