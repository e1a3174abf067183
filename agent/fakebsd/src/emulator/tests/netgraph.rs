//! Sizes and words of netgraph messages, as sys/netgraph/ng_socket.c, ng_bridge.c and ng_parse.c have them.

use super::{done, host};
use crate::emulator::Emulator;
use crate::output::Output;

const NO_ROOM: &str = "ngctl: send msg: No buffer space available\n";

fn with_switch() -> Emulator {
    let mut host = host();
    for line in [
        "ngctl mkpeer bridge a link0",
        "kldload -n ng_bridge",
        "kldload -n ng_eiface",
    ] {
        host.sh(line);
    }
    let script = "mkpeer . bridge a link0\nname .:a sw\nmsg sw: setpersistent\n";
    let argv = ["ngctl", "-f", "-"].map(str::to_owned);
    assert!(host.run(&argv, script).is_success());
    host
}

fn refused(output: &Output) {
    assert_eq!((output.status, output.stderr.as_str()), (71, NO_ROOM));
}

#[test]
fn an_answer_about_more_than_149_hooks_has_no_room() {
    let mut host = with_switch();
    for link in 1..=149 {
        done(
            &mut host,
            &format!("ngctl mkpeer sw: eiface link{link} ether"),
        );
    }
    let shown = done(&mut host, "ngctl show sw:");
    assert_eq!(shown.lines().count(), 3 + 149);
    done(&mut host, "ngctl mkpeer sw: eiface link150 ether");
    refused(&host.sh("ngctl show sw:"));
    refused(&host.sh("ngctl show -n sw:"));
    let listed = host.sh("ngctl list -l");
    refused(&listed);
    // What came before the switch was printed.
    assert!(listed.stdout.starts_with("There are "), "{listed:?}");
    done(&mut host, "ngctl list");
    done(&mut host, "sysctl net.graph.recvspace=20544");
    done(&mut host, "ngctl show sw:");
}

#[test]
fn an_answer_about_more_than_283_nodes_has_no_room() {
    let mut host = with_switch();
    let count = |host: &mut Emulator| done(host, "ngctl list").lines().count() - 1;
    for _ in count(&mut host)..283 {
        done(&mut host, "ngctl mkpeer eiface a ether");
    }
    assert_eq!(count(&mut host), 283);
    done(&mut host, "ngctl mkpeer eiface a ether");
    for line in ["ngctl list", "ngctl list -l"] {
        refused(&host.sh(line));
    }
    done(&mut host, "ngctl show sw:");
    done(&mut host, "sysctl net.graph.recvspace=1000000");
    assert_eq!(count(&mut host), 284);
    done(&mut host, "sysctl net.graph.recvspace=2000000");
    let output = host.sh("ngctl list");
    let message = "ngctl: can't create node: No buffer space available\n";
    assert_eq!((output.status, output.stderr.as_str()), (71, message));
}

fn set_config(host: &mut Emulator, words: &str) -> Output {
    let mut argv = ["ngctl", "msg", "sw:", "setconfig"]
        .map(str::to_owned)
        .to_vec();
    argv.extend(words.split_whitespace().map(str::to_owned));
    host.run(&argv, "")
}

#[test]
fn the_configuration_of_a_switch() {
    let mut host = with_switch();
    let config = |host: &mut Emulator| {
        let answer = done(host, "ngctl msg sw: getconfig");
        let config = answer.lines().nth(1).expect("its arguments");
        config.trim_start_matches("Args:\t").to_owned()
    };
    let fresh = "{ debugLevel=1 loopTimeout=60 maxStaleness=900 minStableAge=1 }";
    assert_eq!(config(&mut host), fresh);
    for (words, error) in [
        ("", "Invalid argument"),
        ("{ debugLevel=1", "Invalid argument"),
        ("{ debugLevel=256 }", "Invalid argument"),
        ("{ level=1 }", "No such file or directory"),
        (
            "{ debugLevel=1 debugLevel=2 }",
            "Operation already in progress",
        ),
    ] {
        let output = set_config(&mut host, words);
        assert_eq!(
            output.stderr,
            format!("ngctl: send msg: {error}\n"),
            "{words}"
        );
    }
    assert_eq!(config(&mut host), fresh);
    for (words, now) in [
        (
            "{ debugLevel=1 loopTimeout=0 maxStaleness=900 minStableAge=0 }",
            "{ debugLevel=1 maxStaleness=900 }",
        ),
        ("{ minStableAge=2 }", "{ minStableAge=2 }"),
        ("{ }", "{}"),
    ] {
        assert!(set_config(&mut host, words).is_success(), "{words}");
        assert_eq!(config(&mut host), now);
    }
}
