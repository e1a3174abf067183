//! A result that cannot be written is an error, whatever the command: a truncated file must not look like a whole one.
//!
//! The program itself runs, because its standard output is what is in question; the controller is in this process.

use std::fs::OpenOptions;
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, ensure};
use cellblock_controller::{Config, Controller};

/// An object to show.
const LAN: &str = "apiVersion: cellblock.dev/v1alpha1\nkind: Network\nmetadata: {name: lan}\nspec: {bridge: {}, scope: host, subnets: [{cidr: 10.30.0.0/24}]}\n";

/// What every command is asked with in the tests: all that write a result.
const WORDS: [&[&str]; 13] = [
    &["get", "all", "-o", "json"],
    &["get", "all", "-o", "yaml"],
    &["get", "all", "-o", "jsonpath={.items}"],
    &["get", "networks"],
    &["describe", "network", "lan"],
    &["explain", "jail"],
    &["version"],
    &["completion", "bash"],
    &["host", "residue"],
    &["render", "network", "lan"],
    &["render", "network", "lan", "-o", "yaml"],
    &["--version"],
    &["get", "--help"],
];

fn jailctl(server: &str, words: &[&str], stdout: Stdio) -> anyhow::Result<Output> {
    Command::new(env!("CARGO_BIN_EXE_jailctl"))
        .args(words)
        .env_clear()
        .env("HOME", "/nonexistent")
        .env("JAILCTL_SERVER", server)
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(Stdio::piped())
        .output()
        .context("jailctl could not be run")
}

/// Runs `look` with the URL of a controller that is there.
fn with_controller(look: impl FnOnce(&str) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let config = Config::embedded(folder.path().join("store.redb"));
    let controller = runtime.block_on(Controller::start(config))?;
    runtime.block_on(controller.ready());
    let server = format!("http://{}", controller.address());
    let manifest = folder.path().join("lan.yaml");
    std::fs::write(&manifest, LAN)?;
    let manifest = manifest.display().to_string();
    let applied = jailctl(&server, &["apply", "-f", &manifest], Stdio::null());
    let looked = applied.and_then(|applied| {
        ensure!(applied.status.success(), "{applied:?}");
        look(&server)
    });
    runtime.block_on(controller.stop());
    looked
}

#[test]
fn a_full_disk_is_an_error_that_says_so() -> anyhow::Result<()> {
    with_controller(|server| {
        for words in WORDS {
            // Linux and FreeBSD have this device; every write to it fails as on a full disk.
            let full = OpenOptions::new().write(true).open("/dev/full")?;
            let said = jailctl(server, words, full.into())?;
            let told = String::from_utf8_lossy(&said.stderr);
            ensure!(
                said.status.code() == Some(1),
                "{words:?}: {:?} {told}",
                said.status
            );
            ensure!(
                told.contains("error: the result could not be written to standard output")
                    && told.contains("No space left on device"),
                "{words:?}: {told}"
            );
        }
        Ok(())
    })
}

#[test]
fn a_reader_that_went_away_is_no_error_to_talk_about() -> anyhow::Result<()> {
    with_controller(|server| {
        for words in WORDS {
            let (reader, writer) = std::io::pipe()?;
            drop(reader);
            let said = jailctl(server, words, writer.into())?;
            let told = String::from_utf8_lossy(&said.stderr);
            ensure!(
                said.status.code() == Some(141) && told.is_empty(),
                "{words:?}: {:?} {told}",
                said.status
            );
        }
        Ok(())
    })
}
