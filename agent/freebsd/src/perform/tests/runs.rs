//! Jails: started, looked into, repaired and stopped.

use std::net::IpAddr;

use cellblock_agent_core::op::{Op, TableRoute, Via};
use cellblock_fakebsd::Release;
use cellblock_schemas::net::Family;

use super::{Bench, FOLDER, epair};

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn conf_path(name: &str) -> String {
    format!("{FOLDER}/jails/{name}.conf")
}

fn write_conf(bench: &Bench, name: &str, body: &str) {
    bench.write(&format!("/jails/{name}/etc/rc"), "");
    let content = format!("{name} {{\n    path = \"/jails/{name}\";\n    persist;\n{body}}}\n");
    bench.do_twice(&Op::WriteFile {
        path: conf_path(name),
        content,
    });
}

fn start(name: &str) -> Op {
    Op::StartJail {
        name: name.to_owned(),
        conf: conf_path(name),
    }
}

fn stop(bench: &Bench, name: &str) -> Op {
    let jid = bench.observe().jail(name).expect("it runs").jid;
    Op::StopJail {
        name: name.to_owned(),
        jid,
        conf: Some(conf_path(name)),
        restart: None,
    }
}

/// A VNET jail with the epair's end inside, named vnet0.
fn vnet_jail(bench: &Bench) {
    bench.do_twice(&Op::CreateEpair(epair()));
    write_conf(bench, "www", "    vnet;\n");
    bench.do_twice(&start("www"));
    bench.do_twice(&Op::MoveToVnet {
        interface: epair().jail_end,
        jail: "www".to_owned(),
    });
    bench.do_twice(&Op::RenameInVnet {
        jail: "www".to_owned(),
        from: epair().jail_end,
        to: "vnet0".to_owned(),
    });
}

/// Open connections keep its stack: that is no failure to stop it.
#[test]
fn a_jail_that_dies_slowly_has_stopped() {
    let bench = Bench::new();
    vnet_jail(&bench);
    bench.sh("ifconfig -j www vnet0 inet 192.0.2.2/24 up");
    bench
        .emulated
        .emulator()
        .open_tcp("www", std::time::Duration::from_secs(86_400));
    bench.do_twice(&stop(&bench, "www"));
    assert_eq!(bench.sh("jls -d -h name dying"), "name dying\nwww true\n");
}

#[test]
fn a_jail_runs_and_its_mark_is_read_back() {
    let bench = Bench::new();
    write_conf(
        &bench,
        "www",
        "    meta = \"cellblock=c1:u1:hash\";\n    host.hostname = \"www.example.org\";\n",
    );
    bench.do_twice(&start("www"));
    let observed = bench.observe();
    let jail = observed.jail("www").expect("it runs");
    assert_eq!(
        jail.meta.as_ref().map(|meta| meta.text()).as_deref(),
        Some("c1:u1:hash")
    );
    assert_eq!(
        (jail.path.as_str(), jail.hostname.as_str(), jail.vnet),
        ("/jails/www", "www.example.org", false)
    );
    bench.do_twice(&stop(&bench, "www"));
    assert!(bench.observe().jails.is_empty());
}

#[test]
fn on_14_there_is_no_mark_and_the_root_tells() {
    let bench = Bench::of(Release::V14_3);
    write_conf(&bench, "www", "");
    bench.do_twice(&start("www"));
    let observed = bench.observe();
    assert_eq!(observed.jail("www").expect("it runs").meta, None);
    assert!(!observed.jail_parameters.contains("meta"));
}

#[test]
fn a_stranger_of_that_name_is_not_taken_for_ours() {
    for conf in ["    meta = \"cellblock=c1:u1:hash\";\n", ""] {
        let bench = Bench::new();
        bench.sh("jail -c name=www path=/ persist");
        write_conf(&bench, "www", conf);
        let error = bench.perform(&start("www")).expect_err("the name is taken");
        assert_eq!(error.reason, "NameTaken");
        assert_eq!(
            bench
                .observe()
                .jail("www")
                .expect("the stranger runs on")
                .path,
            "/"
        );
    }
}

#[test]
fn a_start_that_fails_carries_the_words_of_jail_8() {
    let bench = Bench::new();
    write_conf(&bench, "www", "    exec.start = \"/nosuch\";\n");
    let error = bench
        .perform(&start("www"))
        .expect_err("there is no such command");
    assert_eq!(error.reason, "CommandFailed");
    assert!(
        error
            .message
            .contains("jail: www: exec /nosuch: No such file or directory"),
        "{}",
        error.message
    );
    assert!(bench.observe().jails.is_empty());
}

#[test]
fn a_failing_stop_hook_keeps_no_jail() {
    let bench = Bench::new();
    write_conf(&bench, "www", "    exec.stop = \"exit 6\";\n");
    bench.do_twice(&start("www"));
    bench.do_twice(&stop(&bench, "www"));
    assert!(bench.observe().jails.is_empty());
}

#[test]
fn a_jail_without_its_conf_is_removed_by_its_jid() {
    let bench = Bench::new();
    write_conf(&bench, "www", "");
    bench.do_twice(&start("www"));
    let jid = bench.observe().jail("www").expect("it runs").jid;
    bench.do_twice(&Op::StopJail {
        name: "www".to_owned(),
        jid,
        conf: None,
        restart: None,
    });
    assert!(bench.observe().jails.is_empty());
}

#[test]
fn a_jid_that_is_somebody_elses_by_now_is_left_alone() {
    let bench = Bench::new();
    bench.sh("jail -c name=stranger path=/ persist");
    let jid = bench.observe().jail("stranger").expect("it runs").jid;
    bench.do_twice(&Op::StopJail {
        name: "www".to_owned(),
        jid,
        conf: None,
        restart: None,
    });
    assert!(bench.observe().jail("stranger").is_some());
}

#[test]
fn inside_a_vnet_jail() {
    let bench = Bench::new();
    vnet_jail(&bench);
    let jail = "www".to_owned();
    let address = |address: &str, prefix_length| Op::AddAddressInVnet {
        jail: jail.clone(),
        interface: "vnet0".to_owned(),
        address: ip(address),
        prefix_length,
    };
    bench.do_twice(&address("10.10.0.10", 24));
    bench.do_twice(&address("fd00:10::10", 64));
    bench.do_twice(&Op::SetMtuInVnet {
        jail: jail.clone(),
        interface: "vnet0".to_owned(),
        mtu: 1400,
    });
    bench.do_twice(&Op::UpInVnet {
        jail: jail.clone(),
        interface: "lo0".to_owned(),
    });
    let route = |family, gateway: &str, replace| Op::SetDefaultRouteInVnet {
        jail: jail.clone(),
        family,
        gateway: ip(gateway),
        scope: None,
        replace,
    };
    bench.do_twice(&route(Family::Ipv4, "10.10.0.1", false));
    bench.do_twice(&route(Family::Ipv6, "fd00:10::1", false));
    let taken = bench
        .perform(&route(Family::Ipv4, "10.10.0.2", false))
        .expect_err("another one is there");
    assert_eq!(taken.reason, "Changed");
    // The kernel takes turns between two.
    bench.sh("route -j www -n add default 10.10.0.2");
    bench.sh("route -j www -n add -inet6 default fd00:10::2");
    bench.do_twice(&route(Family::Ipv4, "10.10.0.2", true));
    bench.do_twice(&route(Family::Ipv6, "fd00:10::1", true));
    let observed = bench.observe();
    let jid = observed.jail("www").expect("it runs").jid;
    let vnet = &observed.vnets[&jid];
    let vnet0 = vnet
        .interfaces
        .iter()
        .find(|interface| interface.name == "vnet0")
        .expect("it was moved");
    assert!(vnet0.is_up() && vnet0.address(ip("10.10.0.10")).is_some());
    assert!(
        vnet0
            .address(ip("fd00:10::10"))
            .is_some_and(|entry| !entry.tentative)
    );
    let gateways: Vec<&str> = vnet
        .routes
        .iter()
        .filter(|route| route.destination == "default")
        .map(|route| route.gateway.as_str())
        .collect();
    assert_eq!(gateways, ["10.10.0.2", "fd00:10::1"]);
    assert!(
        observed.interface(&epair().jail_end).is_none(),
        "it is in the jail"
    );
}

#[test]
fn routes_to_single_addresses_come_and_go() {
    let bench = Bench::new();
    vnet_jail(&bench);
    let jail = "www".to_owned();
    let host_end = epair().host_end;
    let own = |address: &str, prefix_length| Op::AddAddress {
        interface: host_end.clone(),
        address: ip(address),
        prefix_length,
        no_dad: true,
    };
    let inside = |address: &str, prefix_length| Op::AddAddressInVnet {
        jail: jail.clone(),
        interface: "vnet0".to_owned(),
        address: ip(address),
        prefix_length,
    };
    bench.do_twice(&own("10.41.0.1", 32));
    bench.do_twice(&own("fe80::1", 64));
    bench.do_twice(&inside("fe80::2", 64));
    bench.do_twice(&inside("10.41.0.10", 32));
    bench.do_twice(&inside("fd00:41::10", 128));
    let route = |destination: &str| Op::AddRoute {
        destination: ip(destination),
        interface: host_end.clone(),
    };
    bench.do_twice(&route("10.41.0.10"));
    bench.do_twice(&route("fd00:41::10"));
    bench.do_twice(&Op::AddLinkRouteInVnet {
        jail: jail.clone(),
        destination: ip("10.41.0.1"),
        interface: "vnet0".to_owned(),
    });
    let default = |family, gateway: &str, scope: Option<String>| Op::SetDefaultRouteInVnet {
        jail: jail.clone(),
        family,
        gateway: ip(gateway),
        scope,
        replace: false,
    };
    bench.do_twice(&default(Family::Ipv4, "10.41.0.1", None));
    bench.do_twice(&default(Family::Ipv6, "fe80::1", Some("vnet0".to_owned())));
    let observed = bench.observe();
    let ours: Vec<(&str, &str)> = observed.routes[&0]
        .iter()
        .filter(|route| route.interface == host_end && route.flags.contains('H'))
        .map(|route| (route.destination.as_str(), route.gateway.as_str()))
        .collect();
    for destination in ["10.41.0.10", "fd00:41::10"] {
        let on_link = |(to, by): &(&str, &str)| *to == destination && by.starts_with("link#");
        assert!(ours.iter().any(on_link), "{destination}: {ours:?}");
    }
    bench.sh("route -n add -host 10.41.0.99 10.0.2.2");
    let taken = bench.perform(&route("10.41.0.99"));
    assert_eq!(taken.expect_err("it leads elsewhere").reason, "Changed");
    for destination in ["10.41.0.10", "fd00:41::10"] {
        bench.do_twice(&Op::RemoveRoute {
            destination: ip(destination),
            interface: host_end.clone(),
        });
    }
    bench.do_twice(&Op::RemoveRoute {
        destination: ip("10.41.0.99"),
        interface: host_end.clone(),
    });
    let left = bench.observe().routes[&0].clone();
    let left: Vec<&str> = left
        .iter()
        .map(|route| route.destination.as_str())
        .collect();
    assert!(left.contains(&"10.41.0.99"), "a stranger's stays: {left:?}");
    assert!(!left.contains(&"10.41.0.10") && !left.contains(&"fd00:41::10"));
}

#[test]
fn routes_of_another_table_are_told_from_wider_ones() {
    let bench = Bench::new();
    bench.sh("sysctl net.fibs=2");
    bench.sh("ifconfig vtnet0 inet6 -ifdisabled fd00:2::15/64");
    let via = |name: &str| Via::Interface(name.to_owned());
    let route = |destination: &str, via: Via| TableRoute {
        fib: 1,
        destination: destination.parse().expect("a prefix"),
        via,
    };
    let add = |route: &TableRoute| Op::AddTableRoute {
        route: route.clone(),
    };
    let routes = [
        route("10.0.2.0/24", via("vtnet0")),
        route("10.0.2.40/32", via("lo0")),
        route("fd00:2::/64", via("vtnet0")),
        route("fd00:2::40/128", via("lo0")),
        route("0.0.0.0/0", Via::Gateway(ip("10.0.2.2"))),
        route("::/0", Via::Gateway(ip("fd00:2::1"))),
    ];
    let without_link = bench.perform(&add(&routes[4]));
    assert_eq!(
        without_link.expect_err("no link to the router").reason,
        "CommandFailed"
    );
    for route in &routes {
        bench.do_twice(&add(route));
    }
    let other = bench.perform(&add(&route("0.0.0.0/0", Via::Gateway(ip("10.0.2.3")))));
    assert_eq!(other.expect_err("it leads elsewhere").reason, "Changed");
    let no_table = TableRoute {
        fib: 2,
        ..routes[0].clone()
    };
    bench
        .perform(&add(&no_table))
        .expect_err("there is no such table");
    let remove = |route: &TableRoute| Op::RemoveTableRoute {
        route: route.clone(),
    };
    // Not ours, and so left.
    bench.do_twice(&remove(&route("10.0.2.40/32", via("vtnet0"))));
    let destinations = |bench: &Bench| bench.observe().routes[&1].len();
    assert_eq!(destinations(&bench), routes.len());
    let first = bench.observe().routes[&0].clone();
    for route in routes.iter().rev() {
        bench.do_twice(&remove(route));
    }
    assert_eq!(destinations(&bench), 0);
    assert_eq!(
        bench.observe().routes[&0],
        first,
        "the first table is the host's"
    );
}

#[test]
fn what_a_jails_root_did_does_not_confuse() {
    let bench = Bench::new();
    vnet_jail(&bench);
    bench.sh("jexec www ifconfig vnet0 name cbbridge00br");
    bench.emulated.emulator().run(
        &["jexec", "www", "ifconfig", "cbbridge00br", "descr", "x\ncbjail000000a: flags=1<UP> metric 0 mtu 1500\n\tdescription: cellblock:c1:net-uid:bridge lan"].map(str::to_owned),
        "",
    );
    let moved = bench.perform(&Op::RenameInVnet {
        jail: "www".to_owned(),
        from: epair().jail_end,
        to: "vnet0".to_owned(),
    });
    assert_eq!(
        moved
            .expect_err("it is not there under any name we know")
            .reason,
        "Changed"
    );
    bench.do_twice(&stop(&bench, "www"));
    bench
        .emulated
        .emulator()
        .advance(std::time::Duration::from_secs(120));
    let observed = bench.observe();
    assert_eq!(
        observed.interfaces_named(&epair().host_end).count(),
        1,
        "the forged one is not among them: {:?}",
        observed.interfaces
    );
    assert_eq!(observed.interfaces_named("cbbridge00br").count(), 1);
    assert_eq!(
        observed
            .interface("cbbridge00br")
            .and_then(|returned| returned.description.as_deref()),
        Some("x")
    );
}

#[test]
fn parameters_of_a_running_jail_are_set_and_read_back() {
    let bench = Bench::new();
    write_conf(&bench, "www", "");
    bench.do_twice(&start("www"));
    let jid = bench.observe().jail("www").expect("it runs").jid;
    let parameters = |entries: &[(&str, &str)]| {
        let entries = entries.iter();
        let owned = entries.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        owned.collect()
    };
    let set = |jid, entries: &[(&str, &str)]| Op::SetJail {
        name: "www".to_owned(),
        jid,
        parameters: parameters(entries),
        mark: Some("cluster:uid:1-abc".to_owned()),
    };
    bench.do_twice(&set(
        jid,
        &[("allow.raw_sockets", "true"), ("securelevel", "2")],
    ));
    let found = bench.observe();
    let meta = found.jail("www").and_then(|jail| jail.meta.clone());
    assert_eq!(meta.map(|meta| meta.hash), Some("1-abc".to_owned()));
    let refused = |op: &Op| bench.perform(op).expect_err("it is refused").to_string();
    assert!(
        refused(&set(jid, &[("path", "/elsewhere")])).contains("cannot be changed after creation")
    );
    // A later release might take it without effect.
    assert!(refused(&set(jid, &[("osrelease", "15.1-RELEASE")])).contains("osrelease"));
    assert!(refused(&set(jid + 1, &[("securelevel", "3")])).contains("does not run any more"));
}
