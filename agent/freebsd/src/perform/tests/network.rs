//! Interfaces, members, addresses, modules, sysctls, files, mounts, anchors and states.

use std::net::IpAddr;

use cellblock_agent_core::host::{Host as _, Performed, Wanted};
use cellblock_agent_core::observed::AnchorReference;
use cellblock_agent_core::op::{MemberFlag, Op};
use cellblock_fakebsd::Release;

use super::{BRIDGE, BRIDGE_MARK, Bench, FOLDER, add_member, bridge, epair, mac};

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn add(interface: &str, address: &str, prefix_length: u8, no_dad: bool) -> Op {
    Op::AddAddress {
        interface: interface.to_owned(),
        address: ip(address),
        prefix_length,
        no_dad,
    }
}

fn remove(interface: &str, address: &str, prefix_length: u8) -> Op {
    Op::RemoveAddress {
        interface: interface.to_owned(),
        address: ip(address),
        prefix_length,
    }
}

#[test]
fn a_bridge_is_made_marked_named_and_up() {
    for release in [Release::V15_1, Release::V14_3] {
        let bench = Bench::of(release);
        bench.do_twice(&bridge());
        let found = bench.interface(BRIDGE);
        assert_eq!(found.description.as_deref(), Some(BRIDGE_MARK));
        assert_eq!(found.mac, Some(mac("0a:cb:00:00:00:01")));
        assert!(found.is_up() && found.groups.contains("bridge"));
    }
}

/// Seen on a real 15.1: exit status 0, no address, and `File exists` from then on.
#[test]
fn an_address_that_the_kernel_has_lost_is_told_with_the_way_out() {
    for (address, prefix_length) in [("fe80::1", 64), ("2001:db8::1", 64)] {
        let bench = Bench::new();
        bench.do_twice(&bridge());
        let op = add(BRIDGE, address, prefix_length, true);
        bench.do_twice(&op);
        let IpAddr::V6(lost) = ip(address) else {
            panic!("an IPv6 address");
        };
        bench.emulated.emulator().lose_address(BRIDGE, lost);
        assert!(bench.interface(BRIDGE).address(ip(address)).is_none());
        let error = bench.perform(&op).expect_err("its route is still there");
        assert_eq!(error.reason, "AddressLost");
        assert!(error.message.contains("nd6_useloopback=0"), "{error}");

        bench.sh("sysctl net.inet6.icmp6.nd6_useloopback=0");
        bench
            .perform(&op)
            .expect("it can be added without the route");
        bench.sh("sysctl net.inet6.icmp6.nd6_useloopback=1");
        bench.do_twice(&op);
    }
}

#[test]
fn a_loopback_is_made_marked_named_and_up() {
    let bench = Bench::new();
    let description = "cellblock:c1:net-uid:loopback inside".to_owned();
    bench.do_twice(&Op::CreateLoopback {
        name: "cbinside00lo".to_owned(),
        description: description.clone(),
    });
    let found = bench.interface("cbinside00lo");
    assert_eq!(found.description, Some(description));
    assert!(found.is_up() && found.groups.contains("lo"));
}

#[test]
fn an_epair_has_both_ends_marked_on_the_host() {
    let bench = Bench::new();
    bench.do_twice(&Op::CreateEpair(epair()));
    let (a, b) = (
        bench.interface(&epair().host_end),
        bench.interface(&epair().jail_end),
    );
    assert_eq!(
        (a.mac, a.mtu, a.is_up()),
        (Some(epair().host_mac), 1450, true)
    );
    assert_eq!((b.mac, b.mtu), (Some(epair().jail_mac), 1450));
    assert_eq!(a.description, Some(epair().host_description));
    assert_eq!(b.description, Some(epair().jail_description));
}

#[test]
fn a_finished_pair_that_drifted_is_completed_even_as_a_member() {
    let bench = Bench::new();
    bench.do_twice(&bridge());
    bench.do_twice(&Op::CreateEpair(epair()));
    bench.do_twice(&add_member());
    bench.sh("ifconfig cbjail000000a down");
    bench.do_twice(&Op::CreateEpair(epair()));
    assert!(bench.interface(&epair().host_end).is_up());
}

#[test]
fn members_come_are_private_and_go() {
    let bench = Bench::new();
    bench.do_twice(&bridge());
    bench.do_twice(&Op::CreateEpair(epair()));
    bench.do_twice(&add_member());
    assert_eq!(
        bench.interface(BRIDGE).mtu,
        1450,
        "the first member's MTU is the bridge's"
    );
    for (flag, shown) in [(MemberFlag::Private, "PRIVATE"), (MemberFlag::Stp, "STP")] {
        for on in [true, false] {
            bench.do_twice(&Op::SetMemberFlag {
                bridge: BRIDGE.to_owned(),
                member: epair().host_end,
                flag,
                on,
            });
            let member = &bench.interface(BRIDGE).members[&epair().host_end];
            assert_eq!(member.flags.contains(shown), on);
        }
    }
    bench.do_twice(&Op::RemoveMember {
        bridge: BRIDGE.to_owned(),
        member: epair().host_end,
    });
    assert!(bench.interface(BRIDGE).members.is_empty());
}

#[test]
fn macs_mtus_and_up() {
    let bench = Bench::new();
    bench.do_twice(&bridge());
    bench.do_twice(&Op::SetMac {
        interface: BRIDGE.to_owned(),
        mac: mac("0a:cb:00:00:00:09"),
    });
    bench.do_twice(&Op::SetMtu {
        interface: BRIDGE.to_owned(),
        mtu: 9000,
    });
    bench.do_twice(&Op::SetUp {
        interface: "vtnet1".to_owned(),
        up: true,
    });
    assert!(bench.interface("vtnet1").is_up());
    bench.do_twice(&Op::SetUp {
        interface: "vtnet1".to_owned(),
        up: false,
    });
    assert!(!bench.interface("vtnet1").is_up());
}

#[test]
fn addresses_of_both_families_come_and_go_beside_the_hosts_own() {
    let bench = Bench::new();
    bench.do_twice(&add("vtnet0", "10.0.2.50", 32, false));
    bench.do_twice(&add("vtnet0", "fd00:30::5", 128, false));
    let nic = bench.interface("vtnet0");
    assert!(nic.address(ip("10.0.2.15")).is_some() && nic.address(ip("10.0.2.50")).is_some());
    assert!(
        !nic.nd6.contains("IFDISABLED"),
        "an IPv6 address enables IPv6"
    );
    bench.do_twice(&remove("vtnet0", "10.0.2.50", 32));
    bench.do_twice(&remove("vtnet0", "fd00:30::5", 128));
    bench.do_twice(&Op::DisableInet6 {
        interface: "vtnet0".to_owned(),
    });
    let nic = bench.interface("vtnet0");
    assert!(nic.nd6.contains("IFDISABLED"));
    let link_local = nic.link_local().expect("the kernel added it").address;
    bench.do_twice(&remove("vtnet0", &link_local.to_string(), 64));
    let nic = bench.interface("vtnet0");
    assert_eq!(nic.addresses.len(), 1);
    bench.do_twice(&remove("nosuch0", "10.0.2.50", 32));
}

#[test]
fn inet6_stays_enabled_under_somebody_elses_address() {
    let bench = Bench::new();
    bench.sh("ifconfig vtnet0 inet6 fd00:77::1/64");
    let error = bench
        .perform(&Op::DisableInet6 {
            interface: "vtnet0".to_owned(),
        })
        .expect_err("the operator's address is in the way");
    assert_eq!(error.reason, "Changed");
    assert!(
        bench
            .interface("vtnet0")
            .address(ip("fd00:77::1"))
            .is_some()
    );
}

#[test]
fn destroying_takes_only_what_carries_the_description() {
    let bench = Bench::new();
    bench.do_twice(&Op::CreateEpair(epair()));
    let destroy = |description: &str| Op::DestroyInterface {
        name: epair().host_end,
        description: description.to_owned(),
    };
    let error = bench
        .perform(&destroy("cellblock:c1:other:host:vnet0 x"))
        .expect_err("another description");
    assert_eq!(error.reason, "Changed");
    assert!(bench.has(&epair().host_end));
    bench.do_twice(&destroy(&epair().host_description));
    assert!(!bench.has(&epair().host_end) && !bench.has(&epair().jail_end));
    bench.sh("ifconfig bridge create");
    let error = bench.perform(&Op::DestroyInterface {
        name: "bridge0".to_owned(),
        description: String::new(),
    });
    assert_eq!(
        error.expect_err("no description is no mark").reason,
        "Changed"
    );
}

#[test]
fn modules_and_sysctls() {
    let bench = Bench::new();
    bench.do_twice(&Op::LoadModule {
        module: "if_bridge".to_owned(),
    });
    bench.do_twice(&Op::SetSysctl {
        oid: "net.inet.ip.forwarding".to_owned(),
        value: "1".to_owned(),
    });
    let unknown = bench.perform(&Op::SetSysctl {
        oid: "net.nosuch".to_owned(),
        value: "1".to_owned(),
    });
    assert_eq!(unknown.expect_err("no such oid").reason, "CommandFailed");
    let missing = bench.perform(&Op::LoadModule {
        module: "nosuchmodule".to_owned(),
    });
    assert!(
        missing
            .expect_err("no such module")
            .message
            .contains("can't load nosuchmodule")
    );
}

#[test]
fn files_below_the_folder_only() {
    let bench = Bench::new();
    let path = format!("{FOLDER}/jails/www.conf");
    bench.do_twice(&Op::WriteFile {
        path: path.clone(),
        content: "www {}\n".to_owned(),
    });
    assert_eq!(bench.observe().files[&path], "www {}\n");
    bench.do_twice(&Op::RemoveFile { path: path.clone() });
    assert!(bench.observe().files.is_empty());
    bench.emulated.emulator().files.set_full(true);
    let full = bench.perform(&Op::WriteFile {
        path,
        content: "x".to_owned(),
    });
    assert_eq!(full.expect_err("the disk is full").reason, "DiskFull");
}

#[test]
fn anchors_are_loaded_replaced_and_gone_without_a_trace() {
    let bench = Bench::new();
    bench.start_pf();
    let before = bench.emulated.emulator().fingerprint();
    let rules = |hash: &str| {
        format!(
            "rdr on vtnet0 inet proto tcp from any to 10.0.2.15 port 80 -> 192.0.2.4\npass in quick on cbnone0 all no state label \"cellblock:cfg:{hash}\"\n"
        )
    };
    for hash in ["0123456789abcdef", "fedcba9876543210"] {
        bench.do_twice(&Op::LoadAnchor {
            anchor: "cellblock/nabc".to_owned(),
            rules: rules(hash),
            parts: std::collections::BTreeMap::new(),
        });
        assert_eq!(bench.observe().pf.anchors["cellblock/nabc"], hash);
    }
    let pf = bench.observe().pf;
    assert!(pf.loaded && pf.enabled && pf.skipped.is_empty());
    assert_eq!(pf.references, AnchorReference::ALL.into_iter().collect());
    bench.do_twice(&Op::ClearAnchor {
        anchor: "cellblock/nabc".to_owned(),
    });
    assert!(bench.observe().pf.anchors.is_empty());
    assert_eq!(bench.emulated.emulator().fingerprint(), before);
}

#[test]
fn an_anchor_whose_translations_were_flushed_states_no_hash() {
    let bench = Bench::new();
    bench.start_pf();
    let load = Op::LoadAnchor {
        anchor: "cellblock/n1".to_owned(),
        rules: "rdr on vtnet0 inet proto tcp from any to 10.0.2.15 port { 21, 80 } -> 192.0.2.4\npass in quick on cbnone0 all no state label \"cellblock:cfg:0123456789abcdef-2\"\n".to_owned(), parts: std::collections::BTreeMap::new(),
    };
    bench.do_twice(&load);
    let hash = || bench.observe().pf.anchors["cellblock/n1"].clone();
    assert_eq!(hash(), "0123456789abcdef-2");
    bench.sh("pfctl -a cellblock/n1 -F nat");
    assert_eq!(
        hash(),
        "",
        "the label stands, and what it speaks of does not"
    );
    bench.do_twice(&load);
    assert_eq!(hash(), "0123456789abcdef-2");
}

#[test]
fn an_anchor_with_tables_or_emptied_by_somebody_holds_nothing() {
    let bench = Bench::new();
    bench.start_pf();
    for anchor in ["cellblock/t", "cellblock/u"] {
        let rules =
            "table <t> persist { 192.0.2.9 }\nblock in quick inet from any to <t>\n".to_owned();
        bench.do_twice(&Op::LoadAnchor {
            anchor: anchor.to_owned(),
            rules,
            parts: std::collections::BTreeMap::new(),
        });
        assert_eq!(bench.observe().pf.anchors[anchor], "", "it states no hash");
    }
    bench.sh("pfctl -a cellblock/u -F all");
    for anchor in ["cellblock/t", "cellblock/u"] {
        bench.do_twice(&Op::ClearAnchor {
            anchor: anchor.to_owned(),
        });
    }
    assert!(bench.observe().pf.anchors.is_empty());
    bench
        .emulated
        .emulator()
        .advance(std::time::Duration::from_secs(60));
    let listed = bench.sh("pfctl -sA");
    assert_eq!(
        listed.trim(),
        "cellblock",
        "the kernel purges the names by itself"
    );
}

#[test]
fn rules_that_pf_refuses_leave_the_anchor_as_it_was() {
    let bench = Bench::new();
    bench.start_pf();
    let good = "block in quick inet from any to 192.0.2.9 label \"cellblock:cfg:aa\"\n".to_owned();
    bench.do_twice(&Op::LoadAnchor {
        anchor: "cellblock/n1".to_owned(),
        rules: good,
        parts: std::collections::BTreeMap::new(),
    });
    let bad = "rdr pass on vtnet0 inet6 proto tcp from any to (vtnet0:0) port 80 -> 192.0.2.4\n"
        .to_owned();
    let error = bench
        .perform(&Op::LoadAnchor {
            anchor: "cellblock/n1".to_owned(),
            rules: bad,
            parts: std::collections::BTreeMap::new(),
        })
        .expect_err("mixed families");
    assert_eq!(error.reason, "RuleRejected");
    assert!(
        error
            .message
            .contains("no translation address with matching address family found"),
        "{}",
        error.message
    );
    assert_eq!(bench.observe().pf.anchors["cellblock/n1"], "aa");
}

#[test]
fn pf_is_asked_whose_rules_it_refuses() {
    let bench = Bench::new();
    bench.start_pf();
    let line =
        |port: u16| format!("pass in quick inet proto tcp from any to 192.0.2.9 port {port}\n");
    let jail = |name: &str| cellblock_schemas::ids::Uid(name.to_owned());
    bench
        .emulated
        .emulator()
        .kernel
        .pf_lacks
        .insert("port 7777".to_owned());
    let op = Op::LoadAnchor {
        anchor: "cellblock/j01".to_owned(),
        rules: format!("{}{}", line(80), line(7777)),
        parts: [
            (jail("good"), line(80)),
            (jail("bad"), format!("\n{}", line(7777))),
        ]
        .into(),
    };
    let performed = bench.host.perform(&op);
    let said = format!("stdin:2: syntax error (`{}`)", line(7777).trim_end());
    let rejected = [(jail("bad"), said)].into();
    assert_eq!(performed, Ok(Performed::Rejected(rejected)));
    assert!(bench.observe().pf.anchors.is_empty(), "nothing was loaded");
    let rules = [("good", line(80)), ("bad", line(7777))];
    let rules = rules.map(|(name, text)| (("cellblock/j01".to_owned(), jail(name)), text));
    let wanted = Wanted {
        rules: rules.into(),
        ..Wanted::default()
    };
    let accepted = bench.host.observe(&wanted).expect("a look").pf.accepted;
    assert_eq!(
        accepted,
        [("cellblock/j01".to_owned(), jail("good"))].into()
    );
    assert!(bench.observe().pf.anchors.is_empty(), "nor by asking");
}

#[test]
fn without_pf_there_is_nothing_to_clear_or_kill() {
    let bench = Bench::new();
    bench.do_twice(&Op::ClearAnchor {
        anchor: "cellblock/n1".to_owned(),
    });
    bench.do_twice(&Op::KillStates {
        address: ip("192.0.2.3"),
    });
    bench.do_twice(&Op::KillLabelled {
        label: "cellblock:uid".to_owned(),
    });
    assert!(!bench.observe().pf.loaded);
    bench.start_pf();
    bench.do_twice(&Op::KillStates {
        address: ip("fd00::1"),
    });
    bench.do_twice(&Op::KillLabelled {
        label: "cellblock:uid".to_owned(),
    });
}

#[test]
fn a_load_that_meets_another_transaction_is_tried_again() {
    let bench = Bench::new();
    bench.start_pf();
    bench.emulated.emulator().fail_next(
        "pfctl -o none -a cellblock/n1 -f -",
        1,
        "pfctl: DIOCXCOMMIT: Device busy",
    );
    let rules = "block in quick inet from any to 192.0.2.9\n".to_owned();
    bench.do_twice(&Op::LoadAnchor {
        anchor: "cellblock/n1".to_owned(),
        rules,
        parts: std::collections::BTreeMap::new(),
    });
    assert!(bench.emulated.emulator().faults.is_empty());
}

#[test]
fn leftover_mounts_are_taken_away_and_nothing_else() {
    let bench = Bench::new();
    bench.write("/jails/www/etc/motd", "");
    bench.write("/jails/www/base/x", "");
    bench.sh("mount -t nullfs -o ro /jails/www/etc /jails/www/base");
    let before = bench.observe().mounts.len();
    bench.do_twice(&Op::Unmount {
        target: "/jails/www/base".to_owned(),
    });
    assert_eq!(bench.observe().mounts.len(), before - 1);
}
