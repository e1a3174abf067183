//! `jailctl sandbox`: a whole fleet in one process: embedded store, controller, and agents on emulated hosts. Nothing else is needed.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use cellblock_agent::emulated::{Live, prepared};
use cellblock_agent::{Agent, Config as AgentConfig, Guardian, Surroundings};
use cellblock_controller::{Config as ControllerConfig, Controller};
use cellblock_freebsd::{FreeBsd, System};
use cellblock_schemas::jail::{Jail, RunPolicy};
use cellblock_schemas::manifest::Document;
use cellblock_schemas::{Kind, Object};
use indicatif::{ProgressBar, ProgressStyle};

use crate::apply;
use crate::args::{Sandbox, Terms};
use crate::client::Client;
use crate::context::{Connection, ContextEntry};
use crate::end::End;
use crate::input;
use crate::printer::Printer;
use crate::table;
use crate::target::Usage;
use crate::wait::{self, Goal};

mod apart;
mod reach;

/// What is applied when nothing is named.
pub const EXAMPLES: &str = "examples";

/// The agent's folder on an emulated host.
const FOLDER: &str = "/var/db/cellblock";

/// How long an emulated host may drift unnoticed, in seconds: an operator who plays with one wants to see it mended.
const RESYNC_SECONDS: u64 = 5;

/// One emulated host with its agent.
struct Machine {
    name: String,
    host: Live,
    agent: Agent,
}

/// Runs `sandbox`.
///
/// # Errors
/// A manifest has a mistake or is refused, or not everything becomes ready in time: then every reason was printed.
pub async fn run(
    connection: &Connection,
    arguments: &Sandbox,
    printer: &Printer,
) -> anyhow::Result<()> {
    // From the first moment on: a sandbox that is ended early ends as orderly as a late one.
    let mut end = End::listen()?;
    if arguments.filenames == [Path::new(EXAMPLES)] && !Path::new(EXAMPLES).exists() {
        bail!(Usage(format!(
            "there is no folder `{EXAMPLES}` here, which is applied when nothing is named; name manifests, as in `jailctl sandbox FILE`, or run it where cellblock's sources are"
        )));
    }
    let documents = input::read(&arguments.filenames, printer)?;
    let folder = tempfile::tempdir().context("no folder for the sandbox could be made")?;
    let controller =
        Controller::start(ControllerConfig::embedded(folder.path().join("store.redb")))
            .await
            .context("the controller could not be started")?;
    controller.ready().await;
    let entry = ContextEntry {
        server: format!("http://{}", controller.address()),
        ..ContextEntry::default()
    };
    let machines = start_machines(arguments, &documents, &entry.server, folder.path())?;
    printer.note(&format!(
        "controller at {}, emulated hosts {}; roots of jails were made there as an operator would",
        entry.server,
        machines
            .iter()
            .map(|machine| machine.name.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    ));
    let played = tokio::select! {
        played = play(arguments, documents, &entry, &machines, printer) => Some(played),
        _ = end.wait() => None,
    };
    let result = match played {
        None => Err(anyhow::anyhow!(
            "ended by a signal before everything was ready"
        )),
        Some(Ok(())) if !arguments.exit_when_ready => {
            stay(connection, &entry, &mut end, printer).await
        }
        Some(played) => played,
    };
    for machine in machines {
        machine.agent.stop().await;
    }
    controller.stop().await;
    result
}

async fn play(
    arguments: &Sandbox,
    documents: Vec<Document>,
    entry: &ContextEntry,
    machines: &[Machine],
    printer: &Printer,
) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut client = Client::new(entry)?;
    // A host that is not heard yet takes no jail, so the first to come would take them all.
    let hosts: Vec<(Kind, String)> = machines
        .iter()
        .map(|machine| (Kind::Host, machine.name.clone()))
        .collect();
    let heard = Goal::Condition {
        kind: "Heard".to_owned(),
        status: "True".to_owned(),
    };
    until_joined(&mut client, &hosts, &heard, arguments.timeout, printer).await?;
    // Jails that shall run; the others are applied as well, and never ready.
    let running = documents
        .iter()
        .filter_map(|document| match &document.object {
            Object::Jail(jail) => Some(jail),
            Object::Host(_) | Object::Network(_) | Object::Image(_) | Object::JailSet(_) => None,
        })
        .filter(|jail| jail.spec.run_policy == RunPolicy::Running);
    let target = |jail: &Jail| (Kind::Jail, jail.metadata.name.clone());
    let jails: Vec<(Kind, String)> = running.clone().map(target).collect();
    let publishing: Vec<(Kind, String)> = running
        .filter(|jail| jail.spec.is_published())
        .map(target)
        .collect();
    apply::apply(&mut client, documents, &Terms::default(), false, printer).await?;
    let ready = watch_progress(&mut client, &jails, arguments.timeout, printer).await;
    let took = began.elapsed();
    // Rules in pf are reported apart from the jail itself.
    let ready = match ready {
        Ok(()) => until_published(&mut client, &publishing, arguments.timeout, printer).await,
        Err(error) => Err(error),
    };
    let astray = show(&mut client, machines, printer).await?;
    if let Err(error) = ready {
        if arguments.exit_when_ready {
            return Err(error);
        }
        // What is not ready can be looked at: the sandbox stays up.
        printer.error(&format!("{error:#}"));
        return Ok(());
    }
    if !astray.is_empty() {
        let reasons = astray.join("\n  ");
        if arguments.exit_when_ready {
            anyhow::bail!("published ports lead nowhere:\n  {reasons}");
        }
        printer.note(&format!("published ports lead nowhere:\n  {reasons}"));
    }
    printer.note(&format!(
        "{} jails on {} hosts were applied and ready after {:.1} s",
        jails.len(),
        machines.len(),
        took.as_secs_f64()
    ));
    Ok(())
}

/// Stays up with a context until a signal ends it, and takes the context away again, whatever the signal was.
async fn stay(
    connection: &Connection,
    entry: &ContextEntry,
    end: &mut End,
    printer: &Printer,
) -> anyhow::Result<()> {
    let context = connection.lend(entry)?;
    let name = context.name();
    if context.is_further() {
        printer.note(&format!(
            "there is another sandbox, or a context of that name; this one has the context `{name}`"
        ));
    }
    printer.note(&format!(
        "the sandbox stays up; try `jailctl --context {name} get all` elsewhere (the context is in {} for as long), and end it with ^C",
        context.path().display()
    ));
    end.wait().await;
    context.give_back()
}

fn start_machines(
    arguments: &Sandbox,
    documents: &[Document],
    server: &str,
    folder: &Path,
) -> anyhow::Result<Vec<Machine>> {
    let mut names: BTreeSet<String> = BTreeSet::new();
    let mut roots: BTreeSet<String> = BTreeSet::new();
    let mut storages: BTreeSet<String> = BTreeSet::new();
    let mut datasets: BTreeSet<String> = BTreeSet::new();
    let mut releases = Vec::new();
    for document in documents {
        match &document.object {
            Object::Host(host) => {
                names.insert(host.metadata.name.clone());
                let storage = host.spec.storage.as_ref();
                storages.extend(storage.and_then(|storage| storage.path.clone()));
                datasets.extend(storage.and_then(|storage| storage.dataset.clone()));
            }
            Object::Jail(jail) => {
                roots.extend(jail.spec.root.as_ref().map(|root| root.path.clone()));
                names.extend(jail.spec.host.clone());
            }
            Object::Image(image) => releases.push(image.spec.release.clone()),
            Object::JailSet(set) => {
                let spec = &set.spec.template.spec;
                roots.extend(spec.root.as_ref().map(|root| root.path.clone()));
                names.extend(spec.host.clone());
            }
            Object::Network(_) => {}
        }
    }
    let mut number = 1;
    while names.len() < usize::from(arguments.hosts.max(1)) {
        names.insert(format!("fbsd-{number:02}"));
        number += 1;
    }
    let mut machines = Vec::new();
    for (seed, name) in (1..).zip(names) {
        let mut emulator = prepared(&name, seed)?;
        for root in roots
            .iter()
            .flat_map(|root| [format!("{root}/dev"), format!("{root}/tmp")])
            .chain(storages.iter().cloned())
        {
            emulator
                .files
                .create_directories(&root)
                .map_err(|error| anyhow::anyhow!("{root} on emulated host {name}: {error}"))?;
        }
        let pools: BTreeSet<&str> = datasets
            .iter()
            .filter_map(|dataset| dataset.split('/').next())
            .collect();
        let pools = pools.iter().zip(0..);
        let pools = pools.map(|(pool, disk)| format!("zpool create {pool} /dev/ada{disk}"));
        let made = datasets
            .iter()
            .map(|dataset| format!("zfs create -p {dataset}"));
        for line in pools.chain(made) {
            let output = emulator.sh(&line);
            anyhow::ensure!(
                output.status == 0,
                "`{line}` on emulated host {name}: {}",
                output.stderr.trim()
            );
        }
        for release in &releases {
            let (tarball, digest) = (&release.tarball, &release.sha256);
            emulator
                .add_base(tarball, digest)
                .map_err(|error| anyhow::anyhow!("{tarball} on emulated host {name}: {error}"))?;
        }
        let host = Live::new(emulator);
        let config = AgentConfig {
            controllers: vec![server.to_owned()],
            host_name: name.clone(),
            state_dir: folder.join(&name),
            host_folder: Some(FOLDER.to_owned()),
            resync_seconds: RESYNC_SECONDS,
            log: String::new(),
            tls: None,
            pause_max: cellblock_agent::config::PAUSE_MAX,
        };
        let system: Arc<dyn System> = Arc::new(host.clone());
        let adapter = Arc::new(FreeBsd::new(system.clone(), FOLDER));
        let surroundings = Surroundings {
            guardian: Guardian::Thread(adapter.clone()),
            way: None,
            is_this_machine: false,
            system: Some(system),
        };
        let agent = Agent::start_in(config, adapter, surroundings)
            .with_context(|| format!("the agent of {name}"))?;
        machines.push(Machine { name, host, agent });
    }
    Ok(machines)
}

/// Waits until every agent has made its Host and is heard.
async fn until_joined(
    client: &mut Client,
    hosts: &[(Kind, String)],
    heard: &Goal,
    timeout: Duration,
    printer: &Printer,
) -> anyhow::Result<()> {
    wait::wait(client, hosts, &Goal::Create, timeout, printer, |_| {}).await?;
    wait::wait(client, hosts, heard, timeout, printer, |_| {}).await
}

async fn watch_progress(
    client: &mut Client,
    jails: &[(Kind, String)],
    timeout: Duration,
    printer: &Printer,
) -> anyhow::Result<()> {
    if jails.is_empty() {
        return Ok(());
    }
    let bar = if printer.is_interactive() {
        ProgressBar::new(jails.len() as u64)
    } else {
        ProgressBar::hidden()
    };
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} jails ready {elapsed}")
        .context("the progress bar's template")?;
    bar.set_style(style);
    let goal = Goal::Condition {
        kind: "Ready".to_owned(),
        status: "True".to_owned(),
    };
    let result = wait::wait(client, jails, &goal, timeout, printer, |ready| {
        bar.set_position(ready as u64)
    })
    .await;
    bar.finish_and_clear();
    result
}

/// Waits until the rules of published ports are in force.
async fn until_published(
    client: &mut Client,
    publishing: &[(Kind, String)],
    timeout: Duration,
    printer: &Printer,
) -> anyhow::Result<()> {
    if publishing.is_empty() {
        return Ok(());
    }
    let goal = Goal::Condition {
        kind: "PublishReady".to_owned(),
        status: "True".to_owned(),
    };
    wait::wait(client, publishing, &goal, timeout, printer, |_| {}).await
}

/// Prints the table and the traces. What published ports lead nowhere.
async fn show(
    client: &mut Client,
    machines: &[Machine],
    printer: &Printer,
) -> anyhow::Result<Vec<String>> {
    let mut objects = Vec::new();
    for kind in Kind::ALL {
        objects.extend(client.list(kind, "").await?.0);
    }
    printer.raw(&table::render(&objects, printer.room(), true))?;
    let mut astray = Vec::new();
    for machine in machines {
        let report = reach::report(&machine.name, &machine.host, &objects);
        if !report.lines.is_empty() {
            printer.line("")?;
        }
        for line in report.lines {
            printer.line(&line)?;
        }
        astray.extend(report.astray);
    }
    let by_name = machines
        .iter()
        .map(|machine| (machine.name.as_str(), &machine.host))
        .collect();
    let between = apart::report(&by_name, &objects);
    if !between.is_empty() {
        printer.line("")?;
    }
    for line in between {
        printer.line(&line)?;
    }
    Ok(astray)
}
