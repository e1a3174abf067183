//! Field managers as an operator meets them: applying again, speaking of one object together, and conflicts that are understood.

use anyhow::ensure;
use cellblock_e2e::{CONVERGE, Fleet, eventually};
use cellblock_schemas::Kind;

const HOST: &str = "apiVersion: cellblock.dev/v1alpha1\nkind: Host\nmetadata:\n  name: fbsd-01\n  labels: {zone: a}\nspec:\n  uplinks:\n    external: {interface: vtnet0, publicAddresses: {main: 10.0.2.15}}\n";

const JAIL: &str = "apiVersion: cellblock.dev/v1alpha1\nkind: Jail\nmetadata:\n  name: www\n  labels: {role: web}\nspec:\n  host: fbsd-01\n  root: {path: /jails/www}\n";

/// `spec.paused` of the host; absent is false.
fn paused(fleet: &Fleet) -> anyhow::Result<bool> {
    Ok(fleet.get(Kind::Host, "fbsd-01")?["spec"]["paused"] == true)
}

#[test]
fn applying_the_examples_again_writes_nothing() -> anyhow::Result<()> {
    let fleet = Fleet::controller_alone()?;
    fleet.jailctl(&["apply", "-f", "examples"])?.ok()?;
    // The controller places jails and notes who is not heard at its own time, so the first look may see it at that.
    eventually("nothing more is written", CONVERGE, || {
        let before = fleet.revision()?;
        let said = fleet.jailctl(&["apply", "-f", "examples"])?.ok()?;
        said.says(&["host/fbsd-01 unchanged", "jail/www-switch unchanged"])?;
        ensure!(
            !said.stderr.contains(" configured") && !said.stderr.contains(" created"),
            "{said}"
        );
        ensure!(fleet.revision()? == before, "something was written");
        Ok(())
    })
}

#[test]
fn a_conflict_is_told_with_its_place_and_taken_over_by_force() -> anyhow::Result<()> {
    let fleet = Fleet::controller_alone()?;
    fleet.apply(&format!("{HOST}---\n{JAIL}"))?;
    let other = JAIL.replace("role: web", "role: proxy");
    let apply = |manifest: &str, arguments: &[&str]| {
        let arguments = [&["apply", "-f", "-", "--field-manager", "other"], arguments].concat();
        fleet.jailctl_with(&arguments, manifest)
    };
    let before = fleet.inventory()?;
    let said = apply(&other, &[])?.refused()?;
    said.says(&[
        "metadata.labels.role: is managed by \"jailctl\", who wants something else (.metadata.labels.role)",
        ":5:",
        "labels: {role: proxy}",
        "leave it to them, state the same value to share it, or take it over with --force-conflicts",
        "nothing was applied",
    ])?;
    ensure!(said.errors().count() == 2, "one conflict, one end: {said}");
    ensure!(fleet.inventory()? == before, "a refusal wrote something");
    apply(&other, &["--force-conflicts"])?.ok()?;
    let role = fleet.get(Kind::Jail, "www")?["metadata"]["labels"]["role"].take();
    ensure!(role == "proxy", "{role}");
    // Whose it is now is said to whom it was.
    fleet
        .jailctl_with(&["apply", "-f", "-"], JAIL)?
        .refused()?
        .says(&["is managed by \"other\""])?;
    // Who states what is there shares it.
    fleet.apply(&other)?.says(&["jail/www configured"])
}

#[test]
fn a_pause_outlives_an_application_that_does_not_speak_of_it() -> anyhow::Result<()> {
    let fleet = Fleet::controller_alone()?;
    fleet.apply(HOST)?;
    fleet.jailctl(&["host", "pause", "fbsd-01"])?.ok()?;
    fleet.apply(HOST)?.says(&["host/fbsd-01 unchanged"])?;
    ensure!(paused(&fleet)?, "applying the same took the pause back");
    fleet.apply(&HOST.replace("zone: a", "zone: b"))?;
    ensure!(paused(&fleet)?, "applying a label took the pause back");
    let running = format!("{HOST}  paused: false\n");
    fleet
        .jailctl_with(&["apply", "-f", "-"], &running)?
        .refused()?
        .says(&["spec.paused: is managed by \"jailctl-host\" using cellblock.dev/v1alpha1"])?;
    ensure!(paused(&fleet)?, "a refusal took the pause back");
    let force = ["apply", "-f", "-", "--force-conflicts"];
    fleet.jailctl_with(&force, &running)?.ok()?;
    ensure!(!paused(&fleet)?, "it was taken over");
    Ok(())
}
