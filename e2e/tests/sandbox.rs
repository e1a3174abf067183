//! `jailctl sandbox` as a script uses it.

use anyhow::ensure;
use cellblock_e2e::{Binaries, Running, Said};

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
