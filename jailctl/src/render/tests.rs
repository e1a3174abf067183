//! Rendering as a whole: the arrangements of `examples/networking` as committed texts, done by hand on another host, and what is asked for in part.
//!
//! `UPDATE_GOLDEN=1 cargo test -p jailctl --lib render` writes the texts anew; read the difference before committing it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use cellblock_fakebsd::Emulator;
use cellblock_schemas::manifest;
use cellblock_sim::views;
use proptest::prelude::*;

use super::*;

fn folder(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn sorted(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
    let mut entries: Vec<PathBuf> = entries.collect::<Result<_, _>>()?;
    entries.sort();
    Ok(entries)
}

/// What manifests give, all of it admitted.
fn index(text: &str) -> anyhow::Result<Index> {
    let mut documents = manifest::parse("manifest", text)
        .map_err(|found| anyhow::anyhow!("{:?}", found.first().map(|one| one.render(false))))?;
    documents.sort_by_key(|document| document.object.kind());
    let admitted = offline::admitted(&documents)?;
    ensure!(admitted.refused.is_empty(), "{:?}", admitted.refused);
    Ok(admitted.index)
}

/// The manifest of a folder of `examples/networking`.
fn example(folder: &Path) -> anyhow::Result<String> {
    let mut files = sorted(folder)?.into_iter();
    let manifest = files.find(|file| file.extension().is_some_and(|end| end == "yaml"));
    let manifest = manifest.with_context(|| format!("{} has no manifest", folder.display()))?;
    Ok(std::fs::read_to_string(manifest)?)
}

fn named(words: &[&str]) -> anyhow::Result<Targets> {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    Ok(Targets::read(&words)?)
}

/// Renders what is named of a manifest.
fn rendered(text: &str, words: &[&str]) -> anyhow::Result<Rendered> {
    let index = index(text)?;
    let (selection, missing) = Selection::read(&index, Some(&named(words)?));
    ensure!(missing.is_empty(), "{missing:?}");
    render(&index, &selection, true)
}

fn everything(text: &str) -> anyhow::Result<Rendered> {
    let index = index(text)?;
    render(&index, &Selection::read(&index, None).0, true)
}

#[test]
fn every_arrangement_is_rendered_as_committed() -> anyhow::Result<()> {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut expected = Vec::new();
    let mut wrong = Vec::new();
    for example_folder in sorted(&folder("../examples/networking"))? {
        let name = example_folder.file_name().context("a name")?.display();
        let golden = folder("tests/render").join(format!("{name}.txt"));
        let manifest = example(&example_folder)?;
        let rendered = everything(&manifest).with_context(|| name.to_string())?;
        ensure!(rendered.is_whole, "{name}: {rendered:?}");
        let text = text::text(&rendered);
        let again = text::text(&everything(&manifest)?);
        ensure!(text == again, "{name} is not rendered alike twice");
        if update {
            std::fs::write(&golden, &text)?;
        } else if std::fs::read_to_string(&golden).unwrap_or_default() != text {
            wrong.push(format!("{} is not\n{text}", golden.display()));
        }
        expected.push(golden);
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    for golden in sorted(&folder("tests/render"))? {
        if expected.contains(&golden) {
            continue;
        }
        ensure!(update, "{} is of no arrangement", golden.display());
        std::fs::remove_file(golden)?;
    }
    Ok(())
}

/// Does what is rendered, in the order in which it is shown, on a host on which nothing has been done.
fn by_hand(view: &HostView, page: &Page) -> anyhow::Result<Emulator> {
    let mut host = Fresh::of(view, None).start(view)?;
    for action in page.shown.iter().flat_map(|shown| &shown.entry.actions) {
        match action {
            Action::Run { argv, stdin } => {
                let output = host.run(argv, stdin.as_deref().unwrap_or_default());
                ensure!(output.status == 0, "{argv:?}: {}", output.stderr);
            }
            Action::Write { path, content } => {
                let written = host.files.write(path, content);
                written.map_err(|error| anyhow::anyhow!("{path}: {error}"))?;
            }
            Action::Wait { .. } => host.advance(Duration::from_secs(5)),
        }
    }
    Ok(host)
}

/// A host as it is once everything has settled, less what the jails' own programs and jail(8) leave: processes and files; and nodes of ng_ether(4) that nothing is connected to: a NIC that has become the port of a lagg before the module is
/// loaded gets none.
fn settled(mut host: Emulator) -> Vec<String> {
    host.advance(Duration::from_secs(60));
    let lines = host.fingerprint().into_iter();
    let left_out = [".jid ", ".console ", " ether {} "];
    lines
        .filter(|line| !line.starts_with("process "))
        .filter(|line| !left_out.iter().any(|part| line.contains(part)))
        .collect()
}

#[test]
fn who_follows_what_is_rendered_gets_the_same_host() -> anyhow::Result<()> {
    for example_folder in sorted(&folder("../examples/networking"))? {
        let index = index(&example(&example_folder)?)?;
        let (selection, _) = Selection::read(&index, None);
        let rendered = render(&index, &selection, true)?;
        for page in &rendered.pages {
            let view = host_view(&index, &page.host).context("a host")?;
            let rehearsed = rehearse::rehearse(&view, Fresh::of(&view, None).start(&view)?)?;
            let done =
                by_hand(&view, page).with_context(|| example_folder.display().to_string())?;
            let (by_agent, by_hand) = (settled(rehearsed.host()), settled(done));
            ensure!(
                by_agent == by_hand,
                "{}: {:#?}",
                example_folder.display(),
                by_agent
                    .iter()
                    .filter(|line| !by_hand.contains(line))
                    .chain(by_hand.iter().filter(|line| !by_agent.contains(line)))
                    .collect::<Vec<_>>()
            );
        }
    }
    Ok(())
}

fn row(name: &str) -> anyhow::Result<String> {
    example(&folder("../examples/networking").join(name))
}

/// The objects of which something is shown.
fn shown(rendered: &Rendered) -> BTreeSet<String> {
    let pages = rendered.pages.iter();
    let shown = pages.flat_map(|page| &page.shown);
    shown
        .flat_map(|shown| shown.entry.of.iter().map(name_of))
        .collect()
}

#[test]
fn a_jail_is_shown_without_its_neighbours_and_a_network_without_its_jails() -> anyhow::Result<()> {
    let n08 = row("n08-bridge")?;
    let jail = rendered(&n08, &["jail/www"])?;
    assert_eq!(shown(&jail), BTreeSet::from(["jail/www".to_owned()]));
    let text = text::text(&jail);
    for part in [
        "# ==== jail www",
        "/jails/www.conf",
        "rdr on vtnet0",
        "nat-anchor",
        "exec.created",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    for other in ["jail db", "jail machine", "bridge create", "kldload"] {
        assert!(!text.contains(other), "{other}: {text}");
    }
    let network = rendered(&n08, &["network", "switch"])?;
    assert_eq!(
        shown(&network),
        BTreeSet::from(["network/switch".to_owned()])
    );
    let text = text::text(&network);
    assert!(text.contains("inet 172.16.1.1/24 alias"), "{text}");
    assert!(text.contains("nat pass on vtnet0"), "{text}");
    assert!(!text.contains("jail -f"), "{text}");
    let host = text::text(&rendered(&n08, &["host/fbsd-01"])?);
    assert_eq!(host, text::text(&everything(&n08)?));
    Ok(())
}

#[test]
fn of_an_anchor_that_jails_share_only_the_own_rules_are_shown_and_not_to_be_loaded()
-> anyhow::Result<()> {
    let n15 = row("n15-firewall")?;
    let text = text::text(&rendered(&n15, &["jail/db"])?);
    assert!(
        text.contains("with the rules of jail mail"),
        "db and mail are in one bucket: {text}"
    );
    assert!(text.contains("#   pass out quick on cb"), "{text}");
    assert!(!text.contains("192.0.2.4"), "mail's address: {text}");
    assert!(!text.contains("pfctl"), "{text}");
    // Of both together nothing is missing.
    let text = text::text(&rendered(&n15, &["jails", "db", "mail"])?);
    assert!(text.contains(" -a cellblock/j34 -f - "), "{text}");
    let document = document::document(&rendered(&n15, &["jail/db"])?);
    let parts = document.pointer("/hosts/0/parts").context("parts")?;
    let shared = parts.as_array().into_iter().flatten();
    let shared = shared.filter(|part| part.get("sharedWith").is_some());
    assert_eq!(shared.count(), 2, "{parts:#}");
    Ok(())
}

#[test]
fn a_document_says_what_the_text_says() -> anyhow::Result<()> {
    let rendered = everything(&row("n10-netgraph-internal")?)?;
    let document = document::document(&rendered);
    assert_eq!(document["hosts"][0]["host"], "fbsd-01");
    assert_eq!(
        document["hosts"][0]["pfConf"][2],
        "binat-anchor \"cellblock/*\""
    );
    let parts = document["hosts"][0]["parts"].as_array().context("parts")?;
    let actions: Vec<&serde_json::Value> = parts
        .iter()
        .flat_map(|part| part["actions"].as_array().into_iter().flatten())
        .collect();
    assert_eq!(
        actions.len(),
        rendered.pages[0]
            .shown
            .iter()
            .map(|shown| shown.entry.actions.len())
            .sum::<usize>()
    );
    assert!(
        actions
            .iter()
            .any(|action| action["run"] == serde_json::json!(["kldload", "-n", "ng_bridge"])),
        "{document:#}"
    );
    Ok(())
}

const HOST: &str = "apiVersion: cellblock.dev/v1alpha1\nkind: Host\nmetadata: {name: h}\nspec: {uplinks: {external: {interface: vtnet0}}}\n";

fn jail(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: cellblock.dev/v1alpha1\nkind: Jail\nmetadata: {{name: {name}}}\nspec: {{root: {{path: /jails/{name}}}, {spec}}}\n"
    )
}

#[test]
fn what_nothing_can_be_rendered_of_is_told_and_keeps_the_rest_from_nothing() -> anyhow::Result<()> {
    // A user that no host of FreeBSD has, a host that is not among the manifests, and a jail that shall not run.
    let text = HOST.to_owned()
        + &jail("fine", "host: h")
        + &jail("elsewhere", "host: nowhere")
        + &jail("off", "host: h, runPolicy: Stopped")
        + &jail("odd", "host: h, parameters: {allow.no_such: true}");
    let rendered = everything(&text)?;
    let text = text::text(&rendered);
    assert!(!rendered.is_whole, "{text}");
    for part in [
        "# ==== jail fine",
        "# jail/elsewhere: blocked (HostMissing)",
        "# jail/off: it shall not run (spec.runPolicy)",
        "# jail/odd: blocked (ParameterUnknown)",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let document = document::document(&rendered);
    assert_eq!(document["told"][0]["object"], "jail/elsewhere");
    assert_eq!(
        document["hosts"][0]["told"][0]["reason"],
        "ParameterUnknown"
    );
    Ok(())
}

#[test]
fn what_is_told_of_one_counts_for_that_one_alone() -> anyhow::Result<()> {
    let text = HOST.to_owned()
        + &jail("fine", "host: h")
        + &jail("off", "host: h, runPolicy: Stopped")
        + &jail("odd", "host: h, parameters: {allow.no_such: true}");
    assert!(rendered(&text, &["jail/fine"])?.is_whole);
    assert!(rendered(&text, &["jail/off"])?.is_whole);
    assert!(!rendered(&text, &["jail/odd"])?.is_whole);
    assert!(!rendered(&text, &["host/h"])?.is_whole);
    let (_, missing) = Selection::read(&index(&text)?, Some(&named(&["jails", "fine", "no"])?));
    assert_eq!(missing, [(Kind::Jail, "no".to_owned())]);
    Ok(())
}

#[test]
fn programs_that_an_operators_hooks_call_need_not_be_there() -> anyhow::Result<()> {
    let hooks = "host: h, parameters: {exec.created: /usr/local/bin/announce, exec.start: /usr/local/bin/serve, exec.prestart: \"/usr/local/bin/a; reboot\"}";
    let rendered = everything(&(HOST.to_owned() + &jail("served", hooks)))?;
    let text = text::text(&rendered);
    assert!(rendered.pages[0].told.is_empty(), "{text}");
    for line in [
        "exec.created += \"/usr/local/bin/announce\";",
        "exec.start += \"/usr/local/bin/serve\";",
        "exec.prestart += \"/usr/local/bin/a; reboot\";",
        "jail -f /var/db/cellblock/jails/served.conf -J /var/db/cellblock/jails/served.jid -c served",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    Ok(())
}

#[test]
fn sysctls_that_the_emulated_kernel_lacks_are_set_all_the_same() -> anyhow::Result<()> {
    let host = HOST.replace(
        "spec: {",
        "spec: {sysctls: {kern.maxfiles: 65536, net.inet.tcp.cc.algorithm: cubic, net.link.bridge.pfil_member: 1, net.inet.ip.forwarding: 1}, ",
    );
    let bridge = "---\napiVersion: cellblock.dev/v1alpha1\nkind: Network\nmetadata: {name: switch}\nspec: {bridge: {}, scope: host, subnets: [{cidr: 10.1.0.0/24}]}\n";
    let rendered =
        everything(&(host + bridge + &jail("a", "host: h, networks: [{network: switch}]")))?;
    let text = text::text(&rendered);
    assert!(rendered.is_whole, "{text}");
    for line in [
        "\nsysctl kern.maxfiles=65536\n",
        "\nsysctl net.inet.tcp.cc.algorithm=cubic\n",
        "\nsysctl net.link.bridge.pfil_member=1\n",
        "\nsysctl net.inet.ip.forwarding=1\n",
    ] {
        assert_eq!(text.matches(line).count(), 1, "{line}: {text}");
    }
    Ok(())
}

#[test]
fn parameters_that_modules_bring_are_taken_for_known() -> anyhow::Result<()> {
    let zfs = "host: h, parameters: {allow.mount: true, allow.mount.zfs: true, allow.mount.fusefs: true, allow.vmm: true, zfs.mount_snapshot: 1, linux.osname: Linux}";
    let rendered = everything(&(HOST.to_owned() + &jail("a", zfs)))?;
    let text = text::text(&rendered);
    assert!(rendered.pages[0].told.is_empty(), "{text}");
    for line in [
        "    allow.mount.zfs;\n",
        "    allow.mount.fusefs;\n",
        "    allow.vmm;\n",
        "    zfs.mount_snapshot = 1;\n",
        "    linux.osname = \"Linux\";\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    Ok(())
}

#[test]
fn what_depends_on_a_jail_with_probes_is_rendered_too() -> anyhow::Result<()> {
    let text = example(&folder("../examples/jails/probes"))?;
    let rendered = everything(&text)?;
    assert!(
        rendered.pages[0].told.is_empty(),
        "{}",
        text::text(&rendered)
    );
    let jails: Vec<String> = jail_confs(&text)?.into_keys().collect();
    assert_eq!(jails, ["db", "web"]);
    Ok(())
}

#[test]
fn jails_that_name_no_host_are_placed() -> anyhow::Result<()> {
    let second = HOST.replace("name: h}", "name: i}");
    let text = format!("{HOST}---\n{second}") + &jail("a", "") + &jail("b", "");
    let rendered = everything(&text)?;
    let hosts: Vec<&str> = rendered
        .pages
        .iter()
        .map(|page| page.host.as_str())
        .collect();
    assert_eq!(hosts, ["h", "i"]);
    let jails: Vec<BTreeSet<String>> = rendered
        .pages
        .iter()
        .map(|page| {
            let shown = page.shown.iter();
            shown
                .flat_map(|shown| shown.entry.of.iter().map(name_of))
                .collect()
        })
        .collect();
    assert_eq!(
        jails,
        [
            BTreeSet::from(["jail/a".to_owned()]),
            BTreeSet::from(["jail/b".to_owned()])
        ]
    );
    Ok(())
}

/// A quarter of the cases of other properties: each brings two hosts up, and the laws of `sim` have seen all views.
fn config() -> ProptestConfig {
    let usual = ProptestConfig::default();
    ProptestConfig {
        cases: usual.cases.div_ceil(4),
        ..usual
    }
}

proptest! {
    #![proptest_config(config())]

    /// Whatever is wanted of a host: it is rendered alike twice, and each jail that can run has one start.
    #[test]
    fn rendering_is_deterministic_and_every_jail_appears_once(view in views::view()) {
        let run = || -> anyhow::Result<Rehearsal> {
            rehearse::rehearse(&view, Fresh::of(&view, None).start(&view)?)
        };
        let (first, second) = (run().expect("a host"), run().expect("a host"));
        prop_assert_eq!(&first.entries, &second.entries);
        prop_assert_eq!(&first.told, &second.told);
        for jail in view.jails.values() {
            let of = (Kind::Jail, jail.name.clone());
            let entries = first.entries.iter().filter(|entry| entry.section == Section::Jail && entry.of == [of.clone()]);
            let actions: Vec<&Action> = entries.clone().flat_map(|entry| &entry.actions).collect();
            let starts = actions.iter().filter(|action| matches!(action, Action::Run { argv, .. } if argv[0] == "jail"));
            let is_told = first.told.iter().any(|told| told.of == of);
            let shall_run = jail.spec.run_policy != RunPolicy::Stopped && !jail.deleting;
            let starts = starts.count();
            prop_assert!(starts == 1 || starts == 0 && (is_told || !shall_run), "{}: {starts} {:?}", jail.name, first.told);
            // Its parts stand together.
            let mut places = first.entries.iter().map(|entry| entry.section == Section::Jail && entry.of == [of.clone()]).collect::<Vec<_>>();
            places.dedup();
            prop_assert!(places.iter().filter(|is_its| **is_its).count() <= 1);
        }
    }
}

/// The jail.conf(5) of every jail of manifests, by the jail's name.
pub(crate) fn jail_confs(text: &str) -> anyhow::Result<std::collections::BTreeMap<String, String>> {
    let rendered = everything(text)?;
    let shown = rendered.pages.iter().flat_map(|page| &page.shown);
    let actions = shown.flat_map(|shown| &shown.entry.actions);
    let files = actions.filter_map(|action| match action {
        Action::Write { path, content } => {
            let name = path.rsplit_once('/')?.1.strip_suffix(".conf")?;
            content
                .starts_with("# Jail ")
                .then(|| (name.to_owned(), content.clone()))
        }
        Action::Run { .. } | Action::Wait { .. } => None,
    });
    Ok(files.collect())
}
