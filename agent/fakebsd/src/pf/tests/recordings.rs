//! Every pfctl command of recordings `05`, `09`, `12` and `14` gives the same text and status.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::pf::rule::Direction;
use crate::pf::{Output, Pf};

use super::host::{Rig, interface, syn};

/// One command of a recording.
#[derive(Debug, Default)]
struct Step {
    argv: Vec<String>,
    stdin: String,
    expected: Output,
    /// Files written before it.
    files: BTreeMap<String, String>,
}

/// Splits a command as sh would: the recordings quote with single quotes only.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = None::<String>;
    let mut quoted = false;
    for letter in line.chars() {
        match letter {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            ' ' if !quoted => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    words
}

fn steps(file: &str) -> Vec<Step> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("transcripts")
        .join(file);
    let text = std::fs::read_to_string(&path).expect("the recordings are part of the crate");
    let mut steps: Vec<Step> = Vec::new();
    let mut files = BTreeMap::new();
    let mut open = None;
    for line in text.lines() {
        let (mark, rest) = line.split_at(line.len().min(2));
        match mark.trim_end() {
            "#" => {
                open = rest.strip_prefix("file ").map(str::to_owned);
                if let Some(name) = &open {
                    files.insert(name.clone(), String::new());
                }
            }
            "|" => {
                let text: &mut String = open
                    .as_ref()
                    .and_then(|name| files.get_mut(name))
                    .expect("a file is open");
                text.push_str(rest);
                text.push('\n');
            }
            "$" => steps.push(Step {
                argv: words(rest),
                files: files.clone(),
                ..Step::default()
            }),
            "<" | ">" | "!" => {
                let step = steps.last_mut().expect("a command stands before its text");
                let stream = match mark.trim_end() {
                    "<" => &mut step.stdin,
                    ">" => &mut step.expected.stdout,
                    _ => &mut step.expected.stderr,
                };
                stream.push_str(rest);
                stream.push('\n');
            }
            "=" => {
                steps
                    .last_mut()
                    .expect("a command stands before its status")
                    .expected
                    .status = rest.trim().parse().expect("a status is a number")
            }
            _ => {}
        }
    }
    steps
}

/// Times vary from run to run.
fn masked(text: &str) -> String {
    text.lines()
        .map(|line| match line.split_once(" for 0 days ") {
            Some((status, rest)) => format!(
                "{status} for 0 days TIME{}\n",
                rest.get(8..).unwrap_or_default()
            ),
            None => format!("{line}\n"),
        })
        .collect()
}

/// Replays the pfctl commands of a recording; `act` may do what other commands did before one of them.
fn replay(file: &str, mut act: impl FnMut(&mut Rig, &[String])) -> usize {
    let mut rig = Rig::new();
    rig.host.loaded = false;
    // The pf of a VNET jail, for `jexec v2 pfctl …`.
    let mut jail = Pf::default();
    let mut compared = 0;
    for step in steps(file) {
        rig.host.now += Duration::from_millis(50);
        rig.host.files = step.files;
        let command = step.argv.join(" ");
        if command == "kldload -n pf" {
            rig.host.loaded = true;
        }
        act(&mut rig, &step.argv);
        let inside = command.starts_with("jexec v2 pfctl");
        let argv = if inside {
            step.argv[2..].to_vec()
        } else {
            step.argv.clone()
        };
        if argv[0] != "pfctl" {
            continue;
        }
        if argv.contains(&"info".to_owned()) {
            // The recording's clock had moved on by a second when it asked.
            rig.host.now += Duration::from_secs(1);
        }
        let pf = if inside { &mut jail } else { &mut rig.pf };
        let output = crate::pf::pfctl(pf, &rig.host, &argv, &step.stdin);
        assert_eq!(
            masked(&output.stdout),
            masked(&step.expected.stdout),
            "{file}: {command}"
        );
        assert_eq!(output.stderr, step.expected.stderr, "{file}: {command}");
        assert_eq!(output.status, step.expected.status, "{file}: {command}");
        compared += 1;
    }
    compared
}

#[test]
fn anchors_and_words() {
    assert_eq!(replay("05-pf.txt", |_, _| {}), 57);
}

#[test]
fn traffic() {
    let compared = replay("09-traffic.txt", |rig, argv| {
        if argv.join(" ") == "ifconfig epair create" && rig.host.interfaces.len() == 5 {
            rig.host.interfaces.push(interface(
                "epair0a",
                6,
                &["203.0.113.1/24", "203.0.113.2/32"],
            ));
            rig.host
                .interfaces
                .push(interface("lo1", 7, &["192.0.2.1/28"]));
        }
    });
    assert_eq!(compared, 15);
}

#[test]
fn follow_ups() {
    let connect = |rig: &mut Rig, port: u16| {
        let first = syn(
            Direction::In,
            "epair0a",
            ("203.0.113.100", port),
            ("203.0.113.1", 3306),
        );
        assert!(rig.filter(&first).passes());
    };
    let compared = replay("12-followups.txt", |rig, argv| {
        let command = argv.join(" ");
        if command == "ifconfig epair0a inet 203.0.113.1/24 up" {
            rig.host
                .interfaces
                .push(interface("epair0a", 6, &["203.0.113.1/24"]));
        }
        // Each of these commands was run against one open connection.
        match command.as_str() {
            "pfctl -k label -k cellblock:tom" => connect(rig, 40_000),
            _ if command.contains("pfctl -k 203.0.113.100") => {
                connect(rig, 40_001);
                let output = rig.run(&["-k", "203.0.113.100"], "");
                assert_eq!(
                    output.stderr,
                    "killed 1 states from 1 sources and 0 destinations\n"
                );
            }
            _ if command.contains("pfctl -k id -k $id") => {
                connect(rig, 40_002);
                let shown = rig.print(&["-vvss"]);
                let words: Vec<&str> = shown.split_whitespace().collect();
                let after = |name: &str| {
                    words[words
                        .iter()
                        .position(|word| *word == name)
                        .expect("it is shown")
                        + 1]
                };
                let id = format!("{}/{}", after("id:"), after("creatorid:"));
                assert_eq!(
                    rig.run(&["-k", "id", "-k", &id], "").stderr,
                    "killed 1 states\n"
                );
            }
            _ => {}
        }
    });
    assert_eq!(compared, 27);
}

#[test]
fn inside_a_vnet_jail() {
    assert_eq!(replay("14-switches.txt", |_, _| {}), 5);
}

#[test]
fn what_the_agent_leans_on() {
    assert_eq!(replay("15-agent.txt", |_, _| {}), 19);
}

#[test]
fn before_the_module() {
    assert_eq!(replay("01-observe.txt", |_, _| {}), 2);
}
