//! The agent is killed before any one of an operation's commands; afterwards the operation is performed again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cellblock_agent_core::host::Host as _;
use cellblock_agent_core::mark::Mark;
use cellblock_agent_core::op::{MemberFlag, Op, TableRoute, Via};
use cellblock_schemas::net::Family;

use super::{BRIDGE, Bench, FOLDER, add_member, bridge, epair};
use crate::command::{Command, Output};
use crate::system::{System, SystemError};
use crate::{Emulated, FreeBsd};

/// A system that stops answering after so many calls, as if the agent had been killed there.
struct Killed {
    inner: Emulated,
    left: AtomicUsize,
}

impl Killed {
    fn next(&self) -> Result<(), SystemError> {
        let left = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            });
        left.map(|_| ()).map_err(|_| SystemError::Spawn {
            line: "killed".to_owned(),
            source: std::io::Error::from(std::io::ErrorKind::Interrupted),
        })
    }
}

impl System for Killed {
    fn run(&self, command: &Command) -> Result<Output, SystemError> {
        self.next()?;
        self.inner.run(command)
    }
    fn read_file(&self, path: &str) -> Result<Option<String>, SystemError> {
        self.next()?;
        self.inner.read_file(path)
    }
    fn write_file(&self, path: &str, content: &str) -> Result<(), SystemError> {
        self.next()?;
        self.inner.write_file(path, content)
    }
    fn remove_file(&self, path: &str) -> Result<(), SystemError> {
        self.next()?;
        self.inner.remove_file(path)
    }
    fn list_dir(&self, path: &str) -> Result<Option<Vec<String>>, SystemError> {
        self.next()?;
        self.inner.list_dir(path)
    }
    fn real_path(&self, path: &str) -> Result<Option<String>, SystemError> {
        self.next()?;
        self.inner.real_path(path)
    }
    fn file_size(&self, path: &str) -> Result<Option<u64>, SystemError> {
        self.next()?;
        self.inner.file_size(path)
    }
    fn rotate_file(&self, path: &str, beside: &str, bytes_max: u64) -> Result<(), SystemError> {
        self.next()?;
        self.inner.rotate_file(path, beside, bytes_max)
    }
}

/// A bridge with a VNET jail on it, and pf.
fn ops() -> Vec<Op> {
    let jail = "www".to_owned();
    let conf = format!("{FOLDER}/jails/www.conf");
    let content = "www {\n    path = \"/jails/www\";\n    persist;\n    vnet;\n}\n".to_owned();
    let ip = |text: &str| text.parse().expect("an address");
    vec![
        Op::LoadModule { module: "if_bridge".to_owned() },
        Op::SetSysctl { oid: "net.inet.ip.forwarding".to_owned(), value: "1".to_owned() },
        bridge(),
        Op::AddAddress { interface: BRIDGE.to_owned(), address: ip("10.10.0.1"), prefix_length: 24, no_dad: false },
        Op::AddAddress { interface: BRIDGE.to_owned(), address: ip("fd00:10::1"), prefix_length: 64, no_dad: true },
        Op::CreateLoopback { name: "cbinside00lo".to_owned(), description: "cellblock:c1:inside:loopback inside".to_owned() },
        Op::CreateEpair(epair()),
        add_member(),
        Op::SetMemberFlag { bridge: BRIDGE.to_owned(), member: epair().host_end, flag: MemberFlag::Private, on: true },
        Op::WriteFile { path: conf.clone(), content },
        Op::StartJail { name: jail.clone(), conf: conf.clone() },
        Op::MoveToVnet { interface: epair().jail_end, jail: jail.clone() },
        Op::RenameInVnet { jail: jail.clone(), from: epair().jail_end, to: "vnet0".to_owned() },
        Op::AddAddressInVnet { jail: jail.clone(), interface: "vnet0".to_owned(), address: ip("10.10.0.10"), prefix_length: 24 },
        Op::SetDefaultRouteInVnet { jail: jail.clone(), family: Family::Ipv4, gateway: ip("10.10.0.1"), scope: None, replace: false },
        Op::SetDefaultRouteInVnet { jail: jail.clone(), family: Family::Ipv4, gateway: ip("10.10.0.2"), scope: None, replace: true },
        Op::AddAddressInVnet { jail: jail.clone(), interface: "vnet0".to_owned(), address: ip("fe80::2"), prefix_length: 64 },
        Op::AddRoute { destination: ip("10.41.0.10"), interface: epair().host_end },
        Op::AddLinkRouteInVnet { jail: jail.clone(), destination: ip("10.41.0.1"), interface: "vnet0".to_owned() },
        Op::RemoveRoute { destination: ip("10.41.0.10"), interface: epair().host_end },
        Op::SetSysctl { oid: "net.fibs".to_owned(), value: "2".to_owned() },
        Op::AddTableRoute { route: table_route() },
        Op::RemoveTableRoute { route: table_route() },
        Op::LoadAnchor { anchor: "cellblock/n1".to_owned(), rules: "table <t> persist { 192.0.2.1 }\nblock in quick inet from <t> to any label \"cellblock:cfg:aa\"\n".to_owned(), parts: std::collections::BTreeMap::new(), },
        Op::ClearAnchor { anchor: "cellblock/n1".to_owned() },
        Op::StopJail { name: jail, jid: 1, conf: Some(conf.clone()), restart: None },
        Op::DestroyInterface { name: epair().host_end, description: epair().host_description },
        Op::RemoveAddress { interface: BRIDGE.to_owned(), address: ip("fd00:10::1"), prefix_length: 64 },
        Op::RemoveFile { path: conf },
    ]
}

fn table_route() -> TableRoute {
    TableRoute {
        fib: 1,
        destination: "10.0.2.0/24".parse().expect("a prefix"),
        via: Via::Interface("vtnet0".to_owned()),
    }
}

#[test]
fn killed_at_any_command_and_performed_again() {
    let bench = Bench::new();
    bench.start_pf();
    bench.write("/jails/www/etc/rc", "");
    survives(&bench, ops());
}

#[test]
fn killed_at_any_command_of_a_netgraph_switch_and_performed_again() {
    survives(&Bench::new(), super::netgraph::ops());
}

fn survives(bench: &Bench, ops: Vec<Op>) {
    for op in ops {
        let before = bench.emulated.emulator().clone();
        bench.do_twice(&op);
        let wanted = bench.emulated.emulator().fingerprint();
        let mut calls = 0;
        loop {
            let again = Bench::around(before.clone());
            let killed = FreeBsd::new(
                Arc::new(Killed {
                    inner: again.emulated.clone(),
                    left: AtomicUsize::new(calls),
                }),
                FOLDER,
            );
            let survived = killed.perform(&op).is_ok();
            check_after_crash(&again, &op, &wanted, calls);
            if survived {
                break;
            }
            calls += 1;
            assert!(calls < 100, "{op:?} takes more than 100 calls");
        }
        bench
            .emulated
            .emulator()
            .advance(std::time::Duration::from_secs(2));
    }
}

fn check_after_crash(again: &Bench, op: &Op, wanted: &[String], calls: usize) {
    // An interface that was made and not yet named is found by its mark under the driver's name and destroyed by the next plan; the operation itself makes another one.
    for interface in again.observe().interfaces {
        let unfinished = ["epair", "bridge", "lo"]
            .iter()
            .any(|driver| interface.groups.contains(driver))
            && interface
                .description
                .as_deref()
                .and_then(Mark::parse)
                .is_some()
            && interface.name.strip_prefix("cb").is_none();
        if unfinished {
            let description = interface.description.clone().unwrap_or_default();
            again.do_twice(&Op::DestroyInterface {
                name: interface.name,
                description,
            });
        }
    }
    again
        .perform(op)
        .unwrap_or_else(|error| panic!("{op:?} after a crash at call {calls}: {error:?}"));
    assert_eq!(
        again.emulated.emulator().fingerprint(),
        wanted,
        "{op:?} after a crash at call {calls}"
    );
}
