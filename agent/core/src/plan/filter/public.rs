//! The rules of public addresses that belong to one jail (1:1 NAT): all of an address by `binat`, some ports by `rdr` and `nat` back to it.

use std::net::IpAddr;

use cellblock_schemas::jail::PublicAddress;
use cellblock_schemas::net::{Family, is_link_local};
use cellblock_schemas::view::JailView;

use super::Rules;
use super::rules::{leads_to, within};
use crate::names;
use crate::op::Subject;
use crate::plan::{Planner, reason};
use crate::render::pf::{PublicRule, RedirectRule};

impl Planner<'_> {
    /// Adds the rules of a jail's public addresses to its anchor, and its ways out to those of its networks.
    pub(super) fn add_public_addresses(&mut self, jail: &JailView, rules: &mut Rules) {
        for public in &jail.spec.public_addresses {
            let Some((rule, network_anchor)) = self.public_rule(jail, public) else {
                continue;
            };
            let own = rules.entry(names::jail_anchor(&jail.uid)).or_default();
            if !rule.whole {
                own.redirects.push(RedirectRule {
                    jail: jail.uid.clone(),
                    interface: rule.interface.clone(),
                    public: rule.public,
                    protocol: public.protocol.unwrap_or_default(),
                    ports: public.ports.clone(),
                    target: rule.inside,
                    target_port: None,
                    forwarded_by: rule.forwarded_by.clone(),
                    pool: None,
                });
            }
            // The same address may stand in several entries, each with ports of its own.
            if own.publics.contains(&rule) {
                continue;
            }
            own.publics.push(rule.clone());
            if !rule.whole {
                let network = rules.entry(network_anchor).or_default();
                network.within.clone_from(&rule.within);
                network.backs.push(rule);
            }
        }
    }

    /// One public address of a jail, and the anchor of the network that it leads to. None where it would have no effect, or a bad one, which is noted.
    fn public_rule(
        &mut self,
        jail: &JailView,
        public: &PublicAddress,
    ) -> Option<(PublicRule, String)> {
        let subject = Subject::Jail(jail.uid.clone());
        let field = format!("spec.publicAddresses[{}]", public.name);
        let interface = match self.uplink_interface(&public.uplink) {
            Ok(interface) => interface,
            Err(message) => {
                let message = format!("{field}: {message}");
                self.block(&subject, reason::UPLINK_MISSING, message);
                return None;
            }
        };
        let address = self.public_address(&subject, &public.uplink, &interface, &public.address)?;
        // What the jail sends would leave with a source that nobody answers to.
        self.index.holders(&address).next()?;
        let family = Family::of(address);
        let Some((inside, attachment)) = leads_to(jail, public.network.as_deref(), family) else {
            let message = format!(
                "{field}: the jail has no address of the family of {address} to lead to; give it one, or name another public address"
            );
            self.block(&subject, reason::FAMILY_MISMATCH, message);
            return None;
        };
        let network = self.view.networks.get(&attachment.network)?;
        if public.is_whole()
            && let Some(holder) = self.hosts_own(address)
        {
            let message = format!(
                "{field}: {address} is the first address of `{holder}`, the source of what the host itself sends there: answers to the host would go to the jail, and the host would be cut off; name an address that is added behind it, or only some ports"
            );
            self.block(&subject, reason::PUBLIC_ADDRESS_IN_USE, message);
            return None;
        }
        let rule = PublicRule {
            jail: jail.uid.clone(),
            interface,
            public: address,
            inside,
            whole: public.is_whole(),
            forwarded_by: self.forwarded_by(jail, attachment),
            within: within(network),
        };
        Some((rule, names::network_anchor(&network.uid)))
    }

    /// The interface of which an address is the first of its family, but for link-local ones: what the host sends by it has that source, and a connection of the host's own has a state in pf only
    /// where a rule of the operator's makes one. Answers that no state knows would be translated.
    fn hosts_own(&self, address: IpAddr) -> Option<String> {
        let mut holders = self.index.holders(&address);
        let own = holders.find(|(interface, _)| {
            let mut first = interface.addresses.iter().map(|entry| entry.address);
            first.find(|other| Family::of(*other) == Family::of(address) && !is_link_local(*other))
                == Some(address)
        });
        own.map(|(interface, _)| interface.name.clone())
    }
}
