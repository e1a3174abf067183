//! Changes of the ledger in the words of the journal. A view is written as what differs from the one before: a host of a thousand jails has a megabyte of it, and its views come one jail at a time.
//!
//! What stands here is read by every later release: what is added must be optional, and what is there keeps its meaning.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cellblock_schemas::ids::Uid;
use cellblock_schemas::view::{HostView, JailView, NetworkView};
use serde::{Deserialize, Serialize};

use super::{Change, Contents, Owned, OwnedJail};
use crate::guard::RolledBack;

/// One change as it is written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Written<'a> {
    TakeView(Box<ViewChange<'a>>),
    Approve,
    EnterBoot(Cow<'a, str>),
    Own(Cow<'a, Owned>),
    Disown(Cow<'a, Owned>),
    KnowJail(Cow<'a, Uid>, Cow<'a, OwnedJail>),
    ForgetJail(Cow<'a, Uid>),
    Judge(Cow<'a, str>, Cow<'a, RolledBack>),
    Acquit(Cow<'a, str>),
}

/// What a view has that the one before has not.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ViewChange<'a> {
    digest: Cow<'a, str>,
    /// The view without networks and jails.
    host: HostView,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    networks: BTreeMap<Cow<'a, str>, Cow<'a, NetworkView>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    jails: BTreeMap<Cow<'a, Uid>, Cow<'a, JailView>>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    removed_networks: BTreeSet<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    removed_jails: BTreeSet<Cow<'a, Uid>>,
}

impl<'a> Written<'a> {
    /// How `changes` to `before` are written.
    pub(super) fn all(before: &'a Contents, changes: &'a [Change]) -> Vec<Self> {
        let mut view = before.view.as_deref();
        let written = changes.iter().map(|change| match change {
            Change::TakeView(taken, digest) => {
                let before = view.replace(taken);
                Self::TakeView(Box::new(ViewChange::between(before, taken, digest)))
            }
            Change::Approve => Self::Approve,
            Change::EnterBoot(boot_id) => Self::EnterBoot(Cow::Borrowed(boot_id)),
            Change::Own(owned) => Self::Own(Cow::Borrowed(owned)),
            Change::Disown(owned) => Self::Disown(Cow::Borrowed(owned)),
            Change::KnowJail(uid, jail) => Self::KnowJail(Cow::Borrowed(uid), Cow::Borrowed(jail)),
            Change::ForgetJail(uid) => Self::ForgetJail(Cow::Borrowed(uid)),
            Change::Judge(part, judged) => Self::Judge(Cow::Borrowed(part), Cow::Borrowed(judged)),
            Change::Acquit(part) => Self::Acquit(Cow::Borrowed(part)),
        });
        written.collect()
    }

    /// The change to `before` that was written.
    pub(super) fn read(self, before: &mut Contents) -> Change {
        match self {
            Self::TakeView(change) => {
                let base = before.view.take().map(Arc::unwrap_or_clone);
                let (view, digest) = change.applied_to(base.unwrap_or_default());
                Change::TakeView(Arc::new(view), digest)
            }
            Self::Approve => Change::Approve,
            Self::EnterBoot(boot_id) => Change::EnterBoot(boot_id.into_owned()),
            Self::Own(owned) => Change::Own(owned.into_owned()),
            Self::Disown(owned) => Change::Disown(owned.into_owned()),
            Self::KnowJail(uid, jail) => Change::KnowJail(uid.into_owned(), jail.into_owned()),
            Self::ForgetJail(uid) => Change::ForgetJail(uid.into_owned()),
            Self::Judge(part, judged) => Change::Judge(part.into_owned(), judged.into_owned()),
            Self::Acquit(part) => Change::Acquit(part.into_owned()),
        }
    }
}

impl<'a> ViewChange<'a> {
    fn between(before: Option<&HostView>, after: &'a HostView, digest: &'a str) -> Self {
        let nothing = HostView::default();
        let before = before.unwrap_or(&nothing);
        let networks = differing(&before.networks, &after.networks);
        let jails = differing(&before.jails, &after.jails);
        let removed_networks = missing(&before.networks, &after.networks);
        let removed_jails = missing(&before.jails, &after.jails);
        Self {
            digest: Cow::Borrowed(digest),
            host: without_parts(after),
            networks: networks
                .map(|(name, network)| (Cow::Borrowed(name.as_str()), Cow::Borrowed(network)))
                .collect(),
            jails: jails
                .map(|(uid, jail)| (Cow::Borrowed(uid), Cow::Borrowed(jail)))
                .collect(),
            removed_networks: removed_networks
                .map(|name| Cow::Owned(name.clone()))
                .collect(),
            removed_jails: removed_jails.map(|uid| Cow::Owned(uid.clone())).collect(),
        }
    }

    fn applied_to(self, base: HostView) -> (HostView, String) {
        let mut view = HostView {
            networks: base.networks,
            jails: base.jails,
            ..self.host
        };
        for name in self.removed_networks {
            view.networks.remove(&*name);
        }
        for uid in self.removed_jails {
            view.jails.remove(&*uid);
        }
        let networks = self.networks.into_iter();
        view.networks
            .extend(networks.map(|(name, network)| (name.into_owned(), network.into_owned())));
        let jails = self.jails.into_iter();
        view.jails
            .extend(jails.map(|(uid, jail)| (uid.into_owned(), jail.into_owned())));
        (view, self.digest.into_owned())
    }
}

/// A view without its networks and jails, which are by far the most of it. Field by field, so that a new one has to be thought of here.
fn without_parts(view: &HostView) -> HostView {
    HostView {
        cluster: view.cluster.clone(),
        mark: view.mark,
        host_name: view.host_name.clone(),
        host_uid: view.host_uid.clone(),
        host_generation: view.host_generation,
        host: view.host.clone(),
        networks: BTreeMap::new(),
        jails: BTreeMap::new(),
        fenced: view.fenced,
        needs: view.needs.clone(),
    }
}

/// What `after` has and `before` has not, or has otherwise.
fn differing<'a, K: Ord, V: PartialEq>(
    before: &BTreeMap<K, V>,
    after: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = (&'a K, &'a V)> {
    let mut parts = after.iter();
    std::iter::from_fn(move || parts.find(|(key, value)| before.get(key) != Some(value)))
}

/// The keys of `before` that `after` has not.
fn missing<'b, K: Ord, V>(
    before: &'b BTreeMap<K, V>,
    after: &BTreeMap<K, V>,
) -> impl Iterator<Item = &'b K> {
    before.keys().filter(|key| !after.contains_key(key))
}
