//! Which hosts realise a network: those that jails of it are bound to, and which of these have not said that it is as it shall be.

use std::collections::{BTreeMap, BTreeSet};

use cellblock_schemas::ConditionStatus;
use cellblock_schemas::Jail;
use cellblock_schemas::host::HostNetwork;

use super::Index;

/// The hosts of one network.
#[derive(Clone, Debug, Default)]
pub(super) struct Realised {
    /// How many jails of the network each has.
    hosts: BTreeMap<String, usize>,
    /// Those of which it is not known that they have the network as its newest spec says.
    unready: BTreeSet<String>,
}

impl Index {
    /// The hosts that jails of a network are bound to, by name.
    pub fn hosts_of_network<'a>(
        &'a self,
        network: &str,
    ) -> impl ExactSizeIterator<Item = &'a str> + use<'a> {
        static NONE: BTreeMap<String, usize> = BTreeMap::new();
        let hosts = self
            .realised
            .get(network)
            .map_or(&NONE, |known| &known.hosts);
        hosts.keys().map(String::as_str)
    }

    /// Of these, the ones that have not said that the network is as it shall be, by name.
    pub fn unready_hosts<'a>(
        &'a self,
        network: &str,
    ) -> impl ExactSizeIterator<Item = &'a str> + use<'a> {
        static NONE: BTreeSet<String> = BTreeSet::new();
        let hosts = self
            .realised
            .get(network)
            .map_or(&NONE, |known| &known.unready);
        hosts.iter().map(String::as_str)
    }

    /// Whether a host has jails of a network.
    #[must_use]
    pub fn has_network(&self, host: &str, network: &str) -> bool {
        let known = self.realised.get(network);
        known.is_some_and(|known| known.hosts.contains_key(host))
    }

    /// What a host says of the newest spec of a network; none if it has not said anything of it yet.
    #[must_use]
    pub fn realised(&self, host: &str, network: &str) -> Option<&HostNetwork> {
        let metadata = &self.network(network)?.metadata;
        let said = &self.host(host)?.status.as_ref()?.networks;
        said.iter().find(|said| {
            said.uid == metadata.uid && said.observed_generation >= metadata.generation
        })
    }

    /// Counts the networks of a jail's binding in, or out.
    pub(super) fn count_realised(&mut self, jail: &Jail, counted_in: bool) {
        let Some(binding) = jail.binding() else {
            return;
        };
        let networks: BTreeSet<&str> = binding
            .attachments
            .iter()
            .map(|bound| bound.network.as_str())
            .collect();
        for network in networks {
            let known = self.realised.entry(network.to_owned()).or_default();
            let count = known.hosts.entry(binding.host.clone()).or_default();
            *count = if counted_in {
                *count + 1
            } else {
                count.saturating_sub(1)
            };
            if *count == 0 {
                known.hosts.remove(&binding.host);
            }
            self.judge_realised(&binding.host, network);
        }
    }

    /// Judges anew whether a host has a network as it shall be.
    pub(super) fn judge_realised(&mut self, host: &str, network: &str) {
        let ready = self
            .realised(host, network)
            .is_some_and(|said| said.ready == ConditionStatus::True);
        let Some(known) = self.realised.get_mut(network) else {
            return;
        };
        if known.hosts.contains_key(host) && !ready {
            known.unready.insert(host.to_owned());
        } else {
            known.unready.remove(host);
        }
        if known.hosts.is_empty() {
            self.realised.remove(network);
        }
    }

    /// Judges anew whether any host has a network as it shall be: its spec has changed.
    pub(super) fn judge_network(&mut self, network: &str) {
        let hosts: Vec<_> = self.hosts_of_network(network).map(str::to_owned).collect();
        for host in hosts {
            self.judge_realised(&host, network);
        }
    }
}
