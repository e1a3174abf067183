//! pfctl(8): hands the command to the pf of the stack it runs in, with the rest of the kernel as facts.

use std::net::IpAddr;
use std::time::Duration;

use super::Context;
use crate::emulator::Emulator;
use crate::files::FileTree;
use crate::kernel::Kernel;
use crate::kernel::ifnet::Ifnet;
use crate::kernel::vnet::VnetId;
use crate::log::is_changing;
use crate::output::Output;
use crate::pf::{self, Interface, InterfaceAddress, NetFacts};
use crate::release::Release;

/// One stack as pf sees it.
pub(crate) struct Facts<'a> {
    pub(crate) kernel: &'a Kernel,
    pub(crate) files: &'a FileTree,
    pub(crate) stack: VnetId,
    /// The root of whoever reads files.
    pub(crate) root: &'a str,
}

/// Above it the kernel takes no more rules (`cmd_securelevel`, sys/netpfil/pf/pf_nl.c: `securelevel_ge`).
const SECURELEVEL_MAX: i64 = 1;

/// Above it, it does not tell them either.
const SECURELEVEL_READ_MAX: i64 = 2;

/// The users and groups of a fresh system that rules may name.
const IDS: &[(&str, u32)] = &[
    ("root", 0),
    ("wheel", 0),
    ("daemon", 1),
    ("operator", 2),
    ("bin", 3),
    ("www", 80),
    ("nobody", 65534),
    ("nogroup", 65533),
];

pub(super) fn id(name: &str) -> Option<u32> {
    IDS.iter()
        .find(|(known, _)| *known == name)
        .map(|(_, id)| *id)
}

impl Facts<'_> {
    fn describe(&self, ifnet: &Ifnet) -> Interface {
        let inet = ifnet.inet.iter().map(|entry| InterfaceAddress {
            address: IpAddr::V4(entry.address),
            prefix: entry.prefix,
            broadcast: entry.broadcast.map(IpAddr::V4),
            peer: None,
        });
        let inet6 = ifnet.inet6.iter().map(|entry| InterfaceAddress {
            address: IpAddr::V6(entry.address),
            prefix: entry.prefix,
            broadcast: None,
            peer: None,
        });
        Interface {
            name: ifnet.name.clone(),
            index: ifnet.index,
            groups: ifnet
                .groups
                .iter()
                .map(|(group, _)| group.clone())
                .filter(|group| group != "all")
                .collect(),
            loopback: ifnet.is_loopback(),
            broadcast: !ifnet.is_loopback(),
            point_to_point: false,
            addresses: inet.chain(inet6).collect(),
        }
    }
}

impl NetFacts for Facts<'_> {
    fn release(&self) -> pf::Release {
        match self.kernel.release {
            Release::V14_3 => pf::Release::V14,
            Release::V15_1 => pf::Release::V15,
        }
    }

    fn pf_loaded(&self) -> bool {
        self.kernel.module_loaded("pf")
    }

    fn now(&self) -> Duration {
        self.kernel.now - self.kernel.booted_at
    }

    fn boot_epoch_s(&self) -> i64 {
        i64::try_from(self.kernel.boot_epoch_s()).unwrap_or(0)
    }

    fn lacks(&self, line: &str) -> bool {
        let is_host = self.stack == crate::kernel::vnet::HOST;
        is_host && self.kernel.pf_lacks.iter().any(|word| line.contains(word))
    }

    fn fibs(&self) -> u32 {
        self.kernel.vnet(self.stack).fibs.len() as u32
    }

    fn interface_names(&self) -> Vec<String> {
        let mut named: Vec<(u32, &str)> = self
            .kernel
            .interfaces(self.stack)
            .map(|ifnet| (ifnet.index, ifnet.name.as_str()))
            .collect();
        named.sort_unstable();
        named.into_iter().map(|(_, name)| name.to_owned()).collect()
    }

    fn interface(&self, name: &str) -> Option<Interface> {
        self.kernel
            .ifunit(self.stack, name)
            .map(|id| self.describe(self.kernel.ifnet(id)))
    }

    fn group_members(&self, group: &str) -> Vec<String> {
        let members = self.kernel.vnet(self.stack).groups.get(group);
        members
            .map(|members| {
                members
                    .values()
                    .map(|id| self.kernel.ifnet(*id).name.clone())
                    .collect()
            })
            .unwrap_or_default()
    }

    fn read_file(&self, path: &str) -> Option<String> {
        match path {
            "/dev/null" => Some(String::new()),
            _ => {
                let path = format!("{}{path}", self.root.trim_end_matches('/'));
                self.files.read_text(&path).ok()
            }
        }
    }

    fn user_id(&self, name: &str) -> Option<u32> {
        id(name)
    }

    fn group_id(&self, name: &str) -> Option<u32> {
        id(name)
    }
}

/// What it says where it may still read. Rulesets are begun and committed by ioctl, which level 2 allows (`pfioctl`, sys/netpfil/pf/pf_ioctl.c: `securelevel_gt`), and only a rule is added by netlink: so
/// rules can be taken away, and tables of a text loaded (seen on 15.1).
fn kept_from_changing(argv: &[String], stdin: &str) -> Option<Output> {
    const NO_DEVICE: &str = "pfctl: Operation not supported by device";
    let after = |word: &str| {
        let at = argv.iter().position(|found| found == word)?;
        argv.get(at + 1).map(String::as_str)
    };
    let has = |word: &str| argv.iter().any(|found| found == word);
    if has("-k") {
        return Some(Output::failure(1, "pfctl: DIOCKILLSTATES"));
    }
    if has("-e") {
        return Some(Output::failure(
            1,
            "pfctl: DIOCSTART: Operation not permitted",
        ));
    }
    if has("-T") {
        return Some(Output::failure(255, NO_DEVICE));
    }
    match (after("-F"), after("-f")) {
        (Some("rules" | "nat"), _) => None,
        (Some(_), _) => Some(Output::failure(1, NO_DEVICE)),
        (None, Some("-")) if stdin.lines().all(is_no_rule) => None,
        (None, _) => Some(Output::failure(
            1,
            "pfctl: DIOCADDRULE: Operation not permitted",
        )),
    }
}

/// Whether a line of pf.conf(5) loads nothing but a table.
fn is_no_rule(line: &str) -> bool {
    let line = line.trim_start();
    line.is_empty() || line.starts_with('#') || line.starts_with("table ")
}

/// What pfctl says where the securelevel of whoever runs it keeps it from what it is asked for; in a jail that is the jail's own. Refused reads are mostly shown as nothing, with exit status 0.
fn kept_from(level: i64, argv: &[String], stdin: &str) -> Option<Output> {
    if level <= SECURELEVEL_MAX {
        return None;
    }
    if is_changing(argv) && level <= SECURELEVEL_READ_MAX {
        return kept_from_changing(argv, stdin);
    }
    if is_changing(argv) {
        return Some(Output::failure(
            1,
            "pfctl: DIOCXBEGIN: Operation not permitted",
        ));
    }
    if level <= SECURELEVEL_READ_MAX {
        return None;
    }
    let mut output = Output::success();
    match shown(argv)? {
        'r' | 'l' => output.error("pfctl: Operation not permitted"),
        'n' => output.error("pfctl: DIOCGETRULES: Operation not permitted"),
        'A' => output.fail(1, "pfctl: Operation not permitted"),
        'm' => output.fail(1, "pfctl: DIOCGETLIMIT: Operation not permitted"),
        // `pfctl_get_status_h` returns a status of zeroes.
        'i' => output.line(format!("{:<44}{:>15}\n", "Status: Disabled", "Debug: None")),
        's' | 'T' => {}
        _ => return None,
    }
    Some(output)
}

/// The first letter of what `-s` asks for.
fn shown(argv: &[String]) -> Option<char> {
    let mut words = argv.iter().skip(1);
    while let Some(word) = words.next() {
        let Some(letters) = word.strip_prefix('-') else {
            continue;
        };
        if let Some((_, what)) = letters.split_once('s') {
            let what = what.chars().next();
            return what.or_else(|| words.next()?.chars().next());
        }
        if matches!(letters, "a" | "f" | "t" | "T" | "i" | "k" | "o") {
            words.next();
        }
    }
    None
}

/// Runs pfctl with the words after its name.
pub(crate) fn run(
    host: &mut Emulator,
    context: &Context,
    arguments: &[String],
    stdin: &str,
) -> Output {
    let argv: Vec<String> = std::iter::once("pfctl".to_owned())
        .chain(arguments.iter().cloned())
        .collect();
    let jail = host.kernel.jail(context.jid);
    let root = jail.map_or_else(|| "/".to_owned(), |jail| jail.path.clone());
    if jail.is_some() && host.kernel.module_loaded("pf") && !host.kernel.shows_device(&root, "pf") {
        return Output::failure(1, "pfctl: /dev/pf: No such file or directory");
    }
    if host.kernel.module_loaded("pf")
        && let Some(output) = kept_from(host.kernel.securelevel_of(context.jid), &argv, stdin)
    {
        return output;
    }
    // The stack's pf is taken out while it works, so that it can read the rest of the kernel.
    let mut state = std::mem::take(&mut host.kernel.vnet_mut(context.stack).pf);
    let facts = Facts {
        kernel: &host.kernel,
        files: &host.files,
        stack: context.stack,
        root: &root,
    };
    let output = pf::pfctl(&mut state, &facts, &argv, stdin);
    host.kernel.vnet_mut(context.stack).pf = state;
    Output {
        status: output.status,
        stdout: output.stdout,
        stderr: output.stderr,
    }
}

#[cfg(test)]
mod tests {
    use super::kept_from;

    /// What 15.1 said at each: the exit status and the line, or nothing.
    #[test]
    fn at_level_2_rules_are_taken_away_and_none_is_added() {
        let added = Some((1, "pfctl: DIOCADDRULE: Operation not permitted\n"));
        let killed = Some((1, "pfctl: DIOCKILLSTATES\n"));
        let cases = [
            ("-a cellblock/j00 -f -", "pass\n", added),
            ("-a cellblock/j00 -f -", "", None),
            (
                "-a cellblock/j00 -f -",
                "table <t> persist { 10.0.0.1 }\n",
                None,
            ),
            ("-n -a cellblock/j00 -f -", "pass\n", None),
            ("-a cellblock/j00 -F rules", "", None),
            (
                "-a cellblock/j00 -F Tables",
                "",
                Some((1, "pfctl: Operation not supported by device\n")),
            ),
            (
                "-a cellblock/j00 -t t -T add 10.0.0.2",
                "",
                Some((255, "pfctl: Operation not supported by device\n")),
            ),
            ("-k label -k cellblock:x", "", killed),
            ("-a cellblock/j00 -sr", "", None),
        ];
        for (words, stdin, wanted) in cases {
            let argv: Vec<String> = std::iter::once("pfctl")
                .chain(words.split(' '))
                .map(str::to_owned)
                .collect();
            let said = kept_from(2, &argv, stdin);
            let said = said
                .as_ref()
                .map(|said| (said.status, said.stderr.as_str()));
            assert_eq!(said, wanted, "{words}");
        }
    }
}
