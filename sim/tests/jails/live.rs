//! J2: what is changed in a running jail, what waits, and what somebody else has changed.

use cellblock_schemas::jail::ParameterValue;
use cellblock_sim::crash::Moment;

use super::*;

const EXAMPLE: &str = "j02-live-changes/live-changes.yaml";

const RELEASES: [Release; 2] = [Release::V15_1, Release::V14_3];

#[test]
fn what_the_kernel_allows_is_changed_without_a_restart() {
    for release in RELEASES {
        let mut row = Row::on(release, EXAMPLE);
        let jid = row.run("jls -j web jid");
        let from = row.now();
        row.change(
            "allow.raw_sockets: false",
            "allow.raw_sockets: true\n    children.max: 2",
        );
        row.change("/bin/sh /etc/rc.shutdown", "/bin/sh /etc/rc.bye");
        assert_eq!(row.run("jls -j web jid"), jid);
        assert_eq!(
            row.run("jls -j web -n allow.raw_sockets children.max"),
            "allow.raw_sockets children.max=2"
        );
        assert!(row.ran(from, "jail -f").is_empty());
        let set = row.ran(from, "jail -m");
        assert!(
            set[0].starts_with(&format!(
                "jail -m jid={jid} allow.raw_sockets=true children.max=2"
            )),
            "{set:?}"
        );
        // What is taken away is what a new jail has.
        row.change("\n    children.max: 2", "");
        assert_eq!(row.run("jls -j web -n children.max"), "children.max=0");
        assert!(row.is_ready("web"));
        // The stop goes by the file, which has the new hook.
        let from = row.now();
        row.change(
            "exec.start: /bin/sh /etc/rc\n",
            "exec.start: /usr/bin/true\n",
        );
        assert_eq!(
            row.ran(from, "jail -f /var/db/cellblock/jails/web.conf")
                .len(),
            2
        );
        assert_ne!(row.run("jls -j web jid"), jid);
    }
}

#[test]
fn what_is_changed_by_hand_is_changed_back() {
    let mut row = Row::up(EXAMPLE);
    row.run("jail -m name=web allow.raw_sockets=true enforce_statfs=1");
    let from = row.now();
    row.rest();
    assert_eq!(
        row.run("jls -j web -n allow.raw_sockets enforce_statfs"),
        "allow.noraw_sockets enforce_statfs=2"
    );
    assert_eq!(row.ran(from, "jail -m").len(), 1);
}

/// The jail's root may raise its securelevel and give itself another host name; nobody takes that from it.
#[test]
fn what_the_jails_root_may_change_is_set_when_the_manifest_changes_alone() {
    let mut row = Row::up(EXAMPLE);
    row.run("jail -m name=db securelevel=3 host.hostname=own");
    let from = row.now();
    row.rest();
    assert_eq!(row.ran(from, "jail -m"), [""; 0]);
    row.change("securelevel: 1", "securelevel: 0");
    assert_eq!(
        row.run("jls -j db -n securelevel host.hostname"),
        "securelevel=0 host.hostname=own"
    );
    row.change(
        "securelevel: 0",
        "securelevel: 0\n    host.hostname: db.example",
    );
    assert_eq!(
        row.run("jls -j db -n host.hostname"),
        "host.hostname=db.example"
    );
}

/// What only somebody on the host can have done.
#[test]
fn a_securelevel_that_was_lowered_is_raised_again() {
    let mut row = Row::up(EXAMPLE);
    row.run("jail -m name=db securelevel=0");
    row.rest();
    assert_eq!(row.run("jls -j db -n securelevel"), "securelevel=1");
    assert!(row.is_ready("db"));
}

#[test]
fn a_host_name_that_the_jails_root_may_not_change_is_mended() {
    let mut row = Row::up(EXAMPLE);
    row.change(
        "securelevel: 1",
        "securelevel: 1\n    allow.set_hostname: false\n    host.hostname: db.example\n    host.domainname: example",
    );
    row.run("jail -m name=db host.hostname=own host.domainname=own");
    row.rest();
    assert_eq!(
        row.run("jls -j db -n host.hostname host.domainname"),
        "host.hostname=db.example host.domainname=example"
    );
    assert!(row.is_ready("db"));
}

#[test]
fn a_restart_waits_for_the_operators_word() {
    let mut row = Row::up(EXAMPLE);
    let jid = row.run("jls -j db jid");
    // What the host decides of a jail without it, only a new jail has.
    row.change("    securelevel: 1\n", "");
    let ready = row.condition("db", "Ready");
    assert_eq!(ready.reason, "RestartNeeded");
    assert!(
        ready.message.contains("`jailctl restart jail db`"),
        "{ready:?}"
    );
    assert_eq!(row.run("jls -j db jid"), jid);
    row.change(
        "restartPolicy: Never",
        "restart: now\n  restartPolicy: Never",
    );
    assert!(row.is_ready("db"));
    let again = row.run("jls -j db jid");
    assert_ne!(again, jid);
    assert_eq!(row.run("jls -j db -n securelevel"), "securelevel=-1");
    // Once.
    row.rest();
    assert_eq!(row.run("jls -j db jid"), again);
    row.change("restart: now", "restart: again");
    let third = row.run("jls -j db jid");
    assert_ne!(third, again);
    // Taken away it asks for nothing.
    row.change("  restart: again\n", "");
    assert!(row.is_ready("db"));
    assert_eq!(row.run("jls -j db jid"), third);
}

#[test]
fn the_word_of_a_restart_may_be_taken_away() {
    for release in RELEASES {
        let mut row = Row::on(release, EXAMPLE);
        row.change("restartPolicy: Never", "restart: now");
        let jid = row.run("jls -j db jid");
        row.change("  restart: now", "  # none");
        assert_eq!(row.run("jls -j db jid"), jid, "{release:?}");
        assert!(row.is_ready("db"));
        // The same word is news again.
        row.change("  # none", "  restart: now");
        assert_ne!(row.run("jls -j db jid"), jid, "{release:?}");
    }
}

/// The agent dies somewhere in the change, and comes back to a manifest that has it no more.
#[test]
fn a_change_that_is_withdrawn_after_a_death_is_taken_back() {
    for release in RELEASES {
        let (without, with) = (
            "    allow.raw_sockets: false\n",
            "    allow.raw_sockets: true\n",
        );
        let mut died_with_it = 0;
        for number in 0..6 {
            let mut row = Row::in_world(World::new(release), EXAMPLE);
            row.rest();
            row.change(without, "");
            let before = row.manifest.clone();
            row.manifest = before.replacen("  parameters:\n", &format!("  parameters:\n{with}"), 1);
            row.fleet.apply(&row.manifest).expect("it is admitted");
            row.world.start(Some(Moment::After(number)));
            row.world
                .take(row.fleet.view(HOST).expect("the host is there"));
            while !row.world.is_dead() && row.world.pass().is_ok_and(|pass| pass.done > 0) {}
            let has_it = row.run("jls -j web -n allow.raw_sockets") == "allow.raw_sockets";
            died_with_it += usize::from(has_it && row.world.is_dead());
            row.world.start(None);
            row.manifest = before;
            row.fleet.apply(&row.manifest).expect("it is admitted");
            row.world
                .take(row.fleet.view(HOST).expect("the host is there"));
            row.rest();
            let what = format!("{release:?}, after effect {number}");
            assert_eq!(
                row.run("jls -j web -n allow.raw_sockets"),
                "allow.noraw_sockets",
                "{what}"
            );
            assert!(row.is_ready("web"), "{what}");
            assert!(row.ran(0, "jail -f").len() <= 2, "{what}: nothing restarts");
        }
        assert!(died_with_it > 1, "{release:?}");
    }
}

/// A parameter that the kernel refuses is told, and nothing else is taken for done.
#[test]
fn what_the_kernel_refuses_is_told() {
    let mut row = Row::up(EXAMPLE);
    let mut view = row.fleet.view(HOST).expect("the host is there");
    let mut jails = view.jails.values_mut();
    let web = jails.find(|jail| jail.name == "web").expect("it is there");
    // More than admission lets through.
    web.spec
        .parameters
        .insert("children.max".to_owned(), ParameterValue::Number(999_999));
    row.world.take(view);
    let pass = row.world.pass().expect("a pass");
    let told = format!("{pass:?}");
    assert!(told.contains("Operation not permitted"), "{told}");
    assert!(told.contains("children.max=999999"), "{told}");
    assert_eq!(row.run("jls -j web -n children.max"), "children.max=0");
}
