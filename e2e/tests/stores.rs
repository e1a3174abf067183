//! Stores that are away, locked or damaged: one clear message, no panic, and everything goes on when they are back.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use cellblock_e2e::{CONVERGE, Fleet, Options, Process, StoreKind, eventually};

const MANIFEST: &str = "apiVersion: cellblock.dev/v1alpha1\nkind: Network\nmetadata: {name: lan}\nspec: {bridge: {}}\n";

/// How long a program that cannot start may take to say so.
const START: Duration = Duration::from_secs(20);

#[test]
fn etcd_down_at_start_and_later_is_said_and_survived() -> anyhow::Result<()> {
    let mut fleet = Fleet::prepare(&Options {
        store: StoreKind::Etcd,
        machines: Vec::new(),
        roots: Vec::new(),
    })?;
    let etcd = fleet.etcd.as_mut().context("there is one")?;
    let url = etcd.client_url().to_owned();
    etcd.kill();
    fleet.controller.start()?;
    down(&fleet, &url)?;
    fleet.restart_etcd()?;
    fleet.start_controller()?;
    fleet.apply(MANIFEST)?;
    let before = fleet.inventory()?;
    // Later.
    fleet.etcd.as_mut().context("there is one")?.kill();
    down(&fleet, &url)?;
    ensure!(fleet.controller.is_running(), "it waits for its store");
    fleet.restart_etcd()?;
    eventually("everything is as it was", CONVERGE, || {
        ensure!(fleet.inventory()? == before, "something is different");
        fleet
            .jailctl_with(&["apply", "-f", "-"], MANIFEST)?
            .ok()?
            .says(&["network/lan unchanged"])
    })?;
    fleet.assert_no_panic()
}

/// A write is refused with the store named.
fn down(fleet: &Fleet, url: &str) -> anyhow::Result<()> {
    let other = MANIFEST.replace("lan", "other");
    eventually("the store is said to be away", CONVERGE, || {
        let said = fleet
            .jailctl_with(&["apply", "-f", "-"], &other)?
            .refused()?;
        ensure!(said.errors().count() == 1, "one message: {said}");
        said.says(&[&format!("etcd at {url} does not answer")])
    })
}

#[test]
fn a_file_that_another_controller_holds_is_refused() -> anyhow::Result<()> {
    let fleet = Fleet::controller_alone()?;
    let file = fleet.folder().join("store.redb").display().to_string();
    let mut second = controller(&fleet, &file);
    second.start()?;
    let status = second.ended(START)?;
    ensure!(status.code() == Some(1), "{status}");
    ensure!(
        second.log().contains(&file) && second.log().contains("is in use by process"),
        "{}",
        second.log()
    );
    second.assert_no_panic()?;
    fleet.apply(MANIFEST)?;
    Ok(())
}

#[test]
fn a_damaged_file_is_refused_and_left_as_it_is() -> anyhow::Result<()> {
    let fleet = Fleet::prepare(&Options {
        machines: Vec::new(),
        ..Options::small()
    })?;
    let path = fleet.folder().join("damaged.redb");
    let content = b"this was a store once ".repeat(4096);
    std::fs::write(&path, &content)?;
    let file = path.display().to_string();
    let mut controller = controller(&fleet, &file);
    controller.start()?;
    let status = controller.ended(START)?;
    ensure!(status.code() == Some(1), "{status}");
    ensure!(
        controller.log().contains(&file) && controller.log().contains("damaged"),
        "{}",
        controller.log()
    );
    controller.assert_no_panic()?;
    ensure!(std::fs::read(&path)? == content, "the file was changed");
    Ok(())
}

fn controller(fleet: &Fleet, file: &str) -> Process {
    Process::new(
        "another cellblockd",
        &fleet.binaries().cellblockd(),
        [
            "--listen",
            "127.0.0.1:0",
            "--store",
            &format!("embedded:{file}"),
        ],
        fleet.folder().join("another.log"),
    )
}
