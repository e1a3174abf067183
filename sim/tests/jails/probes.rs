//! Probes: what depends on a jail waits until it is ready, and one that is not alive is started again, further and further apart.

use std::time::Duration;

use cellblock_controller_core::features::Features;
use cellblock_schemas::jail::RunPolicy;
use cellblock_schemas::report::JailReport;
use cellblock_schemas::view::HostView;
use cellblock_sim::crash::Moment;

use super::*;

const EXAMPLE: &str = "probes/probes.yaml";

impl Row {
    /// What is reported of a jail once the agent has lived for so long.
    fn later(&mut self, seconds: u64, jail: &str) -> JailReport {
        let report = self.world.live(seconds * 1_000);
        let views = &self.world.view.jails;
        let found = views.values().find(|view| view.name == jail);
        let uid = &found.expect("it is there").uid;
        let mut jails = report.jails.into_iter();
        jails
            .find(|report| report.uid == *uid)
            .expect("it is reported")
    }

    fn said(&mut self, seconds: u64, jail: &str, kind: &str) -> (ConditionStatus, String, String) {
        let report = self.later(seconds, jail);
        let mut conditions = report.conditions.into_iter();
        let found = conditions.find(|condition| condition.kind == kind);
        let found = found.expect("it is reported");
        (found.status, found.reason, found.message)
    }

    fn jid(&self, jail: &str) -> String {
        self.run(&format!("jls -j {jail} jid"))
    }

    fn kill(&self, jail: &str, line: &str) {
        let argv = ["jexec", jail, "pkill", "-f", line].map(str::to_owned);
        assert_eq!(
            self.world.host.emulator().run(&argv, "").status,
            0,
            "{line}"
        );
    }

    /// How often jail(8) was told to start that jail since `from`.
    fn starts(&self, from: usize, jail: &str) -> usize {
        let ran = self.ran(from, "jail -");
        let start = format!(" -c {jail}");
        ran.iter().filter(|line| line.ends_with(&start)).count()
    }
}

impl Row {
    /// When that was.
    fn start_times(&self, from: usize, jail: &str) -> Vec<Duration> {
        let emulator = self.world.host.emulator();
        let ran = emulator.log[from..].iter();
        let start = format!(" -c {jail}");
        let starts = ran.filter(|run| {
            let line = run.argv.join(" ");
            line.starts_with("jail -") && line.ends_with(&start)
        });
        starts.map(|run| run.at).collect()
    }
}

const SERVER: &str = "sleep 86400";
/// A pattern of pkill(1), to which a dot is any character.
const DATABASE: &str = "nc -lk 10";

#[test]
fn what_depends_on_a_jail_starts_when_it_is_ready() {
    let mut row = Row::in_world(World::new(Release::V15_1), EXAMPLE);
    row.world.host.emulator().fail_next(
        "timeout -s KILL 5 /usr/sbin/jexec -d / 1 /usr/bin/nc",
        1,
        "nc: …: Connection refused\n",
    );
    let passed = row.world.pass().expect("a look");
    assert!(passed.done > 0);
    assert_eq!(row.run("jls name"), "db");
    let ready = |row: &mut Row| row.said(0, "db", "Ready");
    // The first probe fails, which is not its last word; the second comes a second later.
    let (status, reason, message) = ready(&mut row);
    assert_eq!(
        (status, reason.as_str()),
        (ConditionStatus::False, "ProbePending"),
        "{message}"
    );
    assert_eq!(row.later(0, "db").phase, "Starting");
    let (_, reason, message) = row.said(0, "web", "Ready");
    assert_eq!(reason, "DependencyNotReady", "{message}");
    row.rest();
    assert!(row.is_ready("db") && row.is_ready("web"));
    // Where it stops answering, it is not ready, nobody is stopped for that, and nobody starts it again: it has come up, and nothing asks whether it is alive.
    let from = row.now();
    row.kill("db", DATABASE);
    let (status, reason, message) = row.said(12, "db", "Ready");
    assert_eq!(
        (status, reason.as_str()),
        (ConditionStatus::False, "ProbeFailed")
    );
    assert_eq!(
        message,
        "probe `ready` fails: nc: connect to 10.60.0.5 port 5432 (tcp) failed: Connection refused"
    );
    assert_eq!(row.later(600, "db").phase, "Running");
    assert_eq!(row.starts(from, "db") + row.starts(from, "web"), 0);
    // The ledger knows it, so that an agent that is started anew says nothing else.
    row.world.start(None);
    let passed = row.world.pass().expect("a look");
    let reasons: Vec<&str> = passed
        .report
        .jails
        .iter()
        .map(|jail| jail.conditions[0].reason.as_str())
        .collect();
    assert!(
        reasons.contains(&"ProbeFailed") && !reasons.contains(&"ProbePending"),
        "{reasons:?}"
    );
    assert_eq!(passed.plan.lines(), [""; 0]);
}

/// An agent that has never heard of probes: of an update to a controller that knows them its jails go on as they are, and one that wants them does not start.
#[test]
fn an_agent_that_is_too_old_blocks_what_has_probes_and_goes_on() {
    let mut row = Row::in_world(World::new(Release::V15_1), EXAMPLE);
    let view = row.world.view.clone();
    // It knows nothing of needs, and passes over what it does not know.
    let forgetful = |view: &HostView| {
        let mut view = view.clone();
        for jail in view.jails.values_mut() {
            jail.needs.clear();
            jail.spec.probes = None;
        }
        view
    };
    let mut old = view.clone();
    Features::default().withhold(&mut old);
    // The jails ran before they were given probes.
    row.world.take(forgetful(&view));
    row.rest();
    let (before, from) = (row.run("jls -n"), row.world.changing_commands());
    row.world.take(forgetful(&old));
    row.rest();
    let said = row.said(0, "web", "Ready");
    assert_eq!(
        (said.0, said.1.as_str()),
        (ConditionStatus::False, "AgentTooOld")
    );
    assert!(
        said.2.contains("feature:probes") && said.2.contains("update it"),
        "{}",
        said.2
    );
    assert_eq!(row.run("jls -n"), before);
    assert_eq!(row.world.changing_commands(), from);
    // It is updated, for which nothing is restarted.
    let from = row.now();
    row.world.take(view.clone());
    row.rest();
    assert!(row.is_ready("web"));
    assert_eq!(row.run("jls -n"), before);
    assert_eq!(row.starts(from, "web") + row.starts(from, "db"), 0);
    // What is blocked does not start after a boot until the agent is updated.
    row.world.take(forgetful(&old));
    row.rest();
    row.world.host.emulator().reboot();
    row.world.start(None);
    row.rest();
    assert_eq!(row.run("jls name"), "");
    assert_eq!(row.said(0, "web", "Ready").1, "AgentTooOld");
    row.world.take(view.clone());
    row.rest();
    assert!(row.is_ready("web"));
    // Likewise one that reads needs, and lacks one.
    let mut later = view.clone();
    for jail in later.jails.values_mut() {
        jail.needs.insert("later".to_owned());
    }
    let from = row.world.changing_commands();
    row.world.take(later.clone());
    row.rest();
    let (_, reason, message) = row.said(0, "web", "Ready");
    assert_eq!(reason, "AgentTooOld");
    assert_eq!(
        message,
        "it needs `later`, which this agent does not know; update it"
    );
    assert_eq!(row.world.changing_commands(), from);
    // What the host itself needs is told of the host alone.
    let mut host = view;
    host.needs.insert("later".to_owned());
    row.world.take(host);
    let rest = row.world.converge(ROUNDS_MAX).expect("it comes to rest");
    let mut conditions = rest.last.report.conditions.iter();
    let ready = conditions.find(|one| one.kind == "Ready");
    assert_eq!(ready.expect("it is told").reason, "AgentTooOld");
    assert!(row.is_ready("web"));
    assert_eq!(row.world.changing_commands(), from);
    // Every agent can stop a jail, whatever it needs.
    for jail in later.jails.values_mut() {
        jail.spec.run_policy = RunPolicy::Stopped;
    }
    row.world.take(later);
    row.rest();
    assert_eq!(row.run("jls name"), "");
}

#[test]
fn a_jail_that_is_not_alive_is_started_again_further_and_further_apart() {
    let mut row = Row::up(EXAMPLE);
    let live = row.condition("web", "Live");
    assert_eq!(
        (live.status, live.reason.as_str()),
        (ConditionStatus::True, "Alive")
    );
    let (from, before) = (row.now(), row.jid("web"));
    row.kill("web", SERVER);
    // Two failures are none yet.
    assert_eq!(row.said(9, "web", "Live").0, ConditionStatus::True);
    assert_eq!(row.starts(from, "web"), 0);
    let (status, reason, message) = row.said(10, "web", "Live");
    assert_eq!((status, reason.as_str()), (ConditionStatus::True, "Alive"));
    assert_eq!(message, "it was restarted for that once");
    assert_eq!(row.starts(from, "web"), 1);
    assert_ne!(row.jid("web"), before);
    let ready = row.condition("web", "Ready");
    assert_eq!(
        ready.message,
        "restarted: probe `live` fails: exit status 1"
    );
    // Well for ten minutes: the next one is a new matter.
    row.later(620, "web");
    assert_eq!(row.said(0, "web", "Live").2, "");

    // One that a restart does not help.
    let from = row.now();
    row.change(
        "exec.start: daemon -f sleep 86400",
        "exec.start: daemon -f sleep 9999",
    );
    // OnFailure: the change waits for the failure.
    let (status, reason, _) = row.said(0, "web", "Ready");
    assert_eq!(
        (status, reason.as_str()),
        (ConditionStatus::False, "RestartNeeded")
    );
    assert_eq!(row.starts(from, "web"), 0);
    row.kill("web", SERVER);
    row.later(1_300, "web");
    // With the change, which begins anew: at once when it has failed, within ten seconds, and then after these at the earliest.
    let times = row.start_times(from, "web");
    let gaps: Vec<u64> = times
        .windows(2)
        .map(|two| (two[1] - two[0]).as_secs())
        .collect();
    let pauses = [10, 10, 20, 40, 80, 160, 300, 300];
    assert!(gaps.len() >= pauses.len(), "{gaps:?}");
    for (gap, pause) in gaps.iter().zip(pauses) {
        assert!((pause..pause + 5).contains(gap), "{gaps:?}");
    }
    let (status, reason, message) = row.said(0, "web", "Live");
    assert_eq!(
        (status, reason.as_str()),
        (ConditionStatus::False, "ProbeFailed"),
        "{message}"
    );
    assert!(
        message.contains("times in a row, and is restarted once it has run for "),
        "{message}"
    );
    // The agent's own start changes nothing of it.
    let from = row.now();
    row.world.start(None);
    row.later(60, "web");
    assert_eq!(row.starts(from, "web"), 0);
    // A reboot forgets.
    row.world.host.emulator().reboot();
    row.world.start(None);
    let (_, _, message) = row.said(5, "web", "Live");
    assert!(!message.contains("restarted"), "{message}");
}

#[test]
fn restart_policy_never_leaves_a_jail_that_is_not_alive() {
    let mut row = Row::up(EXAMPLE);
    row.change("restartPolicy: OnFailure", "restartPolicy: Never");
    let from = row.now();
    row.kill("web", SERVER);
    let (status, reason, message) = row.said(60, "web", "Live");
    assert_eq!(
        (status, reason.as_str()),
        (ConditionStatus::False, "ProbeFailed")
    );
    assert_eq!(
        message,
        "probe `live` fails: exit status 1; spec.restartPolicy is Never, so it runs on: `jailctl restart jail web` restarts it"
    );
    assert_eq!(row.starts(from, "web"), 0);
    // The operator's word.
    row.change(
        "restartPolicy: Never",
        "restartPolicy: Never\n  restart: now",
    );
    assert_eq!(row.starts(from, "web"), 1);
    assert_eq!(row.said(10, "web", "Live").0, ConditionStatus::True);
}

#[test]
fn a_probe_that_hangs_has_failed_and_one_without_its_program_says_so() {
    let mut row = Row::up(EXAMPLE);
    row.change(
        "command: [/bin/pgrep, -f, sleep 86400], user: nobody",
        "command: [/bin/sleep, '1000']",
    );
    let before = row.jid("web");
    row.later(25, "web");
    assert_ne!(row.jid("web"), before);
    let ready = row.condition("web", "Ready");
    assert_eq!(
        ready.message,
        "restarted: probe `live` fails: no answer within 2 s"
    );
    row.change(
        "command: [/bin/sleep, '1000']",
        "command: [/usr/local/bin/check]",
    );
    // Nobody was asked: no restart helps.
    let from = row.now();
    let (status, reason, message) = row.said(600, "web", "Live");
    assert_eq!(
        (status, reason.as_str()),
        (ConditionStatus::Unknown, "ProbeNotMade")
    );
    assert_eq!(
        message,
        "probe `live` cannot be made: jexec: execvp: /usr/local/bin/check: No such file or directory"
    );
    assert_eq!(
        row.condition("web", "Ready").status,
        ConditionStatus::Unknown
    );
    assert_eq!(row.starts(from, "web"), 0);
}

#[test]
fn a_host_that_has_no_process_for_probes_restarts_nobody() {
    let mut row = Row::up(EXAMPLE);
    let from = row.now();
    for _ in 0..1_000 {
        row.world.host.emulator().fail_next(
            "timeout -s KILL",
            1,
            "timeout: fork(): Resource temporarily unavailable\n",
        );
    }
    for (jail, probe) in [("web", "live"), ("db", "ready")] {
        let (status, reason, message) = row.said(300, jail, "Ready");
        assert_eq!(
            (status, reason.as_str()),
            (ConditionStatus::Unknown, "ProbeNotMade")
        );
        let expected = format!(
            "probe `{probe}` cannot be made: timeout: fork(): Resource temporarily unavailable"
        );
        assert_eq!(message, expected);
    }
    row.world.host.emulator().repair();
    row.later(20, "web");
    assert!(row.is_ready("web") && row.is_ready("db"));
    assert_eq!(row.starts(from, "web") + row.starts(from, "db"), 0);
}

#[test]
fn a_host_most_of_whose_jails_fail_is_suspected_and_others_are_restarted_a_few_at_a_time() {
    let mut row = Row::up(EXAMPLE);
    let names: Vec<String> = (1..10).map(|number| format!("web{number}")).collect();
    let all = row.manifest.clone();
    let web = all.split("---\n").find(|part| part.contains("name: web"));
    let web = web.expect("it is there");
    let mut more = String::new();
    for name in &names {
        let mut emulator = row.world.host.emulator();
        let made = emulator
            .files
            .create_directories(&format!("/jails/{name}/dev"));
        made.expect("there is room");
        more += &web
            .replace("name: web", &format!("name: {name}"))
            .replace("/jails/web", &format!("/jails/{name}"));
        more += "---\n";
    }
    row.change(web, &format!("{web}---\n{more}"));
    row.later(20, "web");
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.push("web");

    let from = row.now();
    for name in &names {
        row.kill(name, SERVER);
    }
    let (status, _, message) = row.said(600, "web", "Live");
    assert_eq!(status, ConditionStatus::False);
    assert_eq!(
        message,
        "probe `live` fails: exit status 1; 10 of the 11 jails of this host that are probed fail at the same time, so the host is suspected and none is restarted for it: look at the host, or `jailctl restart jail web`"
    );
    assert!(row.ran(from, "jail -").is_empty());
    // Half of them come back.
    let (back, down) = names.split_at(5);
    for name in back {
        let argv = ["jexec", name, "daemon", "-f", "sleep", "86400"].map(str::to_owned);
        assert_eq!(row.world.host.emulator().run(&argv, "").status, 0);
    }
    row.later(60, "web");
    // Four are stopped between one look at the host and the next.
    let ran = row.ran(from, "");
    let looks = ran.split(|line| line.starts_with("jls -d "));
    let stops = |part: &[String]| part.iter().filter(|line| line.contains(" -r web")).count();
    let stops: Vec<usize> = looks.map(stops).filter(|count| *count > 0).collect();
    assert_eq!(stops, [4, 1], "{:#?}", row.ran(from, "j"));
    assert!(back.iter().all(|name| row.starts(from, name) == 0));
    assert!(down.iter().all(|name| row.starts(from, name) == 1));
    assert!(names.iter().all(|name| row.is_ready(name)));
}

#[test]
fn a_jail_that_inherits_ipv6_alone_is_asked_at_its_loopback() {
    let mut row = Row::up(EXAMPLE);
    let from = row.now();
    row.change(
        "  networks:\n  - {network: inside}\n  dependsOn: [db]\n  restartPolicy: OnFailure\n  probes:\n    live: {exec: {command: [/bin/pgrep, -f, sleep 86400], user: nobody}, every: 5s, timeout: 2s}\n  parameters:\n",
        "  probes:\n    ready: {tcp: {port: 8080}}\n  parameters:\n    ip4: disable\n    ip6: inherit\n",
    );
    row.later(5, "web");
    let asked = row.ran(from, "timeout -s KILL");
    let found = asked.iter().find(|line| line.ends_with(" 8080"));
    let found = found.expect("it is asked");
    assert!(found.ends_with(" ::1 8080"), "{found}");
}

#[test]
fn what_the_ledger_says_restarts_nobody_until_it_is_asked_again() {
    let mut row = Row::up(EXAMPLE);
    row.change("restartPolicy: OnFailure", "restartPolicy: Never");
    row.kill("web", SERVER);
    row.later(30, "web");
    assert_eq!(row.condition("web", "Live").status, ConditionStatus::False);
    // It comes back while no agent runs.
    let argv = ["jexec", "web", "daemon", "-f", "sleep", "86400"].map(str::to_owned);
    assert_eq!(row.world.host.emulator().run(&argv, "").status, 0);
    let from = row.now();
    row.world.start(None);
    row.change("restartPolicy: Never", "restartPolicy: OnFailure");
    row.later(60, "web");
    assert_eq!(row.condition("web", "Live").status, ConditionStatus::True);
    assert_eq!(row.starts(from, "web"), 0);
}

#[test]
fn http_is_asked_for_inside_the_jail_whatever_its_firewall_and_its_table_say() {
    let mut row = Row::up(EXAMPLE);
    row.change(
        "    live: {exec: {command: [/bin/pgrep, -f, sleep 86400], user: nobody}, every: 5s, timeout: 2s}\n",
        "    ready: {http: {port: 8080, path: /up}, every: 1s, failures: 1}\n",
    );
    let (_, reason, message) = row.said(3, "web", "Ready");
    assert_eq!(reason, "ProbeFailed");
    assert!(message.contains("Connection refused"), "{message}");
    row.world
        .host
        .emulator()
        .listen("web", 8080, "HTTP/1.1 503 Busy\r\n\r\n");
    // The words that decided stay while it stays so.
    assert!(row.said(3, "web", "Ready").2.contains("Connection refused"));
    row.world
        .host
        .emulator()
        .listen("web", 8080, "HTTP/1.1 200 OK\r\n\r\n");
    assert_eq!(row.said(3, "web", "Ready").0, ConditionStatus::True);
    row.change(
        "  dependsOn: [db]\n",
        "  firewall: {defaultIngress: block, defaultEgress: block}\n",
    );
    let (status, _, message) = row.said(10, "web", "Ready");
    assert_eq!(status, ConditionStatus::True, "{message}");
    // Nothing is asked any more.
    row.change(
        "    ready: {http: {port: 8080, path: /up}, every: 1s, failures: 1}\n",
        "    ready: {exec: {command: [/usr/bin/true]}}\n",
    );
    let from = row.now();
    row.later(30, "web");
    let asked = row.ran(from, "timeout -s KILL");
    assert!(
        asked.iter().all(|line| !line.ends_with(" 8080")),
        "{asked:?}"
    );
}

#[test]
fn an_agent_that_dies_over_a_restart_finishes_it_and_counts_it_once() {
    let mut row = Row::up(EXAMPLE);
    row.kill("web", SERVER);
    row.world.live(9_000);
    let before = row.jid("web");
    let restarts = |world: &World| {
        let mut jails = world.ledger().jails.values();
        let ours = jails.find(|ours| ours.name == "web");
        ours.expect("it is ours").revived
    };
    let lives = |world: &mut World| {
        let until_ms = world.now_ms() + 30_000;
        while world.now_ms() < until_ms {
            match world.converge(ROUNDS_MAX) {
                Ok(_) => world.sleep(1_000),
                Err(stuck) => panic!("{stuck:#?}"),
            }
        }
    };
    let mut undisturbed = row.world.fork();
    undisturbed.start(None);
    lives(&mut undisturbed);
    let effects = undisturbed.effects();
    assert!(effects > 3, "{effects}");
    assert_eq!(restarts(&undisturbed).count, 1);
    let wanted = undisturbed.settled();
    for number in 0..effects {
        for moment in [
            Moment::Before(number),
            Moment::Within(number),
            Moment::After(number),
        ] {
            let mut world = row.world.fork();
            world.start(Some(moment));
            lives(&mut world);
            assert_eq!(world.deaths(), 1, "{moment:?}");
            assert_eq!(restarts(&world).count, 1, "{moment:?}");
            assert_eq!(restarts(&world).jid, 0, "{moment:?}");
            let jid = world.run("jls -j web jid");
            assert_ne!(jid.trim(), before, "{moment:?}");
            assert_eq!(world.settled(), wanted, "{moment:?}");
        }
    }
}
