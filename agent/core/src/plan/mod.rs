//! From a view and a look at the host to what to do next. Total, deterministic, and fully specific: no choices are left for execution.
//!
//! ```text
//! desired::resolve(view, observed) ── what shall stand, and what cannot
//!        │
//!        ├─ teardown: what stands and shall not     (jails, aliases, epairs, bridges, files)
//!        ├─ networks: loopbacks, bridges, members   (what jails lean on)
//!        ├─ jails:    epairs, aliases, jail.conf, start, repair inside
//!        └─ pf:       anchors, states
//!        ▼
//! sorted by phase: removal before creation, in dependency order; the order is data in `phase`
//! ```

mod datasets;
pub mod desired;
mod filter;
mod firewall;
mod held;
pub(crate) mod images;
pub(crate) mod index;
mod inside;
mod jails;
pub mod limits;
mod live;
pub mod memory;
mod neighbours;
pub(crate) mod netgraph;
mod networks;
pub(crate) mod nics;
mod order;
mod pf_conf;
mod phase;
mod probes;
mod restore;
mod roots;
mod routed;
pub(crate) mod slices;
mod sysctls;
pub mod tables;
mod teardown;
mod uplinks;

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};

use cellblock_schemas::ids::Uid;
use cellblock_schemas::view::{HostView, JailView};

use crate::execute::LedgerFile;
use crate::firewall::JailFirewall;
use crate::host::{HostError, Wanted};
use crate::isolation::by_pf;
use crate::ledger::{Change, Ledger, Owned, OwnedJail};
use crate::names;
use crate::observed::{Interface, Observed, ObservedJail};
use crate::op::{Blocked, Op, Plan, Step, Subject, Waiting};
use desired::Desired;
use index::{Cursor, Index, Owners};
use order::Order;
use phase::Phase;
use tables::Tables;

/// How long the hooks of a jail may take, in milliseconds.
pub(crate) const BUSY_MS_MAX: u64 = teardown::BUSY_MS_MAX;

/// The suffix of the file that jail(8) makes when it begins a start, and fills when the start is through.
const JID: &str = ".jid";

/// The suffix of the one with what it complains about, while it works.
const STDERR: &str = ".stderr";

/// The suffix of the file with the rules for a jail's own pf. No jail of ours has a dot in its name.
const PF_RULES: &str = ".pf.conf";

/// The suffix of the one with the main ruleset there.
const PF_MAIN: &str = ".main.conf";

/// Reason codes of waits and blocks, for `docs/` and for `jailctl explain`.
pub mod reason {
    /// The root's directory does not exist.
    pub const ROOT_MISSING: &str = "RootMissing";
    /// A mount of the running jail is gone.
    pub const MOUNT_MISSING: &str = "MountMissing";
    /// The devfs ruleset is not loaded; without it the jail would see every device (recording `08`).
    pub const DEVFS_RULESET_MISSING: &str = "DevfsRulesetMissing";
    /// The name is a stranger's on this host.
    pub const NAME_TAKEN: &str = "NameTaken";
    /// The address is a stranger's on this host.
    pub const ADDRESS_TAKEN: &str = "AddressTaken";
    /// Duplicate address detection found somebody else with the address.
    pub const ADDRESS_DUPLICATED: &str = "AddressDuplicated";
    /// Duplicate address detection has not finished.
    pub const ADDRESS_TENTATIVE: &str = "AddressTentative";
    /// The index of the loopback that a jail's link-local addresses are on is not known yet.
    pub const SCOPE_PENDING: &str = "ScopePending";
    /// The Host has no such uplink, or the host has no such interface.
    pub const UPLINK_MISSING: &str = "UplinkMissing";
    /// The lagg or vlan of the uplink is made first, or what it stands upon leaves something else.
    pub const UPLINK_PENDING: &str = "UplinkPending";
    /// The uplink carries addresses of the host itself, which must stand on the bridge.
    pub const UPLINK_HAS_ADDRESSES: &str = "UplinkHasAddresses";
    /// The NIC is in another jail.
    pub const NIC_IN_USE: &str = "NicInUse";
    /// The host has no routing table of that number.
    pub const FIB_MISSING: &str = "FibMissing";
    /// In a routing table a route leads another way than a jail, or a network that spans hosts, needs it to.
    pub const ROUTE_TAKEN: &str = "RouteTaken";
    /// The host's own node address is on none of its interfaces.
    pub const NODE_ADDRESS_MISSING: &str = "NodeAddressMissing";
    /// Another host's node address lies on no link of this host.
    pub const NODE_NOT_ON_LINK: &str = "NodeNotOnLink";
    /// The uplink is a member of somebody else's bridge.
    pub const UPLINK_IN_USE: &str = "UplinkInUse";
    /// The kernel does not know this jail parameter.
    pub const PARAMETER_UNKNOWN: &str = "ParameterUnknown";
    /// The kernel cannot do what the object asks for.
    pub const NOT_CAPABLE: &str = "NotCapable";
    /// Its hooks run: an earlier operation is starting or stopping it.
    pub const BUSY: &str = "Busy";
    /// It was removed and the kernel still holds it.
    pub const DYING: &str = "Dying";
    /// A probe of the jail fails.
    pub const PROBE_FAILED: &str = "ProbeFailed";
    /// A probe of the jail has not answered yet.
    pub const PROBE_PENDING: &str = "ProbePending";
    /// A probe of the jail cannot be made.
    pub const PROBE_NOT_MADE: &str = "ProbeNotMade";
    /// The jail must be restarted and its restart policy says no.
    pub const RESTART_NEEDED: &str = "RestartNeeded";
    /// The root is one that no jail may have: the host's own, one with the agent's folder, or one inside another jail's.
    pub const ROOT_REFUSED: &str = "RootRefused";
    /// Another jail has the root.
    pub const ROOT_IN_USE: &str = "RootInUse";
    /// The root is being made of its image, or waits for that.
    pub const IMAGE_PREPARING: &str = "ImagePreparing";
    /// The tarball is not what the Image says, or nothing that is unpacked.
    pub const IMAGE_REFUSED: &str = "ImageRefused";
    /// The root was made, and is not there any more.
    pub const ROOT_LOST: &str = "RootLost";
    /// The host has no place for images, or it is not there, or not the one that it was.
    pub const STORAGE_MISSING: &str = "StorageMissing";
    /// Under the name of a dataset of an image or of a root stands something that is not ours.
    pub const DATASET_TAKEN: &str = "DatasetTaken";
    /// A dataset of an image or of a root was renamed, is not mounted, or is mounted elsewhere.
    pub const DATASET_MOVED: &str = "DatasetMoved";
    /// A dataset that is to go has snapshots, datasets or clones that are not ours.
    pub const DATASET_BUSY: &str = "DatasetBusy";
    /// Something is mounted below a root, or of an image, that is to go.
    pub const ROOT_BUSY: &str = "RootBusy";
    /// The root is a symbolic link that leads elsewhere since the jail was started.
    pub const ROOT_CHANGED: &str = "RootChanged";
    /// Two interfaces carry one name, and one of them may be forged.
    pub const AMBIGUOUS_INTERFACE: &str = "AmbiguousInterface";
    /// An interface of ours has been given another name on the host.
    pub const INTERFACE_RENAMED: &str = "InterfaceRenamed";
    /// pf is not loaded, not enabled, or its main ruleset does not refer to our anchors.
    pub const PF_NOT_EFFECTIVE: &str = "PfNotEffective";
    /// pf.conf is nothing that could be managed.
    pub const PF_CONF_UNUSABLE: &str = "PfConfUnusable";
    /// pfctl(8) does not take pf.conf, or would not take the main ruleset back.
    pub const PF_CONF_REFUSED: &str = "PfConfRefused";
    /// What was looked at just before a guarded change is not what it was planned from, or the change could not be begun.
    pub const NOT_BEGUN: &str = "NotBegun";
    /// Our block in pf.conf is still needed.
    pub const PF_CONF_NEEDED: &str = "PfConfNeeded";
    /// Packets must be forwarded and the host does not forward.
    pub const FORWARDING_DISABLED: &str = "ForwardingDisabled";
    /// A sysctl would take the router away that the host has from router advertisements.
    pub const ROUTER_WOULD_BE_LOST: &str = "RouterWouldBeLost";
    /// A public address that NAT or a published port uses is not on the uplink.
    pub const PUBLIC_ADDRESS_MISSING: &str = "PublicAddressMissing";
    /// A public address that shall be a jail's as a whole is the one that the host itself sends from.
    pub const PUBLIC_ADDRESS_IN_USE: &str = "PublicAddressInUse";
    /// A public address, and what it leads to or stands for, are of different families.
    pub const FAMILY_MISMATCH: &str = "FamilyMismatch";
    /// One more interface at a netgraph switch, and the host's netgraph could not be read any more.
    pub const NETGRAPH_FULL: &str = "NetgraphFull";
    /// A rule of a firewall names a user, a group or a protocol that this host does not know.
    pub const NAME_UNKNOWN: &str = "NameUnknown";
    /// A firewall is about a bridge, and the Host does not declare that pf is asked about the members of bridges.
    pub const MEMBER_FILTER_UNDECLARED: &str = "MemberFilterUndeclared";
    /// A firewall would not be in force: pf is not enabled, not told to look into our anchors, or skips an interface.
    pub const FIREWALL_NOT_IN_FORCE: &str = "FirewallNotInForce";
    /// A firewall shall stand in the jail's own pf, and the jail's devfs ruleset hides its device.
    pub const PF_HIDDEN: &str = "PfHidden";
    /// pf does not take the rules of a jail.
    pub const RULE_REJECTED: &str = "RuleRejected";
    /// The host's netgraph cannot be read.
    pub const NETGRAPH_UNREAD: &str = "NetgraphUnread";
    /// The view lacks what the object refers to.
    pub const REFERENCE_MISSING: &str = "ReferenceMissing";
    /// Over a failover lagg under a netgraph switch, the host and jails do not reach each other.
    pub const JAILS_NOT_REACHED: &str = "JailsNotReached";
    /// A change that could cut the host off is begun only while a controller is reached.
    pub const CONTROLLER_UNREACHABLE: &str = "ControllerUnreachable";
    /// A change that could cut the host off was taken back.
    pub const ROLLED_BACK: &str = "RolledBack";
    /// A change that could cut the host off is being taken back.
    pub const CHANGE_GUARDED: &str = "ChangeGuarded";
    /// A change that was not confirmed could not be taken back yet.
    pub const NOT_TAKEN_BACK: &str = "NotTakenBack";
    /// The guard of a change that could cut the host off could not be started.
    pub const GUARD_MISSING: &str = "GuardMissing";
    /// The kernel does not account resources, so that nothing could be limited.
    pub const RACCT_DISABLED: &str = "RacctDisabled";
    /// A rule of rctl(8) that is not ours has the place of one of the jail's limits.
    pub const LIMIT_TAKEN: &str = "LimitTaken";
    /// A jail that it depends on is not up.
    pub const DEPENDENCY_NOT_READY: &str = "DependencyNotReady";
    /// The host has no jail of a name that it depends on.
    pub const DEPENDENCY_MISSING: &str = "DependencyMissing";
    /// Jails depend on each other.
    pub const DEPENDENCY_CYCLE: &str = "DependencyCycle";
    /// A jail that depends on it has to stop first.
    pub const DEPENDENTS_RUNNING: &str = "DependentsRunning";
    /// This release of the agent does not do that.
    pub const AGENT_TOO_OLD: &str = "AgentTooOld";
}

/// The routing table of a jail, and of everything that runs in it.
#[must_use]
pub fn fib(view: &HostView, jail: &JailView) -> u16 {
    tables::fib(view, jail)
}

/// Where the agent keeps what it renders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// An absolute path without a slash at its end, such as `/var/db/cellblock`.
    pub folder: String,
}

impl Settings {
    /// The jail.conf of a jail.
    #[must_use]
    pub fn conf(&self, jail_name: &str) -> String {
        format!("{}/jails/{jail_name}.conf", self.folder)
    }

    /// Where the output of a jail's hooks goes, and of the daemons that they start.
    #[must_use]
    pub fn console(&self, jail_name: &str) -> String {
        format!("{}/jails/{jail_name}.console", self.folder)
    }

    /// What that was before it was emptied the last time.
    #[must_use]
    pub fn console_before(&self, jail_name: &str) -> String {
        format!("{}.0", self.console(jail_name))
    }

    /// The file that jail(8) fills once it has started the jail.
    #[must_use]
    pub fn jid_file(&self, jail_name: &str) -> String {
        format!("{}/jails/{jail_name}{JID}", self.folder)
    }

    /// What a jail's own pf is loaded with at its start: the rules, and the main ruleset.
    #[must_use]
    pub fn pf_files(&self, jail_name: &str) -> (String, String) {
        let file = |suffix| format!("{}/jails/{jail_name}{suffix}", self.folder);
        (file(PF_RULES), file(PF_MAIN))
    }

    /// The jail that a file of ours is of, by its path.
    fn jail_of<'a>(&self, path: &'a str) -> Option<&'a str> {
        let name = path.strip_prefix(&self.folder)?.strip_prefix("/jails/")?;
        name.strip_suffix(PF_RULES)
            .or_else(|| name.strip_suffix(PF_MAIN))
            .or_else(|| name.strip_suffix(".conf"))
            .or_else(|| name.strip_suffix(".console"))
            .or_else(|| name.strip_suffix(".console.0"))
            .or_else(|| name.strip_suffix(JID))
            .or_else(|| name.strip_suffix(STDERR))
    }
}

/// What a look at the host must take in for this view.
#[must_use]
pub fn wanted(view: &HostView, ledger: &Ledger) -> Wanted {
    let mut wanted = Wanted::default();
    for oid in [
        "net.inet.ip.forwarding",
        "net.inet6.ip6.forwarding",
        "net.link.bridge.member_ifaddrs",
        netgraph::RECVSPACE,
        tables::FIBS,
    ] {
        wanted.sysctls.insert(oid.to_owned());
    }
    wanted.sysctls.extend(view.host.sysctls.keys().cloned());
    wanted
        .sysctls
        .extend(sysctls::set_by_us(ledger).map(|(oid, _, _)| oid.to_owned()));
    let beside = wanted.sysctls.iter().filter_map(|oid| sysctls::beside(oid));
    wanted
        .sysctls
        .extend(beside.map(str::to_owned).collect::<Vec<_>>());
    for jail in view.jails.values() {
        wanted.rulesets.extend(inside::ruleset(&jail.spec));
        let changing = ledger.jails.get(&jail.uid).map(|ours| &ours.changing);
        wanted
            .parameters
            .extend(live::observed(&jail.spec, changing));
        wanted
            .directories
            .extend(jail.spec.root.as_ref().map(|root| root.path.clone()));
    }
    let storage = view.host.storage.as_ref();
    wanted.storage = storage.and_then(|storage| storage.path.clone());
    wanted.dataset = images::dataset(view).map(str::to_owned);
    wanted.directories.extend(wanted.storage.clone());
    for module in [
        "if_bridge",
        "if_epair",
        "ng_bridge",
        "ng_eiface",
        "ng_ether",
        "pf",
    ] {
        wanted.modules.insert(module.to_owned());
    }
    if view
        .host
        .sysctls
        .keys()
        .any(|oid| oid.starts_with("net.graph."))
    {
        wanted.modules.insert("ng_socket".to_owned());
    }
    for network in view.networks.values() {
        wanted
            .ether
            .extend(neighbours::switch_uplink(view, network));
    }
    neighbours::add_wanted(view, &mut wanted);
    let mut attachments = view
        .jails
        .values()
        .flat_map(|jail| &jail.binding.attachments);
    firewall::add_wanted(view, &mut wanted);
    filter::rejected::add_wanted(ledger, &mut wanted);
    inside::add_wanted(view, ledger, &mut wanted);
    limits::add_wanted(view, ledger, &mut wanted);
    pf_conf::add_wanted(view, ledger, &mut wanted);
    let uplinks = view.host.uplinks.values();
    let (mut laggs, mut vlans) = (false, false);
    for uplink in uplinks {
        laggs |= uplink.lagg.is_some();
        vlans |= uplink.vlan.is_some();
    }
    for (module, needed) in [("if_lagg", laggs), ("if_vlan", vlans)] {
        wanted.modules.extend(needed.then(|| module.to_owned()));
    }
    wanted.drivers = laggs
        || vlans
        || ledger.nics().next().is_some()
        || attachments.any(|one| one.nic.is_some());
    wanted
}

/// What to do next.
#[must_use]
pub fn plan(view: &HostView, observed: &Observed, ledger: &Ledger, settings: &Settings) -> Plan {
    let planner = Planner::new(view, observed, ledger, settings);
    let held = planner.find_held();
    if held.is_empty() {
        return planner.run();
    }
    let standing = held::as_they_run(view, ledger, held.keys());
    let mut planner = Planner::new(&standing, observed, ledger, settings);
    planner.hold(held);
    planner.run()
}

/// Everything that planning looks at, and what it has come to so far.
struct Planner<'a> {
    view: &'a HostView,
    observed: &'a Observed,
    ledger: &'a Ledger,
    settings: &'a Settings,
    index: Index<'a>,
    order: Order<'a>,
    desired: Desired<'a>,
    tables: Tables,
    steps: Vec<(Phase, Step)>,
    /// Names of the interfaces and netgraph nodes that the steps so far destroy.
    going: BTreeSet<String>,
    /// How many netgraph nodes there are after the steps so far.
    nodes: usize,
    /// Hooks of netgraph switches that the steps so far connect.
    hooks: BTreeSet<(String, u32)>,
    waiting: Vec<Waiting>,
    /// Jails among them that are dying.
    waits_for_dying: BTreeSet<Uid>,
    /// The firewalls of the jails that shall run, in the host's pf.
    firewalls: BTreeMap<Uid, JailFirewall>,
    /// Those in jails' own.
    inside: BTreeMap<Uid, JailFirewall>,
    /// What pf did not take, and whether that holds.
    rejected: filter::rejected::Rejected,
    blocked: Blocks,
    /// Jails that run on as they are because they are not to be restarted, or could not be.
    held: BTreeSet<Uid>,
}

impl<'a> Planner<'a> {
    fn run(mut self) -> Plan {
        self.resolve_tables();
        self.plan_sysctls();
        self.plan_teardown();
        self.plan_withdrawn_sysctls();
        self.plan_uplinks();
        self.plan_networks();
        self.plan_tables();
        self.plan_leftover_made();
        self.resolve_firewalls();
        self.plan_limits();
        self.plan_jails();
        self.plan_leftover_images();
        self.plan_filter();
        self.tell_slices();
        self.finish()
    }

    fn new(
        view: &'a HostView,
        observed: &'a Observed,
        ledger: &'a Ledger,
        settings: &'a Settings,
    ) -> Self {
        let index = Index::new(view, observed, ledger);
        let (desired, blocked, waiting) =
            desired::resolve(view, observed, &index, ledger, settings);
        Self {
            view,
            observed,
            ledger,
            settings,
            index,
            order: Order::of(view),
            desired,
            tables: Tables::new(),
            steps: Vec::new(),
            going: BTreeSet::new(),
            nodes: observed.netgraph.nodes.len(),
            hooks: BTreeSet::new(),
            waiting,
            waits_for_dying: BTreeSet::new(),
            firewalls: BTreeMap::new(),
            inside: BTreeMap::new(),
            rejected: Default::default(),
            blocked,
            held: BTreeSet::new(),
        }
    }

    fn step(&mut self, phase: Phase, subject: &Subject, op: Op) -> &mut Step {
        if let Op::DestroyInterface { name, .. } | Op::ShutdownNode { node: name, .. } = &op {
            self.going.insert(name.clone());
        }
        let step = Step {
            subject: subject.clone(),
            needs: Vec::new(),
            record: Vec::new(),
            op,
            forget: Vec::new(),
            guard: None,
        };
        self.steps.push((phase, step));
        let (_, step) = self.steps.last_mut().expect("one was pushed just above");
        step
    }

    fn block(&mut self, subject: &Subject, reason: &'static str, message: String) {
        self.blocked.push(Blocked {
            subject: subject.clone(),
            reason,
            message,
        });
    }

    fn wait(&mut self, subject: &Subject, reason: &'static str, message: String, wait_ms_max: u64) {
        self.waiting.push(Waiting {
            subject: subject.clone(),
            reason,
            message,
            wait_ms_max,
        });
    }

    fn is_blocked(&self, subject: &Subject) -> bool {
        self.blocked.of(subject).is_some()
    }

    fn finish(mut self) -> Plan {
        self.steps.sort_by_key(|(phase, _)| *phase);
        Plan {
            steps: self.steps.into_iter().map(|(_, step)| step).collect(),
            waiting: self.waiting,
            blocked: self.blocked.list,
        }
    }
}

/// What is not possible, in the order in which that was found, and the first of each subject.
#[derive(Default)]
struct Blocks {
    list: Vec<Blocked>,
    first: BTreeMap<Subject, usize>,
}

impl Blocks {
    /// Notes a block; one that was noted for the subject just before is not said twice.
    fn push(&mut self, blocked: Blocked) {
        if self.list.last() == Some(&blocked) {
            return;
        }
        let position = self.list.len();
        self.first
            .entry(blocked.subject.clone())
            .or_insert(position);
        self.list.push(blocked);
    }

    /// Takes back what was noted since there were so many.
    fn forget_from(&mut self, count: usize) {
        self.list.truncate(count);
        self.first.retain(|_, position| *position < count);
    }

    /// Takes back what was noted about a subject.
    fn forget_of(&mut self, subject: &Subject) {
        self.list.retain(|blocked| blocked.subject != *subject);
        self.first.clear();
        for (position, blocked) in self.list.iter().enumerate() {
            let subject = blocked.subject.clone();
            self.first.entry(subject).or_insert(position);
        }
    }

    fn of(&self, subject: &Subject) -> Option<&Blocked> {
        self.first
            .get(subject)
            .and_then(|position| self.list.get(*position))
    }
}

/// The uid of the jail of ours that `jail` is; none for a stranger.
///
/// Where jails have `meta` (15) only it counts. Elsewhere the ledger must have the jid, or have announced a start under that name and root;
/// a dying jail of that name and root is taken for a former self, which harms nobody.
#[must_use]
pub fn owner_of(
    view: &HostView,
    observed: &Observed,
    ledger: &Ledger,
    jail: &ObservedJail,
) -> Option<Uid> {
    let uid = Owners::new(view, observed, ledger).of(jail)?;
    Some(Uid(uid.to_owned()))
}

/// Brings the ledger in line with an observation: the jids of jails that it only announced, and what it announced that is not there. Returns whether anything changed.
///
/// Call it with every observation, before planning. What is forgotten here was never made, or went away without us.
///
/// # Errors
/// Something has changed and could not be written; the ledger in memory knows it all the same.
pub fn learn(
    view: &HostView,
    observed: &Observed,
    ledger: &mut Ledger,
    file: &mut dyn LedgerFile,
) -> Result<bool, HostError> {
    let is_other_boot = ledger.boot_id != observed.boot_id;
    if is_other_boot {
        ledger.learn(vec![Change::EnterBoot(observed.boot_id.clone())], file)?;
    }
    let changes = learned(view, observed, ledger);
    Ok(ledger.learn(changes, file)? || is_other_boot)
}

/// What a look at the boot that the ledger is in says of the ledger.
fn learned(view: &HostView, observed: &Observed, ledger: &Ledger) -> Vec<Change> {
    let index = Index::new(view, observed, ledger);
    let gone: BTreeSet<Owned> = ledger
        .owned
        .iter()
        .filter(|owned| !still_there(view, observed, &index, ledger, owned))
        .chain(sysctls::changed_since(view, observed, ledger))
        .cloned()
        .collect();
    // Both are asked for only while something is leaving, which on a host at rest nothing is.
    let standing = LazyCell::new(|| {
        let staying = ledger.owned.iter().filter(|owned| !gone.contains(*owned));
        staying.filter_map(Owned::alias).collect::<BTreeSet<_>>()
    });
    // A node is known for a jail's by the jail's uid.
    let linked = LazyCell::new(|| {
        let nodes = observed.netgraph.nodes.iter();
        nodes
            .filter_map(
                |node| match names::Node::parse(&node.name, &view.cluster)? {
                    names::Node::Link(jail, _) => Some(jail),
                    names::Node::Switch(_) | names::Node::Port(_) => None,
                },
            )
            .collect::<BTreeSet<_>>()
    });
    let mut views = Cursor::new(&view.jails);
    let left: Vec<Uid> = ledger
        .jails
        .iter()
        .filter(|(uid, ours)| {
            views.get(uid.as_str()).is_none_or(|jail| jail.deleting)
                && index.incarnations(uid).all(|jail| jail.dying)
                && !observed.files.contains_key(&ours.conf)
                && (linked.is_empty() || !linked.contains(&names::Node::hash_of(uid)))
                && (observed.netgraph.unread.is_none() || !netgraph::may_be_switched(view, uid))
                && !images::may_have_root(view, observed, ledger, uid)
                && {
                    let mut addresses = ours.addresses.iter().chain(&ours.former);
                    !addresses.any(|address| standing.contains(address))
                }
                && {
                    let mut targets = ours.mounts.iter();
                    !targets.any(|target| index.is_mounted(target))
                }
        })
        .map(|(uid, _)| uid.clone())
        .collect();
    let mut known = Cursor::new(&ledger.jails);
    let mut jails: BTreeMap<Uid, OwnedJail> = BTreeMap::new();
    for (uid, jail) in index.jails_by_uid().filter(|(_, jail)| !jail.dying) {
        let Some(ours) = known.get(uid) else {
            continue;
        };
        let hash = jail.meta.as_ref().map_or(&ours.hash, |meta| &meta.hash);
        let is_other = ours.jid != jail.jid || *hash != ours.hash;
        if is_other {
            let mut learned = ours.clone();
            learned.jid = jail.jid;
            learned.hash.clone_from(hash);
            jails.insert(Uid(uid.to_owned()), learned);
        }
        if ours.verdicts.is_some() || !observed.health.is_empty() {
            let uid = Uid(uid.to_owned());
            let ours = jails.get(&uid).unwrap_or(ours);
            if let Some(learned) = probes::learned(view, observed, &uid, jail.jid, ours) {
                jails.insert(uid, learned);
            }
        }
    }
    // Addresses that jails had before and that have gone from the host.
    for (uid, ours) in ledger
        .jails
        .iter()
        .filter(|(_, ours)| !ours.former.is_empty())
    {
        if !ours.former.is_subset(&standing) {
            let learned = jails.entry(uid.clone()).or_insert_with(|| ours.clone());
            learned.former.retain(|address| standing.contains(address));
        }
    }
    let acquitted = ledger.rolled_back.keys();
    let acquitted = acquitted.filter(|part| match part.as_str() {
        pf_conf::PART => pf_conf::is_acquitted(view, observed, ledger),
        part => uplinks::is_acquitted(view, ledger, part),
    });
    let jails = jails.into_iter();
    jails
        .map(|(uid, jail)| Change::KnowJail(uid, jail))
        .chain(gone.iter().cloned().map(Change::Disown))
        .chain(images::storage_to_know(view, observed, ledger).map(Change::Own))
        .chain(datasets::to_know(view, observed, ledger).map(Change::Own))
        .chain(left.into_iter().map(Change::ForgetJail))
        .chain(acquitted.cloned().map(Change::Acquit))
        .collect()
}

fn still_there<'a>(
    view: &HostView,
    observed: &'a Observed,
    index: &Index<'a>,
    ledger: &Ledger,
    owned: &Owned,
) -> bool {
    let unread = observed.netgraph.unread.is_some();
    let is_gone = |interface: &str| index.interfaces_named(interface).next().is_none();
    // One that was renamed is at its switch under its new name, and at it again under its own once it has that back.
    let is_at = |switch: &str, interface: &str| {
        let switch = index.node(switch);
        unread
            || switch.is_some_and(|switch| netgraph::is_uplink(switch, interface))
            || is_gone(interface) && netgraph::has_card(switch)
    };
    let is_hooked = |of: &str| {
        let mut uplinks = ledger.owned.iter();
        uplinks.any(|uplink| {
            matches!(uplink, Owned::NgUplink { switch, interface }
                if interface == of && is_at(switch, interface))
        })
    };
    match owned {
        Owned::Alias { interface, address } => index
            .holders(address)
            .any(|(found, _)| found.name == *interface),
        Owned::BroughtUp { interface } => {
            let mut named = index.interfaces_named(interface);
            named.any(Interface::is_up) || is_gone(interface) && is_hooked(interface)
        }
        Owned::Inet6Enabled { interface } => index
            .interfaces_named(interface)
            .any(|found| !found.nd6.contains("IFDISABLED")),
        Owned::LinkLocal { interface } => index
            .interfaces_named(interface)
            .any(|found| found.link_local().is_some()),
        Owned::Member { bridge, member } => index
            .interfaces_named(bridge)
            .any(|found| found.members.contains_key(member)),
        Owned::Redirect { .. } | Owned::Translation { .. } => observed.pf.loaded,
        // Where there is none any more, nothing is left of it but rules, which go by themselves.
        Owned::Firewall { jail, .. } | Owned::Unchecked { jail } => {
            let jail = view.jails.get(jail);
            observed.pf.loaded && jail.is_some_and(|jail| jail.spec.firewall.is_some())
        }
        Owned::Rejected { jail, .. } => {
            let spec = view.jails.get(jail).map(|jail| &jail.spec);
            observed.pf.loaded
                && spec.is_some_and(|spec| spec.is_published() || spec.firewall_of_host().is_some())
        }
        Owned::UncheckedNetwork { network } => {
            let mut networks = view.networks.values();
            let network = networks.find(|found| found.uid == *network);
            observed.pf.loaded && network.is_some_and(|network| by_pf(&network.spec))
        }
        Owned::Route {
            destination,
            interface,
        } => index
            .routes_to(destination)
            .any(|route| route.interface == *interface),
        Owned::NgUplink { switch, interface } => is_at(switch, interface),
        Owned::NgEther { interface, .. } => {
            let node = index.node(&names::ether_node(interface));
            unread || node.is_some_and(|node| node.kind == "ether") || is_hooked(interface)
        }
        Owned::Limit { rule, .. } => {
            let limits = observed.limits.as_ref();
            limits.is_some_and(|limits| limits.contains(rule))
        }
        Owned::TableRoute(route) => tables::stands(index, route),
        Owned::LaggPort { lagg, port, mtu } => {
            // One that fell out of a lagg that still stands is put back, unless the Host has it no more.
            let is_declared = view.host.uplinks.iter().any(|(uplink, spec)| {
                let declared = spec.lagg.as_ref();
                declared.is_some_and(|declared| declared.ports.contains(port))
                    && names::lagg(&view.host_uid, uplink) == *lagg
            });
            let mut named = index.interfaces_named(lagg);
            let is_port = named.any(|found| {
                let lagg = found.lagg.as_ref();
                is_declared || lagg.is_some_and(|lagg| lagg.ports.contains_key(port))
            });
            let mut named = index.interfaces_named(port);
            is_port || named.any(|found| found.mtu != *mtu)
        }
        Owned::Storage { path, .. } => images::needs_storage(view, path),
        Owned::Dataset { name, guid } => datasets::is_known(view, observed, name, guid),
        Owned::Nic(state) => nics::is_lent(observed, index, state),
        Owned::PfConf { .. } => !pf_conf::is_left(view, observed, ledger),
        Owned::Sysctl { oid, .. } => matches!(observed.sysctls.get(oid), Some(Some(_)) | None),
    }
}
