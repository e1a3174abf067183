//! Commands, terminals and logs in jails, through real processes: what goes in comes out, what ends is ended everywhere, and who may not is told so.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test fails on any answer but the one that it asks for"
)]

use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use cellblock_agent::emulated::{Request, Response};
use cellblock_e2e::{CONVERGE, Fleet, Options, Said, StoreKind, eventually};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

const JAIL: &str = "apiVersion: cellblock.dev/v1alpha1\nkind: Jail\nmetadata: {name: www}\nspec:\n  host: fbsd-01\n  root: {path: /jails/www}\n";

/// How much goes through a jail and back.
const MUCH_BYTES: usize = 10 << 20;

fn fleet(store: StoreKind) -> anyhow::Result<Fleet> {
    let fleet = Fleet::start(&Options {
        store,
        roots: vec!["/jails/www".to_owned()],
        ..Options::small()
    })?;
    fleet.apply(JAIL)?;
    fleet.jailctl(&["wait", "jail/www"])?.ok()?;
    Ok(fleet)
}

/// `jailctl` with pipes that the test holds.
struct Visit {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
}

impl Visit {
    fn start(fleet: &Fleet, arguments: &[&str]) -> anyhow::Result<Self> {
        let mut child = Command::new(fleet.binaries().jailctl())
            .args(["--server", fleet.server()])
            .args(arguments)
            .env_clear()
            .env("HOME", fleet.folder())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        Ok(Self {
            stdin: child.stdin.take(),
            stdout: child.stdout.take().context("a pipe")?,
            child,
        })
    }

    fn say(&mut self, text: &str) -> anyhow::Result<()> {
        let stdin = self.stdin.as_mut().context("it is open")?;
        stdin.write_all(text.as_bytes())?;
        Ok(stdin.flush()?)
    }

    /// Reads exactly what is expected next.
    fn hear(&mut self, expected: &str) -> anyhow::Result<()> {
        let mut heard = vec![0; expected.len()];
        self.stdout.read_exact(&mut heard)?;
        ensure!(
            heard == expected.as_bytes(),
            "{}",
            String::from_utf8_lossy(&heard)
        );
        Ok(())
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = Pid::from_raw(self.child.id().cast_signed()).context("a process has an id")?;
        Ok(kill_process(pid, signal)?)
    }

    fn end(mut self) -> anyhow::Result<(Option<i32>, String)> {
        self.stdin = None;
        let status = eventually("jailctl ends", CONVERGE, || {
            self.child.try_wait()?.context("it runs")
        })?;
        let mut error = String::new();
        if let Some(stderr) = &mut self.child.stderr {
            stderr.read_to_string(&mut error)?;
        }
        Ok((status.code(), error))
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        // Both fail only for a process that has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a process with that command line is on the machine.
fn runs(fleet: &Fleet, line: &str) -> anyhow::Result<bool> {
    let request = Request::Run {
        argv: ["pgrep", "-x", "-f", line].map(str::to_owned).to_vec(),
        stdin: None,
    };
    match fleet.machines[0].ask(&request)? {
        Response::Ran { status, .. } => Ok(status == 0),
        other => bail!("{other:?}"),
    }
}

fn gone(fleet: &Fleet, line: &str) -> anyhow::Result<()> {
    eventually("it is hung up", CONVERGE, || {
        ensure!(!runs(fleet, line)?, "`{line}` runs");
        Ok(())
    })
}

fn there(fleet: &Fleet, line: &str) -> anyhow::Result<()> {
    eventually("it runs", CONVERGE, || {
        ensure!(runs(fleet, line)?, "`{line}` does not run");
        Ok(())
    })
}

fn status(said: &Said, expected: i32) -> anyhow::Result<()> {
    ensure!(
        said.status == Some(expected),
        "{expected} was expected: {said}"
    );
    Ok(())
}

#[test]
fn a_command_has_its_streams_its_words_and_its_exit_status() -> anyhow::Result<()> {
    let fleet = fleet(StoreKind::Etcd)?;
    let exec = |words: &[&str], stdin: &str| {
        fleet.jailctl_with(&[&["exec", "www", "--"], words].concat(), stdin)
    };
    let said = exec(&["echo", "a  b", "$HOME", "*"], "")?.ok()?;
    ensure!(
        said.stdout == "a  b $HOME *\n" && said.stderr.is_empty(),
        "{said}"
    );
    let said = exec(&["hostname"], "")?.ok()?;
    ensure!(said.stdout == "www\n", "{said}");
    let said = exec(&["sh", "-c", "echo out; echo err >&2; exit 3"], "")?;
    status(&said, 3)?;
    ensure!(said.stdout == "out\n" && said.stderr == "err\n", "{said}");
    let said = exec(&["sh", "-c", "cat; exit 4"], "in\n")?;
    status(&said, 4)?;
    ensure!(said.stdout == "in\n", "{said}");
    let said = exec(&["nosuch"], "")?;
    status(&said, 127)?;
    said.says(&["nosuch: No such file or directory"])?;
    let said = fleet.jailctl(&["exec", "jail/www", "-n", "-u", "www", "--", "env"])?;
    said.ok()?;
    let said = fleet.jailctl(&["exec", "www", "-u", "nosuch", "--", "id"])?;
    status(&said, 1)?;
    said.says(&["nosuch: no such user"])?;

    // Ten megabytes through a jail and back.
    let much: String = (0..MUCH_BYTES / 16).map(|n| format!("{n:015}\n")).collect();
    let said = exec(&["cat"], &much)?;
    status(&said, 0)?;
    ensure!(
        said.stdout == much,
        "{} octets came back",
        said.stdout.len()
    );

    // Who did what is logged; what was said is not.
    let log = fleet.controller.log();
    ensure!(
        log.contains(r#"["sh", "-c", "cat; exit 4"] as root"#),
        "{log}"
    );
    ensure!(
        log.contains("exit status 4") && log.contains("a visit ends"),
        "{log}"
    );
    ensure!(
        !log.contains("000000000000001"),
        "what was said is in the log"
    );
    fleet.assert_no_panic()
}

#[test]
fn what_cannot_be_visited_says_why_and_what_to_do() -> anyhow::Result<()> {
    let mut fleet = fleet(StoreKind::Embedded)?;
    let exec = |fleet: &Fleet, jail: &str| fleet.jailctl(&["exec", jail, "--", "id"]);
    let said = exec(&fleet, "nosuch")?;
    status(&said, 255)?;
    said.says(&["there is no Jail `nosuch`"])?;
    let slip = fleet.jailctl(&["exec", "host/fbsd-01", "--", "id"])?;
    status(&slip, 2)?;
    let slip = fleet.jailctl(&["exec", "-t", "www", "--", "id"])?;
    status(&slip, 2)?;
    slip.says(&["standard input is no terminal"])?;
    fleet.apply(&JAIL.replace("spec:\n", "spec:\n  runPolicy: Stopped\n"))?;
    eventually("the jail is stopped", CONVERGE, || {
        let said = exec(&fleet, "www")?;
        status(&said, 255)?;
        said.says(&["jail `www` does not run"])
    })?;
    fleet.apply(
        &JAIL
            .replace("name: www", "name: nowhere")
            .replace("host: fbsd-01", "hostSelector: {matchLabels: {no: such}}")
            .replace("/jails/www", "/jails/nowhere"),
    )?;
    let said = exec(&fleet, "nowhere")?;
    status(&said, 255)?;
    said.says(&["has no host yet"])?;
    fleet.machine("fbsd-01")?.agent.kill();
    eventually("the host is not connected", CONVERGE, || {
        let said = exec(&fleet, "www")?;
        said.says(&["host `fbsd-01`", "connect"])
    })
}

#[test]
fn several_visits_do_not_meet_and_one_that_is_not_read_holds_up_nobody() -> anyhow::Result<()> {
    let fleet = fleet(StoreKind::Embedded)?;
    let mut one = Visit::start(&fleet, &["exec", "www", "--", "cat"])?;
    let mut other = Visit::start(&fleet, &["exec", "www", "--", "cat"])?;
    // Writes without end, and nobody reads it.
    let endless = Visit::start(&fleet, &["exec", "www", "--", "yes"])?;
    there(&fleet, "yes")?;
    for round in 0..20 {
        one.say(&format!("one {round}\n"))?;
        other.say(&format!("other {round}\n"))?;
        other.hear(&format!("other {round}\n"))?;
        one.hear(&format!("one {round}\n"))?;
    }
    // The host is kept right all the same.
    fleet.apply(&JAIL.replace("{name: www}", "{name: www, labels: {a: b}}"))?;
    let said = fleet
        .jailctl(&["exec", "www", "--", "echo", "here"])?
        .ok()?;
    ensure!(said.stdout == "here\n", "{said}");
    let (status, error) = one.end()?;
    ensure!(status == Some(0), "{status:?} {error}");
    // ^C at one that reads nothing.
    endless.signal(Signal::INT)?;
    let (status, error) = endless.end()?;
    ensure!(status == Some(130), "{status:?} {error}");
    gone(&fleet, "yes")?;
    other.say("still\n")?;
    other.hear("still\n")
}

#[test]
fn whoever_dies_the_command_ends_with_them() -> anyhow::Result<()> {
    let mut fleet = fleet(StoreKind::Etcd)?;
    let sleep = ["exec", "www", "--", "sleep", "3333"];

    let visit = Visit::start(&fleet, &sleep)?;
    there(&fleet, "sleep 3333")?;
    visit.signal(Signal::KILL)?;
    gone(&fleet, "sleep 3333")?;

    // Somebody ends the command itself.
    let visit = Visit::start(&fleet, &sleep)?;
    there(&fleet, "sleep 3333")?;
    fleet.machines[0].run("pkill -f sleep")?;
    let (status, error) = visit.end()?;
    ensure!(status == Some(143), "{status:?} {error}");

    // The jail is stopped under it.
    let visit = Visit::start(&fleet, &sleep)?;
    there(&fleet, "sleep 3333")?;
    fleet.machines[0].run("jail -r www")?;
    let (status, error) = visit.end()?;
    ensure!(matches!(status, Some(137 | 143)), "{status:?} {error}");
    eventually("the jail runs again", CONVERGE, || {
        fleet.jailctl(&["exec", "www", "--", "id"])?.ok()
    })?;

    let visit = Visit::start(&fleet, &sleep)?;
    there(&fleet, "sleep 3333")?;
    let machine = fleet.machine("fbsd-01")?;
    machine.agent.kill();
    let (status, error) = visit.end()?;
    ensure!(status == Some(255), "{status:?} {error}");
    ensure!(
        error.contains("the connection to host `fbsd-01` broke"),
        "{error}"
    );
    gone(&fleet, "sleep 3333")?;
    fleet.machine("fbsd-01")?.agent.start()?;
    eventually("the agent is back", CONVERGE, || {
        fleet.jailctl(&["exec", "www", "--", "id"])?.ok()
    })?;

    let visit = Visit::start(&fleet, &sleep)?;
    there(&fleet, "sleep 3333")?;
    fleet.controller.kill();
    let (status, error) = visit.end()?;
    ensure!(
        status == Some(255) && error.contains("error"),
        "{status:?} {error}"
    );
    gone(&fleet, "sleep 3333")?;
    fleet.start_controller()?;
    eventually("the controller is back", CONVERGE, || {
        fleet.jailctl(&["exec", "www", "--", "id"])?.ok()
    })?;

    // An agent that is told to stop goes in order.
    let visit = Visit::start(&fleet, &sleep)?;
    there(&fleet, "sleep 3333")?;
    let ended = fleet.machine("fbsd-01")?.agent.terminate()?;
    ensure!(ended.success(), "{ended}");
    let (status, error) = visit.end()?;
    ensure!(status == Some(255), "{status:?} {error}");
    gone(&fleet, "sleep 3333")?;
    fleet.assert_no_panic()
}

/// A terminal with `jailctl` on it.
struct Terminal {
    ours: std::fs::File,
    child: Child,
    heard: String,
}

impl Terminal {
    fn start(fleet: &Fleet, arguments: &[&str]) -> anyhow::Result<Self> {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&ours)?;
        unlockpt(&ours)?;
        let name = ptsname(&ours, Vec::new())?.into_string()?;
        tcsetwinsize(&ours, size(24, 80))?;
        let theirs = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(rustix::fs::OFlags::NOCTTY.bits().cast_signed())
            .open(name)?;
        let child = Command::new(fleet.binaries().jailctl())
            .args(["--server", fleet.server()])
            .args(arguments)
            .env_clear()
            .env("HOME", fleet.folder())
            .env("TERM", "xterm")
            .stdin(Stdio::from(theirs.try_clone()?))
            .stdout(Stdio::from(theirs.try_clone()?))
            .stderr(Stdio::from(theirs))
            .spawn()?;
        rustix::io::ioctl_fionbio(&ours, true)?;
        Ok(Self {
            ours: ours.into(),
            child,
            heard: String::new(),
        })
    }

    fn type_in(&mut self, text: &str) -> anyhow::Result<()> {
        Ok(self.ours.write_all(text.as_bytes())?)
    }

    /// Waits until the screen has `expected` behind what was waited for before.
    fn hear(&mut self, expected: &str) -> anyhow::Result<()> {
        let until = Instant::now() + CONVERGE;
        let mut piece = [0; 4096];
        loop {
            if let Some(at) = self.heard.find(expected) {
                self.heard.drain(..at + expected.len());
                return Ok(());
            }
            match self.ours.read(&mut piece) {
                Ok(length) => self
                    .heard
                    .push_str(&String::from_utf8_lossy(&piece[..length])),
                Err(_) if Instant::now() < until => std::thread::sleep(Duration::from_millis(10)),
                Err(error) => bail!(
                    "{expected:?} is not on the screen ({error}): {:?}",
                    self.heard
                ),
            }
        }
    }

    fn is_raw(&self) -> anyhow::Result<bool> {
        let modes = tcgetattr(&self.ours)?.local_modes;
        Ok(!modes.intersects(LocalModes::ICANON | LocalModes::ECHO))
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = Pid::from_raw(self.child.id().cast_signed()).context("a process has an id")?;
        Ok(kill_process(pid, signal)?)
    }

    fn end(&mut self) -> anyhow::Result<Option<i32>> {
        let status = eventually("jailctl ends", CONVERGE, || {
            self.child.try_wait()?.context("it runs")
        })?;
        Ok(status.code())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Both fail only for a process that has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

#[test]
fn a_terminal_has_its_size_its_keys_and_is_given_back() -> anyhow::Result<()> {
    let fleet = fleet(StoreKind::Embedded)?;
    let mut shell = Terminal::start(&fleet, &["exec", "-it", "www", "--", "/bin/sh"])?;
    shell.hear("# ")?;
    ensure!(shell.is_raw()?, "keys are not let through");
    shell.type_in("stty size\r")?;
    shell.hear("24 80\r\n# ")?;
    tcsetwinsize(&shell.ours, size(50, 132))?;
    // A terminal tells those alone whose controlling terminal it is.
    shell.signal(Signal::WINCH)?;
    eventually("the new size is there", CONVERGE, || {
        shell.type_in("stty size\r")?;
        shell.hear("stty size\r\n")?;
        shell.hear("# ")?;
        shell.type_in("stty size\r")?;
        shell.hear("50 132\r\n# ")
    })?;
    // ^C is a key, and ends what runs there, not jailctl.
    shell.type_in("half a line\x03")?;
    shell.hear("^C\r\n# ")?;
    shell.type_in("exit 7\r")?;
    ensure!(shell.end()? == Some(7), "its own exit status");
    ensure!(!shell.is_raw()?, "the terminal is not given back");

    let mut console = Terminal::start(&fleet, &["console", "www"])?;
    console.hear("# ")?;
    console.type_in("hostname\r")?;
    console.hear("www\r\n# ")?;
    console.signal(Signal::TERM)?;
    ensure!(console.end()? == Some(143), "as a shell tells it");
    ensure!(!console.is_raw()?, "the terminal is not given back");
    gone(&fleet, "/usr/bin/login -f root")?;

    let mut cat = Terminal::start(&fleet, &["exec", "-t", "www", "--", "cat"])?;
    eventually("it is on", CONVERGE, || {
        ensure!(cat.is_raw()?, "not yet");
        Ok(())
    })?;
    cat.type_in("\x03")?;
    ensure!(cat.end()? == Some(130), "SIGINT there");

    // A terminal that goes away.
    let mut left = Terminal::start(&fleet, &["exec", "-t", "www", "--", "sleep", "4444"])?;
    there(&fleet, "sleep 4444")?;
    left.signal(Signal::HUP)?;
    ensure!(left.end()? == Some(129), "as a shell tells it");
    gone(&fleet, "sleep 4444")
}

#[test]
fn a_log_is_shown_followed_and_never_by_way_of_a_link() -> anyhow::Result<()> {
    let fleet = Fleet::start(&Options {
        roots: vec!["/jails/www".to_owned(), "/jails/own/var".to_owned()],
        ..Options::small()
    })?;
    fleet.apply(JAIL)?;
    fleet.jailctl(&["wait", "jail/www"])?.ok()?;
    let console = "/var/db/cellblock/jails/www.console";
    let machine = &fleet.machines[0];
    let write = |path: &str, text: &str| -> anyhow::Result<()> {
        machine.ask(&Request::Write {
            path: path.to_owned(),
            content: text.to_owned(),
        })?;
        Ok(())
    };
    write(console, "first\nsecond\nthird\n")?;
    let said = fleet.jailctl(&["logs", "www"])?.ok()?;
    ensure!(said.stdout == "first\nsecond\nthird\n", "{said}");
    let said = fleet.jailctl(&["logs", "www", "--tail", "2"])?.ok()?;
    ensure!(said.stdout == "second\nthird\n", "{said}");

    let mut follow = Visit::start(&fleet, &["logs", "-f", "www", "--tail", "1"])?;
    follow.hear("third\n")?;
    write(console, "first\nsecond\nthird\nfourth\n")?;
    follow.hear("fourth\n")?;
    // It was emptied where it stands, as the agent does; what was before is in the file beside it.
    write(&format!("{console}.0"), "zeroth\n")?;
    write(console, "again\n")?;
    follow.hear("again\n")?;
    follow.signal(Signal::INT)?;
    let (status, error) = follow.end()?;
    ensure!(status == Some(130), "{status:?} {error}");
    let said = fleet.jailctl(&["logs", "www"])?.ok()?;
    ensure!(said.stdout == "zeroth\nagain\n", "{said}");

    // The jail's root has put a link where its log is to be.
    let own = "apiVersion: cellblock.dev/v1alpha1\nkind: Jail\nmetadata: {name: own}\nspec:\n  host: fbsd-01\n  root: {path: /jails/own}\n  parameters: {exec.consolelog: /jails/own/var/log/console}\n";
    machine.run("mkdir -p /etc/log")?;
    write("/etc/log/console", "a secret of the host\n")?;
    machine.run("ln -s /etc/log /jails/own/var/log")?;
    fleet.apply(own)?;
    fleet.jailctl(&["wait", "jail/own"])?.ok()?;
    let said = fleet.jailctl(&["logs", "own"])?.refused()?;
    ensure!(said.stdout.is_empty(), "{said}");
    let said = fleet.jailctl(&["logs", "nosuch"])?.refused()?;
    said.says(&["there is no Jail `nosuch`"])
}
