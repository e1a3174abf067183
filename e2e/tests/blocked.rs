//! What a manifest may ask for and a host cannot do: the jail waits or is blocked and says why; everything else goes on.

use anyhow::{Context as _, ensure};
use cellblock_e2e::{CONVERGE, Fleet, Options, eventually};
use cellblock_schemas::Kind;

const MANIFEST: &str = r#"
apiVersion: cellblock.dev/v1alpha1
kind: Host
metadata: {name: fbsd-01}
spec:
  approved: true
  uplinks:
    external: {interface: vtnet0}
    wrong: {interface: igb7}
---
apiVersion: cellblock.dev/v1alpha1
kind: Network
metadata: {name: no-such-uplink}
spec: {bridge: {uplink: dmz}, subnets: [{cidr: 10.31.0.0/24}]}
---
apiVersion: cellblock.dev/v1alpha1
kind: Network
metadata: {name: no-such-nic}
spec: {bridge: {uplink: wrong}, subnets: [{cidr: 10.32.0.0/24}]}
---
apiVersion: cellblock.dev/v1alpha1
kind: Jail
metadata: {name: fine}
spec: {host: fbsd-01, root: {path: /jails/fine}}
---
apiVersion: cellblock.dev/v1alpha1
kind: Jail
metadata: {name: no-host}
spec: {host: fbsd-99, root: {path: /jails/no-host}}
---
apiVersion: cellblock.dev/v1alpha1
kind: Jail
metadata: {name: no-network}
spec: {host: fbsd-01, root: {path: /jails/no-network}, networks: [{network: nowhere}]}
---
apiVersion: cellblock.dev/v1alpha1
kind: Jail
metadata: {name: no-uplink}
spec: {host: fbsd-01, root: {path: /jails/no-uplink}, networks: [{network: no-such-uplink}]}
---
apiVersion: cellblock.dev/v1alpha1
kind: Jail
metadata: {name: no-nic}
spec: {host: fbsd-01, root: {path: /jails/no-nic}, networks: [{network: no-such-nic}]}
---
apiVersion: cellblock.dev/v1alpha1
kind: Jail
metadata: {name: no-ruleset}
spec: {host: fbsd-01, root: {path: /jails/no-ruleset}, parameters: {mount.devfs: true, devfs_ruleset: 99}}
---
apiVersion: cellblock.dev/v1alpha1
kind: Jail
metadata: {name: no-root}
spec: {host: fbsd-01, root: {path: /jails/nowhere}}
---
apiVersion: cellblock.dev/v1alpha1
kind: Jail
metadata: {name: name-taken}
spec: {host: fbsd-01, jailName: theirs, root: {path: /jails/name-taken}}
"#;

/// Each jail with what must be said of it.
const SAID: [(&str, &[&str]); 7] = [
    (
        "no-host",
        &[
            "HostMissing",
            "fbsd-99 does not exist",
            "when its agent first connects",
        ],
    ),
    ("no-network", &["NetworkMissing", "nowhere", "apply it"]),
    (
        "no-uplink",
        &["UplinkMissing", "no uplink `dmz`", "external, wrong"],
    ),
    ("no-nic", &["UplinkMissing", "igb7", "vtnet0"]),
    ("no-ruleset", &["DevfsRulesetMissing", "99"]),
    ("no-root", &["RootMissing", "/jails/nowhere"]),
    ("name-taken", &["NameTaken", "theirs"]),
];

#[test]
fn what_a_host_cannot_do_is_said_and_everything_else_goes_on() -> anyhow::Result<()> {
    let mut fleet = Fleet::prepare(&Options {
        roots: [
            "fine",
            "no-host",
            "no-network",
            "no-uplink",
            "no-nic",
            "no-ruleset",
            "name-taken",
        ]
        .iter()
        .map(|name| format!("/jails/{name}"))
        .collect(),
        ..Options::small()
    })?;
    let machine = fleet.machine("fbsd-01")?;
    machine.run("jail -c name=theirs path=/ persist")?;
    machine.agent.start()?;
    fleet.start_controller()?;
    fleet.apply(MANIFEST)?;
    fleet.jailctl(&["wait", "jail", "fine"])?.ok()?;
    for (jail, texts) in SAID {
        eventually(jail, CONVERGE, || {
            let said = fleet
                .jailctl(&["wait", "jail", jail, "--timeout", "0s"])?
                .refused()?;
            let line = said
                .errors()
                .find(|line| line.contains(&format!("jail/{jail}: ")))
                .with_context(|| format!("it is not named: {said}"))?;
            for text in texts {
                ensure!(line.contains(text), "`{text}` is missing: {line}");
            }
            Ok(())
        })?;
    }
    let theirs = fleet.machine("fbsd-01")?.run("jls -j theirs path")?;
    ensure!(theirs.trim() == "/", "the stranger was touched: {theirs}");
    fleet.assert_no_panic()
}

#[test]
fn a_stale_resource_version_is_refused_and_says_what_to_do() -> anyhow::Result<()> {
    let fleet = Fleet::controller_alone()?;
    let manifest = |path: &str| {
        format!(
            "apiVersion: cellblock.dev/v1alpha1\nkind: Jail\nmetadata: {{name: web}}\nspec: {{root: {{path: {path}}}}}\n"
        )
    };
    fleet.apply(&manifest("/jails/one"))?;
    let stale = fleet.get(Kind::Jail, "web")?;
    fleet.apply(&manifest("/jails/two"))?;
    let mut client = fleet.client()?;
    let updated = fleet.block_on(client.update(Kind::Jail, "web", &stale, "test"));
    let refused = updated.err().context("it was written")?;
    ensure!(refused.reason == "Conflict", "{refused:?}");
    let text = refused.to_string();
    for said in [
        "metadata.resourceVersion: the Jail was changed meanwhile",
        "read it again, then repeat the change",
    ] {
        ensure!(text.contains(said), "`{said}` is missing: {text}");
    }
    let now = fleet.get(Kind::Jail, "web")?;
    ensure!(now["spec"]["root"]["path"] == "/jails/two", "{now}");
    Ok(())
}

#[test]
fn a_manifest_with_a_stale_resource_version_is_refused_with_its_line_and_nothing_of_it_is_written()
-> anyhow::Result<()> {
    let fleet = Fleet::controller_alone()?;
    let manifest = |path: &str, version: &str| {
        format!(
            "apiVersion: cellblock.dev/v1alpha1\nkind: Jail\nmetadata:\n  name: other\nspec: {{root: {{path: /jails/other}}}}\n---\napiVersion: cellblock.dev/v1alpha1\nkind: Jail\nmetadata:\n  name: web\n  resourceVersion: \"{version}\"\nspec: {{root: {{path: {path}}}}}\n"
        )
    };
    let web = |path: &str| -> anyhow::Result<String> {
        let text = manifest(path, "").replace("  resourceVersion: \"\"\n", "");
        let (_, web) = text.split_once("---\n").context("two documents")?;
        Ok(web.to_owned())
    };
    fleet.apply(&web("/jails/one")?)?;
    let stale = fleet.get(Kind::Jail, "web")?;
    let stale = stale["metadata"]["resourceVersion"]
        .as_str()
        .context("it has a version")?;
    fleet.apply(&web("/jails/two")?)?;
    let path = fleet.folder().join("stale.yaml");
    std::fs::write(&path, manifest("/jails/three", stale))?;
    let path = path.display().to_string();
    let before = fleet.inventory()?;
    let said = fleet.jailctl(&["apply", "-f", &path])?.refused()?;
    said.says(&[
        "error: metadata.resourceVersion: the Jail was changed meanwhile: it is at ",
        &format!(", not at {stale}"),
        &format!("{path}:11:3"),
        &format!("11 |   resourceVersion: \"{stale}\""),
        "= help: read it again, then repeat the change",
        "nothing was applied",
    ])?;
    ensure!(fleet.inventory()? == before, "half-applied: {said}");
    // What it is at now is as good as none.
    let now = fleet.get(Kind::Jail, "web")?;
    let now = now["metadata"]["resourceVersion"]
        .as_str()
        .context("it has a version")?;
    fleet.apply(&manifest("/jails/three", now))?;
    let written = fleet.get(Kind::Jail, "web")?;
    ensure!(
        written["spec"]["root"]["path"] == "/jails/three",
        "{written}"
    );
    Ok(())
}
