//! `jailctl get allocations` and `get events`: what is no object, and is listed as objects are.

use anyhow::bail;
use cellblock_proto::v1 as wire;
use cellblock_schemas::API_VERSION;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::args::{Encoding, Get};
use crate::client::Client;
use crate::output::{self, Format};
use crate::printer::Printer;
use crate::table::{self, Room};
use crate::target::{self, Targets, Usage};

/// What is listed here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// What is given out.
    Allocations,
    /// What happened.
    Events,
}

impl List {
    /// The list of that name, as kinds are named.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        match word.to_ascii_lowercase().as_str() {
            "allocations" | "allocation" | "alloc" => Some(Self::Allocations),
            "events" | "event" | "ev" => Some(Self::Events),
            _ => None,
        }
    }
}

/// Runs `get` of a list.
///
/// # Errors
/// A filter makes no sense, or the controller did not answer.
pub async fn run(
    client: &mut Client,
    list: List,
    arguments: &Get,
    printer: &Printer,
) -> anyhow::Result<()> {
    if arguments.words.len() > 1 || arguments.selector.is_some() {
        let filters = match list {
            List::Allocations => "--kind, --host and --jail choose among allocations",
            List::Events => "--for KIND/NAME chooses among events",
        };
        bail!(Usage(format!(
            "they have neither names to ask for nor labels; {filters}"
        )));
    }
    if arguments.watch {
        bail!(Usage(
            "-w shows objects; ask again for what has changed of a list".to_owned()
        ));
    }
    match list {
        List::Allocations => allocations(client, arguments, printer).await,
        List::Events => events(client, arguments, printer).await,
    }
}

/// Whether only lists have what a command line says.
#[must_use]
pub fn filters(arguments: &Get) -> bool {
    let said = [
        &arguments.sort,
        &arguments.host,
        &arguments.jail,
        &arguments.about,
    ];
    said.iter().any(|said| said.is_some())
}

async fn allocations(
    client: &mut Client,
    arguments: &Get,
    printer: &Printer,
) -> anyhow::Result<()> {
    if arguments.about.is_some() {
        bail!(Usage("--for is for events".to_owned()));
    }
    let said = |said: &Option<String>| said.clone().unwrap_or_default();
    let request = wire::ListAllocationsRequest {
        sort: said(&arguments.sort),
        host: said(&arguments.host),
        jail: said(&arguments.jail),
        ..wire::ListAllocationsRequest::default()
    };
    let found = client.allocations(request).await?;
    let rows = found.iter().map(|one| {
        let state = match one.retired_generation {
            0 if !one.kept_since.is_empty() => "kept".to_owned(),
            0 => "held".to_owned(),
            generation => format!("given up by generation {generation}"),
        };
        let scope = if one.scope.is_empty() {
            "fleet"
        } else {
            &one.scope
        };
        let owner = format!("{}/{}", one.kind.to_ascii_lowercase(), one.name);
        [
            one.value.clone(),
            one.sort.clone(),
            one.network.clone(),
            one.host.clone(),
            owner,
            state,
            scope.to_owned(),
            one.uid.clone(),
        ]
    });
    let items = found.iter().map(|one| {
        let mut item = json!({
            "kind": one.sort,
            "value": one.value,
            "scope": if one.scope.is_empty() { "fleet" } else { "host" },
            "owner": {"kind": one.kind, "name": one.name, "uid": one.uid},
        });
        for (member, said) in [("network", &one.network), ("host", &one.host)] {
            if !said.is_empty() {
                item[member] = said.as_str().into();
            }
        }
        if one.retired_generation > 0 {
            item["retiredGeneration"] = one.retired_generation.into();
        }
        if !one.kept_since.is_empty() {
            item["keptSince"] = one.kept_since.as_str().into();
        }
        item
    });
    let document = json!({
        "apiVersion": API_VERSION, "kind": "AllocationList", "items": items.collect::<Vec<_>>(),
    });
    let heading = [
        "VALUE", "KIND", "NETWORK", "HOST", "OWNER", "STATE", "SCOPE", "UID",
    ];
    let columns = Columns {
        heading,
        names: &[0, 2, 3, 4],
        narrow: &[0, 1, 2, 3, 4, 5],
    };
    show(
        &columns,
        &rows.collect::<Vec<_>>(),
        &document,
        arguments,
        printer,
    )
}

async fn events(client: &mut Client, arguments: &Get, printer: &Printer) -> anyhow::Result<()> {
    if arguments.sort.is_some() || arguments.host.is_some() || arguments.jail.is_some() {
        bail!(Usage(
            "--kind, --host and --jail are for allocations; --for KIND/NAME chooses among events"
                .to_owned()
        ));
    }
    let about = match &arguments.about {
        None => None,
        Some(word) => match Targets::read(std::slice::from_ref(word))? {
            Targets::Objects(mut objects) => objects.pop(),
            Targets::Kinds(_) => bail!(Usage(format!("`{word}` is no KIND/NAME, as in jail/www"))),
        },
    };
    let about = about.as_ref();
    let kind = about.map_or("", |(kind, _)| kind.as_str());
    let found = client
        .events(kind, about.map_or("", |(_, name)| name.as_str()))
        .await?;
    let rows = found.iter().map(|event| {
        let text = |pointer: &str| text(event, pointer);
        let kind = text("/involvedObject/kind").to_ascii_lowercase();
        [
            age(event, "/lastTimestamp"),
            text("/type").to_owned(),
            text("/reason").to_owned(),
            format!("{kind}/{}", text("/involvedObject/name")),
            event["count"].to_string(),
            age(event, "/firstTimestamp"),
            text("/message").to_owned(),
        ]
    });
    let document = json!({"apiVersion": "v1", "kind": "List", "items": found});
    let heading = [
        "LAST SEEN",
        "TYPE",
        "REASON",
        "OBJECT",
        "COUNT",
        "FIRST SEEN",
        "MESSAGE",
    ];
    let columns = Columns {
        heading,
        names: &[2, 3],
        narrow: &[0, 1, 2, 3, 6],
    };
    show(
        &columns,
        &rows.collect::<Vec<_>>(),
        &document,
        arguments,
        printer,
    )
}

/// What happened to an object, for `describe`: a line each, the oldest first.
///
/// # Errors
/// The controller did not answer.
pub async fn of_object(
    client: &mut Client,
    kind: &str,
    name: &str,
    uid: &str,
) -> anyhow::Result<Vec<String>> {
    let found = match client.events(kind, name).await {
        Ok(found) => found,
        // A controller of before events.
        Err(refused) if refused.reason == "Unimplemented" => return Ok(Vec::new()),
        Err(refused) => return Err(refused.into()),
    };
    let own = found
        .iter()
        .filter(|event| text(event, "/involvedObject/uid") == uid);
    let lines = own.map(|event| {
        let times = match event["count"].as_u64() {
            Some(count) if count > 1 => {
                format!(" (x{count} over {})", age(event, "/firstTimestamp"))
            }
            Some(_) | None => String::new(),
        };
        format!(
            "  {:<8}{:<22}{}{times}  {}",
            text(event, "/type"),
            text(event, "/reason"),
            age(event, "/lastTimestamp"),
            crate::printer::visible(text(event, "/message")),
        )
    });
    Ok(lines.collect())
}

/// The columns of a list, by their places in a row.
struct Columns<const N: usize> {
    heading: [&'static str; N],
    /// Those of names, which are not cut where a script may read.
    names: &'static [usize],
    /// Those that are shown without `-o wide`.
    narrow: &'static [usize],
}

impl<const N: usize> Columns<N> {
    fn table(&self, shown: &[usize], rows: &[[String; N]], room: Room) -> String {
        let heading: Vec<&str> = shown.iter().map(|place| self.heading[*place]).collect();
        let is_name = |at: &usize| self.names.contains(&shown[*at]);
        let names: Vec<usize> = (0..shown.len()).filter(is_name).collect();
        let row = |row: &[String; N]| shown.iter().map(|place| row[*place].clone()).collect();
        table::plain(&heading, &names, rows.iter().map(row).collect(), room)
    }
}

fn show<const N: usize>(
    columns: &Columns<N>,
    rows: &[[String; N]],
    document: &Value,
    arguments: &Get,
    printer: &Printer,
) -> anyhow::Result<()> {
    let all: Vec<usize> = (0..N).collect();
    match &arguments.output {
        Format::Table | Format::Wide if rows.is_empty() => printer.note("nothing found"),
        Format::Table => printer.raw(&columns.table(columns.narrow, rows, printer.room()))?,
        Format::Wide => printer.raw(&columns.table(&all, rows, Room::Wide))?,
        Format::Yaml => output::document(document, Encoding::Yaml, printer)?,
        Format::Json => output::document(document, Encoding::Json, printer)?,
        Format::JsonPath(path) => output::picked(path, document, printer)?,
        Format::Name => bail!(target::Usage(
            "they are no objects that could be named; -o table, wide, yaml, json or jsonpath"
                .to_owned()
        )),
    }
    Ok(())
}

fn text<'a>(event: &'a Value, pointer: &str) -> &'a str {
    let found = event.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_default()
}

fn age(event: &Value, pointer: &str) -> String {
    table::age(text(event, pointer).parse::<Timestamp>().ok())
}
