//! `jailctl sandbox` as a script uses it.
//!
//! `CELLBLOCK_SANDBOX_JAILS` says how many jails the large one has (`cargo xtask bench`: 300).

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use cellblock_e2e::{Binaries, CONVERGE, Running, Said, eventually, note};
use rustix::process::Signal;

fn sandbox(arguments: &[&str]) -> anyhow::Result<Said> {
    let home = tempfile::tempdir()?;
    let arguments = [&["sandbox", "--exit-when-ready"], arguments].concat();
    Running::start(
        &Binaries::find()?.jailctl(),
        home.path(),
        &arguments,
        Vec::new(),
    )?
    .end()
}

#[test]
fn the_sandbox_ends_well_when_examples_are_ready() -> anyhow::Result<()> {
    let said = sandbox(&[])?.ok()?;
    for text in ["tom", "dick", "harry", "www-switch", "fbsd-03"] {
        ensure!(said.stdout.contains(text), "`{text}` is missing: {said}");
    }
    Ok(())
}

#[test]
fn two_jails_of_one_network_on_two_hosts_are_told_with_the_way_between() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("lan.yaml");
    let uplinks = "spec: {uplinks: {lan: {interface: vtnet1}}}";
    let mut manifest = "apiVersion: cellblock.dev/v1alpha1\nkind: Network\nmetadata: {name: lan}\nspec: {bridge: {uplink: lan}, scope: fleet, subnets: [{cidr: 10.30.0.0/24}]}\n".to_owned();
    for (host, jail) in [("fbsd-01", "tom"), ("fbsd-02", "dick")] {
        manifest.push_str(&format!(
            "---\napiVersion: cellblock.dev/v1alpha1\nkind: Host\nmetadata: {{name: {host}}}\n{uplinks}\n---\napiVersion: cellblock.dev/v1alpha1\nkind: Jail\nmetadata: {{name: {jail}}}\nspec: {{host: {host}, root: {{path: /jails/{jail}}}, networks: [{{network: lan, interface: lan0}}]}}\n"
        ));
    }
    std::fs::write(&path, manifest)?;
    let said = sandbox(&["--hosts", "2", &path.display().to_string()])?.ok()?;
    for (from, to) in [
        ("tom on fbsd-01", "dick on fbsd-02"),
        ("dick on fbsd-02", "tom on fbsd-01"),
    ] {
        let expected =
            format!("  {from} to {to}: IPv4 yes, if what is between leads there: out by switch cb");
        let told = said.stdout.lines().find(|line| line.starts_with(&expected));
        let told = told.with_context(|| format!("`{expected}` is missing: {said}"))?;
        ensure!(
            told.contains("wire vtnet1; in by wire vtnet1, switch cb"),
            "{told}"
        );
    }
    Ok(())
}

#[test]
fn the_sandbox_ends_badly_with_the_reasons_when_something_does_not_become_ready()
-> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("blocked.yaml");
    std::fs::write(
        &path,
        "apiVersion: cellblock.dev/v1alpha1\nkind: Jail\nmetadata: {name: web}\nspec: {root: {path: /jails/web}, parameters: {mount.devfs: true, devfs_ruleset: 99}}\n",
    )?;
    let said = sandbox(&["--timeout", "3s", &path.display().to_string()])?.refused()?;
    said.says(&[
        "jail/web",
        "DevfsRulesetMissing",
        "1 of 1 not there after 3 s",
    ])
}

#[test]
fn the_sandbox_refuses_a_bad_manifest_before_it_starts_anything() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("bad.yaml");
    std::fs::write(&path, "apiVersion: cellblock.dev/v1alpha1\nkind: Jial\n")?;
    let said = sandbox(&[&path.display().to_string()])?.refused()?;
    said.says(&["bad.yaml:2:1", "did you mean `Jail`?"])
}

#[test]
fn a_sandbox_outside_of_a_checkout_asks_for_a_manifest() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let said = Command::new(Binaries::find()?.jailctl())
        .arg("sandbox")
        .current_dir(folder.path())
        .output()?;
    let told = String::from_utf8_lossy(&said.stderr);
    ensure!(said.status.code() == Some(2), "{told}");
    ensure!(
        told.contains("name manifests, as in `jailctl sandbox FILE`"),
        "{told}"
    );
    Ok(())
}

/// Starts a sandbox that stays up, and waits until it has the context.
fn staying(home: &Path, context: &str) -> anyhow::Result<Running> {
    let program = Binaries::find()?.jailctl();
    let sandbox = Running::start(&program, home, &["sandbox"], Vec::new())?;
    eventually("the sandbox has a context", CONVERGE, || {
        let told = sandbox.told();
        let expected = format!("try `jailctl --context {context} get all`");
        ensure!(told.contains(&expected), "not yet: {told}");
        Ok(())
    })?;
    Ok(sandbox)
}

fn reached(home: &Path, context: &str) -> anyhow::Result<()> {
    let arguments = ["--context", context, "get", "jail/tom", "-o", "name"];
    let said = Running::start(&Binaries::find()?.jailctl(), home, &arguments, Vec::new())?.end()?;
    ensure!(said.ok()?.stdout == "jail/tom\n");
    Ok(())
}

#[test]
fn a_sandbox_that_stays_up_takes_its_context_away_however_it_is_ended() -> anyhow::Result<()> {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let home = tempfile::tempdir()?;
        let sandbox = staying(home.path(), "sandbox")?;
        reached(home.path(), "sandbox")?;
        sandbox.signal(signal)?;
        sandbox.end()?.ok()?;
        let left: Vec<_> = std::fs::read_dir(home.path())?.collect();
        ensure!(left.is_empty(), "{signal:?} leaves {left:?}");
    }
    Ok(())
}

#[test]
fn sandboxes_beside_each_other_keep_their_contexts_and_the_operators_file() -> anyhow::Result<()> {
    let home = tempfile::tempdir()?;
    let folder = home.path().join(".config/cellblock");
    std::fs::create_dir_all(&folder)?;
    let config = folder.join("jailctl.toml");
    let text = "# mine\n[contexts.far]  # away\nserver = \"https://far.example:7443\"\n";
    std::fs::write(&config, text)?;
    std::fs::set_permissions(&config, Permissions::from_mode(0o600))?;
    let first = staying(home.path(), "sandbox")?;
    let second = staying(home.path(), "sandbox-2")?;
    ensure!(
        second
            .told()
            .contains("this one has the context `sandbox-2`")
    );
    reached(home.path(), "sandbox-2")?;
    second.signal(Signal::TERM)?;
    second.end()?.ok()?;
    reached(home.path(), "sandbox")?;
    first.signal(Signal::TERM)?;
    first.end()?.ok()?;
    ensure!(std::fs::read_to_string(&config)? == text);
    let mode = std::fs::metadata(&config)?.permissions().mode();
    ensure!(mode & 0o777 == 0o600, "{mode:o}");
    let left = std::fs::read_dir(&folder)?.count();
    ensure!(left == 1, "{left} entries, and one was there before");
    Ok(())
}

#[test]
fn a_sandbox_that_is_ended_early_says_so() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("never.yaml");
    std::fs::write(
        &path,
        "apiVersion: cellblock.dev/v1alpha1\nkind: Jail\nmetadata: {name: web}\nspec: {root: {path: /jails/web}, parameters: {mount.devfs: true, devfs_ruleset: 99}}\n",
    )?;
    let path = path.display().to_string();
    let arguments = ["sandbox", "--timeout", "10m", &path];
    let sandbox = Running::start(
        &Binaries::find()?.jailctl(),
        folder.path(),
        &arguments,
        Vec::new(),
    )?;
    eventually("the jail was applied", CONVERGE, || {
        ensure!(sandbox.told().contains("jail/web created"), "not yet");
        Ok(())
    })?;
    sandbox.signal(Signal::TERM)?;
    let said = sandbox.end()?.refused()?;
    ensure!(said.took < Duration::from_secs(60), "{said}");
    said.says(&["ended by a signal before everything was ready"])
}

/// Jails of the large sandbox where nobody says how many.
const JAILS: usize = 30;

/// CPU time for 300 jails from the start until all are ready, in release: with two cores to itself it takes half of that on the wall. The wall is printed and judged by nobody, because machines are shared.
const CPU_MAX: Duration = Duration::from_secs(10);

#[test]
fn a_large_sandbox_spreads_its_jails_and_is_ready_in_time() -> anyhow::Result<()> {
    let jails: usize = match std::env::var("CELLBLOCK_SANDBOX_JAILS") {
        Ok(text) => text
            .parse()
            .context("CELLBLOCK_SANDBOX_JAILS is a number")?,
        Err(_) => JAILS,
    };
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("many.yaml");
    let mut manifest = "apiVersion: cellblock.dev/v1alpha1\nkind: Network\nmetadata: {name: lan}\nspec: {bridge: {}, scope: host, subnets: [{cidr: 10.30.0.0/20}]}\n".to_owned();
    for number in 0..jails {
        manifest.push_str(&format!(
            "---\napiVersion: cellblock.dev/v1alpha1\nkind: Jail\nmetadata: {{name: j{number:04}}}\nspec: {{root: {{path: /jails/j{number:04}}}, networks: [{{network: lan, interface: lan0}}]}}\n"
        ));
    }
    std::fs::write(&path, manifest)?;
    let before = cpu_of_children()?;
    let said = sandbox(&["--timeout", "5m", &path.display().to_string()])?.ok()?;
    let cpu = cpu_of_children()?.saturating_sub(before);
    let ready = said
        .stderr
        .lines()
        .find(|line| line.contains("were applied and ready after"))
        .with_context(|| format!("how long it took is not said: {said}"))?;
    let release = Binaries::find()?.is_release();
    note(&format!(
        "{ready}; {} ms on the wall and {} ms of CPU with start, traces and end (release: {release})",
        said.took.as_millis(),
        cpu.as_millis()
    ));
    for host in ["fbsd-01", "fbsd-02", "fbsd-03"] {
        let on_host = format!("{}/{}", jails / 3, jails / 3);
        let row = said
            .stdout
            .lines()
            .find(|line| line.starts_with(host) && line.contains(&on_host));
        ensure!(
            row.is_some() || !jails.is_multiple_of(3),
            "{host}: {}",
            said.stdout
        );
    }
    ensure!(!release || cpu <= CPU_MAX, "{cpu:?} of CPU time");
    Ok(())
}

/// The CPU time of all children that have ended: fields 16 and 17 of /proc/self/stat, in hundredths of a second (proc(5)).
fn cpu_of_children() -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The second field, the program's name, is in parentheses and may hold blanks; counting starts behind it.
    let (_, fields) = stat.rsplit_once(')').context("it has a name")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |index: usize| -> anyhow::Result<u64> {
        let field = fields.get(index).context("it has fields 16 and 17")?;
        Ok(field.parse()?)
    };
    Ok(Duration::from_millis((ticks(13)? + ticks(14)?) * 10))
}
