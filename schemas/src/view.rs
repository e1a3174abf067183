//! The view of one host: everything that its agent needs to know, and nothing else. Made by `controller/core`, planned from by `agent/core`.
//!
//! A view never carries status that the agent itself reports, so that a report cannot change the view it answers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::host::{HostSpec, ViewMark};
use crate::ids::{ClusterUid, Generation, Uid};
use crate::image::Release;
use crate::jail::{Addressing, Attachment, Binding, JailSpec};
use crate::net::{Cidr, Mac};
use crate::network::NetworkSpec;
use crate::selector::LabelSelector;

/// Everything that belongs to one host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostView {
    /// The cluster, as it stands in every ownership mark.
    pub cluster: ClusterUid,
    /// The number of this view.
    pub mark: ViewMark,
    /// The Host's name.
    pub host_name: String,
    /// The Host's uid.
    pub host_uid: Uid,
    /// The generation of the Host's spec.
    pub host_generation: Generation,
    /// The Host's spec.
    pub host: HostSpec,
    /// The networks that this host's jails use, by name.
    #[serde(default)]
    pub networks: BTreeMap<String, NetworkView>,
    /// The jails bound to this host, by uid.
    #[serde(default)]
    pub jails: BTreeMap<Uid, JailView>,
    /// True: the operator has given this host up, and what was its may be elsewhere. There is nothing in this view, and the agent only observes until it is approved again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fenced: bool,
    /// What the host's own spec needs of an agent, see [`crate::feature`].
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub needs: BTreeSet<String>,
}

/// One network as it stands on one host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkView {
    /// The Network's name.
    pub name: String,
    /// The Network's uid.
    pub uid: Uid,
    /// The generation of its spec.
    #[serde(default)]
    pub generation: Generation,
    /// Its spec, defaulted.
    pub spec: NetworkSpec,
    /// The MAC address of this host's bridge for the network, or of its own interface at the netgraph switch, claimed in the store; none where the mode has neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge_mac: Option<Mac>,
    /// What other hosts have of its subnets, ascending; empty where the network does not span hosts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slices: Vec<SliceView>,
}

/// A part of a network's subnets whose addresses are those of another host's jails.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SliceView {
    /// The prefix.
    pub cidr: Cidr,
    /// The Host's name.
    pub host: String,
    /// Its node address of that family.
    pub next_hop: IpAddr,
}

/// One jail of one host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JailView {
    /// The Jail's name.
    pub name: String,
    /// The Jail's uid.
    pub uid: Uid,
    /// The generation of its spec.
    pub generation: Generation,
    /// True once deletion was asked for: the agent takes everything away and reports when nothing is left.
    #[serde(default)]
    pub deleting: bool,
    /// Its spec, defaulted.
    pub spec: JailSpec,
    /// Its addresses and MACs.
    pub binding: Binding,
    /// The jails that its firewall selects by labels: one entry for each selector, once, in the order of its rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<PeerView>,
    /// The image that its root is made of, as it is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageView>,
    /// What it needs of an agent, see [`crate::feature`].
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub needs: BTreeSet<String>,
}

/// An image, as far as a host needs to know it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageView {
    /// The Image's name.
    pub name: String,
    /// What it is made of.
    pub release: Release,
}

/// Jails that a selector selects, as far as this host can meet them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerView {
    /// The selector.
    pub jails: LabelSelector,
    /// The addresses of the jails that it selects, ascending. Of networks whose addresses stand for themselves on every host, those of this host's jails only.
    #[serde(default)]
    pub addresses: BTreeSet<IpAddr>,
}

impl JailView {
    /// The addresses of the jails that a selector of its firewall selects.
    #[must_use]
    pub fn selected(&self, selector: &LabelSelector) -> Option<&BTreeSet<IpAddr>> {
        let mut peers = self.peers.iter();
        let found = peers.find(|peer| peer.jails == *selector)?;
        Some(&found.addresses)
    }

    /// Where the addresses of its attachment at `place` come from.
    #[must_use]
    pub fn addressing(&self, place: usize) -> Addressing {
        let attachment = self.spec.networks.get(place);
        attachment.map_or(Addressing::Allocate, Attachment::effective_addressing)
    }

    /// The name that jls(8) shows.
    #[must_use]
    pub fn jail_name(&self) -> &str {
        self.spec.jail_name.as_deref().unwrap_or(&self.name)
    }
}
