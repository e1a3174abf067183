//! What an agent's process holds in memory while its host, in another process, has many jails.
//!
//! `CELLBLOCK_JAILS` says how many (the nightly run: 1,000).

use anyhow::{Context as _, ensure};
use cellblock_e2e::{CONVERGE, Fleet, Options, StoreKind, eventually, note};

/// Jails where nobody says how many.
const JAILS: usize = 100;

/// What an agent may hold, in KiB.
const RESIDENT_KIB_MAX: u64 = 32 << 10;

#[test]
fn an_agent_with_many_jails_stays_small() -> anyhow::Result<()> {
    let jails: usize = match std::env::var("CELLBLOCK_JAILS") {
        Ok(text) => text.parse().context("CELLBLOCK_JAILS is a number")?,
        Err(_) => JAILS,
    };
    let names: Vec<String> = (0..jails).map(|number| format!("j{number:04}")).collect();
    let mut fleet = Fleet::start(&Options {
        store: StoreKind::Embedded,
        machines: vec!["fbsd-01"],
        roots: names.iter().map(|name| format!("/jails/{name}")).collect(),
    })?;
    let mut manifest = "apiVersion: cellblock.dev/v1alpha1\nkind: Network\nmetadata: {name: lan}\nspec: {bridge: {}, subnets: [{cidr: 10.30.0.0/16}]}\n".to_owned();
    for name in &names {
        manifest.push_str(&format!(
            "---\napiVersion: cellblock.dev/v1alpha1\nkind: Jail\nmetadata: {{name: {name}}}\nspec: {{host: fbsd-01, root: {{path: /jails/{name}}}, networks: [{{network: lan, interface: lan0}}, {{network: back, interface: back0}}]}}\n"
        ));
    }
    manifest.push_str("---\napiVersion: cellblock.dev/v1alpha1\nkind: Network\nmetadata: {name: back}\nspec: {bridge: {}, subnets: [{cidr: 10.31.0.0/16}]}\n");
    fleet.apply(&manifest)?;
    let timeout = format!("{}s", 60 + jails);
    fleet
        .jailctl(&["wait", "jail", "--timeout", &timeout])?
        .ok()?;
    weigh(&fleet, jails, "that has made everything")?;
    // An agent that finds everything made has a smaller past, but the same present.
    let agent = &mut fleet.machine("fbsd-01")?.agent;
    agent.kill();
    agent.start()?;
    let revision = fleet.revision()?;
    eventually("it has reported again", CONVERGE, || {
        ensure!(fleet.revision()? > revision, "not yet");
        Ok(())
    })?;
    weigh(&fleet, jails, "that was started again")?;
    fleet.assert_no_panic()
}

fn weigh(fleet: &Fleet, jails: usize, which: &str) -> anyhow::Result<()> {
    let release = fleet.binaries().is_release();
    let agent = &fleet.machines[0].agent;
    let (resident, own) = (agent.memory_kib("VmRSS")?, agent.memory_kib("RssAnon")?);
    note(&format!(
        "an agent {which}, {jails} jails of two interfaces: {resident} KiB resident, {own} KiB of it its own, at most {} KiB before, {} ms of CPU (release: {release})",
        agent.memory_kib("VmHWM")?,
        agent.cpu_ms()?
    ));
    // Without optimisation most of what is resident is the program's own text.
    let counted = if release { resident } else { own };
    ensure!(
        counted <= RESIDENT_KIB_MAX,
        "{counted} KiB, at most {RESIDENT_KIB_MAX} may be"
    );
    Ok(())
}
