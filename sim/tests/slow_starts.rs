//! Jails whose hooks take their time: the agent goes on beside them, is killed in the midst of them with or without its jail(8)s, and is told something else meanwhile. Time is virtual.

use cellblock_agent_core::pass::Passed;
use cellblock_fakebsd::Release;
use cellblock_schemas::condition::{Condition, ConditionStatus};
use cellblock_schemas::jail::ParameterValue;
use cellblock_schemas::view::HostView;
use cellblock_sim::World;
use cellblock_sim::views::{Sketch, build, emptied};
use cellblock_sim::world::FOLDER;

/// How many passes anything may take.
const PASSES_MAX: usize = 1_000;

/// The jail `a` in a network of its own stack, with these hooks.
fn view(hooks: &[(&str, &[&str])]) -> HostView {
    let sketch = Sketch {
        networks: vec![2],
        devfs: true,
        securelevel: -1,
        ..Sketch::default()
    };
    let mut view = build(&Default::default(), &[Some(sketch), None, None, None]);
    let jail = view.jails.values_mut().next().expect("a jail");
    for (hook, lines) in hooks {
        let lines = lines.iter().map(|line| (*line).to_owned()).collect();
        let lines = ParameterValue::List(lines);
        jail.spec.parameters.insert((*hook).to_owned(), lines);
    }
    view
}

/// A host whose agent has been given the view.
fn world(view: &HostView) -> World {
    let mut world = World::new(Release::V15_1);
    world.start(None);
    world.take_time();
    world.take(view.clone());
    world
}

fn ready(passed: &Passed) -> Option<&Condition> {
    let mut conditions = passed.report.jails.first()?.conditions.iter();
    conditions.find(|condition| condition.kind == "Ready")
}

fn reason(passed: &Passed) -> &str {
    ready(passed).map_or("", |ready| ready.reason.as_str())
}

/// Passes until one is as wanted; all of them, that one last.
fn until(world: &mut World, what: &str, is_wanted: impl Fn(&Passed) -> bool) -> Vec<Passed> {
    let mut all = Vec::new();
    for _ in 0..PASSES_MAX {
        let passed = world.pass().expect("nothing fails on this host");
        let pause_ms = passed.again_ms.unwrap_or(1_000);
        let done = is_wanted(&passed);
        all.push(passed);
        if done {
            return all;
        }
        world.sleep(pause_ms);
    }
    let last = all.last();
    let left = last.map(|passed| (passed.plan.lines(), &passed.failed, passed.again_ms));
    panic!("not {what}: {:#?} {left:#?}", last.and_then(ready));
}

fn is_at_rest(passed: &Passed) -> bool {
    passed.plan.is_empty() && passed.plan.waiting.is_empty()
}

fn is_running(passed: &Passed) -> bool {
    is_at_rest(passed) && reason(passed) == "Running"
}

/// When jail(8) was told to start the jail, in seconds.
fn starts(world: &World) -> Vec<u64> {
    let emulator = world.host.emulator();
    let log = emulator.log.iter();
    let starts = log.filter(|logged| {
        let words = &logged.argv;
        words[0] == "jail" && words.iter().any(|word| word == "-c")
    });
    starts.map(|logged| logged.at.as_secs()).collect()
}

fn files(world: &World) -> Vec<String> {
    let emulator = world.host.emulator();
    let names = emulator.files.list(&format!("{FOLDER}/jails"));
    names
        .expect("the folder is there")
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_slow_start_is_waited_for() {
    let mut world = world(&view(&[("exec.start", &["sleep 90"])]));
    let passes = until(&mut world, "running", is_running);
    let busy = passes.iter().filter(|passed| reason(passed) == "Busy");
    assert!(busy.count() > 80, "it is looked at once a second");
    assert_eq!(starts(&world).len(), 1);
    assert!(
        (90_000..95_000).contains(&world.now_ms()),
        "{}",
        world.now_ms()
    );
    assert_eq!(files(&world), ["a.conf"]);
}

/// What fails after a while is tried less and less often, and Ready tells of the last failure until the next is known.
#[test]
fn a_slow_start_that_fails_is_held_back() {
    let failing = view(&[("exec.start", &["sleep 20", "false"])]);
    let mut world = world(&failing);
    let passes = until(&mut world, "ten minutes later", |passed| {
        passed.report.jails.iter().any(|jail| {
            let ready = jail.conditions.first();
            ready.is_some_and(|ready| ready.message.contains("again and again"))
        })
    });
    let starts = starts(&world);
    let pauses: Vec<u64> = starts.windows(2).map(|two| two[1] - two[0] - 20).collect();
    for (pause, wanted) in pauses.iter().zip([1, 2, 4, 8, 16, 32]) {
        assert!((wanted..=wanted + 3).contains(pause), "{pauses:?}");
    }
    assert_eq!(starts.len(), 7, "{starts:?}");
    let first = passes
        .iter()
        .position(|passed| reason(passed) == "CommandFailed");
    let told = &passes[first.expect("it has failed")..];
    let mut reports: Vec<_> = told.iter().map(|passed| &passed.report.jails).collect();
    reports.dedup();
    assert_eq!(reports.len(), starts.len(), "one report for each failure");
    for passed in told {
        assert_eq!(reason(passed), "CommandFailed");
    }

    // It is mended while it is being tried once more.
    until(&mut world, "tried again", |passed| {
        !passed.observed.busy.is_empty()
    });
    let mended = view(&[("exec.start", &["sleep 5", "true"])]);
    world.take(mended);
    let passes = until(&mut world, "running", is_running);
    for passed in &passes {
        assert_ne!(
            reason(passed),
            "CommandFailed",
            "what failed was another jail.conf"
        );
    }
    assert!(files(&world).iter().all(|name| !name.ends_with(".jid")));
}

#[test]
fn a_start_outlives_the_agent() {
    let mut world = world(&view(&[("exec.start", &["sleep 90"])]));
    until(&mut world, "busy", |passed| reason(passed) == "Busy");
    world.sleep(30_000);
    world.start(None);
    let passes = until(&mut world, "running", is_running);
    assert_eq!(
        reason(&passes[0]),
        "Busy",
        "the new agent sees the old one's jail(8)"
    );
    assert_eq!(starts(&world).len(), 1);
    assert_eq!(files(&world), ["a.conf"]);
    let message = &ready(&passes[passes.len() - 1])
        .expect("it is told")
        .message;
    assert_eq!(message, "", "it was not started again");
}

/// jail(8) and the agent are killed while exec.start runs: the kernel shows a jail like any other, in which something may call itself what it likes.
#[test]
fn a_start_that_was_cut_off_is_made_anew() {
    let mut world = world(&view(&[("exec.start", &["sleep 90"])]));
    until(&mut world, "busy", |passed| reason(passed) == "Busy");
    world.run(&format!(
        "jexec a daemon /usr/sbin/jail -f {FOLDER}/jails/a.conf -J {FOLDER}/jails/a.jid -c a"
    ));
    world.sleep(30_000);
    world.host.emulator().kill_all();
    world.start(None);
    let passes = until(&mut world, "busy again", |passed| reason(passed) == "Busy");
    for passed in &passes {
        assert_ne!(reason(passed), "Running");
    }
    let passes = until(&mut world, "running", is_running);
    let last = ready(&passes[passes.len() - 1]).expect("it is told");
    assert_eq!(last.status, ConditionStatus::True);
    assert!(last.message.contains("did not come to its end"), "{last:?}");
    assert_eq!(starts(&world).len(), 2);
    assert_eq!(files(&world), ["a.conf"]);
}

/// A jail(8) of a former agent whose hook hangs is not waited for for ever.
#[test]
fn a_start_that_hangs_is_ended_whoever_began_it() {
    let mut world = world(&view(&[("exec.start", &["sleep 1000000"])]));
    until(&mut world, "busy", |passed| reason(passed) == "Busy");
    world.start(None);
    let conf = world.host.clone();
    until(&mut world, "begun again", |_| {
        let emulator = conf.emulator();
        let begun = emulator.log.iter();
        let begun = begun.filter(|logged| logged.argv.iter().any(|word| word == "-c"));
        begun.count() == 2
    });
    let starts = starts(&world);
    assert!((600..620).contains(&(starts[1] - starts[0])), "{starts:?}");
}

#[test]
fn a_jail_that_is_deleted_while_it_starts_leaves_nothing() {
    let view = view(&[("exec.start", &["sleep 90"]), ("exec.stop", &["sleep 40"])]);
    let mut world = world(&view);
    until(&mut world, "busy", |passed| reason(passed) == "Busy");
    world.take(emptied(&view));
    until(&mut world, "gone", is_at_rest);
    assert_eq!(files(&world), Vec::<String>::new());
    assert!(world.observe().jails.iter().all(|jail| jail.dying));
    assert!(world.ledger().jails.is_empty());

    // Once more, and the agent dies while it stops the jail.
    world.take(view.clone());
    until(&mut world, "running", is_running);
    world.take(emptied(&view));
    until(&mut world, "stopping", |passed| {
        !passed.observed.busy.is_empty()
    });
    world.start(None);
    until(&mut world, "gone", is_at_rest);
    assert_eq!(files(&world), Vec::<String>::new());
    assert!(world.observe().jails.iter().all(|jail| jail.dying));
}
