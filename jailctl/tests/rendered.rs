//! `jailctl render` as a program: exit statuses, mistakes, and a controller whose hosts nobody has heard of.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, ensure};
use cellblock_controller::{Config, Controller};

/// A host, and two jails: one that runs there, and one that waits for a host.
const FINE: &str = "apiVersion: cellblock.dev/v1alpha1
kind: Host
metadata: {name: fbsd-01}
spec: {uplinks: {external: {interface: vtnet0, publicAddresses: {main: 10.0.2.15}}}}
---
apiVersion: cellblock.dev/v1alpha1
kind: Network
metadata: {name: inside}
spec:
  sharedIP: {loopback: {}}
  subnets: [{cidr: 192.0.2.0/28}]
  egress: {nat: {uplink: external, address: main}}
---
apiVersion: cellblock.dev/v1alpha1
kind: Jail
metadata: {name: tom}
spec: {host: fbsd-01, root: {path: /jails/tom}, networks: [{network: inside, addresses: [192.0.2.3]}]}
---
apiVersion: cellblock.dev/v1alpha1
kind: Jail
metadata: {name: lost}
spec: {host: fbsd-09, root: {path: /jails/lost}}
";

/// The same with a mistake of form in one object and two in another.
const MALFORMED: &str = "apiVersion: cellblock.dev/v1alpha1
kind: Host
metadata: {name: fbsd-01}
spec: {uplinks: {external: {interfase: vtnet0}}}
---
apiVersion: cellblock.dev/v1alpha1
kind: Jail
metadata: {name: tom}
spec: {host: fbsd-01, root: {path: jails/tom}, networks: [{network: inside, addresses: [192.0.2.333]}]}
";

/// Nothing wrong with its form, and refused twice.
const REFUSED: &str = "---
apiVersion: cellblock.dev/v1alpha1
kind: Jail
metadata: {name: dick}
spec: {host: fbsd-01, root: {path: /jails/dick}, networks: [{network: inside, addresses: [192.0.2.3]}]}
---
apiVersion: cellblock.dev/v1alpha1
kind: Jail
metadata: {name: harry}
spec: {host: fbsd-01, root: {path: /jails/tom}}
";

fn jailctl(words: &[&str]) -> anyhow::Result<Output> {
    Command::new(env!("CARGO_BIN_EXE_jailctl"))
        .args(words)
        .env_clear()
        .env("HOME", "/nonexistent")
        .stdin(Stdio::null())
        .output()
        .context("jailctl could not be run")
}

fn said(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// Runs it, with that exit status and all of these in what it says: to standard output, and to standard error.
fn says(words: &[&str], status: i32, out: &[&str], err: &[&str]) -> anyhow::Result<String> {
    let output = jailctl(words)?;
    let (stdout, stderr) = said(&output);
    ensure!(
        output.status.code() == Some(status),
        "{words:?}: {:?}\n{stdout}\n{stderr}",
        output.status
    );
    for part in out {
        ensure!(stdout.contains(part), "{words:?}: `{part}` in {stdout}");
    }
    for part in err {
        ensure!(stderr.contains(part), "{words:?}: `{part}` in {stderr}");
    }
    Ok(stdout)
}

fn written(folder: &Path, name: &str, text: &str) -> anyhow::Result<String> {
    let path = folder.join(name);
    std::fs::write(&path, text)?;
    Ok(path.display().to_string())
}

#[test]
fn manifests_are_rendered_without_a_controller_and_their_mistakes_told_at_once()
-> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let fine = written(folder.path(), "fine.yaml", FINE)?;
    // Of all of it one jail has no host.
    let all = says(
        &["render", "-f", &fine],
        1,
        &["jail/lost: blocked (HostMissing)", "jail -f"],
        &[],
    )?;
    let host = says(
        &["render", "-f", &fine, "host/fbsd-01"],
        0,
        &["jail -f"],
        &[],
    )?;
    ensure!(all.starts_with(&host), "{all}");
    says(
        &["render", "-f", &fine, "jail/tom", "-o", "yaml"],
        0,
        &["hosts:", "objects:\n    - jail/tom"],
        &[],
    )?;
    says(
        &["render", "-f", &fine, "jail", "tom", "no", "neither"],
        1,
        &["# ==== jail tom"],
        &["there is no Jail `no`", "there is no Jail `neither`"],
    )?;
    let malformed = written(folder.path(), "malformed.yaml", MALFORMED)?;
    let nothing = says(
        &["render", "-f", &malformed],
        1,
        &[],
        &[
            "interfase",
            "malformed.yaml:4:",
            "192.0.2.333",
            "spec.root.path",
            "malformed.yaml:9:",
            "3 errors in the manifests; nothing was rendered",
        ],
    )?;
    ensure!(nothing.is_empty(), "{nothing}");
    let refused = written(folder.path(), "refused.yaml", &format!("{FINE}{REFUSED}"))?;
    let nothing = says(
        &["render", "-f", &refused],
        1,
        &[],
        &[
            "address 192.0.2.3 of network inside is taken by jail tom",
            "refused.yaml:27:",
            "root /jails/tom is taken by jail tom",
            "refused.yaml:32:",
            "a controller would refuse 2 of 6 objects; nothing was rendered",
        ],
    )?;
    ensure!(nothing.is_empty(), "{nothing}");
    Ok(())
}

#[test]
fn a_mistake_in_the_command_line_is_one() -> anyhow::Result<()> {
    says(&["render"], 2, &[], &["Usage: jailctl render"])?;
    says(
        &["render", "jial/tom"],
        2,
        &[],
        &["there is no kind `jial`"],
    )?;
    says(
        &["render", "jail/tom", "-o", "table"],
        2,
        &[],
        &["invalid value 'table'"],
    )?;
    let absent = ["render", "-f", "/nonexistent/a.yaml"];
    says(&absent, 1, &[], &["/nonexistent/a.yaml could not be read"])?;
    let server = "http://127.0.0.1:9";
    says(
        &["--server", server, "render", "jail/tom"],
        1,
        &[],
        &[server],
    )?;
    Ok(())
}

#[test]
fn what_a_controller_has_is_rendered_though_no_agent_has_come() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let fine = written(folder.path(), "fine.yaml", FINE)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let config = Config::embedded(folder.path().join("store.redb"));
    let controller = runtime.block_on(Controller::start(config))?;
    runtime.block_on(controller.ready());
    let server = format!("http://{}", controller.address());
    let with = |words: &[&str], status, out: &[&str], err: &[&str]| {
        let words = [&["--server", server.as_str()], words].concat();
        says(&words, status, out, err)
    };
    let looked = (|| -> anyhow::Result<()> {
        with(&["apply", "-f", &fine], 0, &[], &["jail/tom created"])?;
        let host = with(
            &["render", "host/fbsd-01"],
            0,
            &[
                "# No agent has told of this machine",
                "vtnet0 (10.0.2.15/24)",
                "nat pass on vtnet0 inet from 192.0.2.0/28",
                "ip4.addr = \"192.0.2.3\"",
            ],
            &[],
        )?;
        ensure!(!host.contains("No controller was asked"), "{host}");
        ensure!(host == with(&["render", "hosts"], 0, &[], &[])?);
        with(&["render", "network/inside"], 0, &["nat pass"], &[])?;
        with(
            &["render", "jail/lost"],
            1,
            &["# jail/lost: blocked (HostMissing): ", "fbsd-09"],
            &[],
        )?;
        with(
            &["render", "host/fbsd-09"],
            1,
            &[],
            &["there is no Host `fbsd-09`"],
        )?;
        with(
            &["render", "jail/lost", "-o", "json"],
            1,
            &["\"reason\": \"HostMissing\""],
            &[],
        )?;
        Ok(())
    })();
    runtime.block_on(controller.stop());
    looked
}
