//! What of a view the steps of one subject follow from, so that a change is told from a change of something else. Compares only; what failed and when it is tried again is the parent's.

use cellblock_schemas::host::Uplink;
use cellblock_schemas::jail::RunPolicy;
use cellblock_schemas::view::{HostView, JailView, NetworkView};

use crate::names;
use crate::op::Subject;
use crate::plan::tables;

/// The parts of a view that a subject's steps follow from.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Basis<'v> {
    jails: Vec<&'v JailView>,
    networks: Vec<&'v NetworkView>,
    uplinks: Vec<(&'v str, Option<&'v Uplink>)>,
    sysctl: Option<String>,
}

impl<'v> Basis<'v> {
    /// Those of `subject`. What is there and shall go (an address, a file, a link) follows from no view: its basis is empty, and no view makes it more likely to succeed.
    pub(super) fn of(view: &'v HostView, subject: &Subject) -> Self {
        let mut basis = Self::default();
        match subject {
            Subject::Host => {}
            Subject::Jail(uid) => basis.jails.extend(view.jails.get(uid)),
            Subject::Network(uid) => {
                let mut networks = view.networks.values();
                basis
                    .networks
                    .extend(networks.find(|network| network.uid == *uid));
            }
            Subject::HostPart(_) => basis.add_host_part(view, subject),
        }
        basis.add_what_they_lean_on(view);
        basis
    }

    fn add_host_part(&mut self, view: &'v HostView, subject: &Subject) {
        let sysctls = &view.host.sysctls;
        self.sysctl = sysctls
            .iter()
            .find(|(oid, _)| Subject::sysctl(oid) == *subject)
            .map(|(_, value)| value.to_string());
        let networks = view.networks.values();
        self.networks.extend(networks.filter(|network| {
            let anchors = [
                names::network_anchor(&network.uid),
                names::isolation_anchor(&network.uid),
            ];
            anchors
                .iter()
                .any(|anchor| Subject::anchor(anchor) == *subject)
        }));
        let jails = view.jails.values();
        self.jails.extend(jails.filter(|jail| {
            let runs = !jail.deleting && jail.spec.run_policy != RunPolicy::Stopped;
            let spec = &jail.spec;
            let has_public = !spec.public_addresses.is_empty() || spec.firewall_of_host().is_some();
            let has_rules = spec.is_published() || spec.firewall_of_host().is_some();
            let anchors = [
                names::jail_anchor(&jail.uid),
                names::egress_anchor(&jail.uid),
            ];
            let pools = spec
                .publish
                .iter()
                .filter_map(|publish| publish.shared.as_ref());
            let pools = pools.map(|pool| names::pool_anchor(pool));
            let own = anchors
                .into_iter()
                .chain(pools)
                .any(|anchor| Subject::anchor(&anchor) == *subject);
            // Its way out stands in the anchor of its network.
            let attachments = &jail.binding.attachments;
            let leaves = has_public
                && self.networks.iter().any(|network| {
                    let mut names = attachments.iter().map(|attachment| &attachment.network);
                    names.any(|name| *name == network.name)
                });
            let apart = self.networks.iter().any(|network| {
                let anchor = names::isolation_anchor(&network.uid);
                let mut names = attachments.iter().map(|attachment| &attachment.network);
                Subject::anchor(&anchor) == *subject && names.any(|name| *name == network.name)
            });
            let of_table = Subject::table(tables::fib(view, jail)) == *subject;
            runs && (has_rules && own || leaves || apart || of_table)
        }));
    }

    /// The networks of the jails, and the uplinks that jails and networks name.
    fn add_what_they_lean_on(&mut self, view: &'v HostView) {
        let attachments = self.jails.iter().flat_map(|jail| &jail.binding.attachments);
        self.networks
            .extend(attachments.filter_map(|attachment| view.networks.get(&attachment.network)));
        let published = self.jails.iter().flat_map(|jail| &jail.spec.publish);
        let mut named: Vec<&str> = published.map(|publish| publish.uplink.as_str()).collect();
        let public = self
            .jails
            .iter()
            .flat_map(|jail| &jail.spec.public_addresses);
        named.extend(public.map(|public| public.uplink.as_str()));
        for network in &self.networks {
            let mode = network.spec.mode();
            named.extend(mode.and_then(|mode| mode.uplink()));
            let egress = network.spec.egress.as_ref();
            let nat = egress.and_then(|egress| egress.nat.as_ref());
            named.extend(nat.map(|nat| nat.uplink.as_str()));
        }
        let uplinks = &view.host.uplinks;
        self.uplinks = named
            .into_iter()
            .map(|name| (name, uplinks.get(name)))
            .collect();
    }
}
