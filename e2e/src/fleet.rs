//! A whole fleet: a store, a controller, machines with agents, and the command line to speak to it.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use cellblock_schemas::manifest::{self, File};
use cellblock_schemas::{Kind, Object};
use cellblock_store::testing::EtcdServer;
use cellblock_store::{EtcdOptions, EtcdStore, Store as _};
use jailctl::client::{Client, Stored};
use jailctl::context::ContextEntry;
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::binaries::Binaries;
use crate::condition::eventually;
use crate::machine::{Machine, difference};
use crate::process::Process;
use crate::said::{Running, Said};
use crate::watchman::addresses_of;

/// How long a controller may take until it serves; seconds on a machine whose cores are all busy.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Where the objects are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// A real etcd server.
    Etcd,
    /// One file.
    Embedded,
}

/// The ports that controllers listen on.
const PORTS: std::ops::Range<u16> = 2000..9000;

/// How many there are.
const PORT_COUNT: u64 = 7000;

/// How many are tried.
const PORT_TRIES: u64 = 100;

/// What a fleet is made of.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the objects are kept.
    pub store: StoreKind,
    /// The machines' names; their agents are started too.
    pub machines: Vec<&'static str>,
    /// Roots of jails that exist on every machine, beside those of `examples/`.
    pub roots: Vec<String>,
}

impl Options {
    /// The three machines of `examples/` over a store.
    #[must_use]
    pub fn examples(store: StoreKind) -> Self {
        Self {
            store,
            machines: vec!["fbsd-01", "fbsd-02", "fbsd-03"],
            roots: Vec::new(),
        }
    }

    /// One machine over one file: enough for what a controller refuses by itself.
    #[must_use]
    pub fn small() -> Self {
        Self {
            store: StoreKind::Embedded,
            machines: vec!["fbsd-01"],
            roots: Vec::new(),
        }
    }
}

/// A fleet. Everything of it ends when it is dropped.
#[derive(Debug)]
pub struct Fleet {
    /// The machines, in the order of their names.
    pub machines: Vec<Machine>,
    /// The controller.
    pub controller: Process,
    /// The etcd server, if there is one.
    pub etcd: Option<EtcdServer>,
    server: String,
    binaries: Binaries,
    runtime: Runtime,
    folder: TempDir,
}

impl Fleet {
    /// Starts everything and waits until the controller serves.
    ///
    /// # Errors
    /// Something cannot be started; the error holds the end of its log.
    pub fn start(options: &Options) -> anyhow::Result<Self> {
        let mut fleet = Self::prepare(options)?;
        fleet.start_controller()?;
        for machine in &mut fleet.machines {
            machine.agent.start()?;
        }
        Ok(fleet)
    }

    /// A controller over one file, and no machines.
    ///
    /// # Errors
    /// As [`Fleet::start`].
    pub fn controller_alone() -> anyhow::Result<Self> {
        Self::start(&Options {
            machines: Vec::new(),
            ..Options::small()
        })
    }

    /// As [`Fleet::start`], with the controller and the agents not yet started; the machines are on.
    ///
    /// # Errors
    /// As [`Fleet::start`].
    pub fn prepare(options: &Options) -> anyhow::Result<Self> {
        let binaries = Binaries::find()?;
        let folder = tempfile::tempdir()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let etcd = match options.store {
            StoreKind::Etcd => Some(runtime.block_on(EtcdServer::start())?),
            StoreKind::Embedded => None,
        };
        let store = match &etcd {
            Some(etcd) => format!("etcd:{}", etcd.client_url()),
            None => format!("embedded:{}", folder.path().join("store.redb").display()),
        };
        let listen = format!("127.0.0.1:{}", free_port()?);
        let server = format!("http://{listen}");
        let controller = Process::new(
            "cellblockd",
            &binaries.cellblockd(),
            ["--listen", &listen, "--store", &store],
            folder.path().join("cellblockd.log"),
        );
        let mut machines = Vec::new();
        let mut roots = roots_of(&examples())?;
        roots.extend(options.roots.iter().cloned());
        for (number, name) in options.machines.iter().enumerate() {
            let mut machine = Machine::new(&binaries, folder.path(), name, number + 1, &server);
            machine.switch_on()?;
            machine.make_roots(roots.iter().cloned())?;
            machines.push(machine);
        }
        Ok(Self {
            machines,
            controller,
            etcd,
            server,
            binaries,
            runtime,
            folder,
        })
    }

    /// Starts the controller and waits until it serves.
    ///
    /// # Errors
    /// It ends, or does not serve in time.
    pub fn start_controller(&mut self) -> anyhow::Result<()> {
        self.controller.start()?;
        let client = self.client()?;
        let (runtime, controller) = (&self.runtime, &mut self.controller);
        eventually("the controller serves", START_TIMEOUT, || {
            if !controller.is_running() {
                bail!("it ended: {}", controller.log_end());
            }
            runtime
                .block_on(client.clone().version())
                .map_err(anyhow::Error::from)
        })?;
        Ok(())
    }

    /// Starts etcd again on its data.
    ///
    /// # Errors
    /// There is none, or it does not start.
    pub fn restart_etcd(&mut self) -> anyhow::Result<()> {
        let etcd = self.etcd.as_mut().context("this fleet has no etcd")?;
        Ok(self.runtime.block_on(etcd.restart())?)
    }

    /// Where the controller listens.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The programs.
    #[must_use]
    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// A folder for the test's own files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The machine of that name.
    ///
    /// # Errors
    /// There is none.
    pub fn machine(&mut self, name: &str) -> anyhow::Result<&mut Machine> {
        self.machines
            .iter_mut()
            .find(|machine| machine.name == name)
            .with_context(|| format!("no machine {name}"))
    }

    /// A typed client that shows documents whole: a test of what is stored leaves nothing out.
    ///
    /// # Errors
    /// Never for an address of ours.
    pub fn client(&self) -> anyhow::Result<Client> {
        let _inside = self.runtime.enter();
        let mut client = Client::new(&ContextEntry {
            server: self.server.clone(),
            ..ContextEntry::default()
        })?;
        client.show_managed_fields();
        Ok(client)
    }

    /// Runs something asynchronous to its end.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// The runtime of this fleet, for another thread.
    #[must_use]
    pub fn handle(&self) -> tokio::runtime::Handle {
        self.runtime.handle().clone()
    }

    /// All objects of a kind.
    ///
    /// # Errors
    /// The controller does not answer.
    pub fn list(&self, kind: Kind) -> anyhow::Result<Vec<Stored>> {
        let mut client = self.client()?;
        Ok(self.runtime.block_on(client.list(kind, ""))?.0)
    }

    /// Every object's kind, name, and document but for its status and what changes with that: what a refused request must leave as
    /// it is. The controller notes in a status, whenever it comes to it, who is heard and who is attached.
    ///
    /// # Errors
    /// The controller does not answer.
    pub fn inventory(&self) -> anyhow::Result<Vec<(Kind, String, String)>> {
        let mut found = Vec::new();
        for kind in Kind::ALL {
            found.extend(self.list(kind)?.into_iter().map(|mut object| {
                if let Some(members) = object.value.as_object_mut() {
                    members.shift_remove("status");
                }
                if let Some(metadata) = object.value["metadata"].as_object_mut() {
                    metadata.shift_remove("resourceVersion");
                    metadata.shift_remove("finalizers");
                }
                (kind, object.name, object.value.to_string())
            }));
        }
        Ok(found)
    }

    /// One object's document.
    ///
    /// # Errors
    /// There is no such object, or the controller does not answer.
    pub fn get(&self, kind: Kind, name: &str) -> anyhow::Result<Value> {
        let mut client = self.client()?;
        Ok(self.runtime.block_on(client.get(kind, name))?.value)
    }

    /// The revision of the newest write, of whatever key: etcd's own where there is one.
    ///
    /// # Errors
    /// The store does not answer.
    pub fn revision(&self) -> anyhow::Result<u64> {
        let Some(etcd) = &self.etcd else {
            let mut client = self.client()?;
            return Ok(self.runtime.block_on(client.list(Kind::Host, ""))?.1);
        };
        let options = EtcdOptions::new([etcd.client_url()]);
        self.runtime.block_on(async {
            let store = EtcdStore::connect(options).await?;
            Ok(store.current_revision().await?.0)
        })
    }

    /// Runs `jailctl` to its end.
    ///
    /// # Errors
    /// It cannot be run, or hangs. That it fails is no error here.
    pub fn jailctl(&self, arguments: &[&str]) -> anyhow::Result<Said> {
        self.jailctl_with(arguments, "")
    }

    /// Runs `jailctl` to its end with `stdin` to read.
    ///
    /// # Errors
    /// As [`Fleet::jailctl`].
    pub fn jailctl_with(&self, arguments: &[&str], stdin: &str) -> anyhow::Result<Said> {
        self.start_jailctl(arguments, stdin)?.end()
    }

    /// Starts `jailctl`.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn start_jailctl(&self, arguments: &[&str], stdin: &str) -> anyhow::Result<Running> {
        let arguments: Vec<&str> = ["--server", &self.server]
            .into_iter()
            .chain(arguments.iter().copied())
            .collect();
        Running::start(
            &self.binaries.jailctl(),
            self.folder.path(),
            &arguments,
            stdin.as_bytes().to_vec(),
        )
    }

    /// Applies a manifest that must be accepted.
    ///
    /// # Errors
    /// It is not.
    pub fn apply(&self, manifest: &str) -> anyhow::Result<Said> {
        self.jailctl_with(&["apply", "-f", "-"], manifest)?.ok()
    }

    /// Waits until every jail of `manifest` (a path) is Ready.
    ///
    /// # Errors
    /// One does not become so in time; the error says why, and holds the ends of all logs.
    pub fn wait_ready(&self, path: &str, within: Duration) -> anyhow::Result<()> {
        let timeout = format!("{}s", within.as_secs());
        let said = self.jailctl(&["wait", "-f", path, "--timeout", &timeout])?;
        said.ok().map(|_| ()).map_err(|error| {
            let logs = self.logs();
            error.context(format!("not everything is Ready\n{logs}"))
        })
    }

    /// Looks at the machines themselves: every jail runs where it is bound, with every address that it is bound to.
    ///
    /// A report may be older than what was done to its machine since; this is not.
    ///
    /// # Errors
    /// A jail or an address is missing, or stands on a machine where it does not belong.
    pub fn assert_really_there(&self) -> anyhow::Result<()> {
        let jails = self.list(Kind::Jail)?;
        for machine in &self.machines {
            let kernel = machine.kernel()?;
            for jail in &jails {
                let binding = jail.value.pointer("/status/binding");
                let bound =
                    binding.and_then(|binding| binding["host"].as_str()) == Some(&machine.name);
                let head = format!("jail {} ", jail.name);
                let runs = kernel
                    .iter()
                    .any(|line| line.starts_with(&head) && !line.contains(" dying "));
                anyhow::ensure!(
                    runs == bound,
                    "jail {} {} on {}",
                    jail.name,
                    if runs { "runs" } else { "does not run" },
                    machine.name
                );
                for (network, address) in addresses_of(binding).into_iter().filter(|_| bound) {
                    let places = [format!(" inet {address} "), format!(" inet6 {address}/")];
                    anyhow::ensure!(
                        kernel
                            .iter()
                            .any(|line| places.iter().any(|place| line.contains(place))),
                        "{address} of jail {} on network {network} is not on {}",
                        jail.name,
                        machine.name
                    );
                }
            }
        }
        Ok(())
    }

    /// The fingerprint of every machine.
    ///
    /// # Errors
    /// A machine does not answer.
    pub fn fingerprints(&self) -> anyhow::Result<Vec<Vec<String>>> {
        self.machines.iter().map(Machine::fingerprint).collect()
    }

    /// Waits until every machine is as it was, but for what stays by design.
    ///
    /// # Errors
    /// One is not in time; the error names what differs.
    pub fn wait_restored(&self, before: &[Vec<String>], within: Duration) -> anyhow::Result<()> {
        for (machine, before) in self.machines.iter().zip(before) {
            // A jail that is dying is looked at until its last socket has gone.
            eventually(&machine.name, within, || {
                let left = difference(before, &machine.fingerprint()?);
                anyhow::ensure!(left.is_empty(), "differs: {left:#?}");
                Ok(())
            })?;
        }
        Ok(())
    }

    /// The ends of all logs.
    #[must_use]
    pub fn logs(&self) -> String {
        let mut logs = self.controller.log_end();
        for machine in &self.machines {
            logs.push('\n');
            logs.push_str(&machine.agent.log_end());
        }
        logs
    }

    /// Looks for panics in every log.
    ///
    /// # Errors
    /// There is one.
    pub fn assert_no_panic(&self) -> anyhow::Result<()> {
        self.controller.assert_no_panic()?;
        for machine in &self.machines {
            machine.agent.assert_no_panic()?;
            machine.host.assert_no_panic()?;
        }
        Ok(())
    }
}

/// The folder `examples/`.
#[must_use]
pub fn examples() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    folder.unwrap_or_else(|| Path::new("..")).join("examples")
}

/// The roots of all jails in the manifests of a folder.
fn roots_of(folder: &Path) -> anyhow::Result<Vec<String>> {
    let mut roots = Vec::new();
    for path in jailctl::input::expand(folder)? {
        let bytes = std::fs::read(&path)?;
        let name = path.display().to_string();
        let file = File {
            name: &name,
            bytes: &bytes,
        };
        let documents = manifest::parse_files(&[file])
            .map_err(|found| anyhow::anyhow!("{name}: {} mistakes", found.len()))?;
        roots.extend(documents.into_iter().filter_map(|document| {
            if let Object::Jail(jail) = document.object {
                jail.spec.root.map(|root| root.path)
            } else {
                None
            }
        }));
    }
    Ok(roots)
}

/// A port that nobody listens on at the moment, and that nobody is given who asks for any: those come from 32768 upwards on Linux and
/// from 10000 on FreeBSD (ip(7), `net.inet.ip.portrange.first`), and a test beside this one asks all the time. The controller takes
/// it only later, and again after each crash.
///
/// # Errors
/// None of those tried is free.
pub fn free_port() -> anyhow::Result<u16> {
    let seed = RandomState::new().build_hasher().finish();
    let ports = (0..PORT_TRIES).map(|number| PORTS.start + ((seed + number) % PORT_COUNT) as u16);
    for port in ports {
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port of {PORTS:?} is free")
}
