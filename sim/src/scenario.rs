//! What happened to a host before a look is taken, as text: the operator's commands, the agent's passes, time, power. Golden cases begin with one.
//!
//! ```text
//! release 14.3                       only as the first line; 15.1 unless said
//! agent converges                    on the case's view.yaml
//! agent converges on before.yaml     on another view of the case's folder
//! agent passes                       once, on view.yaml
//! agent dies after effect 3          it was started on view.yaml; a command, a file or the ledger is an effect
//! agent loses its ledger
//! time passes 500 ms
//! power fails
//! $ ifconfig {bridge switch} down    a command on the host, by sh(1); it must succeed
//! ```
//!
//! In braces stand kernel names that follow from uids: `{bridge NETWORK}`, `{loopback NETWORK}`, `{network anchor NETWORK}`, `{isolation anchor NETWORK}`, `{host end JAIL INTERFACE}`, `{jail end JAIL INTERFACE}`, `{jail anchor JAIL}`,
//! `{switch node NETWORK}`, `{port node NETWORK}`, `{port NETWORK}`, `{eiface node JAIL INTERFACE}`, `{eiface JAIL INTERFACE}`.

use anyhow::{Context as _, bail, ensure};
use cellblock_agent_core::execute::Unkept;
use cellblock_agent_core::names;
use cellblock_agent_core::op::Plan;
use cellblock_agent_core::plan::{Settings, learn, plan};
use cellblock_fakebsd::Release;
use cellblock_schemas::view::HostView;

use crate::crash::Moment;
use crate::world::{FOLDER, World};

/// How many passes an agent may need to come to rest.
const ROUNDS_MAX: usize = 100;

/// Where the other views of a case come from, by file name.
pub type Views<'a> = dyn Fn(&str) -> anyhow::Result<HostView> + 'a;

/// A host after everything that `script` says, with `view` given to its agent.
///
/// # Errors
/// A line cannot be read, a command fails, or the agent does not come to rest.
pub fn play(script: &str, view: &HostView, others: &Views<'_>) -> anyhow::Result<World> {
    let release = if script.lines().any(|line| line.trim() == "release 14.3") {
        Release::V14_3
    } else {
        Release::V15_1
    };
    let mut world = World::new(release);
    for (number, line) in script.lines().enumerate() {
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') && line != "release 14.3" {
            act(&mut world, line, view, others)
                .with_context(|| format!("line {}: `{line}`", number + 1))?;
        }
    }
    world.take(view.clone());
    Ok(world)
}

/// What the agent would do to `world` now.
#[must_use]
pub fn plan_now(world: &World) -> Plan {
    let observed = world.observe();
    let mut ledger = world.ledger().clone();
    learn(&world.view, &observed, &mut ledger, &mut Unkept).expect("no file never fails");
    let settings = Settings {
        folder: FOLDER.to_owned(),
    };
    plan(&world.view, &observed, &ledger, &settings)
}

fn act(world: &mut World, line: &str, view: &HostView, others: &Views<'_>) -> anyhow::Result<()> {
    if let Some(command) = line.strip_prefix("$ ") {
        return run(world, &substitute(command, view)?);
    }
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        ["agent", "converges"] => converge(world, view.clone()),
        ["agent", "converges", "on", file] => converge(world, others(file)?),
        ["agent", "passes"] => {
            world.take(view.clone());
            world.pass().context("the pass")?;
            Ok(())
        }
        ["agent", "dies", "after", "effect", number] => {
            world.start(Some(Moment::After(number.parse()?)));
            world.take(view.clone());
            for _ in 0..ROUNDS_MAX {
                if world.pass().is_err() && world.is_dead() {
                    world.start(None);
                    return Ok(());
                }
                world.sleep(1_000);
            }
            bail!("the agent had only {} effects", world.effects())
        }
        ["agent", "loses", "its", "ledger"] => {
            world.disk.wipe();
            world.start(None);
            Ok(())
        }
        ["time", "passes", ms, "ms"] => {
            world.sleep(ms.parse()?);
            Ok(())
        }
        ["power", "fails"] => {
            world.host.emulator().reboot();
            world.start(None);
            Ok(())
        }
        _ => bail!("this is none of the lines that a scenario knows"),
    }
}

fn converge(world: &mut World, view: HostView) -> anyhow::Result<()> {
    world.take(view);
    match world.converge(ROUNDS_MAX) {
        Ok(_) => Ok(()),
        Err(stuck) => bail!("the agent did not come to rest: {stuck:#?}"),
    }
}

fn run(world: &World, command: &str) -> anyhow::Result<()> {
    let argv = ["sh", "-c", command].map(str::to_owned);
    let output = world.host.emulator().run(&argv, "");
    ensure!(
        output.status == 0,
        "exit status {}: {}{}",
        output.status,
        output.stdout,
        output.stderr
    );
    Ok(())
}

/// The command with kernel names in the place of what stands in braces.
fn substitute(command: &str, view: &HostView) -> anyhow::Result<String> {
    let mut text = String::new();
    let mut rest = command;
    while let Some((before, behind)) = rest.split_once('{') {
        let (name, after) = behind.split_once('}').context("a brace is not closed")?;
        text.push_str(before);
        text.push_str(&kernel_name(name, view)?);
        rest = after;
    }
    text.push_str(rest);
    Ok(text)
}

fn kernel_name(name: &str, view: &HostView) -> anyhow::Result<String> {
    let network = |name: &str| {
        let network = view.networks.get(name);
        network
            .map(|network| &network.uid)
            .with_context(|| format!("view.yaml has no network {name}"))
    };
    let jail = |name: &str| {
        let jail = view.jails.values().find(|jail| jail.name == name);
        jail.map(|jail| &jail.uid)
            .with_context(|| format!("view.yaml has no jail {name}"))
    };
    let words: Vec<&str> = name.split(' ').collect();
    Ok(match words[..] {
        ["bridge", of] => names::bridge(network(of)?),
        ["loopback", of] => names::loopback(network(of)?),
        ["network", "anchor", of] => names::network_anchor(network(of)?),
        ["isolation", "anchor", of] => names::isolation_anchor(network(of)?),
        ["host", "end", of, interface] => names::epair_host_end(jail(of)?, interface),
        ["jail", "end", of, interface] => names::epair_jail_end(jail(of)?, interface),
        ["switch", "node", of] => names::Node::switch(network(of)?).name(&view.cluster),
        ["port", "node", of] => names::Node::port(network(of)?).name(&view.cluster),
        ["port", of] => names::switch_port(network(of)?),
        ["eiface", "node", of, interface] => {
            names::Node::link(jail(of)?, interface).name(&view.cluster)
        }
        ["eiface", of, interface] => names::eiface(jail(of)?, interface),
        ["jail", "anchor", of] => names::jail_anchor(jail(of)?),
        _ => bail!("`{{{name}}}` is no kernel name"),
    })
}
