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

/// What the sandbox says of `examples/`, with one blank between words, and without the names that follow from uids, which are new each time.
const EXAMPLES: [&str; 28] = [
    "On fbsd-01, who reaches whom (tcp port 80):",
    "FROM TO IPV4 IPV6",
    "bsd-test01 www no: no address no: no address",
    "bsd-test01 www-lan no: no address no: no address",
    "www bsd-test01 - -",
    "www www-lan no: no route no: no route",
    "www-lan bsd-test01 - -",
    "www-lan www no: no route no: no route",
    "On fbsd-02, who reaches whom (tcp port 80):",
    "FROM TO IPV4 IPV6",
    "dick harry yes: (loopback) yes: lo0",
    "dick tom yes: (loopback) yes: lo0",
    "harry dick yes: (loopback) yes: lo0",
    "harry tom yes: (loopback) yes: lo0",
    "tom dick yes: (loopback) yes: lo0",
    "tom harry yes: (loopback) yes: lo0",
    "=> reached jail dick 192.0.2.4:21, which sees 10.0.2.2",
    "=> reached jail dick 192.0.2.4:80, which sees 10.0.2.2",
    "=> reached jail dick 192.0.2.4:443, which sees 10.0.2.2",
    "=> reached jail harry 192.0.2.5:80, which sees 10.0.2.2",
    "=> reached jail tom 192.0.2.3:3306, which sees 10.0.2.2",
    "On fbsd-03, who reaches whom (tcp port 80):",
    "FROM TO IPV4 IPV6",
    "bsd-test01-em0 www-switch yes: switch (bridge) yes: switch (bridge)",
    "www-switch bsd-test01-em0 yes: switch (bridge) yes: switch (bridge)",
    "=> reached jail www-switch 172.16.1.2:80, which sees 10.0.2.2",
    "=> reached jail www-switch 172.16.1.2:8443, which sees 10.0.2.2",
    "=> reached jail www-switch 172.16.1.2:9000, which sees 10.0.2.2",
];

/// The published ports of `examples/`, in the order of the traces.
const PUBLISHED: [(u16, &str, &str); 8] = [
    (21, "fbsd-02", "dick"),
    (80, "fbsd-02", "dick"),
    (443, "fbsd-02", "dick"),
    (81, "fbsd-02", "harry"),
    (3306, "fbsd-02", "tom"),
    (8080, "fbsd-03", "www-switch"),
    (8443, "fbsd-03", "www-switch"),
    (9000, "fbsd-03", "www-switch"),
];

/// A word without the part of a kernel name that follows from a uid.
fn masked(word: &str) -> &str {
    match word {
        _ if !word.starts_with("cb") => word,
        _ if word.ends_with("lo") => "(loopback)",
        _ if word.ends_with("br") => "(bridge)",
        _ => word,
    }
}

#[test]
fn the_sandbox_ends_well_when_examples_are_ready_and_tells_who_reaches_whom() -> anyhow::Result<()>
{
    let said = sandbox(&[])?.ok()?;
    let (_, traces) = said
        .stdout
        .split_once("\nOn fbsd-01")
        .with_context(|| format!("no traces: {said}"))?;
    // What is told of pairs on different hosts has a test of its own.
    let (traces, _) = traces.split_once("\nBetween hosts").unwrap_or((traces, ""));
    let traces = format!("On fbsd-01{traces}");
    let lines = traces
        .lines()
        .map(|line| line.split_whitespace().map(masked).collect::<Vec<_>>());
    let lines: Vec<String> = lines.map(|words| words.join(" ")).collect();
    let (published, lines): (Vec<_>, Vec<_>) = lines
        .into_iter()
        .filter(|line| !line.is_empty() && !line.starts_with("->"))
        .partition(|line| line.starts_with("From outside"));
    ensure!(lines == EXAMPLES, "{lines:#?}\n{said}");
    let expected = PUBLISHED.map(|(port, host, jail)| {
        format!("From outside to 10.0.2.15 tcp port {port} ({host}, published by {jail}):")
    });
    ensure!(published == expected, "{published:#?}\n{said}");
    Ok(())
}

#[test]
fn the_sandbox_ends_badly_when_a_published_port_leads_nowhere() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("nowhere.yaml");
    // What is translated to another stack has to be forwarded, and the Host says that nothing is.
    std::fs::write(
        &path,
        "apiVersion: cellblock.dev/v1alpha1\nkind: Host\nmetadata: {name: fbsd-01}\nspec: {sysctls: {net.inet.ip.forwarding: 0}, uplinks: {external: {interface: vtnet0, publicAddresses: {main: 10.0.2.15}}}}\n---\napiVersion: cellblock.dev/v1alpha1\nkind: Network\nmetadata: {name: inside}\nspec: {bridge: {}, subnets: [{cidr: 172.16.1.0/24, gateway: {address: 172.16.1.1}}]}\n---\napiVersion: cellblock.dev/v1alpha1\nkind: Jail\nmetadata: {name: web}\nspec: {host: fbsd-01, root: {path: /jails/web}, networks: [{network: inside}], publish: [{name: web, ports: [80], uplink: external}]}\n",
    )?;
    let said = sandbox(&["--timeout", "5s", &path.display().to_string()])?.refused()?;
    said.says(&["jail/web", "forwarding"])?;
    ensure!(
        said.stdout
            .contains("=> lost: host has no address 172.16.1.2 and does not forward"),
        "{said}"
    );
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
    std::fs::write(&path, BLOCKED)?;
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

/// A jail that shall not run, and one that cannot.
const STOPPED: &str = "apiVersion: cellblock.dev/v1alpha1\nkind: Jail\nmetadata: {name: idle}\nspec: {root: {path: /jails/idle}, runPolicy: Stopped}\n";
const BLOCKED: &str = "apiVersion: cellblock.dev/v1alpha1\nkind: Jail\nmetadata: {name: web}\nspec: {root: {path: /jails/web}, parameters: {mount.devfs: true, devfs_ruleset: 99}}\n";

#[test]
fn a_jail_that_shall_not_run_is_not_waited_for() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("idle.yaml");
    std::fs::write(&path, STOPPED)?;
    sandbox(&["--timeout", "30s", &path.display().to_string()])?.ok()?;
    Ok(())
}

#[test]
fn a_sandbox_stays_up_with_what_is_not_ready() -> anyhow::Result<()> {
    let home = tempfile::tempdir()?;
    let path = home.path().join("blocked.yaml");
    std::fs::write(&path, BLOCKED)?;
    let path = path.display().to_string();
    let arguments = ["sandbox", "--timeout", "2s", &path];
    let program = Binaries::find()?.jailctl();
    let sandbox = Running::start(&program, home.path(), &arguments, Vec::new())?;
    eventually("the sandbox has a context", CONVERGE, || {
        let told = sandbox.told();
        ensure!(
            told.contains("--context sandbox get all"),
            "not yet: {told}"
        );
        ensure!(told.contains("DevfsRulesetMissing"), "{told}");
        Ok(())
    })?;
    let arguments = ["--context", "sandbox", "get", "jail/web", "-o", "name"];
    let said = Running::start(&program, home.path(), &arguments, Vec::new())?.end()?;
    ensure!(said.ok()?.stdout == "jail/web\n");
    sandbox.signal(Signal::TERM)?;
    sandbox.end()?.ok()?;
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
