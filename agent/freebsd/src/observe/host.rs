//! One look at a host, from the commands to an [`Observed`].

use std::collections::{BTreeMap, BTreeSet};

use cellblock_agent_core::host::{HostError, Wanted};
use cellblock_agent_core::mark::Mark;
use cellblock_agent_core::names::{ANCHOR_INSIDE, ANCHOR_ROOT};
use cellblock_agent_core::observed::{
    Directory, Interface, Netgraph, Observed, ObservedJail, Pf, Route, VnetPf,
};
use cellblock_agent_core::plan::tables::FIBS_MAX;
use cellblock_schemas::host::{HostFacts, InterfaceFact};
use cellblock_schemas::net::HostAddress;

use super::{devfs, ifconfig, jls, mount, neighbours, netgraph, pf, storage, sysctl, vnet};
use crate::command::{Command, Output, Program, words};
use crate::error::Failure;
use crate::system::{System, succeed};

/// How often the list of interfaces is read again because interfaces came and went between two commands, before it is read one by one.
const LIST_TRIES: usize = 3;

/// Oids that every look needs.
const OIDS: [&str; 8] = [
    "kern.osrelease",
    "kern.osreldate",
    "hw.machine",
    "kern.features.vimage",
    "kern.features.rctl",
    "kern.racct.enable",
    "net.fibs",
    SECURELEVEL,
];

/// Raised only; every jail has at least the host's.
const SECURELEVEL: &str = "kern.securelevel";

/// From this securelevel on nobody loads rules of pf or kills states (`cmd_securelevel` of `PFNL_CMD_ADDRULE`, `PFNL_CMD_KILLSTATES` and their like, sys/netpfil/pf/pf_nl.c; asked as `securelevel_ge`,
/// sys/netlink/netlink_generic.c).
const SECURELEVEL_SEALED: i64 = 2;

/// From this one on nobody reads them either (`PFNL_CMD_GETRULES`, `PFNL_CMD_GET_RULESETS`, the same place). pfctl(8) then shows no rule, no state and `Status: Disabled`, mostly with exit status 0.
const SECURELEVEL_UNREAD: i64 = 3;

/// The suffix of jails' console logs, which are known by name only: jail(8) writes them.
const CONSOLE: &str = ".console";

/// The suffix of what they were before they were emptied.
const ROTATED: &str = ".console.0";

/// The suffix of the files below the agent's folder that are looked at.
pub(crate) const CONF: &str = ".conf";

/// The suffix of the files that jail(8) fills once a start is through (`-J`).
pub(crate) const JID: &str = ".jid";

/// The suffix of those with its standard error, while it works.
pub(crate) const STDERR: &str = ".stderr";

/// Takes one look.
pub(crate) fn look(
    system: &dyn System,
    folder: &str,
    wanted: &Wanted,
) -> Result<Observed, Failure> {
    let boot_id = boot_id(system)?;
    let mut asked: BTreeSet<&str> = wanted.sysctls.iter().map(String::as_str).collect();
    asked.extend(OIDS);
    let values = super::sysctls(system, asked)?;
    let parameters = Command::new(Program::Sysctl, words!["-N", sysctl::JAIL_PARAMETERS]);
    let jail_parameters = sysctl::parse_jail_parameters(&succeed(system, &parameters)?.stdout);
    let mut jails = jails(system, &jail_parameters, &wanted.parameters)?;
    let vnets = vnet::look(system, &mut jails, &jail_parameters, wanted)?;
    let interfaces = interfaces(system, wanted.drivers)?;
    let mut pf = packet_filter_of_host(system, &values)?;
    if pf.is_read() {
        for ((anchor, jail), rules) in &wanted.rules {
            if system.run(&pf::check(None, anchor, rules))?.is_success() {
                pf.accepted.insert((anchor.clone(), jail.clone()));
            }
        }
    }
    let pf_conf = wanted.pf_conf.as_ref();
    let pf_conf = pf_conf.map(|wanted| super::pf_conf::look(system, &pf, wanted));
    let mounts = Command::new(Program::Mount, ["-p"]);
    let mut modules = BTreeSet::new();
    for module in &wanted.modules {
        if super::has_module(system, module)? {
            modules.insert(module.clone());
        }
    }
    // Asking loads ng_socket, so nobody is asked where no switch and no interface of one can be.
    let netgraph = if ["ng_bridge", "ng_eiface"]
        .iter()
        .any(|module| modules.contains(*module))
    {
        netgraph::look(system, &wanted.ether)
    } else {
        Netgraph::default()
    };
    // One path that cannot be looked at (a circle of links, a dead NFS server) is its jail's trouble, and no other's.
    let directories = wanted.directories.iter().map(|path| {
        let found = match system.real_path(path) {
            Ok(Some(real)) => Directory::At(real),
            Ok(None) => Directory::Absent,
            Err(error) => Directory::Unknown(HostError::from(Failure::from(error)).message),
        };
        (path.clone(), found)
    });
    let files = files(system, folder)?;
    let limits = if wanted.limits && accounts_resources(&values) {
        Some(rules(system, "jail:")?)
    } else {
        None
    };
    // Where its path cannot be looked at, that stands with the directories.
    let zfs = wanted.dataset.as_ref();
    let zfs = zfs.map(|name| super::zfs::look(system, name));
    let mounted = wanted
        .dataset
        .as_ref()
        .zip(zfs.as_ref())
        .and_then(|(name, zfs)| super::zfs::mounted_at(zfs, name));
    let storage = match wanted.storage.as_deref().or(mounted) {
        Some(path) => storage::look(system, path),
        None => None,
    };
    Ok(Observed {
        busy: BTreeMap::new(),
        boot_id,
        facts: facts(&values, &jail_parameters, &pf, &interfaces),
        routes: routes(system, &values)?,
        mounts: mount::parse(&succeed(system, &mounts)?.stdout),
        devfs_rulesets: rulesets(system, &wanted.rulesets)?,
        hides_pf: hides_pf(system, &wanted.rulesets_of_pf)?,
        sysctls: wanted
            .sysctls
            .iter()
            .map(|oid| (oid.clone(), values.get(oid).cloned()))
            .collect(),
        consoles: consoles(system, &files)?,
        numbers: super::getent::numbers(system, wanted)?,
        limits,
        files,
        neighbours: neighbours::look(system, &wanted.neighbours, &interfaces, &jails),
        interfaces,
        jails,
        vnets,
        pf,
        pf_conf,
        netgraph,
        modules,
        jail_parameters,
        directories: directories.collect(),
        storage,
        zfs,
        health: BTreeMap::new(),
    })
}

/// `kern.boot_id` where the kernel has it and has gathered enough randomness for it (sys/kern/kern_mib.c); else the time of the boot, which changes when the clock is set, so that it is only second best.
fn boot_id(system: &dyn System) -> Result<String, Failure> {
    let random = system.run(&Command::new(Program::Sysctl, ["-x", "kern.boot_id"]))?;
    if random.is_success()
        && let Some(id) = sysctl::parse_boot_id(&random.stdout)
    {
        return Ok(id);
    }
    let command = Command::new(Program::Sysctl, ["-n", "kern.boottime"]);
    let text = succeed(system, &command)?.stdout;
    sysctl::parse_boot_time(&text).ok_or_else(|| Failure::Unreadable {
        program: "sysctl",
        what: format!("kern.boottime is `{}`", text.trim()),
    })
}

/// The rules of rctl(8) that a filter fits, as it prints them.
pub(crate) fn rules(system: &dyn System, filter: &str) -> Result<BTreeSet<String>, Failure> {
    let command = Command::new(Program::Rctl, [filter]);
    let printed = succeed(system, &command)?.stdout;
    Ok(printed.lines().map(str::to_owned).collect())
}

/// Whether the kernel has RCTL and was booted to account resources.
fn accounts_resources(values: &BTreeMap<String, String>) -> bool {
    let is_on = |oid: &str| values.get(oid).is_some_and(|value| value == "1");
    is_on("kern.features.rctl") && is_on("kern.racct.enable")
}

/// Every jail, dying ones too. `known` are the parameters that the kernel's jails have, `wanted` those to be read of them besides.
pub(super) fn jails(
    system: &dyn System,
    known: &BTreeSet<String>,
    wanted: &BTreeSet<String>,
) -> Result<Vec<ObservedJail>, Failure> {
    let options = ["-d", "-n", "--libxo=json"];
    let words = options.into_iter().chain(jls::parameters(known, wanted));
    let command = Command::new(Program::Jls, words);
    jls::parse(&succeed(system, &command)?.stdout)
}

/// Every interface of the host. Read at once if that can be believed, else one by one, so that a forged description speaks for its own interface only.
fn interfaces(system: &dyn System, drivers: bool) -> Result<Vec<Interface>, Failure> {
    let all = Command::new(Program::Ifconfig, super::all(drivers));
    let list = Command::new(Program::Ifconfig, ["-l"]);
    let mut names = String::new();
    let mut refused = None;
    for _ in 0..LIST_TRIES {
        // Where one goes while it prints, `-D` cannot ask for the driver's name any more, and ends with 1 (`get original name`, sbin/ifconfig/ifconfig_netlink.c).
        let output = system.run(&all)?;
        refused = (!output.is_success()).then(|| Failure::refused(&all, &output));
        let interfaces = ifconfig::parse(&output.stdout);
        names = succeed(system, &list)?.stdout;
        if refused.is_none() && ifconfig::is_sound(&interfaces, &ifconfig::parse_names(&names)) {
            return Ok(interfaces);
        }
    }
    if let Some(refused) = refused {
        return Err(refused);
    }
    tracing::warn!(
        "`ifconfig -a` and `-l` name other interfaces: some come and go, or a name or description contains a line end; they are read one by one"
    );
    let read = if drivers {
        super::nic
    } else {
        super::interface
    };
    let mut interfaces = Vec::new();
    for name in ifconfig::parse_names(&names) {
        // ifconfig takes it for an option, so nothing but the name can be known.
        if name.starts_with('-') {
            interfaces.push(Interface {
                name: name.to_owned(),
                ..Interface::default()
            });
            continue;
        }
        // A name that is listed twice is read twice: two entries of one name are what nobody touches.
        interfaces.extend(read(system, None, name)?);
    }
    Ok(interfaces)
}

fn routes(
    system: &dyn System,
    values: &BTreeMap<String, String>,
) -> Result<BTreeMap<u16, Vec<Route>>, Failure> {
    let fibs: u16 = values
        .get("net.fibs")
        .and_then(|text| text.parse().ok())
        .unwrap_or(1);
    (0..fibs.min(FIBS_MAX))
        .map(|fib| Ok((fib, super::table(system, fib)?)))
        .collect()
}

/// The devfs rulesets that are there, without those of `asked` that have no rules: mounting with one that is not there makes it (`devfs_ruleset_use`, sys/fs/devfs/devfs_rule.c).
fn rulesets(system: &dyn System, asked: &BTreeSet<u32>) -> Result<BTreeSet<u32>, Failure> {
    let listed = succeed(system, &Command::new(Program::Devfs, ["rule", "showsets"]))?.stdout;
    let mut found = BTreeSet::new();
    for ruleset in listed.lines().filter_map(|line| line.trim().parse().ok()) {
        if !asked.contains(&ruleset) || devfs::has_rules(system, ruleset)? {
            found.insert(ruleset);
        }
    }
    Ok(found)
}

/// Those of `rulesets` that hide /dev/pf.
fn hides_pf(system: &dyn System, rulesets: &BTreeSet<u32>) -> Result<BTreeSet<u32>, Failure> {
    let mut hiding = BTreeSet::new();
    for ruleset in rulesets {
        let mut visible = true;
        devfs::apply(system, *ruleset, "pf", &mut visible, devfs::DEPTH_MAX)?;
        if !visible {
            hiding.insert(*ruleset);
        }
    }
    Ok(hiding)
}

/// The pf of the host. Where its securelevel keeps everybody from reading it, that is all that is known.
fn packet_filter_of_host(
    system: &dyn System,
    values: &BTreeMap<String, String>,
) -> Result<Pf, Failure> {
    let level = values.get(SECURELEVEL).and_then(|text| text.parse().ok());
    let level: i64 = level.unwrap_or(-1);
    if level < SECURELEVEL_UNREAD {
        let found = packet_filter(system, None)?.pf;
        return Ok(Pf {
            sealed: found.loaded && level >= SECURELEVEL_SEALED,
            ..found
        });
    }
    let info = Command::pfctl(None, ["-s", "info"]);
    let output = system.run(&info)?;
    if !output.is_success() && pf::is_not_loaded(&output.stderr) {
        return Ok(Pf::default());
    }
    Ok(Pf {
        loaded: true,
        sealed: true,
        unread: Some(format!(
            "{SECURELEVEL} of the host is {level}, at which nobody may read or change pf's rules, so it is not known which are in force; set kern_securelevel to 1 or less in rc.conf and boot the host"
        )),
        ..Pf::default()
    })
}

/// The pf of the host, or of the stack of the VNET jail `inside`. Two commands per anchor read the label and count the translations: `pfctl -a 'cellblock/*' -sr` does not descend (`pfctl_show_rules`,
/// sbin/pfctl/pfctl.c), and `-a '*'` descends only where the main ruleset refers to our anchors, and into everybody else's too.
pub(crate) fn packet_filter(system: &dyn System, inside: Option<&str>) -> Result<VnetPf, Failure> {
    let info = Command::pfctl(inside, ["-s", "info"]);
    let output = system.run(&info)?;
    if !output.is_success() {
        return if pf::is_not_loaded(&output.stderr) {
            Ok(VnetPf::default())
        } else {
            Err(Failure::refused(&info, &output))
        };
    }
    let enabled = pf::parse_enabled(&output.stdout).ok_or_else(|| Failure::Unreadable {
        program: "pfctl",
        what: "no Status line in -s info".to_owned(),
    })?;
    let rules = permitted(system, &Command::pfctl(inside, ["-sr"]))?;
    let translations = permitted(system, &Command::pfctl(inside, ["-sn"]))?;
    let mut references = pf::parse_references(&rules.stdout);
    references.extend(pf::parse_references(&translations.stdout));
    let interfaces = succeed(system, &Command::pfctl(inside, ["-vsI"]))?;
    let mut anchors = BTreeMap::new();
    let mut listed = self::anchors(system, inside)?;
    if inside.is_some() {
        listed.retain(|anchor| anchor == ANCHOR_INSIDE);
    }
    for anchor in listed {
        match pf::parse_hash(&show(system, inside, &anchor, "-sl")?) {
            Some(hash) => {
                let whole = pf::has_translations(&hash, &show(system, inside, &anchor, "-sn")?)
                    && has_tables(system, inside, &anchor, &hash)?;
                anchors.insert(anchor, if whole { hash } else { String::new() });
            }
            None if holds_nothing(system, inside, &anchor)? => {}
            None => {
                anchors.insert(anchor, String::new());
            }
        }
    }
    Ok(VnetPf {
        pf: Pf {
            loaded: true,
            unread: None,
            sealed: false,
            enabled,
            references,
            before_us: pf::parse_before_us(&rules.stdout),
            skipped: pf::parse_skipped(&interfaces.stdout),
            anchors,
            accepted: BTreeSet::new(),
        },
        is_bare: rules.stdout.trim().is_empty(),
        unread: None,
    })
}

/// What pfctl shows of the main ruleset. What it may not read it shows as nothing, with exit status 0 (`pfctl_show_rules`, `pfctl_show_nat`, sbin/pfctl/pfctl.c).
fn permitted(system: &dyn System, command: &Command) -> Result<Output, Failure> {
    let output = succeed(system, command)?;
    if pf::is_not_permitted(&output.stderr) {
        return Err(Failure::refused(command, &output));
    }
    Ok(output)
}

/// Whether the tables that an anchor's label speaks of are there with all their addresses: those that its rules name. Others are of rules that were replaced, and stay until these are purged,
/// which no rule is that a state was made by (`pf_purge_unlinked_rules`, sys/netpfil/pf/pf.c).
fn has_tables(
    system: &dyn System,
    inside: Option<&str>,
    anchor: &str,
    hash: &str,
) -> Result<bool, Failure> {
    let Some(count) = pf::table_addresses(hash) else {
        return Ok(true);
    };
    let mut rules = show(system, inside, anchor, "-sr")?;
    // Shared ports lead to a table that no filter rule names.
    rules.push_str(&show(system, inside, anchor, "-sn")?);
    let mut found = 0;
    for table in pf::tables_of(&rules) {
        let arguments = ["-a", anchor, "-t", table, "-T", "show"];
        // `pfctl: Table does not exist.`, exit status 255 (sbin/pfctl/pfctl_table.c).
        let output = system.run(&Command::pfctl(inside, arguments))?;
        if !output.is_success() {
            return Ok(false);
        }
        found += pf::parse_tables(&output.stdout).len();
    }
    Ok(found == count)
}

/// What pfctl shows of an anchor; nothing of one that is not there, of which recordings `05` and `12` show exit status 0.
pub(crate) fn show(
    system: &dyn System,
    inside: Option<&str>,
    anchor: &str,
    what: &str,
) -> Result<String, Failure> {
    let command = Command::pfctl(inside, ["-a", anchor, what]);
    let output = system.run(&command)?;
    if pf::is_no_anchor(&output.stderr) {
        return Ok(String::new());
    }
    if output.is_success() && !pf::is_not_permitted(&output.stderr) {
        Ok(output.stdout)
    } else {
        Err(Failure::refused(&command, &output))
    }
}

/// Whether an anchor has no rules, no translations and no tables. The name of an emptied one stays listed until the kernel has purged its old rules, which may hold tables
/// (`pf_purge_unlinked_rules`, sys/netpfil/pf/pf.c), and after `pfctl -F all` (recording `05`); it does nothing.
pub(crate) fn holds_nothing(
    system: &dyn System,
    inside: Option<&str>,
    anchor: &str,
) -> Result<bool, Failure> {
    for what in ["-sr", "-sn", "-sT"] {
        if !show(system, inside, anchor, what)?.trim().is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The anchors below ours.
pub(crate) fn anchors(
    system: &dyn System,
    inside: Option<&str>,
) -> Result<BTreeSet<String>, Failure> {
    let command = Command::pfctl(inside, ["-a", ANCHOR_ROOT, "-sA"]);
    let output = system.run(&command)?;
    if pf::is_no_anchor(&output.stderr) {
        return Ok(BTreeSet::new());
    }
    if output.is_success() {
        Ok(pf::parse_anchors(&output.stdout))
    } else {
        Err(Failure::refused(&command, &output))
    }
}

fn files(system: &dyn System, folder: &str) -> Result<BTreeMap<String, String>, Failure> {
    let jails = format!("{folder}/jails");
    let mut files = BTreeMap::new();
    for name in system.list_dir(&jails)?.unwrap_or_default() {
        let path = format!("{jails}/{name}");
        if name.starts_with('.') {
            continue;
        } else if [CONSOLE, ROTATED, STDERR]
            .iter()
            .any(|end| name.ends_with(end))
        {
            files.insert(path, String::new());
        } else if (name.ends_with(CONF) || name.ends_with(JID))
            && let Some(content) = system.read_file(&path)?
        {
            files.insert(path, content);
        }
    }
    Ok(files)
}

fn consoles(
    system: &dyn System,
    files: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, u64>, Failure> {
    let mut sizes = BTreeMap::new();
    for path in files.keys().filter(|path| path.ends_with(CONSOLE)) {
        if let Some(size) = system.file_size(path)? {
            sizes.insert(path.clone(), size);
        }
    }
    Ok(sizes)
}

fn facts(
    values: &BTreeMap<String, String>,
    jail_parameters: &BTreeSet<String>,
    pf: &Pf,
    interfaces: &[Interface],
) -> HostFacts {
    let value = |oid: &str| values.get(oid).map_or("", String::as_str);
    let features = [
        ("vimage", value("kern.features.vimage") == "1"),
        ("rctl", accounts_resources(values)),
        ("pf", pf.loaded),
        // The parameter appears with the module (recording `12`).
        ("zfs", jail_parameters.contains("allow.mount.zfs")),
        ("jail.meta", jail_parameters.contains("meta")),
    ];
    HostFacts {
        release: value("kern.osrelease").to_owned(),
        osreldate: value("kern.osreldate").parse().unwrap_or(0),
        machine: value("hw.machine").to_owned(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        features: features
            .into_iter()
            .filter(|(_, has)| *has)
            .map(|(name, _)| name.to_owned())
            .collect(),
        interfaces: interfaces
            .iter()
            .filter(|interface| !is_ours(interface))
            .map(interface_fact)
            .collect(),
    }
}

fn is_ours(interface: &Interface) -> bool {
    interface
        .description
        .as_deref()
        .and_then(Mark::parse)
        .is_some()
}

fn interface_fact(interface: &Interface) -> InterfaceFact {
    InterfaceFact {
        name: interface.name.clone(),
        mac: interface.mac,
        addresses: interface
            .addresses
            .iter()
            .map(|entry| HostAddress {
                address: entry.address,
                prefix_length: Some(entry.prefix_length),
            })
            .collect(),
        up: interface.is_up(),
    }
}

#[cfg(test)]
mod tests;
