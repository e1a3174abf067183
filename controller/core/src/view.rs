//! The view of one host, made from the index, and the difference between two views as it goes over the wire.
//!
//! A view never carries what the agent itself reports, so that a report cannot change the view it answers. Its parts are
//! encoded and hashed one by one: a session remembers only the hashes of what it sent.

use std::collections::BTreeMap;

use bytes::Bytes;
use cellblock_schemas::feature;
use cellblock_schemas::host::ViewMark;
use cellblock_schemas::jail::{JailSpec, UserIdRange};
use cellblock_schemas::network::Fib;
use cellblock_schemas::owner;
use cellblock_schemas::view::{ImageView, JailView, NetworkView};
use cellblock_schemas::{Generation, HostView, Jail};
use sha2::{Digest, Sha256};

use crate::allocate::bridge_mac;
use crate::fibs;
use crate::index::Index;
use crate::slices;

/// A SHA-256.
pub type Hash = [u8; 32];

/// Everything that belongs to a host; none if there is no such Host. Nothing belongs to one that was forgotten.
///
/// Its generation is the store's revision of the newest change that could be seen in it.
#[must_use]
pub fn host_view(index: &Index, host: &str) -> Option<HostView> {
    let object = index.host(host)?;
    let fenced = object.spec.forgotten;
    let mut spec = object.spec.clone();
    // An agent that does not know of fences yet knows what a pause is.
    spec.paused |= fenced;
    let mut view = HostView {
        cluster: index.cluster().clone(),
        mark: ViewMark {
            epoch: index.epoch(),
            generation: Generation(index.view_revision(host)),
        },
        host_name: host.to_owned(),
        host_uid: object.metadata.uid.clone(),
        host_generation: object.metadata.generation,
        host: spec,
        networks: BTreeMap::new(),
        jails: BTreeMap::new(),
        fenced,
        needs: feature::of_host(&object.spec),
    };
    if fenced {
        return Some(view);
    }
    for jail in index.jails_of_host(host) {
        let Some(binding) = jail.binding().filter(|binding| binding.host == host) else {
            continue;
        };
        for network in networks_of(jail) {
            if !view.networks.contains_key(network)
                && let Some(network_view) = network_view(index, network, host)
            {
                view.networks.insert(network.to_owned(), network_view);
            }
        }
        view.jails.insert(
            jail.metadata.uid.clone(),
            JailView {
                name: jail.metadata.name.clone(),
                uid: jail.metadata.uid.clone(),
                generation: jail.metadata.generation,
                deleting: jail.metadata.deletion_timestamp.is_some(),
                spec: with_user_ids(&jail.spec, binding.user_ids),
                binding: binding.clone(),
                peers: index.peers_of(jail, host),
                image: image_view(index, jail),
                needs: feature::of_jail(&jail.spec),
            },
        );
    }
    Some(view)
}

/// The rules about a jail's own user ids with their numbers: what an agent is to do stands in its view whole.
fn with_user_ids(spec: &JailSpec, own: Option<UserIdRange>) -> JailSpec {
    let mut spec = spec.clone();
    let firewall = spec.firewall.iter_mut();
    let rules =
        firewall.flat_map(|firewall| firewall.ingress.iter_mut().chain(&mut firewall.egress));
    for rule in rules {
        for text in [&mut rule.user, &mut rule.group].into_iter().flatten() {
            // Validation saw to it that there is something to put in. A jail that waits for it has rules about nobody meanwhile, and blocks whoever it may be about.
            if let Some(with) = owner::with_own(text, own) {
                *text = with;
            }
        }
    }
    spec
}

fn networks_of(jail: &Jail) -> impl Iterator<Item = &str> {
    let bound = jail
        .binding()
        .into_iter()
        .flat_map(|binding| &binding.attachments);
    let named = jail
        .spec
        .networks
        .iter()
        .map(|attachment| attachment.network.as_str());
    named.chain(bound.map(|attachment| attachment.network.as_str()))
}

fn image_view(index: &Index, jail: &Jail) -> Option<ImageView> {
    let image = index.image(&jail.spec.image.as_ref()?.name)?;
    Some(ImageView {
        name: image.metadata.name.clone(),
        release: image.spec.release.clone(),
    })
}

fn network_view(index: &Index, name: &str, host: &str) -> Option<NetworkView> {
    let network = index.network(name)?;
    let uid = &network.metadata.uid;
    let mut spec = network.spec.clone();
    spec.fib = fibs::of(network).map(Fib::Number);
    Some(NetworkView {
        name: name.to_owned(),
        uid: uid.clone(),
        generation: network.metadata.generation,
        spec,
        bridge_mac: index.claims().bridge(uid, host).map(bridge_mac),
        slices: slices::of_others(index, network, host),
    })
}

/// A view in the encoded parts that travel separately.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// The view without networks, jails and number.
    pub host: Bytes,
    /// The networks by name.
    pub networks: BTreeMap<String, Bytes>,
    /// The jails by uid.
    pub jails: BTreeMap<String, Bytes>,
}

/// The hashes of a view's parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    host: Hash,
    networks: BTreeMap<String, Hash>,
    jails: BTreeMap<String, Hash>,
}

/// What turns one view into another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// The view without networks, jails and number, if that changed.
    pub host: Option<Bytes>,
    /// Networks that are new or changed, by name.
    pub networks: Vec<(String, Bytes)>,
    /// Jails that are new or changed, by uid.
    pub jails: Vec<(String, Bytes)>,
    /// Networks that are gone, by name.
    pub removed_networks: Vec<String>,
    /// Jails that are gone, by uid.
    pub removed_jails: Vec<String>,
}

impl Parts {
    /// Encodes a view. The number is left out: it would make every view different from every other.
    #[must_use]
    pub fn of(view: &HostView) -> Self {
        let host = HostView {
            mark: ViewMark::default(),
            networks: BTreeMap::new(),
            jails: BTreeMap::new(),
            ..view.clone()
        };
        let networks = view.networks.iter();
        let jails = view.jails.iter();
        Self {
            host: encode(&host),
            networks: networks
                .map(|(name, network)| (name.clone(), encode(network)))
                .collect(),
            jails: jails
                .map(|(uid, jail)| (uid.0.clone(), encode(jail)))
                .collect(),
        }
    }

    /// The hashes.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let hashes = |parts: &BTreeMap<String, Bytes>| {
            let parts = parts.iter();
            parts
                .map(|(key, json)| (key.clone(), Sha256::digest(json).into()))
                .collect()
        };
        Summary {
            host: Sha256::digest(&self.host).into(),
            networks: hashes(&self.networks),
            jails: hashes(&self.jails),
        }
    }

    /// What turns the view that `base` summarises into this one. Without a base: everything.
    #[must_use]
    pub fn since(&self, base: Option<&Summary>) -> Delta {
        let none = BTreeMap::new();
        let now = self.summary();
        let (networks, jails) = base.map_or((&none, &none), |base| (&base.networks, &base.jails));
        Delta {
            host: (base.map(|base| base.host) != Some(now.host)).then(|| self.host.clone()),
            networks: changed(&self.networks, &now.networks, networks),
            jails: changed(&self.jails, &now.jails, jails),
            removed_networks: removed(&now.networks, networks),
            removed_jails: removed(&now.jails, jails),
        }
    }
}

impl Summary {
    /// The digest of the whole view: a SHA-256 over the keys and hashes of the parts, in order. Two views with the same
    /// digest have the same content, whatever their numbers.
    #[must_use]
    pub fn digest(&self) -> Hash {
        let mut hash = Sha256::new();
        hash.update(self.host);
        for (family, parts) in [(b"n", &self.networks), (b"j", &self.jails)] {
            for (key, part) in parts {
                hash.update(family);
                hash.update((key.len() as u64).to_be_bytes());
                hash.update(key.as_bytes());
                hash.update(part);
            }
        }
        hash.finalize().into()
    }
}

/// The digest of a view's content.
#[must_use]
pub fn digest(view: &HostView) -> Hash {
    Parts::of(view).summary().digest()
}

fn changed(
    parts: &BTreeMap<String, Bytes>,
    now: &BTreeMap<String, Hash>,
    base: &BTreeMap<String, Hash>,
) -> Vec<(String, Bytes)> {
    let changed = parts
        .iter()
        .filter(|(key, _)| now.get(*key) != base.get(*key));
    changed
        .map(|(key, json)| (key.clone(), json.clone()))
        .collect()
}

fn removed(now: &BTreeMap<String, Hash>, base: &BTreeMap<String, Hash>) -> Vec<String> {
    base.keys()
        .filter(|key| !now.contains_key(*key))
        .cloned()
        .collect()
}

fn encode(part: &impl serde::Serialize) -> Bytes {
    serde_json::to_vec(part)
        .expect("the parts of a view have string keys only")
        .into()
}
