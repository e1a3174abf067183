//! What an operator types: the forms of naming objects, comparing before applying, waiting, and watching while a controller is restarted.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use cellblock_e2e::{CONVERGE, Fleet, Options, Said, eventually};
use rustix::process::{Pid, Signal, kill_process};

const JAIL: &str = "apiVersion: cellblock.dev/v1alpha1\nkind: Jail\nmetadata: {name: www}\nspec:\n  host: fbsd-01\n  root: {path: /jails/www}\n";

fn fleet() -> anyhow::Result<Fleet> {
    let fleet = Fleet::start(&Options {
        machines: vec!["fbsd-01"],
        roots: ["www", "blog", "new"]
            .map(|name| format!("/jails/{name}"))
            .to_vec(),
        ..Options::small()
    })?;
    fleet.apply(JAIL)?;
    fleet.jailctl(&["wait", "jail/www"])?.ok()?;
    Ok(fleet)
}

#[test]
fn the_form_that_o_name_prints_is_taken_everywhere() -> anyhow::Result<()> {
    let fleet = fleet()?;
    let names = fleet.jailctl(&["get", "jails", "-o", "name"])?.ok()?;
    ensure!(names.stdout == "jail/www\n", "{names}");
    let several = ["get", "jail/www", "host/fbsd-01", "-o", "name"];
    let said = fleet.jailctl(&several)?.ok()?;
    ensure!(said.stdout == "jail/www\nhost/fbsd-01\n", "{said}");
    let said = fleet.jailctl(&["describe", "jail/www"])?.ok()?;
    ensure!(said.stdout.contains("Name:           www"), "{said}");
    fleet.jailctl(&["host", "pause", "host/fbsd-01"])?.ok()?;
    fleet.jailctl(&["host", "resume", "fbsd-01"])?.ok()?;
    fleet.jailctl(&["delete", "jail/www"])?.ok()?;
    fleet
        .jailctl(&["get", "jail/www"])?
        .refused()?
        .says(&["there is no Jail `www`"])?;
    let slip = fleet.jailctl(&["get", "jial/www"])?;
    ensure!(
        slip.status == Some(2),
        "a mistake in the command line: {slip}"
    );
    slip.says(&["did you mean `jails`?"])
}

#[test]
fn of_several_names_those_that_exist_are_shown_and_each_other_is_told() -> anyhow::Result<()> {
    let fleet = fleet()?;
    let jails = ["nope", "www", "gone"];
    let said = fleet
        .jailctl(&[&["get", "jail"][..], &jails, &["-o", "name"]].concat())?
        .refused()?;
    ensure!(said.stdout == "jail/www\n", "{said}");
    said.says(&["there is no Jail `nope`", "there is no Jail `gone`"])?;
    let said = fleet
        .jailctl(&[&["describe", "jail"][..], &jails].concat())?
        .refused()?;
    ensure!(said.stdout.contains("Name:           www"), "{said}");
    said.says(&["there is no Jail `nope`", "there is no Jail `gone`"])?;
    let said = fleet.jailctl(&["get", "jail", "nope", "gone"])?.refused()?;
    ensure!(said.stdout.is_empty(), "{said}");
    ensure!(said.errors().count() == 2, "{said}");
    Ok(())
}

#[test]
fn a_diff_shows_what_apply_would_change_and_changes_nothing() -> anyhow::Result<()> {
    let fleet = fleet()?;
    let same = fleet.jailctl_with(&["diff", "-f", "-"], JAIL)?.ok()?;
    ensure!(same.stdout.is_empty(), "{same}");
    let before = fleet.revision()?;
    let changed = JAIL.replace("/jails/www}", "/jails/blog}")
        + "---\napiVersion: cellblock.dev/v1alpha1\nkind: Jail\nmetadata: {name: new}\nspec: {host: fbsd-01, root: {path: /jails/new}}\n";
    let said = fleet
        .jailctl_with(&["diff", "-f", "-"], &changed)?
        .refused()?;
    for line in [
        "--- live/jail/www",
        "+++ applied/jail/www",
        "-    path: /jails/www",
        "+    path: /jails/blog",
        "+++ applied/jail/new",
        "+  name: new",
    ] {
        ensure!(
            said.stdout.lines().any(|found| found == line),
            "`{line}` is missing: {said}"
        );
    }
    ensure!(!said.stdout.contains('\u{1b}'), "colours in a pipe: {said}");
    ensure!(!said.stdout.contains("managedFields"), "{said}");
    ensure!(fleet.revision()? == before, "a diff wrote something");
    let bad = fleet.jailctl_with(&["diff", "-f", "-"], &JAIL.replace("path: /", "path: "))?;
    ensure!(bad.status == Some(2), "an error is no difference: {bad}");
    bad.says(&["spec.root.path"])
}

#[test]
fn waiting_takes_kubectls_goals_and_several_objects() -> anyhow::Result<()> {
    let fleet = fleet()?;
    for goal in [
        "condition=Ready",
        "jsonpath={.status.phase}=Running",
        "jsonpath={.status.jid}",
        "create",
    ] {
        let said = fleet.jailctl(&["wait", "jail/www", "--for", goal])?.ok()?;
        said.says(&["jail/www "])?;
    }
    let hosts = ["wait", "jail/www", "host/fbsd-01", "--for", "create"];
    fleet.jailctl(&hosts)?.ok()?;
    // Of a manifest all that is in it.
    let network = "apiVersion: cellblock.dev/v1alpha1\nkind: Network\nmetadata: {name: inside}\nspec:\n  sharedIP: {loopback: {}}\n  subnets: [{cidr: 192.0.2.0/28}]\n";
    let both = format!("{JAIL}---\n{network}");
    let absent = ["wait", "-f", "-", "--for", "create", "--timeout", "1s"];
    let said = fleet.jailctl_with(&absent, &both)?.refused()?;
    said.says(&[
        "network/inside: does not exist",
        "1 of 2 not there after 1 s",
    ])?;
    fleet.apply(network)?;
    let said = fleet.jailctl_with(&["wait", "-f", "-", "--for", "create"], &both)?;
    said.ok()?
        .says(&["jail/www created", "network/inside created"])?;
    let slip = ["wait", "jail/wwv", "--timeout", "1s"];
    fleet.jailctl(&slip)?.refused()?.says(&[
        "jail/wwv: does not exist; did you mean `www`?",
        "1 of 1 not there after 1 s",
        "--timeout waits longer",
    ])?;
    let gone = ["wait", "jail/nobody", "--for", "delete", "--timeout", "5s"];
    fleet.jailctl(&gone)?.ok()?;
    let mut going = fleet.start_jailctl(&["wait", "jail/www", "--for", "delete"], "")?;
    fleet.jailctl(&["delete", "jail/www", "--no-wait"])?.ok()?;
    ensure!(going.is_running().is_ok());
    going.end()?.ok()?.says(&["jail/www deleted"])
}

#[test]
fn a_watch_and_a_wait_outlive_the_controllers_restart() -> anyhow::Result<()> {
    let mut fleet = fleet()?;
    let watch = fleet.start_jailctl(&["get", "jails", "-o", "name", "-w"], "")?;
    let wait = fleet.start_jailctl(&["wait", "jail/blog", "--timeout", "120s"], "")?;
    eventually("the watch has begun", CONVERGE, || {
        ensure!(watch.shown().contains("jail/www"), "not yet");
        // One that was never answered would give up.
        ensure!(wait.told().contains("waiting for 1 of 1"), "not yet");
        Ok(())
    })?;
    fleet.controller.kill();
    eventually(
        "the watch says that the controller is away",
        CONVERGE,
        || {
            ensure!(
                watch.told().contains("waiting until it is back"),
                "{}",
                watch.told()
            );
            Ok(())
        },
    )?;
    fleet.start_controller()?;
    fleet.apply(&JAIL.replace("www", "blog"))?;
    eventually("the watch goes on", CONVERGE, || {
        ensure!(watch.shown().contains("jail/blog"), "{}", watch.shown());
        Ok(())
    })?;
    wait.end()?.ok()?;
    Ok(())
}

#[test]
fn words_that_need_no_controller_need_none() -> anyhow::Result<()> {
    let fleet = Fleet::prepare(&Options {
        machines: Vec::new(),
        ..Options::small()
    })?;
    let said = fleet.jailctl(&["explain", "jail.spec.publish"])?.ok()?;
    ensure!(said.stdout.contains("ports <list of "), "{said}");
    for shell in ["bash", "zsh", "fish"] {
        let said = fleet.jailctl(&["completion", shell])?.ok()?;
        ensure!(said.stdout.contains("jailctl"), "{said}");
    }
    let said = fleet.jailctl(&["host", "residue", "-o", "json"])?.ok()?;
    let list: serde_json::Value = serde_json::from_str(&said.stdout)?;
    ensure!(list[0]["why"].is_string(), "{said}");
    Ok(())
}

/// What `jailctl` says while the controller is stopped, and how long it takes; the controller goes on afterwards.
fn while_it_hangs(
    fleet: &Fleet,
    arguments: &[&str],
) -> anyhow::Result<(anyhow::Result<Said>, Duration)> {
    let id = fleet.controller.id().context("it runs")?;
    let id = i32::try_from(id)
        .ok()
        .and_then(Pid::from_raw)
        .context("a process id")?;
    kill_process(id, Signal::STOP)?;
    let began = Instant::now();
    let said = fleet.jailctl(arguments);
    let took = began.elapsed();
    kill_process(id, Signal::CONT)?;
    Ok((said, took))
}

#[test]
fn a_wait_ends_in_time_although_the_controller_hangs() -> anyhow::Result<()> {
    let fleet = fleet()?;
    let (said, took) = while_it_hangs(&fleet, &["wait", "jail/www", "--timeout", "2s"])?;
    said?.refused()?.says(&["did not answer within 2 s"])?;
    ensure!(took < CONVERGE, "{took:?}");
    fleet
        .jailctl(&["wait", "jail/www", "--timeout", "30s"])?
        .ok()?;
    Ok(())
}

#[test]
fn a_request_ends_although_the_controller_hangs() -> anyhow::Result<()> {
    let fleet = fleet()?;
    let (said, took) = while_it_hangs(&fleet, &["get", "jails"])?;
    said?.refused()?;
    // Asked after 10 s whether it is there, and given 10 s to say so.
    ensure!(took < Duration::from_secs(40), "{took:?}");
    fleet.jailctl(&["get", "jails"])?.ok()?;
    Ok(())
}

#[test]
fn a_template_is_kubectls_and_what_is_not_is_refused() -> anyhow::Result<()> {
    let fleet = fleet()?;
    let get = |kind: &str, template: &str| {
        fleet.jailctl(&["get", kind, "-o", &format!("jsonpath={template}")])
    };
    let lines = r#"{range .items[*]}{@.metadata.name}{"\t"}{.status.phase}{"\n"}{end}"#;
    let said = get("jails", lines)?.ok()?;
    ensure!(said.stdout == "www\tRunning\n", "{said}");
    let said = get("networks", lines)?.ok()?;
    ensure!(said.stdout.is_empty(), "nothing to loop over: {said}");
    let said = get(
        "jail/www",
        "{.status.conditions[?(@.type==\"Ready\")].status}",
    )?
    .ok()?;
    ensure!(said.stdout == "True\n", "{said}");
    let said = get("jails", "{range .items[*]}{.metadata.name}")?;
    ensure!(said.status == Some(2), "{said}");
    said.says(&["has no end; write {end}"])?;
    get("jails", "{.items[7].kind}")?
        .refused()?
        .says(&["no entry [7] in a list of 1"])?;
    let gone = ["wait", "jail/www", "--for", "delete", "--timeout", "1s"];
    fleet
        .jailctl(&gone)?
        .refused()?
        .says(&["nobody has asked for its deletion"])
}

/// A set of one jail with this root, which is given two seconds to come up.
fn set(name: &str, root: &str) -> String {
    format!(
        "apiVersion: cellblock.dev/v1alpha1\nkind: JailSet\nmetadata: {{name: {name}}}\nspec:\n  progressDeadline: 2s\n  template: {{spec: {{root: {{path: {root}}}}}}}\n"
    )
}

#[test]
fn a_rollout_is_followed_to_its_end_and_a_stuck_one_is_a_failure() -> anyhow::Result<()> {
    let fleet = fleet()?;
    let long = format!("{}s", CONVERGE.as_secs());
    fleet.apply(&set("web", "/jails/new").replace("2s", "10m"))?;
    let follow = ["rollout", "status", "jailset/web", "--timeout", &long];
    let said = fleet.jailctl(&follow)?.ok()?;
    let last = "jailset/web: 1 of 1 jails updated, 1 ready, 1 available\njailset/web: complete\n";
    ensure!(said.stdout.ends_with(last), "{said}");
    let said = fleet.jailctl(&["rollout", "history", "js/web"])?.ok()?;
    let heading: Vec<&str> = said.stdout.split_whitespace().take(5).collect();
    ensure!(
        heading == ["NUMBER", "REVISION", "SINCE", "NOTE", "1"],
        "{said}"
    );

    fleet.apply(&set("stuck", "/jails/nowhere").replace("2s", "10m"))?;
    let short = ["rollout", "status", "jailset/stuck", "--timeout", "1s"];
    fleet.jailctl(&short)?.refused()?.says(&[
        "jailset/stuck: Progressing: ",
        "1 of 1 did not come to an end within 1 s",
    ])?;
    fleet.apply(&set("stuck", "/jails/nowhere"))?;
    let both = ["rollout", "status", "jailset", "stuck", "web"];
    let said = fleet.jailctl(&both)?.refused()?;
    said.says(&["jailset/stuck: DeadlineExceeded: ", "RootMissing"])?;
    ensure!(said.stdout.ends_with("jailset/web: complete\n"), "{said}");
    let look = ["rollout", "status", "jailset/stuck", "--no-wait"];
    let said = fleet.jailctl(&look)?.ok()?;
    ensure!(
        said.stdout.contains("Progressing DeadlineExceeded"),
        "{said}"
    );
    let fewer = ["scale", "jailset/web", "--replicas", "-1"];
    let said = fleet.jailctl(&fewer)?;
    ensure!(said.status == Some(2), "{said}");
    said.says(&["there can be no fewer than 0"])
}
