//! Everything observable in the kernel as sorted lines, so that a test can compare a host before and after.
//!
//! What a restored host may differ in is left out: identities (interface indices, jids, node IDs), the clock, generated addresses stay in,
//! because an interface that was there before must keep its own.

use std::collections::{BTreeMap, BTreeSet};

use super::Kernel;
use super::addr::mask4;
use super::ifnet::{Driver, Ifnet, mac_text};
use super::netgraph::NodeType;
use super::route::{Family, Gateway, key_address};
use super::vnet::VnetId;

impl Kernel {
    /// Everything observable as sorted lines, for comparing a host before and after.
    pub fn fingerprint(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let owners = self.jails.all.values().filter(|jail| jail.owns_stack);
        let names: BTreeMap<VnetId, &str> = owners
            .map(|jail| (jail.stack, jail.name.as_str()))
            .collect();
        for id in self.vnets.keys() {
            self.print_stack(*id, names.get(id).unwrap_or(&"host"), &mut lines);
        }
        for jail in self.jails.all.values() {
            let state = if jail.dying { " dying" } else { "" };
            lines.push(format!(
                "jail {}{state} {:?}",
                jail.name,
                (
                    &jail.path,
                    &jail.hostname,
                    &jail.ip4,
                    &jail.ip6,
                    &jail.allow,
                    jail.securelevel,
                    jail.children_max,
                    &jail.meta,
                    &jail.env
                )
            ));
        }
        lines.extend(self.modules.iter().map(|module| format!("module {module}")));
        lines.extend(self.mounts.iter().map(|mount| {
            format!(
                "mount {} {} {} ro={}",
                mount.special, mount.node, mount.fstype, mount.read_only
            )
        }));
        lines.extend(self.rctl.iter().map(|rule| format!("rctl {}", rule.text())));
        lines.extend(self.devfs.iter().flat_map(|(set, rules)| {
            rules
                .iter()
                .map(move |(number, rule)| format!("devfs {set} {number} {rule}"))
        }));
        lines.extend(self.zfs.fingerprint());
        lines.extend(self.changed_sysctls());
        lines.extend(
            self.processes
                .values()
                .map(|process| format!("process {} {}", process.jid, process.command)),
        );
        lines.sort();
        lines
    }

    fn print_stack(&self, id: VnetId, stack: &str, lines: &mut Vec<String>) {
        for ifnet in self.interfaces(id) {
            self.print_interface(stack, ifnet, lines);
        }
        for (fib, tables) in self.vnet(id).fibs.iter().enumerate() {
            lines.push(format!("{stack} fib {fib}"));
            for family in [Family::Inet, Family::Inet6] {
                for (address, prefix, route) in tables.rib(family).iter() {
                    let gateway = match route.gateway {
                        Gateway::Link => "link".to_owned(),
                        Gateway::Address(address) => address.to_string(),
                    };
                    let interface = &self.ifnet(route.interface).name;
                    lines.push(format!(
                        "{stack} route {fib} {}/{prefix} {gateway} {:x} {interface}",
                        key_address(family, address),
                        route.flags
                    ));
                }
            }
        }
        for node in self.netgraph(id).nodes.values() {
            let hooks: BTreeSet<&str> = node.hooks.iter().map(|hook| hook.name.as_str()).collect();
            let config = if node.kind == NodeType::Bridge {
                node.config.text()
            } else {
                String::new()
            };
            lines.push(format!(
                "{stack} netgraph {} {} {hooks:?} persistent={} promisc={} autosrc={} {config}",
                node.name,
                node.kind.name(),
                node.persistent,
                node.promiscuous,
                node.auto_source
            ));
        }
        lines.extend(
            self.vnet(id)
                .pf
                .fingerprint()
                .into_iter()
                .map(|line| format!("{stack} pf {line}")),
        );
    }

    fn print_interface(&self, stack: &str, ifnet: &Ifnet, lines: &mut Vec<String>) {
        let name = &ifnet.name;
        let groups: Vec<&str> = ifnet
            .groups
            .iter()
            .map(|(group, _)| group.as_str())
            .collect();
        lines.push(format!(
            "{stack} if {name} up={} running={} promisc={} mtu={} ether={} descr={:?} groups={groups:?} nd={:x} fib={}",
            ifnet.up,
            ifnet.running,
            ifnet.promiscuous > 0,
            ifnet.mtu,
            ifnet.mac.map(mac_text).unwrap_or_default(),
            ifnet.description,
            ifnet.nd,
            ifnet.fib
        ));
        for address in &ifnet.inet {
            lines.push(format!(
                "{stack} if {name} inet {} {:x}",
                address.address,
                mask4(address.prefix)
            ));
        }
        for address in &ifnet.inet6 {
            lines.push(format!(
                "{stack} if {name} inet6 {}/{} tentative={} duplicated={}",
                address.address, address.prefix, address.tentative, address.duplicated
            ));
        }
        match &ifnet.driver {
            Driver::Bridge(softc) => {
                for member in &softc.members {
                    lines.push(format!(
                        "{stack} if {name} member {} {:x} {:?} {:?}",
                        self.ifnet(member.id).name,
                        member.flags,
                        member.untagged,
                        member.tagged
                    ));
                }
                lines.push(format!(
                    "{stack} if {name} vlanfilter={}",
                    softc.vlan_filter
                ));
            }
            Driver::Lagg(softc) => {
                let ports: Vec<&str> = softc
                    .ports
                    .iter()
                    .map(|id| self.ifnet(*id).name.as_str())
                    .collect();
                let master = softc.primary.map(|id| self.ifnet(id).name.as_str());
                lines.push(format!(
                    "{stack} if {name} lagg {} {} {ports:?} {}",
                    softc.protocol,
                    softc.hash,
                    master.unwrap_or_default()
                ));
            }
            Driver::Vlan(softc) => {
                let parent = softc
                    .parent
                    .map(|id| self.ifnet(id).name.as_str())
                    .unwrap_or_default();
                lines.push(format!("{stack} if {name} vlan {} {parent}", softc.tag));
            }
            Driver::Nic | Driver::Loopback | Driver::Epair { .. } | Driver::Eiface { .. } => {}
        }
    }
}
