//! Which root a jail may have: its directory without symbolic links, that no other jail has, and that nobody inside a jail can exchange for another.
//!
//! The kernel shows a jail's root and its mounts by their real paths, so a link is followed once, when the host is looked at, and everything else speaks of where it led.

use std::borrow::Cow;
use std::collections::BTreeMap;

use cellblock_schemas::jail::RunPolicy;
use cellblock_schemas::view::{HostView, JailView};

use super::index::Index;
use super::{Settings, datasets, images, reason};
use crate::image::{self, ROOT, root_folder};
use crate::ledger::Ledger;
use crate::observed::{Directory, Observed, ObservedJail};

/// Why a jail cannot have the root that it asks for.
type Refused = (&'static str, String);

/// The roots of a host: those that jails have, and those that jails of the view ask for.
pub(super) struct Roots<'a, 'o> {
    view: &'a HostView,
    host: &'a str,
    observed: &'a Observed,
    index: &'o Index<'a>,
    ledger: &'a Ledger,
    folder: &'a str,
    /// By real path. A jail of the host's own root is in everybody's way and in nobody's: FreeBSD's service jails (rc.subr(8)) are like that.
    taken: BTreeMap<&'a str, Vec<&'a ObservedJail>>,
    /// By real path, in the order of uids.
    wanted: BTreeMap<Cow<'a, str>, Vec<&'a JailView>>,
}

impl<'a, 'o> Roots<'a, 'o> {
    pub(super) fn new(
        view: &'a HostView,
        observed: &'a Observed,
        index: &'o Index<'a>,
        ledger: &'a Ledger,
        settings: &'a Settings,
    ) -> Self {
        let mut taken: BTreeMap<&str, Vec<&ObservedJail>> = BTreeMap::new();
        // A jail inside a jail has its parent's root around its own, and is its parent's matter.
        let living = observed
            .jails
            .iter()
            .filter(|jail| !jail.dying && !jail.name.contains('.'));
        for jail in living.filter(|jail| jail.path != "/") {
            taken.entry(&jail.path).or_default().push(jail);
        }
        let mut wanted: BTreeMap<Cow<'_, str>, Vec<&JailView>> = BTreeMap::new();
        let running = view
            .jails
            .values()
            .filter(|jail| !jail.deleting && jail.spec.run_policy != RunPolicy::Stopped);
        for jail in running {
            let root = jail.spec.root.as_ref();
            let named = root.and_then(|root| observed.directories.get(&root.path)?.path());
            let made = observed
                .storage
                .as_ref()
                .filter(|_| jail.spec.image.is_some());
            let made = made.map(|storage| root_path(&storage.path, jail));
            let path = named.map(Cow::Borrowed).or(made.map(Cow::Owned));
            if let Some(path) = path {
                wanted.entry(path).or_default().push(jail);
            }
        }
        Self {
            view,
            host: &view.host_name,
            observed,
            index,
            ledger,
            folder: &settings.folder,
            taken,
            wanted,
        }
    }

    /// The root of `jail` on the host, without symbolic links.
    pub(super) fn resolve(&self, jail: &JailView) -> Result<String, Refused> {
        let Some(root) = jail
            .spec
            .root
            .as_ref()
            .filter(|_| jail.spec.image.is_none())
        else {
            return self.resolve_made(jail);
        };
        let written = &root.path;
        let path = match self.observed.directories.get(written) {
            Some(Directory::At(path)) => path,
            Some(Directory::Unknown(why)) => {
                let message = format!(
                    "spec.root.path: host `{}` does not tell what `{written}` is: {why}; mend it there, or correct the path",
                    self.host
                );
                return Err((reason::ROOT_MISSING, message));
            }
            Some(Directory::Absent) | None => {
                let message = format!(
                    "spec.root.path: `{written}` is no directory on host `{}`; make it there, or correct the path",
                    self.host
                );
                return Err((reason::ROOT_MISSING, message));
            }
        };
        let led = if written.trim_end_matches('/') == path {
            String::new()
        } else {
            format!(" leads to `{path}`, which")
        };
        self.check_place(path)
            .and_then(|()| self.check_neighbours(jail, path))
            .map_err(|(reason, why)| (reason, format!("spec.root.path: `{written}`{led} {why}")))?;
        self.check_link(jail, written, path)?;
        Ok(path.to_owned())
    }

    /// The root of a jail that is made of an image, whether it is there yet or not.
    fn resolve_made(&self, jail: &JailView) -> Result<String, Refused> {
        let storage = images::sound(self.view, self.observed, self.ledger)
            .map_err(|message| (reason::STORAGE_MISSING, message))?;
        if jail.image.is_none() {
            let message = "the view does not contain the jail's image".to_owned();
            return Err((reason::REFERENCE_MISSING, message));
        }
        datasets::check_root(self.view, self.observed, self.ledger, jail)?;
        let folder = root_folder(&storage.path, &jail.uid);
        if let Some(why) = storage.unknown.get(jail.uid.as_str()) {
            let message = format!("`{folder}`, where the jail's root is, {why}; mend it there");
            return Err((reason::ROOT_REFUSED, message));
        }
        let found = storage.roots.get(jail.uid.as_str());
        let is_making = datasets::may_have_root(self.view, self.observed, &jail.uid)
            && found.is_none_or(|found| !found.entries.contains(ROOT));
        let is_own = |found| images::is_own_root(self.view, found, &jail.uid);
        if !is_making && found.is_some_and(|found| !is_own(found)) {
            let message = format!(
                "`{folder}`, where the jail's root shall be, is not this jail's by what stands in its file `{}`; move it away",
                image::MARK
            );
            return Err((reason::ROOT_REFUSED, message));
        }
        let path = root_path(&storage.path, jail);
        self.check_place(&path)
            .and_then(|()| self.check_neighbours(jail, &path))
            .map_err(|(reason, why)| (reason, format!("spec.image: `{path}` {why}")))?;
        let had = self.ledger.jails.get(&jail.uid);
        let was_made = had.is_some_and(|ours| images::is_made_root(&ours.path, &jail.uid));
        let mut incarnations = self.index.incarnations(&jail.uid);
        let running = incarnations.find(|found| !found.dying && found.path != path);
        if let Some(running) = running.filter(|_| was_made) {
            let message = format!(
                "{} of the Host leads to `{path}` now and led to `{}` when the jail was started; set it right, or stop the jail (spec.runPolicy: Stopped) before it moves",
                images::field(self.view),
                running.path
            );
            return Err((reason::ROOT_CHANGED, message));
        }
        if was_made && found.is_none_or(|found| !found.entries.contains(ROOT)) {
            let message = format!(
                "`{path}`, which the jail has run in, is not there any more, and no other one is made in its place; put it back, or delete the Jail and make it anew"
            );
            return Err((reason::ROOT_LOST, message));
        }
        Ok(path)
    }

    /// The host's own root, and one from within which the agent's files can be reached, are no roots for a jail.
    fn check_place(&self, path: &str) -> Result<(), Refused> {
        if path == "/" {
            let why = "is the host's own root; name a directory of the jail's own".to_owned();
            return Err((reason::ROOT_REFUSED, why));
        }
        if path == self.folder || is_inside(self.folder, path) || is_inside(path, self.folder) {
            let why = format!(
                "and the agent's folder `{}` lie one inside the other; name a directory elsewhere",
                self.folder
            );
            return Err((reason::ROOT_REFUSED, why));
        }
        Ok(())
    }

    /// No other jail has the root, and neither lies in the other: whoever is root in the outer one could put a symbolic link in the place of the inner one's directories.
    fn check_neighbours(&self, jail: &JailView, path: &str) -> Result<(), Refused> {
        if let Some(other) = self.other_at(jail, path) {
            let why = format!("is the root of jail {other} already; two jails must not share one");
            return Err((reason::ROOT_IN_USE, why));
        }
        let mut outer = path;
        while let Some((parent, _)) = outer
            .rsplit_once('/')
            .filter(|(parent, _)| !parent.is_empty())
        {
            outer = parent;
            if let Some(other) = self.any_at(jail, outer) {
                let why = format!(
                    "lies inside `{outer}`, the root of jail {other}, whose root could exchange it for another directory; name one outside"
                );
                return Err((reason::ROOT_REFUSED, why));
            }
        }
        let below = format!("{path}/");
        let inner = self
            .taken
            .range(below.as_str()..)
            .next()
            .filter(|(inner, _)| inner.starts_with(&below))
            .and_then(|(inner, jails)| {
                jails
                    .iter()
                    .find(|other| self.index.owner_of(other).is_none())
                    .map(|other| (inner, other))
            });
        if let Some((inner, other)) = inner {
            let why = format!(
                "has `{inner}` inside it, the root of jail `{}` (jid {}), which is not ours; name a directory beside it",
                other.name, other.jid
            );
            return Err((reason::ROOT_REFUSED, why));
        }
        Ok(())
    }

    /// Who has exactly that root before `jail` has: whoever runs there, else the first that asks for it.
    fn other_at(&self, jail: &JailView, path: &str) -> Option<String> {
        // The one that was started first, in the order of jls(8).
        if let Some(first) = self.taken.get(path).and_then(|jails| jails.first()) {
            return (!self.is_of(first, jail)).then(|| described(first));
        }
        let first = self.wanted.get(path)?.first()?;
        (first.uid != jail.uid).then(|| format!("`{}`", first.name))
    }

    /// Any other jail that has or wants that root.
    fn any_at(&self, jail: &JailView, path: &str) -> Option<String> {
        let running = self.taken.get(path).map_or(&[][..], Vec::as_slice);
        let mut running = running.iter().filter(|other| !self.is_of(other, jail));
        let wanted = self.wanted.get(path).map_or(&[][..], Vec::as_slice);
        let mut wanted = wanted.iter().filter(|other| other.uid != jail.uid);
        let running = running.next().map(|other| described(other));
        running.or_else(|| wanted.next().map(|other| format!("`{}`", other.name)))
    }

    /// Whether a running jail is `jail` itself, or stands under its name, which is another complaint.
    fn is_of(&self, running: &'a ObservedJail, jail: &JailView) -> bool {
        running.name == jail.jail_name() || self.index.owner_of(running) == Some(jail.uid.as_str())
    }

    /// A link that leads elsewhere than when the jail was started: what runs and what is named are two things, and only the operator knows which was meant.
    fn check_link(&self, jail: &JailView, written: &str, path: &str) -> Result<(), Refused> {
        let mut incarnations = self.index.incarnations(&jail.uid);
        let Some(running) = incarnations.find(|found| !found.dying && found.path != path) else {
            return Ok(());
        };
        let ours = self.ledger.jails.get(&jail.uid);
        let was_written = ours.map(|ours| {
            if ours.root.is_empty() {
                ours.path.as_str()
            } else {
                ours.root.as_str()
            }
        });
        if was_written != Some(written) {
            return Ok(());
        }
        let message = format!(
            "spec.root.path: `{written}` leads to `{path}` now and led to `{}` when the jail was started; set the link right, or stop the jail (spec.runPolicy: Stopped) before it moves",
            running.path
        );
        Err((reason::ROOT_CHANGED, message))
    }
}

fn described(jail: &ObservedJail) -> String {
    format!("`{}` (jid {})", jail.name, jail.jid)
}

/// Where the root of a jail that is made of an image is.
fn root_path(storage: &str, jail: &JailView) -> String {
    format!("{}/{ROOT}", root_folder(storage, &jail.uid))
}

/// Whether `path` lies below `outer`.
pub(super) fn is_inside(path: &str, outer: &str) -> bool {
    path.strip_prefix(outer)
        .is_some_and(|rest| rest.starts_with('/'))
}
