//! Which rules shall stand in which of our anchors: NAT of networks, ports that jails publish, ports that the Host closes. Public addresses of jails are in `public`, what keeps jails apart in
//! `isolation`, how rules are loaded in `filter`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use cellblock_schemas::ids::Uid;
use cellblock_schemas::jail::{BoundAttachment, Publish, RunPolicy};
use cellblock_schemas::net::Family;
use cellblock_schemas::network::{Mode, Nat};
use cellblock_schemas::view::{JailView, NetworkView};
use ipnet::IpNet;

use super::Rules;
use crate::firewall::At;
use crate::names;
use crate::op::Subject;
use crate::plan::{Planner, reason};
use crate::render::pf::{BlockRule, NatRule, Pool, RedirectRule, ScrubRule};

impl Planner<'_> {
    /// What shall stand, and the jails that are closed because pf does not take their rules.
    pub(super) fn rules(&mut self) -> (Rules, BTreeSet<Uid>) {
        let mut rules = self.open_rules();
        self.add_isolation(&mut rules);
        self.add_firewalls_or_close(rules)
    }

    /// What would stand if pf took everything, but for firewalls and what keeps jails apart.
    pub(super) fn open_rules(&mut self) -> Rules {
        let view = self.view;
        let mut rules = Rules::default();
        let jails: Vec<&JailView> = view
            .jails
            .values()
            .filter(|jail| !jail.deleting && jail.spec.run_policy != RunPolicy::Stopped)
            .collect();
        let used: BTreeSet<&str> = jails
            .iter()
            .flat_map(|jail| {
                jail.binding
                    .attachments
                    .iter()
                    .map(|attachment| attachment.network.as_str())
            })
            .collect();
        for network in view
            .networks
            .values()
            .filter(|network| used.contains(network.name.as_str()))
        {
            if let Some(nat) = network
                .spec
                .egress
                .as_ref()
                .and_then(|egress| egress.nat.as_ref())
            {
                let nats = self.nat_rules(network, nat);
                let anchor = rules.entry(names::network_anchor(&network.uid));
                let anchor = anchor.or_default();
                if !nats.is_empty() {
                    anchor.within = within(network);
                }
                anchor.nats = nats;
            }
            self.check_forwarding(network, &jails);
        }
        let (blocks, scrubs) = (self.block_rules(), self.scrub_rules());
        if !(blocks.is_empty() && scrubs.is_empty()) {
            let host = rules.entry(names::HOST_ANCHOR.to_owned()).or_default();
            (host.blocks, host.scrubs) = (blocks, scrubs);
        }
        let mut shared: BTreeMap<&str, Vec<RedirectRule>> = BTreeMap::new();
        for jail in jails {
            for publish in &jail.spec.publish {
                let redirects = self.redirect_rules(jail, publish);
                if let Some(pool) = &publish.shared {
                    shared.entry(pool.as_str()).or_default().extend(redirects);
                    continue;
                }
                rules
                    .entry(names::jail_anchor(&jail.uid))
                    .or_default()
                    .redirects
                    .extend(redirects);
            }
            self.add_public_addresses(jail, &mut rules);
        }
        self.add_pools(shared, &mut rules);
        rules
    }

    /// Ports that the Host closes on its public addresses. They belong to no jail, so they stand with or without one.
    fn block_rules(&mut self) -> Vec<BlockRule> {
        let view = self.view;
        let mut rules = Vec::new();
        for (name, uplink) in &view.host.uplinks {
            if uplink.block.is_empty() {
                continue;
            }
            let Some(interface) = self.interface_for(name, "block") else {
                continue;
            };
            for block in &uplink.block {
                let closed = uplink.public_addresses.iter().filter(|(address, _)| {
                    block
                        .address
                        .as_ref()
                        .is_none_or(|wanted| wanted == *address)
                });
                rules.extend(closed.map(|(_, public)| BlockRule {
                    interface: interface.clone(),
                    public: *public,
                    protocol: block.protocol,
                    ports: block.ports.clone(),
                }));
            }
        }
        rules
    }

    /// What the Host wants changed in packets, likewise.
    fn scrub_rules(&mut self) -> Vec<ScrubRule> {
        let mut rules = Vec::new();
        for (name, uplink) in &self.view.host.uplinks {
            if let Some(scrub) = &uplink.scrub
                && let Some(interface) = self.interface_for(name, "scrub")
            {
                rules.push(ScrubRule {
                    interface,
                    max_mss: scrub.max_mss,
                    no_df: scrub.no_df,
                    random_id: scrub.random_id,
                });
            }
        }
        rules
    }

    /// Whether the Host wants something changed in what leaves by an interface.
    fn is_scrubbed(&self, interface: &str) -> bool {
        let mut uplinks = self.view.host.uplinks.iter();
        uplinks.any(|(name, uplink)| {
            uplink.scrub.is_some() && self.uplink_interface(name).as_deref() == Ok(interface)
        })
    }

    /// The interface of an uplink that a field of it is about.
    fn interface_for(&mut self, uplink: &str, field: &str) -> Option<String> {
        match self.uplink_interface(uplink) {
            Ok(interface) => Some(interface),
            Err(message) => {
                let message = format!("spec.uplinks[{uplink}].{field}: {message}");
                self.block(&Subject::Host, reason::UPLINK_MISSING, message);
                None
            }
        }
    }

    fn nat_rules(&mut self, network: &NetworkView, nat: &Nat) -> Vec<NatRule> {
        let subject = Subject::Network(network.uid.clone());
        let interface = match self.uplink_interface(&nat.uplink) {
            Ok(interface) => interface,
            Err(message) => {
                self.block(
                    &subject,
                    reason::UPLINK_MISSING,
                    format!("spec.egress.nat: {message}"),
                );
                return Vec::new();
            }
        };
        let mut rules = Vec::new();
        // Nothing link-local leaves by another interface.
        let subnets = network.spec.subnets.iter();
        for subnet in subnets.filter(|subnet| !subnet.is_link_local()) {
            let name = match subnet.cidr.family() {
                Family::Ipv4 => nat.address.as_deref(),
                Family::Ipv6 if nat.address6.is_none() => continue,
                Family::Ipv6 => nat.address6.as_deref(),
            };
            let to = match name {
                None => None,
                Some(name) => match self.public_address(&subject, &nat.uplink, &interface, name) {
                    Some(address) if Family::of(address) == subnet.cidr.family() => Some(address),
                    Some(address) => {
                        let message = format!(
                            "spec.egress.nat: {} cannot be translated to public address `{name}` ({address}), which is of another family",
                            subnet.cidr
                        );
                        self.block(&subject, reason::FAMILY_MISMATCH, message);
                        continue;
                    }
                    None => continue,
                },
            };
            rules.push(NatRule {
                interface: interface.clone(),
                from: subnet.cidr.net(),
                to,
                static_port: nat.static_port,
                filtered: self.is_scrubbed(&interface),
            });
        }
        rules
    }

    /// A public address by name. Noted as missing where the host does not carry it: the rule would have no effect.
    pub(super) fn public_address(
        &mut self,
        subject: &Subject,
        uplink: &str,
        interface: &str,
        name: &str,
    ) -> Option<IpAddr> {
        let spec = self.view.host.uplinks.get(uplink)?;
        let Some(address) = spec.public_addresses.get(name).copied() else {
            let message = format!(
                "uplink `{uplink}` of host `{}` has no public address called `{name}`",
                self.view.host_name
            );
            self.block(subject, reason::PUBLIC_ADDRESS_MISSING, message);
            return None;
        };
        if self.index.holders(&address).next().is_none() {
            let message = format!(
                "public address `{name}` ({address}) of uplink `{uplink}` is not on this host; add it to `{interface}` in rc.conf"
            );
            self.block(subject, reason::PUBLIC_ADDRESS_MISSING, message);
        }
        Some(address)
    }

    fn redirect_rules(&mut self, jail: &JailView, publish: &Publish) -> Vec<RedirectRule> {
        let subject = Subject::Jail(jail.uid.clone());
        let field = format!("spec.publish[{}]", publish.name);
        let interface = match self.uplink_interface(&publish.uplink) {
            Ok(interface) => interface,
            Err(message) => {
                self.block(
                    &subject,
                    reason::UPLINK_MISSING,
                    format!("{field}: {message}"),
                );
                return Vec::new();
            }
        };
        let publics: Vec<IpAddr> = match &publish.address {
            Some(name) => self
                .public_address(&subject, &publish.uplink, &interface, name)
                .into_iter()
                .collect(),
            None => {
                let spec = self.view.host.uplinks.get(&publish.uplink);
                let all: Vec<IpAddr> = spec
                    .map(|spec| spec.public_addresses.values().copied().collect())
                    .unwrap_or_default();
                [Family::Ipv4, Family::Ipv6]
                    .into_iter()
                    .filter_map(|family| {
                        all.iter()
                            .copied()
                            .find(|address| Family::of(*address) == family)
                    })
                    .collect()
            }
        };
        if publics.is_empty() && publish.address.is_none() {
            let message = format!(
                "{field}: uplink `{}` names no public address; add one to its publicAddresses",
                publish.uplink
            );
            self.block(&subject, reason::PUBLIC_ADDRESS_MISSING, message);
        }
        let target = |family: Family| leads_to(jail, publish.network.as_deref(), family);
        let mut rules = Vec::new();
        let lead_nowhere = |public: &IpAddr| target(Family::of(*public)).is_none();
        if !publics.is_empty() && publics.iter().all(lead_nowhere) {
            let publics: Vec<String> = publics.iter().map(ToString::to_string).collect();
            let message = format!(
                "{field}: the jail has no address of the family of {} to lead to; give it one, or publish another public address",
                publics.join(", ")
            );
            self.block(&subject, reason::FAMILY_MISMATCH, message);
        }
        for public in publics {
            if let Some((target, attachment)) = target(Family::of(public)) {
                let forwarded_by = self.forwarded_by(jail, attachment);
                rules.push(RedirectRule {
                    jail: jail.uid.clone(),
                    interface: interface.clone(),
                    public,
                    protocol: publish.protocol,
                    ports: publish.ports.clone(),
                    target,
                    target_port: publish.to,
                    forwarded_by,
                    pool: publish.shared.as_ref().map(|name| Pool {
                        name: name.clone(),
                        sticky: publish.sticky,
                    }),
                });
            }
        }
        rules
    }

    /// The interface that the host forwards to an attachment by; none where its address is the host's own (shared IP).
    pub(super) fn forwarded_by(
        &self,
        jail: &JailView,
        attachment: &BoundAttachment,
    ) -> Option<String> {
        let Some(network) = self.view.networks.get(&attachment.network) else {
            return match self.held_place(&jail.uid, attachment)? {
                At::Member { bridge, .. } => bridge,
                At::HostEnd(host_end) => Some(host_end),
                At::Stack | At::Inside(_) => None,
            };
        };
        match network.spec.mode()? {
            Mode::Bridge(_) => Some(names::bridge(&network.uid)),
            Mode::Routed(_) => Some(names::epair_host_end(&jail.uid, &attachment.interface)),
            Mode::Netgraph(_) => Some(names::switch_port(&network.uid)),
            Mode::SharedIp(_) | Mode::Passthrough(_) => None,
        }
    }
}

/// The subnets of a network that spans hosts: what goes from one of its jails to another leaves by an uplink and has the jail's address all the same.
pub(super) fn within(network: &NetworkView) -> Vec<IpNet> {
    if !network.spec.spans_hosts() {
        return Vec::new();
    }
    let subnets = network.spec.subnets.iter();
    subnets.map(|subnet| subnet.cidr.net()).collect()
}

/// The address of the jail that is meant by a network's name, else its first of the family; and the attachment that has it.
pub(super) fn leads_to<'j>(
    jail: &'j JailView,
    network: Option<&str>,
    family: Family,
) -> Option<(IpAddr, &'j BoundAttachment)> {
    let attachments = jail.binding.attachments.iter();
    attachments
        .filter(|attachment| network.is_none_or(|network| *network == attachment.network))
        .find_map(|attachment| Some((attachment.address_of(family)?, attachment)))
}
