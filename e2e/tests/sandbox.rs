//! `jailctl sandbox` as a script uses it.

use std::time::Duration;

use anyhow::ensure;
use cellblock_e2e::{Binaries, CONVERGE, Running, Said, eventually};
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
fn a_sandbox_that_stays_up_takes_its_context_away_however_it_is_ended() -> anyhow::Result<()> {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let home = tempfile::tempdir()?;
        let config = home.path().join(".config/cellblock/jailctl.toml");
        let program = Binaries::find()?.jailctl();
        let sandbox = Running::start(&program, home.path(), &["sandbox"], Vec::new())?;
        eventually("the sandbox has a context", CONVERGE, || {
            ensure!(
                std::fs::read_to_string(&config)?.contains("[contexts.sandbox]"),
                "not yet: {}",
                sandbox.told()
            );
            Ok(())
        })?;
        let arguments = ["--context", "sandbox", "get", "jail/tom", "-o", "name"];
        let said = Running::start(&program, home.path(), &arguments, Vec::new())?.end()?;
        ensure!(said.ok()?.stdout == "jail/tom\n");
        sandbox.signal(signal)?;
        sandbox.end()?.ok()?;
        let text = std::fs::read_to_string(&config)?;
        ensure!(!text.contains("sandbox"), "{signal:?} leaves it: {text}");
    }
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
