//! What happens to a host without us: strangers' things, and hands that break ours.

use cellblock_fakebsd::Emulator;
use proptest::prelude::*;

/// Makes things of somebody else: a jail with an alias, a VNET jail on an epair in a bridge, a netgraph switch with an interface, an anchor of their own.
///
/// # Panics
/// The emulator refuses one of them: then the emulator is wrong.
pub fn make_strangers(emulator: &mut Emulator) {
    for line in [
        "ifconfig lo0 inet 127.0.9.1/32 alias",
        "jail -c name=theirs persist path=/ ip4.addr=127.0.9.1",
        "ifconfig bridge create name theirbr",
        "ifconfig theirbr inet 172.31.0.1/24 up",
        "ifconfig epair create",
        "ifconfig epair0a descr theirs up",
        "ifconfig theirbr addm epair0a",
        "jail -c name=theirvnet vnet persist path=/",
        "ifconfig epair0b vnet theirvnet",
        "ifconfig -j theirvnet epair0b inet 172.31.0.2/24 up",
        "route -n add -net 198.18.0.0/15 10.0.2.3",
    ] {
        let output = emulator.sh(line);
        assert_eq!(output.status, 0, "{line}: {}", output.stderr);
    }
    let argv = ["ngctl", "-f", "-"].map(str::to_owned);
    let script = "mkpeer . bridge a link0\nname .:a theirsw\nmsg theirsw: setpersistent\nmkpeer theirsw: eiface link2 ether\n";
    let output = emulator.run(&argv, script);
    assert_eq!(output.status, 0, "{}", output.stderr);
    let argv: Vec<String> = ["pfctl", "-a", "theirs/rules", "-f", "-"]
        .map(str::to_owned)
        .to_vec();
    let output = emulator.run(
        &argv,
        "pass in quick on vtnet0 inet proto tcp from any to any port 22\n",
    );
    assert_eq!(output.status, 0, "{}", output.stderr);
}

/// Aliases that an operator put up and that generated jails are given too: they are the operator's, jails that want them have to wait.
pub const TAKEN: [&str; 2] = ["10.0.2.50", "192.0.2.4"];

/// Puts [`TAKEN`] up: one where our aliases of it would be, the other elsewhere.
///
/// # Panics
/// The emulator refused.
pub fn take_addresses(emulator: &mut Emulator) {
    for (interface, address) in ["vtnet0", "lo0"].iter().zip(TAKEN) {
        let output = emulator.sh(&format!("ifconfig {interface} inet {address}/32 alias"));
        assert_eq!(output.status, 0, "{}", output.stderr);
    }
}

/// One thing that somebody does to what is ours. `pick` chooses among what is there.
#[derive(Clone, Copy, Debug)]
pub enum Hand {
    /// `jail -R` of a jail of ours.
    KillJail(u8),
    /// `ifconfig … destroy` of an interface of ours.
    DestroyInterface(u8),
    /// An interface of ours is put down.
    Down(u8),
    /// An alias is taken off a loopback of ours or off the NIC.
    RemoveAlias(u8),
    /// An anchor of ours is flushed.
    FlushAnchor(u8),
    /// A member is taken out of a bridge of ours, or is not private any more.
    RemoveMember(u8),
    /// A netgraph node of ours is shut down.
    ShutdownNode(u8),
    /// A hook of a netgraph switch of ours is disconnected.
    RemoveHook(u8),
    /// The settings of an uplink's ng_ether are changed.
    SetEther(u8),
    /// A jail's root takes its addresses away.
    StripJail(u8),
    /// A jail's root, or its rc.conf, adds a second default route, by another gateway.
    DivertJail(u8),
    /// A host end's gateway address, or a route of the host to a jail, is taken away.
    RemoveRoute(u8),
    /// A jail.conf of ours is removed.
    RemoveConf(u8),
    /// The power fails; pf and devfs come back as rc(8) sets them up.
    Reboot,
}

/// Any of them.
pub fn hand() -> impl Strategy<Value = Hand> {
    prop_oneof![
        any::<u8>().prop_map(Hand::KillJail),
        any::<u8>().prop_map(Hand::DestroyInterface),
        any::<u8>().prop_map(Hand::Down),
        any::<u8>().prop_map(Hand::RemoveAlias),
        any::<u8>().prop_map(Hand::FlushAnchor),
        any::<u8>().prop_map(Hand::RemoveMember),
        any::<u8>().prop_map(Hand::ShutdownNode),
        any::<u8>().prop_map(Hand::RemoveHook),
        any::<u8>().prop_map(Hand::SetEther),
        any::<u8>().prop_map(Hand::StripJail),
        any::<u8>().prop_map(Hand::DivertJail),
        any::<u8>().prop_map(Hand::RemoveRoute),
        any::<u8>().prop_map(Hand::RemoveConf),
        Just(Hand::Reboot),
    ]
}

/// Does it. What is not there is left alone.
pub fn act(emulator: &mut Emulator, hand: Hand) {
    match hand {
        Hand::KillJail(pick) => {
            if let Some(name) = pick_line(emulator, "jls name", pick, |line| {
                !line.starts_with("their")
            }) {
                emulator.sh(&format!("jail -R {name}"));
            }
        }
        Hand::DestroyInterface(pick) => {
            if let Some(name) = pick_word(emulator, pick) {
                emulator.sh(&format!("ifconfig {name} destroy"));
            }
        }
        Hand::Down(pick) => {
            if let Some(name) = pick_word(emulator, pick) {
                emulator.sh(&format!("ifconfig {name} down"));
            }
        }
        Hand::RemoveAlias(pick) => {
            let index = pick % 4;
            for interface in ["vtnet0".to_owned()].into_iter().chain(ours(emulator)) {
                emulator.sh(&format!(
                    "ifconfig {interface} inet 192.0.2.{} -alias",
                    3 + index
                ));
                emulator.sh(&format!(
                    "ifconfig {interface} inet 10.0.2.{} -alias",
                    50 + index
                ));
                emulator.sh(&format!(
                    "ifconfig {interface} inet6 fe80::{} -alias",
                    3 + index
                ));
            }
        }
        Hand::FlushAnchor(pick) => {
            let ours = |line: &str| line.trim().starts_with("cellblock/");
            if let Some(anchor) = pick_line(emulator, "pfctl -a cellblock -sA", pick, ours) {
                emulator.sh(&format!("pfctl -a {} -F all", anchor.trim()));
            }
        }
        Hand::RemoveMember(pick) => {
            let names = ours(emulator);
            let (bridges, members): (Vec<_>, Vec<_>) =
                names.into_iter().partition(|name| name.ends_with("br"));
            if let (Some(bridge), false) = (bridges.first(), members.is_empty()) {
                let member = &members[usize::from(pick) % members.len()];
                let what = if pick & 1 == 0 { "deletem" } else { "-private" };
                emulator.sh(&format!("ifconfig {bridge} {what} {member}"));
            }
        }
        Hand::ShutdownNode(pick) => {
            if let Some(node) = pick_line(emulator, NODES, pick, is_our_node) {
                emulator.sh(&format!("ngctl shutdown {}:", node_name(&node)));
            }
        }
        Hand::RemoveHook(pick) => {
            if let Some(node) = pick_line(emulator, NODES, pick / 4, is_our_node) {
                let name = node_name(&node);
                for hook in [format!("link{}", pick % 4), "ether".to_owned()] {
                    emulator.sh(&format!("ngctl rmhook {name}: {hook}"));
                }
            }
        }
        Hand::SetEther(pick) => {
            emulator.sh(&format!("ngctl msg vtnet2: setpromisc {}", pick & 1));
            emulator.sh(&format!("ngctl msg vtnet2: setautosrc {}", pick >> 1 & 1));
            let is_switch = |line: &str| node_name(line).starts_with("cbsw_");
            if let Some(node) = pick_line(emulator, NODES, pick >> 2, is_switch) {
                let age = pick & 1;
                let config = format!("{{ loopTimeout=60 minStableAge={age} }}");
                emulator.sh(&format!(
                    "ngctl msg {}: setconfig {config}",
                    node_name(&node)
                ));
            }
        }
        Hand::StripJail(pick) => {
            let name = ["a", "b", "c", "d"][usize::from(pick % 4)];
            for interface in ["routed0", "pairs0"] {
                emulator.sh(&format!(
                    "ifconfig -j {name} {interface} inet6 fe80::2 -alias"
                ));
                emulator.sh(&format!("ifconfig -j {name} {interface} down"));
            }
            emulator.sh(&format!("route -j {name} -n delete -host 10.40.0.1"));
            for (interface, network) in [
                ("switch0", 10),
                ("lan0", 30),
                ("graph0", 60),
                ("ether0", 70),
            ] {
                emulator.sh(&format!(
                    "ifconfig -j {name} {interface} inet 10.{network}.0.{} -alias",
                    10 + pick % 4
                ));
                emulator.sh(&format!("ifconfig -j {name} {interface} down"));
            }
            emulator.sh(&format!("route -j {name} -n delete default"));
            // What its root may do to its own pf, where its devfs shows it.
            let undone = ["-F all", "-d", "-F rules"][usize::from(pick / 4 % 3)];
            emulator.sh(&format!("jexec {name} pfctl {undone}"));
        }
        Hand::DivertJail(pick) => {
            let name = ["a", "b", "c", "d"][usize::from(pick % 4)];
            // One of the jail's networks at most leads there; the others are refused.
            for network in [10, 30, 60, 70] {
                emulator.sh(&format!("route -j {name} -n add default 10.{network}.0.77"));
                emulator.sh(&format!(
                    "route -j {name} -n add -inet6 default fd00:{network}::77"
                ));
            }
        }
        Hand::RemoveRoute(pick) => {
            let index = 10 + pick % 4;
            for interface in ours(emulator) {
                emulator.sh(&format!("ifconfig {interface} inet 10.40.0.1 -alias"));
            }
            emulator.sh(&format!("route -n delete -host 10.40.0.{index}"));
            emulator.sh(&format!("route -n delete -inet6 -host fd00:40::{index}"));
        }
        Hand::RemoveConf(pick) => {
            let name = ["a", "b", "c", "d"][usize::from(pick % 4)];
            // Absent is as good as removed.
            let _ = emulator
                .files
                .remove(&format!("{}/jails/{name}.conf", crate::world::FOLDER));
        }
        Hand::Reboot => {
            emulator.reboot();
            for line in [
                "kldload -n pf",
                "kldload -n if_bridge",
                "kldload -n if_epair",
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
            ] {
                emulator.sh(line);
            }
        }
    }
}

/// Lists the netgraph nodes.
const NODES: &str = "ngctl list";

fn node_name(line: &str) -> &str {
    line.split_whitespace().nth(1).unwrap_or_default()
}

fn is_our_node(line: &str) -> bool {
    let name = node_name(line);
    ["cbsw_", "cbhp_", "cbif_"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

/// The interfaces on the host that carry our prefix.
fn ours(emulator: &mut Emulator) -> Vec<String> {
    let output = emulator.sh("ifconfig -l");
    output
        .stdout
        .split_whitespace()
        .filter(|name| name.starts_with("cb"))
        .map(str::to_owned)
        .collect()
}

fn pick_word(emulator: &mut Emulator, pick: u8) -> Option<String> {
    let names = ours(emulator);
    (!names.is_empty()).then(|| names[usize::from(pick) % names.len()].clone())
}

fn pick_line(
    emulator: &mut Emulator,
    command: &str,
    pick: u8,
    keep: impl Fn(&str) -> bool,
) -> Option<String> {
    let output = emulator.sh(command);
    let lines: Vec<&str> = output.stdout.lines().filter(|line| keep(line)).collect();
    (!lines.is_empty()).then(|| lines[usize::from(pick) % lines.len()].to_owned())
}
