//! Resource limits: there before the jail's programs, changed while they run, gone with the jail, and nobody else's.

use cellblock_fakebsd::HardwareProfile;

use super::*;

const EXAMPLE: &str = "limits/limits.yaml";

impl Row {
    fn rules(&self) -> Vec<String> {
        let printed = self.run("rctl jail:");
        let mut rules: Vec<String> = printed.lines().map(str::to_owned).collect();
        rules.sort();
        rules
    }
}

#[test]
fn limits_stand_before_the_jails_programs_and_go_with_the_jail() {
    let mut row = Row::up(EXAMPLE);
    let before = [
        "jail:web:maxproc:deny=200",
        "jail:web:maxproc:log=150",
        "jail:web:pcpu:deny=50",
        "jail:web:vmemoryuse:deny=536870912",
    ];
    assert_eq!(row.rules(), before);
    let ran = row.ran(0, "");
    let last = |words: &str| ran.iter().rposition(|line| line.starts_with(words));
    assert!(last("rctl -a") < last("jail -f"), "{ran:?}");
    // Somebody else's rules, of this jail and of another name.
    row.run("rctl -a jail:web:openfiles:log=10");
    row.run("rctl -a jail:other:maxproc:deny=1");
    row.change(r#""maxproc:log=150""#, r#""nthr:deny=1k/user""#);
    row.change("\"vmemoryuse:deny=512M", "\"vmemoryuse:deny=1g");
    let strangers = ["jail:other:maxproc:deny=1", "jail:web:openfiles:log=10"];
    let mut wanted = vec![
        "jail:web:maxproc:deny=200",
        "jail:web:nthr:deny=1024/user",
        "jail:web:pcpu:deny=50",
        "jail:web:vmemoryuse:deny=1073741824",
    ];
    wanted.extend(strangers);
    wanted.sort_unstable();
    assert_eq!(row.rules(), wanted);
    assert!(row.ran(0, "jail -f").len() == 1, "nothing was restarted");
    // By hand.
    row.run("rctl -r jail:web:pcpu");
    row.rest();
    assert_eq!(row.rules(), wanted);
    // Limits of a stopped jail are gone, and come back with it.
    row.change(
        "exec.start: /bin/sh",
        "stop.timeout: 5\n    exec.start: /bin/sh",
    );
    row.change(
        "  host: fbsd-01\n",
        "  host: fbsd-01\n  runPolicy: Stopped\n",
    );
    assert_eq!(row.rules(), strangers);
    row.change("  runPolicy: Stopped\n", "");
    assert_eq!(row.rules(), wanted);
    row.change("limits: [", "limits: []\n  # [");
    assert_eq!(row.rules(), strangers);
}

/// The name goes to a stranger's jail while ours is down: what limits ours would limit his.
#[test]
fn a_strangers_jail_of_that_name_is_not_limited() {
    let mut row = Row::up(EXAMPLE);
    row.change(
        "  host: fbsd-01\n",
        "  host: fbsd-01\n  runPolicy: Stopped\n",
    );
    row.run("jail -c name=web path=/ persist");
    row.change("  runPolicy: Stopped\n", "");
    assert_eq!(row.condition("web", "Ready").reason, "NameTaken");
    assert_eq!(row.rules(), [""; 0]);
    assert_eq!(row.ran(0, "rctl -a").len(), 4, "at the first start alone");
}

/// What the kernel would drop for ours is somebody's, and could not be given back.
#[test]
fn a_strangers_deny_rule_blocks_the_jail_and_stays() {
    let mut row = Row::up(EXAMPLE);
    let jid = row.run("jls -j web jid");
    row.run("rctl -a jail:web:maxproc:deny=7");
    row.rest();
    let ready = row.condition("web", "Ready");
    assert_eq!(ready.reason, "LimitTaken");
    assert!(
        ready.message.contains("`jail:web:maxproc:deny=7`"),
        "{ready:?}"
    );
    let rules = row.rules();
    assert!(
        rules.contains(&"jail:web:maxproc:deny=7".to_owned()) && rules.len() == 4,
        "{rules:?}"
    );
    assert_eq!(row.run("jls -j web jid"), jid);
    row.run("rctl -r jail:web:maxproc:deny=7/jail");
    row.rest();
    assert!(row.is_ready("web"));
    assert!(
        row.rules()
            .contains(&"jail:web:maxproc:deny=200".to_owned())
    );
}

/// Our own rules, and one that is not: a removal must not fit those of the same amount that count for others.
#[test]
fn a_rule_is_removed_without_those_that_count_for_others() {
    let mut row = Row::up(EXAMPLE);
    row.run("rctl -a jail:web:maxproc:deny=200/loginclass");
    row.change("\"maxproc:deny=200\"", "\"maxproc:deny=200/user\"");
    let rules = row.rules();
    let of_maxproc: Vec<&String> = rules
        .iter()
        .filter(|rule| rule.contains("maxproc:deny"))
        .collect();
    assert_eq!(
        of_maxproc,
        [
            "jail:web:maxproc:deny=200/loginclass",
            "jail:web:maxproc:deny=200/user"
        ]
    );
}

#[test]
fn where_resources_are_not_accounted_the_jail_is_blocked() {
    let world = World::of(Release::V15_1, HardwareProfile::recorded());
    let mut row = Row::in_world(world, EXAMPLE);
    let ready = row.condition("web", "Ready");
    assert_eq!(ready.reason, "RacctDisabled");
    assert!(ready.message.contains("kern.racct.enable=1"), "{ready:?}");
    assert_eq!(row.run("jls -h name"), "name");
    row.change("limits: [", "limits: []\n  # [");
    assert!(row.is_ready("web"));
}
