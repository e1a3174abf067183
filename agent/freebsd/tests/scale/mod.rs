//! Hosts of any number of jails with two interfaces each, as what their commands print, for what must grow no faster than the host. Used by `tests/growth.rs` and `benches/observe.rs`.
//!
//! What grows with the jails is written here in the form of the recordings (`02`, `03`); everything else the emulator answers. The emulator's own jails would cost more than the look at them.

#[path = "../../../core/tests/scale/growth.rs"]
pub(crate) mod growth;

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use cellblock_agent_core::host::{Host as _, Wanted};
use cellblock_agent_core::observed::Observed;
use cellblock_fakebsd::{Emulator, HardwareProfile, Release};
use cellblock_freebsd::emulated::Emulated;
use cellblock_freebsd::{Command, FreeBsd, Output, System, SystemError};

/// The agent's folder.
const FOLDER: &str = "/var/db/cellblock";

/// A host with a number of jails, each attached to two bridges.
pub(crate) struct Crowd {
    jails: u32,
    rest: Emulated,
    interfaces: String,
    names: String,
    list: String,
    routes: String,
}

impl Crowd {
    pub(crate) fn new(jails: u32) -> Self {
        let mut emulator = Emulator::new(Release::V15_1, HardwareProfile::recorded());
        for line in ["kldload -n pf", "pfctl -e"] {
            let output = emulator.sh(line);
            assert_eq!(output.status, 0, "`{line}`: {}", output.stderr);
        }
        let mut interfaces = emulator.sh("ifconfig -a").stdout;
        let mut names = emulator.sh("ifconfig -l").stdout.trim().to_owned();
        let mut entries = Vec::new();
        for jail in 0..jails {
            for link in ["left0", "right0"] {
                let name = host_end(jail, link);
                names.push(' ');
                names.push_str(&name);
                let mark = format!("{}:host:{link} jail-{jail:05}", mark(jail));
                interfaces.push_str(&interface(&name, &mark, ""));
            }
            entries.push(format!(
                r#"{{"jid":{},"name":"jail-{jail:05}","dying":false,"vnet":"new","path":"/jails/jail-{jail:05}","host.hostname":"jail-{jail:05}","meta":"cellblock=c1:{}:1-0123456789abcdef\n"}}"#,
                jail + 1,
                uid(jail)
            ));
        }
        Self {
            jails,
            rest: Emulated::new(emulator),
            interfaces,
            names,
            list: format!(
                r#"{{"__version":"2","jail-information":{{"jail":[{}]}}}}"#,
                entries.join(",")
            ),
            routes: ROUTES.to_owned(),
        }
    }

    /// A look at it.
    pub(crate) fn observe(self: &Arc<Self>) -> Observed {
        let host = FreeBsd::new(self.clone(), Path::new(FOLDER));
        let wanted = Wanted {
            directories: (0..self.jails)
                .map(|jail| format!("/jails/jail-{jail:05}"))
                .collect(),
            ..Wanted::default()
        };
        let observed = host.observe(&wanted).expect("every command is answered");
        let jails = usize::try_from(self.jails).expect("a small number");
        assert_eq!(observed.vnets.len(), jails);
        assert_eq!(observed.files.len(), jails);
        observed
    }

    fn inside(&self, jid: &str) -> String {
        let jail = jid.parse::<u32>().expect("asked by jid") - 1;
        let mut text = "lo0: flags=1008049<UP,LOOPBACK,RUNNING,MULTICAST,LOWER_UP> metric 0 mtu 16384\n\tinet 127.0.0.1 netmask 0xff000000\n\tgroups: lo\n\tnd6 options=21<PERFORMNUD,AUTO_LINKLOCAL>\n".to_owned();
        for (link, net) in [("left0", 64), ("right0", 128)] {
            let [.., high, low] = jail.to_be_bytes();
            let mark = format!("{}:jail:{link} jail-{jail:05}", mark(jail));
            let addresses = format!(
                "\tinet 10.{net}.{high}.{low} netmask 0xfffc0000 broadcast 10.{net}.255.255\n\tinet6 fd00:{net}::{jail:x} prefixlen 64\n"
            );
            text.push_str(&interface(link, &mark, &addresses));
        }
        text
    }
}

/// One end of an epair, as recording `02` has it.
fn interface(name: &str, mark: &str, addresses: &str) -> String {
    format!(
        "{name}: flags=1008843<UP,BROADCAST,RUNNING,SIMPLEX,MULTICAST,LOWER_UP> metric 0 mtu 1500\n\tdescription: {mark}\n\toptions=60001b<RXCSUM,TXCSUM,VLAN_MTU,VLAN_HWTAGGING,RXCSUM_IPV6,TXCSUM_IPV6>\n\tether 06:cb:00:00:00:01\n{addresses}\tgroups: epair\n\tmedia: Ethernet 10Gbase-T (10Gbase-T <full-duplex>)\n\tstatus: active\n\tnd6 options=29<PERFORMNUD,IFDISABLED,AUTO_LINKLOCAL>\n"
    )
}

const ROUTES: &str = r#"{"__version":"1","statistics":{"route-information":{"route-table":{"rt-family":[{"address-family":"Internet","rt-entry":[{"destination":"default","gateway":"10.64.0.1","flags":"UGS","interface-name":"left0"},{"destination":"10.64.0.0/14","gateway":"link#2","flags":"U","interface-name":"left0"},{"destination":"127.0.0.1","gateway":"link#1","flags":"UH","interface-name":"lo0"}]},{"address-family":"Internet6","rt-entry":[{"destination":"fd00:64::/64","gateway":"link#2","flags":"U","interface-name":"left0"}]}]}}}}"#;

fn uid(jail: u32) -> String {
    format!("5d3b7c11-0000-4000-8000-{jail:012}")
}

fn mark(jail: u32) -> String {
    format!("cellblock:c1:{}", uid(jail))
}

/// A name of the right length; which one does not matter to a look.
fn host_end(jail: u32, link: &str) -> String {
    format!("cb{}{jail:09}a", &link[..1])
}

impl System for Crowd {
    fn run(&self, command: &Command) -> Result<Output, SystemError> {
        let words: Vec<&str> = command.argv.iter().map(String::as_str).collect();
        let stdout = match words[..] {
            ["/usr/sbin/jls", ..] => self.list.clone(),
            ["/sbin/ifconfig", "-a"] => self.interfaces.clone(),
            ["/sbin/ifconfig", "-l"] => self.names.clone(),
            ["/sbin/ifconfig", "-j", jid, "-a"] => self.inside(jid),
            ["/usr/bin/netstat", "-j", ..] => self.routes.clone(),
            _ => return self.rest.run(command),
        };
        Ok(Output {
            status: 0,
            stdout,
            stderr: String::new(),
        })
    }

    fn read_file(&self, path: &str) -> Result<Option<String>, SystemError> {
        let mut text = format!("# {path}\n");
        for line in 0..16 {
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "    exec.created += \"/sbin/ifconfig -j jail left0 {line}\";"
            );
        }
        Ok(Some(text))
    }

    fn write_file(&self, path: &str, content: &str) -> Result<(), SystemError> {
        self.rest.write_file(path, content)
    }

    fn remove_file(&self, path: &str) -> Result<(), SystemError> {
        self.rest.remove_file(path)
    }

    fn list_dir(&self, _path: &str) -> Result<Option<Vec<String>>, SystemError> {
        let jails = 0..self.jails;
        Ok(Some(
            jails.map(|jail| format!("jail-{jail:05}.conf")).collect(),
        ))
    }

    fn real_path(&self, path: &str) -> Result<Option<String>, SystemError> {
        Ok(Some(path.to_owned()))
    }

    fn file_size(&self, path: &str) -> Result<Option<u64>, SystemError> {
        self.rest.file_size(path)
    }

    fn rotate_file(&self, path: &str, beside: &str, bytes_max: u64) -> Result<(), SystemError> {
        self.rest.rotate_file(path, beside, bytes_max)
    }
}
