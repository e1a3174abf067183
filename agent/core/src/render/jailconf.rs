//! Renders one jail's jail.conf(5): a file of its own, so that `jail -f FILE -c NAME` and `-r NAME` work for an operator as they do for the agent.
//!
//! Nothing can break out of a value: everything is quoted, and the two characters that end or escape a quoted string, and the one that begins a variable, are escaped (usr.sbin/jail/jaillex.l).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::Ipv4Addr;

use cellblock_schemas::jail::ParameterValue;
use cellblock_schemas::net::Family;
use cellblock_schemas::view::JailView;

use crate::observed::JailMeta;
use crate::plan::desired::{DesiredLink, Networking};
use crate::render::digest::Meaning;

/// The loopback that every network stack is born with, without an address and down.
pub const LOOPBACK: &str = "lo0";

/// The prefix length of 127.0.0.1 on it.
pub const LOOPBACK_PREFIX_LENGTH: u8 = 8;

/// A rendered jail.conf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JailConf {
    /// The whole file.
    pub text: String,
    /// What of it only a restart changes: a running jail with another digest needs one.
    pub digest: String,
    /// The same in words, by field of the manifest.
    pub fields: BTreeMap<String, String>,
}

/// Renders the jail.conf of `jail`. `path` is its root on the host, `console` where the output of its hooks goes unless a parameter
/// says otherwise; `cluster` is given where the kernel's jails have `meta`.
///
/// Without `exec.consolelog` a daemon that `exec.start` leaves behind would write into jail(8)'s standard output, which ends with jail(8).
#[must_use]
pub fn render(
    jail: &JailView,
    path: &str,
    console: &str,
    networking: &Networking,
    cluster: Option<&str>,
) -> JailConf {
    let name = jail.jail_name();
    let mut body = String::new();
    let mut line = |text: &str| {
        body.push_str("    ");
        body.push_str(text);
        body.push_str(";\n");
    };
    line(&format!("path = {}", quote(path)));
    if !jail.spec.parameters.contains_key("host.hostname") {
        line(&format!("host.hostname = {}", quote(name)));
    }
    if !jail.spec.parameters.contains_key("exec.consolelog") {
        line(&format!("exec.consolelog = {}", quote(console)));
    }
    line("persist");
    for mount in &jail.spec.mounts {
        let options = if mount.options.is_empty() {
            "rw".to_owned()
        } else {
            mount.options.join(",")
        };
        let source = mount.source.as_deref().unwrap_or(&mount.fs_type);
        let target = mount_target(path, &mount.target);
        line(&format!(
            "mount += {}",
            quote(&format!(
                "{source} {target} {} {options} 0 0",
                mount.fs_type
            ))
        ));
    }
    match networking {
        Networking::None => {}
        Networking::Shared { ip4, ip6 } => {
            for (parameter, addresses) in [("ip4.addr", ip4), ("ip6.addr", ip6)] {
                if !addresses.is_empty() {
                    let list: Vec<String> = addresses
                        .iter()
                        .map(|address| quote(&address.to_string()))
                        .collect();
                    line(&format!("{parameter} = {}", list.join(", ")));
                }
            }
        }
        Networking::Vnet { links } => {
            line("vnet");
            for command in vnet_commands(name, links) {
                line(&format!("exec.created += {}", quote(&command)));
            }
        }
    }
    for (parameter, value) in &jail.spec.parameters {
        match value {
            ParameterValue::Flag(true) => line(parameter),
            ParameterValue::Flag(false) => line(&format!("{parameter} = false")),
            ParameterValue::Number(number) => line(&format!("{parameter} = {number}")),
            ParameterValue::Text(text) => line(&format!(
                "{parameter} {} {}",
                assign(parameter),
                quote(text)
            )),
            ParameterValue::List(list) => {
                for text in list {
                    line(&format!("{parameter} += {}", quote(text)));
                }
            }
        }
    }
    let meaning = Meaning::of(jail, path, networking);
    let digest = meaning.digest();
    let mut text = format!(
        "# Jail {} of Cellblock (uid {}). Rewritten whenever it differs from the manifest.\n{} {{\n",
        jail.name,
        jail.uid,
        quote(name)
    );
    if let Some(cluster) = cluster {
        let meta = JailMeta {
            cluster: cluster.to_owned(),
            uid: jail.uid.0.clone(),
            hash: digest.clone(),
        };
        writeln!(
            text,
            "    meta = {};",
            quote(&format!("cellblock={}", meta.text()))
        )
        .expect("writing to a String cannot fail");
    }
    text.push_str(&body);
    text.push_str("}\n");
    JailConf {
        text,
        digest,
        fields: meaning.fields(),
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

/// The commands that give a VNET jail its network, run on the host between the jail's creation and `exec.start`, so that no daemon ever starts without it.
///
/// `exec.created` runs before `vnet.interface` (usr.sbin/jail/jail.c), so the interface is moved here too. None of them has a shell metacharacter: jail(8) executes them directly (recording `11`).
fn vnet_commands(name: &str, links: &[DesiredLink]) -> Vec<String> {
    let mut commands = vec![format!(
        "/sbin/ifconfig -j {name} {LOOPBACK} inet {}/{LOOPBACK_PREFIX_LENGTH} up",
        Ipv4Addr::LOCALHOST
    )];
    for link in links {
        let interface = &link.interface;
        commands.push(format!(
            "/sbin/ifconfig {} vnet {name}",
            link.epair.jail_end
        ));
        commands.push(format!(
            "/sbin/ifconfig -j {name} {} name {interface}",
            link.epair.jail_end
        ));
        for (address, prefix_length) in &link.addresses {
            commands.push(match Family::of(*address) {
                Family::Ipv4 => format!("/sbin/ifconfig -j {name} {interface} inet {address}/{prefix_length} alias"),
                Family::Ipv6 => {
                    format!("/sbin/ifconfig -j {name} {interface} inet6 {address}/{prefix_length} no_dad alias")
                }
            });
        }
        commands.push(format!("/sbin/ifconfig -j {name} {interface} up"));
    }
    for link in links {
        for gateway in &link.gateways {
            commands.push(match Family::of(*gateway) {
                Family::Ipv4 => format!("/sbin/route -j {name} -q -n add default {gateway}"),
                Family::Ipv6 => format!("/sbin/route -j {name} -q -n add -inet6 default {gateway}"),
            });
        }
    }
    commands
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
fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\' | '$') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests;
