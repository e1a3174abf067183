//! What a change of an example, of the runner or of a row's script would break without anybody having a host at hand.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot prepare itself fails"
)]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::host::Host;
use super::programs::{base64, cksum};
use super::row::{self, Facts, Needs};
use super::script::{self, Place};
use super::verdict::{self, Ended, Verdict};

/// NICs of the host that the rows are written for; one of them has its address.
const NICS: usize = 4;

/// Examples without a row, each with the reason.
const WITHOUT_ROW: [(&str, &str); 5] = [
    ("j09-import", "it is about a file, not about a host"),
    (
        "n03-managed-pf-conf",
        "the rows do not write the host's pf.conf",
    ),
    ("n03-shared-ports", "its row is not written yet"),
    ("probes", "its row is not written yet"),
    ("n07-routed-hosts", "it needs more hosts than one"),
];

fn examples() -> BTreeSet<String> {
    let folders = ["examples/networking", "examples/jails"];
    let entries = folders.into_iter().flat_map(|folder| {
        std::fs::read_dir(crate::run::root().join(folder)).expect("examples are committed")
    });
    entries
        .map(|entry| entry.expect("it can be listed").file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .filter(|name| !name.contains('.'))
        .collect()
}

#[test]
fn every_example_has_a_row_and_every_row_an_example() {
    let rows = row::all(None).expect("the rows are read");
    let of_rows: BTreeSet<String> = rows
        .iter()
        .filter_map(|row| row.example.parent()?.to_str().map(str::to_owned))
        .collect();
    let mut wanted = examples();
    let page = crate::run::root().join("docs/operations/live.md");
    let page = std::fs::read_to_string(page).expect("the page is there");
    for (example, why) in WITHOUT_ROW {
        assert!(wanted.remove(example), "{example} is gone ({why})");
        assert!(page.contains(example), "{example} is not told of");
    }
    assert_eq!(of_rows, wanted);
    for row in &rows {
        let example = script::example(row).expect("the example is read");
        assert!(example.contains("kind: Jail"), "{}", row.name);
        assert!(
            row.needs.nics < NICS,
            "{} needs more than the spare NICs of a host with {NICS}",
            row.name
        );
    }
}

#[test]
fn a_row_denies_something_and_leaves_nothing() {
    for row in row::all(None).expect("the rows are read") {
        let has = |word: &str| {
            let mut lines = row.text.lines();
            lines.any(|line| line.split_whitespace().any(|found| found == word))
        };
        assert!(has("up") && has("take_away"), "{}", row.name);
        if !row.is_networking() {
            assert!(has("holds") || has("said"), "{}", row.name);
            continue;
        }
        assert!(has("reach"), "{}", row.name);
        // The third claim on two cards is refused, which is no packet; neither is what a condition says.
        let is_no_packet = ["n06", "n11-failover"].contains(&row.name.as_str());
        assert!(has("deny") || is_no_packet, "{}", row.name);
    }
}

#[test]
fn every_script_is_one_that_sh_reads() {
    let places = [
        Place::real(None, None).expect("a place"),
        Place::emulated(Path::new("/tmp/somewhere"), Path::new("/tmp/programs")).expect("a place"),
    ];
    for place in &places {
        let facts = script::facts(place).expect("a script");
        let rows = row::all(None).expect("the rows are read");
        let scripts = rows
            .iter()
            .map(|row| script::row(row, place, &["vtnet1".to_owned()]).expect("a script"));
        for text in scripts.chain([facts]) {
            let mut child = Command::new("sh")
                .arg("-n")
                .stdin(Stdio::piped())
                .spawn()
                .expect("there is a shell");
            let mut stdin = child.stdin.take().expect("it reads");
            std::io::Write::write_all(&mut stdin, text.as_bytes()).expect("it takes it");
            drop(stdin);
            assert!(child.wait().expect("it ends").success(), "{text}");
        }
    }
}

#[test]
fn a_path_that_a_shell_would_take_for_something_else_is_refused() {
    for path in ["relative", "/with space", "/quote'", "/$(x)"] {
        assert!(Place::real(Some(path), None).is_err(), "{path}");
        assert!(Place::real(None, Some(path)).is_err(), "{path}");
    }
}

const FACTS: &str = "noise\nsystem=FreeBSD\nrelease=15.1-RELEASE\nuid=0\nvimage=1\nracct=1\nmodules= if_epair pf\nnics= vtnet1 vtnet2\ninstalled=/usr/libexec/bootpd\nmissing=\npf=off\ntaken=\nprogram=jailctl 4038471504 75\n";

#[test]
fn what_a_host_lacks_is_told() {
    let lacks = |from: &str, to: &str, needs: &Needs| {
        let text = FACTS.replace(from, to);
        let facts = Facts::parse(&text).expect("it is a host");
        facts.lacks(needs).unwrap_or_default()
    };
    let needs = Needs {
        vimage: true,
        pf: true,
        nics: 2,
        modules: vec!["if_epair".to_owned(), "pf".to_owned()],
        programs: vec!["/usr/libexec/bootpd".to_owned()],
        racct: true,
    };
    assert_eq!(lacks("pf=off", "pf=ours", &needs), "");
    for (from, to, told) in [
        ("uid=0", "uid=1001", "root"),
        ("vimage=1", "vimage=0", "VIMAGE"),
        ("racct=1", "racct=0", "kern.racct.enable"),
        ("modules= if_epair", "modules= if_lagg", "module if_epair"),
        ("installed=", "elsewhere=", "/usr/libexec/bootpd"),
        (
            " vtnet2",
            "",
            "2 NICs without addresses and routes; this host has 1",
        ),
        ("pf=off", "pf=foreign", "four lines in pf.conf"),
        (
            "taken=",
            "taken=a running cellblock-agent",
            "a host without a running",
        ),
        ("missing=", "missing= /usr/bin/nc", "/usr/bin/nc"),
    ] {
        let found = lacks(from, to, &needs);
        assert!(found.contains(told), "{found}");
    }
    assert!(Facts::parse("system=Linux\n").is_err());
    assert!(Facts::parse("").is_err());
    let facts = Facts::parse(FACTS).expect("it is a host");
    assert!(facts.has("jailctl", "4038471504 75"));
    assert!(!facts.has("jailctl", "4038471504 76"));
}

/// What `command` makes of a script.
fn judged(command: &str) -> Verdict {
    let limit = Duration::from_secs(2);
    Verdict::of(&Host::new(command).run("true\n", limit).expect("it starts"))
}

#[test]
fn the_last_line_is_the_verdict_and_no_line_is_a_failure() {
    assert_eq!(judged("printf 'x\\nverdict: passed\\n'"), Verdict::Passed);
    assert_eq!(
        judged("echo verdict: not run: needs a fib"),
        Verdict::NotRun("needs a fib".to_owned())
    );
    assert_eq!(
        judged("echo verdict: failed: it leaks"),
        Verdict::Failed("it leaks".to_owned())
    );
    for (command, end) in [
        ("sh -c 'cat; exit 255'", "255"),
        ("sh -c 'echo half of it; kill -9 $$'", "signal: 9"),
        ("sleep 60", "for being late"),
        ("no-such-command-at-all", "127"),
    ] {
        let Verdict::Failed(why) = judged(command) else {
            panic!("{command} passed");
        };
        assert!(
            why.contains("without a verdict") && why.contains(end),
            "{why}"
        );
    }
}

#[test]
fn a_script_that_is_longer_than_a_pipe_holds_arrives_and_comes_back() {
    let text = "echo 0123456789\n".repeat(50_000);
    let ran = Host::new("sh -s").run(&text, Duration::from_secs(60));
    let ran = ran.expect("it starts");
    assert_eq!(ran.output.lines().count(), 50_000, "{}", ran.end);
}

fn ended(verdict: Verdict) -> Ended {
    Ended {
        row: "n03".to_owned(),
        title: "behind NAT".to_owned(),
        verdict,
        seconds: 7,
        output: "$ true\n".to_owned(),
    }
}

#[test]
fn verdicts_as_a_table_and_as_json() {
    let rows = [
        ended(Verdict::Passed),
        ended(Verdict::Failed("it leaks".to_owned())),
        ended(Verdict::NotRun("needs 2 NICs".to_owned())),
    ];
    assert_eq!(
        verdict::table(&rows),
        "ROW           VERDICT    SEC  WHAT\n\
         n03           passed       7  behind NAT\n\
         n03           failed       7  behind NAT: it leaks\n\
         n03           not run      7  behind NAT: needs 2 NICs"
    );
    let json: serde_json::Value =
        serde_json::from_str(&verdict::json(&rows).expect("it is written")).expect("it is JSON");
    assert_eq!(json[0]["verdict"], "passed");
    assert_eq!(json[1]["output"], "$ true\n");
    assert_eq!(json[2]["reason"], "needs 2 NICs");
    assert!(json[0].get("output").is_none());
}

#[test]
fn sums_and_text_as_the_host_makes_them() {
    // `printf '' | cksum`, `printf 123456789 | cksum`
    assert_eq!(cksum(b""), "4294967295 0");
    assert_eq!(cksum(b"123456789"), "930766865 9");
    assert_eq!(base64(b""), "");
    assert_eq!(base64(b"a"), "YQ==\n");
    assert_eq!(base64(b"ab"), "YWI=\n");
    assert_eq!(base64(b"abc"), "YWJj\n");
    let lines = base64(&[0; 100]);
    assert!(lines.lines().all(|line| line.len() <= 76));
    assert_eq!(lines.lines().count(), 2);
}
