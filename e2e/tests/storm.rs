//! Processes die at any moment, and the fleet comes to be as asked for all the same, with no address twice at any moment that
//! somebody looked.
//!
//! `CELLBLOCK_KILLS` says how many are killed (the nightly run: 200); `CELLBLOCK_SEED` repeats the choices of a run. A kill that comes
//! too late, because the process has ended, does not count.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use cellblock_e2e::{
    CONVERGE, Dice, Fleet, Options, Running, StoreKind, Watchman, eventually, examples, note,
};

/// Kills where nobody says how many: each kind of process once, and one more.
const KILLS: u64 = 6;

/// The latest moment of a kill after its command was started, in microseconds: by then a command that nothing disturbs has ended.
const MOMENT_US_MAX: u64 = 1_500_000;

/// How many kills may come too late for each that does not: only those of `jailctl` can, which are one in four or five, and its moment
/// is drawn from the time that it usually takes.
const MISSES_PER_KILL: u64 = 2;

/// Subnets of `examples/` in which an address is unique over all hosts, and those in which it is on each host.
const FLEET_SUBNETS: [&str; 6] = [
    "10.10.0.0/24",
    "fd00:10:10::/64",
    "203.0.113.0/24",
    "2001:db8:113::/64",
    "198.51.100.0/24",
    "2001:db8:51::/64",
];
const HOST_SUBNETS: [&str; 6] = [
    "192.0.2.0/28",
    "fd00:20::/64",
    "127.0.1.0/24",
    "fd00:127:1::/64",
    "172.16.1.0/24",
    "fd00:172:16:1::/64",
];

/// What is changed in `examples/`: an address, a published port, a parameter that changes live, and one that needs a restart.
const CHANGES: [(&str, &str); 4] = [
    ("addresses: [192.0.2.3, ", "addresses: [192.0.2.6, "),
    ("ports: [21, 80, 443]", "ports: [21, 80, 8444]"),
    (
        "host.hostname: www.example.org",
        "host.hostname: www2.example.org",
    ),
    ("sysvshm: new ", "sysvshm: inherit "),
];

/// What an operator does, and what is killed meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Apply,
    Change,
    Delete,
}

/// What is killed. A machine is killed by cutting its power: its agent and its kernel's state are gone, its files stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Controller,
    Agent(usize),
    Store,
    Jailctl,
    Power(usize),
}

impl Victim {
    fn kind(self) -> &'static str {
        match self {
            Self::Controller => "controller",
            Self::Agent(_) => "agent",
            Self::Store => "store",
            Self::Jailctl => "jailctl",
            Self::Power(_) => "power",
        }
    }
}

/// What came of one kill.
struct Outcome {
    /// Whether what was to be killed was alive.
    hit: bool,
    /// From the kill until the fleet was as asked for.
    converged: Duration,
    /// How long the command took, if it succeeded.
    undisturbed: Option<Duration>,
}

#[test]
fn whatever_is_killed_over_etcd_the_fleet_converges() -> anyhow::Result<()> {
    storm(StoreKind::Etcd, kills()?)
}

#[test]
fn whatever_is_killed_over_one_file_the_fleet_converges() -> anyhow::Result<()> {
    storm(StoreKind::Embedded, kills()?.div_ceil(2))
}

fn kills() -> anyhow::Result<u64> {
    match std::env::var("CELLBLOCK_KILLS") {
        Ok(text) => text.parse().context("CELLBLOCK_KILLS is a number"),
        Err(_) => Ok(KILLS),
    }
}

fn storm(store: StoreKind, kills: u64) -> anyhow::Result<()> {
    let mut dice = Dice::from_environment("storm")?;
    let mut fleet = Fleet::start(&Options::examples(store))?;
    let before = fleet.fingerprints()?;
    let folders = Folders::make(&fleet)?;
    let watchman = Watchman::begin(&fleet, &FLEET_SUBNETS, &HOST_SUBNETS)?;
    let mut slowest = Duration::ZERO;
    let mut victims = Vec::new();
    let mut usual = fleet
        .jailctl(&["apply", "-f", "examples", "--dry-run"])?
        .ok()?
        .took;
    let mut hit: BTreeMap<&str, u64> = BTreeMap::new();
    let mut missed = 0;
    let mut actions = [Action::Apply, Action::Change, Action::Delete]
        .into_iter()
        .cycle();
    while hit.values().sum::<u64>() < kills {
        let action = actions.next().context("a cycle has no end")?;
        let victim = draw(&mut victims, &mut dice, store);
        let within = match victim {
            Victim::Jailctl => u64::try_from(usual.as_micros())?,
            Victim::Controller | Victim::Agent(_) | Victim::Store | Victim::Power(_) => {
                MOMENT_US_MAX
            }
        };
        let moment = Duration::from_micros(dice.below(within.max(1)));
        let round = hit.values().sum::<u64>();
        let what = format!("kill {round}: {victim:?} during {action:?} after {moment:?}");
        let outcome = one(&mut fleet, action, victim, moment, &folders, &before)
            .with_context(|| what.clone())
            .with_context(|| fleet.logs())?;
        let late = if outcome.hit { "" } else { "too late, " };
        let converged = outcome.converged.as_millis();
        note(&format!("{what}: {late}converged in {converged} ms"));
        slowest = slowest.max(outcome.converged);
        usual = outcome.undisturbed.unwrap_or(usual);
        if outcome.hit {
            *hit.entry(victim.kind()).or_default() += 1;
        } else {
            missed += 1;
            ensure!(
                missed <= kills * MISSES_PER_KILL,
                "{missed} kills came too late and {hit:?} did not"
            );
        }
    }
    let looks = watchman.end()?;
    fleet.assert_no_panic()?;
    note(&format!(
        "{kills} kills over {store:?} of what was alive ({hit:?}; {missed} more came too late): slowest convergence {} ms; no address twice in {looks} looks",
        slowest.as_millis()
    ));
    Ok(())
}

/// The next victim: all kinds in an order of the dice's, then again.
fn draw(victims: &mut Vec<Victim>, dice: &mut Dice, store: StoreKind) -> Victim {
    if victims.is_empty() {
        let (agent, machine) = (dice.below(3) as usize, dice.below(3) as usize);
        victims.extend([
            Victim::Controller,
            Victim::Agent(agent),
            Victim::Jailctl,
            Victim::Power(machine),
        ]);
        if store == StoreKind::Etcd {
            victims.push(Victim::Store);
        }
        dice.shuffle(victims);
    }
    victims.pop().unwrap_or(Victim::Controller)
}

/// One action with one kill.
fn one(
    fleet: &mut Fleet,
    action: Action,
    victim: Victim,
    moment: Duration,
    folders: &Folders,
    before: &[Vec<String>],
) -> anyhow::Result<Outcome> {
    let arguments: &[&str] = match action {
        Action::Apply => &["apply", "-f", "examples"],
        Action::Change => &["apply", "-f", &folders.changed],
        Action::Delete => &["delete", "-f", &folders.jails, "--no-wait"],
    };
    let mut running = fleet.start_jailctl(arguments, "")?;
    std::thread::sleep(moment);
    let killed = Instant::now();
    let alive = kill(fleet, victim, &mut running)?;
    let said = running.end()?;
    let hit = match victim {
        // Only a signal leaves it without an exit status.
        Victim::Jailctl => said.status.is_none(),
        Victim::Controller | Victim::Agent(_) | Victim::Store | Victim::Power(_) => alive,
    };
    // Whose command was cut off, or found no controller, gives it again.
    if said.status != Some(0) {
        eventually("the command given again", CONVERGE, || {
            fleet.jailctl(arguments)?.ok().map(|_| ())
        })?;
    }
    match action {
        Action::Apply => ready(fleet, "examples", killed)?,
        Action::Change => ready(fleet, &folders.changed, killed)?,
        Action::Delete => {
            let left = CONVERGE.saturating_sub(killed.elapsed());
            let timeout = format!("{}s", left.as_secs());
            let arguments = ["wait", "-f", &folders.jails, "--for", "delete"];
            let arguments = [&arguments[..], &["--timeout", &timeout]].concat();
            fleet.jailctl(&arguments)?.ok()?;
            let left = CONVERGE.saturating_sub(killed.elapsed());
            fleet.wait_restored(before, left)?;
        }
    }
    Ok(Outcome {
        hit,
        converged: killed.elapsed(),
        undisturbed: (said.status == Some(0)).then_some(said.took),
    })
}

/// Ready as reported, and as the machines themselves show it.
fn ready(fleet: &Fleet, path: &str, killed: Instant) -> anyhow::Result<()> {
    fleet.wait_ready(path, CONVERGE.saturating_sub(killed.elapsed()))?;
    let left = CONVERGE.saturating_sub(killed.elapsed());
    eventually("everything is really there", left, || {
        fleet.assert_really_there()
    })
}

/// Whether what was killed was alive, and starts it again; of a command it is seen at its end.
fn kill(fleet: &mut Fleet, victim: Victim, running: &mut Running) -> anyhow::Result<bool> {
    let alive = match victim {
        Victim::Controller => {
            let alive = fleet.controller.kill();
            fleet.start_controller()?;
            alive
        }
        Victim::Agent(number) => {
            let machine = &mut fleet.machines[number];
            let alive = machine.agent.kill();
            machine.agent.start()?;
            alive
        }
        Victim::Store => {
            let etcd = fleet.etcd.as_mut().context("this fleet has an etcd")?;
            let alive = etcd.kill();
            fleet.restart_etcd()?;
            alive
        }
        Victim::Jailctl => {
            running.kill();
            true
        }
        Victim::Power(number) => {
            let machine = &mut fleet.machines[number];
            machine.cut_power()?;
            machine.agent.start()?;
            true
        }
    };
    Ok(alive)
}

/// Manifests made from `examples/`.
struct Folders {
    /// The same with [`CHANGES`].
    changed: String,
    /// The same without the hosts: an agent whose Host is deleted joins again only when it is started again.
    jails: String,
}

impl Folders {
    fn make(fleet: &Fleet) -> anyhow::Result<Self> {
        let changed = fleet.folder().join("changed");
        let jails = fleet.folder().join("jails");
        std::fs::create_dir(&changed)?;
        std::fs::create_dir(&jails)?;
        let mut made = 0;
        for path in jailctl::input::expand(&examples())? {
            let name = path.file_name().expect("a manifest has a name");
            let mut text = std::fs::read_to_string(&path)?;
            if name != "hosts.yaml" {
                std::fs::write(jails.join(name), &text)?;
            }
            for (from, to) in CHANGES {
                made += text.matches(from).count();
                text = text.replace(from, to);
            }
            std::fs::write(changed.join(name), text)?;
        }
        ensure!(
            made == CHANGES.len(),
            "examples/ has changed: {made} of {} changes could be made",
            CHANGES.len()
        );
        Ok(Self {
            changed: changed.display().to_string(),
            jails: jails.display().to_string(),
        })
    }
}
