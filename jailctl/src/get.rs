//! `jailctl get`: objects, once or for as long as they change.

use std::collections::BTreeMap;
use std::time::Duration;

use cellblock_proto::v1::watch_event::Type;
use cellblock_schemas::Kind;

use crate::args::Get;
use crate::client::{self, Client, Refused, Stored};
use crate::lists::{self, List};
use crate::output::{self, Format};
use crate::printer::{Printer, Unwritten};
use crate::table::{self, Room};
use crate::target::{Targets, Usage};

#[cfg(test)]
mod tests;

/// The first pause before a controller that went away is asked again; each further one doubles it.
const PAUSE_FIRST: Duration = Duration::from_millis(200);

/// The longest of these pauses.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Runs `get`.
///
/// # Errors
/// An object that was named does not exist (the others were shown), or the controller did not answer.
pub async fn run(client: &mut Client, arguments: &Get, printer: &Printer) -> anyhow::Result<()> {
    let word = arguments.words.first();
    if let Some(list) = word.and_then(|word| List::of(word)) {
        return lists::run(client, list, arguments, printer).await;
    }
    if lists::filters(arguments) {
        anyhow::bail!(Usage(
            "--kind, --host and --jail choose among allocations, --for among events; of objects a selector (-l) chooses"
                .to_owned()
        ));
    }
    let targets = Targets::read(&arguments.words)?;
    if arguments.show_managed_fields {
        client.show_managed_fields();
    }
    let kinds = targets.kinds();
    if arguments.watch && kinds.len() != 1 {
        anyhow::bail!(Usage("-w shows one kind at a time".to_owned()));
    }
    let selector = arguments.selector.as_deref().unwrap_or_default();
    let (mut objects, mut missing) = (Vec::new(), Vec::new());
    let mut revision = 0;
    let mut single = false;
    match &targets {
        Targets::Kinds(kinds) => {
            for kind in kinds {
                let (listed, at) = client.list(*kind, selector).await?;
                revision = at;
                objects.extend(listed);
            }
        }
        Targets::Objects(_) if !selector.is_empty() => {
            anyhow::bail!(Usage(
                "a selector chooses among all objects of a kind; give it or names, not both"
                    .to_owned()
            ));
        }
        Targets::Objects(named) => {
            single = named.len() == 1;
            let found = client.get_each(named).await?;
            let revisions = found.objects.iter().map(|object| object.revision);
            revision = revisions.max().unwrap_or_default();
            (objects, missing) = (found.objects, found.missing);
        }
    }
    // Of several that were named, those that are there are shown, as kubectl does.
    if !missing.is_empty() {
        if !objects.is_empty() {
            output::show(&objects, &arguments.output, single, printer)?;
        }
        return Ok(client::all_there(missing, printer)?);
    }
    if objects.is_empty() && matches!(arguments.output, Format::Table | Format::Wide) {
        printer.note("nothing found");
    }
    output::show(&objects, &arguments.output, single, printer)?;
    let (true, [kind]) = (arguments.watch, kinds.as_slice()) else {
        return Ok(());
    };
    let names = match targets {
        Targets::Kinds(_) => Vec::new(),
        Targets::Objects(named) => named.into_iter().map(|(_, name)| name).collect(),
    };
    let mut watch = Watch {
        kind: *kind,
        selector,
        names,
        seen: Seen::new(&objects, revision),
        format: &arguments.output,
        printer,
    };
    watch.run(client).await
}

/// What was shown already, so that nothing is shown twice or left out when a watch is taken up again.
#[derive(Debug)]
struct Seen {
    /// Revisions of the objects that are there, by name.
    revisions: BTreeMap<String, u64>,
    /// Everything up to here was seen.
    revision: u64,
}

impl Seen {
    fn new(objects: &[Stored], revision: u64) -> Self {
        Self {
            revisions: objects
                .iter()
                .map(|object| (object.name.clone(), object.revision))
                .collect(),
            revision,
        }
    }

    /// Notes an event; whether it is news.
    ///
    /// Objects written in one transaction share a revision, and a watch may break off between them: it is taken up *before* the last revision
    /// seen, and what comes again is passed over here.
    fn note(&mut self, name: &str, revision: u64, deleted: bool) -> bool {
        let known = self.revisions.get(name).copied();
        let news = if deleted {
            known.is_some_and(|known| known <= revision)
        } else {
            known.is_none_or(|known| known < revision)
        };
        if news && deleted {
            self.revisions.remove(name);
        } else if news {
            self.revisions.insert(name.to_owned(), revision);
        }
        self.revision = self.revision.max(revision.saturating_sub(1));
        news
    }

    /// Notes everything that there is now: what is news of it, and the names of what is gone.
    fn renew<'a>(
        &mut self,
        objects: &'a [Stored],
        revision: u64,
    ) -> (Vec<&'a Stored>, Vec<String>) {
        let now = Self::new(objects, revision);
        let gone = self
            .revisions
            .keys()
            .filter(|name| !now.revisions.contains_key(*name))
            .cloned()
            .collect();
        let news = objects
            .iter()
            .filter(|object| {
                let known = self.revisions.get(&object.name);
                known.is_none_or(|known| *known < object.revision)
            })
            .collect();
        *self = now;
        (news, gone)
    }
}

/// Shows changes for ever.
struct Watch<'a> {
    kind: Kind,
    selector: &'a str,
    names: Vec<String>,
    seen: Seen,
    format: &'a Format,
    printer: &'a Printer,
}

impl Watch<'_> {
    /// Runs until the operator ends it. A controller that goes away is waited for: it may be being restarted, and the watch goes on where
    /// it was.
    async fn run(&mut self, client: &mut Client) -> anyhow::Result<()> {
        let mut pause = PAUSE_FIRST;
        let mut away = false;
        loop {
            let mut heard = false;
            match self.follow(client, &mut heard, &mut away).await {
                Ok(()) => {}
                Err(Stopped::Refused(refused)) if refused.is_expired() => {
                    match self.list_again(client).await {
                        Ok(()) => heard = true,
                        Err(Stopped::Refused(refused)) if refused.is_unavailable() => {}
                        Err(Stopped::Refused(refused)) => return Err(refused.into()),
                        Err(Stopped::Output(error)) => return Err(error),
                    }
                }
                Err(Stopped::Refused(refused)) if refused.is_unavailable() => {
                    if !away {
                        self.printer
                            .note(&format!("{refused}; waiting until it is back"));
                    }
                    away = true;
                }
                Err(Stopped::Refused(refused)) => return Err(refused.into()),
                Err(Stopped::Output(error)) => return Err(error),
            }
            pause = if heard {
                PAUSE_FIRST
            } else {
                (pause * 2).min(PAUSE_MAX)
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Follows one watch until it ends. `heard`: it was accepted.
    async fn follow(
        &mut self,
        client: &mut Client,
        heard: &mut bool,
        away: &mut bool,
    ) -> Result<(), Stopped> {
        let mut events = client
            .watch(Some(self.kind), self.selector, self.seen.revision)
            .await?;
        *heard = true;
        if std::mem::take(away) {
            self.printer.note("the controller is back");
        }
        loop {
            let event = match events.message().await {
                Ok(Some(event)) => event,
                Ok(None) => return Ok(()),
                Err(status) => {
                    let refused = client.refused(&status);
                    // How a stream broke tells nothing; whether the controller is away is told by asking again.
                    return if refused.is_unavailable() {
                        Ok(())
                    } else {
                        Err(refused.into())
                    };
                }
            };
            let Some(object) = &event.object else {
                continue;
            };
            if event.r#type() == Type::Bookmark {
                self.seen.revision = self.seen.revision.max(object.revision);
                continue;
            }
            let deleted = event.r#type() == Type::Deleted;
            let shown = self.names.is_empty() || self.names.contains(&object.name);
            if self.seen.note(&object.name, object.revision, deleted) && shown {
                self.show(&client.stored(object)?, deleted)?;
            }
        }
    }

    /// Shows what happened while nobody looked for so long that the controller has forgotten it.
    async fn list_again(&mut self, client: &mut Client) -> Result<(), Stopped> {
        let (mut objects, revision) = client.list(self.kind, self.selector).await?;
        objects.retain(|object| self.names.is_empty() || self.names.contains(&object.name));
        let (news, gone) = self.seen.renew(&objects, revision);
        for object in news {
            self.show(object, false)?;
        }
        let shown = |name: &String| self.names.is_empty() || self.names.contains(name);
        for name in gone.iter().filter(|name| shown(name)) {
            self.printer.line(&format!("{name}   (deleted)"))?;
        }
        Ok(())
    }

    fn show(&self, object: &Stored, deleted: bool) -> Result<(), Stopped> {
        let one = std::slice::from_ref(object);
        match self.format {
            Format::Table | Format::Wide => {
                let room = match self.format {
                    Format::Wide => Room::Wide,
                    Format::Table
                    | Format::Yaml
                    | Format::Json
                    | Format::Name
                    | Format::JsonPath(_) => self.printer.room(),
                };
                let row = table::render(one, room, false);
                self.printer.line(&format!(
                    "{}{}",
                    row.trim_end(),
                    if deleted { "   (deleted)" } else { "" }
                ))?;
                Ok(())
            }
            Format::Yaml | Format::Json | Format::Name | Format::JsonPath(_) => {
                output::show(one, self.format, true, self.printer).map_err(Stopped::Output)
            }
        }
    }
}

/// Why a watch ended.
enum Stopped {
    /// The controller refused, or went away.
    Refused(Refused),
    /// An object cannot be shown, or nobody reads what is shown.
    Output(anyhow::Error),
}

impl From<Unwritten> for Stopped {
    fn from(unwritten: Unwritten) -> Self {
        Self::Output(unwritten.into())
    }
}

impl From<Refused> for Stopped {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}
