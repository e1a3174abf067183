//! N3: several jails behind one port.

use std::collections::BTreeMap;

use cellblock_fakebsd::trace::{Origin, Place, Probe, Protocol, Verdict};

use super::{Row, manifest, outside};

const N3: &str = "n03-shared-ports/shared-ports.yaml";

/// The public address, by family.
const PUBLIC: [&str; 2] = ["10.0.2.15", "2001:db8:99::15"];

fn wire(public: &str) -> Origin {
    let source = if public.contains(':') {
        "2001:db8:99::2"
    } else {
        "10.0.2.2"
    };
    outside("vtnet0", source)
}

/// Who answers to so many connections, and to how many of them.
fn answers(
    row: &Row,
    public: &str,
    protocol: Protocol,
    port: u16,
    times: usize,
) -> Vec<(String, usize)> {
    let mut answers: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..times {
        let to = public.parse().expect("an address");
        let probe = Probe::new(wire(public), to, protocol, port);
        let trace = row.world.host.emulator().send(&probe).trace;
        let who = match &trace.verdict {
            Verdict::Reached { by, .. } => match &by.place {
                Place::Jail(jail) => jail.clone(),
                Place::Host | Place::Outside(_) => format!("{:?}", by.place),
            },
            Verdict::Blocked { .. } | Verdict::Lost { .. } => trace.to_string(),
        };
        *answers.entry(who).or_default() += 1;
    }
    answers.into_iter().collect()
}

fn each(jails: &[&str], times: usize) -> Vec<(String, usize)> {
    let jails = jails.iter();
    jails.map(|jail| ((*jail).to_owned(), times)).collect()
}

/// How many states have a text in them.
fn states(row: &Row, text: &str) -> usize {
    let states = row.world.run("pfctl -ss");
    states.lines().filter(|state| state.contains(text)).count()
}

#[test]
fn n03_connections_go_to_the_jails_that_run_in_turn() {
    let mut row = Row::up(N3);
    for public in PUBLIC {
        let found = answers(&row, public, Protocol::Tcp, 443, 6);
        assert_eq!(found, each(&["web1", "web2", "web3"], 2), "{public}");
        // A client of the sticky pool stays where it is.
        let found = answers(&row, public, Protocol::Udp, 53, 4);
        assert!(found.len() == 1 && found[0].1 == 4, "{public} {found:?}");
        assert!(found[0].0.starts_with("web"), "{public} {found:?}");
    }
    let (first, second) = (
        states(&row, "192.0.2.3:8443"),
        states(&row, "192.0.2.4:8443"),
    );
    assert!(first > 0 && second > 0);

    // One that is stopped is left out, and its connections end; those of the others live.
    let stopped = manifest(N3).replace(
        "  root: {path: /jails/web1}\n",
        "  root: {path: /jails/web1}\n  runPolicy: Stopped\n",
    );
    row.fleet.apply(&stopped).expect("it is admitted");
    let view = row.fleet.view("fbsd-01").expect("the host");
    row.world.take(view);
    row.world
        .converge(super::ROUNDS_MAX)
        .expect("it comes to rest");
    assert_eq!(states(&row, "192.0.2.3:8443"), 0);
    assert_eq!(states(&row, "192.0.2.4:8443"), second);
    for public in PUBLIC {
        let found = answers(&row, public, Protocol::Tcp, 443, 4);
        assert_eq!(found, each(&["web2", "web3"], 2), "{public}");
    }
    row.change(&manifest(N3).replace("runPolicy: Stopped\n", ""));
    let found = answers(&row, PUBLIC[0], Protocol::Tcp, 443, 6);
    assert_eq!(found, each(&["web1", "web2", "web3"], 2));

    // One that dies is left out until it is back: while it starts again.
    row.world.run("jail -r web2");
    let second = states(&row, "192.0.2.3:8443");
    row.rest();
    assert_eq!(states(&row, "192.0.2.3:8443"), second);
    let found = answers(&row, PUBLIC[1], Protocol::Tcp, 443, 6);
    assert_eq!(found, each(&["web1", "web2", "web3"], 2));

    // What the firewall of one does not let in does not come in there, and does at the others.
    row.change(&manifest(N3).replace("ports: [8443]}", "ports: [80]}"));
    let found = answers(&row, PUBLIC[0], Protocol::Tcp, 443, 6);
    let of = |jail: &str| {
        found
            .iter()
            .find(|(who, _)| who == jail)
            .map(|(_, times)| *times)
    };
    assert_eq!(
        (of("web1"), of("web2"), of("web3")),
        (Some(2), Some(2), None)
    );
    row.take_away();
}

/// How long ago, in commands, a jail was removed and its connections were killed; the last of each.
fn stopped_and_killed(row: &Row, jail: &str) -> (Option<usize>, Option<usize>) {
    let emulator = row.world.host.emulator();
    let last = |words: &[&str]| {
        let mut log = emulator.log.iter();
        log.rposition(|logged| {
            words
                .iter()
                .all(|word| logged.argv.iter().any(|have| have.contains(word)))
        })
    };
    let uid = row.world.view.jails.values().find(|one| one.name == jail);
    let uid = uid.expect("it is in the view").uid.to_string();
    (
        last(&["jail", "-r", jail]),
        last(&["pfctl", "-k", &format!("cellblock:{uid}:")]),
    )
}

#[test]
fn one_that_is_started_again_is_left_out_meanwhile_and_ends_its_connections_itself() {
    let mut row = Row::up(N3);
    answers(&row, PUBLIC[0], Protocol::Tcp, 443, 6);
    let before = states(&row, "192.0.2.3:8443");
    assert!(before > 0);
    let again = manifest(N3).replace(
        "  root: {path: /jails/web1}\n",
        "  root: {path: /jails/web1}\n  restart: once\n",
    );
    row.fleet.apply(&again).expect("it is admitted");
    let view = row.fleet.view("fbsd-01").expect("the host");
    row.world.take(view);
    let mut looks = 0;
    for _ in 0..20 {
        row.world.pass().expect("a pass");
        if row.world.observe().jail("web1").is_none() {
            looks += 1;
            let found = answers(&row, PUBLIC[0], Protocol::Tcp, 443, 4);
            assert_eq!(found, each(&["web2", "web3"], 2));
        }
    }
    assert!(looks > 0, "nobody looked while it was away");
    row.rest();
    let (stopped, killed) = stopped_and_killed(&row, "web1");
    assert!(
        stopped.is_some() && killed > stopped,
        "{stopped:?} {killed:?}"
    );
    assert_eq!(states(&row, "192.0.2.3:8443"), 0);
    let found = answers(&row, PUBLIC[0], Protocol::Tcp, 443, 6);
    assert_eq!(found, each(&["web1", "web2", "web3"], 2));
    row.take_away();
}

#[test]
fn while_nobody_is_up_nobody_answers_and_not_the_host() {
    let mut row = Row::up(N3);
    for jail in ["web1", "web2", "web3"] {
        row.world.run(&format!("jail -r {jail}"));
    }
    let bucket = cellblock_agent_core::names::pool_anchor("web");
    for _ in 0..20 {
        // Not to the port of the host's own address.
        let rules = row.world.run(&format!("pfctl -a {bucket} -sn"));
        assert_eq!(rules.matches("port = https").count(), 2, "{rules}");
        row.world.pass().expect("a pass");
    }
    row.rest();
    let found = answers(&row, PUBLIC[0], Protocol::Tcp, 443, 6);
    assert_eq!(found, each(&["web1", "web2", "web3"], 2));
    row.take_away();
}

#[test]
fn one_whose_rules_pf_rejects_is_not_behind_the_port_and_the_others_are() {
    let mut row = Row::up(N3);
    row.world
        .host
        .emulator()
        .kernel
        .pf_lacks
        .insert("port 7777".to_owned());
    let rule = "    - {name: web, action: pass, protocol: tcp, ports: [8443]}\n";
    let bad = manifest(N3).replace(
        rule,
        &format!("{rule}    - {{name: bad, action: pass, protocol: tcp, ports: [7777]}}\n"),
    );
    row.fleet.apply(&bad).expect("it is admitted");
    let view = row.fleet.view("fbsd-01").expect("the host");
    row.world.take(view);
    row.world
        .converge(super::ROUNDS_MAX)
        .expect("it comes to rest");
    for public in PUBLIC {
        let found = answers(&row, public, Protocol::Tcp, 443, 4);
        assert_eq!(found, each(&["web1", "web2"], 2), "{public}");
    }
    row.change(&manifest(N3));
    let found = answers(&row, PUBLIC[0], Protocol::Tcp, 443, 6);
    assert_eq!(found, each(&["web1", "web2", "web3"], 2));
    row.take_away();
}

#[test]
fn a_table_of_shared_ports_that_somebody_empties_is_filled_again() {
    let mut row = Row::up(N3);
    let pool = cellblock_agent_core::names::pool_anchor("web");
    row.world.run(&format!("pfctl -a {pool} -F Tables"));
    row.rest();
    let found = answers(&row, PUBLIC[0], Protocol::Tcp, 443, 6);
    assert_eq!(found, each(&["web1", "web2", "web3"], 2));
    row.take_away();
}

#[test]
fn ports_are_shared_on_the_same_terms_or_not_at_all() {
    let mut row = Row::up(N3);
    let refused = |row: &mut Row, from: &str, to: &str| {
        let mut documents = manifest(N3);
        let place = documents.find("name: web2").expect("it is there");
        let place = place + documents[place..].find(from).expect("it is there");
        documents.replace_range(place..place + from.len(), to);
        let error = row.fleet.apply(&documents).expect_err("it is refused");
        let error = format!("{error:?}");
        assert!(error.contains("is taken by jail web"), "{error}");
    };
    refused(&mut row, "to: 8443", "to: 8080");
    refused(&mut row, "shared: web", "shared: other");
    refused(&mut row, ", shared: web}", "}");
    refused(&mut row, "shared: web", "shared: web, sticky: true");
    refused(&mut row, "ports: [443], to: 8443", "ports: [443-444]");
    row.take_away();
}
