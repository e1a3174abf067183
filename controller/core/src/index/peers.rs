//! Whom the firewalls of jails select by labels, and the hosts that must know: a jail that comes, goes, or gets other labels or addresses changes the views of hosts on which it does not run.
//!
//! Kept by selector, since the jails of a set have the same one: an event costs as much as there are different selectors, and a view asks for a selector's jails by name.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use cellblock_schemas::Jail;
use cellblock_schemas::network::Scope;
use cellblock_schemas::selector::LabelSelector;
use cellblock_schemas::view::PeerView;

use super::Index;

/// Whom one selector selects, and who has a rule with it.
#[derive(Clone, Debug, Default)]
struct Selected {
    /// How many jails of each host have such a rule.
    hosts: BTreeMap<String, usize>,
    /// The jails that it selects, by name.
    jails: BTreeSet<String>,
}

/// All selectors of the firewalls of jails.
#[derive(Clone, Debug, Default)]
pub(super) struct Peers(BTreeMap<LabelSelector, Selected>);

impl Peers {
    /// Forgets selectors that no rule has any more. Once per transaction: a jail that is written anew keeps what its selectors select.
    pub(super) fn prune(&mut self) {
        self.0.retain(|_, selected| !selected.hosts.is_empty());
    }

    /// Every host on which a jail has a rule with a selector.
    pub(super) fn hosts(&self) -> impl Iterator<Item = &String> {
        self.0.values().flat_map(|selected| selected.hosts.keys())
    }
}

/// Only a bound jail's rules stand anywhere.
fn host_of(jail: &Jail) -> Option<&str> {
    jail.binding().map(|binding| binding.host.as_str())
}

fn selectors(jail: &Jail) -> Vec<&LabelSelector> {
    let firewall = jail.spec.firewall.as_ref();
    firewall
        .map(cellblock_schemas::jail::Firewall::selectors)
        .unwrap_or_default()
}

impl Index {
    /// Takes a jail out of what selectors select, and its own selectors out.
    pub(super) fn forget_peer(&mut self, jail: &Jail) {
        for selected in self.peers.0.values_mut() {
            selected.jails.remove(&jail.metadata.name);
        }
        let Some(host) = host_of(jail) else {
            return;
        };
        for selector in selectors(jail) {
            let Some(selected) = self.peers.0.get_mut(selector) else {
                continue;
            };
            if let Some(count) = selected.hosts.get_mut(host) {
                *count -= 1;
                if *count == 0 {
                    selected.hosts.remove(host);
                }
            }
        }
    }

    /// Puts a jail, which is among the objects already, into what selectors select, and its own selectors in.
    pub(super) fn remember_peer(&mut self, jail: &Jail) {
        if let Some(host) = host_of(jail) {
            for selector in selectors(jail) {
                if !self.peers.0.contains_key(selector) {
                    let selected = Selected {
                        hosts: BTreeMap::new(),
                        jails: self.selected_now(selector),
                    };
                    self.peers.0.insert(selector.clone(), selected);
                }
                let selected = self.peers.0.entry(selector.clone()).or_default();
                *selected.hosts.entry(host.to_owned()).or_default() += 1;
            }
        }
        for (selector, selected) in &mut self.peers.0 {
            if selector.matches(&jail.metadata.labels) {
                selected.jails.insert(jail.metadata.name.clone());
            }
        }
    }

    fn selected_now(&self, selector: &LabelSelector) -> BTreeSet<String> {
        let jails = self.list(cellblock_schemas::Kind::Jail, None);
        jails
            .filter_map(|entry| entry.jail())
            .filter(|jail| selector.matches(&jail.metadata.labels))
            .map(|jail| jail.metadata.name.clone())
            .collect()
    }

    /// The hosts that have rules about a jail which is, or was, like `before` and is now like `after`, as far as they see a difference.
    pub(super) fn hosts_of_peer(
        &self,
        before: Option<&Jail>,
        after: Option<&Jail>,
    ) -> BTreeSet<String> {
        let seen = |jail: &'_ Jail| (jail.metadata.labels.clone(), jail.binding().cloned());
        let mut hosts = BTreeSet::new();
        if before.map(seen) == after.map(seen) {
            return hosts;
        }
        for (selector, selected) in &self.peers.0 {
            let is_meant = |jail: &&Jail| selector.matches(&jail.metadata.labels);
            let (before, after) = (before.filter(is_meant), after.filter(is_meant));
            let addresses = |jail: Option<&Jail>, host: Option<&str>| {
                let jail = jail.into_iter();
                let addresses = jail.flat_map(|jail| self.addresses_for(jail, host));
                addresses.collect::<BTreeSet<_>>()
            };
            if addresses(before, None) != addresses(after, None) {
                hosts.extend(selected.hosts.keys().cloned());
                continue;
            }
            let own = before.into_iter().chain(after).filter_map(host_of);
            let concerned = own.filter(|host| {
                selected.hosts.contains_key(*host)
                    && addresses(before, Some(host)) != addresses(after, Some(host))
            });
            hosts.extend(concerned.map(str::to_owned));
        }
        hosts
    }

    /// The addresses by which a host may meet a jail; without a host, those by which any may. Those of a network whose addresses stand for themselves on every host are somebody else's on another.
    fn addresses_for<'a>(
        &'a self,
        jail: &'a Jail,
        host: Option<&'a str>,
    ) -> impl Iterator<Item = IpAddr> + 'a {
        let binding = jail.binding().into_iter();
        binding.flat_map(move |binding| {
            let bound = binding.attachments.iter().filter(move |bound| {
                let network = self.network(&bound.network);
                let scope = network.map(|network| network.spec.effective_scope());
                host == Some(binding.host.as_str()) || scope == Some(Scope::Fleet)
            });
            bound.flat_map(|bound| bound.addresses.iter().map(|bound| bound.address))
        })
    }

    /// What the selectors of a jail's firewall select, as far as a host may meet it.
    pub(crate) fn peers_of(&self, jail: &Jail, host: &str) -> Vec<PeerView> {
        let selectors = selectors(jail).into_iter();
        let views = selectors.map(|selector| {
            let selected = self.peers.0.get(selector);
            let names = selected.into_iter().flat_map(|selected| &selected.jails);
            let jails = names.filter_map(|name| self.jail(name));
            PeerView {
                jails: selector.clone(),
                addresses: jails
                    .flat_map(|jail| self.addresses_for(jail, Some(host)))
                    .collect(),
            }
        });
        views.collect()
    }
}
