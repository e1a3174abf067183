//! Whose a step of a plan is, and what it is for, in words: objects by their names, where a plan knows uids, interfaces and anchors.

use cellblock_agent_core::names;
use cellblock_agent_core::op::Subject;
use cellblock_schemas::Kind;
use cellblock_schemas::ids::Uid;
use cellblock_schemas::view::HostView;

/// An object by kind and name.
pub(super) type Object = (Kind, String);

/// Whom a step concerns, and that in words.
pub(super) fn of(view: &HostView, subject: &Subject) -> (Vec<Object>, String) {
    let host = (Kind::Host, view.host_name.clone());
    match subject {
        Subject::Host => (vec![host], "the host".to_owned()),
        Subject::HostPart(words) => match words.strip_prefix("anchor ") {
            Some(anchor) => of_anchor(view, anchor),
            None => match words.strip_prefix("image ") {
                Some(digest) => of_image(view, digest, words),
                None => (vec![host], words.clone()),
            },
        },
        Subject::Network(uid) => match network(view, uid) {
            Some(name) => (
                vec![(Kind::Network, name.to_owned())],
                format!("network {name}"),
            ),
            None => (vec![host], format!("network {uid}")),
        },
        Subject::Jail(uid) => match view.jails.get(uid) {
            Some(jail) => (
                vec![(Kind::Jail, jail.name.clone())],
                format!("jail {}", jail.name),
            ),
            None => (vec![host], format!("jail {uid}")),
        },
    }
}

/// Whose tarball a digest is of.
fn of_image(view: &HostView, digest: &str, words: &str) -> (Vec<Object>, String) {
    let images = view.jails.values().filter_map(|jail| jail.image.as_ref());
    let mut images: Vec<&str> = images
        .filter(|image| image.release.sha256 == digest)
        .map(|image| image.name.as_str())
        .collect();
    images.sort_unstable();
    images.dedup();
    if images.is_empty() {
        return (vec![(Kind::Host, view.host_name.clone())], words.to_owned());
    }
    let words = format!("image {}", images.join(", "));
    let of = images
        .into_iter()
        .map(|name| (Kind::Image, name.to_owned()));
    (of.collect(), words)
}

fn network<'a>(view: &'a HostView, uid: &Uid) -> Option<&'a str> {
    let mut networks = view.networks.values();
    let found = networks.find(|network| network.uid == *uid)?;
    Some(&found.name)
}

/// Whose rules an anchor holds.
fn of_anchor(view: &HostView, anchor: &str) -> (Vec<Object>, String) {
    if anchor == names::HOST_ANCHOR {
        let name = &view.host_name;
        return (
            vec![(Kind::Host, name.clone())],
            format!("host {name}: what it declares of its uplinks"),
        );
    }
    for network in view.networks.values() {
        let name = &network.name;
        let of = vec![(Kind::Network, name.clone())];
        if names::network_anchor(&network.uid) == anchor {
            return (of, format!("network {name}"));
        }
        if names::isolation_anchor(&network.uid) == anchor {
            return (of, format!("network {name}: what keeps its jails apart"));
        }
    }
    let mut jails = Vec::new();
    let mut what = "what comes to";
    for jail in view.jails.values() {
        let filtered = jail.spec.firewall_of_host().is_some();
        if names::jail_anchor(&jail.uid) == anchor && (filtered || jail.spec.is_published()) {
            jails.push((Kind::Jail, jail.name.clone()));
        }
        if names::egress_anchor(&jail.uid) == anchor && filtered {
            jails.push((Kind::Jail, jail.name.clone()));
            what = "what is sent by";
        }
    }
    jails.sort();
    let names: Vec<&str> = jails.iter().map(|(_, name)| name.as_str()).collect();
    let word = if names.len() == 1 { "jail" } else { "jails" };
    let about = format!("{what} {word} {}", names.join(", "));
    (jails, about)
}
