//! Probes through real processes: what depends on a jail waits until it is ready, and one that is not alive is started again, also by an agent that was killed meanwhile.

use anyhow::ensure;
use cellblock_agent::emulated::{Request, Response};
use cellblock_e2e::{CONVERGE, Fleet, Options, eventually};

const JAILS: &str = "apiVersion: cellblock.dev/v1alpha1
kind: Jail
metadata: {name: db}
spec:
  host: fbsd-01
  root: {path: /jails/db}
  probes:
    ready: {exec: {command: [/bin/test, -e, /tmp/up]}, every: 1s}
    live: {exec: {command: [/bin/pgrep, -f, sleep 86400]}, every: 1s, failures: 2}
  parameters: {exec.start: daemon -f sleep 86400}
---
apiVersion: cellblock.dev/v1alpha1
kind: Jail
metadata: {name: web}
spec:
  host: fbsd-01
  root: {path: /jails/web}
  dependsOn: [db]
";

fn run(fleet: &Fleet, argv: &[&str]) -> anyhow::Result<String> {
    let request = Request::Run {
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        stdin: None,
    };
    let answer = fleet.machines[0].ask(&request)?;
    let Response::Ran { stdout, .. } = answer else {
        anyhow::bail!("{answer:?}");
    };
    Ok(stdout)
}

fn described(fleet: &Fleet, jail: &str, said: &str) -> anyhow::Result<()> {
    eventually(said, CONVERGE, || {
        let text = fleet.jailctl(&["describe", "jail", jail])?.ok()?.stdout;
        ensure!(text.contains(said), "{text}");
        Ok(())
    })
}

#[test]
fn dependents_wait_for_ready_and_what_is_not_alive_is_started_again() -> anyhow::Result<()> {
    let fleet = Fleet::start(&Options {
        roots: vec!["/jails/db".to_owned(), "/jails/web".to_owned()],
        ..Options::small()
    })?;
    fleet.apply(JAILS)?;
    described(&fleet, "db", "ProbeFailed")?;
    described(&fleet, "web", "DependencyNotReady")?;
    run(&fleet, &["touch", "/tmp/up"])?;
    fleet.jailctl(&["wait", "jail/db"])?.ok()?;
    fleet.jailctl(&["wait", "jail/web"])?.ok()?;
    let before = run(&fleet, &["jls", "-j", "db", "jid"])?;
    run(&fleet, &["jexec", "db", "pkill", "-f", "sleep 86400"])?;
    described(&fleet, "db", "it was restarted for that once")?;
    ensure!(run(&fleet, &["jls", "-j", "db", "jid"])? != before);
    fleet.jailctl(&["wait", "jail/db"])?.ok()?;
    Ok(())
}
