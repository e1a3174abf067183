//! `jailctl render`: what the agent of a host makes of objects, as an operator would have written it by hand: commands, pf rules, ngctl scripts, jail.conf files.
//!
//! ```text
//! manifests ─► offline ─┐
//!                       ├─► Index ─► host_view ─► rehearse (plan, adapter, emulated host) ─► entries ─► text | document
//! cluster   ─► live ────┘                            └── fresh: the host as it is before
//! ```
//!
//! There is no second renderer: everything that is shown was planned by the agent's own core and done by its own adapter. Nothing is applied, and nothing of it is ever run by a shell of ours.

use std::collections::BTreeSet;

use cellblock_controller_core::{Index, host_view};
use cellblock_schemas::jail::RunPolicy;
use cellblock_schemas::view::HostView;
use cellblock_schemas::{Jail, Kind};

use crate::args::Render;
use crate::context::Connection;
use crate::input;
use crate::output;
use crate::printer::Printer;
use crate::target::{Targets, label};

mod document;
mod fresh;
mod live;
pub(crate) mod offline;
mod record;
mod rehearse;
mod section;
mod text;
mod whose;

use fresh::Fresh;
use record::Action;
use rehearse::{Entry, NOTE, Rehearsal, Told};
use section::Section;
use whose::Object;

/// Runs `render`. Whether something of everything that was asked for could be rendered.
///
/// # Errors
/// A manifest has a mistake, an object is not there, or the controller did not answer.
pub async fn run(
    connection: &Connection,
    arguments: &Render,
    printer: &Printer,
) -> anyhow::Result<bool> {
    let named = if arguments.words.is_empty() {
        None
    } else {
        Some(Targets::read(&arguments.words)?)
    };
    let is_offline = !arguments.files.filenames.is_empty();
    let index = if is_offline {
        let documents = input::read_for(&arguments.files.filenames, "rendered", printer)?;
        offline::index(documents, printer)?
    } else {
        live::index(&mut connection.client()?).await?
    };
    let (selection, missing) = Selection::read(&index, named.as_ref());
    for (kind, name) in &missing {
        printer.error(&format!("there is no {kind} `{name}`"));
    }
    let rendered = render(&index, &selection, is_offline)?;
    match arguments.output {
        Some(encoding) => output::document(&document::document(&rendered), encoding, printer)?,
        None => {
            for line in text::text(&rendered).lines() {
                printer.line(line)?;
            }
        }
    }
    Ok(missing.is_empty() && rendered.is_whole)
}

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Selection {
    /// Every object that something is to be shown of.
    objects: BTreeSet<Object>,
    /// Hosts of which everything is.
    hosts: BTreeSet<String>,
}

impl Selection {
    /// What is named, and of that what does not exist. Without a name everything is meant.
    fn read(index: &Index, named: Option<&Targets>) -> (Self, Vec<Object>) {
        let of_kind = |kind: &Kind| {
            let kind = *kind;
            let objects = index.list(kind, None);
            objects
                .map(move |entry| (kind, entry.name().to_owned()))
                .collect::<Vec<_>>()
        };
        let wanted: Vec<Object> = match named {
            None => Kind::ALL.iter().flat_map(of_kind).collect(),
            Some(Targets::Kinds(kinds)) => kinds.iter().flat_map(of_kind).collect(),
            Some(Targets::Objects(objects)) => objects.clone(),
        };
        let (found, missing): (Vec<_>, Vec<_>) = wanted
            .into_iter()
            .partition(|(kind, name)| index.get(*kind, name).is_some());
        let mut selection = Self::default();
        for (kind, name) in found {
            if kind == Kind::Host {
                let jails = index.jails_of_host(&name);
                let jails = jails.map(|jail| (Kind::Jail, jail.metadata.name.clone()));
                selection.objects.extend(jails);
                selection.hosts.insert(name.clone());
            }
            if kind == Kind::JailSet
                && let Some(set) = index.jail_set(&name)
            {
                let jails = index.dependents(&set.metadata.uid);
                let jails = jails.map(|entry| (entry.object.kind(), entry.name().to_owned()));
                selection.objects.extend(jails);
            }
            selection.objects.insert((kind, name));
        }
        (selection, missing)
    }

    /// The hosts on which something of it is.
    fn concerned(&self, index: &Index) -> BTreeSet<String> {
        let mut hosts = self.hosts.clone();
        for (kind, name) in &self.objects {
            match kind {
                Kind::Host => {}
                Kind::Network => hosts.extend(
                    index
                        .jails_of_network(name)
                        .filter_map(Jail::binding)
                        .map(|binding| binding.host.clone()),
                ),
                Kind::Image => hosts.extend(
                    index
                        .jails_of_image(name)
                        .filter_map(Jail::binding)
                        .map(|binding| binding.host.clone()),
                ),
                Kind::JailSet => {}
                Kind::Jail => hosts.extend(
                    index
                        .jail(name)
                        .and_then(Jail::binding)
                        .map(|binding| binding.host.clone()),
                ),
            }
        }
        hosts
    }

    fn shows(&self, host: &str, of: &[Object]) -> bool {
        self.hosts.contains(host) || of.iter().any(|object| self.objects.contains(object))
    }
}

/// Everything that is to be shown.
#[derive(Debug)]
struct Rendered {
    /// Host by host, by their names.
    pages: Vec<Page>,
    /// What is to be said of objects that are on no host.
    told: Vec<Told>,
    /// Whether something was rendered of each object that something is to be rendered of.
    is_whole: bool,
}

/// What is shown of one host.
#[derive(Debug)]
struct Page {
    /// Its name.
    host: String,
    /// Its release.
    release: &'static str,
    /// Its interfaces in words.
    machine: String,
    /// Whether these are declared only: no agent has told any.
    is_declared: bool,
    /// Whether uids were made of names.
    is_offline: bool,
    /// What is done, part by part.
    shown: Vec<Shown>,
    /// What is said beside.
    told: Vec<Told>,
}

/// What is done for one thing.
#[derive(Debug)]
struct Shown {
    /// What, and for which.
    entry: Entry,
    /// In place of an anchor that others have rules in too, what of it is the jail's that was asked for.
    own: Option<OwnRules>,
}

/// The rules of one jail in an anchor that it shares.
#[derive(Debug)]
struct OwnRules {
    /// The anchor.
    anchor: String,
    /// Its rules in it.
    rules: String,
    /// The other jails.
    others: Vec<String>,
}

/// Renders what is selected of an index.
///
/// # Errors
/// The emulated host does not answer.
fn render(index: &Index, selection: &Selection, is_offline: bool) -> anyhow::Result<Rendered> {
    let mut rendered = Rendered {
        pages: Vec::new(),
        told: Vec::new(),
        is_whole: true,
    };
    for host in selection.concerned(index) {
        match host_view(index, &host) {
            Some(view) => rendered
                .pages
                .push(page(index, selection, &view, is_offline)?),
            None => rendered.told.push(Told {
                of: (Kind::Host, host),
                word: "blocked",
                reason: "HostMissing".to_owned(),
                message: "there is no such Host".to_owned(),
            }),
        }
    }
    for (kind, name) in &selection.objects {
        rendered.told.extend(nowhere(index, *kind, name));
    }
    rendered.is_whole = selection.objects.iter().all(|object| rendered.has(object));
    Ok(rendered)
}

impl Rendered {
    /// Whether something was rendered of an object, or there is nothing to render of it. Of a jail there always is, unless it is said why not.
    fn has(&self, object: &Object) -> bool {
        let told = self.pages.iter().flat_map(|page| &page.told);
        let told = told.chain(&self.told).filter(|told| told.of == *object);
        let words: Vec<&str> = told.map(|told| told.word).collect();
        let is_fine = words.iter().all(|word| *word == NOTE);
        self.pages.iter().any(|page| page.shows(object))
            || is_fine && (object.0 != Kind::Jail || !words.is_empty())
    }
}

impl Page {
    /// Whether something of an object is shown; of the host everything is.
    fn shows(&self, object: &Object) -> bool {
        let mut shown = self.shown.iter();
        shown.any(|shown| shown.entry.of.contains(object))
            || *object == (Kind::Host, self.host.clone()) && !self.shown.is_empty()
    }
}

/// Why there is nothing of an object on any host.
fn nowhere(index: &Index, kind: Kind, name: &str) -> Option<Told> {
    let told = |word, reason: &str, message: String| {
        Some(Told {
            of: (kind, name.to_owned()),
            word,
            reason: reason.to_owned(),
            message,
        })
    };
    match kind {
        Kind::Host => None,
        Kind::Network => {
            let mut jails = index.jails_of_network(name);
            if jails.any(|jail| jail.binding().is_some()) {
                return None;
            }
            let message = "no jail on any host is attached to it, so nothing is made of it";
            told(NOTE, "", message.to_owned())
        }
        Kind::Image => {
            let mut jails = index.jails_of_image(name);
            if jails.any(|jail| jail.binding().is_some()) {
                return None;
            }
            let message = "no jail on any host is made of it, so nothing is fetched";
            told(NOTE, "", message.to_owned())
        }
        Kind::JailSet => {
            let message = "what is made of it is in its jails";
            told(NOTE, "", message.to_owned())
        }
        Kind::Jail => {
            let jail = index.jail(name)?;
            if jail.binding().is_some() {
                return None;
            }
            let conditions = jail.status.iter().flat_map(|status| &status.conditions);
            let mut scheduled = conditions.filter(|one| one.kind == "Scheduled");
            match scheduled.next() {
                Some(one) => told("blocked", &one.reason, one.message.clone()),
                None => told("waits", "NoHosts", "it has no host yet".to_owned()),
            }
        }
    }
}

fn page(
    index: &Index,
    selection: &Selection,
    view: &HostView,
    is_offline: bool,
) -> anyhow::Result<Page> {
    let host = index.host(&view.host_name);
    let facts = host
        .and_then(|host| host.status.as_ref())
        .and_then(|status| status.facts.as_ref());
    let fresh = Fresh::of(view, facts);
    let mut rehearsal = rehearse::rehearse(view, fresh.start(view)?)?;
    let entries = std::mem::take(&mut rehearsal.entries);
    let is_shown = |of: &[Object]| selection.shows(&view.host_name, of);
    let shown = entries.into_iter().filter(|entry| is_shown(&entry.of));
    let shown = shown.map(|entry| Shown {
        own: own_rules(&rehearsal, selection, view, &entry),
        entry,
    });
    let shown: Vec<Shown> = shown.collect();
    let mut told = rehearsal.told;
    told.extend(resting(view));
    told.retain(|told| is_shown(std::slice::from_ref(&told.of)));
    Ok(Page {
        host: view.host_name.clone(),
        release: fresh.release.name(),
        machine: fresh.words(),
        is_declared: facts.is_none(),
        is_offline,
        shown,
        told,
    })
}

/// The jail's own, where a jail was asked for and not its host, and others have rules in its anchor.
fn own_rules(
    rehearsal: &Rehearsal,
    selection: &Selection,
    view: &HostView,
    entry: &Entry,
) -> Option<OwnRules> {
    let anchor = entry.anchor.as_ref()?;
    if selection.hosts.contains(&view.host_name) {
        return None;
    }
    let (own, others): (Vec<_>, Vec<_>) = entry
        .of
        .iter()
        .partition(|object| selection.objects.contains(object));
    if others.is_empty() {
        return None;
    }
    let names = own.iter().map(|(_, name)| name.as_str()).collect();
    Some(OwnRules {
        anchor: anchor.clone(),
        rules: rehearsal.own_rules(&names, anchor)?,
        others: others.into_iter().map(|(_, name)| name.clone()).collect(),
    })
}

/// What shall not be there, and of which there is nothing for that.
fn resting(view: &HostView) -> Vec<Told> {
    let note = |of: Object, message: &str| Told {
        of,
        word: NOTE,
        reason: String::new(),
        message: message.to_owned(),
    };
    let mut told = Vec::new();
    if view.fenced {
        let of = (Kind::Host, view.host_name.clone());
        let message = "it was given up (`jailctl host forget`), and nothing is done on it";
        told.push(note(of, message));
    }
    for jail in view.jails.values() {
        let of = (Kind::Jail, jail.name.clone());
        if jail.deleting {
            let message = "its deletion was asked for, so nothing of it is made";
            told.push(note(of, message));
        } else if jail.spec.run_policy == RunPolicy::Stopped {
            let message = "it shall not run (spec.runPolicy)";
            told.push(note(of, message));
        }
    }
    told.sort();
    told
}

/// `jail/www`
fn name_of(object: &Object) -> String {
    label(object.0, &object.1)
}

#[cfg(test)]
pub(crate) mod tests;
