//! Renders one jail's jail.conf(5): a file of its own, so that `jail -f FILE -c NAME` and `-r NAME` work for an operator as they do for the agent.
//!
//! Nothing can break out of a value: everything is quoted, and the two characters that end or escape a quoted string, and the one that begins a variable, are escaped (usr.sbin/jail/jaillex.l).

use std::fmt::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr};

use cellblock_schemas::jail::{Addressing, ParameterValue};
use cellblock_schemas::net::Family;
use cellblock_schemas::view::JailView;

use crate::image::BASEJAIL;
use crate::names::ANCHOR_INSIDE;
use crate::observed::JailMeta;
use crate::plan::desired::{Attach, DesiredLink, Networking, Zone};
use crate::render::digest::Meaning;

/// The loopback that every network stack is born with, without an address and down.
pub const LOOPBACK: &str = "lo0";

/// Where the agent's own program is: its `pfctl` runs the host's pfctl(8) in the stack of a jail.
pub const AGENT: &str = "/usr/local/sbin/cellblock-agent";

/// The prefix length of 127.0.0.1 on it.
pub const LOOPBACK_PREFIX_LENGTH: u8 = 8;

/// What an interface is told that gets addresses by router advertisements. A first interface of its kind in a stack is `IFDISABLED` (recording `02`). Without `no_dad` an address would be
/// tentative for a second, and daemons would meet it so: `in6if_do_dad` in `in6_update_ifa` (sys/netinet6/in6.c), by which `in6_ifadd` (sys/netinet6/nd6_rtr.c) goes too.
pub const ACCEPT_RTADV: &str = "inet6 no_dad accept_rtadv -ifdisabled up";

/// The program of the jail that asks the wire for an address. rtsol(8) ends with the first advertisement, and without one after three solicitations, 4 seconds apart (usr.sbin/rtsold/rtsold.c);
/// dhclient(8) goes on as a daemon, with a lease or, after a minute, without.
#[must_use]
pub fn asker(addressing: Addressing) -> Option<&'static str> {
    match addressing {
        Addressing::Dhcp => Some("/sbin/dhclient"),
        Addressing::Slaac => Some("/sbin/rtsol"),
        Addressing::Allocate | Addressing::Static | Addressing::Jail => None,
    }
}

/// A rendered jail.conf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JailConf {
    /// The whole file.
    pub text: String,
    /// What of it only a restart changes ([`Meaning`]): a running jail with another digest needs one.
    pub digest: String,
}

/// Where a jail stands on its host.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place<'a> {
    /// Its root.
    pub path: &'a str,
    /// What a thin one has of others.
    pub base: Option<&'a str>,
    /// Where the output of its hooks goes unless a parameter says otherwise.
    pub console: &'a str,
    /// The jails by their names in jls(8) that stop after it.
    pub stops_before: &'a [&'a str],
}

/// Renders the jail.conf of `jail`. `pf_files` what the pf of its own stack is loaded with, the rules and the main ruleset; `cluster` is given where the kernel's jails have `meta`.
///
/// Without `exec.consolelog` a daemon that `exec.start` leaves behind would write into jail(8)'s standard output, which ends with jail(8).
#[must_use]
pub fn render(
    jail: &JailView,
    place: &Place<'_>,
    networking: &Networking,
    pf_files: Option<&(String, String)>,
    cluster: Option<&str>,
) -> JailConf {
    let Place {
        path,
        base,
        console,
        stops_before,
    } = *place;
    let name = jail.jail_name();
    let digest = Meaning::of(jail, path, networking).digest();
    let mut text = Text(String::with_capacity(TEXT_BYTES));
    text.write(format_args!(
        "# Jail {} of Cellblock (uid {}). Rewritten whenever it differs from the manifest.\n",
        jail.name, jail.uid,
    ));
    // Read by agent/rc.d/cellblock_jails; jail(8)'s own `depend` knows only jails of the same file.
    if !stops_before.is_empty() {
        text.write(format_args!("# Stops before: {}\n", stops_before.join(" ")));
    }
    text.write(format_args!("{} {{\n", Quoted(name)));
    if let Some(cluster) = cluster {
        let meta = JailMeta {
            cluster: cluster.to_owned(),
            uid: jail.uid.0.clone(),
            hash: digest.clone(),
        };
        let meta = format!("cellblock={}", meta.text());
        text.line(format_args!("meta = {}", Quoted(meta)));
    }
    text.line(format_args!("path = {}", Quoted(path)));
    let parameters = &jail.spec.parameters;
    let inherits =
        matches!(parameters.get("host"), Some(ParameterValue::Text(host)) if host == "inherit");
    // A name of its own would end the inheritance (`PR_HOST`, kern_jail_set, sys/kern/kern_jail.c).
    if !inherits && !parameters.contains_key("host.hostname") {
        text.line(format_args!("host.hostname = {}", Quoted(name)));
    }
    if !jail.spec.parameters.contains_key("exec.consolelog") {
        text.line(format_args!("exec.consolelog = {}", Quoted(console)));
    }
    text.line(format_args!("persist"));
    if let Some(base) = base {
        let target = mount_target(path, BASEJAIL);
        text.line(format_args!(
            "mount += {}",
            Quoted(format_args!("{base} {target} nullfs ro 0 0"))
        ));
    }
    for mount in &jail.spec.mounts {
        let options = if mount.options.is_empty() {
            "rw".to_owned()
        } else {
            mount.options.join(",")
        };
        let source = mount.source.as_deref().unwrap_or(&mount.fs_type);
        let target = mount_target(path, &mount.target);
        let entry = format_args!("{source} {target} {} {options} 0 0", mount.fs_type);
        text.line(format_args!("mount += {}", Quoted(entry)));
    }
    text.networking(name, networking);
    if let Some((rules, main)) = pf_files {
        text.created(format_args!(
            "{AGENT} pfctl {name} -o none -a {ANCHOR_INSIDE} -f {rules}"
        ));
        text.created(format_args!("{AGENT} pfctl {name} -e -R -f {main}"));
    }
    for (parameter, value) in &jail.spec.parameters {
        text.parameter(parameter, value);
    }
    text.0.push_str("}\n");
    // It is kept while the host is planned, and a host may have a thousand.
    text.0.shrink_to_fit();
    JailConf {
        text: text.0,
        digest,
    }
}

/// What the file of a jail with two interfaces takes, and a little, in octets.
const TEXT_BYTES: usize = 2048;

/// A jail.conf in the making.
struct Text(String);

impl Text {
    fn write(&mut self, text: fmt::Arguments<'_>) {
        let written = self.0.write_fmt(text);
        written.expect("writing to a String cannot fail");
    }

    fn line(&mut self, text: fmt::Arguments<'_>) {
        self.0.push_str("    ");
        self.write(text);
        self.0.push_str(";\n");
    }

    /// A command that runs on the host between the jail's creation and `exec.start`.
    fn created(&mut self, command: fmt::Arguments<'_>) {
        self.line(format_args!("exec.created += {}", Quoted(command)));
    }

    fn networking(&mut self, name: &str, networking: &Networking) {
        match networking {
            Networking::None => {}
            Networking::Shared {
                ip4,
                ip6,
                zones,
                fib,
            } => {
                for (parameter, addresses) in [("ip4.addr", ip4), ("ip6.addr", ip6)] {
                    if !addresses.is_empty() {
                        let list: Vec<String> = addresses
                            .iter()
                            .map(|address| within(*address, zones.get(address)))
                            .map(|address| Quoted(address).to_string())
                            .collect();
                        self.line(format_args!("{parameter} = {}", list.join(", ")));
                    }
                }
                if let Some(fib) = fib {
                    self.line(format_args!("exec.fib = {fib}"));
                }
            }
            Networking::Vnet { links } => {
                self.line(format_args!("vnet"));
                self.vnet(name, links);
            }
        }
    }

    /// The commands that give a VNET jail its network, so that no daemon ever starts without it.
    ///
    /// `exec.created` runs before `vnet.interface` (usr.sbin/jail/jail.c), so the interface is moved here too. None of them has a shell metacharacter: jail(8) executes them directly (recording `11`).
    fn vnet(&mut self, name: &str, links: &[DesiredLink]) {
        self.created(format_args!(
            "/sbin/ifconfig -j {name} {LOOPBACK} inet {}/{LOOPBACK_PREFIX_LENGTH} up",
            Ipv4Addr::LOCALHOST
        ));
        for link in links {
            let (interface, end) = (&link.interface, link.on_host());
            self.created(format_args!("/sbin/ifconfig {end} vnet {name}"));
            self.created(format_args!(
                "/sbin/ifconfig -j {name} {end} name {interface}"
            ));
            // Others have theirs from when they were made.
            if let (Attach::Passed(_), Some(mtu)) = (&link.attach, link.mtu()) {
                self.created(format_args!(
                    "/sbin/ifconfig -j {name} {interface} mtu {mtu}"
                ));
            }
            for (address, prefix_length) in &link.addresses {
                match Family::of(*address) {
                    Family::Ipv4 => self.created(format_args!(
                        "/sbin/ifconfig -j {name} {interface} inet {address}/{prefix_length} alias"
                    )),
                    Family::Ipv6 => self.created(format_args!(
                        "/sbin/ifconfig -j {name} {interface} inet6 {address}/{prefix_length} no_dad alias"
                    )),
                }
            }
            let up = match link.addressing {
                Addressing::Slaac => ACCEPT_RTADV,
                Addressing::Allocate | Addressing::Static | Addressing::Dhcp | Addressing::Jail => {
                    "up"
                }
            };
            self.created(format_args!("/sbin/ifconfig -j {name} {interface} {up}"));
            for address in &link.on_link {
                self.created(format_args!(
                    "/sbin/route -j {name} -q -n add -host {address} -iface {interface}"
                ));
            }
        }
        for link in links {
            for gateway in &link.gateways {
                self.default_route(name, &link.interface, *gateway);
            }
        }
        // By the jail's own shell, and before what the operator has there: its output goes to the console, and a jail whose wire does not answer starts all the same.
        for link in links {
            if let Some(program) = asker(link.addressing) {
                let command = format!("{program} {} || true", link.interface);
                self.line(format_args!("exec.start += {}", Quoted(command)));
            }
        }
    }

    fn default_route(&mut self, name: &str, interface: &str, gateway: IpAddr) {
        match gateway {
            IpAddr::V4(gateway) => self.created(format_args!(
                "/sbin/route -j {name} -q -n add default {gateway}"
            )),
            IpAddr::V6(gateway) if gateway.is_unicast_link_local() => self.created(format_args!(
                "/sbin/route -j {name} -q -n add -inet6 default {gateway}%{interface}"
            )),
            IpAddr::V6(gateway) => self.created(format_args!(
                "/sbin/route -j {name} -q -n add -inet6 default {gateway}"
            )),
        }
    }

    fn parameter(&mut self, parameter: &str, value: &ParameterValue) {
        match value {
            ParameterValue::Flag(true) => self.line(format_args!("{parameter}")),
            ParameterValue::Flag(false) => self.line(format_args!("{parameter} = false")),
            ParameterValue::Number(number) => self.line(format_args!("{parameter} = {number}")),
            ParameterValue::Text(text) => self.line(format_args!(
                "{parameter} {} {}",
                assign(parameter),
                Quoted(text)
            )),
            ParameterValue::List(list) => {
                for text in list {
                    self.line(format_args!("{parameter} += {}", Quoted(text)));
                }
            }
        }
    }
}

/// An address as the kernel's jails have it: jail(8) reads no `%lo1`, and the number of the interface stands in the second group (recording `12`).
fn within(address: IpAddr, zone: Option<&Zone>) -> IpAddr {
    match (address, zone.and_then(|zone| zone.index)) {
        (IpAddr::V6(address), Some(index)) => {
            IpAddr::V6((address.to_bits() | u128::from(index) << 96).into())
        }
        (IpAddr::V4(_) | IpAddr::V6(_), _) => address,
    }
}

/// Where a mount of a jail stands on the host.
#[must_use]
pub fn mount_target(path: &str, target: &str) -> String {
    format!(
        "{}/{}",
        path.trim_end_matches('/'),
        target.trim_start_matches('/')
    )
}

/// Hooks accumulate after ours; everything else is set.
fn assign(parameter: &str) -> &'static str {
    if parameter.starts_with("exec.") && is_hook(parameter) {
        "+="
    } else {
        "="
    }
}

/// Parameters of jail(8) that are lists of commands.
fn is_hook(parameter: &str) -> bool {
    matches!(
        parameter,
        "exec.prepare"
            | "exec.prestart"
            | "exec.created"
            | "exec.start"
            | "exec.poststart"
            | "exec.prestop"
            | "exec.stop"
            | "exec.poststop"
            | "exec.release"
    )
}

/// A double-quoted string of jail.conf(5).
struct Quoted<T>(T);

impl<T: fmt::Display> fmt::Display for Quoted<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("\"")?;
        write!(Escaped(formatter), "{}", self.0)?;
        formatter.write_str("\"")
    }
}

/// Writes what stands in a double-quoted string.
struct Escaped<'a, 'f>(&'a mut fmt::Formatter<'f>);

impl fmt::Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut plain = 0;
        for (position, special) in text.match_indices(['"', '\\', '$']) {
            self.0.write_str(&text[plain..position])?;
            self.0.write_str("\\")?;
            self.0.write_str(special)?;
            plain = position + special.len();
        }
        self.0.write_str(&text[plain..])
    }
}

#[cfg(test)]
mod tests;
