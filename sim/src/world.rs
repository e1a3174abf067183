//! One emulated host and its agent, which can die and be started again. Time is virtual: it passes when the agent waits.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use cellblock_agent_core::Ledger;
use cellblock_agent_core::execute::Outside;
use cellblock_agent_core::host::{Host, HostError};
use cellblock_agent_core::ledger::Change;
use cellblock_agent_core::observed::Observed;
use cellblock_agent_core::pass::{Memory, Passed, pass};
use cellblock_agent_core::plan::Settings;
use cellblock_agent_core::probe::{Probed, Prober};
use cellblock_fakebsd::hardware::Nic;
use cellblock_fakebsd::outside::{DhcpServer, Router};
use cellblock_fakebsd::{Emulator, HardwareProfile, Release};
use cellblock_freebsd::emulated::Emulated;
use cellblock_freebsd::{FreeBsd, System as _, probe};
use cellblock_schemas::condition::ConditionStatus;
use cellblock_schemas::host::HostSpec;
use cellblock_schemas::ids::Uid;
use cellblock_schemas::net::Family;
use cellblock_schemas::report::HostReport;
use cellblock_schemas::view::HostView;

use crate::crash::{Crashing, Disk, Fuse, Moment};
use crate::lifeline::Lifeline;
use crate::trouble::Trouble;
use crate::wrongs::wrongs;

/// The card behind which a router advertises and a DHCP server answers.
pub const WIRE: &str = "vtnet1";

/// That router.
pub const ROUTER: Router = Router {
    link_local: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1),
    prefix: Ipv6Addr::new(0x2001, 0xdb8, 0x51, 0, 0, 0, 0, 0),
};

/// The agent's folder on an emulated host.
pub const FOLDER: &str = "/var/db/cellblock";

/// What an operator who uses our anchors has in pf.conf.
const PF_CONF: &str = "nat-anchor \"cellblock/*\"\nrdr-anchor \"cellblock/*\"\nbinat-anchor \"cellblock/*\"\nanchor \"cellblock/*\"\npass\n";

/// The longest that anything may wait, in milliseconds of virtual time: two dying jails in a row.
const WAIT_MS_MAX: u64 = 300_000;

/// How many probes are made at a time.
const PROBES_MAX: usize = 16;

/// How long pf keeps the rules of an emptied anchor, and with them its name, where they have tables (`pf_purge_unlinked_rules`), in milliseconds; and a little.
/// An address that nobody else has is tentative for less.
const SETTLE_MS: u64 = 60_000;

/// One host and its agent.
#[derive(Debug)]
pub struct World {
    /// The host.
    pub host: Emulated,
    /// What outlives the agent.
    pub disk: Disk,
    /// The view that the controller last sent.
    pub view: HostView,
    ledger: Ledger,
    memory: Memory,
    prober: Prober,
    fuse: Fuse,
    now_ms: u64,
    /// The agent's adapter, where it has jail(8)s at work between two passes.
    adapter: Option<Arc<FreeBsd>>,
    /// How many milliseconds pass at each look at the clock; with many a pass ends before its plan does.
    pub look_ms: u64,
    deaths: usize,
    wrongs: BTreeSet<String>,
    /// Its way to the controllers, and the guard of a change that could cut it off.
    pub lifeline: Lifeline,
}

/// Why a world did not converge.
#[derive(Clone, Debug, PartialEq)]
pub struct Stuck {
    /// What was left to do.
    pub plan: Vec<String>,
    /// After how many rounds.
    pub rounds: usize,
    /// Conditions that are not true, as last reported.
    pub conditions: Vec<String>,
    /// The last error.
    pub error: Option<HostError>,
}

/// How a world came to rest.
#[derive(Clone, Debug)]
pub struct Rest {
    /// After how many passes.
    pub rounds: usize,
    /// The last pass.
    pub last: Passed,
}

impl World {
    /// A host as an operator prepared it, with the directories of the jails' roots.
    #[must_use]
    pub fn new(release: Release) -> Self {
        let mut hardware = HardwareProfile::recorded();
        // Two cards that nothing but jails is given, and two for a lagg.
        hardware.nics.extend([4, 5, 6, 7].map(|number| Nic {
            name: format!("vtnet{number}"),
            mac: [0x52, 0x54, 0, 0x12, 0x34, 0x56 + number],
            inet: Vec::new(),
        }));
        hardware.racct = true;
        Self::of(release, hardware)
    }

    /// A world of that machine.
    #[must_use]
    pub fn of(release: Release, hardware: HardwareProfile) -> Self {
        let mut emulator = Emulator::new(release, hardware);
        let jails = ["a", "b", "c", "d"].into_iter();
        let jails =
            jails.flat_map(|name| [format!("/jails/{name}/dev"), format!("/jails/{name}/tmp")]);
        for directory in ["/etc".to_owned(), format!("{FOLDER}/jails")]
            .into_iter()
            .chain(jails)
        {
            emulator
                .files
                .create_directories(&directory)
                .expect("an empty file tree takes directories");
        }
        emulator
            .files
            .write("/etc/pf.conf", PF_CONF)
            .expect("an empty file tree takes a file");
        emulator.add_router(WIRE, None, ROUTER);
        let (first, router) = ([198, 51, 100, 100].into(), [198, 51, 100, 1].into());
        emulator.add_dhcp_server(WIRE, None, DhcpServer::new(first, 24, router));
        for line in [
            "kldload -n pf",
            "kldload -n if_bridge",
            "kldload -n if_epair",
            "kldload -n if_lagg",
            "kldload -n if_vlan",
            "kldload -n ng_ether",
            "kldload -n ng_bridge",
            "kldload -n ng_eiface",
            "pfctl -e -f /etc/pf.conf",
            "sysctl net.inet.ip.forwarding=1",
            "sysctl net.inet6.ip6.forwarding=1",
            "devfs rule -s 4 add hide",
            "devfs rule -s 4 add path null unhide",
            "devfs rule -s 5 add include 4",
            "devfs rule -s 5 add path pf unhide",
            "devfs rule -s 40 add path bpf* unhide",
        ] {
            let output = emulator.sh(line);
            assert_eq!(output.status, 0, "{line}: {}", output.stderr);
        }
        let (mut ledger, mut disk) = (Ledger::new(), Disk::default());
        ledger
            .commit(vec![Change::Approve], &mut disk)
            .expect("an empty disk takes a ledger");
        // The effects of the agent count, not the operator's.
        disk.fuse = Fuse::default();
        let host = Emulated::new(emulator);
        Self {
            lifeline: Lifeline::of(host.clone()),
            host,
            disk,
            view: HostView::default(),
            ledger,
            memory: Memory::default(),
            prober: Prober::default(),
            fuse: Fuse::default(),
            now_ms: 0,
            adapter: None,
            look_ms: 0,
            deaths: 0,
            wrongs: BTreeSet::new(),
        }
    }

    /// Puts the public addresses of a Host that are not there yet onto their interfaces, as its operator would: first those called `main…`, the first of IPv6 with its segment's prefix length; and its
    /// node addresses onto its first uplink that is one interface.
    ///
    /// # Panics
    /// The host refuses one.
    pub fn add_public_addresses(&self, host: &HostSpec) {
        for uplink in host.uplinks.values() {
            let Some(interface) = &uplink.interface else {
                continue;
            };
            let names = uplink.public_addresses.iter();
            let (first, behind): (Vec<_>, Vec<_>) =
                names.partition(|(name, _)| name.starts_with("main"));
            for (_, address) in first.into_iter().chain(behind) {
                self.add_address(interface, *address);
            }
        }
        let mut uplinks = host.uplinks.values();
        if let Some(interface) = uplinks.find_map(|uplink| uplink.interface.as_ref()) {
            for address in host.addresses.values() {
                self.add_address(interface, *address);
            }
        }
        // Duplicate address detection comes to its end.
        self.host.emulator().advance(Duration::from_secs(5));
    }

    fn add_address(&self, interface: &str, address: IpAddr) {
        let observed = self.observe();
        let Some(found) = observed.interface(interface) else {
            return;
        };
        if found.address(address).is_some() {
            return;
        }
        let is_first = !found.addresses.iter().any(|entry| entry.address.is_ipv6());
        let length = match Family::of(address) {
            Family::Ipv4 => 32,
            Family::Ipv6 if is_first => 64,
            Family::Ipv6 => 128,
        };
        let keyword = Family::of(address).keyword();
        self.run(&format!(
            "ifconfig {interface} {keyword} {address}/{length} alias"
        ));
    }

    /// Another host in the same state, with an agent in the same state.
    #[must_use]
    pub fn fork(&self) -> Self {
        let fuse = Fuse::default();
        let mut disk = self.disk.fork();
        disk.fuse = fuse.clone();
        let host = Emulated::new(self.host.emulator().clone());
        Self {
            lifeline: self.lifeline.fork(host.clone()),
            host,
            disk,
            view: self.view.clone(),
            ledger: self.ledger.clone(),
            memory: self.memory.clone(),
            prober: Prober::default(),
            fuse,
            now_ms: self.now_ms,
            adapter: None,
            look_ms: self.look_ms,
            deaths: 0,
            wrongs: self.wrongs.clone(),
        }
    }

    /// The agent is given `view`.
    pub fn take(&mut self, view: HostView) {
        self.memory.failures.view_changed(&self.view, &view);
        self.view = view;
    }

    /// The machine is started anew, with its pf, as a router, and the agent after that.
    ///
    /// # Panics
    /// A command of the boot is refused.
    pub fn reboot(&mut self) {
        self.host.emulator().reboot();
        for line in [
            "kldload -n pf",
            "pfctl -e -f /etc/pf.conf",
            "sysctl net.inet.ip.forwarding=1",
            "devfs rule -s 4 add path null unhide",
        ] {
            self.run(line);
        }
        self.start(None);
    }

    /// The agent is started (again) from its disk; it dies at `moment`, or not.
    pub fn start(&mut self, moment: Option<Moment>) {
        self.lifeline.agent_ended();
        self.fuse = Fuse::new(moment);
        self.disk.fuse = self.fuse.clone();
        self.ledger = self.disk.load();
        self.memory = Memory::default();
        self.prober = Prober::default();
        if self.adapter.take().is_some() {
            self.take_time();
        }
    }

    /// From now on hooks of jails that sleep take their time beside everything else, and the agent has no patience with them.
    pub fn take_time(&mut self) {
        self.host.emulator().hooks_take_time = true;
        self.adapter = Some(Arc::new(self.fresh().with_patience(Duration::ZERO)));
    }

    /// The agent is started (again) from its disk; the effects of these numbers do not go well.
    pub fn start_troubled(&mut self, troubles: BTreeMap<usize, Trouble>) {
        self.start(None);
        self.fuse = Fuse::troubled(troubles);
        self.disk.fuse = self.fuse.clone();
    }

    /// How many effects the running agent has had.
    #[must_use]
    pub fn effects(&self) -> usize {
        self.fuse.effects()
    }

    /// Whether the running agent has died.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.fuse.is_dead()
    }

    /// One pass.
    ///
    /// # Errors
    /// The host could not be observed, the ledger not be written, or the agent is dead.
    pub fn pass(&mut self) -> Result<Passed, HostError> {
        let adapter = self.adapter();
        let settings = Settings {
            folder: FOLDER.to_owned(),
        };
        let lifeline = self.lifeline.seen_by(self.fuse.clone());
        let now_ms = Cell::new(self.now_ms);
        let clock = || {
            now_ms.set(now_ms.get() + self.look_ms);
            now_ms.get()
        };
        pass(
            &Arc::new(self.view.clone()),
            &mut self.ledger,
            Outside {
                host: adapter.as_ref(),
                lifeline: &lifeline,
            },
            &mut self.disk,
            &settings,
            &mut self.memory,
            &clock,
        )
    }

    /// A look at the host without an agent.
    #[must_use]
    pub fn observe(&self) -> Observed {
        let adapter = FreeBsd::new(Arc::new(self.host.clone()), FOLDER);
        adapter
            .observe(&cellblock_agent_core::plan::wanted(
                &self.view,
                &self.ledger,
            ))
            .expect("an emulated host can be observed")
    }

    /// The ledger in the agent's memory.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    fn adapter(&self) -> Arc<FreeBsd> {
        let kept = self.adapter.clone();
        kept.unwrap_or_else(|| Arc::new(self.fresh()))
    }

    fn fresh(&self) -> FreeBsd {
        let system = Crashing {
            host: self.host.clone(),
            fuse: self.fuse.clone(),
        };
        FreeBsd::new(Arc::new(system), FOLDER)
    }

    /// Passes until nothing is left to do or to wait for, at most `rounds_max` times; a dead agent is started again.
    ///
    /// # Errors
    /// Something is left to do after that.
    pub fn converge(&mut self, rounds_max: usize) -> Result<Rest, Stuck> {
        let mut waited_ms = 0;
        let mut error = None;
        let mut plan = Vec::new();
        let mut conditions = Vec::new();
        for rounds in 1..=rounds_max {
            match self.pass() {
                Ok(passed) => {
                    self.wrongs.extend(wrongs(&passed.observed));
                    let is_news = self.probe(&passed.probed);
                    if !is_news && passed.plan.is_empty() && passed.plan.waiting.is_empty() {
                        return Ok(Rest {
                            rounds,
                            last: passed,
                        });
                    }
                    plan = passed.plan.lines();
                    let jails = passed.report.jails.iter().flat_map(|jail| &jail.conditions);
                    conditions = passed
                        .report
                        .conditions
                        .iter()
                        .chain(jails)
                        .filter(|condition| condition.status != ConditionStatus::True)
                        .map(|condition| {
                            format!(
                                "{} {}: {}",
                                condition.kind, condition.reason, condition.message
                            )
                        })
                        .collect();
                    let pause = if is_news {
                        0
                    } else {
                        passed.again_ms.unwrap_or(1_000)
                    };
                    waited_ms += pause;
                    if waited_ms > WAIT_MS_MAX {
                        break;
                    }
                    self.sleep(pause);
                }
                Err(_) if self.is_dead() => {
                    self.deaths += 1;
                    self.start(None);
                }
                Err(failed) => {
                    error = Some(failed);
                    self.sleep(1_000);
                }
            }
        }
        Err(Stuck {
            plan,
            conditions,
            rounds: rounds_max,
            error,
        })
    }

    /// Makes the probes that are due, one after the other; whether they have come to something else than the agent knew.
    fn probe(&mut self, probed: &BTreeMap<Uid, Probed>) -> bool {
        self.prober.look(probed, self.now_ms);
        for job in self.prober.begin(self.now_ms, PROBES_MAX) {
            let ran = self.host.run(&probe::command(&job));
            let answer = probe::answer(&job, ran);
            self.prober.end(job.number, answer, self.now_ms);
        }
        let health = self.prober.health(self.now_ms);
        let is_news = self.memory.health != health;
        self.memory.health = health;
        is_news
    }

    /// The agent lives for so long, with a pass whenever there is something to do or probes have come to something else. What the last pass reported.
    ///
    /// # Panics
    /// A pass fails.
    pub fn live(&mut self, ms: u64) -> HostReport {
        let until_ms = self.now_ms + ms;
        loop {
            let passed = self.pass().expect("a host that can be observed");
            if self.probe(&passed.probed) {
                continue;
            }
            if self.now_ms >= until_ms {
                return passed.report;
            }
            let again_ms = passed.again_ms.map(|again_ms| self.now_ms + again_ms);
            let due_ms = self.prober.next_ms(self.now_ms);
            let next_ms = [again_ms, due_ms].into_iter().flatten().min();
            let next_ms = next_ms.unwrap_or(until_ms).clamp(self.now_ms + 1, until_ms);
            self.sleep(next_ms - self.now_ms);
        }
    }

    /// What was seen after any pass of [`World::converge`] and must never be, see [`wrongs`].
    #[must_use]
    pub fn wrongs(&self) -> &BTreeSet<String> {
        &self.wrongs
    }

    /// How often the agent has died and was started again by [`World::converge`].
    #[must_use]
    pub fn deaths(&self) -> usize {
        self.deaths
    }

    /// How much virtual time has passed, in milliseconds.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Virtual time passes, on the host too.
    pub fn sleep(&mut self, ms: u64) {
        self.now_ms += ms;
        self.host.emulator().advance(Duration::from_millis(ms));
        self.lifeline.tick();
    }

    /// The host once duplicate address detection has ended and pf has forgotten what was taken out of it, as [`World::fingerprint`] tells, less what depends on how often the agent was
    /// killed: how many probes connected jails to themselves, whether a console log was written, how many routing tables there are (what is in them counts), the numbers that the kernel counts up (the scope in a link-local route is the interface's index), and the numbers of hooks at a netgraph switch.
    pub fn settled(&mut self) -> Vec<String> {
        self.sleep(SETTLE_MS);
        // The emulated purge thread has run when pf is next looked at.
        let _ = self.observe();
        let lines = self.fingerprint();
        let stays = |line: &&String| {
            line.contains(".console ") || line.starts_with("host fib ") || is_state_of_probe(line)
        };
        let lines = lines.iter().filter(|line| !stays(line));
        lines
            .map(|line| without_link_numbers(&without_scope(line)))
            .collect()
    }

    /// Runs a line on the host, as its operator does; it must succeed. What it printed.
    ///
    /// # Panics
    /// It fails.
    pub fn run(&self, line: &str) -> String {
        let output = self.host.emulator().sh(line);
        assert_eq!(output.status, 0, "{line}: {}", output.stderr);
        output.stdout
    }

    /// Everything that can be observed of the host, less what a fixed list says may stay: loaded modules and `net.fibs`.
    #[must_use]
    pub fn fingerprint(&self) -> Vec<String> {
        self.host.emulator().fingerprint()
    }

    /// The commands of a changing kind that were run on the host so far, for the message of a failed law.
    #[must_use]
    pub fn changes(&self) -> Vec<String> {
        let emulator = self.host.emulator();
        let changing = emulator.log.iter().filter(|logged| logged.changing);
        changing
            .map(|logged| {
                format!(
                    "{:?} {} = {} {}",
                    logged.at,
                    logged.argv.join(" "),
                    logged.output.status,
                    logged.output.stderr.trim_end()
                )
            })
            .collect()
    }

    /// How many commands of a changing kind were run on the host so far.
    #[must_use]
    pub fn changing_commands(&self) -> usize {
        self.host
            .emulator()
            .log
            .iter()
            .filter(|logged| logged.changing)
            .count()
    }
}

/// Whether it is the state of a connection from an address to itself.
fn is_state_of_probe(line: &str) -> bool {
    let ends = line.strip_prefix("host pf state ");
    let ends = ends.and_then(|line| Some(line.split_once("ends: [(")?.1));
    let ends = ends.and_then(|ends| ends.split_once("), ("));
    let address = |end: &str| end.split(',').next().map(str::to_owned);
    ends.is_some_and(|(one, other)| address(one) == address(other))
}

fn without_scope(line: &str) -> String {
    let Some((before, after)) = line.split_once("fe80:") else {
        return line.to_owned();
    };
    match after.split_once(':') {
        Some((_, rest)) => format!("{before}fe80:{rest}"),
        None => line.to_owned(),
    }
}

/// Which hook of a switch a jail's interface got follows from the order in which jails came to it, which a death or a failure changes. It carries no meaning: ng_bridge(4) treats all links alike.
/// How many there are counts, and `link0` and `link1`, which are the uplink's.
fn without_link_numbers(line: &str) -> String {
    let mut parts = line.split("\"link");
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
        let number = &part[..part.len() - rest.len()];
        let shown = if matches!(number, "0" | "1") {
            number
        } else {
            "N"
        };
        kept.push_str("\"link");
        kept.push_str(shown);
        kept.push_str(rest);
    }
    kept
}
