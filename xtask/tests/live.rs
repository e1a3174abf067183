//! `cargo xtask live` as it is called: every row on an emulated host, and what becomes of rows and hosts that are not as they should be.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};

/// A row that is over: its verdict, and everything that was said.
struct Ended {
    verdict: String,
    reason: String,
    said: String,
    succeeded: bool,
}

fn live(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.arg("live").args(arguments);
    command.env_remove("CELLBLOCK_LIVE");
    command
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stderr),
        String::from_utf8_lossy(&output.stdout)
    )
}

/// Runs one row with `-o json`.
fn one(command: &mut Command) -> Result<Ended> {
    let output = command.args(["-o", "json"]).output()?;
    let rows: serde_json::Value =
        serde_json::from_slice(&output.stdout).with_context(|| said(&output))?;
    let text = |key: &str| rows[0][key].as_str().unwrap_or_default().to_owned();
    Ok(Ended {
        verdict: text("verdict"),
        reason: text("reason"),
        said: said(&output),
        succeeded: output.status.success(),
    })
}

macro_rules! rows {
    ($($test:ident $name:literal)*) => {
        /// Rows that a test below runs.
        const ROWS: &[&str] = &[$($name),*];
        $(
            #[test]
            fn $test() -> Result<()> {
                passes($name)
            }
        )*
    };
}

rows! {
    j02 "j02"
    j03 "j03"
    j03_zfs "j03-zfs"
    j04 "j04"
    j08 "j08"
    limits "limits"
    n00 "n00"
    n01 "n01"
    n02 "n02"
    n03 "n03"
    n04 "n04"
    n05 "n05"
    n06 "n06"
    n07 "n07"
    n08 "n08"
    n08_dynamic "n08-dynamic"
    n09 "n09"
    n10 "n10"
    n11 "n11"
    n11_failover "n11-failover"
    n11_netgraph "n11-netgraph"
    n12 "n12"
    n13 "n13"
    n14 "n14"
    n15 "n15"
    n16 "n16"
    n17 "n17"
    n18 "n18"
    n19 "n19"
    n20 "n20"
    order "order"
}

fn passes(name: &str) -> Result<()> {
    let ended = one(&mut live(&["--emulated", name]))?;
    ensure!(
        ended.verdict == "passed" && ended.succeeded,
        "{}",
        ended.said
    );
    Ok(())
}

#[test]
fn every_row_is_run_here() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("live/rows");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        found.push(
            path.file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
        );
    }
    found.sort();
    ensure!(found == ROWS, "{found:?}");
    Ok(())
}

/// A folder of this test alone.
fn folder(name: &str) -> Result<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("live-{name}"));
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// A row of its own on an emulated host: N18's example, which needs no NIC, and this body.
fn row(name: &str, needs: &str, body: &str) -> Result<Ended> {
    let folder = folder(name)?;
    std::fs::write(
        folder.join("row.sh"),
        format!(
            "# title: a test\n# example: n18-jails-together/jails-together.yaml\n# needs: vimage module=if_epair module=if_bridge {needs}\n{body}\n"
        ),
    )?;
    let from = folder.display().to_string();
    one(&mut live(&["--emulated", "--from", &from]))
}

fn fails(ended: &Ended, reason: &str) -> Result<()> {
    ensure!(
        ended.verdict == "failed" && !ended.succeeded && ended.reason.contains(reason),
        "{}",
        ended.said
    );
    Ok(())
}

const OPEN: &str = "change 's/isolation: jails/isolation: none/'";

/// What N18's example denies, and something that it does not.
const DENIED: &str = "deny www 10.18.1.12 8080 tenant";
const ALLOWED: &str = "reach www 10.18.0.11 8080 db";

#[test]
fn what_is_denied_must_have_succeeded_before() -> Result<()> {
    let ended = row("unproven", "", &format!("up\n{DENIED}\ntake_away"))?;
    fails(&ended, "nothing shows that www could reach tenant")
}

#[test]
fn that_something_else_succeeded_is_no_proof() -> Result<()> {
    let body = format!("up\n{OPEN}\n{ALLOWED}\nchange\n{DENIED}\ntake_away");
    fails(
        &row("other", "", &body)?,
        "nothing shows that www could reach tenant",
    )
}

#[test]
fn that_it_succeeded_with_the_rule_in_force_is_no_proof() -> Result<()> {
    let body = format!("up\n{ALLOWED}\ndeny www 10.18.0.11 8080 db\ntake_away");
    fails(
        &row("same", "", &body)?,
        "nothing shows that www could reach db",
    )
}

#[test]
fn that_a_jail_runs_which_must_not_fails_the_row() -> Result<()> {
    let reached = "reach www 10.18.1.12 8080 tenant";
    let body = format!("up\n{OPEN}\n{reached}\nchange\nABSENT=yes\n{DENIED}\ntake_away");
    fails(&row("runs", "", &body)?, "not so: tenant does not run")?;
    let unproven = format!("up\nABSENT=yes\n{DENIED}\ntake_away");
    fails(
        &row("runs-unproven", "", &unproven)?,
        "nothing shows that www could reach tenant",
    )
}

#[test]
fn what_is_reached_although_it_is_denied_is_told_with_its_way() -> Result<()> {
    let reached = "reach www 10.18.1.12 8080 tenant";
    let again =
        "change 's/isolation: jails/isolation: none/' 's/interface: back0/interface: back1/'";
    let body = format!("up\n{OPEN}\n{reached}\n{again}\n{DENIED}\ntake_away");
    let ended = row("leaks", "", &body)?;
    fails(
        &ended,
        "www reaches tenant by 10.18.1.12 port 8080, which sees 10.18.1.10",
    )?;
    ensure!(
        ended.said.contains("what the controller knows"),
        "{}",
        ended.said
    );
    leaves_nothing(&ended)
}

#[test]
fn who_is_not_reached_fails_the_row() -> Result<()> {
    let ended = row(
        "lost",
        "",
        "up\nreach www 10.18.1.12 8080 tenant\ntake_away",
    )?;
    fails(&ended, "www does not reach tenant by 10.18.1.12 port 8080")
}

#[test]
fn who_is_seen_as_somebody_else_fails_the_row() -> Result<()> {
    let ended = row("seen", "", &format!("up\n{ALLOWED} 10.18.0.99\ntake_away"))?;
    fails(&ended, "db sees 10.18.0.10, not 10.18.0.99")
}

#[test]
fn a_change_that_changes_nothing_fails_the_row() -> Result<()> {
    let ended = row(
        "idle",
        "",
        "up\nchange 's/no such words/others/'\ntake_away",
    )?;
    fails(&ended, "changes nothing")
}

#[test]
fn a_trace_of_the_example_fails_the_row() -> Result<()> {
    let made = "undo 'destroy lvtrace'\nmust host ifconfig lo create name lvtrace";
    let ended = row("trace", "", &format!("up\n{made}\ntake_away"))?;
    fails(&ended, "the host is not as it was before the example")?;
    ensure!(ended.said.contains("> lvtrace: flags="), "{}", ended.said);
    Ok(())
}

#[test]
fn a_trace_of_the_rows_own_world_fails_the_row() -> Result<()> {
    let ended = row(
        "world",
        "",
        "up\ntake_away\nmust host ifconfig lo create name lvworld",
    )?;
    fails(&ended, "the row's own world is not gone: ")
}

fn leaves_nothing(ended: &Ended) -> Result<()> {
    ensure!(!ended.said.contains("left behind"), "{}", ended.said);
    Ok(())
}

/// A row with a world and an example, that goes no further than `last`.
fn ends_with(name: &str, last: &str, reason: &str) -> Result<()> {
    let ended = row(name, "", &format!("wire lv0 lvout\nup\n{last}\ntake_away"))?;
    fails(&ended, reason)?;
    leaves_nothing(&ended)
}

#[test]
fn a_row_whose_command_fails_leaves_nothing() -> Result<()> {
    ends_with(
        "command",
        "must host ifconfig nothing0 up",
        "`host ifconfig nothing0 up` failed",
    )
}

#[test]
fn a_row_that_ends_too_early_leaves_nothing() -> Result<()> {
    ends_with("exit", "exit 3", "the script ended before its last line")
}

#[test]
fn a_row_that_is_interrupted_leaves_nothing() -> Result<()> {
    ends_with(
        "killed",
        "kill -TERM $$\nsleep 30",
        "the script ended before its last line",
    )
}

#[test]
fn what_the_host_has_not_is_no_failure() -> Result<()> {
    let ended = row("needs", "nics=9", "up\ntake_away")?;
    ensure!(
        ended.verdict == "not run" && ended.succeeded,
        "{}",
        ended.said
    );
    ensure!(
        ended
            .reason
            .contains("9 NICs without addresses and routes; this host has 3"),
        "{}",
        ended.reason
    );
    let ended = row("asks", "", "needs 'a lunar eclipse'")?;
    ensure!(
        ended.verdict == "not run" && ended.reason == "needs a lunar eclipse",
        "{}",
        ended.said
    );
    Ok(())
}

#[test]
fn a_host_that_is_not_reached_is_an_error_and_no_verdict() -> Result<()> {
    for (command, words) in [
        (None, "CELLBLOCK_LIVE is to hold a command"),
        (
            Some("sh -c 'echo no route to host >&2; exit 255'"),
            "no route to host",
        ),
        (Some("no-such-command"), "reaches no host"),
        (Some("sh -s"), "not FreeBSD"),
    ] {
        let mut called = live(&["n00"]);
        if let Some(command) = command {
            called.env("CELLBLOCK_LIVE", command);
        }
        let output = called.output()?;
        let said = said(&output);
        ensure!(!output.status.success() && said.contains(words), "{said}");
        ensure!(!said.contains("VERDICT"), "{said}");
    }
    let output = live(&["n99"]).output()?;
    ensure!(
        said(&output).contains("there is no row `n99`"),
        "{}",
        said(&output)
    );
    Ok(())
}

/// What of FreeBSD a script finds on a machine that has nothing of it; `ls -d` fails unless the programs have arrived.
const FAKE: &str = r#"{
echo 'uname() { case $1 in -s) echo FreeBSD ;; *) echo 15.1-RELEASE ;; esac; }
id() { echo 0; }
sysctl() { echo 1; }
kldstat() { return 0; }
ifconfig() { echo; }
pfctl() { return 0; }
pgrep() { return 1; }
b64decode() { base64 -d; }'
sed -e 's|PATH=/sbin:/bin:/usr/sbin:/usr/bin$|say here|' -e 's|^begin_host$|"$PROGRAMS/jailctl"; outcome="not run: needs $("$PROGRAMS/cellblockd")"; snapped=no; sweep() { :; }; as_found() { :; }; exit 0|'
} | sh -s
"#;

#[test]
fn programs_arrive_as_they_are_and_once() -> Result<()> {
    let folder = folder("upload")?;
    let programs = folder.join("programs");
    std::fs::create_dir_all(&programs)?;
    for program in ["cellblockd", "cellblock-agent", "jailctl"] {
        let text = format!(
            "#!/bin/sh\necho this is {program}\n{}",
            "#\n".repeat(100_000)
        );
        std::fs::write(programs.join(program), text)?;
    }
    let fake = folder.join("fake.sh");
    std::fs::write(&fake, FAKE)?;
    let base = folder.join("base");
    for program in ["bin/sh", "usr/bin/nc", "usr/bin/true"] {
        let file = base.join(program);
        std::fs::create_dir_all(file.parent().context("a folder")?)?;
        std::fs::copy("/bin/sh", file)?;
    }
    let run = || {
        let programs = programs.display().to_string();
        one(live(&["n00", "--programs", &programs])
            .env("CELLBLOCK_LIVE", format!("sh {}", fake.display()))
            .env("CELLBLOCK_LIVE_FOLDER", folder.join("there"))
            .env("CELLBLOCK_LIVE_BASE", &base))
    };
    let first = run()?;
    ensure!(first.reason == "needs this is cellblockd", "{}", first.said);
    ensure!(
        first.said.contains("cellblockd goes to the host"),
        "{}",
        first.said
    );
    let second = run()?;
    ensure!(
        second.reason == "needs this is cellblockd",
        "{}",
        second.said
    );
    ensure!(!second.said.contains("goes to the host"), "{}", second.said);
    Ok(())
}
